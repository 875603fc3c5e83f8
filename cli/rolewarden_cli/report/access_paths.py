"""The access path that each statement of a guardrail closes, in words for readers who do not know IAM policies.

docs/reference/guardrails.md has the same access paths and their open remainders. A test compares both with the output
of the compiler.
"""

from __future__ import annotations

from typing import NamedTuple


class AccessPath(NamedTuple):
    """The access path that a statement `closes`, and the confidence in it: high, medium or low."""

    closes: str
    confidence: str

    @property
    def how_sure(self) -> str:
        """The confidence with its evidence."""
        return f"{self.confidence}: {EVIDENCE[self.confidence]}"


EVIDENCE = {
    "high": "documented by AWS",
    "medium": "one good source",
    "low": "not verified",
}
"""The evidence behind each confidence, in short. docs/reference/guardrails.md has the definitions."""


_TAG = "a JumpStart model, identified by the tag that {}"
_CREATE = "Creating an endpoint, a model or a job of " + _TAG
_USE = "Calling or changing an endpoint of " + _TAG
_SDK, _STUDIO, _SHORT = "the SageMaker SDK sets", "Studio and Canvas set", "JumpStart's short form sets"
_HUB_SDK, _HUB_STUDIO = (
    "the SageMaker SDK sets with the model's hub",
    "Studio and Bedrock Marketplace set with the model's hub",
)
_MARKED = "SageMaker Unified Studio sets"

