"""`rolewarden detach`: detach the policies and boundaries that roles do not need, and delete unused policies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from rolewarden.clock import Clock
from rolewarden.detach import Detacher
from rolewarden.errors import Refused, RetryLater, RolewardenError
from rolewarden.guardrails import Rules, SurplusPolicies
from rolewarden.needs import SOME_USES, Needs
from rolewarden.origin import of_operator
from rolewarden.reread import AlreadyRead
from rolewarden.work import NoRechecks

from rolewarden_cli import inventory, stack
from rolewarden_cli.answers import HIDDEN
from rolewarden_cli.connect import Connection
from rolewarden_cli.enforce import exemptions_of, recorder_of
from rolewarden_cli.inventory import Inventory, Progress, ignore_progress
from rolewarden_cli.plan import Plan, ours
from rolewarden_cli.suggestions import no_such_role

DETACH_COMMAND = "rolewarden detach"
"""The name of the cause in the history."""


class NothingReadError(RolewardenError):
    """Rolewarden could not read the whole account, or the account has no such role; the message names the next step."""


@dataclass(frozen=True)
class Surplus:
    """The policies and boundaries to detach, by role, and the unused `policies` to delete afterwards, all by name.

    - `needed`: the named roles that need all of their policies, with the domains and user profiles that use them.
    - `observes`: whether every guardrail is in observe mode, so that every policy stays, also one that no role needs.
    """

    account: str = field(metadata=HIDDEN)
    roles: Mapping[str, tuple[str, ...]]
    policies: tuple[str, ...]
    needed: Mapping[str, str] = field(default_factory=dict)
    observes: bool = field(default=False, metadata=HIDDEN)

    def __bool__(self) -> bool:
        return bool(self.roles or self.policies)


@dataclass(frozen=True)
class Detached:
    """The policies `detached` from each role, those `deleted`, and a line with the reason for each one `left`."""

    account: str
    planned: Surplus
    detached: Mapping[str, tuple[str, ...]]
    deleted: tuple[str, ...]
    left: tuple[str, ...]


STOPPED = "what comes after these roles, because you stopped the command"
"""The line of a result whose command the user stopped."""


def read(
    connection: Connection, rules: Rules, progress: Progress = ignore_progress, *, known: Inventory | None = None
) -> Inventory:
    """Read the account from SageMaker and IAM, and not from the stack's table, which an attacker can have written.

    A user profile that has not changed since `known` was read is not described again. Raises as `inventory.take`.
    """
    return inventory.take(connection, rules, progress, known=known.bindings if known else ())


def surplus(found: Inventory, plan: Plan, only: Collection[str] = (), *, observes: bool = False) -> Surplus:
    """Find the policies that roles do not need. If `only` is not empty, it limits the roles.

    `observes` says whether every guardrail is in observe mode. The plan then detaches nothing.

    Raises NothingReadError if something could not be read, because an unread subject can need any policy, or if a
    named role does not exist.
    """
    if found.unread:
        raise NothingReadError(
            f"not everything could be read, and an unread subject can need a policy: {found.unread[0]}: give your role "
            "permission to read it, then run `rolewarden detach` again"
        )
    if unknown := sorted(set(only) - found.roles.keys()):
        raise NothingReadError(
            f"{no_such_role(found.account, unknown[0], found.roles)}: list the roles with `rolewarden plan --all`"
        )
    wanted = [role for role in plan.roles if role.detachable and (not only or role.outcome.role in only)]
    roles = {role.outcome.role: role.detachable for role in wanted}
    unused = set(plan.unused)
    if only:
        unused &= {name for names in roles.values() for name in names}
    others = (found.roles.get(role.outcome.role) for role in plan.roles if role not in wanted)
    stay = {name for role in others if role for name in ours(found, role)}
    needed = {} if observes else _needed(found, plan, only)
    return Surplus(found.account, roles, tuple(sorted(unused - stay)), needed, observes)


def _needed(found: Inventory, plan: Plan, only: Collection[str]) -> dict[str, str]:
    """The roles of `only` that have policies of Rolewarden and need them, each with its uses."""
    details = {role.outcome.role: (role, found.roles.get(role.outcome.role)) for role in plan.roles}
    named = [(name, *details[name]) for name in only if name in details]
    return {
        name: ", ".join(sorted({binding.label for binding in role.bindings})[:SOME_USES])
        for name, role, detail in named
        if detail and not role.detachable and role.bindings and ours(found, detail)
    }


def detach_surplus(
    connection: Connection,
    planned: Surplus,
    found: Inventory,
    rules: Rules,
    today: Callable[[], date],
    progress: Progress = ignore_progress,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Detached:
    """Detach the policies of `planned`, role by role, and delete the policies that are then unused.

    After `stop` returns True, the function changes no further role and no policy. SageMaker, IAM and the stack's rules
    are read again before each role. A role keeps each policy that it needs by then, and keeps all of its policies if it
    lacks one.
    """
    aws, recorder = connection.writer, recorder_of(connection)
    # Under `surplus: keep`, the stack does not detach by itself. Here the operator requests it.
    detaching = rules._replace(surplus=SurplusPolicies.DETACH)
    origin = of_operator(DETACH_COMMAND, connection.caller)

    def detacher(now: Inventory) -> Detacher:
        exemptions = exemptions_of(connection)
        needs = Needs(detaching, aws.partition, now.bound, connection.account, exemptions, Clock(today=today))
        # A deployed stack evaluates the role when the event of the detachment arrives, so no recheck is needed.
        return Detacher(aws, recorder, needs, NoRechecks(), AlreadyRead(), origin)

    done: dict[str, tuple[str, ...]] = {}
    left: list[str] = []
    for number, (role, policies) in enumerate(planned.roles.items()):
        if stop():
            break
        progress("roles", number, len(planned.roles))
        try:
            found = read(connection, rules, known=found)
            if found.unread:
                left.append(f"{role}: could not read everything: {found.unread[0]}")
                continue
            stack.need_same(stack.asked(connection, rules))
            result = detacher(found).detach_from(connection.account, role, list(policies))
        except RolewardenError as error:
            left.append(f"{role}: {error}")
            continue
        done[role] = tuple(result["detached"])
        if "waits" in result:
            left.append(f"{role}: {result['waits']}: run `rolewarden enforce` first")
    progress("roles", len(planned.roles), len(planned.roles))
    deleted = []
    for policy in () if stop() else planned.policies:
        try:
            result = detacher(found).retire(connection.account, policy)
        except (Refused, RetryLater) as error:
            left.append(f"policy {policy}: {error}")
            continue
        if result["retired"]:
            deleted.append(policy)
        else:
            left.append(f"policy {policy}: {result.get('waits', 'a guardrail needs it')}")
    if stop():
        left.append(STOPPED)
    return Detached(planned.account, planned, done, tuple(deleted), tuple(left))
