"""The models and access paths that compiled statements deny, decided on their actions, resources and conditions.

The statements are those of `rolewarden.policies`, so nothing here repeats how the compiler reads guardrails.yaml. Each
target (a model or an access path) has requests. It is denied if a statement denies one of the requests. Whether a role
has permission for the requests depends on its other policies, which this module does not read.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden.guardrails import BedrockRule, JumpStartRule, Rules
from rolewarden.known import known_models
from rolewarden.matching import Patterns, matches
from rolewarden.policies import Statement
from rolewarden.vocabulary import JUMPSTART_TAGS, SPACE_SHARING

_OF_THE_REQUEST = ("aws:RequestTag/", "aws:ResourceTag/", "aws:TagKeys", "bedrock-mantle:Model", "sagemaker:")
"""The beginnings of condition keys that say which model or space a request is about."""

_UNLISTED_ID = {"bedrock": "rolewarden.unlisted-model-v1:0", "jumpstart": "rolewarden-unlisted-model"}

MOST_NEW = 500
"""The greatest number of patterns of unknown models that are targets of their own."""

Values = str | tuple[str, ...]


class TargetKind(StrEnum):
    """A kind of target."""

    BEDROCK = "bedrock"
    JUMPSTART = "jumpstart"
    PATH = "path"


class AwsRequest(NamedTuple):
    """A request as IAM sees it: an action, a resource and the values of condition keys."""

    action: str
    resource: str
    context: Mapping[str, Values] = {}


class Target(NamedTuple):
    """A model or an access path, and the requests that it takes.

    `requests` are alternatives: the target is denied if each of them is.
    """

    kind: TargetKind
    name: str
    requests: tuple[AwsRequest, ...]


class Denials:
    """The effect of some statements. Statements that allow something are left out."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._statements = [_Deny(one) for one in statements if one.get("Effect") == "Deny"]
        self._by_action: dict[str, list[_Deny]] = {}

    def covers(self, target: Target) -> bool:
        """Whether the statements deny a target."""
        return all(map(self._denies, target.requests))

    def _denies(self, request: AwsRequest) -> bool:
        action = request.action.lower()
        if action not in self._by_action:
            self._by_action[action] = [one for one in self._statements if one.actions.match(action)]
        return any(one.applies(request) for one in self._by_action[action])


class _Deny:
    """A statement whose patterns are compiled once, because many requests are compared with them."""

    def __init__(self, statement: Statement) -> None:
        self.actions = Patterns(pattern.lower() for pattern in _listed(statement["Action"]))
        self._but = "NotResource" in statement
        self._resources = Patterns(_listed(statement.get("NotResource", statement.get("Resource", "*"))))
        self._conditions = [
            (operator, key.lower(), _listed(values), Patterns(map(str, _listed(values))))
            for operator, block in statement.get("Condition", {}).items()
            for key, values in block.items()
        ]

    def applies(self, request: AwsRequest) -> bool:
        """Whether the statement denies a request."""
        if self._resources.match(request.resource) == self._but:
            return False
        given = {key.lower(): _listed(values) for key, values in request.context.items()}
        return all(
            _holds(operator, given.get(key), wanted, patterns) for operator, key, wanted, patterns in self._conditions
        )


