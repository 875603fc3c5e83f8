"""Texts of guardrails.yaml that several test modules use instead of the project's own."""

TAGGED = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
assignments:
  - {guardrails: [no-generative-ai], tags: {team: data-*}}
  - guardrails: []
"""
"""A tag assigns the guardrail."""

TRUSTING = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
assignments:
  - guardrails: [no-generative-ai]
also_govern:
  trusting: [sagemaker.amazonaws.com]
  roles: [Notebook*]
"""
"""`also_govern` covers roles by their trust policy and by their name."""

SINGLED_OUT = """
guardrails:
  no-bedrock:
    bedrock: {deny: all}
assignments:
  - guardrails: [no-bedrock]
    user_profiles: [ravi]
  - guardrails: []
"""
"""One user profile needs a guardrail, but does not have its own role."""

TWO_GUARDRAILS = """
guardrails:
  first: {bedrock: {deny: all}}
  second: {jumpstart: {deny: all}}
assignments:
  - guardrails: [first, second]
"""
"""Every role needs two guardrails."""

ONLY_NOVA_AND_SONNET = (
    "  only-nova-and-sonnet: {bedrock: {allow: [amazon.nova-*, anthropic.claude-sonnet-4*]}, jumpstart: {deny: all}}\n"
)
"""The line of a guardrail that allows two families of models."""

BY_DOMAIN = f"""
guardrails:
  no-generative-ai: {{bedrock: {{deny: all}}, jumpstart: {{deny: all}}}}
{ONLY_NOVA_AND_SONNET}assignments:
  - {{guardrails: [only-nova-and-sonnet], domains: [research]}}
  - guardrails: [no-generative-ai]
"""
"""Domain research can use some models, and all other subjects none."""
