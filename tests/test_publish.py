"""PublishFunction makes IAM's policies match guardrails.yaml, and always answers CloudFormation."""

import threading
import urllib.request
from urllib.error import URLError

import pytest
from rolewarden import cloudformation
from rolewarden.errors import Refused, RetryLater
from rolewarden.origin import SCHEDULED_CHECK
from rolewarden.policies import compile_rules, policy_arn
from rolewarden.record import metrics
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import ROOT
from tests.handlers import deployment_request, function_handler, lambda_context
from tests.publishing import GUARDRAIL_ARN, PUBLISHED, UNRELATED, tamper

CONTEXT = lambda_context("PublishFunction")


def test_a_deployment_publishes_every_guardrail_under_rolewardens_path(world):
    assert world.listed_policies() == PUBLISHED
    assert world.in_force() == PUBLISHED


def test_a_published_policy_is_left_unchanged(world):
    before = len(world.aws.events)
    done = world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert set(done["policies"].values()) == {"unchanged"}
    assert len(world.aws.events) == before


@pytest.mark.parametrize("kind", ["edited", "another version made default", "deleted"])
def test_a_tampered_policy_is_restored_and_the_record_names_the_actor(world, kind):
    event = tamper(world, kind)
    assert world.in_force() == {"only-nova-and-sonnet"}
    world.publications.handle_event(event)
    assert world.in_force() == PUBLISHED
    [row] = world.history("policy/no-generative-ai")
    assert row["cause"]["actor"] == event["detail"]["userIdentity"]["arn"]


@pytest.fixture
def announced(world):
    """The policies in each event Guardrails Published, which triggers the sweep."""
    heard = world.listening({"detail-type": ["Guardrails Published"]})
    return lambda: [event["detail"]["policies"] for event in heard()]


def test_the_next_try_announces_a_restored_policy_if_the_first_could_not(world, announced):
    event = tamper(world, "deleted")
    with world.aws.failing("PutEvents", "InternalFailure", status=500), pytest.raises(RetryLater):
        world.publications.handle_event(event)
    assert world.in_force() == PUBLISHED
    assert announced() == []
    world.publications.handle_event(event)
    assert announced() == [{"no-generative-ai": "unchanged"}]


def test_a_policy_that_another_caller_created_again_is_announced_because_it_is_not_attached(world, announced):
    event = tamper(world, "deleted")
    document = next(p for p in compile_rules(world.runtime.rules, "aws") if p.name == "no-generative-ai").text
    world.iam.create_policy(PolicyName="no-generative-ai", Path="/rolewarden/", PolicyDocument=document)
    world.publications.handle_event(event)
    assert announced() == [{"no-generative-ai": "unchanged"}]


def test_a_policy_with_five_versions_can_be_restored(world):
    for _ in range(7):
        versions = world.iam.list_policy_versions(PolicyArn=GUARDRAIL_ARN)["Versions"]
        if len(versions) == 5:
            spare = next(version for version in versions if not version["IsDefaultVersion"])
            world.iam.delete_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId=spare["VersionId"])
        world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=UNRELATED, SetAsDefault=True)
        world.publications.handle_event(world.event("CreatePolicyVersion"))
        assert world.in_force() == PUBLISHED


def test_a_policy_event_that_changed_nothing_writes_nothing(world):
    version = world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=UNRELATED)["PolicyVersion"][
        "VersionId"
    ]
    world.iam.delete_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId=version)
    before = len(world.aws.events)
    assert world.publications.handle_event(world.event("DeletePolicyVersion"))["policies"] == {
        "no-generative-ai": "unchanged"
    }
    assert len(world.aws.events) == before
    assert world.history("policy/no-generative-ai") == []


def test_a_policy_with_a_taken_name_does_not_block_others(world):
    world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
    world.iam.create_policy(PolicyName="no-generative-ai", Path="/theirs/", PolicyDocument=UNRELATED)
    approved = policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)
    world.iam.create_policy_version(PolicyArn=approved, PolicyDocument=UNRELATED, SetAsDefault=True)
    with pytest.raises(Refused, match="`no-generative-ai` belongs to arn:aws:iam::111122223333:policy/theirs/"):
        world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert world.in_force() == {"only-nova-and-sonnet"}
    [row] = world.history("policy/only-nova-and-sonnet")
    assert row["remediation"] == "replaced"


