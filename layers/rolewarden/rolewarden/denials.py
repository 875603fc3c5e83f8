"""The models and access paths that compiled statements deny, decided on their actions, resources and conditions.

The statements are those of `rolewarden.policies`, so nothing here repeats how the compiler reads guardrails.yaml. Each
target (a model or an access path) has calls, each with the requests that AWS authorizes for it. The target is denied if
a statement denies a request of each call. Whether a role has permission for the requests depends on its other policies,
which this module does not read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from operator import ge, gt, le, lt
from typing import Any, NamedTuple

from rolewarden.guardrails import BedrockRule, JumpStartRule, Rules
from rolewarden.known import known_models
from rolewarden.matching import Patterns, matches
from rolewarden.packing import Statement
from rolewarden.policies import BEDROCK_GUARDRAIL_KEY, GATED_KEY, MANTLE_KEY, PROFILE_KEY, REGION_KEY
from rolewarden.vocabulary import (
    APPLICATION_PROFILE,
    GEOGRAPHIES,
    JUMPSTART_TAGS,
    SPACE_SHARING,
    USE_API_KEY,
)

_REGIONS_OF = {
    "apac": ("ap-northeast-1", "ap-southeast-1"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "ca": ("ca-central-1", "ca-west-1"),
    "eu": ("eu-central-1", "eu-west-1"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "us": ("us-east-1", "us-west-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
}
"""Two regions of each geography, between which its inference profiles distribute calls. `global` has no regions."""

_EXAMPLE_REGION = "us-east-1"

THROUGH_PROFILES = "calls of Bedrock models through inference profiles of "
"""The beginning of the name of an access path, which ends with a geography."""

_OTHER_REGIONS = (_EXAMPLE_REGION, "eu-west-1", "ap-southeast-2", "sa-east-1", "af-south-1")
"""Examples of regions, the first of which that no guardrail names stands for every other region."""

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


Call = tuple[AwsRequest, ...]
"""The requests that AWS authorizes for one call. The call fails if one of them is denied."""


class Target(NamedTuple):
    """A model or an access path.

    `calls` are alternatives: the target is denied if each of them is.
    """

    kind: TargetKind
    name: str
    calls: tuple[Call, ...]


class Denials:
    """The effect of some statements. Statements that allow something are left out."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._statements = [_Deny(one) for one in statements if one.get("Effect") == "Deny"]
        self._by_action: dict[str, list[_Deny]] = {}

    def covers(self, target: Target) -> bool:
        """Whether the statements deny a target."""
        return all(any(map(self._denies, call)) for call in target.calls)

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
    if plain in _TIMES:
        return given is not None and all(_TIMES[plain](value, wanted[0]) for value in given)
    negated = "Not" in plain
    if given is None:
        return negated or several == "ForAllValues" or plain.endswith("IfExists")
    found = [patterns.match(value) != negated for value in given]
    return any(found) if several == "ForAnyValue" else all(found)


_TIMES: Mapping[str, Callable[[str, str], bool]] = {
    "DateGreaterThan": gt,
    "DateGreaterThanEquals": ge,
    "DateLessThan": lt,
    "DateLessThanEquals": le,
}
"""The comparisons of times in UTC, which are texts of one form, such as `2026-11-29T00:00:00Z`."""


def _listed(values: Any) -> Sequence[str]:
    return (values,) if isinstance(values, str) else values


