"""The commands: one module for the options and the output of each, and the table of their exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class ExitCode(IntEnum):
    """The exit code of a command.

    - DONE: nothing is left to do, or only warnings.
    - ERROR: the command could not do its work. Examples: an option is wrong, a file is unreadable, the stack does not
      exist, AWS does not answer, or the user interrupted the command.
    - OPEN: something is left to do, or the account is not in the required state.
    """

    DONE = 0
    ERROR = 1
    OPEN = 2


class Condition(NamedTuple):
    """A state of the account or of a file that can end a command with exit code 2. `--fail-on` names conditions.

    `is_default`: whether the condition counts without `--fail-on`.
    """

    meaning: str
    is_default: bool = True


class Command(NamedTuple):
    """A row of the table: the line in the list of commands, and the meanings of its exit codes.

    - `done`: the meaning of exit code 0.
    - `conditions`: the reasons for exit code 2, by name. Empty if the command never exits with 2.
    - `error`: the meaning of exit code 1 for this command. `ExitCode` has the meanings that all commands share.
    """

    summary: str
    done: str
    conditions: Mapping[str, Condition] = MappingProxyType({})
    error: str = "an error"

    @property
    def defaults(self) -> tuple[str, ...]:
        """The names of the conditions that count without `--fail-on`."""
        return tuple(name for name, condition in self.conditions.items() if condition.is_default)

    @property
    def open(self) -> str:
        """The meaning of exit code 2. Empty if the command never exits with 2."""
        meanings = [self.conditions[name].meaning for name in self.defaults]
        if not meanings:
            return "a condition of --fail-on is true" if self.conditions else ""
        return ", or ".join(filter(None, (", ".join(meanings[:-1]), meanings[-1])))

    @property
    def choices(self) -> str:
        """The paragraph of the command's help about `--fail-on`. Empty if the command never exits with 2."""
        parts = [
            f"{name} ({condition.meaning}{'' if condition.is_default else '; not by default'})"
            for name, condition in self.conditions.items()
        ]
        return f"Conditions: {', '.join(parts)}." if parts else ""

    @property
    def exit_codes(self) -> str:
        """The last line of the command's help."""
        codes = ((ExitCode.DONE, self.done), (ExitCode.OPEN, self.open), (ExitCode.ERROR, self.error))
        return "Exit code: " + "; ".join(f"{code} {meaning}" for code, meaning in codes if meaning) + "."


COMMANDS = {
    "init": Command("Write a guardrails.yaml for an account.", "the file is written"),
    "plan": Command(
        "Show the changes that enforcing guardrails.yaml would make.",
        "nothing is left to do",
        {
            "changes": Condition("changes are pending"),
            "unprotected": Condition("a role cannot be protected"),
            "doubts": Condition("AWS contradicts an exemption"),
            "denials": Condition("SCPs would deny calls"),
            "unread": Condition("something could not be read"),
            "observed": Condition("a role lacks a guardrail in observe mode", is_default=False),
            "warnings": Condition("a name matches nothing, or callers can choose an assignment", is_default=False),
        },
    ),
    "enforce": Command(
        "Make the changes of the plan, after asking.",
        "all changes are made",
        {
            "changes": Condition("a change is left"),
            "unprotected": Condition("a role cannot be protected"),
        },
        "an error, or the changes were not confirmed",
    ),
    "detach": Command(
        "Detach policies that roles do not need, after asking.",
        "nothing is left to do",
        {
            "left": Condition("a policy is left"),
        },
        "an error, or the changes were not confirmed",
    ),
    "access": Command(
        "Show the models that each subject can reach, and the reason.",
        "the matrix is shown",
        {
            "reached": Condition("a subject can reach a model", is_default=False),
            "unread": Condition("something could not be read", is_default=False),
            "unreached": Condition("with --all-accounts, an account could not be read"),
        },
    ),
    "explain": Command(
        "Show why a role can or cannot use a model.",
        "the decision is shown",
        {
            "allowed": Condition("the role can use the model", is_default=False),
        },
    ),
    "report": Command(
        "Write one HTML file for an auditor.",
        "the file is written",
        {"unreached": Condition("with --all-accounts, an account could not be read")},
    ),
    "history": Command("Show the remediations and findings of the stack, newest first.", "the history is shown"),
    "erase": Command(
        "Erase a person from the history of the stack, after asking.",
        "no row names the person",
        {
            "recent": Condition("a row is too new"),
        },
        "an error, or the changes were not confirmed",
    ),
    "status": Command(
        "Show the state of the deployed stack.",
        "the stack works and every role is protected or exempt",
        {
            "contested": Condition("a role is contested"),
            "unprotected": Condition("a role is unprotected"),
            "account": Condition("an account has a finding, such as events that do not arrive"),
            "observed": Condition("a role lacks a guardrail in observe mode (or all guardrails are in observe mode)"),
            "sweep": Condition("the last sweep is missing, overdue or incomplete"),
            "unreached": Condition("with --all-accounts, an account could not be read"),
            "surplus": Condition("a role has policies that it does not need", is_default=False),
        },
    ),
    "sweep": Command("Start a sweep: the deployed stack evaluates every role.", "the sweep is requested"),
    "doctor": Command(
        "Check the deployed stack, and name the fix of each problem.",
        "no check failed",
        {
            "failures": Condition("a check failed, or could not be made"),
            "warnings": Condition("a check has a warning", is_default=False),
        },
    ),
    "drill": Command(
        "Test that events arrive now, and measure the seconds.",
        "every drill was heard in time",
        {
            "late": Condition("a drill is late"),
            "cut": Condition("a drill is cut"),
        },
    ),
    "verify": Command(
        "Test the deployed stack as a whole: checks, drills and a model call.",
        "no check failed, and no drill is late or cut",
        {
            "failures": Condition("a check or the model call failed"),
            "drills": Condition("a drill is late or cut"),
            "warnings": Condition("a check has a warning", is_default=False),
        },
    ),
    "scp": Command("Print a policy that protects the stack from administrators.", "the policy is printed or written"),
    "check": Command(
        "Check guardrails.yaml, and show how much of each quota it uses.",
        "the file can be deployed",
        {
            "errors": Condition("the file has errors"),
            "warnings": Condition("the file has warnings", is_default=False),
        },
        "an error, such as an unreadable file",
    ),
    "compile": Command(
        "Print the IAM or service control policies of guardrails.yaml.",
        "the policies are printed or written",
        error="an error, such as a file with errors",
    ),
    "diff": Command(
        "Show the access that another guardrails.yaml changes.",
        "access does not change",
        {
            "gained": Condition("access is gained"),
            "lost": Condition("access is lost"),
            "scope": Condition("an exemption, a setting or another request changes"),
        },
        "an error, such as a file with errors",
    ),
    "replay": Command(
        "Replay events on a seeded local account.",
        "no role is left drifted",
        {
            "drifted": Condition("a role is left drifted"),
            "unmatched": Condition("an event matches no rule", is_default=False),
        },
        "an error, such as a file without events",
    ),
}
"""The commands by name, in the order of `rolewarden --help`: for an account, for the stack, for files."""


def is_open(command: str, found: Mapping[str, object]) -> bool:
    """Whether a condition holds that counts for a command without `--fail-on`."""
    return any(found[name] for name in COMMANDS[command].defaults)


def held_anywhere(command: str, found: Sequence[Mapping[str, object]], **more: bool) -> dict[str, bool]:
    """Whether each condition of a command holds in any of several results. `more` are conditions that hold anyway."""
    return {name: more.get(name, False) or any(one[name] for one in found) for name in COMMANDS[command].conditions}
