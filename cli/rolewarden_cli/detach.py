"""`rolewarden detach`: takes off the policies and boundaries that roles do not need, and deletes unused policies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from rolewarden.bindings import BindingsTable
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.events import Cause
from rolewarden.guardrails import Release, Rules
from rolewarden.reconcile import Reconciler
from rolewarden.record import Recorder
from rolewarden.release import Releaser

from rolewarden_cli import inventory, stack
from rolewarden_cli.connect import Connection
from rolewarden_cli.enforce import HISTORY_DAYS
from rolewarden_cli.inventory import Bound, Inventory, Progress, silent
from rolewarden_cli.plan import RETIRED, Plan, PlannedRole

EVENT = "rolewarden detach"
"""The name of the cause that the history records."""


class NothingReadError(RolewardenError):
    """The account could not be read as a whole, or has no such role; the message says what to do."""


@dataclass(frozen=True)
class Surplus:
    """What would be detached: names of policies and boundaries by role; and the unused `policies` to delete then."""

    account: str
    roles: Mapping[str, tuple[str, ...]]
    policies: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.roles or self.policies)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"roles": {role: list(names) for role, names in self.roles.items()}, "policies": list(self.policies)}


@dataclass(frozen=True)
class Detached:
    """What was detached from which role, which policies were deleted, and what is `left`: a line each, with why."""

    planned: Surplus
    roles: Mapping[str, tuple[str, ...]]
    policies: tuple[str, ...]
    left: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "account": self.planned.account,
            "planned": self.planned.as_dict(),
            "detached": {role: list(names) for role, names in self.roles.items()},
            "deleted": list(self.policies),
            "left": list(self.left),
        }


def read(
    connection: Connection, rules: Rules, progress: Progress = silent, *, known: Inventory | None = None
) -> Inventory:
    """The account, read from SageMaker and IAM and not from the stack's table, which an attacker can have written.

    User profiles that have not changed since `known` was read are not described again. Raises as `inventory.take`.
    """
    return inventory.take(connection, rules, progress, known=known.bindings if known else ())


def surplus(found: Inventory, plan: Plan, only: Collection[str] = ()) -> Surplus:
    """What roles do not need, of the roles `only` if any are named.

    Raises NothingReadError if something could not be read, because an unread subject can need any policy, or if a
    named role does not exist.
    """
    if found.unread:
        raise NothingReadError(
            f"not everything could be read, and an unread subject can need a policy: {found.unread[0]}: let your role "
            "read it, then run `rolewarden detach` again"
        )
    if unknown := sorted(set(only) - found.roles.keys()):
        raise NothingReadError(f"account {found.account} has no role `{unknown[0]}`: see `rolewarden plan --all`")
    wanted = [role for role in plan.roles if role.detachable and (not only or role.outcome.role in only)]
    roles = {role.outcome.role: role.detachable for role in wanted}
    unused = {policy.name for policy in plan.policies if policy.change == RETIRED}
    if only:
        unused &= {name for names in roles.values() for name in names}
    stay = {name for role in plan.roles if role not in wanted for name in _carried(role, found, unused)}
    return Surplus(found.account, roles, tuple(sorted(unused - stay)))


def _carried(role: PlannedRole, found: Inventory, names: Collection[str]) -> set[str]:
    detail = found.roles.get(role.outcome.role)
    arns = (*detail.attached, detail.boundary) if detail else ()
    return {name for name in names if any(arn.endswith(f":policy/rolewarden/{name}") for arn in arns)}


def detach(
    connection: Connection,
    planned: Surplus,
    found: Inventory,
    rules: Rules,
    today: Callable[[], date],
    progress: Progress = silent,
) -> Detached:
    """Detach what `planned` says, role by role, and delete the policies that are then unused.

    SageMaker, IAM and the stack's rules are read again before each role. A role keeps what it needs by then, and
    everything if it lacks a policy that it needs.
    """
    tables, aws = connection.tables, connection.aws
    told = BindingsTable(aws, tables.bindings) if tables else None
    recorder = Recorder(aws, tables.history if tables else "", HISTORY_DAYS, told)
    # `release: keep` is about what the stack does by itself; the operator has decided otherwise.
    releasing = rules._replace(release=Release.DETACH)
    cause = Cause(event_name=EVENT, actor=connection.caller)

    def releaser(now: Inventory) -> Releaser:
        reconciler = Reconciler(aws, Bound(now.bindings), releasing, today)
        # A deployed stack evaluates the role at the event of the detachment.
        return Releaser(aws, recorder, reconciler, look_again=lambda _work: None, cause=cause)

    done: dict[str, tuple[str, ...]] = {}
    left: list[str] = []
    for number, (role, policies) in enumerate(planned.roles.items()):
        progress("roles", number, len(planned.roles))
        try:
            found = read(connection, rules, known=found)
            if found.unread:
                left.append(f"{role}: not everything could be read: {found.unread[0]}")
                continue
            stack.need_same(stack.asked(connection, rules))
            said = releaser(found).role(connection.account, role, list(policies))
        except RolewardenError as error:
            left.append(f"{role}: {error}")
            continue
        done[role] = tuple(said["released"])
        if "waits" in said:
            left.append(f"{role}: {said['waits']}: run `rolewarden enforce` first")
    progress("roles", len(planned.roles), len(planned.roles))
    deleted = []
    for policy in planned.policies:
        try:
            said = releaser(found).retire(connection.account, policy)
        except (Refused, RetryLater) as error:
            left.append(f"policy {policy}: {error}")
            continue
        if said["retired"]:
            deleted.append(policy)
        else:
            left.append(f"policy {policy}: {said.get('waits', 'a guardrail needs it')}")
    return Detached(planned, done, tuple(deleted), tuple(left))
