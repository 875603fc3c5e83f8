"""The audit finds unrecorded changes by Rolewarden in CloudTrail, and records them once and with their cause."""

from __future__ import annotations

import contextlib
import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from rolewarden.aws import Aws
from rolewarden.errors import PartlyDone, Refused, RetryLater
from rolewarden.history import HistoryKey
from rolewarden.origin import DEPLOYMENT, SWEEP, Cause, Origin, Trigger, cause_of_correlation_id
from rolewarden.record import PUBLICATIONS
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.faults import Killed, Loss

from tests.guardrail_texts import TWO_GUARDRAILS
from tests.publishing import GUARDRAIL_ARN
from tests.world import OWN_ROLE

HARMLESS = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "a4b:*", "Resource": "*"}}'


def killed(world, event, operation="AttachRolePolicy"):
    """Pass `event` to a function that ends right after a call took effect."""
    with contextlib.suppress(Killed), world.aws.dying(operation):
        world.enforce(event)


def attached(world, role="CanvasOmar"):
    """The attached policies in each row of a role's history."""
    return [sorted(row["attached"]) for row in world.history(role) if row.get("attached")]


def test_the_audit_records_a_remediation_whose_function_ended_before_the_record(world):
    world.protected(afresh=True)
    before = attached(world)
    event = world.detach("CanvasOmar", "no-generative-ai")
    killed(world, event)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
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


