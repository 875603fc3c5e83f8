"""Rolewarden rechecks state that it may have read too early, a limited number of times."""

import pytest
from rolewarden.work import RECHECKS
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import TRUST

from tests.guardrail_texts import TRUSTING
from tests.publishing import GUARDRAIL_ARN, PUBLISHED, tamper
from tests.world import EC2_TRUST


def looks(world):
    """Process the queue, and return the number of rechecks."""
    count = 0
    while done := world.work():
        count += len(done)
    return count


def test_a_role_that_iam_does_not_show_yet_is_protected_as_soon_as_it_does(world):
    world.with_immediate_rechecks()
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")}
    )
    with world.aws.failing("ListAttachedRolePolicies", "NoSuchEntity", status=404, times=1):
        [outcome] = world.enforce(world.event("CreateUserProfile"))
    assert (outcome["reason"], world.attached("CanvasNadia")) == ("role does not exist", set())
    world.work()
    assert world.attached("CanvasNadia") == {"no-generative-ai"}


def test_a_role_that_never_appears_has_the_usual_number_of_rechecks(world):
    world.with_immediate_rechecks()
    event = world.role_event("CanvasOmar")
    with world.aws.failing("ListAttachedRolePolicies", "NoSuchEntity", status=404):
        world.enforce(event)
        assert looks(world) == RECHECKS


@pytest.mark.parametrize("known", [{"call": "DeleteRole"}, {"trigger": "sweep"}])
def test_a_role_that_is_known_to_be_deleted_is_not_rechecked(world, known):
    work = {"role": "CanvasOmar", "role_account": ACCOUNT_ID, "account": ACCOUNT_ID, **known}
    with world.aws.failing("ListAttachedRolePolicies", "NoSuchEntity", status=404):
        world.with_immediate_rechecks().enforcer.handle_message(work)
    assert looks(world) == 0


def test_a_policy_that_iam_does_not_show_yet_is_attached_when_it_does(world):
    world.with_immediate_rechecks()
    event = world.role_event("CanvasOmar")
    missing = "Policy arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai does not exist"
    with world.aws.failing("AttachRolePolicy", "NoSuchEntity", missing, status=404, times=1):
        [outcome] = world.enforce(event)
    assert outcome["reason"] == "policy missing"
    world.work()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_list_that_still_shows_a_detached_policy_is_rechecked(world, monkeypatch):
    world.protected().with_immediate_rechecks()
    before = world.runtime.aws.attached_policies("CanvasOmar")
    event = world.detach("CanvasOmar", "no-generative-ai")
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "attached_policies", lambda _: before)
        assert world.enforce(event)[0]["verdict"] == "compliant"
    assert world.attached("CanvasOmar") == set()
    world.work()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_the_detachment_of_another_policy_needs_no_recheck(world):
    world.protected().with_immediate_rechecks()
    world.queued()
    canvas = "arn:aws:iam::aws:policy/AmazonSageMakerCanvasFullAccess"
    world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=canvas)
    assert world.enforce(world.event("DetachRolePolicy"))[0]["verdict"] == "compliant"
    assert world.queued() == []


@pytest.mark.parametrize("status", ["Pending", "Updating"])
def test_a_domain_in_an_update_is_rechecked_and_its_new_role_protected(world, monkeypatch, status):
    world.protected().with_immediate_rechecks()
    old = world.runtime.aws.domain("us-east-1", "d-research0001")
    world.sagemaker.update_domain(
        DomainId="d-research0001", DefaultUserSettings={"ExecutionRole": world.role("CanvasResearch2")}
    )
    with monkeypatch.context() as early:
        early.setattr(world.runtime.aws, "domain", lambda *_: {**old, "Status": status})
        world.enforce(world.event("UpdateDomain"))
    assert world.attached("CanvasResearch2") == set()
    world.work()
    assert world.attached("CanvasResearch2") == {"only-nova-and-sonnet"}


def test_a_profile_in_creation_has_the_usual_number_of_rechecks(world, monkeypatch):
    world.protected().with_immediate_rechecks()
    profile = world.runtime.aws.user_profile
    monkeypatch.setattr(world.runtime.aws, "user_profile", lambda *key: {**profile(*key), "Status": "Pending"})
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    world.enforce(world.event("UpdateUserProfile"))
    assert looks(world) == RECHECKS


