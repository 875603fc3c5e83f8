"""Results for pipelines in the Static Analysis Results Interchange Format (SARIF) 2.1.0.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. GitHub, GitLab and Azure DevOps show them next to the
lines of a change. A result about an account has the guardrails.yaml as its place, and the role as its logical location.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rolewarden import __version__
from rolewarden.plaintext import visible, without_markdown_link

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class SarifLevel(StrEnum):
    """The level of a result."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class SarifResult:
    """A result of a command.

    - `rule`: the kind of the result, such as `check/warning`.
    - `line`: the line in `file`, 0 if the result is about no line.
    - `about`: the role, user profile or account that the result is about; empty without one.
    """

    rule: str
    level: SarifLevel
    message: str
    file: Path
    line: int = 0
    about: str = ""


def sarif_text(results: Iterable[SarifResult]) -> str:
    """A log with one run, which has these results."""
    found = list(results)
    rules = list(dict.fromkeys(result.rule for result in found))
    driver = {
        "name": "rolewarden",
        "version": __version__,
        "rules": [{"id": rule, "shortDescription": {"text": rule.partition("/")[2] or rule}} for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(result, rules.index(result.rule)) for result in found],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(result: SarifResult, rule: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(result.file)}}
    if result.line:
        physical["region"] = {"startLine": result.line}
    place: dict[str, Any] = {"physicalLocation": physical}
    if result.about:
        place["logicalLocations"] = [{"fullyQualifiedName": visible(result.about), "kind": "resource"}]
    # Without the line, so that a result stays the same when lines above it come or go.
    same = json.dumps([result.rule, result.about, result.message]).encode()
    return {
        "ruleId": result.rule,
        "ruleIndex": rule,
        "level": result.level.value,
        "message": {"text": without_markdown_link(visible(result.message))},
        "locations": [place],
        "partialFingerprints": {"rolewarden/v1": hashlib.sha256(same).hexdigest()},
    }


def _uri(file: Path) -> str:
    """The file relative to the current folder, which is the repository in a pipeline; else its whole path."""
    if file.is_absolute() and file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return file.as_uri() if file.is_absolute() else quote(file.as_posix())
