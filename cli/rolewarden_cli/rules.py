"""guardrails.yaml on the command line: what is wrong with it, and the IAM documents that it becomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rolewarden.check import ROLE_POLICIES, Checked, KnownModels, check
from rolewarden.errors import RolewardenError
from rolewarden.policies import POLICY_SIZE, Policy, compile_rules, size

DEFAULT_FILE = Path("layers/guardrails/guardrails.yaml")


class UnwritableError(RolewardenError):
    """The documents cannot be written where they were asked for."""


@cache
def known_models() -> KnownModels:
    """The list of model ids that is shipped with the command, see its `as_of`."""
    data = json.loads((files("rolewarden_cli") / "models.json").read_text(encoding="utf-8"))
    return KnownModels(data["as_of"], tuple(data["bedrock"]), tuple(data["jumpstart"]))


@dataclass(frozen=True)
class CheckedFile:
    """A guardrails.yaml, and what is to be said about it."""

    path: Path
    checked: Checked

    @classmethod
    def at(cls, path: Path) -> CheckedFile:
        """The file at `path`, checked against today (UTC) and the shipped list of models."""
        return cls(path, check(path, today=datetime.now(UTC).date(), known=known_models()))

    def policies(self) -> tuple[Policy, ...]:
        """The documents with the ARNs of partition `aws`; empty if the file has errors."""
        return compile_rules(self.checked.rules, "aws") if self.checked.rules else ()

    def problems(self) -> list[tuple[str, str]]:
        """Its errors and warnings in the order of the file: "error" or "warning", and the line to show."""
        ranked = [("error", problem) for problem in self.checked.errors]
        ranked += [("warning", problem) for problem in self.checked.warnings]
        return [(kind, str(problem)) for kind, problem in sorted(ranked, key=lambda entry: entry[1].line)]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "file": str(self.path),
            "errors": [problem._asdict() for problem in self.checked.errors],
            "warnings": [problem._asdict() for problem in self.checked.warnings],
            "policies": {policy.name: size(policy.document) for policy in self.policies()},
            "slots": list(self.checked.slots),
        }

    def costs(self) -> list[str]:
        """A line for each policy and each assignment: how full it is, and what it takes of a role's policies."""
        lines = [
            f"policy {policy.name}: {size(policy.document):,} of {POLICY_SIZE:,} characters"
            for policy in self.policies()
        ]
        lines += [
            f"assignment {number}: {needed} of the {ROLE_POLICIES} policies that a role can have by default"
            for number, needed in enumerate(self.checked.slots, start=1)
        ]
        return lines


def write(policies: tuple[Policy, ...], folder: Path) -> list[Path]:
    """Write each document to `folder` as `<policy name>.json`; raises UnwritableError before anything is written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"{folder}: cannot be made: {error.strerror}") from None
    written = []
    for policy in policies:
        target = folder / f"{policy.name}.json"
        target.write_text(readable(policy) + "\n", encoding="utf-8")
        written.append(target)
    return written


def readable(policy: Policy) -> str:
    """The document on lines of its own, as a person reads it; IAM does not count the white space."""
    return json.dumps(policy.document, indent=2)
