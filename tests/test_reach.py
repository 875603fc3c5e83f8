"""Whether events of every account and region reach Rolewarden. Every sweep and `rolewarden doctor` report it."""

import json

import pytest
from rolewarden.record import metrics
from rolewarden.work import DOCTOR
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import log

from tests.company import client
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

BUS = f"arn:aws:events:us-east-1:{CENTRAL}:event-bus/rolewarden-central"
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


def forward(account, region, *about):
    client("sqs", account, region).create_queue(QueueName="rolewarden-undelivered")
    events = client("events", account, region)
    for each in about:
        name = f"rolewarden-forward-{each}"
        events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.iam"]}))
        role = f"arn:aws:iam::{account}:role/rolewarden/rolewarden-forward-{region}"
        events.put_targets(Rule=name, Targets=[{"Id": "Hub", "Arn": BUS, "RoleArn": role}])


def reported(company):
    """The problems by account and region, as `rolewarden doctor` finds them."""
    checks = company.sweeper.handle_event({"step": DOCTOR})["probes"]
    return {(c["account"], c["region"], c["what"]): c["message"] for c in checks if "message" in c}


def heartbeat(company):
    """The smallest value of the heartbeat in a sweep of everything."""
    metrics.clear_metrics()
    company.everything()
    values = metrics.metric_set["Heartbeat"]["Value"]
    metrics.clear_metrics()
    return min(values)


def test_a_complete_event_path_has_no_finding_and_a_heartbeat(covered):
    assert reported(covered) == {}
    assert heartbeat(covered) == 1
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
        assert heartbeat(covered) == 0
    [advised] = [check["recommendation"] for check in checks if "message" in check]
    assert "aws organizations list-delegated-administrators" in advised
    # With another error, the StackSet itself may be missing.
    with covered.aws.failing("ListStackInstances", "StackSetNotFoundException"):
        checks = covered.sweeper.handle_event({"step": DOCTOR})["probes"]
    [advised] = [check["recommendation"] for check in checks if "message" in check]
    assert "deploy Rolewarden's stack again" in advised


def test_a_trail_that_does_not_log_stops_the_heartbeat_and_is_a_finding(covered):
    client("cloudtrail", CENTRAL).stop_logging(Name="management-events")
    assert heartbeat(covered) == 0
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
    assert heartbeat(covered) == 0
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
    assert heartbeat(covered) == 0


def test_an_account_that_cannot_be_entered_is_one_finding_and_stops_the_heartbeat(covered):
    client("iam", MEMBER).delete_role(RoleName="rolewarden-enforce")
    covered.runtime.aws.leave(MEMBER)
    [(key, message)] = reported(covered).items()
    assert key == (MEMBER, "", "entrance")
    assert message.startswith("AssumeRole: AccessDenied")
    assert heartbeat(covered) == 0


def test_a_denied_probe_is_reported_and_does_not_end_the_sweep(covered):
    with covered.aws.failing("DescribeTrails", "AccessDeniedException"):
        assert heartbeat(covered) == 0
    assert len(covered.progress.sweeps(CENTRAL)) == 1
    assert {row["reason"] for row in covered.findings_of(CENTRAL)} == {"events do not arrive"}


def test_a_temporary_error_of_a_probe_is_no_finding(covered):
    with covered.aws.failing("DescribeTrails", "ThrottlingException"):
        covered.everything()
    assert covered.findings_of(CENTRAL) == []


def test_one_account_and_region_needs_only_the_probe_of_its_trail(world):
    checks = world.sweeper.handle_event({"step": DOCTOR})["probes"]
    assert checks == [{"account": CENTRAL, "region": HOME, "what": "trail"}]
