"""Whether prevention is in force: IAM's simulator must deny what the service control policies (SCPs) deny.

Each statement of the SCPs that guardrails.yaml compiles to gives one request. The statement denies it to every caller
that the file does not name, for example to the role of SweepFunction in the account. The simulator evaluates the SCPs
of the account together with an identity policy that allows everything, so only an SCP denies the request:
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html

A deny of another SCP also counts, and the simulator names no SCP. A text that was read decides more: `equal_texts`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.denials import AwsRequest, Denials, Target, TargetKind, Values
from rolewarden.errors import Refused
from rolewarden.events import mapping
from rolewarden.guardrails import Rules
from rolewarden.matching import covers
from rolewarden.packing import Document, Statement
from rolewarden.prevention import Scope, compile_prevention
from rolewarden.reach import PREVENTION, Probe
from rolewarden.settings import SweepSettings
from rolewarden.verdicts import Reason

FEW_SIDS = 3
"""The number of statements that a message names."""

_ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
_SESSION = {"aws:userid": "AROAEXAMPLE:SageMaker"}
"""The name of a session of SageMaker, so that the SCPs of both scopes deny the requests."""

_ACTIONS = (
    "bedrock:InvokeModel",
    "bedrock-agentcore:InvokeHarness",
    "bedrock-mantle:CreateInference",
    "bedrock:CreateModelCustomizationJob",
    "sagemaker:CreateEndpoint",
    "sagemaker:CreateTrainingJob",
    "sagemaker:InvokeEndpoint",
    "sagemaker:UpdateEndpoint",
)
"""An action for each pattern of actions. The simulator rejects an action that does not exist."""

_OTHERS = (
    ":foundation-model/rolewarden.unlisted-model-v1:0",
    "111122223333:application-inference-profile/example",
    "111122223333:custom-model-deployment/example",
    "111122223333:provisioned-model/example",
)
"""Resources of Bedrock for a statement that denies all but some, each with its account."""

MOST_RESOURCES = 4
"""The number of resources of a statement from which its request is chosen."""


def denied_requests(rules: Rules, partition: str, region: str) -> dict[str, AwsRequest]:
    """A request for each statement of the SCPs that the statement denies to a caller that the file does not name.

    They are keyed by the Sid of the statement. If possible, no other statement denies the request, so that a missing
    statement shows. The statements about exemptions that have ended are left out, because only an exempt role is under
    them. Raises as `compile_prevention`.
    """
    statements = [
        statement
        for policy in compile_prevention(rules, partition).policies
        for statement in policy.document["Statement"]
        if "aws:PrincipalArn" not in statement.get("Condition", {}).get("ArnLike", {})
    ]
    every = {statement["Sid"]: Denials([statement]) for statement in statements}
    found: dict[str, AwsRequest] = {}
    for statement in statements:
        sid, best = statement["Sid"], len(every) + 1
        for request in _requests(statement, partition, region):
            target = Target(TargetKind.PATH, "", ((request,),))
            number = sum(one.covers(target) for one in every.values())
            if number < best and every[sid].covers(target):
                found[sid], best = request._replace(context={**request.context, **_SESSION}), number
    return found


def equal_texts(rules: Rules, partition: str, texts: Collection[Document]) -> bool:
    """Whether these SCPs of an account have every statement that the file compiles to, in one of the scopes.

    Names, order and the division into several SCPs do not count. Other SCPs do no harm, because denies add up.
    """
    read = {_canonical(statement) for text in texts for statement in _statements(text)}
    return any(
        read >= {_canonical(one) for policy in made.policies for one in policy.document["Statement"]}
        for made in (compile_prevention(rules, partition, scope) for scope in Scope)
    )


def is_of_prevention(rules: Rules, partition: str, text: Document) -> bool:
    """Whether an SCP has only statements that the file compiles to."""
    made = {
        _canonical(one)
        for scope in Scope
        for policy in compile_prevention(rules, partition, scope).policies
        for one in policy.document["Statement"]
    }
    statements = {_canonical(one) for one in _statements(text)}
    return bool(statements) and statements <= made


class SimulatesDenials(Protocol):
    """Simulates requests under the SCPs of an account."""

    def allowed(self, account: str, requests: Mapping[str, AwsRequest]) -> list[str] | None:
        """The keys of the requests that no SCP denies; None if no SCP can apply. Raises Refused and RetryLater."""


class OrganizationSimulator:
    """Simulates requests of Rolewarden's own role in an account. Each function can simulate its own role only."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def allowed(self, account: str, requests: Mapping[str, AwsRequest]) -> list[str] | None:
        """As `SimulatesDenials.allowed`."""
        aws = self._aws.within(account)
        with translated():
            role = _role_of(aws.client("sts").get_caller_identity()["Arn"])
            client, found = aws.client("iam"), []
            for (resource, _), keys in _alike(requests).items():
                actions = {requests[key].action: None for key in keys}
                answer = client.simulate_principal_policy(
                    PolicySourceArn=role,
                    ActionNames=list(actions),
                    ResourceArns=[resource],
                    ContextEntries=[_entry(*each) for each in requests[keys[0]].context.items()],
                    PolicyInputList=[_ALLOW_ALL],
                    PermissionsBoundaryPolicyInputList=[_ALLOW_ALL],
                )
                for result in answer["EvaluationResults"]:
                    detail = result.get("OrganizationsDecisionDetail")
                    if detail is None:
                        return None
                    if detail["AllowedByOrganizations"]:
                        found += [key for key in keys if requests[key].action == result["EvalActionName"]]
        return found


