"""A role at its quota: a fallback boundary protects the role if guardrails.yaml allows it. Else it is reported."""

import json

import pytest
from rolewarden.bindings import RoleKey
from rolewarden.errors import RetryLater
from rolewarden.origin import SCHEDULED_CHECK, SWEEP
from rolewarden.policies import compile_boundaries, policy_arn
from rolewarden.reconcile import Reconciler
from rolewarden_local.aws import ACCOUNT_ID

from tests.handlers import deletion_request, function_handler, lambda_context
from tests.publishing import UNRELATED

pytestmark = pytest.mark.long

CONTEXT = lambda_context("DetachFunction")


OFF = """
guardrails:
  a: {bedrock: {deny: all}}
  b: {jumpstart: {deny: all}}
assignments:
  - {guardrails: [b], domains: [analytics]}
  - guardrails: [a]
"""
ON = "fallback: boundary\n" + OFF
TWO = ON.replace("  - guardrails: [a]\n", "  - guardrails: [a, b]\n")
TEAM = f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-01"
OURS = policy_arn("boundary.", "aws", ACCOUNT_ID)


def boundary(world, role="CanvasFull"):
    """The permissions boundary of a role: the guardrails of a fallback boundary, the ARN of another one, or None."""
    found = world.iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return found.removeprefix(OURS) if found else None


def theirs(world):
    """The ARN of another owner's boundary."""
    return world.iam.create_policy(PolicyName="theirs", PolicyDocument=UNRELATED)["Policy"]["Arn"]


def put_theirs(world, role="CanvasFull"):
    """Set another owner's boundary, and return its ARN and the event."""
    arn = theirs(world)
    world.iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    return arn, world.event("PutRolePermissionsBoundary")


def taken_off(world, role="CanvasFull"):
    """Remove the boundary, and return the event."""
    world.iam.delete_role_permissions_boundary(RoleName=role)
    return world.event("DeleteRolePermissionsBoundary")


def freed(world, role="CanvasFull"):
    """Detach a policy from a full role, and return the event."""
    world.iam.detach_role_policy(RoleName=role, PolicyArn=TEAM)
    return world.event("DetachRolePolicy")


def without_domain(world):
    """Remove the full role from SageMaker's settings, so that no subject uses it."""
    world.sagemaker.delete_user_profile(DomainId="d-research0001", UserProfileName="fatima")
    world.enforce(world.event("DeleteUserProfile"))


@pytest.fixture
def world(world_with):
    return world_with(ON)


@pytest.fixture
def bounded(world):
    """A world where the full role has its boundary."""
    assert world.verdict("CanvasFull")["remediation"] == "bounded"
    world.with_immediate_rechecks().queued()
    return world


def test_without_a_fallback_a_full_role_is_unenforceable_and_the_finding_lists_its_policies(world_with):
    world = world_with(OFF)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert outcome["attached_policies"] == [
        f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{n:02}" for n in range(1, 11)
    ]
    assert world.history("CanvasFull")[-1]["attached_policies"] == outcome["attached_policies"]
    assert boundary(world) is None


def test_the_list_has_policies_attached_before_the_quota_and_a_remediated_role_has_no_list(world_with):
    world = world_with(TWO.removeprefix("fallback: boundary\n"))
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["attached"]) == ("unenforceable", ["a"])
    assert len(outcome["attached_policies"]) == 10
    assert policy_arn("a", "aws", ACCOUNT_ID) in outcome["attached_policies"]
    assert "attached_policies" not in world.verdict("CanvasRosa")


def test_without_a_fallback_a_full_role_needs_only_the_calls_to_find_and_report_it(world_with):
    world = world_with(OFF)
    for role in ("CanvasAnalytics", "CanvasRosa"):  # The function then knows the texts of the policies.
        world.enforce(world.role_event(role))
    assert world.calls(world.role_event("CanvasFull")) == [
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:AttachRolePolicy",
        "dynamodb:PutItem",  # This call records that the finding will be reported.
        "dynamodb:PutItem",  # AlertFunction looks the event up in the history, so the row comes first.
        "events:PutEvents",
        "dynamodb:PutItem",  # This call records that the finding was reported.
    ]


