"""The commands that `make local` prints, for the guardrails in use."""

import json
import re

import pytest
from rolewarden.policies import policy_arn
from rolewarden_cli.main import app
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.account import FIRST_ROLES, Account
from rolewarden_local.scenes.playground import hints
from rolewarden_local.scenes.seed import AccessKey
from typer.main import get_group

from tests.world import GUARDRAILS

SHIPPED = GUARDRAILS.read_text(encoding="utf-8")
OTHER = """
mode: enforce
guardrails: {house-rules: {bedrock: {allow: [amazon.nova-*]}}}
assignments: [{guardrails: [house-rules], domains: [research]}, {guardrails: []}]
"""


@pytest.fixture
def account(world, tmp_path):
    """A function that gives the account with these guardrails, attached to every role that needs them."""

    def made(text, mode="enforce"):
        file = tmp_path / "guardrails.yaml"
        file.write_text(text.replace("mode: enforce", f"mode: {mode}"))
        tables = {"BindingsTable": world.environment["BINDINGS_TABLE"]}
        found = Account(tables, {"mallory": AccessKey("AKIDEXAMPLE", "secret")}, file)
        arns = {name: policy.arn("aws", ACCOUNT_ID) for name, policy in found.policies.items()}
        for name, policy in found.policies.items() if mode == "enforce" else ():
            if found.aws.policy(arns[name]) is None:
                document = json.dumps(policy.document)
                found.iam.create_policy(PolicyName=name, Path="/rolewarden/", PolicyDocument=document)
            for role in FIRST_ROLES:
                if name in found.verdict(role).required:
                    found.iam.attach_role_policy(RoleName=role, PolicyArn=arns[name])
        return found

    return made


def printed(account):
    text = hints(account, "http://127.0.0.1:5000")
    own = re.findall(r"^ +\.venv/bin/rolewarden (\w+)(.*)$", text, re.MULTILINE)
    for name, options in own:
        known = {option for parameter in get_group(app).commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", options)) <= known
    assert "history" in dict(own)
    assert "dynamodb" not in text
    return text


@pytest.mark.parametrize(("rules", "role", "policy"), [(SHIPPED, "CanvasAnalytics", "no-generative-ai"),
                                                       (OTHER, "CanvasResearch", "house-rules")])  # fmt: skip
def test_the_command_that_causes_drift_names_a_role_and_a_policy_that_it_has(account, rules, role, policy):
    text = printed(account(rules))
    assert f"detach-role-policy --role-name {role} " in text
    assert f"--policy-arn {policy_arn(policy, 'aws', ACCOUNT_ID)}\n" in text
    listed = "list-attached-role-policies --role-name CanvasNadia"
    assert (listed in text) is (rules is SHIPPED)


@pytest.mark.parametrize("rules", [SHIPPED, OTHER])
def test_in_observe_mode_no_command_detaches_a_policy_that_is_not_attached(account, rules):
    observed = account(rules, "observe")
    assert all(observed.is_settled(role) for role in FIRST_ROLES)
    text = printed(observed)
    assert "detach-role-policy" not in text
    assert "attaches no guardrail in observe mode" in text
    assert "list-attached-role-policies" not in text


def test_make_local_waits_for_no_role_that_needs_nothing_or_is_exempt(account):
    found = account(SHIPPED.replace("role: CanvasBreakGlass", "role: CanvasOmar"))
    found.iam.detach_role_policy(
        RoleName="CanvasAnalytics", PolicyArn=policy_arn("no-generative-ai", "aws", ACCOUNT_ID)
    )
    assert not found.is_settled("CanvasAnalytics")
    assert found.is_settled("CanvasOmar")
    assert account(OTHER).is_settled("CanvasAnalytics")
