"""`rolewarden detach --all`: remove the guardrails that a deleted stack left on the roles of an account.

The command does not need the stack: IAM lists the policies under Rolewarden's path, and the roles of each. A policy
without Rolewarden's description belongs to another owner and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rolewarden import POLICY_PATH
from rolewarden.errors import Gone, Refused, RetryLater, RolewardenError
from rolewarden.names import folded_arn
from rolewarden.origin import of_operator
from rolewarden.policies import DESCRIPTION, is_boundary, policy_arn

from rolewarden_cli.answers import HIDDEN
from rolewarden_cli.connect import Connection
from rolewarden_cli.detach import DETACH_COMMAND, STOPPED
from rolewarden_cli.enforce import recorder_of
from rolewarden_cli.inventory import Progress, ignore_progress


class StackExistsError(RolewardenError):
    """A stack covers the account, and would attach everything again; the message has the next step."""


@dataclass(frozen=True)
class LeftPolicies:
    """The policies of Rolewarden in an account.

    - `roles`: the names of the policies that each role has attached or as its boundary.
    - `policies`: the names of all policies, also of those that no role has.
    - `foreign`: policies under Rolewarden's path without its description, which stay.
    """

    account: str = field(metadata=HIDDEN)
    roles: Mapping[str, tuple[str, ...]]
    policies: tuple[str, ...]
    foreign: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.roles or self.policies)


@dataclass(frozen=True)
class Removed:
    """The policies `detached` from each role, those `deleted`, and a line with the reason for each one `left`."""

    account: str
    planned: LeftPolicies
    detached: Mapping[str, tuple[str, ...]]
    deleted: tuple[str, ...]
    left: tuple[str, ...]


def need_no_stack(connection: Connection) -> None:
    """Raise StackExistsError if a stack covers the account.

    A stack with another name, in another region or in the central account shows itself by the roles of its functions.
    """
    if connection.stack:
        raise StackExistsError(
            f"stack {connection.stack.name} exists and would attach everything again: delete it first, see "
            "docs/how-to/uninstall.md"
        )
    roles = sorted(role.name for role in connection.aws.roles() if role.path.startswith(POLICY_PATH))
    if roles:
        raise StackExistsError(
            f"a stack covers this account, because role {roles[0]} is under {POLICY_PATH}: name the stack and its "
            "region with --stack and --region, and delete it first; if no stack is left, delete the role"
        )


def find_left(connection: Connection, progress: Progress = ignore_progress) -> LeftPolicies:
    """Find the policies of Rolewarden and the roles that have them. Raises Refused and RetryLater."""
    aws = connection.writer
    roles: dict[str, list[str]] = {}
    own, foreign = [], []
    names = sorted(aws.own_policies())
    for number, name in enumerate(names):
        progress("policies", number, len(names))
        arn = policy_arn(name, aws.partition, connection.account)
        if aws.policy_description(arn) != DESCRIPTION:
            foreign.append(name)
            continue
        own.append(name)
        for role in sorted(aws.roles_with_boundary(arn) if is_boundary(name) else aws.roles_with_policy(arn)):
            roles.setdefault(role, []).append(name)
    progress("policies", len(names), len(names))
    by_role = {role: tuple(found) for role, found in sorted(roles.items())}
    return LeftPolicies(connection.account, by_role, tuple(own), tuple(foreign))


def remove_left(
    connection: Connection,
    planned: LeftPolicies,
    *,
    deletes: bool,
    progress: Progress = ignore_progress,
    stop: Callable[[], bool] = lambda: False,
) -> Removed:
    """Detach the policies of `planned` from their roles, and then delete the policies if `deletes` is true.

    After `stop` returns True, the function changes no further role and no policy. Each refusal of AWS becomes a line of
    the result, and the function continues with the other roles.
    """
    aws, recorder, account = connection.writer, recorder_of(connection), connection.account
    origin = of_operator(DETACH_COMMAND, connection.caller)
    correlation_id = origin.new_correlation_id()
    detached: dict[str, tuple[str, ...]] = {}
    left, deleted = [], []
    for number, (role, names) in enumerate(planned.roles.items()):
        if stop():
            break
        progress("roles", number, len(planned.roles))
        done = []
        for name in names:
            try:
                if _detach_one(connection, role, name, correlation_id):
                    done.append(name)
            except (Refused, RetryLater) as error:
                left.append(f"{name} stays on {role}: {error}")
        if done:
            detached[role] = tuple(done)
            recorder.record_detachment(account, role, done, origin, correlation_id)
    progress("roles", len(planned.roles), len(planned.roles))
    for name in planned.policies if deletes and not stop() else ():
        try:
            aws.delete_policy(policy_arn(name, aws.partition, account))
            deleted.append(name)
        except (Refused, RetryLater) as error:
            left.append(f"policy {name} stays: {error}")
    if stop():
        left.append(STOPPED)
    return Removed(account, planned, detached, tuple(deleted), tuple(left))


def _detach_one(connection: Connection, role: str, name: str, correlation_id: str) -> bool:
    """Detach a policy, or remove a boundary. Gives whether the role had it. Raises Refused and RetryLater."""
    aws = connection.writer
    arn = policy_arn(name, aws.partition, connection.account)
    try:
        if not is_boundary(name):
            return aws.detach(role, arn, correlation_id=correlation_id)
        # The role may have another boundary since the list was shown.
        has_ours = folded_arn(aws.role(role).boundary) == folded_arn(arn)
        return has_ours and aws.remove_boundary(role, correlation_id=correlation_id)
    except Gone:
        return False