def test_without_a_fallback_an_event_about_a_boundary_needs_no_more_calls_than_others(world_with):
    world = world_with(OFF).protected()
    _, put = put_theirs(world, "CanvasOmar")
    assert world.calls(put) == world.calls(taken_off(world, "CanvasOmar"))
    assert world.calls(put) == ["dynamodb:Query", "iam:ListAttachedRolePolicies"]


def test_a_full_role_gets_the_fallback_boundary_and_is_compliant(world):
    outcome = world.verdict("CanvasFull")
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("drifted", "compliant", "bounded")
    assert boundary(world) == "a"
    assert world.attached("CanvasFull") == set()


def test_setting_the_boundary_is_recorded_with_its_cause(world):
    event = world.role_event("CanvasFull")
    world.enforce(event)
    [row] = world.history("CanvasFull")
    assert (row["kind"], row["remediation"], row["missing"]) == ("Role Remediated", "bounded", ["a"])
    assert (row["boundary"], row["cause"]["event_name"]) == (f"{OURS}a", "TagRole")
    assert "attached_policies" not in row


def test_a_role_with_slots_for_some_guardrails_has_these_and_the_boundary_of_all(world_with):
    world = world_with(TWO)
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["remediation"], outcome["attached"]) == ("compliant", "bounded", ["a"])
    assert (world.attached("CanvasFull"), boundary(world)) == ({"a"}, "a+b")


def test_a_full_role_gets_its_boundary_although_a_policy_is_missing_in_iam(world_with):
    world = world_with(TWO)
    world.iam.delete_policy(PolicyArn=policy_arn("a", "aws", ACCOUNT_ID))
    assert world.verdict("CanvasFull")["verdict"] == "compliant"
    assert boundary(world) == "a+b"


def test_a_role_with_its_boundary_is_compliant_and_nothing_is_written_or_reported(bounded):
    before = len(bounded.history("CanvasFull"))
    bounded.verdict("CanvasFull")  # The function then knows the texts of the policies.
    assert bounded.calls(bounded.role_event("CanvasFull")) == [
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:GetPolicy",
        "iam:AttachRolePolicy",
        "iam:GetRole",
    ]
    outcome = bounded.verdict("CanvasFull")
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("compliant", "compliant", "none")
    assert (len(bounded.history("CanvasFull")), boundary(bounded)) == (before, "a")


def test_a_compliant_role_needs_one_more_call_with_the_fallback(world):
    world.protected()
    event = world.role_event("CanvasOmar")
    assert world.calls(event) == ["dynamodb:Query", "iam:ListAttachedRolePolicies", "iam:GetRole"]


def test_a_role_with_free_slots_gets_no_boundary(world):
    world.protected()
    assert (world.attached("CanvasOmar"), boundary(world, "CanvasOmar")) == ({"b"}, None)


def test_without_remediation_a_bounded_role_is_compliant_and_an_unprotected_one_drifted(world):
    reads = Reconciler(world.runtime.aws, world.runtime.needs, lambda _: True, observe=True)
    look = lambda: reads.reconcile(RoleKey(ACCOUNT_ID, "CanvasFull"), SWEEP)  # noqa: E731
    assert (look().verdict, boundary(world)) == ("drifted", None)
    world.verdict("CanvasFull")
    assert look().verdict == "compliant"
    with world.aws.failing("GetRole", "AccessDenied", status=403):
        assert look().verdict == "drifted"