@dataclass(frozen=True)
class PreventionProbe:
    """Tests whether the SCPs are in effect in an account.

    `beyond` is the account that no SCP restricts: the management account of the organization. Empty if the stack does
    not cover it.
    """

    simulator: SimulatesDenials
    rules: Rules
    partition: str
    region: str
    beyond: str = ""

    @classmethod
    def of(cls, aws: Aws, rules: Rules, settings: SweepSettings) -> Self:
        """Create it for SweepFunction. The account that calls StackSets as itself is the management account."""
        beyond = settings.account if settings.member_stack_set and settings.call_as == "SELF" else ""
        return cls(OrganizationSimulator(aws), rules, aws.partition, settings.regions[0], beyond)

    def probes_of(self, accounts: Iterable[str], has_time: Callable[[], bool]) -> Iterator[Probe]:
        """The probes of accounts, as long as time suffices. Raises RetryLater."""
        for account in accounts:
            if self.rules.names_principals and not has_time():
                message = "time does not suffice to test the SCPs of all accounts now; each sweep tests them"
                yield Probe(account, "", PREVENTION, message, Reason.NOT_PREVENTED, is_warning=True)
                return
            yield from self.probes(account)

    def probes(self, account: str) -> Iterator[Probe]:
        """The probe of an account; none if guardrails.yaml names no principals. Raises RetryLater."""
        if not self.rules.names_principals:
            return
        if account == self.beyond:
            message = "no SCP restricts the management account; the attached policies are its only protection"
            yield Probe(account, "", PREVENTION, message, Reason.NOT_PREVENTED, is_warning=True)
            return
        requests = denied_requests(self.rules, self.partition, self.region)
        try:
            allowed = self.simulator.allowed(account, requests)
        except Refused as refused:
            yield Probe(account, "", PREVENTION, f"the SCPs could not be tested: {refused}", Reason.ACCESS_DENIED)
            return
        message = ""
        if allowed is None:
            message = "the account is in no organization, so no SCP restricts it"
        elif allowed:
            message = (
                f"no SCP denies {len(allowed)} of {len(requests)} requests that guardrails.yaml denies, for example "
                f"those of the statements {', '.join(allowed[:FEW_SIDS])}"
            )
        done = f"in effect for {len(requests)} requests, text not read"
        yield Probe(account, "", PREVENTION, message, Reason.NOT_PREVENTED, in_order="" if message else done)


def _role_of(session: str) -> str:
    """The ARN of Rolewarden's own role, by the ARN of its session, which lacks the path. Raises Refused."""
    _, partition, service, _, account, name = session.split(":", 5)
    if service != "sts" or not name.startswith("assumed-role/"):
        raise Refused(Reason.REFUSED, f"GetCallerIdentity: {session} is no session of a role")
    return f"arn:{partition}:iam::{account}:role/rolewarden/{name.split('/')[1]}"


def _alike(requests: Mapping[str, AwsRequest]) -> dict[tuple[str, str], list[str]]:
    """The keys of requests that differ in their action only. One call simulates them together."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, request in requests.items():
        found[request.resource, json.dumps(request.context, sort_keys=True)].append(key)
    return found


def _entry(key: str, value: Values) -> dict[str, Any]:
    values = [value] if isinstance(value, str) else list(value)
    kind = "string" if isinstance(value, str) else "stringList"
    return {"ContextKeyName": key, "ContextKeyType": kind, "ContextKeyValues": values}


def _statements(text: Document) -> list[Statement]:
    found = mapping(text).get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def _canonical(statement: Statement) -> str:
    """A statement without its Sid, as a text that does not depend on the order of lists, or on lists of one value."""
    return json.dumps(_sorted({key: value for key, value in statement.items() if key != "Sid"}), sort_keys=True)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in value.items()}
    if isinstance(value, list):
        return value[0] if len(value) == 1 else sorted(value)
    return value


def _requests(statement: Statement, partition: str, region: str) -> Iterator[AwsRequest]:
    """Requests that a statement is about. Its conditions give the values of the condition keys."""
    patterns = _listed(statement["Action"])
    exact = [pattern for pattern in patterns if "*" not in pattern]
    known = [action for action in _ACTIONS if any(covers(pattern, action) for pattern in patterns)]
    if "Resource" in statement:
        resources = [_arn(resource, region) for resource in _listed(statement["Resource"])[:MOST_RESOURCES]]
    else:
        resources = [f"arn:{partition}:bedrock:{region}:{place}" for place in _OTHERS]
    context = dict(_context(statement.get("Condition", {})))
    for action in [*known, *exact] or [pattern.replace("*", "") for pattern in patterns]:
        yield from (AwsRequest(action, resource, context) for resource in resources)


def _context(condition: Document) -> Iterator[tuple[str, Values]]:
    """Values with which a condition is true. A negated operator is true without its key."""
    for operator, block in condition.items():
        several, _, plain = operator.rpartition(":")
        for key, values in block.items():
            value = _example(str(_listed(values)[0]))
            if plain == "Null":
                if _listed(values)[0] == "false":
                    yield key, "example"
            elif "Not" not in plain:
                yield key, (value,) if several else value


def _arn(pattern: str, region: str) -> str:
    if pattern == "*":
        return pattern
    parts = pattern.split(":", 5)
    filled = [part.replace("*", example) for part, example in zip(parts[3:5], (region, "111122223333"), strict=True)]
    return ":".join([*parts[:3], *filled, _example(parts[5])])


def _example(pattern: str) -> str:
    return pattern.replace("*", "example").replace("?", "x")


def _listed(values: str | Sequence[str]) -> Sequence[str]:
    return (values,) if isinstance(values, str) else values
