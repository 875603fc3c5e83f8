"""A validator for the schema of Rolewarden's events, docs/reference/events.schema.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "docs/reference/events.schema.json").read_text(encoding="utf-8"))
DETAILS: dict[str, Mapping[str, Any]] = {told["title"]: told for told in SCHEMA["$defs"].values() if told.get("title")}
"""The schema of the detail of each detail type."""

_VALIDATORS = {
    name: Draft202012Validator({"$ref": f"#/$defs/{name.replace(' ', '')}", "$defs": SCHEMA["$defs"]})
    for name in DETAILS
}


def wrong(detail_type: str, detail: Any) -> list[str]:
    """The errors of an event, one line each."""
    if detail_type not in _VALIDATORS:
        return [f"unknown detail type `{detail_type}` is documented"]
    found = _VALIDATORS[detail_type].iter_errors(detail)
    return [f"{detail_type}: {'/'.join(map(str, error.path))}: {error.message}" for error in found]
