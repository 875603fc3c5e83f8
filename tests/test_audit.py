"""What Rolewarden did to IAM and could not record is found in CloudTrail and recorded late, once and with its cause."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from rolewarden.aws import Aws
from rolewarden.errors import PartlyDone, RetryLater
from rolewarden.history import HistoryKey
from rolewarden.origin import SWEEP, Cause, Origin, Trigger, cause_of_correlation_id
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.faults import Killed, Loss

from tests.guardrail_texts import TWO_GUARDRAILS
from tests.publishing import GUARDRAIL_ARN
from tests.world import OWN_ROLE

HARMLESS = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "a4b:*", "Resource": "*"}}'


def killed(world, event, operation="AttachRolePolicy"):
    """Let the function that gets `event` be ended right after a call took effect."""
    with contextlib.suppress(Killed), world.aws.dying(operation):
        world.enforce(event)


def attached(world, role="CanvasOmar"):
    """What the history says was attached to a role, row by row."""
    return [sorted(row["attached"]) for row in world.history(role) if row.get("attached")]


def test_a_remediation_whose_function_was_ended_before_the_record_is_recorded_late(world):
    world.guarded()
    before = attached(world)
    event = world.detach("CanvasOmar", "no-generative-ai")
    killed(world, event)
    assert world.carried("CanvasOmar") == {"no-generative-ai"}
    world.enforce(event)
    assert attached(world) == before
    assert world.audit()["backfilled"] == 1
    assert attached(world) == [*before, ["no-generative-ai"]]
    [row] = [row for row in world.history("CanvasOmar") if row.get("backfilled")]
    assert row["kind"] == "Role Remediated"
    assert row["remediation"] == "attached"
    assert row["cause"]["event_id"] == event["detail"]["eventID"]
    assert row["cause"]["event_name"] == "DetachRolePolicy"
    assert row["cause"]["actor"] == f"arn:aws:iam::{ACCOUNT_ID}:root"


def test_a_late_row_stands_at_the_time_of_the_call(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.audit(later=timedelta(hours=3))
    [row] = [row for row in world.history("CanvasOmar") if row.get("backfilled")]
    [call] = [e for e in world.aws.events if row["correlation_id"] in e["detail"]["userAgent"]]
    assert HistoryKey.of(row["at"]).time == datetime.fromisoformat(call["detail"]["eventTime"])


def test_what_is_recorded_is_not_recorded_again(world):
    world.guarded()
    world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    rows = world.history("CanvasOmar")
    done = world.audit()
    assert done["calls"] > 1
    assert done["backfilled"] == 0
    assert world.history("CanvasOmar") == rows


def test_audits_over_the_same_time_record_once(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    assert [world.audit()["backfilled"], world.audit()["backfilled"]] == [1, 0]
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_two_audits_at_once_record_once(world, monkeypatch):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    recorder = world.runtime.recorder
    really = recorder.rows
    read = really(f"{ACCOUNT_ID}/CanvasOmar", datetime(2026, 1, 1, tzinfo=UTC))
    world.audit()
    # Read before the other had written.
    monkeypatch.setattr(recorder, "rows", lambda about, since: read if "Omar" in about else really(about, since))
    assert world.audit(again=True)["backfilled"] == 0
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


@pytest.mark.parametrize("loss", [Loss.RESET, Loss.TIMEOUT])
def test_an_attachment_whose_answers_were_all_lost_is_recorded(world, loss):
    world.guarded()
    before = attached(world)
    event = world.detach("CanvasOmar", "no-generative-ai")
    with world.aws.losing("AttachRolePolicy", loss, takes_effect=True), pytest.raises(RetryLater):
        world.enforce(event)
    assert world.enforce(event)[0]["remediation"] == "none"
    assert world.audit()["backfilled"] == 1
    assert attached(world) == [*before, ["no-generative-ai"]]


def test_what_one_try_did_and_only_half_recorded_is_completed(world_with):
    world = world_with(TWO_GUARDRAILS)
    event = world.role_event("CanvasOmar")
    with world.aws.losing("AttachRolePolicy", Loss.RESET, takes_effect=True, after=1), pytest.raises(PartlyDone):
        world.enforce(event)
    assert attached(world) == [["first"]]
    world.enforce(event)
    assert world.audit()["backfilled"] == 1
    assert sorted(attached(world)) == [["first"], ["second"]]


def test_a_remediation_of_two_attachments_gives_one_late_row(world_with):
    world = world_with(TWO_GUARDRAILS)
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy", after=1):
        world.enforce(world.role_event("CanvasOmar"))
    world.audit()
    assert attached(world) == [["first", "second"]]


def test_what_cloudtrail_shows_of_one_remediation_in_two_parts_is_recorded_in_two(world_with):
    world = world_with(TWO_GUARDRAILS)
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy", after=1):
        world.enforce(world.role_event("CanvasOmar"))
    first, second = [e for e in world.aws.events if e["detail"]["eventName"] == "AttachRolePolicy"][-2:]
    second["detail"]["eventTime"] = first["detail"]["eventTime"]
    world.aws.events.remove(second)
    world.audit(later=timedelta(minutes=50))
    world.aws.events.append(second)
    world.audit(later=timedelta(minutes=55))
    assert sorted(attached(world)) == [["first"], ["second"]]


BOUNDED = """
fallback: boundary
guardrails:
  first: {bedrock: {deny: all}}
