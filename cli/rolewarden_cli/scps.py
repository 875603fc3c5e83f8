"""The service control policies (SCPs) that apply to an account, as far as the caller can read them.

IAM's simulator evaluates them and names neither their statements nor their condition keys (IAM API Reference,
EvaluationResult), so `access` has to know their condition keys. Only the management account, delegated administrators
and accounts that the organization's delegation policy names can read them:
https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListPoliciesForTarget.html
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_delegate_policies.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rolewarden.denials import AwsRequest, Denials, Target, TargetKind
from rolewarden.errors import Refused, RetryLater, RulesError
from rolewarden.guardrails import Rules
from rolewarden.in_force import is_of_prevention

from rolewarden_cli.account import Context, OperatorCalls
from rolewarden_cli.documents import Document

NOT_IN_USE = "AWSOrganizationsNotInUseException"
"""The error code for an account that is in no organization."""


@dataclass(frozen=True)
class ControlPolicies:
    """The SCPs that apply to an account.

    - `documents`: None if SCPs may apply and the caller cannot read them.
    - `context`: the condition keys with the position of the account's principals in the organization.
    - `prevention`: the names of those that guardrails.yaml compiles to.
    - `unread`: why the caller cannot read them, with the fix. Empty if the caller can.
    """

    documents: tuple[Document, ...] | None = ()
    context: dict[str, Any] = field(default_factory=dict)
    unread: str = ""
    prevention: frozenset[str] = frozenset()

    @property
    def known(self) -> tuple[Document, ...]:
        """The SCPs that the caller can read."""
        return self.documents or ()

    def that_deny(self, action: str, resource: str) -> tuple[str, ...]:
        """The names of the SCPs with a deny that covers a request, whatever its conditions ask for."""
        return tuple(found.name for found in self.known if any(found.covering("Deny", action, resource)))

    def is_of_prevention(self, action: str, resource: str, context: Context) -> bool:
        """Whether an SCP of prevention denies a request with these values of condition keys."""
        found = [statement for one in self.known if one.name in self.prevention for statement in one.statements]
        values = {key: (str(value).lower() if isinstance(value, bool) else value) for key, value in context.items()}
        given = {key: value if isinstance(value, str) else tuple(value) for key, value in values.items()}
        return Denials(map(dict, found)).covers(Target(TargetKind.PATH, "", ((AwsRequest(action, resource, given),),)))


def read_control_policies(calls: OperatorCalls, account: str, rules: Rules | None = None) -> ControlPolicies:
    """Read the SCPs from the root of the organization down to `account`.

    `rules` decide which of them belong to prevention. Without rules, none does.
    """
    try:
        organization, management = calls.organization()
    except (Refused, RetryLater) as error:
        if NOT_IN_USE in str(error):
            return ControlPolicies()
        return ControlPolicies(None, {}, _unread(error))
    context: dict[str, Any] = {"aws:PrincipalOrgID": organization}
    if account == management:
        return ControlPolicies((), context)
    try:
        path = calls.organization_path(account)
        documents = {id_: Document(name, arn, text) for id_, name, arn, text in calls.control_policies(path)}
    except (Refused, RetryLater) as error:
        return ControlPolicies(None, context, _unread(error))
    found = tuple(documents.values())
    context["aws:PrincipalOrgPaths"] = _org_path(organization, path)
    prevention = frozenset(one.name for one in found if rules and _is_of_prevention(rules, one))
    return ControlPolicies(found, context, prevention=prevention)


def _is_of_prevention(rules: Rules, document: Document) -> bool:
    partition = document.arn.split(":")[1]
    try:
        return is_of_prevention(rules, partition, {"Statement": list(document.statements)})
    except RulesError:
        return False  # the file compiles to no SCP of this partition


def _org_path(organization: str, path: Sequence[str]) -> list[str]:
    return ["/".join((organization, *path[:-1], ""))]


def _unread(error: Exception) -> str:
    return (
        f"service control policies: {str(error).rstrip('.')}. IAM evaluates them, but does not name the condition keys "
        "that they depend on. To read them, the account has to be a delegated administrator or named in the "
        "organization's delegation policy, and the caller needs organizations:DescribeOrganization, ListParents, "
        "ListPoliciesForTarget and DescribePolicy"
    )