def test_a_guardrail_in_observe_mode_is_not_in_the_boundary(world_with):
    world = world_with(TWO.replace("b: {jump", "b: {mode: observe, jump"))
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["remediation"], boundary(world)) == ("drifted", "bounded", "a")
    again = world.verdict("CanvasFull")
    assert (again["verdict"], again["remediation"], again["missing"]) == ("drifted", "observed", ["b"])


def test_mode_observe_neither_sets_nor_removes_a_boundary(world_with):
    world = world_with("mode: observe\n" + ON)
    assert world.verdict("CanvasFull")["remediation"] == "observed"
    assert boundary(world) is None
    enforcing = world_with(ON, keep=True)
    enforcing.verdict("CanvasFull")
    observing = world_with("mode: observe\n" + ON, keep=True)
    freed(observing)
    observing.sweep()
    observing.detach_surplus()
    assert boundary(observing) == "a"


def test_an_exempt_role_gets_no_boundary(world_with):
    world = world_with(ON + "exemptions:\n  - {role: CanvasFull, until: 2999-01-31}\n")
    assert world.verdict("CanvasFull")["verdict"] == "exempt"
    assert boundary(world) is None


def test_a_role_with_a_free_slot_gets_the_attachment_and_loses_the_boundary(bounded):
    [outcome] = bounded.enforce(freed(bounded))
    assert (outcome["remediation"], outcome["attached"], outcome["boundary_removed"]) == ("attached", ["a"], f"{OURS}a")
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, None)
    assert bounded.history("CanvasFull")[-1]["boundary_removed"] == f"{OURS}a"


def test_the_sweep_finds_a_free_slot_that_events_missed(bounded):
    freed(bounded)
    bounded.sweep()
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_that_was_removed_after_a_stale_read_is_set_again(bounded, monkeypatch):
    bounded.aws.policies_per_role = 11
    bounded.sweep()
    before = bounded.runtime.aws.attached_policies("CanvasFull")
    bounded.aws.policies_per_role = 10
    bounded.detach("CanvasFull", "a")
    bounded.sweep()
    assert boundary(bounded) == "a"
    with monkeypatch.context() as old:
        old.setattr(bounded.runtime.aws, "attached_policies", lambda _: before)
        bounded.sweep()
    assert boundary(bounded) is None
    bounded.work()
    assert boundary(bounded) == "a"


def test_the_sweep_finds_a_raised_quota(bounded):
    bounded.aws.policies_per_role = 20
    bounded.sweep()
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_stays_until_every_guardrail_has_a_slot(world_with):
    world = world_with(TWO)
    world.verdict("CanvasFull")
    [outcome] = world.enforce(freed(world))
    assert (outcome["verdict"], outcome["attached"]) == ("compliant", ["a"])
    assert (world.attached("CanvasFull"), boundary(world)) == ({"a"}, "a+b")
    world.aws.policies_per_role = 20
    world.sweep()
    assert (world.attached("CanvasFull"), boundary(world)) == ({"a", "b"}, None)


def test_another_owners_boundary_stays_when_the_guardrail_is_attached(bounded):
    arn, _ = put_theirs(bounded)
    bounded.enforce(freed(bounded))
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, arn)


@pytest.mark.parametrize("operation", ["GetRole", "DeleteRolePermissionsBoundary"])
def test_a_retry_between_attaching_and_removing_the_boundary_completes_both(bounded, operation):
    event = freed(bounded)
    with bounded.aws.failing(operation, "Throttling"), pytest.raises(RetryLater):
        bounded.enforce(event)
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, "a")
    assert bounded.history("CanvasFull")[-1]["attached"] == ["a"]
    bounded.enforce(event)
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, None)
    first, second = bounded.history("CanvasFull")[-2:]
    assert (first["attached"], "boundary_removed" in first) == (["a"], False)
    assert ("attached" in second, second["boundary_removed"]) == (False, f"{OURS}a")


