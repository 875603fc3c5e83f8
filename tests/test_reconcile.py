"""reconcile(role): the attached policies at the end, and the outcome."""

import json

import pytest
from rolewarden.errors import RetryLater
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import sample

ONE_FOR_ALL = """
guardrails:
  no-generative-ai: {bedrock: {deny: all}, jumpstart: {deny: all}}
  no-claude: {bedrock: {deny: [anthropic.*]}}
assignments:
"""


def test_a_detached_guardrail_is_attached_again(world):
    world.protected()
    [outcome] = world.enforce(world.detach("CanvasAnalytics", "no-generative-ai"))
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("drifted", "compliant", "attached")
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_a_role_with_its_policies_is_compliant_and_stays_unchanged(world):
    world.protected()
    before = len(world.aws.events)
    outcome = world.verdict("CanvasAnalytics")
    assert (outcome["verdict"], outcome["remediation"]) == ("compliant", "none")
    assert len(world.aws.events) == before + 1  # The test itself sets this tag to trigger the evaluation.


def test_an_unused_role_is_left_alone(world):
    assert world.verdict("BuildServer")["verdict"] == "out_of_scope"
    assert world.attached("BuildServer") == set()


def test_a_shared_role_has_the_policies_that_each_subject_needs(world_with):
    world = world_with(
        ONE_FOR_ALL + "  - {guardrails: [no-claude], domains: [research]}\n  - guardrails: [no-generative-ai]\n"
    )
    shared = world.role("CanvasShared")
    for domain, name in (("d-research0001", "tom"), ("d-analytics0001", "tim")):
        world.sagemaker.create_user_profile(
            DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": shared}
        )  # fmt: skip
        world.enforce(world.event("CreateUserProfile"))
    assert world.attached("CanvasShared") == {"no-claude", "no-generative-ai"}


def test_the_first_assignment_that_matches_decides(world):
    world.protected()
    assert world.attached("CanvasResearch") == {"only-nova-and-sonnet"}
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_an_exempt_role_is_left_alone_and_its_outcome_has_the_end_date(world_with):
    world = world_with(
        ONE_FOR_ALL + "  - guardrails: [no-generative-ai]\n"
        "exemptions:\n  - {role: CanvasBreakGlass, until: 2999-01-31, reason: ticket 7}\n"
    )
    outcome = world.verdict("CanvasBreakGlass")
    assert (outcome["verdict"], outcome["message"]) == ("exempt", "until 2999-01-31: ticket 7")
    assert world.attached("CanvasBreakGlass") == set()


def test_an_ended_exemption_protects_the_role_again(world_with):
    world = world_with(
        ONE_FOR_ALL
        + "  - guardrails: [no-generative-ai]\nexemptions:\n  - {role: CanvasBreakGlass, until: 2020-01-31}\n"
    )
    world.verdict("CanvasBreakGlass")
    assert world.attached("CanvasBreakGlass") == {"no-generative-ai"}


def test_mode_observe_has_the_same_verdict_and_writes_nothing_to_iam(world_with):
    world = world_with("mode: observe\n" + ONE_FOR_ALL + "  - guardrails: [no-generative-ai]\n")
    outcome = world.verdict("CanvasOmar")
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("drifted", "drifted", "observed")
    assert outcome["missing"] == ["no-generative-ai"]
    assert world.attached("CanvasOmar") == set()


def test_a_guardrail_in_observe_mode_does_not_prevent_enforcement_of_another(world_with):
    world = world_with(
        "guardrails:\n  a: {bedrock: {deny: all}}\n  b: {mode: observe, jumpstart: {deny: all}}\n"
        "assignments:\n  - guardrails: [a, b]\n"
    )
    outcome = world.verdict("CanvasOmar")
    assert (outcome["verdict"], outcome["attached"], outcome["missing"]) == ("drifted", ["a"], ["a", "b"])
    assert world.attached("CanvasOmar") == {"a"}


def test_a_subject_that_needs_no_guardrail_is_compliant(world_with):
    world = world_with(ONE_FOR_ALL + "  - guardrails: []\n")
    assert world.verdict("CanvasOmar")["verdict"] == "compliant"
    assert world.attached("CanvasOmar") == set()


def test_a_policy_of_the_same_name_under_another_path_is_no_guardrail(world):
    world.iam.delete_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/no-generative-ai")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    )
    fake = world.iam.create_policy(PolicyName="no-generative-ai", Path="/fake/", PolicyDocument=document)
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=fake["Policy"]["Arn"])
    assert world.verdict("CanvasOmar")["verdict"] == "unenforceable"


def test_a_guardrail_on_the_last_page_of_attached_policies_is_found(world):
    world.aws.policies_per_role = 150
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    for number in range(110):
        arn = world.iam.create_policy(PolicyName=f"p{number:03}", PolicyDocument=document)["Policy"]["Arn"]
        world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.verdict("CanvasOmar")
    assert world.verdict("CanvasOmar")["verdict"] == "compliant"


