"""What each statement of a guardrail closes, in words for people who do not read IAM policies.

docs/reference/guardrails.md has the same doors with what each leaves open; a test compares both with what the
compiler emits.
"""

from __future__ import annotations

from typing import NamedTuple


class Door(NamedTuple):
    """What a statement closes, and how sure that is: high, medium or low, as in docs/reference/guardrails.md."""

    closes: str
    sure: str


_TAG = "a JumpStart model, known by the tag that {}"
_CREATE = "Making an endpoint, a model or a job of " + _TAG
_USE = "Calling or changing an endpoint of " + _TAG
_SDK, _STUDIO, _SHORT = "the SageMaker SDK sets", "Studio and Canvas set", "JumpStart's short form sets"

DOORS: dict[str, Door] = {
    "BedrockModels": Door("Calling any Bedrock model, at once, as a stream, in a batch or in an evaluation", "high"),
    "BedrockListedModels": Door("Calling the listed Bedrock models, in any region, by any inference profile", "high"),
    "BedrockUnnamedModels": Door("Calling what stands for a Bedrock model without naming it: provisioned, custom and "
                                 "imported models, routers, marketplace endpoints", "high"),
    "BedrockUnlistedModels": Door("Calling every Bedrock model that is not listed, in every form", "high"),
    "BedrockMantle": Door("Calling any model at the endpoint bedrock-mantle, and its API keys", "high"),
    "BedrockMantleListedModels": Door("Calling the listed models at the endpoint bedrock-mantle", "medium"),
    "BedrockMantleUnlistedModels": Door("Calling models that are not listed at the endpoint bedrock-mantle", "medium"),
    "BedrockCustomization": Door("Customizing (fine-tuning) a Bedrock model, and making the result answer", "high"),
    "BedrockModelHandles": Door("Importing and copying models, and making new inference profiles, routers and "
                                "marketplace endpoints that hide which model they are", "high"),
    "BedrockIndirect": Door("Agents, flows, answers from knowledge bases, data automation, tools and reranking: they "
                            "call a model under another identity", "high"),
    "BedrockOtherPlatforms": Door("AgentCore, and Anthropic's own platform on AWS", "high"),
    "JumpStartCreateSdk": Door(_CREATE.format(_SDK), "high"),
    "JumpStartCreateStudio": Door(_CREATE.format(_STUDIO), "high"),
    "JumpStartCreateShort": Door(_CREATE.format(_SHORT), "high"),
    "JumpStartUseSdk": Door(_USE.format(_SDK), "medium"),
    "JumpStartUseStudio": Door(_USE.format(_STUDIO), "medium"),
    "JumpStartUseShort": Door(_USE.format(_SHORT), "medium"),
    "JumpStartTagRemoval": Door("Removing the tag that identifies a JumpStart model", "high"),
    "JumpStartHub": Door("Deploying, training or downloading any model of a hub", "high"),
    "JumpStartHubListedModels": Door("Deploying, training or downloading the listed models of a hub", "high"),
    "JumpStartHubUnlistedModels": Door("Deploying, training or downloading what is not listed of a hub", "high"),
    "JumpStartGatedModels": Door("Taking a gated model by reference", "medium"),
    "JumpStartCustomization": Door("Serverless model customization in SageMaker, and sampling from the result", "high"),
    "JumpStartThroughBedrock": Door("JumpStart models as marketplace endpoints of Bedrock", "medium"),
    "JumpStartAutopilot": Door("CreateAutoMLJobV2, by which Canvas fine-tunes JumpStart models; ordinary training in "
                               "Canvas stops with it", "high"),
    "JumpStartWeights": Door("Fetching a model's files from JumpStart's buckets", "high"),
    "AllThatIsNotDenied": Door("Nothing: a permissions boundary has to allow what it does not deny, and grants nothing",
                               "high"),
}  # fmt: skip


def door(sid: str) -> Door:
    """The door of a statement; one that was divided has a number behind its Sid. Unknown Sids say so."""
    return DOORS.get(sid.rstrip("0123456789"), Door("A statement that this version of rolewarden does not know", "low"))
