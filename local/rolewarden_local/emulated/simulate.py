"""IAM's policy simulator: SimulatePrincipalPolicy and SimulateCustomPolicy, answered by `judge`.

MiniStack's simulator ignores ContextEntries, boundaries and all resources except the first. moto lacks these calls.

Requests and answers have the shape of https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
and of botocore's model. Other details follow public answers of AWS (the AWS CLI's reference, bug reports):

- Each action has one result. Its ResourceSpecificResults have an entry for each named resource, even for a single one.
- SourcePolicyId is the name of a managed policy, `role_<role>_<policy>` for an inline policy, and `PolicyInputList.1`
  for a policy in the request. SourcePolicyType is "IAM Policy", which the model does not list.
- A position is the place after a token of the policy's text. Lines and columns count from 1. A statement starts after
  the `[` or the `}` before it (after its own `{` if it is not in a list) and ends after its `}`.
- MissingContextValues names the keys of all statements, including statements about other actions (boto/boto3 issue
  3111).
- Service control policies are evaluated with their conditions. No result names their statements or their keys
  (botocore's model). If one of them denies a request, AWS returns an implicit deny without statements, and only
  AllowedByOrganizations, which is false, shows the reason: https://github.com/aws/aws-sdk/issues/102 and
  https://docs.localstack.cloud/aws/developer-tools/security-testing/iam-policy-simulator/
- A role's session is not a valid PolicySourceArn, and a resource must be `*` or a whole ARN. Otherwise the error is
  InvalidInput.

The following details come from another emulator that was compared with AWS. No answer of AWS confirms them, so do not
rely on them:

- If a request has several resources, the result itself has the most restrictive decision. Its name is a template of an
  ARN in AWS, and `*` here. Read the ResourceSpecificResults instead.
- Only the result of the action has OrganizationsDecisionDetail, as in botocore's model. It is false if one of the
  resources is denied. The management account also has it, and there it is true.
- Only an implicit deny comes with MissingContextValues. After an allow, a deny may still depend on a missing key.
- A boundary's deny is a matched statement of the type "Permissions Boundary Policy". Its allow is not a matched one.
- The caller's ARN, account and user name are known without a ContextEntry. Other keys are not.
- The codes of errors are those of AWS if the model has them. Some messages are this module's own.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

from rolewarden_local.emulated import iam as api
from rolewarden_local.emulated._ministack import evaluator, iam, responses
from rolewarden_local.emulated.iam import Handler, Params, Response
from rolewarden_local.emulated.judge import BOUNDARY, Decision, Judgement, Matched, Unsupported, Values, judge
from rolewarden_local.emulated.organization import ORGANIZATION
from rolewarden_local.emulated.scps import organizations_decision

KEY_TYPES: Final = tuple(
    kind + many for kind in ("string", "numeric", "boolean", "ip", "binary", "date") for many in ("", "List")
)

# The answer to these parameters is an error, because ignoring them would change the meaning of the answer.
_NOT_SIMULATED: Final = (
    "PolicyExclusionList",
    "ResourcePolicy",
    "ResourceOwner",
    "ResourceHandlingOption",
    "OrderedOrganizationPolicyInputList",
)
_RESTRICTIVE_FIRST: Final[tuple[Decision, ...]] = ("explicitDeny", "implicitDeny", "allowed")


def install_simulate() -> None:
    """Replace MiniStack's simulator with this one. Call once a process."""
    for operation, simulation in (
        ("SimulatePrincipalPolicy", _of_principal),
        ("SimulateCustomPolicy", _of_documents),
    ):
        iam._IAM_HANDLERS[operation] = _handler(operation, simulation)


class _BadInput(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.response = api._error(status, code, message)


@dataclass(frozen=True)
class _Source:
    """A policy of the simulation: its SourcePolicyId, and its unchanged text."""

    name: str
    text: str

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.text)
        return document

    @functools.cached_property
    def spans(self) -> list[tuple[int, int]]:
        return list(_spans(self.text))

    def statement(self, index: int, kind: str) -> str:
        """A member of MatchedStatements."""
        start, end = (_position(self.text, offset) for offset in self.spans[index])
        return (
            f"<member><SourcePolicyId>{escape(self.name)}</SourcePolicyId><SourcePolicyType>{kind}</SourcePolicyType>"
            f"<StartPosition>{start}</StartPosition><EndPosition>{end}</EndPosition></member>"
        )