def unenforceable(world, role):
    outcome = world.verdict(role)
    assert outcome["verdict"] == "unenforceable"
    assert outcome["recommendation"]
    return outcome["reason"]


def test_a_role_at_its_quota_is_unenforceable_for_that_reason(world):
    assert unenforceable(world, "CanvasFull") == "quota full"


def test_a_policy_that_is_not_in_iam_makes_a_role_unenforceable_for_that_reason(world):
    world.iam.delete_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/no-generative-ai")
    assert unenforceable(world, "CanvasOmar") == "policy missing"


@pytest.mark.parametrize("operation", ["ListAttachedRolePolicies", "AttachRolePolicy"])
def test_a_call_that_is_denied_makes_a_role_unenforceable_for_that_reason(world, operation):
    with world.aws.failing(operation, "AccessDenied", status=403):
        assert unenforceable(world, "CanvasOmar") == "access denied"


def test_a_role_of_aws_makes_its_subject_unenforceable_for_that_reason(world):
    world.iam.create_role(
        RoleName="AWSReservedSSO_Analyst_0123456789abcdef",
        Path="/aws-reserved/sso.amazonaws.com/",
        AssumeRolePolicyDocument="{}",
    )
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001",
        UserProfileName="sso",
        UserSettings={
            "ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/aws-reserved/sso.amazonaws.com/"
            "AWSReservedSSO_Analyst_0123456789abcdef"
        },
    )
    [outcome] = world.enforce(world.event("CreateUserProfile"))
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "protected role")


def test_a_role_of_another_account_makes_its_subject_unenforceable_for_that_reason(world):
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001",
        UserProfileName="guest",
        UserSettings={"ExecutionRole": "arn:aws:iam::444455556666:role/CanvasOmar"},
    )
    [outcome] = world.enforce(world.event("CreateUserProfile"))
    assert (outcome["account"], outcome["verdict"], outcome["reason"]) == (
        "444455556666", "unenforceable", "other account",
    )  # fmt: skip
    assert world.attached("CanvasOmar") == set()


def test_an_event_of_another_account_is_not_about_our_role_of_the_same_name(world):
    event = world.role_event("CanvasOmar")
    assert world.enforce({**event, "account": "444455556666"}) == []
    assert world.attached("CanvasOmar") == set()


def test_a_role_is_not_changed_for_a_role_of_the_same_name_in_another_account(world):
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001",
        UserProfileName="guest",
        UserSettings={"ExecutionRole": "arn:aws:iam::444455556666:role/BuildServer"},
    )
    world.enforce(world.event("CreateUserProfile"))
    event = {**world.role_event("BuildServer"), "account": "444455556666"}
    assert world.calls(event) == []


@pytest.mark.parametrize("operation", ["ListAttachedRolePolicies", "AttachRolePolicy"])
def test_a_throttled_call_decides_nothing_and_the_next_try_remediates_the_role(world, operation):
    event = world.role_event("CanvasOmar")
    with world.aws.failing(operation, "Throttling"), pytest.raises(RetryLater):
        world.enforce(event)
    assert world.attached("CanvasOmar") == set()
    world.enforce(event)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestThrottled", 403),
        ("RequestThrottledException", 400),
        ("SlowDown", 400),
        ("TooManyRequests", 429),
        ("ConcurrentModification", 409),
        ("ConcurrentModificationException", 409),
        ("EntityTemporarilyUnmodifiable", 409),
        ("InvalidClientTokenId", 403),
        ("UnrecognizedClientException", 400),
    ],
)
def test_a_temporary_error_is_retried_and_is_no_finding(world, code, status):
    event = world.role_event("CanvasOmar")
    with world.aws.failing("AttachRolePolicy", code, status=status), pytest.raises(RetryLater):
        world.enforce(event)
    assert world.history("CanvasOmar") == []
    world.enforce(event)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


TWO = """
guardrails:
  a: {bedrock: {deny: all}}
  b: {jumpstart: {deny: all}}
assignments:
  - guardrails: [a, b]
"""


def test_a_policy_that_cannot_be_attached_does_not_block_the_others(world_with):
    world = world_with(TWO)
    world.iam.delete_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/a")
    outcome = world.verdict("CanvasOmar")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "policy missing")
    assert (outcome["remediation"], outcome["attached"], outcome["missing"]) == ("attached", ["b"], ["a", "b"])
    assert world.attached("CanvasOmar") == {"b"}


def test_a_role_at_its_quota_gets_one_attempt_to_attach(world_with):
    world = world_with(TWO)
    event = world.role_event("CanvasFull")
    assert world.calls(event).count("iam:AttachRolePolicy") == 1


