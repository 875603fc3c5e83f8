"""Rolewarden detaches surplus guardrails only if guardrails.yaml requests it."""

import pytest
from rolewarden.errors import RetryLater
from rolewarden.origin import SCHEDULED_CHECK
from rolewarden.policies import policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.guardrail_texts import BY_DOMAIN, ONLY_NOVA_AND_SONNET, TWO_GUARDRAILS
from tests.handlers import deletion_request, deployment_request, function_handler, lambda_context, sqs_event
from tests.publishing import UNRELATED

CONTEXT = lambda_context("DetachFunction")


KEEP = BY_DOMAIN
DETACH = "surplus: detach\n" + KEEP


def moved(world):
    """Give Rosa another role, so that no subject uses her earlier one."""
    world.sagemaker.update_user_profile(
        DomainId="d-research0001", UserProfileName="rosa", UserSettings={"ExecutionRole": world.role("CanvasRosaNew")}
    )


@pytest.mark.parametrize(("text", "left"), [(KEEP, {"only-nova-and-sonnet"}), (DETACH, set())], ids=["keep", "detach"])
def test_an_unused_role_keeps_its_guardrails_unless_surplus_is_detached(world_with, text, left):
    world = world_with(text)
    world.sweep()
    moved(world)
    world.sweep()
    world.detach_surplus()
    assert world.attached("CanvasRosa") == left
    assert world.attached("CanvasRosaNew") == {"only-nova-and-sonnet"}


def test_detachments_are_recorded(world_with):
    world = world_with(DETACH)
    world.sweep()
    moved(world)
    world.sweep()
    world.detach_surplus()
    assert [row["detached"] for row in world.history("CanvasRosa") if row["kind"] == "Surplus Detached"] == [
        ["only-nova-and-sonnet"]
    ]


def test_the_roles_of_a_deleted_domain_are_detached(world_with):
    world = world_with(DETACH)
    world.sweep()
    for profile in world.sagemaker.list_user_profiles(DomainIdEquals="d-research0001")["UserProfiles"]:
        world.sagemaker.delete_user_profile(DomainId="d-research0001", UserProfileName=profile["UserProfileName"])
    world.sagemaker.delete_domain(DomainId="d-research0001")
    world.sweep()
    world.detach_surplus()
    assert world.attached("CanvasRosa") == set()


def test_a_newly_exempt_role_loses_its_guardrails_until_the_exemption_ends(world_with):
    world = world_with(DETACH)
    world.sweep()
    exempt = world_with(DETACH + "exemptions:\n  - {role: CanvasOmar, until: 2027-01-31, reason: x}\n", keep=True)
    exempt.sweep()
    exempt.detach_surplus()
    assert exempt.attached("CanvasOmar") == set()
    ended = world_with(DETACH + "exemptions:\n  - {role: CanvasOmar, until: 2026-12-31, reason: x}\n", keep=True)
    ended.sweep()
    assert ended.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_role_loses_old_guardrails_only_after_it_has_the_new_ones(world_with):
    world = world_with(DETACH)
    world.sweep()
    changed = world_with(DETACH.replace("domains: [research]", "domains: [analytics]"), keep=True)
    changed.sweeper.start()
    body = {"account": ACCOUNT_ID, "role": "CanvasRosa", "policies": ["only-nova-and-sonnet"]}
    assert changed.detacher.handle_message(body)["waits"] == "lacks no-generative-ai"
    assert changed.attached("CanvasRosa") == {"only-nova-and-sonnet"}
    changed.work()
    changed.detach_surplus()
    assert changed.attached("CanvasRosa") == {"no-generative-ai"}


def test_a_surplus_guardrail_stays_until_the_policies_that_the_role_needs_are_in_effect(world_with):
    world = world_with(DETACH)
    world.sweep()
    for policy in ("no-generative-ai", "only-nova-and-sonnet"):
        arn = policy_arn(policy, "aws", ACCOUNT_ID)
        world.iam.attach_role_policy(RoleName="CanvasRosa", PolicyArn=arn)
    # `arn` is the policy that the role needs.
    world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    body = {"account": ACCOUNT_ID, "role": "CanvasRosa", "policies": ["no-generative-ai"]}
    assert world.detacher.handle_message(body)["waits"].startswith("a rule change has not reached")
    assert world.attached("CanvasRosa") == {"no-generative-ai", "only-nova-and-sonnet"}
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert world.detacher.handle_message(body)["detached"] == ["no-generative-ai"]


def test_a_policy_that_a_role_needs_again_is_not_detached(world_with):
    world = world_with(DETACH)
    world.sweep()
    body = {"account": ACCOUNT_ID, "role": "CanvasRosa", "policies": ["only-nova-and-sonnet"]}
    assert world.detacher.handle_message(body) == {"role": "CanvasRosa", "detached": []}
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}