ACCESS_PATHS: dict[str, AccessPath] = {
    "BedrockModels": AccessPath(
        "Calling any Bedrock model, at once, as a stream, in a batch or in an evaluation; with `deny: all`, also "
        "customizing, importing and renaming one, and the endpoint bedrock-mantle",
        "high",
    ),
    "BedrockListedModels": AccessPath(
        "Calling the listed Bedrock models, in any region, by any inference profile",
        "high",
    ),
    "BedrockUnnamedModels": AccessPath(
        "Calling a resource that hides the name of a Bedrock model: provisioned, custom and imported models, "
        "routers, marketplace endpoints",
        "high",
    ),
    "BedrockUnlistedModels": AccessPath("Calling every Bedrock model that is not listed, in every form", "high"),
    "BedrockMantle": AccessPath("Calling any model at the endpoint bedrock-mantle, and its API keys", "high"),
    "BedrockMantleListedModels": AccessPath("Calling the listed models at the endpoint bedrock-mantle", "medium"),
    "BedrockMantleUnlistedModels": AccessPath(
        "Calling models that are not listed at the endpoint bedrock-mantle",
        "medium",
    ),
    "BedrockMantleUnnamedModels": AccessPath("Calling the endpoint bedrock-mantle without naming a model", "low"),
    "BedrockCustomization": AccessPath("Customizing (fine-tuning) a Bedrock model, and calling the result", "high"),
    "BedrockModelHandles": AccessPath(
        "Importing and copying models, and creating inference profiles, routers and marketplace endpoints, "
        "which hide the name of the model",
        "high",
    ),
    "BedrockIndirect": AccessPath(
        "Agents, flows, answers from knowledge bases and their parsers, data automation, tools and reranking, which "
        "call a model with another identity; AgentCore, Claude Platform on AWS and Nova Act",
        "high",
    ),
    "BedrockProfiles": AccessPath("Calling a Bedrock model through an inference profile of another geography", "high"),
    "BedrockGlobalProfiles": AccessPath("Calling a Bedrock model through a global inference profile", "high"),
    "BedrockRegions": AccessPath("Calling a Bedrock model in another region", "high"),
    "BedrockOtherRegions": AccessPath(
        "Using a Bedrock model in another region by a call that cannot name an inference profile", "high"
    ),
    "BedrockOnlyThrough": AccessPath(
        "Calling a Bedrock model without one of the listed application inference profiles", "medium"
    ),
    "BedrockGuardrailRequired": AccessPath(
        "Calling a Bedrock model without one of the listed Amazon Bedrock Guardrails", "high"
    ),
    "BedrockOtherCalls": AccessPath(
        "Batch jobs, evaluations and bedrock-mantle, which can name neither an application inference profile nor an "
        "Amazon Bedrock Guardrail",
        "high",
    ),
    "BedrockBatch": AccessPath("Batch jobs of Bedrock", "high"),
    "BedrockPassRole": AccessPath("Passing a role to Bedrock or AgentCore, which work with it", "high"),
    "JumpStartCreateSdk": AccessPath(_CREATE.format(_SDK), "high"),
    "JumpStartCreateStudio": AccessPath(_CREATE.format(_STUDIO), "high"),
    "JumpStartCreateShort": AccessPath(_CREATE.format(_SHORT), "high"),
    "JumpStartCreateHubSdk": AccessPath(_CREATE.format(_HUB_SDK), "medium"),
    "JumpStartCreateHubStudio": AccessPath(_CREATE.format(_HUB_STUDIO), "high"),
    "JumpStartCreateMarked": AccessPath(_CREATE.format(_MARKED), "medium"),
    "JumpStartCreateUnnamed": AccessPath(f"{_CREATE.format(_MARKED)}, if no other tag names it", "medium"),
    "JumpStartUseSdk": AccessPath(_USE.format(_SDK), "medium"),
    "JumpStartUseStudio": AccessPath(_USE.format(_STUDIO), "medium"),
    "JumpStartUseShort": AccessPath(_USE.format(_SHORT), "medium"),
    "JumpStartUseHubSdk": AccessPath(_USE.format(_HUB_SDK), "medium"),
    "JumpStartUseHubStudio": AccessPath(_USE.format(_HUB_STUDIO), "medium"),
    "JumpStartUseMarked": AccessPath(_USE.format(_MARKED), "medium"),
    "JumpStartUseUnnamed": AccessPath(f"{_USE.format(_MARKED)}, if no other tag names it", "medium"),
    "JumpStartTags": AccessPath("Removing a tag that identifies a JumpStart model, and setting further ones", "high"),
    "JumpStartHub": AccessPath("Deploying, training or downloading any model of a hub", "high"),
    "JumpStartHubListedModels": AccessPath("Deploying, training or downloading the listed models of a hub", "high"),
    "JumpStartHubUnlistedModels": AccessPath("Deploying, training or downloading the unlisted models of a hub", "high"),
    "JumpStartGatedModels": AccessPath("Taking a gated model by reference", "medium"),
    "JumpStartIndirect": AccessPath(
        "Other names for models in a hub, serverless model customization and sampling from it, inference gateways and "
        "routers",
        "medium",
    ),
    "JumpStartCustomizationJobs": AccessPath("Jobs of serverless customization that do not prepare data", "medium"),
    "JumpStartThroughBedrock": AccessPath("JumpStart models as marketplace endpoints of Bedrock", "medium"),
    "JumpStartMarketplaceEndpoints": AccessPath("Calling marketplace endpoints of Bedrock", "medium"),
    "JumpStartAutopilot": AccessPath(
        "CreateAutoMLJobV2, which Canvas uses to fine-tune JumpStart models. This also stops ordinary "
        "training in Canvas",
        "high",
    ),
    "FixedTags": AccessPath("Changing a tag of a domain or user profile, by which an assignment matches", "high"),
    "OtherProfilesUrls": AccessPath("Opening the applications of other user profiles by a presigned URL", "medium"),
    "OtherProfilesApps": AccessPath("Starting applications of other user profiles", "medium"),
    "OtherProfilesSpaces": AccessPath("Starting and changing the private spaces of other user profiles", "medium"),
    "OtherProfilesSessions": AccessPath("Remote sessions in the spaces of other user profiles", "medium"),
    "SharedSpaces": AccessPath("Making shared spaces, and starting applications in them", "high"),
    "SharedSpacesUnnamed": AccessPath("Making a space without a sharing type", "medium"),
    "ExemptRoles": AccessPath("Passing an exempt role to a service, and assuming it", "high"),
    "JumpStartWeights": AccessPath("Fetching a model's files from JumpStart's buckets", "high"),
    "Assistants": AccessPath("Answers of AWS's assistants in Canvas, in Studio and in other services", "high"),
    "ApiKeys": AccessPath("Calling a model with an API key", "medium"),
    "ApiKeyCreation": AccessPath("Creating, resetting and activating a long-term API key for models", "medium"),
    "PassRoleToService": AccessPath("Passing another role to SageMaker, Bedrock or EventBridge", "high"),
    "AllThatIsNotDenied": AccessPath(
        "Nothing: a permissions boundary must allow everything that it does not deny, and grants nothing",
        "high",
    ),
}  # fmt: skip


def access_path(sid: str) -> AccessPath:
    """The access path of a statement. The Sid of a divided statement ends with a number. An unknown Sid says so."""
    unknown = AccessPath("A statement that this version of rolewarden does not know", "low")
    return ACCESS_PATHS.get(sid.rstrip("0123456789"), unknown)
