"""Findings settle by themselves: a sweep tells of those that are not the case any more, once."""

import pytest
from rolewarden.policies import policy_arn
from rolewarden.reported import ReportedFinding, ReportedKind
from rolewarden_local.aws import ACCOUNT_ID

from tests.guardrail_texts import SINGLED_OUT

FULL = policy_arn("approved-models", "aws", ACCOUNT_ID)


NOBODY = """
guardrails:
  no-bedrock:
    bedrock: {deny: all}
assignments:
  - guardrails: []
"""


@pytest.fixture
def settled(world):
    """Gives the findings that were settled since it was last asked."""
    listen = world.listening({"source": ["rolewarden"], "detail-type": ["Finding Resolved"]})
    return lambda: [event["detail"] for event in listen()]


def test_a_role_that_somebody_has_mended_is_settled_by_the_next_sweep_and_once(world, settled):
    world.sweep()
    assert settled() == []
    world.remediate_by_hand()
    world.sweep()
    [told] = settled()
    assert (told["account"], told["finding"]) == (ACCOUNT_ID, "CanvasFull")
    assert told["was"].startswith("unenforceable: quota full")
    assert told["cause"] == {"event_name": "Sweep"}
    assert world.history("CanvasFull")[-1]["kind"] == "Finding Resolved"
    world.sweep()
    assert settled() == []


def test_what_nobody_could_be_told_is_settled_is_settled_by_the_next_sweep(world, settled):
    world.sweep()
    world.remediate_by_hand()
    with world.aws.failing("PutEvents", "ThrottlingException", times=3):
        world.sweep()
    assert settled() == []
    world.sweep()
    assert [told["finding"] for told in settled()] == ["CanvasFull"]


def test_what_is_still_wrong_is_not_settled(world, settled):
    for _ in range(3):
        world.sweep()
    assert settled() == []


def test_what_an_event_has_led_to_telling_is_settled_as_well(world, settled):
    world.guarded()
    assert world.verdict("CanvasFull")["verdict"] == "unenforceable"
    world.remediate_by_hand()
    world.sweep()
    assert [told["finding"] for told in settled()] == ["CanvasFull"]


def test_what_was_settled_and_goes_wrong_again_is_told_again(world, settled):
    world.sweep()
    filler = world.remediate_by_hand()
    world.sweep()
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=FULL)
    world.iam.attach_role_policy(RoleName="CanvasFull", PolicyArn=filler)
    before = len(world.history("CanvasFull"))
    world.sweep()
    assert [row["kind"] for row in world.history("CanvasFull")[before:]] == ["Role Finding"]


def test_a_role_that_is_gone_is_settled(world, settled):
    world.sweep()
    for profile in world.sagemaker.list_user_profiles()["UserProfiles"]:
        if profile["UserProfileName"] == "fatima":
            world.sagemaker.delete_user_profile(
                DomainId=profile["DomainId"], UserProfileName=profile["UserProfileName"]
            )
    world.sweep()
    assert [told["finding"] for told in settled()] == ["CanvasFull"]


def test_a_profile_that_needs_nothing_of_its_own_any_more_is_settled(world_with):
    world = world_with(SINGLED_OUT)
    listen = world.listening({"source": ["rolewarden"], "detail-type": ["Finding Resolved"]})
    world.sweep(), world.sweep()
    assert listen() == []
    world_with(NOBODY, keep=True).sweep()
    [event] = listen()
    assert event["detail"]["finding"].endswith("/ravi")
    assert event["detail"]["was"].startswith("shares its domain's role")


def test_a_subject_that_could_not_be_read_is_settled_once_a_sweep_could_read_everything(world, settled):
    with world.aws.failing("ListUserProfiles", "AccessDeniedException", "no"):
        world.sweep()
        world.sweep()
        assert settled() == []
    world.sweep()
    assert settled()
    world.sweep()
    assert settled() == []


def test_a_sweep_after_one_that_has_settled_something_makes_no_call_more(world):
    world.sweep()
    before = world.calls_of_a_sweep()
    world.remediate_by_hand()
    world.sweep()
    assert world.calls_of_a_sweep().total() <= before.total()


def test_a_boundary_that_cannot_be_removed_from_a_protected_role_is_never_reported_as_resolved(world, settled):
    world.guarded()
    until = world.runtime.clock.now() + 3600
    kept = ReportedFinding(ACCOUNT_ID, "CanvasOmar", ReportedKind.BOUNDARY, "compliant: access denied")
    over = ReportedFinding(ACCOUNT_ID, "CanvasRosa", ReportedKind.ROLE, "drifted: no-generative-ai")
    world.reported.mark([kept.as_row(until), over.as_row(until)])
    world.sweep()
    assert [told["finding"] for told in settled()] == ["CanvasRosa"]
    assert kept in world.reported.of_account(ACCOUNT_ID)


@pytest.mark.parametrize("kind", ReportedKind)
@pytest.mark.parametrize("by_event", [True, False])
def test_a_reported_finding_is_read_as_it_was_written_and_its_key_is_its_own(kind, by_event):
    finding = ReportedFinding(ACCOUNT_ID, "CanvasOmar", kind, "unenforceable: quota full", by_event)
    assert ReportedFinding.of_row(finding.as_row(0)) == finding
    assert finding.about == f"{ACCOUNT_ID}/canvasomar"
    is_plain = kind is not ReportedKind.CONTESTED and not by_event
    assert (finding.key[1] == finding.about) == is_plain


def test_a_row_of_a_kind_that_is_not_known_is_no_finding(world):
    finding = ReportedFinding(ACCOUNT_ID, "CanvasOmar", ReportedKind.ROLE, "drifted")
    row = finding.as_row(world.runtime.clock.now() + 3600)
    world.reported.mark([{**row, "kind": "another"}])
    assert world.reported.of_account(ACCOUNT_ID) == []