def test_the_next_sweep_removes_a_boundary_that_is_no_longer_needed(bounded):
    event = freed(bounded)
    with bounded.aws.failing("DeleteRolePermissionsBoundary", "Throttling"), pytest.raises(RetryLater):
        bounded.enforce(event)
    bounded.sweep()
    assert (bounded.attached("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_that_cannot_be_removed_is_reported_once_a_week(bounded):
    freed(bounded)
    with bounded.aws.failing("DeleteRolePermissionsBoundary", "AccessDenied", status=403):
        [outcome] = [found for found in bounded.sweep() if found["role"] == "CanvasFull"]
        told = len(bounded.history("CanvasFull"))
        bounded.sweep()
        [again] = bounded.sweep()
    assert (outcome["verdict"], outcome["reason"], outcome["attached"]) == ("compliant", "access denied", ["a"])
    assert (again["verdict"], again["reason"]) == ("compliant", "access denied")
    assert len(bounded.history("CanvasFull")) == told + 1
    assert boundary(bounded) == "a"


def test_a_full_role_with_another_owners_boundary_is_unenforceable_and_the_finding_names_it(world):
    arn, event = put_theirs(world)
    [outcome] = world.enforce(event)
    assert (outcome["verdict"], outcome["reason"], outcome["boundary"]) == ("unenforceable", "quota full", arn)
    assert "the role has a permissions boundary that is not Rolewarden's" in outcome["message"]
    assert len(outcome["attached_policies"]) == 10
    assert boundary(world) == arn


def test_a_full_role_gets_the_fallback_boundary_after_the_other_one_is_removed(world):
    put_theirs(world)
    world.sweep()
    world.enforce(taken_off(world))
    assert boundary(world) == "a"


def test_an_unknown_boundary_under_rolewardens_path_belongs_to_another_owner(world):
    arn = policy_arn("b", "aws", ACCOUNT_ID)
    world.iam.put_role_permissions_boundary(RoleName="CanvasFull", PermissionsBoundary=arn)
    assert world.verdict("CanvasFull")["verdict"] == "unenforceable"
    assert boundary(world) == arn


def test_a_removed_boundary_is_set_again_and_the_record_names_the_actor(bounded):
    event = taken_off(bounded)
    [outcome] = bounded.enforce(event)
    assert (outcome["remediation"], boundary(bounded)) == ("bounded", "a")
    assert bounded.history("CanvasFull")[-1]["cause"]["actor"] == event["detail"]["userIdentity"]["arn"]


def test_the_sweep_sets_a_removed_boundary_again_that_events_missed(bounded):
    taken_off(bounded)
    bounded.sweep()
    assert boundary(bounded) == "a"


def test_a_replaced_boundary_is_reported_and_left(bounded):
    arn, event = put_theirs(bounded)
    [outcome] = bounded.enforce(event)
    assert (outcome["verdict"], outcome["boundary"]) == ("unenforceable", arn)
    bounded.work()
    assert boundary(bounded) == arn


def test_a_wrong_fallback_boundary_is_replaced(bounded):
    bounded.iam.put_role_permissions_boundary(RoleName="CanvasFull", PermissionsBoundary=f"{OURS}b")
    assert bounded.verdict("CanvasFull")["remediation"] == "bounded"
    assert boundary(bounded) == "a"


def test_another_assignment_needs_another_boundary(world_with):
    world = world_with(ON)
    world.verdict("CanvasFull")
    changed = world_with(TWO, keep=True)
    changed.sweep()
    assert boundary(changed) == "a+b"


def test_a_role_that_still_shows_a_removed_boundary_is_rechecked(bounded, monkeypatch):
    before = bounded.runtime.aws.role("CanvasFull")
    event = taken_off(bounded)
    with monkeypatch.context() as old:
        old.setattr(bounded.runtime.aws, "role", lambda _: before)
        assert bounded.enforce(event)[0]["verdict"] == "compliant"
    assert boundary(bounded) is None
    bounded.work()
    assert boundary(bounded) == "a"


def test_a_boundary_that_iam_may_not_show_yet_is_not_replaced(world, monkeypatch):
    world.with_immediate_rechecks()
    before = world.runtime.aws.role("CanvasFull")
    arn, event = put_theirs(world)
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "role", lambda _: before)
        [outcome] = world.enforce(event)
    assert (outcome["verdict"], boundary(world)) == ("drifted", arn)
    assert "checks it again" in outcome["message"]
    [outcome] = world.work()
    assert (outcome["verdict"], outcome["boundary"], boundary(world)) == ("unenforceable", arn, arn)


def test_the_recheck_sets_a_boundary_that_was_set_and_removed_again(world):
    world.with_immediate_rechecks()
    _, event = put_theirs(world)
    taken_off(world)
    world.enforce(event)
    assert boundary(world) is None
    world.work()
    assert boundary(world) == "a"


def shared(world):
    """A full role that a profile of each domain uses."""
    role = world.role("CanvasShared")
    for number in range(1, 11):
        world.iam.attach_role_policy(RoleName="CanvasShared", PolicyArn=TEAM.replace("01", f"{number:02}"))
    for domain, name in (("d-research0001", "tom"), ("d-analytics0001", "tim")):
        world.sagemaker.create_user_profile(
            DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": role}
        )  # fmt: skip
        [outcome] = world.enforce(world.event("CreateUserProfile"))
    return outcome


def test_a_role_whose_subjects_need_a_set_of_no_assignment_is_unenforceable_with_a_reason(world):
    outcome = shared(world)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert (
        "no boundary exists for a, b: its subjects need these together, but no assignment names them all"
        in outcome["message"]
    )
    assert boundary(world, "CanvasShared") == "a"  # The policies that tom needs are better than no policy.


def test_a_role_whose_subjects_need_the_set_of_an_assignment_gets_its_boundary(world_with):
    world = world_with(ON.replace("assignments:\n", "assignments:\n  - {guardrails: [b, a], domains: [other]}\n"))
    assert (shared(world)["verdict"], boundary(world, "CanvasShared")) == ("compliant", "a+b")


def test_a_full_role_with_guardrails_too_long_for_a_boundary_is_unenforceable_with_a_reason(world_with):
    models = ", ".join(f"maker{number}.model-with-a-long-name-{number}*" for number in range(40))
    world = world_with(ON.replace("a: {bedrock: {deny: all}}", f"a: {{bedrock: {{deny: [{models}]}}}}"))
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert "too long for an IAM policy, see `rolewarden check`" in outcome["message"]
    assert boundary(world) is None


def in_force(world):
    """Names of the boundaries whose default version matches the file."""
    return world.in_force(compile_boundaries(world.runtime.rules, "aws"))


def test_a_deployment_publishes_the_boundaries_with_the_guardrails(world_with):
    assert in_force(world_with(ON)) == {"boundary.a", "boundary.b"}
    assert world_with(OFF).listed_policies() == {"a", "b"}


OPEN = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@pytest.mark.parametrize("seen", [True, False], ids=["by its event", "by the clock"])
def test_an_edited_boundary_is_restored(bounded, seen):
    bounded.iam.create_policy_version(PolicyArn=f"{OURS}a", PolicyDocument=OPEN, SetAsDefault=True)
    assert in_force(bounded) == {"boundary.b"}
    if seen:
        bounded.publications.handle_event(bounded.event("CreatePolicyVersion"))
    else:
        bounded.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert in_force(bounded) == {"boundary.a", "boundary.b"}


def test_a_deleted_boundary_is_created_again(world):
    world.iam.delete_policy(PolicyArn=f"{OURS}a")
    world.publications.handle_event(world.event("DeletePolicy"))
    assert in_force(world) == {"boundary.a", "boundary.b"}


def test_a_boundary_that_iam_does_not_show_yet_is_set_as_soon_as_it_does(world):
    world.with_immediate_rechecks()
    event = world.role_event("CanvasFull")
    missing = f"Scope ARN: {OURS}a does not exist or is not attachable."
    with world.aws.failing("PutRolePermissionsBoundary", "NoSuchEntity", missing, status=404, times=1):
        [outcome] = world.enforce(event)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "policy missing")
    world.work()
    assert boundary(world) == "a"


