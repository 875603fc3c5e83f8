"""The forms of model IDs, model ARNs and hub names in guardrails.yaml, and the mistakes that people make in them."""

from __future__ import annotations

import re

# These are texts, so that a function compiles only the patterns that its file needs.
_BEDROCK_PATTERN = r"[a-z0-9*?-]{1,63}\.[a-z0-9.:*?-]{1,256}"
_JUMPSTART_PATTERN = r"[A-Za-z0-9*?._-]{1,256}"
_HUB = r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}"
_PUBLIC_HUB = "SageMakerPublicHub"
_BEDROCK_ARN = (
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:\d{12}:(?P<kind>provisioned-model|custom-model|custom-model-deployment|"
    r"imported-model|application-inference-profile|prompt-router|default-prompt-router|marketplace/model-endpoint)"
    r"/[A-Za-z0-9._:/-]{1,200}"
)
_NAMING_ARN = r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(foundation-model/|inference-profile/[a-z-]+\.)(?P<model>.+)"
_NAMED_BESIDES = ("application-inference-profile", "prompt-router", "default-prompt-router")
"""Kinds of ARNs for which AWS authorizes a call on the models behind them, too."""
_INFERENCE_PROFILE = r"(us|us-gov|eu|apac|au|ca|jp|global)\."
_PROVIDERS = {
    "claude": "anthropic",
    "j2": "ai21",
    "jamba": "ai21",
    "titan": "amazon",
    "nova": "amazon",
    "command": "cohere",
    "embed": "cohere",
    "llama": "meta",
    "mistral": "mistral",
    "mixtral": "mistral",
    "deepseek": "deepseek",
    "stable": "stability",
}
"""The provider of a model family, for a model ID without its provider. Other names are checked by their form only."""
_MAKERS = frozenset(_PROVIDERS.values())


def problem_of_hub(hub: str) -> str:
    """The mistake in the name of a private hub, with the correction; empty without one."""
    if hub == _PUBLIC_HUB:
        return f"`{hub}` has every model of JumpStart: name a private hub"
    if not re.fullmatch(_HUB, hub):
        return f"`{hub}` is not the name of a hub: write it as `approved-models`, without wildcards"
    return ""


def problem_of_arn(arn: str, *, denies_all: bool) -> str:
    """The mistake in an ARN of `allow_arns`, with the correction; empty without one."""
    known = re.fullmatch(_BEDROCK_ARN, arn)
    named = re.fullmatch(_NAMING_ARN, arn)
    if named:
        return f"`{arn}` names its model: write `{named['model']}` under `allow`, not its ARN"
    if "*" in arn or "?" in arn:
        return f"`{arn}` has a wildcard, so the models that it leads to are unknown: list each ARN"
    if not known:
        return (
            f"`{arn}` is not a supported model ARN: write it as "
            "`arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123`"
        )
    if denies_all and known["kind"] in _NAMED_BESIDES:
        return (
            f"`{arn}` would still be denied, because AWS authorizes the call on its models, too: list the models "
            "under `allow` instead of `deny: all`"
        )
    return ""


def problem_of_bedrock_model(model: str) -> str:
    """The mistake in the ID or pattern of a Bedrock model, with the correction; empty without one."""
    provider, _, name = model.partition(".")
    family = next((family for family in _PROVIDERS if re.match(rf"{family}(?![a-z])", provider.lower())), None)
    if model.startswith("arn:"):
        return f"`{model}` is an ARN: write only the model ID, for example `anthropic.claude-v2*`"
    if not name or (family and provider not in _MAKERS):
        form = f"{_PROVIDERS[family]}.{model.lower()}" if family else f"provider.{model}"
        form = form if form.endswith("*") else f"{form}*"
        return f"`{model}` has no provider, so it would match no model: write `{form}`" + (
            "" if family else " (for example `anthropic.claude-v2*`)"
        )
    if model != model.lower() and re.fullmatch(_BEDROCK_PATTERN, model.lower()):
        return f"`{model}` matches no model, because model IDs are lower case: write `{model.lower()}`"
    if not re.fullmatch(_BEDROCK_PATTERN, model):
        return f"`{model}` is not a Bedrock model ID: write it as `anthropic.claude-v2*`"
    if re.match(_INFERENCE_PROFILE, model) or (name.partition(".")[0] in _MAKERS and "." in name):
        form = f"`{name}`" if "." in name else "for example `anthropic.claude-v2*`"
        return f"`{model}` names an inference profile: write the model, {form}; this also covers its profiles"
    return ""


def problem_of_jumpstart_model(model: str) -> str:
    """The mistake in the ID or pattern of a JumpStart model, with the correction; empty without one."""
    if model.partition(".")[0] in _MAKERS and "." in model:
        return f"`{model}` is a Bedrock model ID: list it under `bedrock`"
    if not re.fullmatch(_JUMPSTART_PATTERN, model):
        return f"`{model}` is not a JumpStart model ID: write it as `huggingface-llm-falcon-*`"
    return ""


def is_every(pattern: str) -> bool:
    """Whether `pattern` means every model, by the word `all` or by wildcards only."""
    return pattern.lower() == "all" or bool(pattern and set(pattern) <= set("*?."))
