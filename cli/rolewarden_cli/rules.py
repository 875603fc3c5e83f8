"""guardrails.yaml on the command line: its errors, its warnings, and the IAM policies that it compiles to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from rolewarden.check import ROLE_POLICIES, Checked, check
from rolewarden.errors import RolewardenError
from rolewarden.guardrails import Allowance, Guardrail, Routes
from rolewarden.known import known_models
from rolewarden.packing import POLICY_SIZE, Statement, size
from rolewarden.placement import identity
from rolewarden.policies import Policy, compile_guardrail, compile_rules
from rolewarden.problems import Problem

from rolewarden_cli.answers import HIDDEN, merged, shown_as
from rolewarden_cli.console import counted, progress

DEFAULT_FILE = Path("layers/guardrails/guardrails.yaml")


class UnreadableError(RolewardenError):
    """The command cannot read the file; the message has the cause."""


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
        with progress() as show:
            checked = check(path, today=datetime.now(UTC).date(), known=known_models(), progress=show)
        return cls(path, checked)

    @property
    @shown_as("file")
    def name(self) -> Path:
        """The path, as the user gave it."""
        return self.path

    @property
    @shown_as("policies")
    def sizes(self) -> dict[str, int]:
        """The number of characters of each policy's document."""
        return {policy.name: size(policy.document) for policy in self.policies}

    @property
    @shown_as("left_open")
    def open_paths(self) -> dict[str, list[str]]:
        """The access paths that each guardrail leaves open, as far as an option closes them."""
        rules = self.checked.rules
        return {name: left_open(guardrail) for name, guardrail in rules.guardrails.items()} if rules else {}

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """The policies, with ARNs of the partition `aws`; empty if the file has errors."""
        return compile_rules(self.checked.rules, "aws") if self.checked.rules else ()

    def problems(self, *, scp: bool = False) -> list[tuple[str, str]]:
        """The errors and warnings in the order of the file: "error" or "warning", and the line to print.

        With `scp`, they have all warnings about service control policies.
        """
        return [(kind, str(problem)) for kind, problem in self.ranked_problems(scp=scp)]

    def ranked_problems(self, *, scp: bool = False) -> list[tuple[str, Problem]]:
        """As `problems`, with the problem itself in place of the line to print."""
        ranked = [("error", problem) for problem in self.checked.errors]
        warnings = dict.fromkeys((*self.checked.warnings, *(self.checked.unprevented if scp else ())))
        ranked += [("warning", problem) for problem in warnings]
        return sorted(ranked, key=lambda entry: entry[1].line)

    def costs(self) -> list[str]:
        """A line for each policy and each assignment with the part of the quota that it uses."""
        lines = [
            f"policy {policy.name}: {size(policy.document):,} of {POLICY_SIZE:,} characters" for policy in self.policies
        ]
        lines += [
            f"assignment {number}: {needed} of the {ROLE_POLICIES} policies that a role can have by default"
            for number, needed in enumerate(self.checked.slots, start=1)
        ]
        return [*lines, *self._shared(), *self._left_open()]

    def _shared(self) -> list[str]:
        """A line for each assignment with statements that several of its guardrails have."""
        rules = self.checked.rules
        lines = []
        for number, assignment in enumerate(rules.assignments if rules else (), start=1):
            found = [rules.guardrails[name] for name in assignment.guardrails] if rules else []
            if len(found) > 1 and (again := repeated(found)):
                characters = sum(map(size, again))
                lines.append(
                    f"assignment {number}: {counted(len(again), 'statement')} of {characters:,} characters in more "
                    "than one of its guardrails; one guardrail with all families has each statement once"
                )
        return lines

    def _left_open(self) -> list[str]:
        """A line for each guardrail that leaves an access path open."""
        return [f"guardrail {name} leaves open: {'; '.join(paths)}" for name, paths in self.open_paths.items() if paths]


def repeated(guardrails: Sequence[Guardrail]) -> list[Statement]:
    """The statements that these guardrails have more than once, without the first of each kind."""
    seen: set[str] = set()
    again = []
    for guardrail in guardrails:
        for policy in compile_guardrail(guardrail, "aws"):
            for statement in policy.document["Statement"]:
                if identity(statement) in seen:
                    again.append(statement)
                seen.add(identity(statement))
    return again


def left_open(guardrail: Guardrail) -> list[str]:
    """The access paths that a guardrail leaves open, each with the option that closes it.

    docs/explanation/limits.md lists the other paths, which no option closes.
    """
    bedrock, jumpstart = guardrail.bedrock, guardrail.jumpstart
    found = []
    if guardrail.routes is Routes.CANVAS:
        found.append("everything that a notebook can reach (`routes: all`)")
    if jumpstart and jumpstart.autopilot is Allowance.ALLOW:
        found.append("fine-tuning of JumpStart models by Canvas (`jumpstart.autopilot`)")
    if jumpstart and jumpstart.weights is Allowance.ALLOW and jumpstart.kind.startswith("deny") and not jumpstart.hubs:
        found.append("the files of JumpStart models (`jumpstart.weights`)")
    if (
        jumpstart
        and jumpstart.gated is Allowance.ALLOW
        and jumpstart.kind != "deny-all"
        and guardrail.routes is Routes.ALL
    ):
        found.append("gated JumpStart models by reference (`jumpstart.gated`)")
    if not guardrail.assistants and any(rule and rule.kind == "deny-all" for rule in (bedrock, jumpstart)):
        found.append("AWS's assistants (`assistants`)")
    if (bedrock or jumpstart) and guardrail.api_keys is Allowance.ALLOW:
        found.append("calls of models with an API key (`api_keys`)")
    if (bedrock or jumpstart) and not guardrail.pass_roles:
        found.append("work as another role (`pass_roles`)")
    if (bedrock or jumpstart) and guardrail.other_profiles is Allowance.ALLOW:
        found.append("applications of other user profiles (`other_profiles`)")
    if (bedrock or jumpstart) and guardrail.shared_spaces is Allowance.ALLOW:
        found.append("shared spaces, which run as a role of the domain (`shared_spaces`)")
    return found


def readable(policy: Policy) -> str:
    """The document with line breaks and indentation; IAM does not count white space."""
    return json.dumps(policy.document, indent=2)
