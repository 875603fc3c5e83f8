"""A role that may carry no more policies: a boundary stands in where the file allows it, else a person is told."""

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
    """The permissions boundary of a role: the guardrails of ours, the ARN of another, None where it has none."""
    found = world.iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return found.removeprefix(OURS) if found else None


def theirs(world):
    """A boundary of somebody else's, by its ARN."""
    return world.iam.create_policy(PolicyName="theirs", PolicyDocument=UNRELATED)["Policy"]["Arn"]


def put_theirs(world, role="CanvasFull"):
    """Somebody sets another boundary; gives its ARN and the event."""
    arn = theirs(world)
    world.iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    return arn, world.event("PutRolePermissionsBoundary")


def taken_off(world, role="CanvasFull"):
    """Somebody takes the boundary off; gives the event."""
    world.iam.delete_role_permissions_boundary(RoleName=role)
    return world.event("DeleteRolePermissionsBoundary")


def freed(world, role="CanvasFull"):
    """Somebody detaches a policy that a full role carries; gives the event."""
    world.iam.detach_role_policy(RoleName=role, PolicyArn=TEAM)
    return world.event("DetachRolePolicy")


def without_domain(world):
    """The full role works for nobody any more."""
    world.sagemaker.delete_user_profile(DomainId="d-research0001", UserProfileName="fatima")
    world.enforce(world.event("DeleteUserProfile"))


@pytest.fixture
def world(world_with):
    return world_with(ON)


@pytest.fixture
def bounded(world):
    """A world where the full role has its boundary."""
    assert world.verdict("CanvasFull")["remediation"] == "bounded"
    world.hurried().queued()
    return world


def test_without_a_fallback_a_full_role_is_unenforceable_and_the_finding_has_what_it_carries(world_with):
    world = world_with(OFF)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert outcome["attached_policies"] == [
        f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{n:02}" for n in range(1, 11)
    ]
    assert world.history("CanvasFull")[-1]["attached_policies"] == outcome["attached_policies"]
    assert boundary(world) is None


def test_what_was_attached_before_the_quota_is_in_the_list_too_and_a_role_that_is_mended_has_no_list(world_with):
    world = world_with(TWO.removeprefix("fallback: boundary\n"))
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["attached"]) == ("unenforceable", ["a"])
    assert len(outcome["attached_policies"]) == 10
    assert policy_arn("a", "aws", ACCOUNT_ID) in outcome["attached_policies"]
    assert "attached_policies" not in world.verdict("CanvasRosa")


def test_without_a_fallback_nothing_more_is_called_than_to_find_the_role_full_and_to_say_so(world_with):
    world = world_with(OFF)
    assert world.calls(world.role_event("CanvasFull")) == [
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:AttachRolePolicy",
        "dynamodb:PutItem",  # that it is about to be told
        "events:PutEvents",
        "dynamodb:PutItem",  # that it was told
        "dynamodb:PutItem",
    ]


def test_without_a_fallback_the_event_of_a_boundary_costs_what_any_costs(world_with):
    world = world_with(OFF).guarded()
    _, put = put_theirs(world, "CanvasOmar")
    assert world.calls(put) == world.calls(taken_off(world, "CanvasOmar"))
    assert world.calls(put) == ["dynamodb:Query", "iam:ListAttachedRolePolicies"]


def test_a_full_role_gets_the_boundary_of_its_guardrails_and_is_compliant(world):
    outcome = world.verdict("CanvasFull")
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("drifted", "compliant", "bounded")
    assert boundary(world) == "a"
    assert world.carried("CanvasFull") == set()


def test_that_it_was_set_is_on_the_record_with_its_cause(world):
    event = world.role_event("CanvasFull")
    world.enforce(event)
    [row] = world.history("CanvasFull")
    assert (row["kind"], row["remediation"], row["missing"]) == ("Role Remediated", "bounded", ["a"])
    assert (row["boundary"], row["cause"]["event_name"]) == (f"{OURS}a", "TagRole")
    assert "attached_policies" not in row