def renamed(text):
    """The same rules with another name of one guardrail."""
    return text.replace("only-nova-and-sonnet", "two-families")


def removed(text):
    """The same rules without this guardrail."""
    return text.replace("[only-nova-and-sonnet]", "[no-generative-ai]").replace(ONLY_NOVA_AND_SONNET, "")


@pytest.mark.parametrize(("change", "needed"), [(removed, "no-generative-ai"), (renamed, "two-families")])
def test_a_removed_or_renamed_guardrail_stays_attached_with_surplus_keep(world_with, change, needed):
    world = world_with(KEEP)
    world.sweep()
    world = world_with(change(KEEP), keep=True)
    for _ in range(2):
        world.sweep()
        world.detach_surplus()
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet", needed}
    assert "only-nova-and-sonnet" in world.listed_policies()
    last = world.progress.sweeps(ACCOUNT_ID)[-1]
    assert "CanvasRosa" in last["surplus"]["roles"]
    assert last["surplus"]["policies"] == ["only-nova-and-sonnet"]


@pytest.mark.parametrize(("change", "needed"), [(removed, "no-generative-ai"), (renamed, "two-families")])
def test_with_surplus_detach_the_new_policy_is_attached_before_the_old_one_goes(world_with, change, needed):
    world = world_with(DETACH)
    world.sweep()
    world = world_with(change(DETACH), keep=True)
    world.sweep()
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet", needed}
    world.detach_surplus()
    world.sweep()
    world.detach_surplus()
    assert world.attached("CanvasRosa") == {needed}
    assert "only-nova-and-sonnet" not in world.listed_policies()


def test_a_message_cannot_detach_a_removed_guardrail_that_the_rules_keep(world_with):
    world = world_with(KEEP)
    world.sweep()
    world = world_with(renamed(KEEP), keep=True)
    world.sweep()
    body = {"account": ACCOUNT_ID, "role": "CanvasRosa", "policies": ["only-nova-and-sonnet"]}
    assert world.detacher.handle_message(body)["detached"] == []
    assert world.detacher.handle_message({"account": ACCOUNT_ID, "policy": "only-nova-and-sonnet"})["retired"] is False


def test_with_surplus_keep_the_policy_of_a_removed_guardrail_is_deleted_once_no_role_has_it(world_with):
    world = world_with(KEEP)
    world.sweep()
    world = world_with(removed(KEEP), keep=True)
    world.sweep()
    for role in ("CanvasRosa", "CanvasResearch"):
        world.detach(role, "only-nova-and-sonnet")
    world.sweep()
    world.detach_surplus()
    assert world.listed_policies() == {"no-generative-ai"}


def test_another_callers_policy_under_rolewardens_path_is_neither_detached_nor_deleted(world_with):
    world = world_with(DETACH)
    arn = world.iam.create_policy(PolicyName="stray", Path="/rolewarden/", PolicyDocument=UNRELATED)["Policy"]["Arn"]
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.sweep()
    world.detach_surplus()
    world.detach_surplus()
    assert "stray" in world.attached("CanvasOmar")


def test_a_forged_message_detaches_no_policy_of_another_caller(world_with):
    world = world_with(DETACH)
    arn = world.iam.create_policy(PolicyName="stray", Path="/rolewarden/", PolicyDocument=UNRELATED)["Policy"]["Arn"]
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    world.sweep()
    world.detacher.handle_message({"account": ACCOUNT_ID, "role": "CanvasOmar", "policies": ["stray"]})
    assert "stray" in world.attached("CanvasOmar")


def test_an_attached_policy_is_not_deleted_yet(world_with):
    world = world_with(KEEP)
    world.sweep()
    retired = world_with(KEEP.replace("only-nova-and-sonnet", "other-models"), keep=True)
    said = retired.detacher.handle_message({"account": ACCOUNT_ID, "policy": "only-nova-and-sonnet"})
    assert (said["retired"], said["waits"]) == (False, "still attached to 2 roles")


def test_a_deleted_role_has_nothing_to_detach(world_with):
    world = world_with(DETACH)
    body = {"account": ACCOUNT_ID, "role": "Nobody", "policies": ["only-nova-and-sonnet"]}
    assert world.detacher.handle_message(body) == {"role": "Nobody", "detached": []}


def test_a_message_that_is_no_detachment_is_logged_and_dropped(world):
    assert world.detacher.handle_message({"account": ACCOUNT_ID}) == {"ignored": "no detach message"}


