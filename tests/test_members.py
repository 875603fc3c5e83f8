"""Other accounts and regions of the organization: Rolewarden enters each account by a member role and sweeps it."""

import json
import time
from datetime import UTC, datetime

import boto3
import pytest
from rolewarden.aws import SESSION_LEFT, SESSION_SECONDS, Aws
from rolewarden.bindings import RoleKey
from rolewarden.errors import Refused, RetryLater
from rolewarden.origin import DEPLOYMENT
from rolewarden.policies import policy_arn
from rolewarden.sweep_messages import sweeps_scope
from rolewarden.verdicts import Reason
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import TRUST

from tests.company import ROLE, client
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

LATER, STRANGER = "333344445555", "999988887777"


def domain(account, role, region="us-east-1"):
    """Make a domain with a role of this name, and return the role's ARN."""
    arn = client("iam", account).create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    client("sagemaker", account, region).create_domain(
        DomainName=role.lower(), AuthMode="IAM", DefaultUserSettings={"ExecutionRole": arn}
    )
    return arn


def has_attached(account, role, guardrail="no-generative-ai"):
    attached = client("iam", account).list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return policy_arn(guardrail, "aws", account) in {policy["PolicyArn"] for policy in attached}


def touched(company, account, role):
    client("iam", account).tag_role(RoleName=role, Tags=[{"Key": "touched", "Value": str(time.time())}])
    return company.event("TagRole")


# Events


def test_an_event_of_another_account_remediates_the_role_there_and_is_recorded_for_that_account(company):
    domain(MEMBER, "Theirs")
    company.everything()
    client("iam", MEMBER).detach_role_policy(RoleName="Theirs", PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    [outcome] = company.enforce(company.event("DetachRolePolicy"))
    assert (outcome["account"], outcome["before"], outcome["verdict"]) == (MEMBER, "drifted", "compliant")
    assert has_attached(MEMBER, "Theirs")
    assert company.history_of(MEMBER, "Theirs")


def test_a_role_of_the_same_name_in_the_central_account_is_left_alone(company):
    domain(MEMBER, "BuildServer")
    company.everything()
    assert has_attached(MEMBER, "BuildServer")
    assert not has_attached(CENTRAL, "BuildServer")


def test_an_account_is_entered_once_for_many_events_and_never_for_an_out_of_scope_role(company):
    domain(MEMBER, "Theirs")
    company.everything()
    client("iam", MEMBER).create_role(RoleName="NobodysBusiness", AssumeRolePolicyDocument=TRUST)
    company.cover()
    # The first query is for the member accounts.
    assert company.calls(touched(company, MEMBER, "NobodysBusiness")) == ["dynamodb:Query"] * 2
    assert "sts:AssumeRole" in company.calls(touched(company, MEMBER, "Theirs"))
    assert company.calls(touched(company, MEMBER, "Theirs")) == ["dynamodb:Query", "iam:ListAttachedRolePolicies"]


def test_an_event_of_an_account_that_cannot_be_entered_is_a_finding(company):
    domain(MEMBER, "Theirs")
    company.everything()
    client("iam", MEMBER).delete_role(RoleName=ROLE)
    company.cover()
    [outcome] = company.enforce(touched(company, MEMBER, "Theirs"))
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "account cannot be entered")


def test_an_invalid_session_is_not_used_again(company):
    domain(MEMBER, "Theirs")
    company.everything()
    event = touched(company, MEMBER, "Theirs")
    with company.aws.failing("ListAttachedRolePolicies", "InvalidClientTokenId", status=403, times=1):
        with pytest.raises(RetryLater):
            company.enforcer.handle_event(event)
        assert "sts:AssumeRole" in company.calls(event)


def test_a_session_is_renewed_before_it_ends(company, monkeypatch):
    domain(MEMBER, "Theirs")
    company.everything()
    event = touched(company, MEMBER, "Theirs")
    company.enforcer.handle_event(event)
    later = time.time() + SESSION_SECONDS - SESSION_LEFT + 1
    company.runtime.aws.clock.now = lambda: later
    assert "sts:AssumeRole" in company.calls(event)
    assert "sts:AssumeRole" not in company.calls(event)


