"""The organization for conditions, StackSets and service control policies: accounts, units, delegated administrators.

MiniStack does not model member accounts: each account that calls Organizations is the management account of its own
organization with a random ID. MiniStack lacks delegated administrators:
https://docs.aws.amazon.com/organizations/latest/APIReference/API_RegisterDelegatedAdministrator.html

This module writes the one organization into the management account's records of MiniStack, which then answers about
its tree and its policies. Only the management account can change them. A delegated administrator can read them:
https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListPoliciesForTarget.html
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rolewarden_local.emulated._ministack import organizations, responses
from rolewarden_local.emulated.limits import SCPS_PER_TARGET

MANAGEMENT: Final = "777788889999"
"""The management account of the organization, unless `organize` gets another one."""

ROOT: Final = "r-root"
"""The ID of the organization's root."""

SCP: Final = "SERVICE_CONTROL_POLICY"
FULL_ACCESS: Final = organizations.FULL_ACCESS_POLICY_ID
"""The ID of FullAWSAccess, the service control policy that allows everything."""

STACK_SETS: Final = "member.org.stacksets.cloudformation.amazonaws.com"
"""The service principal of StackSets with service-managed permissions."""

NOT_DELEGATED: Final = "Account used is not a delegated administrator"
"""StackSets's error for CallAs=DELEGATED_ADMIN if the account is none, or if the caller cannot list them."""


@dataclass
class Organization:
    """The one organization of the local AWS.

    - `units`: the accounts of each organizational unit, by the unit's ID.
    - `management`: the management account; StackSets never puts a stack into it.
    - `trusted`: the service principals that have trusted access.
    - `administrators`: the accounts that are delegated administrators, by service principal.
    - `operates_stack_sets`: whether the management account has activated StackSets. Trusted access alone does not:
      https://github.com/pepperize/cdk-organizations/issues/1718
    """

    id: str = ""
    units: dict[str, set[str]] = field(default_factory=dict)
    management: str = MANAGEMENT
    trusted: set[str] = field(default_factory=set)
    administrators: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    operates_stack_sets: bool = False

    def of(self, account: str) -> str:
        """The ID of an account's organization, or "" if it is in none."""
        return self.id if self.id and account in self.members() else ""

    def members(self) -> set[str]:
        """Every account of the organization."""
        return {self.management}.union(*self.units.values(), *self.administrators.values())

    def accounts(self, units: list[str]) -> dict[str, str]:
        """The accounts of these units, each with its unit."""
        return {account: unit for unit in units for account in sorted(self.units.get(unit, ()))}

    def is_restricted(self, account: str) -> bool:
        """Whether service control policies apply to an account. They never apply to the management account.

        https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
        """
        return bool(self.of(account)) and account != self.management

    def is_reader(self, account: str) -> bool:
        """Whether an account can read the tree and the policies: the management account and every administrator can."""
        return account == self.management or any(account in found for found in self.administrators.values())

    def set_stack_sets_active(self) -> None:
        """Activate StackSets and their trusted access, as ActivateOrganizationsAccess does."""
        self.operates_stack_sets = True
        self.trusted.add(STACK_SETS)


ORGANIZATION = Organization()
"""The organization of this process. MiniStack also has one state for each process."""


def reset_organization() -> None:
    """Delete the organization."""
    ORGANIZATION.__init__()  # type: ignore[misc]
    organizations.reset()


def record_tree() -> None:
    """Write the root, units and accounts into MiniStack's records. Existing ones keep their policies."""
    made = ORGANIZATION
    with _scope_of(made.management):
        organizations._ensure_org()
        [own_root] = list(organizations._roots)
        if own_root != ROOT:
            del organizations._roots[own_root]
            organizations._attachments[FULL_ACCESS] = [ROOT, made.management]
        account_arn = f"arn:aws:organizations::{made.management}:account/{made.id}"
        organizations._orgs["self"] |= {
            "Id": made.id,
            "Arn": f"arn:aws:organizations::{made.management}:organization/{made.id}",
            "MasterAccountArn": f"{account_arn}/{made.management}",
        }
        organizations._roots[ROOT] = {
            "Id": ROOT,
            "Arn": f"arn:aws:organizations::{made.management}:root/{made.id}/{ROOT}",
            "Name": "Root",
            "PolicyTypes": [{"Type": SCP, "Status": "ENABLED"}],
        }
        for unit in made.units:
            arn = f"arn:aws:organizations::{made.management}:ou/{made.id}/{unit}"
            _record(organizations._ous, {"Id": unit, "Arn": arn, "Name": unit, "Path": f"/{unit}/", "_ParentId": ROOT})
        parents = made.accounts(list(made.units))
        for account in made.members():
            named = {"Arn": f"{account_arn}/{account}", "Name": account, "Email": f"{account}@example.com"}
            parent = parents.get(account, ROOT)
            _record(organizations._accounts, {"Id": account, **named, "Status": "ACTIVE", "_ParentId": parent})


def _record(store: Any, record: Mapping[str, Any]) -> None:
    """Write a node of the tree. AWS attaches FullAWSAccess to each new one.

    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html
    """
    if record["Id"] not in store and record["Id"] not in organizations._attachments[FULL_ACCESS]:
        organizations._attachments[FULL_ACCESS] = [*organizations._attachments[FULL_ACCESS], record["Id"]]
    store[record["Id"]] = dict(record)


