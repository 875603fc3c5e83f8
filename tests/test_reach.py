"""Whether events of every account and region reach Rolewarden. Every sweep and `rolewarden doctor` report it."""

import json
from typing import Any

import pytest
from rolewarden.work import DOCTOR, HEARTBEAT
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.emulated.organization import MANAGEMENT as MANAGEMENT_ACCOUNT
from rolewarden_local.scenes.seed import log

from tests.company import BUS, client, forward
from tests.stacks import MEMBER
from tests.volume import some

pytestmark = pytest.mark.long

HOME, AWAY = "us-east-1", "eu-west-1"


@pytest.fixture
def covered(company):
    """A complete organization: two regions, a member with its role, trails, forwarders."""
    company.environment = {**company.environment, "CENTRAL_BUS": BUS}
    company.cover(f"{HOME},{AWAY}")
    log(client("cloudtrail", MEMBER))
    forward(CENTRAL, AWAY, "subjects", "moves")
    forward(MEMBER, AWAY, "subjects", "moves")
    forward(MEMBER, HOME, "subjects", "roles", "policies", "moves")
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


@pytest.mark.parametrize("account", [CENTRAL, MEMBER])
def test_a_forwarding_rule_with_another_pattern_role_or_dead_letter_queue_stops_the_heartbeat(covered, account):
    events = client("events", account, AWAY)
    [target] = events.list_targets_by_rule(Rule="rolewarden-forward-subjects")["Targets"]
    pattern = events.describe_rule(Name="rolewarden-forward-subjects")["EventPattern"]
    events.put_rule(Name="rolewarden-forward-subjects", EventPattern=json.dumps({"source": ["nobody.sends.this"]}))
    assert "selects other events" in reported(covered)[account, AWAY, "forwarder"]
    assert cut_off(covered) == [account]
    events.put_rule(Name="rolewarden-forward-subjects", EventPattern=pattern)
    assert reported(covered) == {}
    edits: list[dict[str, Any]] = [{"RoleArn": f"arn:aws:iam::{account}:role/Powerless"}, {"DeadLetterConfig": {}}]
    for changes in edits:
        events.put_targets(Rule="rolewarden-forward-subjects", Targets=[{**target, **changes}])
        assert "another role, dead-letter queue" in reported(covered)[account, AWAY, "forwarder"]


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
    arn = f"arn:aws:cloudtrail:{HOME}:{CENTRAL}:trail/management-events"
    assert {one["message"], other["message"]} == {
        f"trail in {region}: {unlogged(what)}: {arn} is stopped"
        for region, what in ((HOME, "sagemaker.amazonaws.com and iam.amazonaws.com"), (AWAY, "sagemaker.amazonaws.com"))
    }


def unlogged(what):
    return f"no trail is known to log the writes of {what}, so its events do not arrive"


MANAGEMENT = {"Field": "eventCategory", "Equals": ["Management"]}
USELESS = {
    "data events only": {"EventSelectors": [{"IncludeManagementEvents": False}]},
    "reads only": {"EventSelectors": [{"ReadWriteType": "ReadOnly"}]},
    "reads only and data events": {
        "EventSelectors": [{"ReadWriteType": "ReadOnly"}, {"ReadWriteType": "All", "IncludeManagementEvents": False}]
    },
    "data events only, advanced": {"AdvancedEventSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}]},
    "reads only, advanced": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "readOnly", "Equals": ["true"]}]},
    "no writes, advanced": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "readOnly", "NotEquals": ["false"]}]},
    "other services": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "eventSource", "StartsWith": ["s3."]}]},
    "one operation": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "eventName", "Equals": ["CreateDomain"]}]},
    "one role": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "userIdentity.arn", "NotEquals": ["arn"]}]},
}
USEFUL = {
    "all": {"EventSelectors": [{"ReadWriteType": "All"}]},
    "writes only": {"EventSelectors": [{"ReadWriteType": "WriteOnly"}]},
    "not KMS": {"EventSelectors": [{"ExcludeManagementEventSources": ["kms.amazonaws.com"]}]},
    "in the second selector": {"EventSelectors": [{"ReadWriteType": "ReadOnly"}, {"ReadWriteType": "WriteOnly"}]},
    "management events, advanced": {"AdvancedEventSelectors": [MANAGEMENT]},
    "writes only, advanced": {"AdvancedEventSelectors": [MANAGEMENT, {"Field": "readOnly", "Equals": ["false"]}]},
    "not KMS, advanced": {
        "AdvancedEventSelectors": [MANAGEMENT, {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}]
    },
}


def select(selectors):
    if fields := selectors.get("AdvancedEventSelectors"):
        selectors = {"AdvancedEventSelectors": [{"FieldSelectors": fields}]}
    client("cloudtrail", MEMBER).put_event_selectors(TrailName="management-events", **selectors)


@pytest.mark.volume
@pytest.mark.parametrize("case", some(4, USELESS))
def test_a_trail_that_logs_nothing_useful_stops_the_heartbeat(covered, case):
    select(USELESS[case])
    messages = reported(covered)
    assert messages.keys() == {(MEMBER, HOME, "trail"), (MEMBER, AWAY, "trail")}
    assert messages[MEMBER, AWAY, "trail"].endswith("trail/management-events selects no write management events")
    assert cut_off(covered) == [MEMBER]


