"""From a guardrail to the IAM documents that keep it.

Every door that is known to lead to a model has a statement, named by what it closes; docs/guardrails.md tells which
doors stay open. The same guardrail always compiles to the same bytes. Facts about actions, resources and condition
keys are those of the Service Authorization Reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html and
list_amazonsagemaker.html).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from rolewarden import POLICY_PATH
from rolewarden.errors import RulesError
from rolewarden.guardrails import Guardrail, ModelRule, Rules

Document = dict[str, Any]
Statement = dict[str, Any]

POLICY_SIZE = 6144
"""Characters of a managed policy, white space not counted (IAM and STS quotas, IAM User Guide)."""

USE_MODEL = (
    "bedrock:InvokeModel*",
    "bedrock:CreateModelInvocationJob",
    "bedrock:CreateEvaluationJob",
    "bedrock:CreateModelEvaluationJob",
    "bedrock:CreateAdvancedPromptOptimizationJob",
)
"""Authorized on the model itself. Converse and StartAsyncInvoke are InvokeModel, ConverseStream is
InvokeModelWithResponseStream."""

MAKE_MODEL = (
    "bedrock:CreateModelCustomizationJob",
    "bedrock:CreateModelImportJob",
    "bedrock:CreateModelCopyJob",
    "bedrock:CreateCustomModel",
    "bedrock:CreateCustomModelDeployment",
    "bedrock:UpdateCustomModelDeployment",
    "bedrock:CreateProvisionedModelThroughput",
    "bedrock:UpdateProvisionedModelThroughput",
    "bedrock:CreateInferenceProfile",
    "bedrock:CreatePromptRouter",
    "bedrock:CreateMarketplaceModelEndpoint",
    "bedrock:UpdateMarketplaceModelEndpoint",
    "bedrock:RegisterMarketplaceModelEndpoint",
    "bedrock-mantle:CreateFineTuningJob",
    "bedrock-mantle:CreateCustomizedModel",
    "bedrock-mantle:AssociateCustomizedModel",
)
"""Make a handle on a model whose ARN does not tell which model it is."""

USE_INDIRECTLY = (
    "bedrock:InvokeAgent",
    "bedrock:InvokeInlineAgent",
    "bedrock:InvokeFlow",
    "bedrock:StartFlowExecution",
    "bedrock:InvokeBuilder",
    "bedrock:RetrieveAndGenerate",
    "bedrock:AgenticRetrieveStream",
    "bedrock:GenerateQuery",
    "bedrock:Rerank",
    "bedrock:OptimizePrompt",
    "bedrock:InvokeTool",
    "bedrock:InvokeDataAutomation*",
    "bedrock:InvokeBlueprint*",
)
"""A model answers, called under another identity than the role's, or under an action that names no model."""

OTHER_PLATFORMS = (
    "bedrock-agentcore:Invoke*",
    "aws-external-anthropic:Create*",
    "aws-external-anthropic:RunDeployment",
    "aws-external-anthropic:CallWithBearerToken",
)
"""Models in IAM namespaces of their own, without a condition key for the model."""

OPAQUE_MODELS = (
    "provisioned-model",
    "custom-model",
    "custom-model-deployment",
    "imported-model",
    "application-inference-profile",
    "prompt-router",
    "default-prompt-router",
    "marketplace/model-endpoint",
)
"""Bedrock resources that stand for a model without naming it."""

MODEL_JOBS = (
    "model-invocation-job",
    "async-invoke",
    "evaluation-job",
    "model-evaluation-job",
    "advanced-prompt-optimization-job",
)
"""Bedrock resources that a call on a model is authorized on besides the model."""

JUMPSTART_TAGS = (
    "sagemaker-sdk:jumpstart-model-id",
    "sagemaker-studio:jumpstart-model-id",
    "sm-jumpstart-id",
)
"""The tags by which Canvas, Studio and the SageMaker Python SDK mark what they make of a JumpStart model."""

JUMPSTART_CREATE = (
    "sagemaker:CreateModel",
    "sagemaker:CreateEndpointConfig",
    "sagemaker:CreateEndpoint",
    "sagemaker:CreateInferenceComponent",
    "sagemaker:CreateTrainingJob",
    "sagemaker:CreateTransformJob",
    "sagemaker:CreateHyperParameterTuningJob",
    "sagemaker:CreateOptimizationJob",
    "sagemaker:CreateModelPackage",
)
"""Take the tags of what they make in the request."""

JUMPSTART_USE = (
    "sagemaker:CreateEndpoint",
    "sagemaker:UpdateEndpoint",
    "sagemaker:InvokeEndpoint*",
    "sagemaker:AddTags",
    "sagemaker:DeleteTags",
)
"""Work with something that carries the tags, or would rewrite them."""

