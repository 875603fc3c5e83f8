"""Texts of guardrails.yaml that several test modules put in place of the project's own."""

TAGGED = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
assignments:
  - {guardrails: [no-generative-ai], tags: {team: data-*}}
  - guardrails: []
"""
"""The guardrail is assigned by a tag."""

TRUSTING = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
assignments:
  - guardrails: [no-generative-ai]
also_govern:
  trusting: [sagemaker.amazonaws.com]
  roles: [Notebook*]
"""
"""Roles are covered by their trust policy and by their name, too."""

SINGLED_OUT = """
guardrails:
  no-bedrock:
    bedrock: {deny: all}
assignments:
  - guardrails: [no-bedrock]
    user_profiles: [ravi]
  - guardrails: []
"""
"""One user profile needs a guardrail, but it has no role of its own."""

TWO_GUARDRAILS = """
guardrails:
  first: {bedrock: {deny: all}}
  second: {jumpstart: {deny: all}}
assignments:
  - guardrails: [first, second]
"""
"""Every role needs two guardrails."""

BY_DOMAIN = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
  approved-models: {bedrock: {allow: [amazon.nova-*]}}
assignments:
  - {guardrails: [approved-models], domains: [research]}
  - guardrails: [no-generative-ai]
"""
"""Domain research has some models, everybody else none."""
