"""The deployers of a stack: the principals that its protection exempts, and the callers that can act as one of them.

An exemption is as strong as the protection of its principal: an administrator who can create a principal that the
exemption matches is exempt. A deployer is therefore one role or user of one account. Only the role of a permission set
needs a pattern, because IAM Identity Center gives it a random suffix, and a new one when it makes the role again:
https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden.errors import Gone, ProtectionError, Refused, RetryLater
from rolewarden.principals import PERMISSION_SET, ROLE_OR_USER, SUFFIX, pattern_of

from rolewarden_cli.account import OperatorCalls

_FORMS = (
    (r"arn:[^:]*:sts::[^:]*:assumed-role/.*", "the ARN of a session: give the ARN of its role"),
    (
        r"arn:[^:]*:sts::[^:]*:federated-user/.*",
        "each user with sts:GetFederationToken chooses this name: give a role or user",
    ),
    (r"arn:[^:]*:iam::[^:]*:role/aws-service-role/.*", "no policy here restricts a service-linked role: leave it out"),
    (
        r"arn:[^:]*:iam::(?![0-9]{12}:)[^:]*[*?][^:]*:.*",
        "the account is a wildcard, so an administrator of another account could create this principal: give the ID of "
        "the account, and repeat the option for further accounts",
    ),
    (
        r"arn:[^:]*:iam::[0-9]{12}:(role|user)/.*[*?].*",
        "the name has a wildcard, so it exempts every role or user that matches: give the whole ARN, and repeat the "
        "option. Only the suffix of IAM Identity Center's roles can be `*`: "
        "role/aws-reserved/sso.amazonaws.com/[REGION/]AWSReservedSSO_NAME_*",
    ),
)
"""Forms of an ARN that cannot be a deployer's, each with the reason and the solution."""


DEPLOYER, APPROVER = "deployer", "approver"
"""The titles of principals that a service control policy exempts. Each has an option of `rolewarden scp`."""

_EXAMPLES = {DEPLOYER: "deploy-rolewarden", APPROVER: "approve-models"}
_WHERE = {DEPLOYER: "the stack is", APPROVER: "the principals of guardrails.yaml are"}


def deployer_patterns(given: Iterable[str], partition: str, account: str, title: str = DEPLOYER) -> tuple[str, ...]:
    """The ARNs of deployers or approvers, with a pattern for the suffix of a permission set's role.

    Raises ProtectionError for an ARN that an administrator could give to another principal.
    """
    return tuple(dict.fromkeys(_pattern(arn, partition, account, title) for arn in given))


def _pattern(arn: str, partition: str, account: str, title: str) -> str:
    for form, problem in _FORMS:
        if re.fullmatch(form, arn) and not PERMISSION_SET.fullmatch(arn):
            raise ProtectionError(f"--{title} {arn}: {problem}")
    if not PERMISSION_SET.fullmatch(arn) and not ROLE_OR_USER.fullmatch(arn):
        raise ProtectionError(
            f"--{title} {arn}: not the ARN of a role or user: give one, such as "
            f"arn:{partition}:iam::{account}:role/{_EXAMPLES[title]}"
        )
    if arn.split(":")[1] != partition:
        raise ProtectionError(f"--{title} {arn}: {_WHERE[title]} in the partition {partition}: give an ARN of it")
    return pattern_of(arn)


@dataclass(frozen=True)
class Trusts:
    """The identity providers and callers that the trust policies of deployers name.

    - `providers`: the ARNs or ARN patterns of the identity providers that can sign in a deployer. The policy protects
      them, too.
    - `notes`: a line for each deployer that other callers can assume, or whose trust policy was not read.
    """

    providers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_trusts(calls: OperatorCalls, deployers: Iterable[str], account: str, title: str = DEPLOYER) -> Trusts:
    """Read the callers that can assume the deployers or approvers, as far as they are roles of `account`.

    Raises ProtectionError if a deployer has another path than its ARN says: the ARN would exempt no role.
    """
    deployers = tuple(deployers)
    providers: dict[str, None] = {}
    notes: list[str] = []
    for arn in deployers:
        _, partition, _, _, owner, resource = arn.split(":", 5)
        if resource.startswith("user/"):
            continue
        if arn.endswith(SUFFIX):
            # IAM Identity Center signs its users in by a provider with such a name in each account.
            providers[f"arn:{partition}:iam::{owner}:saml-provider/AWSSSO_*"] = None
        elif owner != account:
            notes.append(f"{arn}: the trust policy of a role in another account was not read: {_CHECK}")
        else:
            try:
                found, trust = calls.trust_of(resource.rsplit("/", 1)[-1])
            except Gone:
                notes.append(f"{arn} does not exist: create it before you attach the policy, which denies its creation")
                continue
            except (Refused, RetryLater) as error:
                notes.append(f"{arn}: its trust policy was not read ({str(error).rstrip('.')}): {_CHECK}")
                continue
            if found != arn:
                raise ProtectionError(f"--{title} {arn}: the ARN of this role is {found}: give that one")
            others = []
            for kind, principal in trusted_principals(trust):
                if kind == "Federated" and principal.startswith(f"arn:{partition}:iam::{account}:"):
                    providers[principal] = None
                elif not any(is_deployer(principal, each) for each in deployers):
                    others.append(principal)
            if others:
                notes.append(f"{arn} trusts {', '.join(sorted(set(others)))}: {_trusted(title)}")
    return Trusts(tuple(providers), tuple(notes))


_CHECK = "check that no administrator can assume it"


def _trusted(title: str) -> str:
    return (
        f"each caller that can act as one of these principals can become this {title}. Trust only identity providers, "
        f"other {title}s, or principals that no administrator can change or assume"
    )


def trusted_principals(trust: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The principals that a trust policy allows: kind and value. NotPrincipal counts as everybody (`*`)."""
    for statement in _listed(trust.get("Statement", [])):
        if statement.get("Effect") != "Allow":
            continue
        named = statement.get("Principal", "*")
        for kind, values in named.items() if isinstance(named, Mapping) else [("AWS", named)]:
            for value in _listed(values):
                yield kind, value


def is_deployer(principal: str, deployer: str) -> bool:
    """Whether a trust policy's principal is a deployer. A trust policy has no patterns in ARNs."""
    suffix = principal[len(deployer) - len(SUFFIX) :]
    of_set = deployer.endswith(SUFFIX) and "/" not in suffix and len(principal) == len(deployer)
    return principal == deployer or (of_set and principal.startswith(deployer.removesuffix(SUFFIX)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
