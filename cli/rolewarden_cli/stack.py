"""Comparison of the deployed stack's rules with the local file."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rolewarden import POLICY_PATH
from rolewarden.errors import Refused, RolewardenError
from rolewarden.fingerprint import fingerprint
from rolewarden.guardrails import Rules
from rolewarden.progress import RecordedProgress
from rolewarden.work import RULES

from rolewarden_cli.connect import Connection

DEPLOY = "sam build && sam deploy"
"""The command that gives the deployed stack the rules of the local file."""

RESTORE = "restore the stack: see docs/how-to/runbook.md, Restore the stack"
"""The action for a deleted resource: a second `sam deploy` of the same template changes nothing."""


class StackRules(StrEnum):
    """The result of comparing the rules of the deployed stack with those of the local file.

    UNKNOWN: the stack does not say which rules it runs, or a stack with another name, in another region or in the
    central account works on this account.
    """

    NONE = "none"
    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"

    @property
    def may_undo(self) -> bool:
        """Whether a stack can undo changes that a command makes by the local file."""
        return self in {StackRules.OTHER, StackRules.UNKNOWN}


class OtherRulesError(RolewardenError):
    """The deployed stack has other rules than the local file, or unknown ones; the message has the next step."""


def recorded(connection: Connection, rules: Rules) -> StackRules:
    """The comparison with the rules of the newest sweep, read from the bindings table only. Raises RetryLater."""
    if connection.stack is None:
        return _without_stack(connection)
    if connection.tables is None:
        return StackRules.UNKNOWN
    sweeps = RecordedProgress(connection.stored, connection.tables.bindings).sweeps(connection.account)
    return _compared(connection, rules, sweeps[-1].get("rules") if sweeps else None)


def asked(connection: Connection, rules: Rules) -> StackRules:
    """The comparison with the rules that SweepFunction itself returns, for a command that writes.

    The table does not suffice: it can be older than the last deployment, and an attacker can have written it. Raises
    RetryLater and, if the function cannot be invoked, OtherRulesError.
    """
    if connection.stack is None:
        return _without_stack(connection)
    functions = {logical: physical for logical, _, physical in connection.stack.resources}
    if "SweepFunction" not in functions:
        return StackRules.UNKNOWN
    try:
        answer: Any = connection.calls.run(functions["SweepFunction"], {"step": RULES})
    except Refused as refused:
        raise OtherRulesError(
            f"SweepFunction did not return the rules of the deployed stack: {refused}: give your role permission for "
            f"lambda:InvokeFunction on SweepFunction, or, if the function does not exist, {RESTORE}"
        ) from refused
    return _compared(connection, rules, answer.get("rules") if isinstance(answer, dict) else None)


def need_same(state: StackRules) -> None:
    """Raise OtherRulesError if a deployed stack has other rules than the local file, or unknown ones."""
    if state is StackRules.OTHER:
        raise OtherRulesError(
            "the deployed stack has other rules than the local file and would undo this: deploy the file with "
            f"`{DEPLOY}`, or name the deployed file with --guardrails"
        )
    if state is StackRules.UNKNOWN:
        raise OtherRulesError(
            f"a deployed stack covers this account and its rules are not known: deploy the file with `{DEPLOY}`, or "
            "name the stack and its region with --stack and --region"
        )


def _compared(connection: Connection, rules: Rules, deployed: object) -> StackRules:
    if not isinstance(deployed, str) or not deployed:
        return StackRules.UNKNOWN
    same = deployed == fingerprint(rules, connection.aws.partition)
    return StackRules.SAME if same else StackRules.OTHER


def _without_stack(connection: Connection) -> StackRules:
    if connection.tables is not None:
        # The account of `make stage` has tables and policies, but no functions that could undo a change.
        return StackRules.NONE
    there = any(role.path.startswith(POLICY_PATH) for role in connection.aws.roles())
    return StackRules.UNKNOWN if there else StackRules.NONE