def test_a_deleted_stack_leaves_every_guardrail_attached(world, answers, monkeypatch):
    world.swept()
    said = function_handler(world, monkeypatch, "detach")(deletion_request(answers, "keep"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}
    assert said["left"] == {"only-nova-and-sonnet": 2, "no-generative-ai": 4}


def test_a_stack_that_is_deleted_with_remove_detaches_and_deletes_everything(world, answers, monkeypatch):
    world.swept()
    function_handler(world, monkeypatch, "detach")(deletion_request(answers, "remove"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert world.attached("CanvasAnalytics") == world.attached("CanvasRosa") == set()
    assert world.listed_policies() == set()


def test_a_removal_that_runs_out_of_time_is_not_answered_and_continues_with_lambdas_retry(world, answers, monkeypatch):
    world.swept()
    handler = function_handler(world, monkeypatch, "detach")
    with pytest.raises(RetryLater, match="others remain"):
        handler(deletion_request(answers, "remove"), lambda_context("DetachFunction", lambda: 15))
    assert answers.heard == []
    handler(deletion_request(answers, "remove"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert world.attached("CanvasAnalytics") == set()


@pytest.mark.parametrize("created", ["before the policies", "after the policies"])
def test_a_rolled_back_creation_detaches_its_own_guardrails_and_keeps_those_of_an_earlier_stack(
    world, answers, monkeypatch, created
):
    world.swept()
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}
    now = world.runtime.aws.policy_created(policy_arn("no-generative-ai", "aws", ACCOUNT_ID))
    began = now - 60 if created == "before the policies" else now + 60
    monkeypatch.setattr("rolewarden.aws.Aws.stack_created", lambda *_: began)
    handler = function_handler(world, monkeypatch, "detach", status="ROLLBACK_IN_PROGRESS")
    handler(deletion_request(answers, "keep"), CONTEXT)
    assert [answer["Status"] for answer in answers.heard] == ["SUCCESS"]
    kept = {"no-generative-ai"} if created == "after the policies" else set()
    assert world.attached("CanvasAnalytics") == kept


def test_a_stack_that_keeps_its_guardrails_is_deleted_although_cloudformation_does_not_answer(
    world, answers, monkeypatch
):
    def unanswered(*_):
        raise RetryLater("no answer")

    world.sweep()
    handler = function_handler(world, monkeypatch, "detach")
    monkeypatch.setattr("rolewarden.aws.Aws.stack_status", unanswered)
    handler(deletion_request(answers, "keep"), CONTEXT)
    assert [answer["Status"] for answer in answers.heard] == ["SUCCESS"]
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_a_failed_removal_is_retried_while_time_is_left(world, answers, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("rolewarden.detach.time.sleep", waited.append)
    world.sweep()
    with world.aws.failing("ListEntitiesForPolicy", "ServiceFailure", status=500, times=12):
        function_handler(world, monkeypatch, "detach")(deletion_request(answers, "remove"), CONTEXT)
    assert [answer["Status"] for answer in answers.heard] == ["SUCCESS"]
    assert world.attached("CanvasAnalytics") == set()
    assert waited


def test_creating_or_updating_the_stack_detaches_nothing(world, answers, monkeypatch):
    world.swept()
    handler = function_handler(world, monkeypatch, "detach")
    for kind in ("Create", "Update"):
        handler(deployment_request(answers, kind, ResourceProperties={"OnDelete": "remove"}), CONTEXT)
    assert [answer["Status"] for answer in answers.heard] == ["SUCCESS", "SUCCESS"]
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_the_function_processes_its_queue_and_returns_messages_that_must_wait(world_with, monkeypatch):
    world = world_with(DETACH)
    world.sweep()
    bodies = [
        {"account": ACCOUNT_ID, "role": "CanvasOmar", "policies": ["only-nova-and-sonnet"]},
        {"account": ACCOUNT_ID, "role": "CanvasBedrockAnalytics", "policies": ["only-nova-and-sonnet"]},
    ]
    handler = function_handler(world, monkeypatch, "detach")
    with world.aws.failing("ListAttachedRolePolicies", "ServiceFailure", status=500, times=3):
        answer = handler(sqs_event(*bodies), CONTEXT)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}


def test_detaching_a_policy_that_is_not_attached_is_no_error(world):
    arn = policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)
    assert not world.runtime.aws.detach("CanvasOmar", arn, correlation_id="")
    assert not world.runtime.aws.remove_boundary("CanvasOmar", correlation_id="")
    assert world.attached("CanvasOmar") == set()


def test_a_detachment_that_iam_does_not_show_yet_is_reported_once(world_with):
    """A case that the soak found: IAM returned a stale read for the second message of a role."""
    world = world_with(DETACH)
    world.sweep()
    moved(world)
    body = {"account": ACCOUNT_ID, "role": "CanvasRosa", "policies": ["only-nova-and-sonnet"]}
    world.sweep()
    with world.aws.stale(30.0, clock=lambda: 1000.0, age=lambda _: 30.0):
        assert world.detacher.handle_message(body)["detached"] == ["only-nova-and-sonnet"]
        assert world.detacher.handle_message(body)["detached"] == []
    assert [row["detached"] for row in world.history("CanvasRosa") if row["kind"] == "Surplus Detached"] == [
        ["only-nova-and-sonnet"]
    ]


def test_a_sweep_that_could_not_read_everything_detaches_nothing(world_with):
    world = world_with(DETACH)
    world.sweep()
    world.bindings.write((), [binding.key for binding in world.bindings.all()])  # This event is lost.
    with world.aws.failing("DescribeUserProfile", "AccessDeniedException"):
        world.sweep()
    assert world.queued("DETACH_QUEUE_URL") == []
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_observe_mode_detaches_nothing(world_with):
    world = world_with(DETACH)
    world.sweep()
    moved(world)
    watching = world_with("mode: observe\n" + DETACH.replace("only-nova-and-sonnet", "other-models"), keep=True)
    watching.sweep()
    assert watching.queued("DETACH_QUEUE_URL") == []


def test_a_guardrail_in_observe_mode_is_not_detached_and_does_not_block_others(world_with):
    text = DETACH.replace("no-generative-ai: {", "no-generative-ai: {mode: observe, ")
    world = world_with(DETACH)
    world.sweep()
    watching = world_with(text.replace("domains: [research]", "domains: [analytics]"), keep=True)
    watching.sweep()
    watching.detach_surplus()
    assert watching.attached("CanvasRosa") == set()  # This role lacks the guardrail that is in observe mode.
    assert watching.attached("CanvasOmar") == {"only-nova-and-sonnet", "no-generative-ai"}


def test_a_role_that_needs_its_policy_again_during_a_detachment_is_rechecked(world_with, monkeypatch):
    world = world_with(DETACH).with_immediate_rechecks()
    world.sweep()
    moved(world)
    world.sweep()
    detached = world.runtime.aws.detach

    def meanwhile(role, arn, *, correlation_id):
        world.sagemaker.update_user_profile(
            DomainId="d-research0001",
            UserProfileName="rosa",
            UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/CanvasRosa"},
        )
        world.enforce(world.event("UpdateUserProfile"))  # This evaluation finds the role compliant.
        detached(role, arn, correlation_id=correlation_id)

    monkeypatch.setattr(world.runtime.aws, "detach", meanwhile)
    world.detach_surplus()
    assert world.attached("CanvasRosa") == set()
    world.work()
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}


def test_policies_that_cannot_be_detached_are_named_after_the_others_are_detached(world, answers, monkeypatch):
    world.swept()
    handler = function_handler(world, monkeypatch, "detach")
    with world.aws.failing("DetachRolePolicy", "UnmodifiableEntity", times=1):
        handler(deletion_request(answers, "remove"), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert "no-generative-ai stays on CanvasAnalytics" in answer["Reason"]
    assert world.attached("CanvasOmar") == world.attached("CanvasRosa") == set()


@pytest.mark.parametrize("on_delete", ["keep", "remove"])
def test_a_stack_whose_rules_cannot_be_used_can_be_made_and_deleted(world, answers, monkeypatch, on_delete, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("guardrails: {}\n")
    world.environment = {**world.environment, "GUARDRAILS_FILE": str(broken)}
    handler = function_handler(world, monkeypatch, "detach")
    handler(deployment_request(answers, ResourceProperties={"OnDelete": on_delete}), CONTEXT)
    handler(deletion_request(answers, on_delete), CONTEXT)
    assert [answer["Status"] for answer in answers.heard] == ["SUCCESS", "SUCCESS"]


def test_a_kept_stack_can_be_deleted_without_the_permission_to_list_its_policies(world, answers, monkeypatch):
    with world.aws.failing("ListPolicies", "AccessDenied"):
        function_handler(world, monkeypatch, "detach")(deletion_request(answers, "keep"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"


def test_detachments_before_a_throttled_call_are_recorded_before_the_next_try(world_with):
    world = world_with(TWO_GUARDRAILS).protected()
    world = world_with(NONE_OF_TWO, keep=True)
    world.sweep()
    [body] = [body for body in world.queued("DETACH_QUEUE_URL") if body.get("role") == "CanvasOmar"]
    with world.aws.failing("DetachRolePolicy", "Throttling", after=1), pytest.raises(RetryLater):
        world.detacher.handle_message(body)
    assert [row["detached"] for row in world.history("CanvasOmar") if "detached" in row] == [["first"]]
    world.detacher.handle_message(body)
    assert [row["detached"] for row in world.history("CanvasOmar") if "detached" in row] == [["first"], ["second"]]
    assert world.attached("CanvasOmar") == set()


NONE_OF_TWO = "surplus: detach\n" + TWO_GUARDRAILS.replace(
    "  - guardrails", "  - guardrails: []\n    domains: [analytics]\n  - guardrails"
)
