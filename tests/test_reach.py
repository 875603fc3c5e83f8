"""Whether events of every account and region reach Rolewarden. Every sweep and `rolewarden doctor` report it."""

import pytest
from rolewarden.work import DOCTOR, HEARTBEAT
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import log

from tests.company import BUS, client, forward
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

HOME, AWAY = "us-east-1", "eu-west-1"


@pytest.fixture
def covered(company):
    """A complete organization: two regions, a member with its role, trails, forwarders."""
    company.environment = {**company.environment, "CENTRAL_BUS": BUS}
    company.cover(f"{HOME},{AWAY}")
    log(client("cloudtrail", MEMBER))
    forward(CENTRAL, AWAY, "subjects", "subject-tags", "moves")
    forward(MEMBER, AWAY, "subjects", "subject-tags", "moves")
    forward(MEMBER, HOME, "subjects", "subject-tags", "roles", "policies", "moves")
    return company


def reported(company):
    """The problems by account and region, as `rolewarden doctor` finds them."""
    checks = company.sweeper.handle_event({"step": DOCTOR})["probes"]
    return {(c["account"], c["region"], c["what"]): c["message"] for c in checks if "message" in c}


def cut_off(company):
    """The accounts that the heartbeat counts as cut off after two sweeps of everything."""
    for _ in range(2):
        company.everything()
    return company.sweeper.handle_event({"step": HEARTBEAT})["cut_off"]


def test_a_complete_event_path_has_no_finding_and_a_heartbeat(covered):
    assert reported(covered) == {}
    assert cut_off(covered) == []
    assert covered.findings_of(CENTRAL) == covered.findings_of(MEMBER) == []


def test_every_account_and_region_is_probed(covered):
    checks = covered.sweeper.handle_event({"step": DOCTOR})["probes"]
    trails = {(check["account"], check["region"]) for check in checks if check["what"] == "trail"}
    forwarders = {(check["account"], check["region"]) for check in checks if check["what"] == "forwarder"}
    assert trails == {(account, region) for account in (CENTRAL, MEMBER) for region in (HOME, AWAY)}
    assert forwarders == trails - {(CENTRAL, HOME)}


def test_a_stackset_without_readable_members_is_reported_with_its_own_recommended_action(covered):
    message = "Account used is not a delegated administrator"
    with covered.aws.failing("ListStackInstances", "ValidationError", message):
        assert reported(covered) == {
            (CENTRAL, "", "member accounts"): f"ListStackInstances: ValidationError: {message}"
        }
        checks = covered.sweeper.handle_event({"step": DOCTOR})["probes"]
        assert cut_off(covered) == [CENTRAL]
    [advised] = [check["recommendation"] for check in checks if "message" in check]
    assert "aws organizations list-delegated-administrators" in advised
    # With another error, the StackSet itself may be missing.
    with covered.aws.failing("ListStackInstances", "StackSetNotFoundException"):
        checks = covered.sweeper.handle_event({"step": DOCTOR})["probes"]
    [advised] = [check["recommendation"] for check in checks if "message" in check]
    assert "deploy Rolewarden's stack again" in advised


def test_a_trail_that_does_not_log_stops_the_heartbeat_and_is_a_finding(covered):
    client("cloudtrail", CENTRAL).stop_logging(Name="management-events")
    assert cut_off(covered) == [CENTRAL]
    [one, other] = covered.findings_of(CENTRAL)
    assert {one["reason"], other["reason"]} == {"events do not arrive"}
    assert {one["message"], other["message"]} == {
        f"trail in {region}: no active trail covers this region, so its events do not arrive" for region in (HOME, AWAY)
    }


def test_a_trail_of_one_region_does_not_count_in_another(covered):
    trails = client("cloudtrail", MEMBER)
    trails.delete_trail(Name="management-events")
    trails.create_trail(Name="here", S3BucketName="b")
    trails.start_logging(Name="here")
    assert set(reported(covered)) == {(MEMBER, AWAY, "trail")}


def disable(events):
    events.disable_rule(Name="rolewarden-forward-roles")


def delete(events):
    events.remove_targets(Rule="rolewarden-forward-roles", Ids=["Hub"])
    events.delete_rule(Name="rolewarden-forward-roles")


def turn_away(events):
    events.put_targets(
        Rule="rolewarden-forward-roles",
        Targets=[{"Id": "Hub", "Arn": f"arn:aws:events:{HOME}:{MEMBER}:event-bus/default"}],
    )


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (disable, "rule rolewarden-forward-roles is disabled"),
        (delete, "rule rolewarden-forward-roles does not exist"),
        (turn_away, f"rule rolewarden-forward-roles does not send to {BUS}"),
    ],
)
def test_a_forwarder_that_sends_nothing_stops_the_heartbeat(covered, breaks, message):
    breaks(client("events", MEMBER, HOME))
    assert reported(covered) == {(MEMBER, HOME, "forwarder"): message}
    assert cut_off(covered) == [MEMBER]
    assert [row["message"] for row in covered.findings_of(MEMBER)] == [f"forwarder in {HOME}: {message}"]


def test_undelivered_events_are_reported(covered):
    sqs = client("sqs", MEMBER, AWAY)
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName="rolewarden-undelivered")["QueueUrl"], MessageBody="{}")
    assert reported(covered) == {(MEMBER, AWAY, "undelivered events"): "1 events did not reach the central event bus"}


def test_a_missing_queue_for_undelivered_events_is_reported(covered):
    sqs = client("sqs", MEMBER, AWAY)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="rolewarden-undelivered")["QueueUrl"])
    assert reported(covered) == {
        (MEMBER, AWAY, "undelivered events"): "queue rolewarden-undelivered does not exist: "
        "events that do not reach the central event bus are lost"
    }


def test_the_sweep_reports_a_disabled_rule_for_tampering(covered):
    client("events", MEMBER, AWAY).disable_rule(Name="rolewarden-forward-moves")
    assert reported(covered) == {(MEMBER, AWAY, "forwarder"): "rule rolewarden-forward-moves is disabled"}
    assert cut_off(covered) == [MEMBER]


def test_an_account_that_cannot_be_entered_is_one_finding_and_its_sweep_is_overdue(covered):
    client("iam", MEMBER).delete_role(RoleName="rolewarden-enforce")
    covered.runtime.aws.leave(MEMBER)
    [(key, message)] = reported(covered).items()
    assert key == (MEMBER, "", "entrance")
    assert message.startswith("AssumeRole: AccessDenied")
    assert cut_off(covered) == []
    covered.wait(3 * 3600)
    assert MEMBER in covered.sweeper.handle_event({"step": HEARTBEAT})["overdue"]


def test_a_denied_probe_is_reported_and_does_not_end_the_sweep(covered):
    with covered.aws.failing("DescribeTrails", "AccessDeniedException"):
        assert cut_off(covered) == [CENTRAL, MEMBER]
    assert len(covered.progress.sweeps(CENTRAL)) == 2
    assert {row["reason"] for row in covered.findings_of(CENTRAL)} == {"events do not arrive"}


def test_a_temporary_error_of_a_probe_is_no_finding(covered):
    with covered.aws.failing("DescribeTrails", "ThrottlingException"):
        covered.everything()
    assert covered.findings_of(CENTRAL) == []


def test_one_account_and_region_needs_only_the_probe_of_its_trail(world):
    checks = world.sweeper.handle_event({"step": DOCTOR})["probes"]
    assert checks == [{"account": CENTRAL, "region": HOME, "what": "trail"}]
