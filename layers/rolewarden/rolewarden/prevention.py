"""The compiler of prevention: it turns guardrails.yaml into service control policies (SCPs) that deny at use.

Each distinct statement of the guardrails about models becomes one statement of an SCP, for every caller of the accounts
except the principals of assignments without that statement. A caller that the file does not name is therefore under all
statements: its ARN decides, and no attachment, event or assignment does. An action that a broader
statement denies anyway is left out.

An assignment with `source_identities` shares its principals with other users. A session of such a principal is an
exception only if its source identity (`aws:SourceIdentity`) is one of these names. Every other session, also one
without a source identity, is under all statements.

An exempt role belongs to no assignment. It is an exception from every statement until its exemption ends, and further
statements deny it everything afterwards that a guardrail denies, until the file no longer has the exemption.

The SCP has only statements that deny the use of models. The others (`OF_ROLES`) are limits of a covered role, and would
keep administrators from their work.

Facts about SCPs:

- https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html: 10,240 characters for each, and
  10 for each root, organizational unit or account.
- https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_syntax.html: the elements.
- https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html: aws:PrincipalArn is the ARN
  of the role and not of its session, and every signed request has it.

The same file always compiles to the same bytes. The day does not count, so the SCP also has exemptions that have ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from rolewarden.errors import RulesError
from rolewarden.guardrails import Exemption, Guardrail, Mode, Rules
from rolewarden.matching import covers
from rolewarden.packing import SCP_SIZE, Document, Statement, by_name, document_of, numbered, packed, size
from rolewarden.placement import identity
from rolewarden.policies import SID_FAMILIES, denies
from rolewarden.principals import exempt_patterns, pattern_of

SLOTS = 10
"""Maximum SCPs of a root, an organizational unit or an account, since May 2026 (5 before)."""

FREE_SLOTS = 5
"""The SCPs that are usually left, because FullAWSAccess, Control Tower and others take some (not documented)."""

NAME = "rolewarden-models"
"""The name of the first SCP. Further ones end in a number."""

OF_ROLES = frozenset({"PassRole", "ExemptRoles", "FixedTags", "OtherProfiles", "SharedSpaces"})
"""The families of statements about roles, tags and spaces. In an SCP, they would also stop administrators."""

FAMILIES = tuple(family for family in SID_FAMILIES if family not in OF_ROLES)
"""The Sid of every statement about models begins with one of these."""

WITH_NOT_RESOURCE = frozenset({"aws", "aws-us-gov"})
"""The partitions in which AWS documents NotResource in SCPs:
https://aws.amazon.com/blogs/security/unlock-new-possibilities-aws-organizations-service-control-policy-now-supports-full-iam-language"""

_CALLER, _TIME, _SESSION, _USER = "aws:PrincipalArn", "aws:CurrentTime", "aws:userid", "aws:SourceIdentity"


class Scope(StrEnum):
    """The callers that the SCPs restrict: all of an account, or only the sessions that SageMaker names."""

    ACCOUNT = "account"
    SAGEMAKER = "sagemaker"


class TooManyPrincipals(RulesError):
    """A statement with its exceptions does not fit an SCP, and exceptions cannot be divided."""

    def __init__(self, sid: str, principals: int, characters: int) -> None:
        super().__init__(
            f"the statement {sid} with {principals} principals takes {characters:,} of the {SCP_SIZE:,} characters of "
            "a service control policy, and cannot be divided: name paths, such as "
            "`arn:aws:iam::111122223333:role/canvas/approved/*`, instead of single roles"
        )


class PreventionPolicy(NamedTuple):
    """One SCP."""

    name: str
    document: Document

    @property
    def text(self) -> str:
        """The document as JSON without white space, because white space counts."""
        return json.dumps(self.document, separators=(",", ":"))


class Prevention(NamedTuple):
    """The SCPs of a file.

    - `observed`: the names of guardrails in observe mode, which the SCPs do not have.
    - `without_not_resource`: the Sids of statements that the SCPs lack, because the partition has no NotResource.
    - `exemptions_without_account`: the roles of exemptions that name no account. The SCPs do not exempt them.
    """

    policies: tuple[PreventionPolicy, ...]
    observed: tuple[str, ...] = ()
    without_not_resource: tuple[str, ...] = ()
    exemptions_without_account: tuple[str, ...] = ()

    @property
    def statements(self) -> list[Statement]:
        """The statements of all SCPs."""
        return [statement for policy in self.policies for statement in policy.document["Statement"]]


def enforced(guardrails: Iterable[Guardrail]) -> tuple[Guardrail, ...]:
    """The guardrails that deny something: those that are not in observe mode."""
    return tuple(guardrail for guardrail in guardrails if guardrail.mode is Mode.ENFORCE)


