"""A policy that another caller has written under Rolewarden's path is not attached to a role, or set as a boundary."""

import json

import pytest
from rolewarden.errors import RulesError
from rolewarden.guardrails import Fallback
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.placement import is_compiled
from rolewarden.policies import compile_rules, policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.guardrail_texts import BY_DOMAIN

FALLBACK = "fallback: boundary\n" + BY_DOMAIN
ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = {"Sid": "Other", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def compiled(world, policy):
    return next(found for found in compile_rules(world.runtime.rules, "aws") if found.name == policy).document


def edited(world, policy, *statements):
    arn = policy_arn(policy, "aws", ACCOUNT_ID)
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(*statements), SetAsDefault=True)


def squatted(world, policy, *statements):
    """Delete a policy before any role has it, and create another one of its name."""
    world.iam.delete_policy(PolicyArn=policy_arn(policy, "aws", ACCOUNT_ID))
    world.iam.create_policy(PolicyName=policy, Path="/rolewarden/", PolicyDocument=document(*statements))


CHANGES = {"edited": edited, "squatted": squatted}
FOREIGN = {
    "only an allow": lambda _: [ALLOW],
    "an allow next to the denies": lambda found: [*found["Statement"], ALLOW],
    "a deny that Rolewarden does not write": lambda _: [DENY],
    "an allow with a Sid of Rolewarden's": lambda found: [{**ALLOW, "Sid": found["Statement"][0]["Sid"]}],
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_policy_of_another_caller_is_not_attached_until_it_is_restored(world, change, foreign):
    change(world, "no-generative-ai", *foreign(compiled(world, "no-generative-ai")))
    outcome = world.verdict("CanvasOmar")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "policy edited")
    assert world.attached("CanvasOmar") == set()
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    world = world.with_immediate_rechecks()
    assert world.verdict("CanvasOmar")["verdict"] == "compliant"


def test_a_function_that_knows_the_policy_reads_its_next_version(world):
    world.protected()
    edited(world, "no-generative-ai", ALLOW)
    event = world.detach("CanvasOmar", "no-generative-ai")
    assert world.enforce(event)[0]["reason"] == "policy edited"
    assert world.attached("CanvasOmar") == set()


def test_a_recheck_follows_because_the_policy_is_restored_meanwhile(world):
    world.with_immediate_rechecks()
    edited(world, "no-generative-ai", ALLOW)
    world.verdict("CanvasOmar")
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert [outcome["verdict"] for outcome in world.work()] == ["compliant"]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_boundary_without_the_denies_is_not_set(world_with, change):
    world = world_with(FALLBACK)
    change(world, "boundary.only-nova-and-sonnet", ALLOW)
    assert world.verdict("CanvasFull")["reason"] == "policy edited"
    assert "PermissionsBoundary" not in world.iam.get_role(RoleName="CanvasFull")["Role"]


def test_statements_of_earlier_rules_are_attached_because_each_is_a_deny_of_rolewarden(world):
    target = compiled(world, "no-generative-ai")
    earlier = {**target["Statement"][0], "Action": "bedrock:InvokeModel"}
    assert is_compiled(document(earlier), target)
    assert not is_compiled(document(), target)
    assert not is_compiled("no JSON", target)


def test_rules_with_a_fallback_fail_the_deployment_of_a_stack_without_the_permission_in_one_line(world_with):
    world = world_with(FALLBACK)
    world.publications.fallback = Fallback.NONE
    with pytest.raises(RulesError, match="deploy with the parameter Fallback=boundary") as error:
        world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    assert "\n" not in str(error.value)
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    world_with(BY_DOMAIN, keep=True).publications.run(ACCOUNT_ID, DEPLOYMENT)
