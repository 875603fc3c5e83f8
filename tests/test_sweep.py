"""The sweep finds changes that events missed."""

import pytest

from tests.guardrail_texts import TAGGED


def swept(world):
    return world.sweep()


def changed(world):
    """Change every subject, so that a sweep reads each of them again."""
    for domain in world.sagemaker.list_domains()["Domains"]:
        world.sagemaker.update_domain(DomainId=domain["DomainId"], DefaultUserSettings={"SecurityGroups": []})
        for profile in world.sagemaker.list_user_profiles(DomainIdEquals=domain["DomainId"])["UserProfiles"]:
            world.sagemaker.update_user_profile(
                DomainId=domain["DomainId"],
                UserProfileName=profile["UserProfileName"],
                UserSettings={"SecurityGroups": []},
            )


def test_a_first_sweep_protects_every_role_and_binds_every_subject(world):
    world.bindings.write((), [b.key for b in world.bindings.all()])
    swept(world)
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}
    assert world.attached("BuildServer") == set()
    assert len(world.bound()) == 10  # analytics: 3 roles and 3 profiles; research: 1 role and 3 profiles


def test_a_steady_account_sends_work_only_for_the_unenforceable_role(world):
    swept(world)
    outcomes = swept(world)
    assert {outcome["role"] for outcome in outcomes} == {"CanvasFull"}


def test_drift_that_events_missed_is_remediated(world):
    swept(world)
    world.detach("CanvasOmar", "no-generative-ai")
    outcomes = swept(world)
    assert "CanvasOmar" in {outcome["role"] for outcome in outcomes}
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_subject_that_events_missed_is_bound_and_protected(world):
    swept(world)
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")}
    )
    swept(world)
    assert world.attached("CanvasNadia") == {"no-generative-ai"}


def test_deleted_subjects_are_unbound(world):
    world.sagemaker.delete_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    swept(world)
    assert "CanvasOmar" not in world.bound().values()


def test_bindings_of_another_account_are_kept(world):
    from rolewarden.bindings import Binding, RoleKey

    role = RoleKey("444455556666", "R")
    foreign = Binding("444455556666", "us-east-1", "d-x", "user-profile", "execution", role, user_profile="x")
    world.bindings.write([foreign])
    swept(world)
    assert "R" in world.bound().values()


@pytest.mark.parametrize(
    ("operation", "about"),
    [
        ("DescribeDomain", ["d-analytics0001", "d-research0001"]),
        ("ListUserProfiles", ["d-analytics0001", "d-research0001"]),
        ("DescribeUserProfile", ["d-analytics0001/omar", "d-research0001/rosa"]),
    ],
)
def test_subjects_that_cannot_be_read_are_findings_and_stay_bound_and_protected(world, operation, about):
    swept(world)
    changed(world)
    before = world.bound()
    for role in ("CanvasAnalytics", "CanvasOmar"):
        world.detach(role, "no-generative-ai")
    with world.aws.failing(operation, "AccessDeniedException"):
        swept(world)
    assert world.bound() == before
    assert world.attached("CanvasAnalytics") == world.attached("CanvasOmar") == {"no-generative-ai"}
    for subject in about:
        assert [row["kind"] for row in world.history(subject)] == ["Subject Finding"]


def test_one_subject_that_cannot_be_read_does_not_block_others(world):
    world.bindings.write((), [b.key for b in world.bindings.all()])
    with world.aws.failing("DescribeUserProfile", "AccessDeniedException", times=1):
        swept(world)
    assert len(world.bound()) == 9
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert world.attached("CanvasRosa") == {"only-nova-and-sonnet"}


@pytest.mark.parametrize("operation", ["DescribeDomain", "ListUserProfiles"])
def test_a_domain_that_is_deleted_during_the_sweep_is_unbound(world, operation):
    swept(world)
    changed(world)
    with world.aws.failing(operation, "ResourceNotFound", times=1):
        swept(world)
    assert {key.split("/")[2] for key in world.bound()} == {"d-research0001"}
    assert world.history("d-analytics0001") == []


def test_a_profile_that_is_deleted_during_the_sweep_is_unbound(world):
    changed(world)
    with world.aws.failing("DescribeUserProfile", "ResourceNotFound", times=1):
        swept(world)
    assert len(world.bound()) == 9
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


@pytest.mark.parametrize("operation", ["GetResources", "ListTags"])
def test_tags_that_cannot_be_read_keep_their_last_known_values(world_with, operation):
    world = world_with(TAGGED)
    before = {binding.key: binding.tags for binding in world.bindings.all()}
    with (
        world.aws.failing("GetResources", "AccessDeniedException"),
        world.aws.failing(operation, "AccessDeniedException"),
    ):
        swept(world)
    assert {binding.key: binding.tags for binding in world.bindings.all()} == before
    assert world.attached("CanvasRosa") == {"no-generative-ai"}
    assert [row["reason"] for row in world.history("*")] == ["access denied"]


def test_no_work_is_sent_for_an_exempt_role(world):
    outcomes = swept(world)
    assert "CanvasBreakGlass" not in {outcome["role"] for outcome in outcomes}


def test_attachments_are_read_by_policy_and_not_by_role(world):
    swept(world)
    mark = world.aws.mark()
    world.sweeper.start()
    calls = [call.operation for call in world.aws.calls(mark)]
    assert calls.count("ListEntitiesForPolicy") == 2
    assert "DescribeUserProfile" not in calls
    assert "ListAttachedRolePolicies" not in calls