def scp_levels(account: str) -> list[dict[str, str]]:
    """The texts of the service control policies from the root down to an account: for each level, a dict by policy ID.

    Empty if none applies to the account.
    """
    if not ORGANIZATION.is_restricted(account):
        return []
    with _scope_of(ORGANIZATION.management):
        node, path = account, [account]
        while node != ROOT:
            node = (organizations._accounts.get(node) or organizations._ous[node])["_ParentId"]
            path.insert(0, node)
        policies = {id_: one for id_, one in organizations._policies.items() if one["Type"] == SCP}
        return [
            {
                id_: policy["_Content"]
                for id_, policy in policies.items()
                # A policy that was never attached has no entry.
                if target in organizations._attachments.get(id_, ())
            }
            for target in path
        ]


@contextlib.contextmanager
def _scope_of(account: str) -> Iterator[None]:
    """Let MiniStack work in this account while the block runs."""
    token = responses._request_account_id.set(account)
    try:
        yield
    finally:
        responses._request_account_id.reset(token)


_WRITES: Final = (
    "AttachPolicy",
    "CreateOrganizationalUnit",
    "CreatePolicy",
    "DeletePolicy",
    "DetachPolicy",
    "DisablePolicyType",
    "EnablePolicyType",
    "MoveAccount",
    "UpdatePolicy",
)
_READS: Final = (
    "DescribePolicy",
    "ListAccounts",
    "ListOrganizationalUnitsForParent",
    "ListParents",
    "ListPolicies",
    "ListPoliciesForTarget",
    "ListRoots",
    "ListTargetsForPolicy",
)


def install_organization() -> None:
    """Answer calls about the tree, its policies and delegated administrators. Call once a process."""
    made = organizations._DISPATCH
    made |= {operation: _of_management(_within_numbers(made[operation])) for operation in _WRITES}
    made |= {operation: _of_readers(made[operation]) for operation in _READS}
    made |= {
        "DescribeOrganization": _of_members(made["DescribeOrganization"]),
        "EnableAWSServiceAccess": _of_management(_enable),
        "RegisterDelegatedAdministrator": _of_management(_register),
        "DeregisterDelegatedAdministrator": _of_management(_deregister),
        "ListDelegatedAdministrators": _list_administrators,
    }


_Handler = Callable[[Mapping[str, Any]], Any]
Refusal = tuple[int, dict[str, str], bytes]


def _refused(code: str, message: str, **more: str) -> Refusal:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return 400, headers, json.dumps({"__type": code, "Message": message, **more}).encode()


def _of_members(handler: _Handler, is_allowed: Callable[[str], bool] = lambda _account: True) -> _Handler:
    """Answer a call of an allowed account of the organization from MiniStack's records."""

    def handle(payload: Mapping[str, Any]) -> Any:
        asking = responses.get_account_id()
        if not ORGANIZATION.of(asking):
            return _refused("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
        if not is_allowed(asking):
            return _refused("AccessDeniedException", "You don't have permissions to access this resource.")
        with _scope_of(ORGANIZATION.management):
            return handler(payload)

    return handle


def _of_readers(handler: _Handler) -> _Handler:
    return _of_members(handler, ORGANIZATION.is_reader)


def _of_management(handler: _Handler) -> _Handler:
    return _of_members(handler, lambda account: account == ORGANIZATION.management)


def _within_numbers(handler: _Handler) -> _Handler:
    """Keep one to SCPS_PER_TARGET service control policies attached to a root, a unit or an account.

    https://docs.aws.amazon.com/organizations/latest/APIReference/API_DetachPolicy.html
    """

    def handle(payload: Mapping[str, Any]) -> Any:
        attached = [id_ for id_, targets in organizations._attachments.items() if payload.get("TargetId") in targets]
        if handler is organizations._detach_policy and attached == [payload.get("PolicyId")]:
            return _refused(
                "ConstraintViolationException",
                "You cannot remove the last policy of this type from the specified entity.",
                Reason="MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
            )
        is_new = payload.get("PolicyId") not in attached
        if handler is organizations._attach_policy and is_new and len(attached) >= SCPS_PER_TARGET:
            return _refused(
                "ConstraintViolationException",
                "You have attached the maximum number of policies to this entity.",
                Reason="MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
            )
        return handler(payload)

    return handle


def _enable(payload: Mapping[str, Any]) -> Any:
    ORGANIZATION.trusted.add(payload["ServicePrincipal"])
    return organizations._json(200, {})


def _register(payload: Mapping[str, Any]) -> Any:
    account, service = payload["AccountId"], payload["ServicePrincipal"]
    if not ORGANIZATION.of(account):
        return _refused("AccountNotFoundException", "You specified an account that doesn't exist.")
    if service not in ORGANIZATION.trusted:
        return _refused(
            "ConstraintViolationException",
            "You attempted to register a delegated administrator before you enabled service access.",
            Reason="SERVICE_ACCESS_NOT_ENABLED",
        )
    if account in ORGANIZATION.administrators[service]:
        return _refused(
            "AccountAlreadyRegisteredException",
            "The provided account is already a delegated administrator for your organization.",
        )
    ORGANIZATION.administrators[service].add(account)
    return organizations._json(200, {})


def _deregister(payload: Mapping[str, Any]) -> Any:
    account, service = payload["AccountId"], payload["ServicePrincipal"]
    if account not in ORGANIZATION.administrators[service]:
        return _refused(
            "AccountNotRegisteredException",
            "The specified account is not a delegated administrator for this AWS service.",
        )
    ORGANIZATION.administrators[service].remove(account)
    return organizations._json(200, {})


def _list_administrators(payload: Mapping[str, Any]) -> Any:
    asking = responses.get_account_id()
    registered = ORGANIZATION.administrators
    if asking != ORGANIZATION.management and not any(asking in accounts for accounts in registered.values()):
        return _refused("AccessDeniedException", "You don't have permissions to access this resource.")
    service = payload.get("ServicePrincipal")
    listed = registered[service] if service else set().union(*registered.values())
    return organizations._json(200, {"DelegatedAdministrators": [{"Id": account} for account in sorted(listed)]})