def targets_of(some: Iterable[Rules], partition: str) -> tuple[Target, ...]:
    """Every target on which these rules can decide differently.

    They are the known models, the access paths, and a model of each pattern that matches no known model and that only
    some of the rules have.
    """
    rules, known = tuple(some), known_models()
    guardrails = [guardrail for one in rules for guardrail in one.guardrails.values()]
    bedrock = [guardrail.bedrock for guardrail in guardrails if guardrail.bedrock]
    jumpstart = [guardrail.jumpstart for guardrail in guardrails if guardrail.jumpstart]
    asks = _Requests(partition, bedrock)
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
    likely = [_UNLISTED_ID["bedrock"], *_likely(bedrock)], [_UNLISTED_ID["jumpstart"], *_likely(jumpstart)]
    arns = sorted({arn for rule in bedrock for arn in rule.allow_arns})
    found += [Target(TargetKind.PATH, arn, asks.by_arn(arn, likely[0])) for arn in arns]
    found += [Target(TargetKind.PATH, name, calls) for name, calls in asks.restricted(likely[0])]
    hubs = sorted({hub for rule in jumpstart for hub in rule.hubs})
    found += [Target(TargetKind.PATH, f"JumpStart models of the hub {hub}", asks.in_hub(hub, "any")) for hub in hubs]
    passed = sorted({pattern for guardrail in guardrails for pattern in guardrail.pass_roles})
    found += [
        Target(TargetKind.PATH, f"passing a role of the name {pattern}", asks.passing(_model_of(pattern)))
        for pattern in passed
    ]
    return (*found, *asks.paths(*likely))


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
    """The calls of each target. The account and the names in them are examples.

    The regions, inference profiles and Amazon Bedrock Guardrails in them are examples of those that the rules name, so
    that a target stays open if the rules leave one way of calling it.
    """

    def __init__(self, partition: str, rules: Sequence[BedrockRule]) -> None:
        self._partition = partition
        self._named_regions = _each(rule.regions for rule in rules)
        self._geographies = GEOGRAPHIES if any(rule.profiles for rule in rules) else ()
        self._applications = _each(rule.only_through for rule in rules)
        self._guardrails = _each(rule.require_bedrock_guardrail for rule in rules)
        named = map(_model_of, _examples(rule.regions for rule in rules))
        real = _each([*_REGIONS_OF.values(), _OTHER_REGIONS])
        in_some = (one for one in real if any(matches(pattern, one) for pattern in self._named_regions))
        self._regions = tuple(dict.fromkeys((_EXAMPLE_REGION, *named, *in_some)))
        self._some_applications = _examples(rule.only_through for rule in rules)
        self._some_guardrails = _examples(rule.require_bedrock_guardrail for rule in rules)

    def _arn(self, service: str, resource: str, account: str = "111122223333", region: str = _EXAMPLE_REGION) -> str:
        return f"arn:{self._partition}:{service}:{region}:{account}:{resource}"

    def _model(self, model: str, region: str) -> str:
        return self._arn("bedrock", f"foundation-model/{model}", "", region)

    def _in_regions(self, action: str, resources: Iterable[str]) -> tuple[Call, ...]:
        """A call of `action` for each resource and region."""
        return tuple(
            (AwsRequest(action, resource, {REGION_KEY: region}),) for resource in resources for region in self._regions
        )

    def _with_guardrails(self, requests: Iterable[AwsRequest]) -> Iterator[Call]:
        """The call of these requests without an Amazon Bedrock Guardrail, and with each one that the rules name."""
        call = tuple(requests)
        yield call
        for arn in self._some_guardrails:
            yield _with(call, BEDROCK_GUARDRAIL_KEY, arn)

    def _direct(self, model: str, regions: Iterable[str]) -> Iterator[Call]:
        for region in regions:
            request = AwsRequest("bedrock:InvokeModel", self._model(model, region), {REGION_KEY: region})
            yield from self._with_guardrails([request])

    def bedrock(self, model: str) -> tuple[Call, ...]:
        through = (call for arn in self._some_applications for call in self._through(arn, model))
        return (*self._direct(model, self._regions), *through)

    def _through(self, pattern: str, model: str) -> Iterator[Call]:
        """The calls of a model through an application inference profile."""
        arn = _model_of(pattern)
        own = arn.split(":")[3]
        for region in [own] if own else self._regions:
            context = {REGION_KEY: region}
            yield from self._with_guardrails(
                [
                    AwsRequest("bedrock:InvokeModel", arn, context),
                    AwsRequest("bedrock:InvokeModel", self._model(model, region), {**context, PROFILE_KEY: arn}),
                ]
            )

    def _geographic(self, geography: str, model: str) -> Iterator[Call]:
        """The calls of a model through AWS's inference profile of a geography, from each of its regions."""
        places = _REGIONS_OF.get(geography, ())
        named = [one for one in map(_model_of, self._named_regions) if not places or one[:3] in {p[:3] for p in places}]
        for region in dict.fromkeys((*(places or self._regions), *named)):
            arn = self._arn("bedrock", f"inference-profile/{geography}.{model}", region=region)
            reached = (
                [(place, place) for place in dict.fromkeys((region, *places))] if places else [("", "unspecified")]
            )
            yield from self._with_guardrails(
                [
                    AwsRequest("bedrock:InvokeModel", arn, {REGION_KEY: region}),
                    *(
                        AwsRequest(
                            "bedrock:InvokeModel", self._model(model, place), {REGION_KEY: requested, PROFILE_KEY: arn}
                        )
                        for place, requested in reached
                    ),
                ]
            )

    def by_arn(self, arn: str, models: Sequence[str]) -> tuple[Call, ...]:
        """The calls by an ARN that does not name its model."""
        if f":{APPLICATION_PROFILE}/" in arn:
            return tuple(call for model in models for call in self._through(arn, model))
        return self._customized(arn, [arn.split(":")[3]])

    def _customized(self, arn: str, regions: Iterable[str]) -> tuple[Call, ...]:
        requests = (AwsRequest("bedrock:InvokeModel", arn, {REGION_KEY: region}) for region in regions)
        return tuple(call for request in requests for call in self._with_guardrails([request]))

    def restricted(self, models: Sequence[str]) -> Iterator[tuple[str, tuple[Call, ...]]]:
        """The access paths that exist because a guardrail says where and how a role calls a model of Bedrock.

        Each is open if it is open for one of the models.
        """
        everywhere = tuple(call for model in models for call in self.bedrock(model))
        for pattern in self._named_regions:
            region = _model_of(pattern)
            applied = (call for model in models for arn in self._applications for call in self._through(arn, model))
            calls = (
                *(call for model in models for call in self._direct(model, [region])),
                *_of_region(applied, region),
            )
            yield f"calls of Bedrock models in {pattern}", calls
        others = [one for one in _OTHER_REGIONS if not any(matches(pattern, one) for pattern in self._named_regions)]
        if self._named_regions and others:
            calls = tuple(call for model in models for call in self._direct(model, others[:1]))
            yield "calls of Bedrock models in other regions", calls
        for geography in self._geographies:
            calls = tuple(call for model in models for call in self._geographic(geography, model))
            yield THROUGH_PROFILES + geography, calls
        for pattern in self._applications:
            calls = tuple(call for model in models for call in self._through(pattern, model))
            yield f"calls of Bedrock models through {pattern}", calls
        if self._applications:
            calls = tuple(call for model in models for call in self._direct(model, self._regions))
            yield "calls of Bedrock models without an application inference profile", calls
        plain = [call for call in everywhere if not any(BEDROCK_GUARDRAIL_KEY in one.context for one in call)]
        for arn in self._guardrails:
            yield (
                f"calls of Bedrock models with {arn}",
                tuple(_with(call, BEDROCK_GUARDRAIL_KEY, arn) for call in plain),
            )
        if self._guardrails:
            yield "calls of Bedrock models without an Amazon Bedrock Guardrail", tuple(plain)

    def jumpstart(self, model: str) -> tuple[Call, ...]:
        return ((self._tagged("sagemaker:CreateEndpoint", "aws:RequestTag", model),),)

    def _tagged(self, action: str, source: str, model: str) -> AwsRequest:
        tag = JUMPSTART_TAGS[0]
        context: dict[str, Values] = {f"{source}/{tag}": model}
        if source == "aws:RequestTag":
            context["aws:TagKeys"] = (tag,)
        return AwsRequest(action, self._arn("sagemaker", "endpoint/example"), context)

    def in_hub(self, hub: str, *models: str) -> tuple[Call, ...]:
        arns = [self._arn("sagemaker", f"hub-content/{hub}/Model/{model}/1.0.0") for model in models]
        return tuple((AwsRequest("sagemaker:DeployHubModel", arn),) for arn in arns)

    def passing(self, role: str) -> tuple[Call, ...]:
        arn = f"arn:{self._partition}:iam::111122223333:role/{role}"
        return ((AwsRequest("iam:PassRole", arn, {"iam:PassedToService": "sagemaker.amazonaws.com"}),),)

    def files(self, *models: str) -> tuple[Call, ...]:
        bucket = f"arn:{self._partition}:s3:::jumpstart-cache-prod-us-east-1"
        return tuple((AwsRequest("s3:GetObject", f"{bucket}/{model}/1.tar"),) for model in models)

    def paths(self, bedrock: Sequence[str], jumpstart: Sequence[str]) -> Iterable[Target]:
        """The access paths. One that names a model is open if it is open for one of these models."""
        on_bedrock = [self._model(model, _EXAMPLE_REGION) for model in bedrock]
        example = ["*"]
        space = self._arn("sagemaker", "space/d-example/team")
        mantle = self._arn("bedrock-mantle", "project/example")
        customized = self._arn("bedrock", "custom-model-deployment/example")
        key_of = {"iam:ServiceSpecificCredentialServiceName": "bedrock.amazonaws.com"}
        reranked = [
            (*call, *model)
            for call in self._in_regions("bedrock:Rerank", example)
            for name in bedrock
            for model in self._direct(name, [str(call[0].context[REGION_KEY])])
        ]
        of_path: dict[str, tuple[Call, ...]] = {
            "batch jobs of Bedrock": self._in_regions("bedrock:CreateModelInvocationJob", on_bedrock),
            "fine-tuning of Bedrock models": self._in_regions("bedrock:CreateModelCustomizationJob", on_bedrock),
            "customized Bedrock models": self._customized(customized, self._regions),
            "other names for Bedrock models": self._in_regions("bedrock:CreateInferenceProfile", example),
            "agents, flows and knowledge bases of Bedrock": self._in_regions("bedrock:InvokeAgent", example),
            "reranking by Bedrock models": tuple(reranked),
            "models of AgentCore and other platforms": self._in_regions("bedrock-agentcore:InvokeHarness", example),
            "Bedrock's mantle endpoint": tuple(
                (AwsRequest("bedrock-mantle:CreateInference", mantle, {MANTLE_KEY: model, REGION_KEY: region}),)
                for model in bedrock
                for region in self._regions
            ),
            "calls of models with an API key": tuple((AwsRequest(action, "*"),) for action in USE_API_KEY),
            "long-term API keys for models": ((AwsRequest("iam:CreateServiceSpecificCredential", "*", key_of),),),
            "endpoints that serve JumpStart models": tuple(
                (self._tagged("sagemaker:InvokeEndpoint", "aws:ResourceTag", model),) for model in jumpstart
            ),
            "JumpStart models of the public hub": self.in_hub("SageMakerPublicHub", *jumpstart),
            "gated JumpStart models by reference": (
                (AwsRequest("sagemaker:CreateModel", self._arn("sagemaker", "model/example"), {GATED_KEY: "true"}),),
            ),
            "other names for JumpStart models in a hub": _once("sagemaker:CreateHubContentReference"),
            "gateways and routers of hosted models": _once("sagemaker:InvokeGlobalInferenceGateway"),
            "serverless customization of JumpStart models": _once("sagemaker:CreateTrainingSession"),
            "jobs that prepare data for JumpStart models": _once(
                "sagemaker:CreateJob", self._arn("sagemaker", "job/DataTransformation/example")
            ),
            "fine-tuning of JumpStart models by Canvas": _once("sagemaker:CreateAutoMLJobV2"),
            "the files of other JumpStart models": self.files(*jumpstart[:1]),
            "AWS's assistants in Canvas": _once("q:SendMessage"),
            "AWS's assistants outside Canvas": _once("codewhisperer:GenerateRecommendations"),
            "work as another role": self.passing("rolewarden-example"),
            "applications of other user profiles": _once(
                "sagemaker:CreatePresignedDomainUrl", self._arn("sagemaker", "user-profile/d-example/other")
            ),
            "shared spaces": ((AwsRequest("sagemaker:CreateSpace", space, {SPACE_SHARING: "Shared"}),),),
        }
        if listed := jumpstart[1:]:
            # With a deny list, `weights: deny` denies the files of its models only.
            of_path["the files of the listed JumpStart models"] = self.files(*listed)
        yield from (Target(TargetKind.PATH, name, calls) for name, calls in of_path.items())


def _once(action: str, resource: str = "*") -> tuple[Call, ...]:
    return ((AwsRequest(action, resource),),)


def _each(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for found in lists for one in found))


def _examples(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The first entry of each list, and the entries that several lists share, because a role can have several rules."""
    distinct = tuple(dict.fromkeys(map(tuple, lists)))
    shared = [one for one, number in Counter(one for found in distinct for one in set(found)).items() if number > 1]
    return tuple(dict.fromkeys((*(found[0] for found in distinct if found), *sorted(shared))))


def _with(call: Call, key: str, value: str) -> Call:
    """The call with another value of a condition key in each request."""
    return tuple(request._replace(context={**request.context, key: value}) for request in call)


def _of_region(calls: Iterable[Call], region: str) -> Iterator[Call]:
    return (call for call in calls if call[0].context[REGION_KEY] == region)