def model_statements(guardrails: Iterable[Guardrail], partition: str) -> dict[str, Statement]:
    """The statements about models of enforced guardrails, each once, by their `identity`. Raises TooLong."""
    found: dict[str, Statement] = {}
    for guardrail in enforced(guardrails):
        for statement in denies(guardrail, partition):
            if statement["Sid"].startswith(FAMILIES):
                found.setdefault(identity(statement), statement)
    return found


def compile_prevention(rules: Rules, partition: str, scope: Scope = Scope.ACCOUNT) -> Prevention:
    """The SCPs of `rules`; none if every guardrail is in observe mode.

    Raises RulesError if a principal is in another partition, TooManyPrincipals, and TooLong as `compile_rules` does.
    """
    _require_partition(rules, partition)
    statements = model_statements(rules.guardrails.values(), partition)
    of_assignments = [
        (model_statements((rules.guardrails[name] for name in one.guardrails), partition), one.principals)
        for one in rules.assignments
        if one.principals
    ]
    every = []
    for key, statement in statements.items():
        wider = (pattern_of(each) for has, principals in of_assignments if key not in has for each in principals)
        every.append(_Held(statement, _fewest(wider)))
    possible = [one for one in every if "NotResource" not in one.statement or partition in WITH_NOT_RESOURCE]
    needed = _needed(possible)
    lacking = [one for one in every if one not in possible and _left(one, needed)]
    ends = _ends(rules.exemptions, partition)
    exempt = [pattern for patterns in ends.values() for pattern in patterns]
    session = {"StringLike": {_SESSION: "*:SageMaker"}} if scope is Scope.SAGEMAKER else {}
    pieces = [_restricted(one.statement, {**_unless([*one.wider, *exempt]), **session}) for one in needed]
    strictest = _needed([one._replace(wider=[]) for one in possible])
    for number, names, patterns in _shared(rules):
        # StringNotEquals is true for a session without a source identity.
        others = {"ArnLike": {_CALLER: _shortest(patterns)}, "StringNotEquals": {_USER: _shortest(names)}}
        for one in strictest:
            if not any(one.statement == held.statement and not {*patterns} & {*held.wider} for held in needed):
                named = {**one.statement, "Sid": f"Others{number}{one.statement['Sid']}"}
                pieces.append(_restricted(named, {**others, **_unless(exempt), **session}))
    for until, patterns in ends.items():
        after = {
            "ArnLike": {_CALLER: _shortest(patterns)},
            "DateGreaterThanEquals": {_TIME: f"{until + timedelta(days=1)}T00:00:00Z"},
            **session,
        }
        for statement in (one.statement for one in strictest):
            named = {**statement, "Sid": f"After{until:%Y%m%d}{statement['Sid']}"}
            pieces.append(_restricted(named, after))
    for piece in pieces:
        if size(document_of([piece])) > SCP_SIZE:
            named = piece["Condition"].get("ArnNotLike", {}).get(_CALLER, ())
            raise TooManyPrincipals(piece["Sid"], len(named), size(document_of([piece])))
    documents = packed(numbered(pieces), SCP_SIZE)
    return Prevention(
        tuple(PreventionPolicy(name, one) for name, one in by_name(NAME, documents).items()),
        rules.observed,
        tuple(dict.fromkeys(one.statement["Sid"] for one in lacking)),
        tuple(exemption.role for exemption in rules.exemptions if not exemption.account),
    )


def _shared(rules: Rules) -> Iterator[tuple[int, list[str], list[str]]]:
    """The number, the source identities and the patterns of each assignment that shares its principals."""
    for number, one in enumerate(rules.assignments, start=1):
        if one.principals and one.source_identities:
            yield number, list(one.source_identities), [pattern_of(principal) for principal in one.principals]


WiderCallers: TypeAlias = tuple[tuple[str, ...], ...]
"""Patterns of callers, in groups. The callers of a group have the same access to models."""


def wider_callers(rules: Rules, partition: str) -> WiderCallers:
    """The callers that are an exception from a statement of the SCPs: principals of assignments, and exempt roles.

    Raises the same errors as `compile_prevention`.
    """
    excepted = {
        pattern
        for statement in compile_prevention(rules, partition).statements
        for pattern in _listed(statement.get("Condition", {}).get("ArnNotLike", {}).get(_CALLER, []))
    }
    paths = tuple(pattern[:-1] for pattern in excepted if pattern.endswith("/*"))
    groups: dict[frozenset[str], dict[str, None]] = {}
    for assignment in rules.assignments:
        found = [pattern_of(principal) for principal in assignment.principals]
        wider = [pattern for pattern in found if pattern in excepted or pattern.startswith(paths)]
        groups.setdefault(frozenset(assignment.guardrails), {}).update(dict.fromkeys(wider))
    # Without an enforced guardrail, the SCPs have no statement and no caller is wider than another.
    ends = _ends(rules.exemptions, partition).values() if excepted else ()
    return tuple(tuple(_fewest(group)) for group in (*groups.values(), *ends) if group)


