"""The JSON Schema of the answers with `--json`."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "docs" / "reference" / "answers.schema.json").read_text(encoding="utf-8"))


@cache
def _validator(command: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/answers.{command}", "$defs": SCHEMA["$defs"]})


def wrong(command: str, answer: Any) -> list[str]:
    """The places of an answer of a command that the schema does not allow."""
    return [f"{error.json_path}: {error.message[:300]}" for error in _validator(command).iter_errors(answer)]