@dataclass(frozen=True)
class _Simulation:
    policies: Mapping[str, _Source]
    boundary: _Source | None
    context: Mapping[str, Values]
    given: frozenset[str]
    """The keys of the request, in lower case."""
    entity: str = ""
    """The ARN whose service control policies count, or "" for a simulation of documents alone."""

    def result(self, action: str, resources: Sequence[str]) -> str:
        """A member of EvaluationResults."""
        judgements = [self._judge(action, resource) for resource in resources]
        within = [self._within_boundary(action, resource) for resource in resources]
        decision = min((judgement.decision for judgement in judgements), key=_RESTRICTIVE_FIRST.index)
        matched = dict.fromkeys(
            statement for judgement in judgements if judgement.decision == decision for statement in judgement.matched
        )
        specific = "".join(
            f"<member><EvalResourceName>{escape(resource)}</EvalResourceName>"
            f"<EvalResourceDecision>{judgement.decision}</EvalResourceDecision>"
            f"{self._reasons(judgement.decision, judgement.matched, bounded)}</member>"
            for resource, judgement, bounded in zip(resources, judgements, within, strict=True)
        )
        return (
            f"<EvalActionName>{action}</EvalActionName>"
            f"<EvalResourceName>{escape(resources[0]) if len(resources) == 1 else '*'}</EvalResourceName>"
            f"<EvalDecision>{decision}</EvalDecision>{self._reasons(decision, matched, all(within))}"
            + self._organizations(action, resources)
            + (f"<ResourceSpecificResults>{specific}</ResourceSpecificResults>" if list(resources) != ["*"] else "")
        )

    def _organizations(self, action: str, resources: Sequence[str]) -> str:
        if not self.entity or not ORGANIZATION.of(self.entity.split(":")[4]):
            return ""
        allowed = all(self._is_allowed_by_organizations(action, resource) for resource in resources)
        detail = f"<AllowedByOrganizations>{json.dumps(allowed)}</AllowedByOrganizations>"
        return f"<OrganizationsDecisionDetail>{detail}</OrganizationsDecisionDetail>"

    def _is_allowed_by_organizations(self, action: str, resource: str) -> bool:
        return not self.entity or organizations_decision(self.entity, action, resource, self.context) == "allowed"

    def _judge(self, action: str, resource: str) -> Judgement:
        if not self._is_allowed_by_organizations(action, resource):
            return Judgement("implicitDeny")
        documents = {key: source.text for key, source in self.policies.items()}
        boundary = self.boundary.text if self.boundary else None
        return judge(documents, action, resource, self.context, boundary=boundary)

    def _within_boundary(self, action: str, resource: str) -> bool:
        return not self.boundary or judge({BOUNDARY: self.boundary.text}, action, resource, self.context).allowed

    def _reasons(self, decision: Decision, matched: Iterable[Matched], within: bool) -> str:
        missing = self._missing() if decision == "implicitDeny" else ()
        bounded = f"<AllowedByPermissionsBoundary>{json.dumps(within)}</AllowedByPermissionsBoundary>"
        return (
            f"<MatchedStatements>{''.join(map(self._statement, matched))}</MatchedStatements>"
            f"<MissingContextValues>{''.join(f'<member>{escape(key)}</member>' for key in missing)}"
            "</MissingContextValues>"
            + (
                f"<PermissionsBoundaryDecisionDetail>{bounded}</PermissionsBoundaryDecisionDetail>"
                * bool(self.boundary)
            )
        )

    def _statement(self, matched: Matched) -> str:
        if self.boundary and matched.policy == BOUNDARY:
            return self.boundary.statement(matched.index, "Permissions Boundary Policy")
        return self.policies[matched.policy].statement(matched.index, "IAM Policy")

    def _missing(self) -> list[str]:
        sources = [*self.policies.values(), *([self.boundary] if self.boundary else [])]
        named = {key.lower(): key for source in sources for key in _context_keys(source.document)}
        return sorted(key for lower, key in named.items() if lower not in self.given)