def test_sessions_of_the_most_recently_used_accounts_are_kept(company, monkeypatch):
    monkeypatch.setattr("rolewarden.aws.MOST_SESSIONS", 1)
    company.organize(MEMBER, LATER)
    own = company.runtime.aws
    first = own.within(MEMBER)
    assert own.within(MEMBER) is first
    own.within(LATER)
    assert own.within(MEMBER) is not first


def test_an_event_of_an_unknown_account_changes_nothing(company):
    domain(STRANGER, "Theirs")
    event = company.event("CreateDomain")
    mark = company.aws.mark()
    assert company.enforcer.handle_event(event)["outcomes"] == []
    assert {call.account for call in company.aws.calls(mark)} == {CENTRAL}


def test_without_an_organization_no_other_account_is_entered(world):
    world.runtime.aws = Aws(account=CENTRAL)
    with pytest.raises(Refused, match="the stack does not cover account 222233334444"):
        world.runtime.aws.within(MEMBER)
    assert world.runtime.aws.within(CENTRAL) is world.runtime.aws


def test_a_sagemaker_event_of_an_unnamed_region_triggers_nothing(company):
    domain(CENTRAL, "FarAway", "ap-south-1")
    answer = company.enforcer.handle_event(company.event("CreateDomain"))
    assert answer["request"] == {
        "ignored": "a call to SageMaker in a region that is not in the stack's parameter Regions"
    }


# Sweeps


def test_a_sweep_publishes_in_each_account_before_it_reads_the_roles(company):
    domain(MEMBER, "Theirs")
    outcomes = company.everything()
    assert has_attached(MEMBER, "Theirs")
    assert has_attached(CENTRAL, "CanvasAnalytics")
    assert not [outcome for outcome in outcomes if outcome.get("reason") == "policy missing"]