def test_a_backfilled_entry_has_the_time_of_the_call(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.audit(later=timedelta(hours=3))
    [row] = [row for row in world.history("CanvasOmar") if row.get("backfilled")]
    [call] = [e for e in world.aws.events if row["correlation_id"] in e["detail"]["userAgent"]]
    assert HistoryKey.of(row["at"]).time == datetime.fromisoformat(call["detail"]["eventTime"])


def test_the_audit_does_not_record_an_entry_twice(world):
    world.protected(afresh=True)
    world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    rows = world.history("CanvasOmar")
    done = world.audit()
    assert done["calls"] >= 1
    assert done["backfilled"] == 0
    assert world.history("CanvasOmar") == rows


def test_audits_over_the_same_time_record_an_entry_once(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    assert [world.audit()["backfilled"], world.audit()["backfilled"]] == [1, 0]
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_two_audits_at_once_record_once(world, monkeypatch):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    recorder = world.runtime.recorder
    really = recorder.rows
    read = really(f"{ACCOUNT_ID}/CanvasOmar", datetime(2026, 1, 1, tzinfo=UTC))
    world.audit()
    # This audit reads before the other one writes.
    monkeypatch.setattr(recorder, "rows", lambda about, since: read if "Omar" in about else really(about, since))
    assert world.audit(again=True)["backfilled"] == 0
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


@pytest.mark.parametrize("loss", [Loss.RESET, Loss.TIMEOUT])
def test_an_attachment_whose_answers_were_all_lost_is_recorded(world, loss):
    world.protected(afresh=True)
    before = attached(world)
    event = world.detach("CanvasOmar", "no-generative-ai")
    with world.aws.losing("AttachRolePolicy", loss, takes_effect=True), pytest.raises(RetryLater):
        world.enforce(event)
    assert world.enforce(event)[0]["remediation"] == "none"
    assert world.audit()["backfilled"] == 1
    assert attached(world) == [*before, ["no-generative-ai"]]


def test_the_audit_completes_a_remediation_that_was_recorded_in_part(world_with):
    world = world_with(TWO_GUARDRAILS)
    event = world.role_event("CanvasOmar")
    with world.aws.losing("AttachRolePolicy", Loss.RESET, takes_effect=True, after=1), pytest.raises(PartlyDone):
        world.enforce(event)
    assert attached(world) == [["first"]]
    world.enforce(event)
    assert world.audit()["backfilled"] == 1
    assert sorted(attached(world)) == [["first"], ["second"]]


def test_a_remediation_with_two_attachments_gives_one_backfilled_entry(world_with):
    world = world_with(TWO_GUARDRAILS)
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy", after=1):
        world.enforce(world.role_event("CanvasOmar"))
    world.audit()
    assert attached(world) == [["first", "second"]]


def test_a_remediation_that_cloudtrail_delivers_in_two_parts_gives_two_entries(world_with):
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


def test_the_audit_records_an_unrecorded_change_of_a_boundary(world_with):
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


def test_the_audit_records_an_unrecorded_detachment(world_with):
    world_with(TWO_GUARDRAILS).protected(afresh=True)
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
def test_the_audit_records_an_unrecorded_restoration_of_a_policy(world, tamper, operation, remediation):
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


def test_the_audit_ignores_the_calls_of_a_deployment(world):
    assert world.audit() == {"calls": 0, "backfilled": 0, "behind": False}


def edited(world, text=HARMLESS):
    world.iam.create_policy_version(PolicyArn=GUARDRAIL_ARN, PolicyDocument=text, SetAsDefault=True)


def written(world, mark="deployment.0a1b2c3d"):
    """Edit a policy with the credentials of PublishFunction, and undo that, both with the mark of a deployment."""
    aws = world.runtime.aws
    before = aws.policy(GUARDRAIL_ARN)
    after = aws.replace_policy(GUARDRAIL_ARN, HARMLESS, correlation_id=mark)
    aws.set_default_version(GUARDRAIL_ARN, before.version, instead_of=after, correlation_id=mark)


def test_a_policy_that_is_written_with_the_mark_of_a_deployment_and_undone_is_in_the_history(world):
    world.protected(afresh=True)
    world.audit()
    written(world)
    world.audit(again=True)
    [row] = world.history("policy/no-generative-ai")
    assert (row["kind"], row["remediation"], row["backfilled"]) == ("Policy Restored", "replaced", True)
    world.audit(again=True)
    assert len(world.history("policy/no-generative-ai")) == 1


def test_another_default_version_without_a_mark_is_a_finding(world):
    world.protected(afresh=True)
    edited(world)
    world.runtime.aws.client("iam").set_default_policy_version(PolicyArn=GUARDRAIL_ARN, VersionId="v1")
    world.audit()
    rows = world.runtime.aws.scan(world.environment["HISTORY_TABLE"])
    assert ["SetDefaultPolicyVersion" in row["message"] for row in rows if row["kind"] == "Account Finding"] == [True]


def test_a_deployment_has_one_row_by_which_the_audit_knows_its_calls(world):
    edited(world)
    world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    [*_, row] = world.history(PUBLICATIONS)
    assert (row["kind"], row["policies"]) == ("Guardrails Published", {"no-generative-ai": "replaced"})
    assert world.audit()["backfilled"] == 0
    number = len(world.history(PUBLICATIONS))
    world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    assert len(world.history(PUBLICATIONS)) == number, "a deployment that writes nothing has no row"


def test_a_deployment_that_is_undone_leaves_nothing_for_the_audit(world_with):
    two = "guardrails: {no-generative-ai: {bedrock: {deny: all}}, second: {bedrock: {deny: all}}}"
    world = world_with(two + "\nassignments: [{guardrails: [no-generative-ai, second]}]")
    edited(world)
    world.iam.delete_policy(PolicyArn=GUARDRAIL_ARN.replace("no-generative-ai", "second"))
    with world.aws.failing("CreatePolicy", "AccessDenied", status=403), pytest.raises(Refused):
        world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    assert world.event("SetDefaultPolicyVersion")
    [*_, row] = world.history(PUBLICATIONS)
    assert row["policies"] == {"no-generative-ai": "replaced"}
    done = world.audit()
    assert (done["calls"], done["backfilled"]) == (2, 0)
    rows = world.runtime.aws.scan(world.environment["HISTORY_TABLE"])
    assert not [row for row in rows if row["kind"] == "Account Finding"]


def test_a_later_call_that_uses_the_correlation_id_of_a_row_again_is_in_the_history(world):
    edited(world)
    world.publications.run(ACCOUNT_ID, DEPLOYMENT)
    [*_, row] = world.history(PUBLICATIONS)
    number = len(world.aws.events)
    written(world, row["correlation_id"])
    for event in list(world.aws.events)[number:]:
        at = datetime.fromisoformat(event["detail"]["eventTime"]) + timedelta(minutes=20)
        event["detail"]["eventTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.audit(later=timedelta(hours=2))
    assert [row["backfilled"] for row in world.history("policy/no-generative-ai")] == [True]


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(minutes=20), timedelta(days=9)])
def test_a_row_that_claims_a_later_audit_hides_no_call(world, ahead):
    world.protected()
    world.audit(later=timedelta(minutes=5))
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    later = timedelta(minutes=65)
    world.progress.set_audited(ACCOUNT_ID, datetime.now(UTC) + later - timedelta(minutes=20) + ahead)
    assert world.audit(later=later)["backfilled"] == 1


@pytest.mark.parametrize("mark", ["deployment", "sweep", "operator"])
def test_a_call_with_the_credentials_of_a_function_is_in_the_history_whatever_its_mark_says(world, mark):
    world.protected(afresh=True)
    world.audit()
    world.role("ProductionBilling")
    world.runtime.aws.attach("ProductionBilling", GUARDRAIL_ARN, correlation_id=f"{mark}.0a1b2c3d")
    world.audit(again=True)
    [row] = [row for row in world.history("ProductionBilling") if row.get("backfilled")]
    assert (row["kind"], row["attached"]) == ("Role Remediated", ["no-generative-ai"])


def test_the_audit_ignores_other_callers_with_the_user_agent_of_rolewarden(world):
    role = world.runtime.aws
    stranger = Aws()
    stranger.attach("CanvasOmar", GUARDRAIL_ARN, correlation_id=SWEEP.new_correlation_id())
    assert world.event("AttachRolePolicy")["detail"]["userAgent"].rpartition("rolewarden/")[2].startswith("sweep.")
    assert world.audit()["backfilled"] == 0
    role.attach("CanvasRosa", GUARDRAIL_ARN, correlation_id=SWEEP.new_correlation_id())
    assert world.audit(again=True)["backfilled"] == 1


def test_the_audit_ignores_failed_calls(world):
    with world.aws.failing("AttachRolePolicy", "AccessDenied", status=403):
        world.enforce(world.role_event("CanvasOmar"))
    assert world.audit()["backfilled"] == 0
    assert not attached(world)


def test_calls_that_are_too_recent_wait_for_the_next_audit(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    auditor = world.sweeper.auditor
    assert auditor.run(ACCOUNT_ID, time.time())["backfilled"] == 0
    assert auditor.run(ACCOUNT_ID, time.time() + 22 * 60)["backfilled"] == 0  # Its remediation may still be running.
    assert auditor.run(ACCOUNT_ID, time.time() + 30 * 60)["backfilled"] == 1


def test_the_audit_finds_a_call_that_cloudtrail_delivers_late(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    shown = world.aws.events.pop()
    world.audit(later=timedelta(minutes=50))
    world.aws.events.append(shown)
    assert world.audit(later=timedelta(minutes=55))["backfilled"] == 1


def test_after_a_long_silence_audits_go_on_until_they_have_caught_up(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    auditor = world.sweeper.auditor
    world.progress.set_audited(ACCOUNT_ID, datetime.now(UTC) - timedelta(days=2))
    world.runtime.clock.now = lambda: time.time() + 3600
    done = world.sweeper.audit(_sweep())
    assert done["behind"]
    assert done["backfilled"] == 0
    world.end_sweeps()
    assert world.progress.audited(ACCOUNT_ID, math.inf) > datetime.now(UTC)
    assert not auditor.run(ACCOUNT_ID, time.time() + 3600)["behind"]
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_every_sweep_ends_with_an_audit(world):
    world.protected(afresh=True)
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.runtime.clock.now = lambda: time.time() + 3600
    world.sweep()
    assert sum("backfilled" in row for row in world.history("CanvasOmar")) == 1


def test_a_sweep_completes_and_counts_an_error_if_the_event_history_cannot_be_read(world, counted):
    with world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        world.sweep()
    [sweep] = world.progress.sweeps(ACCOUNT_ID)
    assert "completed" in sweep
    assert counted("RecordFailed") == 1


def test_a_throttled_audit_is_retried(world):
    with world.aws.failing("LookupEvents", "ThrottlingException"), pytest.raises(RetryLater):
        world.audit()
    assert world.progress.audited(ACCOUNT_ID, math.inf) is None


def test_a_backfilled_entry_is_put_on_the_bus_and_counted(world, counted):
    world.protected(afresh=True)
    told = world.listening({"source": ["rolewarden"]})
    killed(world, world.detach("CanvasOmar", "no-generative-ai"))
    world.audit()
    assert [(event["detail-type"], event["detail"]["backfilled"]) for event in told()] == [("Role Remediated", True)]
    assert counted("Backfilled") == 1


def test_the_cause_of_an_event_from_another_region_is_its_id(world):
    world.protected(afresh=True)
    event = world.detach("CanvasOmar", "no-generative-ai")
    killed(world, event)
    world.aws.events.remove(event)
    world.audit()
    [row] = [row for row in world.history("CanvasOmar") if row.get("backfilled")]
    assert row["cause"] == {"event_id": event["detail"]["eventID"]}


def test_a_correlation_id_has_no_text_from_an_event():
    origin = Origin(Trigger.EVENT, Cause(event_id="x\r\nHost: evil", event_name="Tag Role\n"))
    assert origin.new_correlation_id().partition(".")[0] == "event"
    assert cause_of_correlation_id(SWEEP.new_correlation_id()) == SWEEP.cause


@pytest.mark.parametrize("claim", [{"trigger": "deployment"}, {"cause": {"event_name": "Deployment"}}])
def test_a_message_that_claims_a_deployment_does_not_keep_its_remediation_from_the_audit(world, claim):
    world.protected(afresh=True)
    world.detach("CanvasOmar", "no-generative-ai")
    forged = {"role": "CanvasOmar", "role_account": ACCOUNT_ID, "account": ACCOUNT_ID, **claim}
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy"):
        world.enforcer.handle_message(forged)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert world.audit()["backfilled"] == 1


def test_rolewarden_acts_as_itself_here(world):
    world.enforce(world.role_event("CanvasOmar"))
    identity = world.event("AttachRolePolicy")["detail"]["userIdentity"]
    assert identity["sessionContext"]["sessionIssuer"]["userName"] == OWN_ROLE


def _sweep():
    from rolewarden.sweep_messages import Sweep

    return Sweep(ACCOUNT_ID, time.time())


def test_a_call_with_the_credentials_of_a_function_that_the_function_did_not_make_is_a_finding_once(world):
    world.protected(afresh=True)
    world.sweep()
    world.role("ProductionBilling")
    # The role's own client, without the mark of Rolewarden's calls.
    world.runtime.aws._iam.attach_role_policy(RoleName="ProductionBilling", PolicyArn=GUARDRAIL_ARN)
    for _ in range(2):
        world.audit(again=True)
        rows = world.runtime.aws.scan(world.environment["HISTORY_TABLE"])
        [found] = [row for row in rows if row.get("reason") == "call that Rolewarden did not make"]
    event_id = world.event("AttachRolePolicy")["detail"]["eventID"]
    assert found["message"].startswith(f"AttachRolePolicy by {OWN_ROLE}, {event_id}: attached no-generative-ai")
    assert "ProductionBilling" in found["message"]
