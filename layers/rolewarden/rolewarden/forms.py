"""The forms of the texts in guardrails.yaml, as regular expressions.

They are texts, so that a function compiles only those that its file needs. guardrails.schema.json contains them.
"""

from rolewarden.vocabulary import GEOGRAPHIES

GUARDRAIL_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,99}"
"""The form of a guardrail's name."""

HUB = r"(?!.{64})[A-Za-z0-9](-*[A-Za-z0-9]){0,62}"
"""The form of the name of a hub."""

ROLE_PATTERN = r"[A-Za-z0-9_+=,.@*?-]{1,64}"
"""The form of a pattern for names of roles."""

PRINCIPAL = r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?"
"""The form of the name of a service that can assume a role."""

ACCOUNT_PATTERN = r"[0-9]{12}|(?=[0-9]*[*?])[0-9*?]{1,12}"
"""The form of a pattern for IDs of accounts."""

ACCOUNT_ID = r"[0-9]{12}"
"""The form of the ID of an account."""

ROLE_ID = r"AROA[A-Z0-9]{12,124}"
"""The form of the unique ID of a role."""

DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""The form of a day."""

BEDROCK_ARN = (
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:(?P<kind>provisioned-model|custom-model|custom-model-deployment|"
    r"imported-model|application-inference-profile|prompt-router|default-prompt-router|marketplace/model-endpoint)"
    r"/[A-Za-z0-9._:/-]{1,200}"
)
"""The form of an ARN that leads to a model of Bedrock without naming it."""

BEDROCK_PATTERN = r"[a-z0-9*?-]{1,63}\.[a-z0-9.:*?-]{1,256}"
"""The form of a pattern for IDs of Bedrock models."""

JUMPSTART_PATTERN = r"[A-Za-z0-9*?._-]{1,256}"
"""The form of a pattern for IDs of JumpStart models."""

PROVIDERS = {
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
"""The provider of a model family, for a model ID without its provider if no list of models is at hand."""

MAKERS = frozenset(PROVIDERS.values())

GEOGRAPHY = rf"({'|'.join(GEOGRAPHIES)})\."
"""The beginning of the ID of an inference profile."""

GEOGRAPHY_NAME = r"[a-z]{2,8}(-[a-z]{2,8})?"
"""The form of the name of a geography."""

REGION_PATTERN = r"[a-z]{2,4}(-[a-z]{2,12})+-[0-9]{1,2}|[a-z]{2,4}-(?=[^*?]*[*?])[a-z0-9*?-]{1,27}"
"""The form of a pattern for names of regions."""

APPLICATION_PROFILE_ARN = (
    r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+|\*):([0-9]{12}|\*):application-inference-profile/[A-Za-z0-9*-]{1,64}"
)
"""The form of a pattern for ARNs of application inference profiles."""

BEDROCK_GUARDRAIL_ARN = r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:[0-9]{12}:guardrail/[a-z0-9]{1,64}(:[1-9][0-9]{0,7})?"
"""The form of the ARN of an Amazon Bedrock Guardrail, with or without a version."""
