"""template.yaml as SAM's own translator translates it.

The translator takes longer than the rest of a short command. So the result is kept in a file
of the user's cache folder. Its name is a digest of everything that the result depends on, so that a file never becomes
wrong. A file that cannot be read or written costs only the time of a translation.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import boto3

MOST_FILES = 20
"""The number of translations that the cache folder keeps: those that were used last."""

_FORM = 1
"""The form of the files. Increase it if this module translates in another way."""

_MANAGED_POLICIES = ("AWSLambdaBasicExecutionRole", "AWSLambdaSQSQueueExecutionRole")


class Translated(NamedTuple):
    """A template: `source` as it is written, and `body` as CloudFormation receives it."""

    source: dict[str, Any]
    body: dict[str, Any]


def translated(text: str, parameters: Mapping[str, str], region: str) -> Translated:
    """The translation of a SAM template with these parameters."""
    inputs = [_FORM, version("aws-sam-translator"), text, dict(sorted(parameters.items())), region]
    name = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    file = _folder() / f"template-{name}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        read = json.loads(file.read_text(encoding="utf-8"))
        os.utime(file)
        return Translated(dict(read["source"]), dict(read["body"]))
    done = _translate(text, parameters, region)
    with contextlib.suppress(OSError):
        _keep(file, json.dumps(done._asdict()))
    return done


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "rolewarden"


def _keep(file: Path, text: str) -> None:
    """Write a file at once or not at all, and delete the files that were not used for the longest time."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as made:
        made.write(text)
    Path(made.name).replace(file)
    newest = sorted(file.parent.glob("template-*.json"), key=lambda found: found.stat().st_mtime, reverse=True)
    for old in newest[MOST_FILES:]:
        old.unlink(missing_ok=True)


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Let imports in the block go without an optional module that is not imported yet.

    The translator imports jsonschema. With rfc3987_syntax, that builds the grammars of all parts of an IRI, which takes
    most of the time of the import. No part of a template has the format of an IRI.
    """
    is_absent = module not in sys.modules
    if is_absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if is_absent:
            del sys.modules[module]


def _translate(text: str, parameters: Mapping[str, str], region: str) -> Translated:
    with _without("rfc3987_syntax"):
        from samtranslator.parser.parser import Parser
        from samtranslator.translator.translator import Translator

    # The translator counts its calls, and logs a warning at exit because no code collected the figures.
    logging.getLogger("samtranslator.metrics").setLevel(logging.CRITICAL)
    source = json.loads(_json_of(text))
    for resource in source["Resources"].values():
        for uri in ("CodeUri", "ContentUri"):
            if uri in resource.get("Properties", {}):
                resource["Properties"][uri] = "s3://bucket/key"
    session = boto3.Session(region_name=region)
    partition = session.get_partition_for_region(region)
    managed = {name: f"arn:{partition}:iam::aws:policy/service-role/{name}" for name in _MANAGED_POLICIES}
    body = Translator(managed, Parser(), boto_session=session).translate(source, dict(parameters))
    return Translated(json.loads(_json_of(text)), body)


@functools.lru_cache(maxsize=8)
def _json_of(text: str) -> str:
    """Return a YAML template as JSON, so that no two parts share a value: the translator changes its input.

    The function is cached, because reading YAML takes three quarters of a translation's time.
    """
    from samtranslator.yaml_helper import yaml_parse

    return json.dumps(yaml_parse(text))