def test_a_role_with_room_for_some_of_its_guardrails_carries_those_and_the_boundary_of_all(world_with):
    world = world_with(TWO)
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=TEAM)
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["remediation"], outcome["attached"]) == ("compliant", "bounded", ["a"])
    assert (world.carried("CanvasFull"), boundary(world)) == ({"a"}, "a+b")


def test_a_policy_that_is_missing_besides_is_no_reason_to_leave_a_full_role_bare(world_with):
    world = world_with(TWO)
    world.iam.delete_policy(PolicyArn=policy_arn("a", "aws", ACCOUNT_ID))
    assert world.verdict("CanvasFull")["verdict"] == "compliant"
    assert boundary(world) == "a+b"


def test_a_role_that_has_its_boundary_is_compliant_and_nothing_is_written_or_told(bounded):
    before = len(bounded.history("CanvasFull"))
    assert bounded.calls(bounded.role_event("CanvasFull")) == [
        "dynamodb:Query",
        "iam:ListAttachedRolePolicies",
        "iam:AttachRolePolicy",
        "iam:GetRole",
    ]
    outcome = bounded.verdict("CanvasFull")
    assert (outcome["before"], outcome["verdict"], outcome["remediation"]) == ("compliant", "compliant", "none")
    assert (len(bounded.history("CanvasFull")), boundary(bounded)) == (before, "a")


def test_a_compliant_role_costs_one_call_more_with_the_fallback(world):
    world.guarded()
    event = world.role_event("CanvasOmar")
    assert world.calls(event) == ["dynamodb:Query", "iam:ListAttachedRolePolicies", "iam:GetRole"]


def test_a_role_with_room_gets_no_boundary(world):
    world.guarded()
    assert (world.carried("CanvasOmar"), boundary(world, "CanvasOmar")) == ({"b"}, None)


def test_who_only_looks_sees_a_bounded_role_as_compliant_and_a_bare_one_as_drifted(world):
    reads = Reconciler(world.runtime.aws, world.runtime.needs, observe=True)
    look = lambda: reads.reconcile(RoleKey(ACCOUNT_ID, "CanvasFull"), SWEEP, account=ACCOUNT_ID)  # noqa: E731
    assert (look().verdict, boundary(world)) == ("drifted", None)
    world.verdict("CanvasFull")
    assert look().verdict == "compliant"
    with world.aws.failing("GetRole", "AccessDenied", status=403):
        assert look().verdict == "drifted"


def test_what_is_only_observed_is_neither_in_the_boundary_nor_mended_by_it(world_with):
    world = world_with(TWO.replace("b: {jump", "b: {mode: observe, jump"))
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["remediation"], boundary(world)) == ("drifted", "bounded", "a")
    again = world.verdict("CanvasFull")
    assert (again["verdict"], again["remediation"], again["missing"]) == ("drifted", "observed", ["b"])


def test_mode_observe_sets_no_boundary_and_takes_none_off(world_with):
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


def test_when_a_slot_frees_up_the_attachment_comes_and_the_role_has_no_boundary_as_before(bounded):
    [outcome] = bounded.enforce(freed(bounded))
    assert (outcome["remediation"], outcome["attached"], outcome["boundary_removed"]) == ("attached", ["a"], f"{OURS}a")
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, None)
    assert bounded.history("CanvasFull")[-1]["boundary_removed"] == f"{OURS}a"


def test_a_slot_that_freed_up_unseen_is_found_by_the_sweep(bounded):
    freed(bounded)
    bounded.sweep()
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_that_was_taken_off_as_an_old_list_showed_the_guardrail_is_set_again(bounded, monkeypatch):
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


def test_a_raised_quota_is_found_by_the_sweep(bounded):
    bounded.aws.policies_per_role = 20
    bounded.sweep()
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_stays_until_there_is_room_for_every_guardrail(world_with):
    world = world_with(TWO)
    world.verdict("CanvasFull")
    [outcome] = world.enforce(freed(world))
    assert (outcome["verdict"], outcome["attached"]) == ("compliant", ["a"])
    assert (world.carried("CanvasFull"), boundary(world)) == ({"a"}, "a+b")
    world.aws.policies_per_role = 20
    world.sweep()
    assert (world.carried("CanvasFull"), boundary(world)) == ({"a", "b"}, None)


