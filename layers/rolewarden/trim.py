"""Reduce botocore to the calls that the CALLERS make. The argument is the folder with botocore.

Of botocore's 29 MB, 27 are the models of services. Reading the models of IAM and SageMaker, and the list of all
endpoints, takes longer than the rest of a cold start. The script keeps a service if a module makes a client for it, an
operation if a module contains the name of its method, and a shape if such an operation needs it. It removes the code
that writes the documentation of clients, and HTTP/2, which botocore does not use. Their imports take a tenth of the
rest.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CALLERS = [
    module
    for module in sorted(Path(__file__).with_name("rolewarden").glob("*.py"))
    if ".client(" in module.read_text(encoding="utf-8")
]
"""The modules that call AWS. A list by hand would lack a new module, whose calls then fail on AWS only."""

KEPT = {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
"""Files that botocore reads for every service."""


def main(site: Path) -> None:
    """Trim the botocore in `site`, in place."""
    # The names of methods must come from the same version of botocore.
    sys.path.insert(0, str(site))
    from botocore import xform_name

    source = "\n".join(caller.read_text(encoding="utf-8") for caller in CALLERS)
    services = set(re.findall(r'\.client\("([a-z0-9]+)"', source))
    words = set(re.findall(r"\w+", source))
    data = site / "botocore" / "data"
    for entry in data.iterdir():
        if entry.is_file() and entry.name not in KEPT:
            entry.unlink()
        elif entry.is_dir() and entry.name not in services:
            shutil.rmtree(entry)
    for service in services:
        *older, newest = sorted((data / service).iterdir())
        for version in older:
            shutil.rmtree(version)
        model = trimmed(_read(newest / "service-2.json.gz"), words, xform_name)
        pages = _read(newest / "paginators-1.json") if (newest / "paginators-1.json").exists() else {"pagination": {}}
        rules = _read(newest / "endpoint-rule-set-1.json.gz")
        shutil.rmtree(newest)
        newest.mkdir()
        _write(newest / "service-2.json", model)
        _write(newest / "endpoint-rule-set-1.json", rules)
        kept = {name: page for name, page in pages["pagination"].items() if name in model["operations"]}
        _write(newest / "paginators-1.json", {"pagination": kept})
    endpoints = _read(data / "endpoints.json")
    prefixes = {
        _read(next((data / service).glob("*/service-2.json")))["metadata"]["endpointPrefix"] for service in services
    }
    for partition in endpoints["partitions"]:
        partition["services"] = {name: of for name, of in partition["services"].items() if name in prefixes}
    _write(data / "endpoints.json", endpoints)
    _drop_documentation(site / "botocore" / "docs")
    http2 = site / "urllib3" / "http2"
    (http2 / "connection.py").unlink()
    # The module reads the version of a package for HTTP/2, which is not installed.
    (http2 / "__init__.py").write_text("", encoding="utf-8")


def _drop_documentation(docs: Path) -> None:
    """Keep the placeholders for the docstrings of methods, and the functions that handlers.py imports."""
    for entry in docs.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in {"docstring.py", "utils.py"}:
            entry.write_text("", encoding="utf-8") if entry.name == "__init__.py" else entry.unlink()
    texts = docs / "docstring.py"
    lines = texts.read_text(encoding="utf-8").splitlines(keepends=True)
    texts.write_text("".join(line for line in lines if not line.startswith("from botocore.docs")), encoding="utf-8")


def trimmed(model: Mapping[str, Any], words: set[str], method: Any) -> dict[str, Any]:
    """The model of a service with the operations whose methods are in `words`, their shapes, and no documentation."""
    operations = {name: of for name, of in model["operations"].items() if method(name) in words}
    shapes: dict[str, Any] = {}
    wanted = [*_shapes_of(operations)]
    while wanted:
        name = wanted.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            wanted += _shapes_of(shapes[name])
    kept = {**model, "operations": operations, "shapes": dict(sorted(shapes.items()))}
    cleaned: dict[str, Any] = _without_documentation(kept)
    return cleaned


def _shapes_of(value: Any) -> Iterator[str]:
    """The names of all shapes that a part of a model refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        for one in value.values():
            yield from _shapes_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from _shapes_of(one)


def _without_documentation(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_documentation(one) for key, one in value.items() if not _documents(key, one)}
    return [_without_documentation(one) for one in value] if isinstance(value, list) else value


def _documents(key: str, value: Any) -> bool:
    # A member of a shape can have this name, too, but its value is not a text.
    return key in {"documentation", "documentationUrl"} and isinstance(value, str)


def _read(path: Path) -> Any:
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