def _holds(operator: str, given: Sequence[str] | None, wanted: Sequence[str], patterns: Patterns) -> bool:
    """Whether one comparison of a condition is true. `given` is None if the request does not have the key.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    several, _, plain = operator.rpartition(":")
    if plain == "Null":
        return (given is None) == (wanted[0] == "true")
    negated = "Not" in plain
    if given is None:
        return negated or several == "ForAllValues" or plain.endswith("IfExists")
    found = [patterns.match(value) != negated for value in given]
    return any(found) if several == "ForAnyValue" else all(found)


def _listed(values: Any) -> Sequence[str]:
    return (values,) if isinstance(values, str) else values


def targets_of(
    some: Iterable[Rules], partition: str, compiled: Iterable[Iterable[Statement]] = ()
) -> tuple[Target, ...]:
    """Every target on which these rules can decide differently. `compiled` has the statements of each guardrail.

    They are the known models, the access paths, and a model of each pattern that matches no known model and that only
    some of the rules have.
    """
    rules, known = tuple(some), known_models()
    guardrails = [guardrail for one in rules for guardrail in one.guardrails.values()]
    bedrock = [guardrail.bedrock for guardrail in guardrails if guardrail.bedrock]
    jumpstart = [guardrail.jumpstart for guardrail in guardrails if guardrail.jumpstart]
    contexts = {json.dumps(context): context for one in compiled if (context := _exception(one))}
    asks = _Requests(partition, tuple(contexts.values()))
    found = [
        *(Target(TargetKind.BEDROCK, model, asks.bedrock(model)) for model in known.bedrock),
        *(Target(TargetKind.JUMPSTART, model, asks.jumpstart(model)) for model in known.jumpstart),
        *(
            Target(TargetKind.BEDROCK, pattern, asks.bedrock(_model_of(pattern)))
            for pattern in _new_patterns(rules, TargetKind.BEDROCK, known.bedrock)
        ),
        *(
            Target(TargetKind.JUMPSTART, pattern, asks.jumpstart(_model_of(pattern)))
            for pattern in _new_patterns(rules, TargetKind.JUMPSTART, known.jumpstart)
        ),
        # These stand for every model that AWS adds later.
        Target(TargetKind.PATH, "other models of Bedrock", asks.bedrock(_UNLISTED_ID["bedrock"])),
        Target(TargetKind.PATH, "other models of JumpStart", asks.jumpstart(_UNLISTED_ID["jumpstart"])),
    ]
    arns = sorted({arn for rule in bedrock for arn in rule.allow_arns})
    found += [Target(TargetKind.PATH, arn, asks.invoking(arn)) for arn in arns]
    hubs = sorted({hub for rule in jumpstart for hub in rule.hubs})
    found += [Target(TargetKind.PATH, f"JumpStart models of the hub {hub}", asks.in_hub(hub, "any")) for hub in hubs]
    passed = sorted({pattern for guardrail in guardrails for pattern in guardrail.pass_roles})
    found += [
        Target(TargetKind.PATH, f"passing a role of the name {pattern}", asks.passing(_model_of(pattern)))
        for pattern in passed
    ]
    likely = [_UNLISTED_ID["bedrock"], *_likely(bedrock)], [_UNLISTED_ID["jumpstart"], *_likely(jumpstart)]
    return (*found, *asks.paths(*likely))


def _exception(statements: Iterable[Statement]) -> dict[str, Values]:
    """The values of condition keys with which a call meets the exceptions of a guardrail; empty without exceptions.

    A negated condition makes an exception. Those of tags and models are left out, because requests have these anyway.
    """
    found: dict[str, Values] = {}
    for statement in statements:
        for operator, block in statement.get("Condition", {}).items():
            for key, values in block.items() if "Not" in operator else ():
                if not key.startswith(_OF_THE_REQUEST):
                    found.setdefault(key, _model_of(_listed(values)[0]))
    return found


def _new_patterns(rules: Sequence[Rules], family: str, known: Sequence[str]) -> Iterator[str]:
    """The patterns that match no known model, and that only some of `rules` have: MOST_NEW at most."""
    found = [_patterns(one, family) for one in rules]
    new = (
        pattern
        for pattern in dict.fromkeys(p for one in found for p in one)
        if not all(pattern in one for one in found)
    )
    return itertools.islice((one for one in new if not any(matches(one, model) for model in known)), MOST_NEW)


def _patterns(rules: Rules, family: str) -> dict[str, None]:
    named = (getattr(guardrail, family) for guardrail in rules.guardrails.values())
    return dict.fromkeys(pattern for rule in named if rule for pattern in rule.patterns)


def _model_of(pattern: str) -> str:
    return pattern.replace("*", "").replace("?", "x")


def _likely(rules: Sequence[BedrockRule] | Sequence[JumpStartRule]) -> list[str]:
    """A model of each kind of rule, because a path can be open for the models of an allow list only."""
    return list(dict.fromkeys(_model_of(rule.patterns[0]) for rule in rules if rule.patterns))


class _Requests:
    """The requests of each target. The account, the Region and the names in them are examples."""

    def __init__(self, partition: str, contexts: tuple[Mapping[str, Values], ...] = ()) -> None:
        self._partition = partition
        self._contexts = contexts

    def _arn(self, service: str, resource: str, account: str = "111122223333") -> str:
        return f"arn:{self._partition}:{service}:us-east-1:{account}:{resource}"

    def bedrock(self, model: str) -> tuple[AwsRequest, ...]:
        return self.invoking(self._arn("bedrock", f"foundation-model/{model}", ""))

    def invoking(self, arn: str) -> tuple[AwsRequest, ...]:
        return tuple(AwsRequest("bedrock:InvokeModel", arn, context) for context in ({}, *self._contexts))

    def jumpstart(self, model: str) -> tuple[AwsRequest, ...]:
        return (self._tagged("sagemaker:CreateEndpoint", "aws:RequestTag", model),)

    def _tagged(self, action: str, source: str, model: str) -> AwsRequest:
        tag = JUMPSTART_TAGS[0]
        context: dict[str, Values] = {f"{source}/{tag}": model}
        if source == "aws:RequestTag":
            context["aws:TagKeys"] = (tag,)
        return AwsRequest(action, self._arn("sagemaker", "endpoint/example"), context)

    def in_hub(self, hub: str, *models: str) -> tuple[AwsRequest, ...]:
        arns = [self._arn("sagemaker", f"hub-content/{hub}/Model/{model}/1.0.0") for model in models]
        return tuple(AwsRequest("sagemaker:DeployHubModel", arn) for arn in arns)

    def passing(self, role: str) -> tuple[AwsRequest, ...]:
        arn = f"arn:{self._partition}:iam::111122223333:role/{role}"
        return (AwsRequest("iam:PassRole", arn, {"iam:PassedToService": "sagemaker.amazonaws.com"}),)

    def files(self, *models: str) -> tuple[AwsRequest, ...]:
        bucket = f"arn:{self._partition}:s3:::jumpstart-cache-prod-us-east-1"
        return tuple(AwsRequest("s3:GetObject", f"{bucket}/{model}/1.tar") for model in models)

    def paths(self, bedrock: Sequence[str], jumpstart: Sequence[str]) -> Iterable[Target]:
        """The access paths. One that names a model is open if it is open for one of these models."""
        on_bedrock = [self._arn("bedrock", f"foundation-model/{model}", "") for model in bedrock]
        mantle = self._arn("bedrock-mantle", "project/example")
        example, shared = "*", {SPACE_SHARING: "Shared"}
        of_path: dict[str, tuple[AwsRequest, ...]] = {
            "batch jobs of Bedrock": tuple(AwsRequest("bedrock:CreateModelInvocationJob", arn) for arn in on_bedrock),
            "fine-tuning of Bedrock models": tuple(
                AwsRequest("bedrock:CreateModelCustomizationJob", arn) for arn in on_bedrock
            ),
            "customized Bedrock models": self.invoking(self._arn("bedrock", "custom-model-deployment/example")),
            "other names for Bedrock models": (AwsRequest("bedrock:CreateInferenceProfile", example),),
            "agents, flows and knowledge bases of Bedrock": (AwsRequest("bedrock:InvokeAgent", example),),
            "models of AgentCore and other platforms": (AwsRequest("bedrock-agentcore:InvokeHarness", example),),
            "Bedrock's mantle endpoint": tuple(
                AwsRequest("bedrock-mantle:CreateInference", mantle, {"bedrock-mantle:Model": model})
                for model in bedrock
            ),
            "endpoints that serve JumpStart models": tuple(
                self._tagged("sagemaker:InvokeEndpoint", "aws:ResourceTag", model) for model in jumpstart
            ),
            "JumpStart models of the public hub": self.in_hub("SageMakerPublicHub", *jumpstart),
            "other names for JumpStart models in a hub": (AwsRequest("sagemaker:CreateHubContentReference", example),),
            "gateways and routers of hosted models": (AwsRequest("sagemaker:InvokeGlobalInferenceGateway", example),),
            "serverless customization of JumpStart models": (AwsRequest("sagemaker:CreateTrainingSession", example),),
            "jobs that prepare data for JumpStart models": (
                AwsRequest("sagemaker:CreateJob", self._arn("sagemaker", "job/DataTransformation/example")),
            ),
            "fine-tuning of JumpStart models by Canvas": (AwsRequest("sagemaker:CreateAutoMLJobV2", example),),
            "the files of other JumpStart models": self.files(*jumpstart[:1]),
            "AWS's assistants in Canvas": (AwsRequest("q:SendMessage", example),),
            "AWS's assistants outside Canvas": (AwsRequest("codewhisperer:GenerateRecommendations", example),),
            "work as another role": self.passing("rolewarden-example"),
            "applications of other user profiles": (
                AwsRequest(
                    "sagemaker:CreatePresignedDomainUrl", self._arn("sagemaker", "user-profile/d-example/other")
                ),
            ),
            "shared spaces": (
                AwsRequest("sagemaker:CreateSpace", self._arn("sagemaker", "space/d-example/team"), shared),
            ),
        }
        if self._contexts:
            # A guardrail can deny all calls but some, for example those of one Region.
            of_path["Bedrock models by calls of every kind"] = tuple(
                AwsRequest("bedrock:InvokeModel", arn) for arn in on_bedrock
            )
        if listed := jumpstart[1:]:
            # With a deny list, `weights: deny` denies the files of its models only.
            of_path["the files of the listed JumpStart models"] = self.files(*listed)
        yield from (Target(TargetKind.PATH, name, requests) for name, requests in of_path.items())