def test_somebody_elses_boundary_stays_when_the_attachment_comes(bounded):
    arn, _ = put_theirs(bounded)
    bounded.enforce(freed(bounded))
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, arn)


@pytest.mark.parametrize("operation", ["GetRole", "DeleteRolePermissionsBoundary"])
def test_a_retry_between_attaching_and_taking_the_boundary_off_ends_whole(bounded, operation):
    event = freed(bounded)
    with bounded.aws.failing(operation, "Throttling"), pytest.raises(RetryLater):
        bounded.enforce(event)
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, "a")
    assert bounded.history("CanvasFull")[-1]["attached"] == ["a"]
    bounded.enforce(event)
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, None)
    first, second = bounded.history("CanvasFull")[-2:]
    assert (first["attached"], "boundary_removed" in first) == (["a"], False)
    assert ("attached" in second, second["boundary_removed"]) == (False, f"{OURS}a")


def test_a_boundary_that_nobody_took_off_in_time_is_taken_off_by_the_next_sweep(bounded):
    event = freed(bounded)
    with bounded.aws.failing("DeleteRolePermissionsBoundary", "Throttling"), pytest.raises(RetryLater):
        bounded.enforce(event)
    bounded.sweep()
    assert (bounded.carried("CanvasFull"), boundary(bounded)) == ({"a"}, None)


def test_a_boundary_that_may_not_be_taken_off_stays_and_a_person_is_told_once_a_week(bounded):
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


def test_a_full_role_with_somebody_elses_boundary_is_unenforceable_and_the_finding_names_it(world):
    arn, event = put_theirs(world)
    [outcome] = world.enforce(event)
    assert (outcome["verdict"], outcome["reason"], outcome["boundary"]) == ("unenforceable", "quota full", arn)
    assert "the role has a permissions boundary that is not Rolewarden's" in outcome["message"]
    assert len(outcome["attached_policies"]) == 10
    assert boundary(world) == arn


def test_when_the_other_boundary_goes_ours_comes(world):
    put_theirs(world)
    world.sweep()
    world.enforce(taken_off(world))
    assert boundary(world) == "a"


def test_a_boundary_under_rolewardens_path_that_is_none_of_ours_is_somebody_elses(world):
    arn = policy_arn("b", "aws", ACCOUNT_ID)
    world.iam.put_role_permissions_boundary(RoleName="CanvasFull", PermissionsBoundary=arn)
    assert world.verdict("CanvasFull")["verdict"] == "unenforceable"
    assert boundary(world) == arn


def test_a_boundary_that_somebody_took_off_is_set_again_and_the_record_names_the_actor(bounded):
    event = taken_off(bounded)
    [outcome] = bounded.enforce(event)
    assert (outcome["remediation"], boundary(bounded)) == ("bounded", "a")
    assert bounded.history("CanvasFull")[-1]["cause"]["actor"] == event["detail"]["userIdentity"]["arn"]


def test_a_boundary_that_somebody_took_off_unseen_is_set_again_by_the_sweep(bounded):
    taken_off(bounded)
    bounded.sweep()
    assert boundary(bounded) == "a"


def test_a_boundary_that_somebody_replaced_is_told_of_and_left(bounded):
    arn, event = put_theirs(bounded)
    [outcome] = bounded.enforce(event)
    assert (outcome["verdict"], outcome["boundary"]) == ("unenforceable", arn)
    bounded.work()
    assert boundary(bounded) == arn


def test_another_boundary_of_ours_is_put_right(bounded):
    bounded.iam.put_role_permissions_boundary(RoleName="CanvasFull", PermissionsBoundary=f"{OURS}b")
    assert bounded.verdict("CanvasFull")["remediation"] == "bounded"
    assert boundary(bounded) == "a"


def test_another_assignment_brings_another_boundary(world_with):
    world = world_with(ON)
    world.verdict("CanvasFull")
    changed = world_with(TWO, keep=True)
    changed.sweep()
    assert boundary(changed) == "a+b"