JUMPSTART_HUB = ("sagemaker:DeployHubModel", "sagemaker:TrainHubModel")
JUMPSTART_THROUGH_BEDROCK = ("bedrock:CreateMarketplaceModelEndpoint", "bedrock:RegisterMarketplaceModelEndpoint")


@dataclass(frozen=True)
class Policy:
    """An IAM managed policy under `/rolewarden/`."""

    name: str
    document: Document

    @property
    def text(self) -> str:
        """The document as it is published."""
        return json.dumps(self.document, separators=(",", ":"))

    def arn(self, partition: str, account: str) -> str:
        """Its ARN in `account`."""
        return policy_arn(self.name, partition, account)


def policy_arn(name: str, partition: str, account: str) -> str:
    """The ARN of Rolewarden's policy `name` in `account`."""
    return f"arn:{partition}:iam::{account}:policy{POLICY_PATH}{name}"


def compile_rules(rules: Rules, partition: str) -> tuple[Policy, ...]:
    """All policies of all guardrails, in the order of the file.

    Raises RulesError where an allow list is longer than a policy can hold.
    """
    return tuple(
        policy for guardrail in rules.guardrails.values() for policy in compile_guardrail(guardrail, partition)
    )


def compile_guardrail(guardrail: Guardrail, partition: str) -> tuple[Policy, ...]:
    """The policies that keep `guardrail`: one, or more where the statements do not fit one.

    Raises RulesError where an allow list is longer than a policy can hold.
    """
    statements: list[Statement] = []
    if guardrail.bedrock:
        statements += _bedrock(guardrail.bedrock, partition)
    if guardrail.jumpstart:
        statements += _jumpstart(guardrail.jumpstart, partition)
    documents = list(_packed(guardrail.name, statements))
    return tuple(
        Policy(guardrail.name if number == 1 else f"{guardrail.name}-{number}", document)
        for number, document in enumerate(documents, start=1)
    )


def _bedrock(rule: ModelRule, partition: str) -> Iterator[Statement]:
    models = [arn for pattern in rule.patterns for arn in _model_arns(pattern, partition)]
    if rule.kind == "deny-all":
        yield _deny("BedrockModels", USE_MODEL)
        yield _deny("BedrockMantle", ("bedrock-mantle:CreateInference", "bedrock-mantle:CallWithBearerToken"))
    elif rule.kind == "deny":
        yield _deny("BedrockListedModels", USE_MODEL, resource=models)
        opaque = [f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in OPAQUE_MODELS]
        yield _deny("BedrockUnnamedModels", USE_MODEL, resource=opaque)
        # The value is a model id; `*` before it also catches an ARN that ends in one.
        yield _deny(
            "BedrockMantleListedModels",
            ("bedrock-mantle:CreateInference",),
            condition={"StringLike": {"bedrock-mantle:Model": [f"*{pattern}" for pattern in rule.patterns]}},
        )
    else:
        jobs = [f"arn:{partition}:bedrock:*:*:{kind}/*" for kind in MODEL_JOBS]
        yield _deny("BedrockUnlistedModels", USE_MODEL, not_resource=[*models, *jobs])
        yield _deny(
            "BedrockMantleUnlistedModels",
            ("bedrock-mantle:CreateInference",),
            condition={"StringNotLike": {"bedrock-mantle:Model": [f"*{pattern}" for pattern in rule.patterns]}},
        )
    yield _deny("BedrockCustomization", MAKE_MODEL)
    yield _deny("BedrockIndirect", USE_INDIRECTLY)
    yield _deny("BedrockOtherPlatforms", OTHER_PLATFORMS)


def _model_arns(pattern: str, partition: str) -> tuple[str, str, str]:
    """On demand in any region, through a global inference profile (no region), and the inference profiles."""
    return (
        f"arn:{partition}:bedrock:*::foundation-model/{pattern}",
        f"arn:{partition}:bedrock:::foundation-model/{pattern}",
        f"arn:{partition}:bedrock:*:*:inference-profile/*{pattern}",
    )


