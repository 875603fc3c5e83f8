"""Admission to wider roles: service control policies (SCPs) that let only approvers give wider access to models.

The SCPs of prevention (`rolewarden compile --scp`) name the callers that do not have the strictest rules: principals of
assignments, and exempt roles. Such a caller is wider than a caller that guardrails.yaml does not name. The SCPs of this
module decide who can become a wider caller:

- Only approvers can create a wider role, change its trust policy, or assume it.
- Only approvers can pass a wider role. A role can also pass the roles of its own assignment, because Canvas and Studio
  pass their own role to jobs and endpoints.
- Only approvers can change a wider user, an approver, or an identity provider that signs in an approver.
- A session of SageMaker, or of a wider role, cannot choose the role of a domain or user profile, or
  open another one.

AWS authorizes AcquireRole, which creates a role from a template, as `iam:CreateRole`:
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_role-manager_enable-use.html
No SCP restricts a service that assumes a role, or a user whom an identity provider signs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rolewarden.errors import ProtectionError
from rolewarden.packing import SCP_SIZE, Document, Statement, by_name, document_of, numbered, packed, size
from rolewarden.prevention import WiderCallers

from rolewarden_cli.protect import IAM_READS, READS

NAME = "rolewarden-admission"
"""The name of the first SCP. Further ones end in a number."""

BECOMES_THE_ROLE = ("iam:CreateRole", "iam:UpdateAssumeRolePolicy", "ssm:UpdateManagedInstanceRole", "sts:*")
"""The actions on a role, except iam:PassRole, after which another caller can act as the role. The last one covers
sessions and their tags. SageMaker needs none of these permissions, because no SCP restricts a service."""

OF_DOMAINS = (
    "sagemaker:CreateDomain",
    "sagemaker:CreatePresignedDomainUrl",
    "sagemaker:CreatePresignedNotebookInstanceUrl",
    "sagemaker:CreateUserProfile",
    "sagemaker:UpdateDomain",
    "sagemaker:UpdateUserProfile",
)
"""The calls that give a role to a domain or user profile, or that let the caller work as the role of another one."""

_CALLER = "aws:PrincipalArn"


@dataclass(frozen=True)
class AdmissionPolicies:
    """The SCPs for a file and its approvers.

    - `wider`: the callers that are wider than the strictest rules, in groups of the same access.
    - `approvers`: the ARNs or ARN patterns of the roles and users that can give wider access, see `deployers.py`.
    - `providers`: the identity providers that can sign in approvers.
    """

    wider: WiderCallers
    approvers: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()

    def documents(self) -> dict[str, Document]:
        """The SCPs by their names. Raises ProtectionError if a statement is too long and cannot be divided."""
        pieces = [piece for statement in self._statements() for piece in _divided(statement)]
        return by_name(NAME, packed(numbered(pieces), SCP_SIZE))

    def _statements(self) -> Iterator[Statement]:
        every = [pattern for group in self.wider for pattern in group]
        users = [pattern for pattern in every if ":user/" in pattern]
        roles = [pattern for pattern in every if ":user/" not in pattern]
        if roles:
            yield self._deny("WiderRoles", BECOMES_THE_ROLE, roles)
        for group in self.wider:
            if passed := [pattern for pattern in group if ":user/" not in pattern]:
                yield self._deny("PassWiderRoles", ["iam:PassRole"], passed, _passable(group))
        if users:
            yield self._deny("WiderUsers", READS, users, is_not=True)
        if kept := [*self.approvers, *self.providers, *_providers([*self.approvers, *every])]:
            yield self._deny("Approvers", IAM_READS, list(dict.fromkeys(kept)), is_not=True)
        if work := [pattern for group in self.wider for pattern in _passable(group)]:
            # A wider role can pass itself, and CreateUserProfile would give it to another user.
            where = {"ArnLike": {_CALLER: work}}
            yield self._deny("DomainsByWiderRoles", OF_DOMAINS, "*", where=where)
        yield {
            "Sid": "DomainsBySessions",
            "Effect": "Deny",
            "Action": list(OF_DOMAINS),
            "Resource": "*",
            "Condition": {"StringLike": {"aws:userid": "*:SageMaker"}},
        }

    def _deny(
        self,
        sid: str,
        actions: Sequence[str],
        resources: str | list[str],
        others: Sequence[str] = (),
        *,
        where: Mapping[str, Mapping[str, list[str]]] | None = None,
        is_not: bool = False,
    ) -> Statement:
        """A deny for every caller except approvers and `others`. With `is_not`, it denies all actions but `actions`."""
        exempt = [*self.approvers, *others]
        condition = {**(where or {}), **({"ArnNotLike": {_CALLER: exempt}} if exempt else {})}
        return {
            "Sid": sid,
            "Effect": "Deny",
            "NotAction" if is_not else "Action": list(actions),
            "Resource": resources,
            **({"Condition": condition} if condition else {}),
        }


_OF_SETS = ":role/aws-reserved/sso.amazonaws.com/"
"""The path of the roles of permission sets, in the ARN."""


def _passable(group: Sequence[str]) -> list[str]:
    """The roles of a group as which SageMaker can work. It cannot work as a user or as the role of a permission set."""
    return [pattern for pattern in group if ":user/" not in pattern and _OF_SETS not in pattern]


def _providers(patterns: Sequence[str]) -> Iterator[str]:
    """The identity providers by which IAM Identity Center signs in the users of permission sets."""
    for pattern in patterns:
        if _OF_SETS in pattern:
            yield f"{pattern.partition(':role/')[0]}:saml-provider/AWSSSO_*"


def _divided(statement: Statement) -> Iterator[Statement]:
    """`statement`, or several statements that deny the same together if it is too long for an SCP."""
    if size(document_of([statement])) <= SCP_SIZE:
        yield statement
        return
    callers = statement["Condition"].get("ArnLike", {}).get(_CALLER, [])
    listed = callers or statement["Resource"]
    if len(listed) < 2 or isinstance(listed, str):
        raise ProtectionError(
            f"the statement {statement['Sid']} takes {size(document_of([statement])):,} of the {SCP_SIZE:,} characters "
            "of a service control policy, and cannot be divided: give fewer approvers, or name paths under "
            "`principals`, such as `arn:aws:iam::111122223333:role/canvas/approved/*`, instead of single roles"
        )
    for half in (listed[: len(listed) // 2], listed[len(listed) // 2 :]):
        if callers:
            yield from _divided({**statement, "Condition": {**statement["Condition"], "ArnLike": {_CALLER: half}}})
        else:
            yield from _divided({**statement, "Resource": half})