def _handler(operation: str, simulation: Callable[[Params], _Simulation]) -> Handler:
    def handle(params: Params) -> Response:
        try:
            for parameter in _NOT_SIMULATED:
                if any(name == parameter or name.startswith(f"{parameter}.") for name in params):
                    raise _BadInput("NotImplemented", f"The local AWS does not simulate {parameter}.", 501)
            actions, resources = _actions(params), _resources(params)
            simulated = simulation(params)
            results = (
                (f"{number:06d}", functools.partial(simulated.result, action, resources))
                for number, action in enumerate(actions)
            )
            return api._paged(operation, params, results, "EvaluationResults")
        except _BadInput as refused:
            return refused.response
        except Unsupported as unsupported:
            return api._error(501, "NotImplemented", f"The local AWS does not simulate {unsupported}")

    return handle


def _of_principal(params: Params) -> _Simulation:
    arn = api._param(params, "PolicySourceArn")
    kind, name = _entity(arn)
    entity = {"user": iam._users, "group": iam._groups, "role": iam._roles}[kind].get(name)
    if entity is None or entity["Arn"] != arn:
        raise _BadInput("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
    carried = list(_policies_of(kind, name, entity))
    boundary = _managed(entity["PermissionsBoundary"]) if entity.get("PermissionsBoundary") else None
    return _simulation(params, carried, boundary, api._param(params, "CallerArn") or arn, entity=arn)


def _of_documents(params: Params) -> _Simulation:
    return _simulation(params, [], None, api._param(params, "CallerArn"))


def _simulation(
    params: Params, carried: list[_Source], boundary: _Source | None, caller: str, *, entity: str = ""
) -> _Simulation:
    limits = _sent(params, "PermissionsBoundaryPolicyInputList")
    if len(limits) > 1:
        raise _BadInput("InvalidInput", "The list of Permissions Boundary policies cannot exceed 1 items.")
    policies: dict[str, _Source] = {}
    for source in (*carried, *_sent(params, "PolicyInputList")):
        # A policy of the account and one of AWS can have the same name.
        policies[source.name if source.name not in policies else f"{source.name} ({len(policies)})"] = source
    given = _context_entries(params)
    context = {**_of_caller(caller), **given}
    return _Simulation(policies, limits[0] if limits else boundary, context, frozenset(given), entity)


def _actions(params: Params) -> list[str]:
    actions = _members(params, "ActionNames")
    for action in actions:
        if ":" not in action:
            raise _BadInput("InvalidInput", "The action is invalid since it is missing names")
        if not re.fullmatch(r"[\w-]+:\w+", action):
            raise _BadInput("InvalidInput", f"Invalid Action: {action}")
    return actions


def _resources(params: Params) -> list[str]:
    resources = _members(params, "ResourceArns") or ["*"]
    for resource in resources:
        # The region and the account can be empty: arn:aws:bedrock:::foundation-model/…
        if not re.fullmatch(r"arn:[^:\s]+:[^:\s]+:[^:\s]*:[^:\s]*:\S.*", resource) and resources != ["*"]:
            raise _BadInput("InvalidInput", f"ResourceNames are not in a valid ARN format: {resource}.")
    return resources


def _entity(arn: str) -> tuple[str, str]:
    match = re.fullmatch(r"arn:[\w-]+:iam::\d{12}:(user|group|role)/(?:.*/)?([^/]+)", arn)
    if match is None:
        raise _BadInput("InvalidInput", f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    return match[1], match[2]


def _of_caller(arn: str) -> dict[str, Values]:
    if not arn:
        # The simulator uses this literal if the request does not name a caller.
        stub = "STUB_PRINCIPAL_FOR_POLICY_SIMULATOR"
        return {"aws:principalaccount": responses.get_account_id(), "aws:userid": stub}
    kind, name = _entity(arn)
    known: dict[str, Values] = {
        "aws:principalarn": arn,
        "aws:principalaccount": arn.split(":")[4],
        "aws:userid": arn,
    }
    return {**known, "aws:username": name} if kind == "user" else known


def _policies_of(kind: str, name: str, entity: Mapping[str, Any]) -> Iterator[_Source]:
    """The inline and managed policies of a principal, and those of a user's groups."""
    inline = {
        "user": lambda: iam._user_inline_policies.get(name),
        "group": lambda: iam._group_inline_policies.get(name),
        "role": lambda: entity["InlinePolicies"],
    }[kind]()
    for policy, text in (inline or {}).items():
        yield _Source(f"{kind}_{name}_{policy}", text)
    yield from map(_managed, entity.get("AttachedPolicies", ()))
    if kind == "user":
        for group, members in iam._groups.items():
            if name in members["Users"]:
                yield from _policies_of("group", group, members)


def _managed(arn: str) -> _Source:
    policy = iam._lookup_policy(arn)
    return _Source(policy["PolicyName"], policy["Versions"][policy["DefaultVersionId"]]["Document"])


def _sent(params: Params, lists: str) -> list[_Source]:
    sources = [_Source(f"{lists}.{number}", text) for number, text in enumerate(_members(params, lists), start=1)]
    for source in sources:
        if evaluator.validate_policy_document(source.text) or api._well_formed({"PolicyDocument": source.text}):
            raise _BadInput("InvalidInput", f"{source.name}: Syntax errors in policy.")
    return sources


def _context_entries(params: Params) -> dict[str, Values]:
    """The condition keys of the request, in lower case."""
    given: dict[str, Values] = {}
    for entry in _structures(params, "ContextEntries"):
        name, kind = (api._param(params, f"{entry}.{member}") for member in ("ContextKeyName", "ContextKeyType"))
        values = _members(params, f"{entry}.ContextKeyValues")
        if kind and kind not in KEY_TYPES:
            raise _BadInput(
                "ValidationError",
                f"1 validation error detected: Value '{kind}' at '{entry[0].lower()}{entry[1:]}.contextKeyType' failed "
                f"to satisfy constraint: Member must satisfy enum value set: [{', '.join(KEY_TYPES)}]",
            )
        if not name:
            raise _BadInput("InvalidInput", "ContextKeyName cannot be null or empty.")
        if not kind:
            raise _BadInput("InvalidInput", f"Context key {name} has invalid type null.")
        if not values:
            raise _BadInput("InvalidInput", f"Context values for context key {name} cannot be null or empty.")
        if not kind.endswith("List") and len(values) > 1:
            raise _BadInput("InvalidInput", f"Context key {name} expected a single value, but received {len(values)}.")
        if name.lower() in given:
            raise _BadInput("InvalidInput", f"Duplicate context key: {name}.")
        given[name.lower()] = values if kind.endswith("List") else values[0]
    return given


def _members(params: Params, lists: str) -> list[str]:
    return [api._param(params, name) for name in _structures(params, lists)]


def _structures(params: Params, lists: str) -> list[str]:
    """The parameter names of a list's members in a request, in their order."""
    prefix = f"{lists}.member."
    numbers = {name[len(prefix) :].split(".")[0] for name in params if name.startswith(prefix)}
    return [f"{prefix}{number}" for number in sorted(numbers, key=int)]


def _context_keys(document: Mapping[str, Any]) -> Iterator[str]:
    """The condition keys that a policy names, and those of its policy variables."""
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        for block in statement.get("Condition", {}).values():
            yield from block
        text = json.dumps([statement.get(element) for element in ("Resource", "NotResource", "Condition")])
        yield from re.findall(r"\$\{([\w-]+:[^},]+)", text)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each statement of a policy's text, in the simulator's positions."""
    decoder = json.JSONDecoder()
    place = _token(text, 0) + 1
    while text[place := _token(text, place)] != "}":
        key, place = decoder.raw_decode(text, place)
        place = _token(text, _token(text, place) + 1)  # the place after the colon
        value, end = decoder.raw_decode(text, place)
        if key == "Statement" and isinstance(value, dict):
            yield place + 1, end
        elif key == "Statement":
            start = place + 1
            for _ in value:
                _, last = decoder.raw_decode(text, _token(text, start, ","))
                yield start, last
                start = last
        place = _token(text, end, ",")


def _token(text: str, place: int, skipped: str = "") -> int:
    """The first place from `place` on that is neither white space nor one of `skipped`."""
    while text[place] in f" \t\r\n{skipped}":
        place += 1
    return place


def _position(text: str, offset: int) -> str:
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    return f"<Line>{line}</Line><Column>{column}</Column>"