@pytest.mark.parametrize("operation", ["GetRole", "PutRolePermissionsBoundary"])
def test_a_full_role_is_unenforceable_if_setting_its_boundary_is_denied(world, operation):
    with world.aws.failing(operation, "AccessDenied", status=403):
        outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "access denied")
    assert operation in outcome["message"]
    assert "attached_policies" not in outcome


@pytest.mark.parametrize("operation", ["GetRole", "PutRolePermissionsBoundary"])
def test_the_next_try_sets_a_boundary_after_a_temporary_error_and_attachments_are_recorded(world_with, operation):
    world = world_with(TWO)
    event = freed(world)
    with world.aws.failing(operation, "Throttling"), pytest.raises(RetryLater):
        world.enforce(event)
    [row] = world.history("CanvasFull")
    assert (row["verdict"], row["attached"]) == ("drifted", ["a"])
    world.enforce(event)
    assert (world.attached("CanvasFull"), boundary(world)) == ({"a"}, "a+b")
    assert [row["remediation"] for row in world.history("CanvasFull")] == ["attached", "bounded"]


@pytest.mark.parametrize(
    ("happened", "operation", "verdict"),
    [
        (taken_off, "GetRole", "out_of_scope"),
        (taken_off, "PutRolePermissionsBoundary", "out_of_scope"),
        (freed, "GetRole", "out_of_scope"),
        # IAM gives the same answer for a role without a boundary, so the boundary is removed.
        (freed, "DeleteRolePermissionsBoundary", "compliant"),
    ],
)
def test_a_role_that_is_deleted_meanwhile_is_no_failure(bounded, happened, operation, verdict):
    event = happened(bounded)
    gone = "The role with name CanvasFull cannot be found."
    with bounded.aws.failing(operation, "NoSuchEntity", gone, status=404):
        assert bounded.enforce(event)[0]["verdict"] == verdict