class _Held(NamedTuple):
    """A statement, and the principals of assignments without it."""

    statement: Statement
    wider: list[str]


def _needed(every: Sequence[_Held]) -> list[_Held]:
    """`every` without the statements and actions that other statements deny anyway."""
    needed = list(every)
    for one in every:
        others = [other for other in needed if other is not one]
        if not _left(one, others):
            needed = others
    # Whole statements go first. Otherwise the first of two statements loses the actions of a superfluous second one.
    for place, one in enumerate(needed):
        others = [other for number, other in enumerate(needed) if number != place]
        needed[place] = one._replace(statement={**one.statement, "Action": _shortest(_left(one, others))})
    return needed


def _left(one: _Held, others: Iterable[_Held]) -> list[str]:
    """The actions of a statement that no broader one of `others` denies."""
    broader = [other for other in others if _is_broader(other, one)]
    wide = [action for other in broader for action in _listed(other.statement["Action"])]
    return [action for action in _listed(one.statement["Action"]) if not any(covers(other, action) for other in wide)]


def _is_broader(one: _Held, other: _Held) -> bool:
    """Whether `one` denies its actions on all resources, in all cases and to all callers that `other` names."""
    conditions = other.statement.get("Condition", {})
    return (
        set(one.wider) <= set(other.wider)
        and _has_all_resources(one.statement, other.statement)
        and all(
            key in conditions.get(operator, {}) and _holds_if(operator, values, conditions[operator][key])
            for operator, block in one.statement.get("Condition", {}).items()
            for key, values in block.items()
        )
    )


def _has_all_resources(one: Statement, other: Statement) -> bool:
    if one.get("Resource") == "*":
        return True
    if "Resource" in one:
        return "Resource" in other and set(_listed(other["Resource"])) <= set(_listed(one["Resource"]))
    return "NotResource" in other and set(_listed(one["NotResource"])) <= set(_listed(other["NotResource"]))


def _holds_if(operator: str, values: str | list[str], narrower: str | list[str]) -> bool:
    """Whether a condition with `values` holds in each case in which it holds with `narrower`."""
    if operator in {"StringLike", "ForAnyValue:StringLike"}:
        return set(_listed(narrower)) <= set(_listed(values))
    return values == narrower


def _listed(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values


def _require_partition(rules: Rules, partition: str) -> None:
    for number, assignment in enumerate(rules.assignments, start=1):
        for principal in assignment.principals:
            if principal.split(":")[1] != partition:
                raise RulesError(
                    f"guardrails.yaml: assignments[{number}]: `{principal}` is not in the partition {partition}: write "
                    f"an ARN that begins with `arn:{partition}:`, or compile for the partition of this ARN"
                )


def _fewest(patterns: Iterable[str]) -> list[str]:
    """`patterns` in their order, without those under a path that is also among them."""
    once = list(dict.fromkeys(patterns))
    paths = [pattern[:-1] for pattern in once if pattern.endswith("/*")]
    return [one for one in once if not any(one != f"{path}*" and one.startswith(path) for path in paths)]


def _ends(exemptions: Iterable[Exemption], partition: str) -> dict[date, list[str]]:
    """The patterns of exempt roles, by the last day of their exemptions. The longest of several exemptions counts."""
    last: dict[str, date] = {}
    for exemption in exemptions:
        for pattern in exempt_patterns(exemption, partition):
            last[pattern] = max(exemption.until, last.get(pattern, exemption.until))
    return {day: [pattern for pattern, until in last.items() if until == day] for day in sorted(set(last.values()))}


def _unless(patterns: Sequence[str]) -> Document:
    return {"ArnNotLike": {_CALLER: _shortest(_fewest(patterns))}} if patterns else {}


def _shortest(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _restricted(statement: Statement, condition: Document) -> Statement:
    """`statement` with a further condition. All operators and keys of a condition must hold."""
    joined: Document = {operator: dict(block) for operator, block in statement.get("Condition", {}).items()}
    for operator, block in condition.items():
        own = joined.setdefault(operator, {})
        if taken := own.keys() & block.keys():
            raise ValueError(f"{statement['Sid']}: {operator} of {', '.join(taken)} is already in its condition")
        own.update(block)
    return {**statement, "Condition": joined} if joined else dict(statement)