def test_missing_policies_are_tampering_in_a_known_account_and_not_in_a_new_one(company):
    company.swept()
    assert company.history_of(MEMBER, "policy/no-generative-ai") == []
    client("iam", MEMBER).delete_policy(PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    company.everything()
    assert [row["remediation"] for row in company.history_of(MEMBER, "policy/no-generative-ai")] == ["created"]


@pytest.mark.parametrize("claim", [{"trigger": "deployment"}, {"cause": {"event_name": "Deployment"}}])
def test_a_message_that_claims_a_deployment_does_not_hide_a_restoration(company, claim):
    company.swept()
    client("iam", MEMBER).delete_policy(PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    company.publications.handle_message({"account": MEMBER, "step": "publish", **claim})
    assert [row["remediation"] for row in company.history_of(MEMBER, "policy/no-generative-ai")] == ["created"]


def test_a_forged_row_of_the_last_sweep_does_not_hide_a_restoration(company):
    company.swept()
    client("iam", MEMBER).delete_policy(PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    scope = sweeps_scope(MEMBER)
    for sweep in company.progress.sweeps(MEMBER):
        company.progress.begin((scope, sweep["item"]), time.time(), "other rules")
    company.publications.handle_message({"account": MEMBER, "step": "publish"})
    assert [row["remediation"] for row in company.history_of(MEMBER, "policy/no-generative-ai")] == ["created"]


def test_after_an_update_of_the_stack_new_policies_are_no_tampering(company):
    company.swept()
    client("iam", MEMBER).delete_policy(PolicyArn=policy_arn("no-generative-ai", "aws", MEMBER))
    for sweep in company.progress.sweeps(MEMBER):
        company.progress.begin((sweeps_scope(MEMBER), sweep["item"]), time.time(), "earlier rules")
    company.stack_was_updated(datetime.now(UTC))
    company.publications.handle_message({"account": MEMBER, "step": "publish"})
    assert company.history_of(MEMBER, "policy/no-generative-ai") == []


@pytest.mark.parametrize(
    ("event", "swept"),
    [
        ({"detail-type": "Scheduled Event", "detail": {}}, {CENTRAL, MEMBER}),
        ({"detail-type": "Sweep Requested", "detail": {"by": "rolewarden sweep"}}, {CENTRAL, MEMBER}),
        ({"detail": {"account": CENTRAL, "trigger": "deployment"}}, {CENTRAL, MEMBER}),
        ({"detail": {"account": MEMBER, "trigger": "event"}}, {MEMBER}),
        ({"detail": {"account": CENTRAL, "trigger": "event"}}, {CENTRAL}),
        ({"detail": {"account": STRANGER, "trigger": "event"}}, {CENTRAL, MEMBER}),
        ("nonsense", {CENTRAL, MEMBER}),
    ],
)
def test_a_deployment_and_the_schedule_check_every_account_and_a_restored_policy_only_its_own(company, event, swept):
    company.swept()
    before = {account: len(company.progress.sweeps(account)) for account in (CENTRAL, MEMBER)}
    company.sweeper.handle_event(event)
    for body in company.queued("PUBLISH_QUEUE_URL"):
        company.publications.handle_message(body)
    company.all_queues()
    now = {account: len(company.progress.sweeps(account)) for account in (CENTRAL, MEMBER)}
    assert {account for account in now if now[account] > before[account]} == swept


def test_an_account_that_cannot_be_entered_is_reported_once_and_the_others_are_swept(company):
    company.organize(MEMBER, LATER)
    domain(LATER, "LaterRole")
    client("iam", MEMBER).delete_role(RoleName=ROLE)
    company.everything()
    company.everything()
    [finding] = company.findings_of(MEMBER)
    assert (finding["kind"], finding["reason"]) == ("Account Finding", "account cannot be entered")
    assert has_attached(LATER, "LaterRole")
    assert has_attached(CENTRAL, "CanvasAnalytics")


def test_if_accounts_cannot_be_listed_known_ones_stay_and_the_central_account_is_swept(company):
    domain(MEMBER, "Theirs")
    company.everything()
    with company.aws.failing("ListStackInstances", "AccessDenied", status=403):
        company.everything()
    assert MEMBER in company.progress.member_accounts()
    assert [row["kind"] for row in company.findings_of(CENTRAL)] == ["Account Finding"]
    assert len(company.progress.sweeps(CENTRAL)) == 2


NOT_DELEGATED = ("ListStackInstances", "ValidationError", "Account used is not a delegated administrator")


def test_a_missing_delegated_administrator_is_reported_once_with_its_own_reason(company):
    company.swept()
    with company.aws.failing(*NOT_DELEGATED):
        company.everything()
        company.everything()
    [finding] = company.findings_of(CENTRAL)
    assert finding["reason"] == "not a delegated administrator"
    assert "aws organizations list-delegated-administrators" in finding["recommendation"]
    assert "organizations:ListDelegatedAdministrators" in finding["recommendation"]
    about = "account/ListStackInstances"
    assert [row["kind"] for row in company.history_of(CENTRAL, about)] == ["Account Finding"]
    company.everything()
    assert [row["kind"] for row in company.history_of(CENTRAL, about)] == ["Account Finding", "Finding Resolved"]


def test_a_sweep_without_the_permission_to_list_delegated_administrators_is_reported(company):
    """Deny SweepFunction's role the permission that StackSets needs."""
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "organizations:ListDelegatedAdministrators", "Resource": "*"},
        ],
    }
    company.role("Sweep", TRUST)
    company.iam.put_role_policy(RoleName="Sweep", PolicyName="may", PolicyDocument=json.dumps(document))
    company.aws.lend("ASIASWEEP", "Sweep")
    own = Aws(boto3.Session("ASIASWEEP", "x", region_name="us-east-1"))
    with company.aws.authorizing(), pytest.raises(Refused) as refused:
        own.stack_set_accounts("rolewarden-members", "us-east-1", "DELEGATED_ADMIN")
    assert refused.value.reason is Reason.NOT_DELEGATED


def test_a_new_account_is_swept_and_one_that_has_left_is_unbound(company):
    company.swept()
    domain(LATER, "LaterRole")
    company.organize(MEMBER, LATER)
    company.everything()
    assert has_attached(LATER, "LaterRole")
    company.organize(MEMBER)
    company.everything()
    assert company.bindings.of_account(LATER) == ()
    assert company.progress.member_accounts().keys() == {MEMBER}