def test_a_role_that_still_shows_the_boundary_that_was_taken_off_is_looked_at_again(bounded, monkeypatch):
    before = bounded.runtime.aws.role("CanvasFull")
    event = taken_off(bounded)
    with monkeypatch.context() as old:
        old.setattr(bounded.runtime.aws, "role", lambda _: before)
        assert bounded.enforce(event)[0]["verdict"] == "compliant"
    assert boundary(bounded) is None
    bounded.work()
    assert boundary(bounded) == "a"


def test_over_a_boundary_that_a_role_does_not_show_yet_none_is_set(world, monkeypatch):
    world.hurried()
    before = world.runtime.aws.role("CanvasFull")
    arn, event = put_theirs(world)
    with monkeypatch.context() as old:
        old.setattr(world.runtime.aws, "role", lambda _: before)
        [outcome] = world.enforce(event)
    assert (outcome["verdict"], boundary(world)) == ("drifted", arn)
    assert "checks it again" in outcome["message"]
    [outcome] = world.work()
    assert (outcome["verdict"], outcome["boundary"], boundary(world)) == ("unenforceable", arn, arn)


def test_a_boundary_that_was_set_and_taken_off_again_leaves_the_role_bare_no_longer_than_to_the_second_look(world):
    world.hurried()
    _, event = put_theirs(world)
    taken_off(world)
    world.enforce(event)
    assert boundary(world) is None
    world.work()
    assert boundary(world) == "a"


def shared(world):
    """A full role that works for a profile of each domain."""
    role = world.role("CanvasShared")
    for number in range(1, 11):
        world.iam.attach_role_policy(RoleName="CanvasShared", PolicyArn=TEAM.replace("01", f"{number:02}"))
    for domain, name in (("d-research0001", "tom"), ("d-analytics0001", "tim")):
        world.sagemaker.create_user_profile(
            DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": role}
        )  # fmt: skip
        [outcome] = world.enforce(world.event("CreateUserProfile"))
    return outcome


def test_a_role_whose_subjects_need_together_what_no_assignment_has_is_unenforceable_and_told_why(world):
    outcome = shared(world)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert (
        "no boundary exists for a, b: its subjects need these together, but no assignment names them all"
        in outcome["message"]
    )
    assert boundary(world, "CanvasShared") == "a"  # what tom needs is better than nothing


def test_a_role_whose_subjects_need_together_what_an_assignment_has_gets_its_boundary(world_with):
    world = world_with(ON.replace("assignments:\n", "assignments:\n  - {guardrails: [b, a], domains: [other]}\n"))
    assert (shared(world)["verdict"], boundary(world, "CanvasShared")) == ("compliant", "a+b")


def test_guardrails_too_long_for_a_boundary_leave_a_full_role_unenforceable_and_it_is_told_why(world_with):
    models = ", ".join(f"maker{number}.model-with-a-long-name-{number}*" for number in range(40))
    world = world_with(ON.replace("a: {bedrock: {deny: all}}", f"a: {{bedrock: {{deny: [{models}]}}}}"))
    outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "quota full")
    assert "too long for an IAM policy, see `rolewarden check`" in outcome["message"]
    assert boundary(world) is None


def in_force(world):
    """Names of the boundaries whose default version says what the file says."""
    return world.in_force(compile_boundaries(world.runtime.rules, "aws"))


def listed(world):
    policies = world.iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
    return {policy["PolicyName"] for policy in policies}


def test_a_deployment_publishes_the_boundaries_beside_the_guardrails(world_with):
    assert in_force(world_with(ON)) == {"boundary.a", "boundary.b"}
    assert listed(world_with(OFF)) == {"a", "b"}


OPEN = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@pytest.mark.parametrize("seen", [True, False], ids=["by its event", "by the clock"])
def test_a_boundary_that_somebody_edited_is_restored(bounded, seen):
    bounded.iam.create_policy_version(PolicyArn=f"{OURS}a", PolicyDocument=OPEN, SetAsDefault=True)
    assert in_force(bounded) == {"boundary.b"}
    if seen:
        bounded.publications.handle_event(bounded.event("CreatePolicyVersion"))
    else:
        bounded.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    assert in_force(bounded) == {"boundary.a", "boundary.b"}