def test_the_recheck_unbinds_a_profile_that_was_being_deleted(world, monkeypatch):
    world.protected().with_immediate_rechecks()
    omar = world.runtime.aws.user_profile("us-east-1", "d-analytics0001", "omar")
    world.sagemaker.delete_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    with monkeypatch.context() as early:
        early.setattr(world.runtime.aws, "user_profile", lambda *_: {**omar, "Status": "Deleting"})
        world.enforce(world.event("DeleteUserProfile"))
    assert "CanvasOmar" in world.bound().values()
    world.work()
    assert "CanvasOmar" not in world.bound().values()


def test_a_new_role_is_governed_by_trust_as_soon_as_iam_shows_it(world_with):
    world = world_with(TRUSTING).with_immediate_rechecks()
    world.role("AnyName")
    with world.aws.failing("GetRole", "NoSuchEntity", status=404, times=1):
        world.enforce(world.event("CreateRole"))
    assert world.attached("AnyName") == set()
    world.work()
    assert world.attached("AnyName") == {"no-generative-ai"}


def test_the_recheck_protects_a_recreated_role_after_a_stale_read(world, monkeypatch):
    world.protected().with_immediate_rechecks()
    world.queued()
    before = world.runtime.aws.attached_policies("CanvasOmar")
    for arn in before:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.iam.delete_role(RoleName="CanvasOmar")
    world.role("CanvasOmar")
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "attached_policies", lambda _: before)
        assert world.enforce(world.event("CreateRole"))[0]["verdict"] == "compliant"
    assert world.attached("CanvasOmar") == set()
    world.work()
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_new_role_with_its_guardrail_is_rechecked_once(world):
    world.protected().with_immediate_rechecks()
    world.queued()
    event = {**world.role_event("CanvasOmar")}
    event["detail"]["eventName"] = "CreateRole"
    world.enforce(event)
    assert looks(world) == 1


def test_a_role_that_still_shows_its_earlier_trust_policy_is_rechecked(world_with, monkeypatch):
    world = world_with(TRUSTING).with_immediate_rechecks()
    world.role("Builder", EC2_TRUST)
    before = world.runtime.aws.role("Builder")
    world.iam.update_assume_role_policy(RoleName="Builder", PolicyDocument=TRUST)
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "role", lambda _: before)
        world.enforce(world.event("UpdateAssumeRolePolicy"))
    assert world.attached("Builder") == set()
    world.work()
    assert world.attached("Builder") == {"no-generative-ai"}


def test_the_recheck_restores_an_edited_policy_after_a_stale_read(world, monkeypatch):
    world.with_immediate_rechecks()
    before = world.runtime.aws.policy(GUARDRAIL_ARN)
    event = tamper(world, "edited")
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "policy", lambda _: before)
        assert world.publications.handle_event(event)["policies"] == {"no-generative-ai": "unchanged"}
    assert world.in_force() == {"only-nova-and-sonnet"}
    [look] = world.queued("PUBLISH_QUEUE_URL")
    world.publications.handle_message(look)
    assert world.in_force() == PUBLISHED
    assert world.history("policy/no-generative-ai")[-1]["cause"]["event_name"] == "CreatePolicyVersion"
    assert world.queued("PUBLISH_QUEUE_URL") == []


@pytest.mark.parametrize("body", [None, {}, {"request": {"role": "r"}, "account": "1", "region": "r", "rechecks": 1}])
def test_a_publish_message_without_a_policy_is_logged_and_dropped(world, body):
    assert world.publications.handle_message(body) == {"ignored": "no recheck"}


@pytest.mark.parametrize(
    "body",
    [
        {"request": {}},
        {"request": {"domain": 7}, "account": "1", "region": "r", "rechecks": 1},
        {"request": {"policy": "p"}, "account": "1", "region": "r", "rechecks": 1},
        {"request": {"domain": "d"}, "account": "1", "region": "r", "rechecks": "1"},
        {"request": "omar", "account": "1", "region": "r", "rechecks": 1},
    ],
)
def test_a_recheck_message_without_a_subject_is_logged_and_dropped(world, body):
    assert world.enforcer.handle_message(body) == {"ignored": "no work message"}


@pytest.mark.parametrize("cause", [None, "x", {"who": "mallory"}, {"event_name": 7}])
def test_a_message_without_a_cause_is_recorded_as_a_check(world, cause):
    role = {"account": ACCOUNT_ID, "cause": cause, "rechecks": 1}
    by_hand = {**role, "role_account": ACCOUNT_ID, "role": "CanvasFull"}
    for body in (by_hand, {**role, "region": "us-east-1", "request": {"role": "CanvasOmar"}}):
        world.enforcer.handle_message(body)
    for about in ("CanvasFull", "CanvasOmar"):
        assert world.history(about)[-1]["cause"] == {"event_name": "ScheduledCheck"}