def test_an_account_that_left_is_reported_once(company):
    def told(account):
        return [row["message"] for row in company.findings_of(account) if row["reason"] == "account no longer covered"]

    company.organize(MEMBER, LATER)
    company.everything()
    assert told(LATER) == []
    company.organize(MEMBER)
    for _ in range(2):
        company.everything()
    assert told(LATER) == ["ListStackInstances: rolewarden-members no longer has a stack in the account"]
    assert told(MEMBER) == []


def test_the_central_account_is_not_its_own_member(company):
    company.organize(CENTRAL, MEMBER)
    company.everything()
    assert company.progress.member_accounts().keys() == {MEMBER}


def test_messages_about_other_accounts_have_a_group_of_their_own_for_fair_queues(company):
    sent = []
    sqs = company.runtime.aws._sqs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqs, "send_message_batch", lambda **request: sent.extend(request["Entries"]) or {})
        company.runtime.aws.send("queue", [{"account": CENTRAL}, {"account": MEMBER}])
    assert [entry.get("MessageGroupId") for entry in sent] == [None, MEMBER]


def test_rules_can_name_accounts(company, tmp_path):
    rules = tmp_path / "guardrails.yaml"
    rules.write_text(
        """
guardrails:
  strict: {bedrock: {deny: all}}
  mild: {bedrock: {deny: [anthropic.claude-v2*]}}
assignments:
  - {guardrails: [mild], accounts: ["2222*"]}
  - guardrails: [strict]
"""
    )
    company.environment = {**company.environment, "GUARDRAILS_FILE": str(rules)}
    company.cover().publications.run(CENTRAL, DEPLOYMENT)
    domain(MEMBER, "Theirs")
    company.everything()
    assert has_attached(MEMBER, "Theirs", "mild")
    assert not has_attached(MEMBER, "Theirs", "strict")
    assert has_attached(CENTRAL, "CanvasAnalytics", "strict")


def test_member_roles_of_the_functions_are_not_governed(company, tmp_path):
    rules = tmp_path / "guardrails.yaml"
    rules.write_text(
        """
guardrails: {strict: {bedrock: {deny: all}}}
assignments: [{guardrails: [strict]}]
also_govern: {roles: ["rolewarden-*"]}
"""
    )
    company.environment = {**company.environment, "GUARDRAILS_FILE": str(rules)}
    company.cover().publications.run(CENTRAL, DEPLOYMENT)
    # In the central account the name has no meaning: every user can make such a role, and it is protected.
    company.role(ROLE)
    company.everything()
    assert not has_attached(MEMBER, ROLE, "strict")
    assert has_attached(CENTRAL, ROLE, "strict")


# Regions


def test_domains_of_every_region_are_swept_and_compared_together(company):
    company.cover("us-east-1,eu-west-1")
    domain(CENTRAL, "FarAway", "eu-west-1")
    company.everything()
    assert has_attached(CENTRAL, "FarAway")
    assert has_attached(CENTRAL, "CanvasAnalytics")
    [sweep] = company.progress.sweeps(CENTRAL)
    assert (sweep["completed"]["roles"], sweep["completed"]["surplus"]) == (9, 0)


def test_a_sweep_of_two_regions_compares_once_regardless_of_their_order(company):
    company.cover("us-east-1,eu-west-1")
    domain(CENTRAL, "FarAway", "eu-west-1")
    company.sweeper.handle_event({})
    company.queued("PUBLISH_QUEUE_URL")
    first, second = company.queued("SWEEP_QUEUE_URL")
    assert {first["region"], second["region"]} == {"us-east-1", "eu-west-1"}
    assert company.sweeper.handle_message(second) == {"listed": "everything"}
    assert company.sweeper.handle_message(first)["unprotected"] > 0


def test_subjects_of_a_region_that_is_no_longer_named_are_unbound(company):
    company.cover("us-east-1,eu-west-1")
    domain(CENTRAL, "FarAway", "eu-west-1")
    company.everything()
    company.cover("us-east-1").everything()
    assert company.bindings.of_role(RoleKey(CENTRAL, "FarAway")) == ()
    assert company.bindings.of_role(RoleKey(CENTRAL, "CanvasAnalytics")) != ()