def test_a_boundary_that_somebody_deleted_is_made_again(world):
    world.iam.delete_policy(PolicyArn=f"{OURS}a")
    world.publications.handle_event(world.event("DeletePolicy"))
    assert in_force(world) == {"boundary.a", "boundary.b"}


def test_a_boundary_that_iam_does_not_show_yet_is_set_when_it_does(world):
    world.hurried()
    event = world.role_event("CanvasFull")
    missing = f"Scope ARN: {OURS}a does not exist or is not attachable."
    with world.aws.failing("PutRolePermissionsBoundary", "NoSuchEntity", missing, status=404, times=1):
        [outcome] = world.enforce(event)
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "policy missing")
    world.work()
    assert boundary(world) == "a"


@pytest.mark.parametrize("operation", ["GetRole", "PutRolePermissionsBoundary"])
def test_a_boundary_that_may_not_be_set_makes_a_full_role_unenforceable_for_that_reason(world, operation):
    with world.aws.failing(operation, "AccessDenied", status=403):
        outcome = world.verdict("CanvasFull")
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", "access denied")
    assert operation in outcome["message"]
    assert "attached_policies" not in outcome


@pytest.mark.parametrize("operation", ["GetRole", "PutRolePermissionsBoundary"])
def test_a_boundary_that_cannot_be_set_now_is_set_by_the_next_try_and_what_was_attached_is_on_the_record(
    world_with, operation
):
    world = world_with(TWO)
    event = freed(world)
    with world.aws.failing(operation, "Throttling"), pytest.raises(RetryLater):
        world.enforce(event)
    [row] = world.history("CanvasFull")
    assert (row["verdict"], row["attached"]) == ("drifted", ["a"])
    world.enforce(event)
    assert (world.carried("CanvasFull"), boundary(world)) == ({"a"}, "a+b")
    assert [row["remediation"] for row in world.history("CanvasFull")] == ["attached", "bounded"]


@pytest.mark.parametrize(
    ("happened", "operation", "verdict"),
    [
        (taken_off, "GetRole", "out_of_scope"),
        (taken_off, "PutRolePermissionsBoundary", "out_of_scope"),
        (freed, "GetRole", "out_of_scope"),
        # It says the same of a role that has none: the boundary is off.
        (freed, "DeleteRolePermissionsBoundary", "compliant"),
    ],
)
def test_a_role_that_goes_meanwhile_is_no_failure(bounded, happened, operation, verdict):
    event = happened(bounded)
    gone = "The role with name CanvasFull cannot be found."
    with bounded.aws.failing(operation, "NoSuchEntity", gone, status=404):
        assert bounded.enforce(event)[0]["verdict"] == verdict


@pytest.mark.parametrize(("surplus", "left"), [("keep", "a"), ("detach", None)])
def test_a_role_that_works_for_nobody_any_more_keeps_its_boundary_unless_it_is_detached(world_with, surplus, left):
    world = world_with(f"surplus: {surplus}\n{ON}")
    world.verdict("CanvasFull")
    without_domain(world)
    world.sweep()
    world.detach_surplus()
    assert boundary(world) == left
    detached = [row["detached"] for row in world.history("CanvasFull") if row["kind"] == "Surplus Detached"]
    assert detached == ([] if left else [["boundary.a"]])