@pytest.mark.volume
@pytest.mark.parametrize("case", some(4, USEFUL))
def test_a_trail_that_logs_writes_suffices(covered, case):
    select(USEFUL[case])
    assert reported(covered) == {}


def test_two_trails_may_log_what_neither_logs_alone(covered):
    select({"AdvancedEventSelectors": [MANAGEMENT, {"Field": "eventSource", "StartsWith": ["iam."]}]})
    assert unlogged("sagemaker.amazonaws.com") in reported(covered)[MEMBER, HOME, "trail"]
    trails = client("cloudtrail", MEMBER)
    trails.create_trail(Name="other", S3BucketName="b", IsMultiRegionTrail=True)
    trails.start_logging(Name="other")
    selectors = [{"FieldSelectors": [MANAGEMENT, {"Field": "eventSource", "StartsWith": ["sagemaker."]}]}]
    trails.put_event_selectors(TrailName="other", AdvancedEventSelectors=selectors)
    assert reported(covered) == {}


def test_a_trail_without_global_service_events_has_no_events_of_iam(covered):
    for region in (HOME, AWAY):
        trails = client("cloudtrail", MEMBER, region)
        trails.create_trail(Name=f"in-{region}", S3BucketName="b", IncludeGlobalServiceEvents=region == AWAY)
        trails.start_logging(Name=f"in-{region}")
    client("cloudtrail", MEMBER).delete_trail(Name="management-events")
    [(key, message)] = reported(covered).items()
    assert key == (MEMBER, HOME, "trail")
    assert message.startswith(unlogged("iam.amazonaws.com"))
    assert message.endswith("trail/in-us-east-1 logs no global service events")


def log_organization(**settings):
    """Have a trail of the organization cover the members."""
    trails = client("cloudtrail", MANAGEMENT_ACCOUNT)
    trails.create_trail(
        Name="a-organization", S3BucketName="b", IsMultiRegionTrail=True, IsOrganizationTrail=True, **settings
    )
    trails.start_logging(Name="a-organization")
    return f"arn:aws:cloudtrail:{HOME}:{MANAGEMENT_ACCOUNT}:trail/a-organization"


def test_a_trail_that_cannot_be_asked_about_does_not_end_the_search(covered):
    log_organization()
    mark = covered.aws.mark()
    assert reported(covered) == {}
    assert 400 in {call.status for call in covered.aws.calls(mark) if call.operation == "GetTrailStatus"}


def test_where_no_trail_is_known_to_log_the_trail_that_could_not_be_read_is_named(covered):
    arn = log_organization()
    client("cloudtrail", MEMBER).delete_trail(Name="management-events")
    messages = reported(covered)
    assert messages.keys() == {(MEMBER, HOME, "trail"), (MEMBER, AWAY, "trail")}
    assert messages[MEMBER, AWAY, "trail"] == (
        f"{unlogged('sagemaker.amazonaws.com')}: {arn} could not be read (GetTrailStatus: TrailNotFoundException: "
        f"Unknown trail: {arn} for the user: {MEMBER})"
    )


def test_without_any_trail_the_message_says_so(covered):
    client("cloudtrail", MEMBER).delete_trail(Name="management-events")
    assert reported(covered)[MEMBER, AWAY, "trail"].endswith(": no trail covers this region")


def test_a_trail_with_the_default_selectors_costs_no_call_for_them(covered):
    mark = covered.aws.mark()
    assert reported(covered) == {}
    assert not [call for call in covered.aws.calls(mark) if call.operation == "GetEventSelectors"]


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


def test_a_worse_problem_of_a_link_is_reported_although_the_link_has_a_finding(covered):
    queues = client("sqs", MEMBER)
    url = queues.get_queue_url(QueueName="rolewarden-undelivered")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="a lost event")
    covered.everything()
    covered.everything()
    assert len(covered.findings_of(MEMBER)) == 1
    for _ in range(10):
        queues.send_message(QueueUrl=url, MessageBody="a lost event")
    covered.everything()
    assert [finding["message"] for finding in covered.findings_of(MEMBER)][-1].endswith(
        "11 events did not reach the central event bus"
    )
    assert len(covered.findings_of(MEMBER)) == 2


def test_undelivered_events_that_a_caller_holds_are_reported(covered):
    queues = client("sqs", MEMBER)
    url = queues.get_queue_url(QueueName="rolewarden-undelivered")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="a lost event")
    queues.receive_message(QueueUrl=url, VisibilityTimeout=43200)
    assert reported(covered) == {(MEMBER, HOME, "undelivered events"): "1 events did not reach the central event bus"}


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


def test_one_account_and_region_asks_for_its_trail_and_the_other_regions(world):
    checks = world.sweeper.handle_event({"step": DOCTOR})["probes"]
    assert checks == [
        {"account": CENTRAL, "region": HOME, "what": "central stack"},
        {"account": CENTRAL, "region": HOME, "what": "trail"},
        {"account": CENTRAL, "region": "", "what": "other regions"},
    ]