def _jumpstart(rule: ModelRule, partition: str) -> Iterator[Statement]:
    # Two keys in one condition block are AND-ed and would never fire together: a statement for each tag.
    for tag, name in zip(JUMPSTART_TAGS, ("Sdk", "Studio", "Short"), strict=True):
        yield _deny(f"JumpStartCreate{name}", JUMPSTART_CREATE, condition=_tagged(rule, f"aws:RequestTag/{tag}"))
        yield _deny(f"JumpStartUse{name}", JUMPSTART_USE, condition=_tagged(rule, f"aws:ResourceTag/{tag}"))
    yield _deny(
        "JumpStartTagRemoval",
        ("sagemaker:DeleteTags",),
        condition={"ForAnyValue:StringEquals": {"aws:TagKeys": list(JUMPSTART_TAGS)}},
    )
    contents = [
        f"arn:{partition}:sagemaker:*:*:hub-content/*/*/{ending}"
        for pattern in rule.patterns
        # The content's version may follow its name.
        for ending in ((pattern,) if pattern.endswith("*") else (pattern, f"{pattern}/*"))
    ]
    if rule.kind == "deny-all":
        yield _deny("JumpStartHub", JUMPSTART_HUB)
    elif rule.kind == "deny":
        yield _deny("JumpStartHubListedModels", JUMPSTART_HUB, resource=contents)
    else:
        # The calls are authorized on the hub too, which says nothing about the model.
        hubs = [f"arn:{partition}:sagemaker:*:*:hub/*"]
        yield _deny("JumpStartHubUnlistedModels", JUMPSTART_HUB, not_resource=[*hubs, *contents])
    yield _deny("JumpStartThroughBedrock", JUMPSTART_THROUGH_BEDROCK)


def _tagged(rule: ModelRule, key: str) -> Document:
    present = {"Null": {key: "false"}}
    if rule.kind == "deny-all":
        return present
    if rule.kind == "deny":
        return {"StringLike": {key: list(rule.patterns)}}
    # StringNotLike alone is also true where the tag is absent, and would stop every endpoint of classic ML.
    return {**present, "StringNotLike": {key: list(rule.patterns)}}


def _deny(
    sid: str,
    actions: Sequence[str],
    *,
    resource: Sequence[str] = ("*",),
    not_resource: Sequence[str] = (),
    condition: Document | None = None,
) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Deny", "Action": _smallest(actions)}
    if not_resource:
        statement["NotResource"] = _smallest(not_resource)
    else:
        statement["Resource"] = _smallest(resource)
    if condition:
        statement["Condition"] = condition
    return statement


def _smallest(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def size(document: Document) -> int:
    """Characters of `document` as IAM counts them: without white space."""
    return len("".join(json.dumps(document, separators=(",", ":")).split()))


def _document(statements: Iterable[Statement]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _packed(name: str, statements: Iterable[Statement]) -> Iterator[Document]:
    """Documents that hold `statements` in their order; denies add up, so where one is cut changes nothing."""
    pieces = [piece for statement in statements for piece in _cut(name, statement)]
    open_document: list[Statement] = []
    for piece in pieces:
        if open_document and size(_document([*open_document, piece])) > POLICY_SIZE:
            yield _document(open_document)
            open_document = []
        open_document.append(piece)
    if open_document:
        yield _document(open_document)


def _cut(name: str, statement: Statement) -> Iterator[Statement]:
    """`statement`, or where it is too long for a policy, statements with a part of its list each that mean the same."""
    if size(_document([statement])) <= POLICY_SIZE:
        yield statement
        return
    halves = _halves(statement)
    if halves is None:
        raise RulesError(
            f"guardrails.{name}: its allow list does not fit an IAM policy ({POLICY_SIZE:,} characters) and cannot be "
            "divided without changing its meaning: use fewer patterns, as `anthropic.claude-*` for a family"
        )
    for number, half in enumerate(halves):
        yield from _cut(name, {**half, "Sid": f"{statement['Sid']}{'AB'[number]}"})


def _halves(statement: Statement) -> tuple[Statement, Statement] | None:
    """Two statements that together deny what `statement` denies; None for an allow list, which is no sum of parts."""
    if isinstance(statement.get("Resource"), list):
        listed = statement["Resource"]
        half = len(listed) // 2
        return {**statement, "Resource": listed[:half]}, {**statement, "Resource": listed[half:]}
    for operator, keys in statement.get("Condition", {}).items():
        for key, listed in keys.items():
            if operator == "StringLike" and isinstance(listed, list) and len(listed) > 1:
                half = len(listed) // 2
                return (
                    {**statement, "Condition": {operator: {key: listed[:half]}}},
                    {**statement, "Condition": {operator: {key: listed[half:]}}},
                )
    return None


def digest(document: Document | str) -> str:
    """A hash that two documents share exactly when they say the same in the same statements.

    Takes the document as JSON, also percent-encoded as IAM returns it (GetPolicyVersion). Order of keys and of lists,
    a string or a list of one, white space: all the same. A text that is no JSON object has the digest of no document.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document if document.lstrip().startswith("{") else unquote(document))
        except ValueError:
            return "unreadable"
    canonical = json.dumps(_normal(document), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_normal(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value