def test_detach_takes_off_no_boundary_that_has_come_since_and_none_that_a_role_needs(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    body = {"account": ACCOUNT_ID, "role": "CanvasFull", "policies": ["boundary.a"]}
    assert world.detacher.handle_message(body)["detached"] == []
    assert boundary(world) == "a"
    without_domain(world)
    arn, _ = put_theirs(world)
    assert world.detacher.handle_message(body)["detached"] == []
    assert boundary(world) == arn


def test_a_sweep_detaches_no_boundary_of_a_role_that_needs_something(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    world.sweep()
    assert world.queued("DETACH_QUEUE_URL") == []


def test_a_newly_exempt_role_loses_its_boundary_where_it_is_detached(world_with):
    world = world_with("surplus: detach\n" + ON)
    world.verdict("CanvasFull")
    exempt = world_with(
        "surplus: detach\n" + ON + "exemptions:\n  - {role: CanvasFull, until: 2999-01-31}\n", keep=True
    )
    exempt.sweep()
    exempt.detach_surplus()
    assert boundary(exempt) is None


def test_a_fallback_that_is_switched_off_bares_no_full_role_and_goes_when_there_is_room(world_with):
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
    assert (off.carried("CanvasFull"), boundary(off)) == ({"a"}, None)
    off.sweep()
    off.detach_surplus()
    assert listed(off) == {"a", "b"}


def test_a_boundary_that_no_assignment_needs_any_more_is_deleted_when_no_role_has_it(world_with):
    world = world_with(ON)
    world.verdict("CanvasFull")
    changed = world_with(TWO, keep=True)
    said = changed.detacher.handle_message({"account": ACCOUNT_ID, "policy": "boundary.a"})
    assert (said["retired"], said["waits"]) == (False, "still the boundary of 1 roles")
    changed.sweep()
    changed.detach_surplus()
    assert boundary(changed) == "a+b"
    assert listed(changed) == {"a", "b", "boundary.a+b", "boundary.b"}


def test_a_boundary_that_somebody_attached_as_a_policy_is_not_deleted_under_it(world_with):
    world = world_with(ON)
    world.iam.attach_role_policy(RoleName="CanvasOmar", PolicyArn=f"{OURS}a")
    off = world_with(OFF, keep=True)
    said = off.detacher.handle_message({"account": ACCOUNT_ID, "policy": "boundary.a"})
    assert (said["retired"], said["waits"]) == (False, "still attached to 1 roles")


def test_a_stack_that_is_deleted_with_remove_takes_every_boundary_off_and_away(bounded, answers, monkeypatch):
    arn = theirs(bounded)
    bounded.iam.put_role_permissions_boundary(RoleName="CanvasRosa", PermissionsBoundary=arn)
    function_handler(bounded, monkeypatch, "detach")(deletion_request(answers, "remove"), CONTEXT)
    assert answers.heard[0]["Status"] == "SUCCESS"
    assert (boundary(bounded), boundary(bounded, "CanvasRosa"), listed(bounded)) == (None, arn, set())


def test_a_stack_that_is_deleted_and_kept_tells_which_roles_have_a_boundary(bounded, answers, monkeypatch):
    said = function_handler(bounded, monkeypatch, "detach")(deletion_request(answers, "keep"), CONTEXT)
    assert said["left"]["boundary.a"] == 1
    assert boundary(bounded) == "a"


def test_a_boundary_that_may_not_be_taken_off_is_named_after_all_the_rest_is_off(bounded, answers, monkeypatch):
    bounded.sweep()
    handler = function_handler(bounded, monkeypatch, "detach")
    with bounded.aws.failing("DeleteRolePermissionsBoundary", "AccessDenied", status=403):
        handler(deletion_request(answers, "remove"), CONTEXT)
    [answer] = answers.heard
    assert answer["Status"] == "FAILED"
    assert "boundary.a stays the boundary of CanvasFull" in answer["Reason"]
    assert bounded.carried("CanvasOmar") == set()


def test_a_removal_that_runs_out_of_time_before_a_boundary_goes_on_when_lambda_tries_again(
    bounded, answers, monkeypatch
):
    handler = function_handler(bounded, monkeypatch, "detach")
    with pytest.raises(RetryLater, match="others remain"):
        handler(deletion_request(answers, "remove"), lambda_context("DetachFunction", lambda: 15))
    assert boundary(bounded) == "a"
    handler(deletion_request(answers, "remove"), CONTEXT)
    assert boundary(bounded) is None


def test_what_a_bounded_role_costs_each_sweep(bounded):
    bounded.sweep()
    bounded.detach_surplus()
    calls = bounded.calls_of_a_sweep()
    assert (calls["AttachRolePolicy"], calls["GetRole"], calls["PutRolePermissionsBoundary"]) == (1, 1, 0)
    assert calls["ListEntitiesForPolicy"] == 4