assignments:
  - guardrails: [first]
"""


def test_a_boundary_that_was_set_or_taken_off_unrecorded_is_recorded(world_with):
    world = world_with(BOUNDED)
    killed(world, world.role_event("CanvasFull"), "PutRolePermissionsBoundary")
    world.audit()
    [row] = [row for row in world.history("CanvasFull") if row.get("backfilled")]
    assert (row["remediation"], row["boundary"]) == ("bounded", "boundary.first")
    world.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-01")
    killed(world, world.event("DetachRolePolicy"), "DeleteRolePermissionsBoundary")
    world.audit(again=True)
    late = [row for row in world.history("CanvasFull") if row.get("backfilled")]
    assert len(late) == 2
    [unbound] = [row for row in late if row.get("boundary_removed")]
    assert unbound["attached"] == ["first"]


def test_what_was_taken_off_unrecorded_is_recorded(world_with):
    world_with(TWO_GUARDRAILS).guarded()
    world = world_with("surplus: detach\n" + TWO_GUARDRAILS.replace("[first, second]", "[first]"), keep=True)
    world.sweep()
    [body] = [body for body in world.queued("DETACH_QUEUE_URL") if body.get("role") == "CanvasOmar"]
    with contextlib.suppress(Killed), world.aws.dying("DetachRolePolicy"):
        world.detacher.handle_message(body)
    world.detacher.handle_message(body)
    assert not [row for row in world.history("CanvasOmar") if row.get("detached")]
    world.audit()
    [row] = [row for row in world.history("CanvasOmar") if row.get("detached")]
    assert (row["kind"], row["detached"], row["cause"]) == ("Surplus Detached", ["second"], {"event_name": "Sweep"})


@pytest.mark.parametrize(
    ("tamper", "operation", "remediation"),
    [("edit", "CreatePolicyVersion", "replaced"), ("delete", "CreatePolicy", "created")],
)
def test_a_policy_that_was_restored_unrecorded_is_recorded(world, tamper, operation, remediation):
    if tamper == "edit":
        world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=HARMLESS, SetAsDefault=True)
        event = world.event("CreatePolicyVersion")
    else:
        world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN)
        event = world.event("DeletePolicy")
    with contextlib.suppress(Killed), world.aws.dying(operation):
        world.publications.handle_event(event)
    world.publications.handle_event(event)
    assert not world.history("policy/no-generative-ai")
    world.audit()
    [row] = world.history("policy/no-generative-ai")
    assert (row["kind"], row["remediation"], row["policy"]) == ("Policy Restored", remediation, "no-generative-ai")
    assert row["cause"]["event_id"] == event["detail"]["eventID"]


def test_what_a_deployment_writes_is_its_own_affair(world):
    assert world.audit() == {"calls": 0, "backfilled": 0, "behind": False}


def test_who_signs_like_rolewarden_and_is_not_is_ignored(world):
    role = world.runtime.aws
    stranger = Aws()
    stranger.attach("CanvasOmar", GUARDRAIL_ARN, correlation_id=SWEEP.new_correlation_id())
    assert world.event("AttachRolePolicy")["detail"]["userAgent"].rpartition("rolewarden/")[2].startswith("sweep.")
    assert world.audit()["backfilled"] == 0
    role.attach("CanvasRosa", GUARDRAIL_ARN, correlation_id=SWEEP.new_correlation_id())
    assert world.audit(again=True)["backfilled"] == 1


def test_a_call_that_failed_is_no_deed(world):
    with world.aws.failing("AttachRolePolicy", "AccessDenied", status=403):
        world.enforce(world.role_event("CanvasOmar"))
    assert world.audit()["backfilled"] == 0
    assert not attached(world)


def test_what_is_too_young_waits_for_the_next_audit(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    auditor = world.sweeper.auditor
    assert auditor.run(ACCOUNT_ID, time.time())["backfilled"] == 0
    assert auditor.run(ACCOUNT_ID, time.time() + 22 * 60)["backfilled"] == 0  # its remediation may still be going on
    assert auditor.run(ACCOUNT_ID, time.time() + 30 * 60)["backfilled"] == 1


def test_a_call_that_cloudtrail_shows_late_is_found_all_the_same(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    shown = world.aws.events.pop()
    world.audit(later=timedelta(minutes=50))
    world.aws.events.append(shown)
    assert world.audit(later=timedelta(minutes=55))["backfilled"] == 1


def test_after_a_long_silence_audits_go_on_until_they_have_caught_up(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    auditor = world.sweeper.auditor
    world.progress.set_audited(ACCOUNT_ID, datetime.now(UTC) - timedelta(days=2))
    world.runtime.clock.now = lambda: time.time() + 3600
    done = world.sweeper.audit(_sweep())
    assert done["behind"]
    assert done["backfilled"] == 0
    world.end_sweeps()
    assert world.progress.audited(ACCOUNT_ID) > datetime.now(UTC)
    assert not auditor.run(ACCOUNT_ID, time.time() + 3600)["behind"]
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_every_sweep_ends_with_an_audit(world):
    world.guarded()
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.runtime.clock.now = lambda: time.time() + 3600
    world.sweep()
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_a_sweep_is_complete_where_the_event_history_cannot_be_read_and_that_is_counted(world, counted):
    with world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        world.sweep()
    [sweep] = world.progress.sweeps(ACCOUNT_ID)
    assert "completed" in sweep
    assert counted("RecordFailed") == 1


def test_an_audit_that_is_throttled_comes_again(world):
    with world.aws.failing("LookupEvents", "ThrottlingException"), pytest.raises(RetryLater):
        world.audit()
    assert world.progress.audited(ACCOUNT_ID) is None


def test_a_late_row_is_told_on_the_bus_and_counted(world, counted):
    world.guarded()
    told = world.listening({"source": ["rolewarden"]})
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.audit()
    assert [(event["detail-type"], event["detail"]["backfilled"]) for event in told()] == [("Role Remediated", True)]
    assert counted("Backfilled") == 1


def test_the_cause_of_another_regions_event_is_told_by_its_id_alone(world):
    world.guarded()
    event = world.detach("CanvasOmar", "no-generative-ai")
    killed(world, event)
    world.aws.events.remove(event)
    world.audit()
    [row] = [row for row in world.history("CanvasOmar") if row.get("backfilled")]
    assert row["cause"] == {"event_id": event["detail"]["eventID"]}


def test_a_correlation_id_holds_nothing_that_an_event_may_have_smuggled_in():
    origin = Origin(Trigger.EVENT, Cause(event_id="x\r\nHost: evil", event_name="Tag Role\n"))
    assert origin.new_correlation_id().partition(".")[0] == "event"
    assert cause_of_correlation_id(SWEEP.new_correlation_id()) == SWEEP.cause


@pytest.mark.parametrize("claim", [{"trigger": "deployment"}, {"cause": {"event_name": "Deployment"}}])
def test_a_message_that_claims_a_deployment_does_not_keep_its_remediation_from_the_audit(world, claim):
    world.guarded()
    world.detach("CanvasOmar", "no-generative-ai")
    forged = {"role": "CanvasOmar", "role_account": ACCOUNT_ID, "account": ACCOUNT_ID, **claim}
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy"):
        world.enforcer.handle_message(forged)
    assert world.carried("CanvasOmar") == {"no-generative-ai"}
    assert world.audit()["backfilled"] == 1


def test_rolewarden_acts_as_itself_here(world):
    world.enforce(world.role_event("CanvasOmar"))
    identity = world.event("AttachRolePolicy")["detail"]["userIdentity"]
    assert identity["sessionContext"]["sessionIssuer"]["userName"] == OWN_ROLE


def _sweep():
    from rolewarden.sweep import Sweep

    return Sweep(ACCOUNT_ID, time.time())