@pytest.mark.parametrize(("surplus", "left"), [("keep", "a"), ("detach", None)])
def test_an_unused_role_keeps_its_boundary_unless_surplus_is_detached(world_with, surplus, left):
    world = world_with(f"surplus: {surplus}\n{ON}")
    world.verdict("CanvasFull")
    without_domain(world)
    world.sweep()
    world.detach_surplus()
    assert boundary(world) == left
    detached = [row["detached"] for row in world.history("CanvasFull") if row["kind"] == "Surplus Detached"]
    assert detached == ([] if left else [["boundary.a"]])


def test_detach_removes_neither_a_newer_boundary_nor_one_that_a_role_needs(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    body = {"account": ACCOUNT_ID, "role": "CanvasFull", "policies": ["boundary.a"]}
    assert world.detacher.handle_message(body)["detached"] == []
    assert boundary(world) == "a"
    without_domain(world)
    arn, _ = put_theirs(world)
    assert world.detacher.handle_message(body)["detached"] == []
    assert boundary(world) == arn


def test_a_sweep_does_not_remove_the_boundary_of_a_role_that_needs_guardrails(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    world.sweep()
    assert world.queued("DETACH_QUEUE_URL") == []


def test_a_newly_exempt_role_loses_its_boundary_if_surplus_is_detached(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    exempt = world_with(
        "surplus: detach\n" + ON + "exemptions:\n  - {role: CanvasFull, until: 2999-01-31}\n", keep=True
    )
    exempt.sweep()
    exempt.detach_surplus()
    assert boundary(exempt) is None


def test_a_disabled_fallback_stays_on_full_roles_until_they_have_free_slots(world_with):
    world = world_with(ON)
    world.verdict("CanvasFull")
    off = world_with(OFF, keep=True)
    off.sweep()
    assert [said.get("waits") for said in off.detach_surplus() if said.get("role")] == ["lacks a"]
    assert boundary(off) == "a"
    freed(off)
    off.sweep()
    off.sweep()
    off.detach_surplus()
    assert (off.attached("CanvasFull"), boundary(off)) == ({"a"}, None)
    off.sweep()
    off.detach_surplus()
    assert off.listed_policies() == {"a", "b"}


def test_a_boundary_without_an_assignment_is_deleted_if_no_role_has_it(world_with):
    world = world_with(ON)
    world.verdict("CanvasFull")
    changed = world_with(TWO, keep=True)
    said = changed.detacher.handle_message({"account": ACCOUNT_ID, "policy": "boundary.a"})
    assert (said["retired"], said["waits"]) == (False, "still the boundary of 1 roles")
    changed.sweep()
    changed.detach_surplus()
    assert boundary(changed) == "a+b"
    assert changed.listed_policies() == {"a", "b", "boundary.a+b", "boundary.b"}


def test_a_boundary_that_is_attached_as_a_policy_is_not_deleted(world_with):
    world = world_with(ON)
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=f"{OURS}a")
    off = world_with(OFF, keep=True)
    said = off.detacher.handle_message({"account": ACCOUNT_ID, "policy": "boundary.a"})
    assert (said["retired"], said["waits"]) == (False, "still attached to 1 roles")


def test_a_stack_that_is_deleted_with_remove_removes_and_deletes_every_boundary(bounded, answers, monkeypatch):
    arn = theirs(bounded)
    bounded.iam.put_role_permissions_boundary(RoleName="CanvasRosa", PermissionsBoundary=arn)
    function_handler(bounded, monkeypatch, "detach")(deletion_request(answers, "remove"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert (boundary(bounded), boundary(bounded, "CanvasRosa"), bounded.listed_policies()) == (None, arn, set())


def test_a_stack_that_is_deleted_with_keep_counts_the_roles_with_a_boundary(bounded, answers, monkeypatch):
    said = function_handler(bounded, monkeypatch, "detach")(deletion_request(answers, "keep"), CONTEXT)
    assert said["left"]["boundary.a"] == 1
    assert boundary(bounded) == "a"


def test_a_boundary_that_cannot_be_removed_is_named_after_the_others_are_removed(bounded, answers, monkeypatch):
    bounded.sweep()
    handler = function_handler(bounded, monkeypatch, "detach")
    with bounded.aws.failing("DeleteRolePermissionsBoundary", "AccessDenied", status=403):
        handler(deletion_request(answers, "remove"), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert "boundary.a stays the boundary of CanvasFull" in answer["Reason"]
    assert bounded.attached("CanvasOmar") == set()


def test_a_removal_that_runs_out_of_time_before_a_boundary_continues_with_lambdas_retry(bounded, answers, monkeypatch):
    handler = function_handler(bounded, monkeypatch, "detach")
    with pytest.raises(RetryLater, match="others remain"):
        handler(deletion_request(answers, "remove"), lambda_context("DetachFunction", lambda: 15))
    assert boundary(bounded) == "a"
    handler(deletion_request(answers, "remove"), CONTEXT)
    assert boundary(bounded) is None


def test_a_bounded_role_needs_the_expected_calls_in_each_sweep(bounded):
    bounded.sweep()
    bounded.detach_surplus()
    calls = bounded.calls_of_a_sweep()
    assert (calls["AttachRolePolicy"], calls["GetRole"], calls["PutRolePermissionsBoundary"]) == (1, 1, 0)
    assert calls["ListEntitiesForPolicy"] == 4 + 1  # guardrails, boundaries and the canary's policy
