"""Trust policies: the services and accounts that can assume a role.

Where this module cannot decide, it says that the trust policy allows the principal: `also_govern` then covers one role
more, and no role less. So a condition of an Allow statement does not narrow it, and a Deny statement with a condition
denies nothing here.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import unquote

EVERYBODY = "*"
"""The principal that stands for all principals, services included."""

_ASSUME = "sts:assumerole"
_SET_SOURCE_IDENTITY = "sts:setsourceidentity"
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_ROOT = re.compile(r"arn:[^:]+:iam::([0-9]{12}):root")
_OF_ACCOUNT = re.compile(r"arn:[^:]+:(?:iam|sts)::([0-9]{12}):.+", re.DOTALL)
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_FURTHER = ("job.sagemaker.amazonaws.com", "hyperpod.sagemaker.amazonaws.com")
"""Further principals of services. They count for a trust policy that allows all services and denies some of them."""


class Trust(NamedTuple):
    """The principals that a trust policy allows to assume its role: services, accounts by their ID, or EVERYBODY.

    An account counts as allowed if one of its users or roles is.

    - `named`: the principals of the Allow statements.
    - `denied`: the principals of the Deny statements.
    - `spared`: the only principals that no Deny statement with NotPrincipal denies; None without such a statement.
    - `identifying`: the principals that an Allow statement lets set a source identity, with those of identity
      providers.
    """

    named: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    spared: frozenset[str] | None = None
    identifying: frozenset[str] = frozenset()

    @property
    def lets_only_sagemaker_identify(self) -> bool:
        """Whether SageMaker can set the source identity of a session, and no other principal can choose one."""
        # The name of an identity provider can end like that of a service.
        services = {one for one in self.identifying if " " not in one}
        return (
            bool(services) and services == self.identifying and {service_of(one) for one in services} == {"sagemaker"}
        )

    def includes(self, principal: str) -> bool:
        """Whether a service, or an account by its ID, can assume the role.

        A service includes its further principals, such as job.sagemaker.amazonaws.com.
        """
        further = {name for name in (*self.named, *_FURTHER) if service_of(name) == (service_of(principal) or None)}
        return any(map(self._includes, {principal, *further}))

    def _includes(self, principal: str) -> bool:
        """Whether exactly this principal can assume the role."""
        among = {principal, EVERYBODY}
        return bool(among & self.named and not among & self.denied and (self.spared is None or among & self.spared))

    @property
    def services(self) -> frozenset[str]:
        """The services that the trust policy names and allows. Without those that only EVERYBODY stands for."""
        return frozenset(name for name in self.named if "." in name and self._includes(name))


def service_of(principal: str) -> str:
    """The service that a principal belongs to; empty for an account.

    `sagemaker` is the service of sagemaker.amazonaws.com, of its further principals job.sagemaker.amazonaws.com and
    hyperpod.sagemaker.amazonaws.com, and of the regional form sagemaker.us-east-1.amazonaws.com.
    """
    labels = principal.partition(".amazonaws.com")[0].split(".") if ".amazonaws.com" in principal else [""]
    if len(labels) > 1 and _REGION.fullmatch(labels[-1]):
        labels.pop()
    return labels[-1]


def principal_of(text: str) -> str:
    """A principal in the form in which `Trust` has it: the ID of an account instead of the ARN of its root user."""
    root = _ROOT.fullmatch(text)
    return root[1] if root else text.lower()


def trust_of(document: Any) -> Trust:
    """The trust in a trust policy, which is a mapping, or JSON that can be percent-encoded. Accepts any value."""
    if isinstance(document, str):
        try:
            document = json.loads(unquote(document))
        except ValueError:
            return Trust()
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    named: set[str] = set()
    denied: set[str] = set()
    spared: frozenset[str] | None = None
    identifying: set[str] = set()
    for statement in _listed(statements):
        if not isinstance(statement, Mapping):
            continue
        if statement.get("Effect") == "Allow" and _is_about(_SET_SOURCE_IDENTITY, statement):
            identifying |= {EVERYBODY} if "NotPrincipal" in statement else set(_any_of(statement.get("Principal")))
        if not _is_about(_ASSUME, statement):
            continue
        if statement.get("Effect") == "Allow":
            # An Allow statement with NotPrincipal allows all others, the anonymous ones included.
            named |= {EVERYBODY} if "NotPrincipal" in statement else set(_some_of(statement.get("Principal")))
        elif statement.get("Effect") == "Deny" and not statement.get("Condition"):
            if "NotPrincipal" in statement:
                others = frozenset(_some_of(statement["NotPrincipal"]))
                spared = others if spared is None else spared & others
            else:
                denied |= set(_whole(statement.get("Principal")))
    return Trust(frozenset(named), frozenset(denied), spared, frozenset(identifying))


def allows_nobody(document: Any) -> bool:
    """Whether a trust policy, as `trust_of` accepts it, has a statement and only statements that deny."""
    if isinstance(document, str):
        try:
            document = json.loads(unquote(document))
        except ValueError:
            return False
    statements = _listed(document.get("Statement") if isinstance(document, Mapping) else None)
    return bool(statements) and all(isinstance(one, Mapping) and one.get("Effect") == "Deny" for one in statements)


def _is_about(action: str, statement: Mapping[str, Any]) -> bool:
    """Whether a statement is about an action, in lower case: sts:AssumeRole, which services use, for example."""
    if "NotAction" in statement:
        return not any(_matches(action, pattern) for pattern in _listed(statement["NotAction"]))
    return any(_matches(action, pattern) for pattern in _listed(statement.get("Action")))


def _matches(action: str, pattern: Any) -> bool:
    return isinstance(pattern, str) and fnmatchcase(action, pattern.lower().replace("[", "[[]"))


def _principals(principal: Any) -> Iterator[str]:
    if principal == EVERYBODY:
        yield EVERYBODY
    if isinstance(principal, Mapping):
        for kind in ("AWS", "Service"):
            yield from (text for text in _listed(principal.get(kind)) if isinstance(text, str))


def _any_of(principal: Any) -> Iterator[str]:
    """The principals of a statement of every kind, also identity providers."""
    if principal == EVERYBODY:
        yield EVERYBODY
    if isinstance(principal, Mapping):
        for kind, named in principal.items():
            yield from (str(text).lower() if kind == "Service" else f"{kind} {text}" for text in _listed(named))


def _some_of(principal: Any) -> Iterator[str]:
    """The principals of a statement. A user or role stands for its account."""
    for text in _principals(principal):
        found = _OF_ACCOUNT.fullmatch(text)
        yield found[1] if found else text.lower()


def _whole(principal: Any) -> Iterator[str]:
    """The principals of a statement that it names as a whole: without the users and roles of accounts."""
    for text in _principals(principal):
        name = principal_of(text)
        if name == EVERYBODY or _ACCOUNT_ID.fullmatch(name) or not name.startswith("arn:"):
            yield name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
