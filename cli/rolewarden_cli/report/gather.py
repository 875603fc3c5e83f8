"""Collection of a `Report`: the results of plan, access, history and status for each account."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rolewarden import __version__
from rolewarden.changes import digest_of_rules
from rolewarden.errors import Refused, RetryLater, RolewardenError, RulesError
from rolewarden.guardrails import Rules
from rolewarden.in_force import equal_texts
from rolewarden.policies import compile_rules
from rolewarden.rules_log import document_in

from rolewarden_cli import access, inventory, models, plan
from rolewarden_cli.connect import Connection
from rolewarden_cli.inventory import Progress, ignore_progress
from rolewarden_cli.organization import MemberRole, UnreachedAccount, read_accounts
from rolewarden_cli.report.model import (
    AccountReport,
    AccountScps,
    AttachedScp,
    Provenance,
    Report,
    Watch,
)
from rolewarden_cli.scps import read_control_policies
from rolewarden_cli.status import Recorded, read_recorded, read_status

SILENCE_ALARMS = ("HeartbeatAlarm", "EventPathsAlarm")
"""The logical IDs of the alarms that a stack raises if it does not work."""


def gather(
    connection: Connection,
    rules: Rules,
    guardrails: Path,
    wanted: models.Models,
    now: datetime,
    since: datetime,
    progress: Progress = ignore_progress,
) -> Report:
    """Collect the report of an account, with its history from `since` on. This only reads.

    `rules` are the rules in the file `guardrails`. Raises Refused, RetryLater and RulesError.
    """
    account = gather_account(connection, rules, wanted, now, since, progress)
    return joined(connection, rules, guardrails, since, [account])


def gather_all(  # noqa: PLR0913, PLR0917 - the parameters of `gather`, and the role
    connection: Connection,
    role: MemberRole,
    rules: Rules,
    guardrails: Path,
    wanted: models.Models,
    now: datetime,
    since: datetime,
    progress: Progress = ignore_progress,
) -> Report:
    """Collect the report of each account of an `organized` connection, as `role` in the members.

    All accounts share one read of the history, the alarms and the models in `wanted`. Raises RetryLater, RulesError,
    and NoAccountReadError if no account can be read.
    """
    shared = read_shared(connection, now)
    accounts, unreached = read_accounts(
        connection, role.enter, lambda one: gather_account(one, rules, wanted, now, since, shared=shared), progress
    )
    if not accounts:
        first = unreached[0]
        raise NoAccountReadError(f"no account could be read; {first.account}: {first.why}: {first.recommendation}")
    return joined(connection, rules, guardrails, since, accounts, unreached)


def joined(
    connection: Connection,
    rules: Rules,
    guardrails: Path,
    since: datetime,
    accounts: Iterable[AccountReport],
    unreached: Iterable[UnreachedAccount] = (),
) -> Report:
    """The report of these accounts. `connection` is that of the caller. Raises RulesError."""
    return Report(
        Provenance(
            caller=connection.caller,
            place=connection.place,
            version=__version__,
            guardrails_file=str(guardrails),
            digest=hashlib.sha256(guardrails.read_bytes()).hexdigest(),
            history_since=since,
            rules_text=guardrails.read_text(encoding="utf-8-sig"),
            rules_digest=digest_of_rules(document_in(guardrails)),
        ),
        rules,
        compile_rules(rules, connection.aws.partition),
        tuple(accounts),
        tuple(unreached),
    )


def gather_account(
    connection: Connection,
    rules: Rules,
    wanted: models.Models,
    now: datetime,
    since: datetime,
    progress: Progress = ignore_progress,
    *,
    shared: SharedByAccounts | None = None,
) -> AccountReport:
    """Collect the data of the account of a connection. This only reads. Raises Refused, RetryLater and RulesError.

    `shared` is what several accounts share; None to read it.
    """
    taken = inventory.take(connection, rules, progress)
    if shared is None and connection.tables:
        shared = read_shared(connection, now)
    entries = shared.recorded.entries if shared else ()
    own = models.of_account(wanted, connection)
    return AccountReport(
        plan.with_other_regions(taken, plan.compared(connection, taken, rules, now.date())),
        access.matrix(connection.calls, taken, own, progress, rules, organization=connection.stack_calls),
        tuple(entry for entry in entries if entry.account == connection.account and entry.at >= since),
        read_status(connection, now, shared=shared.recorded) if shared else None,
        _watch_of(connection, shared.alarms) if shared else None,
        read_prevention(connection, rules),
    )


class NoAccountReadError(RolewardenError):
    """AWS did not let the caller read any account; the message has the reason for the first one."""


@dataclass(frozen=True)
class SharedByAccounts:
    """The data that the reports of all accounts share. `alarms` are the states of `SILENCE_ALARMS`, by name."""

    recorded: Recorded
    alarms: tuple[tuple[str, str], ...]


def read_shared(connection: Connection, now: datetime) -> SharedByAccounts:
    """Read what the reports of all accounts share. Raises NoConnectionError if no stack is deployed, and RetryLater."""
    stack = connection.stack
    names = {logical: name for logical, _, name in stack.resources if logical in SILENCE_ALARMS} if stack else {}
    found = connection.stack_calls.alarms
    try:
        states = {alarm.name: alarm.state for alarm in found(sorted(names.values()))} if names else {}
    except Refused:
        states = {}
    alarms = tuple((logical, states.get(name, "not known")) for logical, name in sorted(names.items()))
    return SharedByAccounts(read_recorded(connection, now), alarms)


def _watch_of(connection: Connection, alarms: tuple[tuple[str, str], ...]) -> Watch:
    stack = connection.stack
    return Watch(alarms, stack.parameters.get("SweepInterval", "") if stack else "", stack.regions if stack else ())


def read_prevention(connection: Connection, rules: Rules) -> AccountScps:
    """Read the service control policies of the account, as far as the caller can."""
    found = read_control_policies(connection.stack_calls, connection.account, rules)
    scps = tuple(AttachedScp(document.name, document.name in found.prevention) for document in found.known)
    equals = None
    if rules.names_principals and found.documents is not None:
        try:
            texts = [{"Statement": list(document.statements)} for document in found.known]
            equals = equal_texts(rules, connection.aws.partition, texts)
        except (RulesError, RetryLater):
            equals = None  # The file compiles to no service control policy of this partition.
    return AccountScps(scps, equals, found.unread)
