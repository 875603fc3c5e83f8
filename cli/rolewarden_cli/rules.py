"""guardrails.yaml on the command line: its errors, its warnings, and the IAM policies that it compiles to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

from rolewarden.check import ROLE_POLICIES, Checked, KnownModels, check
from rolewarden.errors import RolewardenError
from rolewarden.policies import POLICY_SIZE, Policy, compile_rules, size

from rolewarden_cli.answers import HIDDEN, merged, shown_as

DEFAULT_FILE = Path("layers/guardrails/guardrails.yaml")


class UnwritableError(RolewardenError):
    """The command cannot write a file; the message says how to name another one."""


class UnreadableError(RolewardenError):
    """The command cannot read the file; the message has the cause."""


@cache
def known_models() -> KnownModels:
    """The list of model IDs that is shipped with the command. `as_of` is its date."""
    data = json.loads((files("rolewarden_cli") / "models.json").read_text(encoding="utf-8"))
    return KnownModels(data["as_of"], tuple(data["bedrock"]), tuple(data["jumpstart"]))


@dataclass(frozen=True)
class CheckedFile:
    """A guardrails.yaml, and the result of its check."""

    path: Path = field(metadata=HIDDEN)
    checked: Checked = field(metadata=merged("errors", "warnings", "slots"))

    @classmethod
    def at(cls, path: Path) -> CheckedFile:
        """Check the file at `path` for the current day (UTC) and the shipped models. Raises UnreadableError."""
        try:
            path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            cause = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UnreadableError(f"{path}: cannot be read: {cause}: name a readable guardrails.yaml") from None
        return cls(path, check(path, today=datetime.now(UTC).date(), known=known_models()))

    @property
    @shown_as("file")
    def name(self) -> Path:
        """The path, as the user gave it."""
        return self.path

    @property
    @shown_as("policies")
    def sizes(self) -> dict[str, int]:
        """The number of characters of each policy's document."""
        return {policy.name: size(policy.document) for policy in self.policies()}

    def policies(self) -> tuple[Policy, ...]:
        """The policies, with ARNs of the partition `aws`; empty if the file has errors."""
        return compile_rules(self.checked.rules, "aws") if self.checked.rules else ()

    def problems(self) -> list[tuple[str, str]]:
        """The errors and warnings in the order of the file: "error" or "warning", and the line to print."""
        ranked = [("error", problem) for problem in self.checked.errors]
        ranked += [("warning", problem) for problem in self.checked.warnings]
        return [(kind, str(problem)) for kind, problem in sorted(ranked, key=lambda entry: entry[1].line)]

    def costs(self) -> list[str]:
        """A line for each policy and each assignment with the part of the quota that it uses."""
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
    """Write each document to `folder` as `<policy name>.json`, and give the files. Raises UnwritableError."""
    written = [folder / f"{policy.name}.json" for policy in policies]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for policy, target in zip(policies, written, strict=True):
            target.write_text(readable(policy) + "\n", encoding="utf-8")
    except OSError as error:
        raise UnwritableError(
            f"{error.filename or folder}: cannot be written: {error.strerror}: give another folder with --out"
        ) from None
    return written


def readable(policy: Policy) -> str:
    """The document with line breaks and indentation; IAM does not count white space."""
    return json.dumps(policy.document, indent=2)