def test_attachments_before_a_throttled_call_are_recorded_before_the_next_try(world_with, monkeypatch):
    world = world_with(TWO)
    event = world.role_event("CanvasOmar")
    attach = world.runtime.aws.attach

    def throttled_at_b(role, arn, *, correlation_id):
        if arn.endswith("/b"):
            raise RetryLater("AttachRolePolicy: Throttling")
        attach(role, arn, correlation_id=correlation_id)

    with monkeypatch.context() as patched:
        patched.setattr(world.runtime.aws, "attach", throttled_at_b)
        with pytest.raises(RetryLater):
            world.enforce(event)
    [row] = world.history("CanvasOmar")
    assert (row["verdict"], row["attached"], row["missing"]) == ("drifted", ["a"], ["a", "b"])
    assert "Throttling" in row["message"]
    world.enforce(event)
    assert [row["attached"] for row in world.history("CanvasOmar")] == [["a"], ["b"]]
    assert world.attached("CanvasOmar") == {"a", "b"}


def test_one_role_with_a_temporary_error_does_not_block_the_others_of_its_domain(world):
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    with world.aws.failing("AttachRolePolicy", "Throttling", times=3), pytest.raises(RetryLater):
        world.enforce(world.event("UpdateDomain"))
    assert world.attached("CanvasAnalytics") == set()
    assert world.attached("CanvasAnalyticsSpaces") == world.attached("CanvasBedrockAnalytics") == {"no-generative-ai"}


def test_a_deleted_role_is_no_failure(world):
    event = world.role_event("CanvasOmar")
    for policy in world.iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy["PolicyArn"])
    world.iam.delete_role(RoleName="CanvasOmar")
    [outcome] = world.enforce(event)
    assert (outcome["verdict"], outcome["reason"]) == ("out_of_scope", "role does not exist")


def test_a_recreated_role_is_protected_again(world):
    world.protected()
    for policy in world.iam.list_attached_role_policies(RoleName="CanvasOmar")["AttachedPolicies"]:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy["PolicyArn"])
    world.iam.delete_role(RoleName="CanvasOmar")
    world.role("CanvasOmar")
    world.enforce(world.event("CreateRole"))
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_the_current_state_is_read_and_not_taken_from_an_event(world):
    world.protected()
    lie = sample("detach_role_policy")
    lie["detail"]["requestParameters"] |= {"policyArn": f"arn:aws:iam::{ACCOUNT_ID}:policy/AdministratorAccess"}
    assert world.enforce(lie)[0]["verdict"] == "compliant"
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_an_event_needs_the_expected_aws_calls_of_a_warm_function(world):
    # A function reads the text of each version of a policy once.
    world.enforce(world.role_event("CanvasAnalytics"))
    concern, drifted, compliant = map(world.role_event, ("BuildServer", "CanvasOmar", "CanvasAnalytics"))
    assert world.calls(concern) == ["dynamodb:Query"]
    assert world.calls(compliant) == ["dynamodb:Query", "iam:ListAttachedRolePolicies"]
    assert world.calls(drifted) == [
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:AttachRolePolicy",
        "sqs:SendMessageBatch",
        "events:PutEvents",
        "dynamodb:PutItem",
    ]


def test_a_new_profile_with_its_own_role_needs_three_more_calls(world):
    world.protected(afresh=True)
    world.enforcer.discovery.refresh(ACCOUNT_ID, "us-east-1", _omar())
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")}
    )
    assert world.calls(world.event("CreateUserProfile")) == [
        "sagemaker:DescribeUserProfile",
        "dynamodb:TransactWriteItems",
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:AttachRolePolicy",
        "iam:GetRole",  # The trust policy shows whether the role may be somebody else's.
        "sqs:SendMessageBatch",
        "events:PutEvents",
        "dynamodb:PutItem",
    ]


def test_several_roles_are_remediated_before_they_are_recorded_in_one_batch(world):
    world.protected(afresh=True)
    roles = ("CanvasAnalytics", "CanvasAnalyticsSpaces", "CanvasBedrockAnalytics")
    for role in roles:
        world.detach(role, "no-generative-ai")
    world.sagemaker.update_domain(DomainId="d-analytics0001", DefaultUserSettings={"SecurityGroups": ["sg-1"]})
    calls = world.calls(world.event("UpdateDomain"))
    reads = ["dynamodb:Query", "iam:ListAttachedRolePolicies", "iam:GetPolicy", "iam:AttachRolePolicy", "iam:GetRole"]
    record = ["sqs:SendMessageBatch", "events:PutEvents", "dynamodb:BatchWriteItem"]
    assert calls == ["sagemaker:DescribeDomain", "dynamodb:TransactWriteItems", *reads * len(roles), *record]
    for role in roles:
        assert world.attached(role) == {"no-generative-ai"}
        assert [row["role"] for row in world.history(role) if row["cause"]["event_name"] == "UpdateDomain"] == [role]


def _omar():
    from rolewarden.events import SubjectKey

    return SubjectKey("d-analytics0001", "omar")
