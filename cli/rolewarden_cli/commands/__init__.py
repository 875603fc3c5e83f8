"""The commands: one module for the options and the output of each, and the table of their exit codes."""

from __future__ import annotations

from enum import IntEnum
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


class Command(NamedTuple):
    """A row of the table: the line in the list of commands, and the meanings of exit codes 0 and 2.

    `open` is empty if the command never exits with 2. Exit code 1 means the same for every command, see `ExitCode`;
    `error` names a further meaning for this command.
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
        "Show the changes that enforcing guardrails.yaml would make.",
        "nothing is left to do",
        "changes are pending, a role cannot be protected, SCPs would deny calls, or something could not be read",
    ),
    "enforce": Command(
        "Make the changes of the plan, after asking.",
        "all changes are made",
        "a change is left, or a role cannot be protected",
        "an error, or the changes were not confirmed",
    ),
    "detach": Command(
        "Detach policies that roles do not need, after asking.",
        "nothing is left to do",
        "a policy is left",
        "an error, or the changes were not confirmed",
    ),
    "access": Command(
        "Show which subjects can reach which models, and the reason.",
        "the matrix is shown",
        "with --all-accounts, an account could not be read",
    ),
    "explain": Command("Show why a role can or cannot use a model.", "the decision is explained"),
    "report": Command("Write one HTML file for an auditor.", "the file is written"),
    "history": Command("Show the remediations and findings of the stack, newest first.", "the history is shown"),
    "erase": Command(
        "Erase a person from the history of the stack, after asking.",
        "no row names the person",
        "a row is too new",
        "an error, or the changes were not confirmed",
    ),
    "status": Command(
        "Show the state of the deployed stack.",
        "the stack works and every role is protected or exempt",
        "a role is contested or unprotected, or the last sweep is missing, overdue or incomplete",
    ),
    "sweep": Command("Start a sweep: the deployed stack evaluates every role.", "the sweep is requested"),
    "doctor": Command(
        "Check on the deployed stack what can only be seen there.",
        "everything is in order, or only warnings",
        "a check failed, or could not be made",
    ),
    "drill": Command(
        "Prove that Rolewarden acts on events now, and measure the seconds.",
        "every drill was heard in time",
        "a drill is late or cut",
    ),
    "verify": Command(
        "Test the deployed stack as a whole: checks, drills and a model call.",
        "every check and drill is in order, or only warnings",
        "a check or the model call failed, or a drill is late or cut",
    ),
    "scp": Command("Print a policy that protects the stack from administrators.", "the policy is printed or written"),
    "check": Command(
        "Check guardrails.yaml, and show how much of each quota it uses.",
        "the file can be deployed",
        "the file has errors",
        "an error, such as an unreadable file",
    ),
    "compile": Command(
        "Print the IAM or service control policies of guardrails.yaml.",
        "the policies are printed or written",
        error="an error, such as a file with errors",
    ),
    "diff": Command(
        "Show what another guardrails.yaml changes in terms of access.",
        "access does not change",
        "access changes",
        "an error, such as a file with errors",
    ),
    "replay": Command(
        "Replay events on a seeded local account.",
        "no role is left drifted",
        "a role is left drifted",
        "an error, such as a file without events",
    ),
}
"""The commands by name, in the order of `rolewarden --help`: for an account, for the stack, for files."""
