"""A sweep resolves findings that no longer exist, and reports each resolution once."""

import pytest
from rolewarden.policies import policy_arn
from rolewarden.reported import ReportedFinding, ReportedKind
from rolewarden_local.aws import ACCOUNT_ID

from tests.guardrail_texts import SINGLED_OUT

FULL = policy_arn("only-nova-and-sonnet", "aws", ACCOUNT_ID)


NOBODY = """
guardrails:
  no-bedrock:
    bedrock: {deny: all}
assignments:
  - guardrails: []
"""


@pytest.fixture
def resolved(world):
    """A function that returns the findings resolved since its last call."""
    listen = world.listening({"source": ["rolewarden"], "detail-type": ["Finding Resolved"]})
    return lambda: [event["detail"] for event in listen()]


def test_the_next_sweep_resolves_a_remediated_role_once(world, resolved):
    world.swept()
    assert resolved() == []
    world.remediate_by_hand()
    world.sweep()
    [told] = resolved()
    assert (told["account"], told["finding"]) == (ACCOUNT_ID, "CanvasFull")
    assert told["was"].startswith("unenforceable: quota full")
    assert told["cause"] == {"event_name": "Sweep"}
    assert world.history("CanvasFull")[-1]["kind"] == "Finding Resolved"
    world.sweep()
    assert resolved() == []


def test_the_next_sweep_resolves_a_finding_whose_resolution_could_not_be_reported(world, resolved):
    world.swept()
    world.remediate_by_hand()
    with world.aws.failing("PutEvents", "ThrottlingException", times=3):
        world.sweep()
    assert resolved() == []
    world.sweep()
    assert [told["finding"] for told in resolved()] == ["CanvasFull"]


def test_a_finding_that_still_exists_is_not_resolved(world, resolved):
    for _ in range(3):
        world.sweep()
    assert resolved() == []


def test_a_finding_of_an_event_is_resolved(world, resolved):
    world.protected()
    assert world.verdict("CanvasFull")["verdict"] == "unenforceable"
    world.remediate_by_hand()
    world.sweep()
    assert [told["finding"] for told in resolved()] == ["CanvasFull"]


def test_a_resolved_finding_that_occurs_again_is_reported_again(world, resolved):
    world.swept()
    filler = world.remediate_by_hand()
    world.sweep()
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=FULL)
    world.iam.attach_role_policy(RoleName="CanvasFull", PolicyArn=filler)
    before = len(world.history("CanvasFull"))
    world.sweep()
    assert [row["kind"] for row in world.history("CanvasFull")[before:]] == ["Role Finding"]


def test_the_finding_of_a_deleted_role_is_resolved(world, resolved):
    world.swept()
    for profile in world.sagemaker.list_user_profiles()["UserProfiles"]:
        if profile["UserProfileName"] == "fatima":
            world.sagemaker.delete_user_profile(
                DomainId=profile["DomainId"], UserProfileName=profile["UserProfileName"]
            )
    world.sweep()
    assert [told["finding"] for told in resolved()] == ["CanvasFull"]


def test_the_finding_of_a_profile_without_needs_is_resolved(world_with):
    world = world_with(SINGLED_OUT)
    listen = world.listening({"source": ["rolewarden"], "detail-type": ["Finding Resolved"]})
    world.sweep(), world.sweep()
    assert listen() == []
    world_with(NOBODY, keep=True).sweep()
    [event] = listen()
    assert event["detail"]["finding"].endswith("/ravi")
    assert event["detail"]["was"].startswith("shares its domain's role")


def test_the_finding_of_an_unreadable_subject_is_resolved_after_a_complete_sweep(world, resolved):
    with world.aws.failing("ListUserProfiles", "AccessDeniedException", "no"):
        world.sweep()
        world.sweep()
        assert resolved() == []
    world.sweep()
    assert resolved()
    world.sweep()
    assert resolved() == []


def test_a_sweep_after_a_resolution_makes_no_additional_calls(world):
    world.swept()
    before = world.calls_of_a_sweep()
    world.remediate_by_hand()
    world.sweep()
    assert world.calls_of_a_sweep().total() <= before.total()


def test_a_boundary_that_cannot_be_removed_from_a_protected_role_is_never_reported_as_resolved(world, resolved):
    world.protected()
    until = world.runtime.clock.now() + 3600
    kept = ReportedFinding(ACCOUNT_ID, "CanvasOmar", ReportedKind.BOUNDARY, "compliant: access denied")
    over = ReportedFinding(ACCOUNT_ID, "CanvasRosa", ReportedKind.ROLE, "drifted: no-generative-ai")
    world.reported.mark([kept.as_row(until), over.as_row(until)])
    world.sweep()
    assert [told["finding"] for told in resolved()] == ["CanvasRosa"]
    assert kept in world.reported.of_account(ACCOUNT_ID)


@pytest.mark.parametrize("kind", ReportedKind)
@pytest.mark.parametrize("by_event", [True, False])
def test_a_reported_finding_is_read_unchanged_and_has_a_unique_key(kind, by_event):
    finding = ReportedFinding(ACCOUNT_ID, "CanvasOmar", kind, "unenforceable: quota full", by_event)
    assert ReportedFinding.of_row(finding.as_row(0)) == finding
    assert finding.about == f"{ACCOUNT_ID}/canvasomar"
    is_plain = kind is not ReportedKind.CONTESTED and not by_event
    assert (finding.key[1] == finding.about) == is_plain


def test_a_row_of_an_unknown_kind_is_no_finding(world):
    finding = ReportedFinding(ACCOUNT_ID, "CanvasOmar", ReportedKind.ROLE, "drifted")
    row = finding.as_row(world.runtime.clock.now() + 3600)
    world.reported.mark([{**row, "kind": "another"}])
    assert world.reported.of_account(ACCOUNT_ID) == []