def test_a_policy_event_of_another_account_restores_nothing_here(world):
    event = tamper(world, "edited")
    assert "policies" not in world.publications.handle_event({**event, "account": "444455556666"})
    assert world.in_force() == {"only-nova-and-sonnet"}


def test_a_policy_under_rolewardens_path_that_is_no_guardrail_is_left_alone(world):
    arn = world.iam.create_policy(PolicyName="stray", Path="/rolewarden/", PolicyDocument=UNRELATED)["Policy"]["Arn"]
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    assert world.publications.handle_event(world.event("CreatePolicyVersion"))["policies"] == {}


def publish_handler(world, monkeypatch, guardrails=None):
    if guardrails:
        world.environment = {**world.environment, "GUARDRAILS_FILE": str(guardrails)}
    return function_handler(world, monkeypatch, "publish")


def test_a_deployment_publishes_and_cloudformation_gets_success(world, answers, monkeypatch):
    world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
    publish_handler(world, monkeypatch)(deployment_request(answers), CONTEXT)
    assert world.in_force() == PUBLISHED
    [answer] = answers.heard
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "rolewarden-guardrails")


def test_a_deployment_with_an_unreadable_stack_fails_and_cloudformation_gets_failure(world, answers, monkeypatch):
    handler = publish_handler(world, monkeypatch)

    def throttled(_, stack):
        raise RetryLater(f"DescribeStacks: Throttling: {stack}")

    monkeypatch.setattr("rolewarden.aws.Aws.stack_status", throttled)
    handler(deployment_request(answers), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"


def test_an_exemption_without_an_account_fails_the_deployment_for_an_organization(
    world, answers, monkeypatch, tmp_path
):
    handler = publish_handler(world, monkeypatch, tmp_path / "guardrails.yaml")
    text = (ROOT / "layers/guardrails/guardrails.yaml").read_text().replace('    account: "111122223333"\n', "")
    (tmp_path / "guardrails.yaml").write_text(text)
    monkeypatch.setenv("MEMBER_ROLE", "rolewarden-publish")
    handler(deployment_request(answers), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert (
        "exemptions[1]: `CanvasBreakGlass` names no account, and the stack covers an organization" in answer["Reason"]
    )
    assert 'write `account: "111122223333"`' in answer["Reason"]
    assert world.in_force() == PUBLISHED


def test_invalid_guardrails_fail_the_deployment_with_the_line_of_the_error(world, answers, monkeypatch, tmp_path):
    broken = tmp_path / "guardrails.yaml"
    broken.write_text("guardrails: {a: {bedrock: {deny: [claude-v2]}}}\nassignments: [{guardrails: [a]}]\n")
    publish_handler(world, monkeypatch, broken)(deployment_request(answers), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert "guardrails.yaml:1: guardrails.a.bedrock.deny[1]: `claude-v2` has no provider" in answer["Reason"]
    assert world.in_force() == PUBLISHED


def test_a_call_that_fails_fails_the_deployment_and_leaves_the_policies_in_force(world, answers, monkeypatch):
    with world.aws.failing("GetPolicy", "AccessDenied", status=403):
        publish_handler(world, monkeypatch)(deployment_request(answers, "Update", PhysicalResourceId="kept"), CONTEXT)
    [answer] = answers.heard
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "kept")
    assert world.in_force() == PUBLISHED


def test_a_scheduled_check_restores_the_other_policies_and_fails_if_one_is_unreadable(world):
    for policy in PUBLISHED:
        arn = policy_arn(policy, "aws", ACCOUNT_ID)
        world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    with world.aws.failing("GetPolicy", "AccessDenied", status=403, times=1), pytest.raises(Refused):
        world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert len(world.in_force()) == 1


def test_a_deployment_that_cannot_be_announced_is_no_failure_but_is_counted(world, answers, monkeypatch, capsys):
    world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
    metrics.clear_metrics()
    with world.aws.failing("PutEvents", "InternalFailure", status=500):
        publish_handler(world, monkeypatch)(deployment_request(answers), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert world.in_force() == PUBLISHED
    assert '"RecordFailed":[1.0]' in capsys.readouterr().out


def test_a_deleted_stack_leaves_every_role_protected(world, answers, monkeypatch):
    world.protected()
    publish_handler(world, monkeypatch)(deployment_request(answers, "Delete", PhysicalResourceId="kept"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert world.in_force() == PUBLISHED
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_a_deployment_that_cannot_write_a_policy_reverts_its_changes(world_with, answers, monkeypatch):
    world = world_with(TWO)
    before = {name: world.runtime.aws.policy(policy_arn(name, "aws", ACCOUNT_ID)).version for name in ("a", "b")}
    changed = world_with(TWO.replace("claude", "nova"), keep="unpublished")
    with world.aws.failing("CreatePolicyVersion", "MalformedPolicyDocument", times=1, after=1):
        publish_handler(changed, monkeypatch)(deployment_request(answers, "Update"), CONTEXT)
    assert answers.heard[0]["Status"] == "FAILED"
    assert "MalformedPolicyDocument" in answers.heard[0]["Reason"]
    assert {name: changed.runtime.aws.policy(policy_arn(name, "aws", ACCOUNT_ID)).version for name in "ab"} == before
    assert world.in_force() == {"a", "b"}


TWO = """
guardrails:
  a: {bedrock: {deny: [anthropic.claude-*]}}
  b: {bedrock: {allow: [anthropic.claude-*]}}
assignments: [{guardrails: [a]}]
"""


def test_a_first_deployment_that_fails_leaves_no_policy_behind(world_with, answers, monkeypatch):
    world = world_with(TWO)
    more = TWO.replace("  b:", "  c: {jumpstart: {deny: all}}\n  d: {jumpstart: {deny: [x]}}\n  b:")
    changed = world_with(more, keep="unpublished")
    with world.aws.failing("CreatePolicy", "LimitExceeded", times=1, after=1):
        publish_handler(changed, monkeypatch)(deployment_request(answers, "Update"), CONTEXT)
    assert answers.heard[0]["Status"] == "FAILED"
    assert world.listed_policies() == {"a", "b"}


def test_a_taken_name_fails_the_deployment_with_a_solution(world, answers, monkeypatch):
    world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
    world.iam.create_policy(PolicyName="no-generative-ai", Path="/theirs/", PolicyDocument=UNRELATED)
    publish_handler(world, monkeypatch)(deployment_request(answers), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert "the name `no-generative-ai` belongs to arn:aws:iam::111122223333:policy/theirs/" in answer["Reason"]
    assert "rename the guardrail" in answer["Reason"]


def test_cloudformation_is_answered_before_the_functions_time_runs_out(answers):
    answer = cloudformation.answer_request(
        deployment_request(answers), lambda: {"answered": answers.came.wait(30)}, seconds_left=5.2
    )
    assert answer["answered"]
    assert answer["status"] == "FAILED"
    assert [heard["Reason"] for heard in answers.heard] == ["the function's time ran out: deploy again"]


def refusing(monkeypatch, times):
    """Make this number of answers fail, and return an event that is set with the last of them."""
    left = list(range(times))
    send = urllib.request.urlopen
    refused = threading.Event()

    def urlopen(*args, **more):
        if not left:
            return send(*args, **more)
        if left.pop() == 0:
            refused.set()
        raise URLError("connection reset")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return refused


def test_an_answer_that_is_not_delivered_is_sent_again(answers, monkeypatch):
    refusing(monkeypatch, times=1)
    assert cloudformation.answer_request(deployment_request(answers), dict, seconds_left=60)["status"] == "SUCCESS"
    assert [heard["Status"] for heard in answers.heard] == ["SUCCESS"]


def test_an_undeliverable_answer_fails_the_invocation_so_that_lambda_retries(answers, monkeypatch):
    refusing(monkeypatch, times=cloudformation.TRIES)
    with pytest.raises(URLError):
        cloudformation.answer_request(deployment_request(answers), dict, seconds_left=60)
    assert answers.heard == []


def test_an_answer_that_was_not_delivered_in_time_is_sent_after_the_work(answers, monkeypatch):
    refused = refusing(monkeypatch, times=cloudformation.TRIES)
    cloudformation.answer_request(deployment_request(answers), lambda: {"waited": refused.wait(30)}, seconds_left=5.1)
    assert [heard["Status"] for heard in answers.heard] == ["SUCCESS"]


@pytest.mark.parametrize("kind", ["edited", "another version made default", "deleted"])
def test_the_scheduled_check_and_the_next_sweep_restore_tampering_that_events_missed(world, announced, kind):
    world.swept()
    if kind == "deleted":
        for role in ("CanvasOmar", "CanvasAnalytics", "CanvasAnalyticsSpaces", "CanvasBedrockAnalytics"):
            world.detach(role, "no-generative-ai")
    tamper(world, kind)
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert world.in_force() == PUBLISHED
    assert len(announced()) == 1
    world.sweep()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_check_that_finds_nothing_writes_and_announces_nothing(world, announced):
    mark = world.aws.mark()
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert {call.operation for call in world.aws.calls(mark)} == {"GetPolicy", "GetPolicyVersion", "Query"}
    assert announced() == []


def test_the_schedule_makes_the_function_check_every_policy(world, monkeypatch):
    handler = publish_handler(world, monkeypatch)
    tamper(world, "edited")
    handler({"source": "x", "detail-type": "Scheduled Event"}, CONTEXT)
    assert world.in_force() == PUBLISHED


def test_a_requested_sweep_checks_every_policy(world):
    tamper(world, "edited")
    world.sweeper.handle_event({"source": "rolewarden", "detail-type": "Sweep Requested"})
    [body] = world.queued("PUBLISH_QUEUE_URL")
    world.publications.handle_message(body)
    assert world.in_force() == PUBLISHED


def target(world):
    """The text of the policy at GUARDRAIL_ARN by the rules."""
    policies = compile_rules(world.runtime.rules, "aws")
    return next(policy.text for policy in policies if policy.name == "no-generative-ai")


def undo(world, event):
    """Restore the policy at GUARDRAIL_ARN after the call of `event`, as its caller."""
    if event["detail"]["eventName"] == "DeletePolicy":
        world.iam.create_policy(PolicyName="no-generative-ai", Path="/rolewarden/", PolicyDocument=target(world))
        return event
    world.iam.set_default_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId="v1")
    return world.event("SetDefaultPolicyVersion")


def recheck_policies(world):
    for body in world.queued("PUBLISH_QUEUE_URL"):
        world.publications.handle_message(body)


@pytest.mark.parametrize("kind", ["edited", "another version made default", "deleted"])
def test_a_change_that_its_caller_undoes_before_the_first_read_is_reported_once(world, kind):
    world.with_immediate_rechecks()
    made = tamper(world, kind)
    undone = undo(world, made)
    for event in (made, undone):
        world.publications.handle_event(event)
    assert not world.history("policy/no-generative-ai")
    recheck_policies(world)
    world.publications.handle_event(made)
    recheck_policies(world)
    [row] = world.history("policy/no-generative-ai")
    assert (row["kind"], row["remediation"]) == ("Policy Restored", "undone")
    assert row["cause"]["event_id"] == made["detail"]["eventID"]


def test_a_change_that_the_first_read_misses_is_reported_as_restored(world):
    world.with_immediate_rechecks()
    made = tamper(world, "edited")
    undo(world, made)
    world.publications.handle_event(made)
    world.iam.set_default_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId="v2")
    recheck_policies(world)
    assert [row["remediation"] for row in world.history("policy/no-generative-ai")] == ["replaced"]


def test_another_version_that_is_not_the_default_and_the_text_of_the_rules_are_no_changes(world):
    world.with_immediate_rechecks()
    for text, is_default in ((UNRELATED, False), (target(world), True)):
        world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=text, SetAsDefault=is_default)
        world.publications.handle_event(world.event("CreatePolicyVersion"))
    recheck_policies(world)
    assert not world.history("policy/no-generative-ai")
