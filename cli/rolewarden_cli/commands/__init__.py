"""The commands: a module each with its options and its output, and the one table of what their exit codes mean."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """What a command exits with.

    DONE: nothing is left to do, or only warnings. ERROR: the command could not do its work: an option is wrong, a file
    is unreadable, no stack or no server answers, or a person interrupted it. OPEN: something is to be done, or
    is not as it should be.
    """

    DONE = 0
    ERROR = 1
    OPEN = 2


class Command(NamedTuple):
    """A row of the table: the line in the list of commands, and the meanings of exit codes 0 and 2.

    `open` is empty if the command never exits with 2. Exit code 1 means the same for every command, see `ExitCode`;
    `error` has what else it means.
    """

    summary: str
    done: str
    open: str = ""
    error: str = "an error"

    @property
    def exit_codes(self) -> str:
        """The last line of the command's help."""
        codes = ((ExitCode.DONE, self.done), (ExitCode.OPEN, self.open), (ExitCode.ERROR, self.error))
        return "Exit code: " + "; ".join(f"{code} {meaning}" for code, meaning in codes if meaning) + "."


COMMANDS = {
    "plan": Command(
        "What enforcing guardrails.yaml would change; reads only.",
        "nothing to do",
        "changes are pending, a role cannot be protected, or something could not be read",
    ),
    "enforce": Command(
        "Do what the plan says, after asking.",
        "all is done",
        "something is left",
        "an error, or the changes were not confirmed",
    ),
    "detach": Command(
        "Take off policies that roles do not need, after asking.",
        "nothing to do, or all is done",
        "something is left",
        "an error, or the changes were not confirmed",
    ),
    "access": Command("Who can reach which model, and which statement says so.", "the matrix is shown"),
    "explain": Command("Why a role may or may not use a model.", "the decision is explained"),
    "report": Command("One HTML file for an auditor.", "the file is written"),
    "history": Command("What the stack has done and found, newest first.", "the history is shown"),
    "status": Command(
        "How the deployed stack is doing.",
        "all is well",
        "a role is contested or unprotected, or the last sweep is missing, overdue or incomplete",
    ),
    "sweep": Command("Start a sweep: the deployed stack evaluates every role.", "the stack is asked"),
    "doctor": Command(
        "Check on the deployed stack what can only be seen there.",
        "everything is in order, or only warnings",
        "a check failed, or could not be made",
    ),
    "scp": Command("The policy that keeps people from undoing the stack.", "the policy is printed or written"),
    "check": Command(
        "Say what is wrong with guardrails.yaml, and what it costs a role.",
        "the file can be deployed",
        "the file has errors",
        "an error, such as a file that cannot be read",
    ),
    "compile": Command(
        "Print the IAM policies that guardrails.yaml becomes.",
        "the policies are printed or written",
        error="an error, such as a file with errors",
    ),
    "replay": Command(
        "Replay events on a seeded local account.",
        "no role is left drifted",
        "a role is left drifted",
        "an error, such as a file without events",
    ),
}
"""The commands by name, in the order of `rolewarden --help`: those that work on an account, on the stack, on files."""
