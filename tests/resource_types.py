"""The schemas of CloudFormation's resource types, which cfn-lint ships next to SAM CLI."""

import json
from functools import cache
from typing import Any

from tests.conftest import ROOT

REGION = "us-east-1"


@cache
def schema(kind: str) -> dict[str, Any]:
    """The schema of a resource type, such as "AWS::SQS::Queue"."""
    [folder] = ROOT.glob(".venv-sam/lib/python*/site-packages/cfnlint/data/schemas")
    names = json.loads((folder / "providers" / f"{REGION}.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = json.loads((folder / "resources" / f"{names[kind]}.json").read_text(encoding="utf-8"))
    return found


def handlers(kind: str) -> dict[str, set[str]]:
    """The permissions that the handler of a type uses, by operation (create, read, update, delete, list)."""
    return {name: set(handler["permissions"]) for name, handler in schema(kind).get("handlers", {}).items()}
