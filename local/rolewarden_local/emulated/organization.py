"""The organization that conditions and StackSets ask about: its accounts, its units, and its delegated administrators.

MiniStack does not model member accounts: each account that calls its Organizations is the management account of an
organization of its own, with a random ID. It has no delegated administrators:
https://docs.aws.amazon.com/organizations/latest/APIReference/API_RegisterDelegatedAdministrator.html
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rolewarden_local.emulated._ministack import organizations, responses

MANAGEMENT: Final = "777788889999"
"""The account that manages the organization, unless `organize` is given another one."""

STACK_SETS: Final = "member.org.stacksets.cloudformation.amazonaws.com"
"""The service principal of StackSets with service-managed permissions."""

NOT_DELEGATED: Final = "Account used is not a delegated administrator"
"""What StackSets answers to CallAs=DELEGATED_ADMIN if the account is none, and if the caller may not list them."""


@dataclass
class Organization:
    """The one organization of the local AWS.

    - `units`: the accounts of each organizational unit, by the unit's id.
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
        """The id of the organization that an account is in; empty for none."""
        return self.id if self.id and account in self.members() else ""

    def members(self) -> set[str]:
        """Every account of the organization."""
        return {self.management}.union(*self.units.values(), *self.administrators.values())

    def accounts(self, units: list[str]) -> dict[str, str]:
        """The accounts of these units, each with its unit."""
        return {account: unit for unit in units for account in sorted(self.units.get(unit, ()))}

    def set_stack_sets_active(self) -> None:
        """Do what ActivateOrganizationsAccess does."""
        self.operates_stack_sets = True
        self.trusted.add(STACK_SETS)


ORGANIZATION = Organization()
"""One a process, as MiniStack's state is."""


def reset_organization() -> None:
    """No organization."""
    ORGANIZATION.__init__()  # type: ignore[misc]


def install_organization() -> None:
    """Answer calls about delegated administrators. Call once a process."""
    organizations._DISPATCH |= {
        "EnableAWSServiceAccess": _of_management(_enable),
        "RegisterDelegatedAdministrator": _of_management(_register),
        "DeregisterDelegatedAdministrator": _of_management(_deregister),
        "ListDelegatedAdministrators": _list_administrators,
    }


Refusal = tuple[int, dict[str, str], bytes]


def _refused(code: str, message: str, **more: str) -> Refusal:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return 400, headers, json.dumps({"__type": code, "Message": message, **more}).encode()


def _of_management(handler: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    def handle(payload: Mapping[str, Any]) -> Any:
        if not ORGANIZATION.of(responses.get_account_id()):
            return _refused("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
        if responses.get_account_id() != ORGANIZATION.management:
            return _refused("AccessDeniedException", "You don't have permissions to access this resource.")
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
