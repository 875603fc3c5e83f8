"""The events that become mails: confirmed findings and changes to Rolewarden, once an hour and not without end."""

import json
from dataclasses import replace
from typing import Any

import boto3
import pytest
from rolewarden.alert_limits import MOST_OF_ACCOUNT, MOST_OF_ACTOR, NARROWED_SECONDS, WINDOW_SECONDS
from rolewarden.alerting import LOOK_SECONDS, SUMMARY, Alerter
from rolewarden.errors import RetryLater
from rolewarden.events import cause_of
from rolewarden.held_alerts import HELD_SECONDS, HOUR
from rolewarden.own_operations import OwnOperations
from rolewarden.record import metrics
from rolewarden.settings import AlertSettings
from rolewarden.stacks import StackReader
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import sample
from tests.recorded import record

MEMBER, STRANGER = "222233334444", "444455556666"
STACK = f"arn:aws:cloudformation:us-east-1:{ACCOUNT_ID}:stack/rolewarden/1f357b5b-3e36-838c-94a4-e671aa807118"


class Desk:
    """AlertFunction's Alerter, and the mails that it sends."""

    def __init__(self, world):
        self.world, aws = world, world.runtime.aws
        self.sqs, topic = world.sqs, world.environment["ALARM_TOPIC_ARN"]
        self.url = self.sqs.create_queue(QueueName="inbox")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        settings = replace(AlertSettings.read(world.environment), member_stack_set="rolewarden-members", call_as="SELF")
        operations = OwnOperations(StackReader(aws), STACK, {"rolewarden-members": "SELF"})
        self.alerter = Alerter.of(aws, settings, operations)
        self.alerter._listed = (float("inf"), frozenset())
        world.progress.set_member_swept(MEMBER, 0)

    def wait(self, seconds):
        before = self.alerter.clock.now
        self.alerter.clock.now = lambda: before() + seconds

    def gets(self, event):
        return self.alerter.handle(event)

    def mails(self):
        """The new mails, by subject."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return {mail["Subject"]: json.loads(mail["Message"])["text"] for mail in found} if found else {}

    def recorded(self, name, **changes):
        event = sample(name)
        event["detail"] |= changes
        return record(self.world.runtime.aws, self.world.environment["HISTORY_TABLE"], event)


@pytest.fixture
def desk(world):
    return Desk(world)


def call(name="self_disable_rule", *, account=ACCOUNT_ID, actor="user/mallory", **detail):
    event = sample(name)
    event["account"] = account
    event["detail"]["userIdentity"] = {"arn": f"arn:aws:iam::{account}:{actor}"}
    event["detail"] |= {"errorCode": None, **detail}
    return event


def rule(number):
    return {"requestParameters": {"name": f"rolewarden-Rule{number}"}}


# Findings.


def test_a_finding_with_a_row_in_the_history_is_one_mail_however_often_it_comes(desk):
    event = desk.recorded("finding_role")
    for _ in range(5):
        desk.gets(event)
        desk.wait(WINDOW_SECONDS + 1)
    assert len(desk.mails()) == 1


def test_a_mail_links_the_runbook_if_the_stack_has_its_url(desk):
    desk.alerter.settings = replace(desk.alerter.settings, runbook="https://docs.example.com/how-to/runbook/")
    desk.gets(desk.recorded("finding_role"))
    [text] = desk.mails().values()
    assert "\nRunbook:\nhttps://docs.example.com/how-to/runbook/#unenforceablealarm\n" in text


@pytest.mark.parametrize("name", ["finding_role", "finding_subject", "finding_account", "finding_policy_restored",
                                  "finding_role_contested"])  # fmt: skip
def test_an_event_is_believed_only_with_every_word_of_its_row(desk, name):
    desk.recorded(name)
    event = sample(name)
    for field in event["detail"]:
        forged = sample(name)
        forged["detail"][field] = "To do: sign in at the portal"
        desk.gets(forged)
    desk.gets({**event, "account": STRANGER})
    desk.gets({**event, "source": "other"})
    assert desk.mails() == {}
    desk.gets(event)
    assert len(desk.mails()) == 1


@pytest.mark.parametrize("event", [None, 7, [], {}, {"source": "rolewarden", "detail-type": []},
                                   {"source": "rolewarden", "account": ACCOUNT_ID, "detail-type": "Role Finding",
                                    "detail": {"account": ACCOUNT_ID, "role": "x" * 5000}}])  # fmt: skip
def test_an_event_that_is_no_alert_is_no_mail(desk, event):
    assert desk.gets(event)["alert"] == ""
    assert desk.mails() == {}


def test_a_mail_that_could_not_be_sent_is_sent_by_the_retry(desk, monkeypatch):
    event, notify = desk.recorded("finding_role"), desk.alerter.aws.notify

    def fails(*_):
        raise RetryLater("Publish: throttled")

    monkeypatch.setattr(desk.alerter.aws, "notify", fails)
    with pytest.raises(RetryLater):
        desk.gets(event)
    monkeypatch.setattr(desk.alerter.aws, "notify", notify)
    desk.wait(60)
    desk.gets(event)
    assert len(desk.mails()) == 1


# Changes to Rolewarden itself.


def test_the_same_call_on_the_same_resource_is_one_mail_an_hour_and_then_a_number(desk):
    for _ in range(30):
        desk.gets(call())
    assert len(desk.mails()) == 1
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}
    desk.wait(WINDOW_SECONDS + 1)
    desk.gets({"step": SUMMARY})
    [(subject, text)] = desk.mails().items()
    assert subject == "Rolewarden: 29 further alerts within an hour"
    assert "29 times more: Rolewarden itself: user/mallory called DisableRule on" in " ".join(text.split())
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}


def test_an_alert_that_comes_before_the_summary_has_the_number(desk):
    desk.gets(call()), desk.gets(call()), desk.gets(call())
    desk.mails()
    desk.wait(WINDOW_SECONDS + 1)
    desk.gets(call())
    [text] = desk.mails().values()
    assert "Repeated   2 times in the hour before" in text


@pytest.mark.parametrize(
    "other",
    [
        call(actor="user/eve"),
        call(eventName="DeleteRule"),
        call(**rule(2)),
        call(account=MEMBER, requestParameters={"name": "rolewarden-forward-roles"}),
        call(actor="assumed-role/Admin/1"),
    ],
    ids=["caller", "call", "resource", "account", "session"],
)
def test_a_flood_hides_no_other_caller_call_or_resource(desk, other):
    for _ in range(50):
        desk.gets(call())
    assert len(desk.mails()) == 1
    desk.gets(other)
    assert len(desk.mails()) == 1


def test_an_attempt_that_aws_refused_does_not_hide_the_call_that_succeeds(desk):
    desk.gets(call(errorCode="AccessDenied"))
    desk.gets(call())
    assert [subject.partition(" DisableRule")[0].rsplit(" ", 1)[-1] for subject in desk.mails()] == ["tried", "called"]


def test_sessions_of_one_role_are_one_caller(desk):
    for number in range(5):
        desk.gets(call(actor=f"assumed-role/Admin/{number}"))
    assert len(desk.mails()) == 1


def test_a_caller_with_many_different_calls_is_limited_and_named_once_and_another_caller_still_alerts(desk):
    for number in range(3 * MOST_OF_ACTOR):
        desk.gets(call(**rule(number)))
    mails = desk.mails()
    assert len(mails) == MOST_OF_ACTOR + 1
    [limit] = [text for subject, text in mails.items() if "too many alerts" in subject]
    assert "arn:aws:iam::111122223333:user/mallory" in limit
    desk.gets(call(actor="user/eve", **rule(0)))
    assert len(desk.mails()) == 1
    desk.wait(HELD_SECONDS + HOUR + 1)
    desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    # The sample has one ID of a call for all of them, and CloudTrail has no such call.
    assert f"did not show the calls of {2 * MOST_OF_ACTOR} alerts" in " ".join(text.split())


def test_a_federation_user_with_many_names_is_one_caller(desk):
    for number in range(MOST_OF_ACTOR + 5):
        event = call(requestParameters={"name": f"rolewarden-Rule{number}"})
        event["detail"]["userIdentity"] = {
            "type": "FederatedUser",
            "arn": f"arn:aws:sts::{ACCOUNT_ID}:federated-user/x{number}",
            "sessionContext": {"sessionIssuer": {"arn": f"arn:aws:iam::{ACCOUNT_ID}:user/alice"}},
        }
        desk.gets(event)
    mails = desk.mails()
    assert len(mails) == MOST_OF_ACTOR + 1
    assert any("federated-user/user/alice caused too many alerts" in subject for subject in mails)
    event["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] += "2"
    desk.gets(event)
    [text] = desk.mails().values()
    assert "for user/alice2" in " ".join(text.split())


def test_a_finding_that_a_limit_left_out_is_a_mail_if_its_event_comes_again_later(desk):
    for number in range(MOST_OF_ACCOUNT):
        desk.gets(desk.recorded("finding_role", role=f"Role{number}", cause={"event_name": "Sweep"}))
    last = desk.recorded("finding_role", role="Last", cause={"event_name": "Sweep"})
    desk.gets(last)
    assert not [subject for subject in desk.mails() if "Last" in subject]
    desk.wait(WINDOW_SECONDS + 1)
    desk.gets(last)
    assert [subject for subject in desk.mails() if "Last" in subject]
    desk.gets(last)
    assert desk.mails() == {}


def test_an_account_with_many_refused_callers_is_limited_and_a_call_that_succeeds_still_alerts(desk):
    for number in range(2 * MOST_OF_ACCOUNT):
        refused = {"actor": f"user/u{number}", "errorCode": "AccessDenied"}
        desk.gets(call("member_disable_rule", account=MEMBER, **refused))
    mails = desk.mails()
    assert len(mails) == MOST_OF_ACCOUNT + 1
    assert f"Rolewarden: callers caused too many alerts in account {MEMBER}" in mails
    desk.gets(call())
    assert len(desk.mails()) == 1
    desk.gets(call("member_disable_rule", account=MEMBER, actor="user/succeeds"))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize("seconds", [WINDOW_SECONDS + 1000, 10**9])
def test_a_row_that_would_silence_an_alert_for_longer_than_an_hour_does_not_count(desk, seconds):
    desk.gets(call())
    desk.mails()
    table, limits = desk.world.environment["ALERTS_TABLE"], desk.alerter.limits
    for row in desk.world.runtime.aws.scan(table):
        desk.world.runtime.aws.put(table, {**row, "closes": int(limits.clock.now()) + seconds})
    desk.gets(call())
    assert len(desk.mails()) == 1


# Filters.


def test_an_account_that_the_stack_does_not_cover_sends_no_mail(desk):
    for name in ("member_disable_rule", "member_delete_role_policy", "member_delete_queue", "member_delete_stack"):
        desk.gets(call(name, account=STRANGER))
        desk.gets(call(name, account=STRANGER, errorCode="AccessDenied"))
    desk.gets(call("self_stop_logging", account=STRANGER))
    assert desk.mails() == {}
    desk.gets(call("member_disable_rule", account=MEMBER))
    assert len(desk.mails()) == 1


def test_an_account_that_no_sweep_has_listed_yet_is_covered_if_stacksets_says_so(desk):
    desk.alerter._listed = (float("inf"), frozenset({STRANGER}))
    desk.gets(call("member_disable_rule", account=STRANGER))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("member_disable_rule", {"name": "rolewarden-forward-mine"}),
        ("member_disable_rule", {"name": "rolewarden-forward-roles", "eventBusName": "mine"}),
        ("member_delete_role_policy", {"roleName": "rolewarden-forward-mine", "policyName": "x"}),
        ("member_delete_role_policy", {"roleName": "rolewarden-enforcer", "policyName": "x"}),
        (
            "member_delete_queue",
            {"queueUrl": f"https://sqs.eu-west-1.amazonaws.com/{MEMBER}/my-rolewarden-undelivered"},
        ),
        ("member_delete_stack", {"stackName": "StackSet-rolewarden-members-mine"}),
        ("member_delete_stack", {"stackName": "StackSet-others-1f357b5b"}),
    ],
)
def test_a_resource_in_another_account_with_a_name_like_rolewardens_is_no_part_of_it(desk, name, parameters):
    desk.gets(call(name, account=MEMBER, requestParameters=parameters))
    assert desk.mails() == {}


@pytest.mark.parametrize("name", ["member_disable_rule", "member_delete_role_policy", "member_delete_queue",
                                  "member_delete_stack"])  # fmt: skip
def test_every_part_of_rolewarden_in_a_covered_account_is_a_mail(desk, name):
    desk.gets(call(name, account=MEMBER))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize(
    ("name", "eventName", "parameters"),
    [
        ("member_delete_queue", "StartMessageMoveTask",
         {"sourceArn": f"arn:aws:sqs:us-east-1:{MEMBER}:rolewarden-undelivered", "destinationArn": "x"}),
        ("member_delete_stack", "ImportStacksToStackSet",
         {"stackIds": [f"arn:aws:cloudformation:us-east-1:{MEMBER}:stack/StackSet-rolewarden-members-1f357b5b/1f35"]}),
        ("member_delete_stack", "CreateStackRefactor",
         {"stackDefinitions": [{"stackName": "other"}, {"stackName": "StackSet-rolewarden-members-1f357b5b"}]}),
    ],
)  # fmt: skip
def test_a_call_that_names_a_part_in_another_parameter_is_a_mail(desk, name, eventName, parameters):  # noqa: N803
    desk.gets(call(name, account=MEMBER, eventName=eventName, requestParameters=parameters))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize("code", ["NoSuchEntityException", "ResourceNotFoundException", "ThrottlingException",
                                  "AWS.SimpleQueueService.NonExistentQueue"])  # fmt: skip
def test_a_call_that_found_nothing_to_change_is_no_mail(desk, code):
    desk.gets(call(errorCode=code))
    assert desk.mails() == {}


def test_an_event_with_a_record_that_cloudtrail_did_not_send_is_no_mail(desk):
    desk.gets({**call(), "source": "mine"})
    assert desk.mails() == {}


# Trails.


MAIN = "management-events"
"""The trail of the seed, which logs everything that Rolewarden needs."""


@pytest.fixture
def trails(desk):
    return boto3.client("cloudtrail")


def trail_call(name, trail, **detail):
    key = "trailName" if name == "PutEventSelectors" else "name"
    return call("self_stop_logging", eventName=name, requestParameters={key: trail}, **detail)


@pytest.mark.parametrize("name", ["StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors"])
def test_a_change_to_a_trail_that_rolewarden_does_not_need_is_no_mail(desk, trails, name):
    boto3.client("s3").create_bucket(Bucket="other")
    trails.create_trail(Name="other", S3BucketName="other")
    desk.gets(trail_call(name, "other"))
    assert desk.mails() == {}


@pytest.mark.parametrize("name", ["StopLogging", "DeleteTrail"])
@pytest.mark.parametrize("starts_again", [False, True])
def test_the_end_of_the_one_trail_is_a_mail_even_if_it_logs_again(desk, trails, name, starts_again):
    trails.stop_logging(Name=MAIN)
    if starts_again:
        trails.start_logging(Name=MAIN)
    desk.gets(trail_call(name, MAIN))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize(("kind", "mails"), [("ReadOnly", 1), ("WriteOnly", 0), ("All", 0)])
def test_other_selectors_of_the_one_trail_are_a_mail_if_they_leave_out_writes(desk, trails, kind, mails):
    selector = {"ReadWriteType": kind, "IncludeManagementEvents": True, "DataResources": []}
    trails.put_event_selectors(TrailName=MAIN, EventSelectors=[selector])
    recorded = {f"{key[:1].lower()}{key[1:]}": value for key, value in selector.items()}
    desk.gets(said("PutEventSelectors", MAIN, {"eventSelectors": [recorded]}))
    assert len(desk.mails()) == mails


WRITES = [{"readWriteType": "All", "includeManagementEvents": True}]
READS = [{"readWriteType": "ReadOnly", "includeManagementEvents": True}]
ADVANCED = [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Management"]}]}]
ONLY_S3 = [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}]}]
NARROWED = [
    ("PutEventSelectors", {"eventSelectors": READS}),
    ("PutEventSelectors", {"eventSelectors": [{**WRITES[0], "excludeManagementEventSources": ["iam.amazonaws.com"]}]}),
    ("PutEventSelectors", {"eventSelectors": [{**WRITES[0], "includeManagementEvents": False}]}),
    ("PutEventSelectors", {"advancedEventSelectors": ONLY_S3}),
    ("PutEventSelectors", {"advancedEventSelectors": [{"fieldSelectors": [{"field": 7}]}]}),
    ("PutEventSelectors", {"eventSelectors": "cut"}),
    ("UpdateTrail", {"includeGlobalServiceEvents": False}),
]
ENOUGH = [
    ("PutEventSelectors", {"eventSelectors": WRITES}),
    ("PutEventSelectors", {"advancedEventSelectors": ADVANCED}),
    ("UpdateTrail", {"includeGlobalServiceEvents": True, "isMultiRegionTrail": True}),
    ("UpdateTrail", {"s3BucketName": "other"}),
]


def said(name, trail, parameters):
    """The record of a call on a trail with these parameters."""
    event = trail_call(name, trail)
    event["detail"]["requestParameters"] |= parameters
    return event


@pytest.mark.parametrize(("name", "parameters"), NARROWED)
def test_a_trail_that_a_caller_narrows_and_restores_at_once_is_a_mail(desk, trails, name, parameters):
    desk.gets(said(name, MAIN, parameters))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize(("name", "parameters"), ENOUGH)
def test_a_change_after_which_the_trail_logs_enough_is_no_mail(desk, trails, name, parameters):
    desk.gets(said(name, MAIN, parameters))
    assert desk.mails() == {}


@pytest.mark.parametrize("regions", [("us-east-1",), ("us-east-1", "eu-west-1")])
def test_a_trail_that_logs_one_region_only_for_a_moment_is_a_mail_if_the_stack_covers_more(desk, trails, regions):
    desk.alerter.settings = replace(desk.alerter.settings, regions=regions)
    desk.gets(said("UpdateTrail", MAIN, {"isMultiRegionTrail": False}))
    assert len(desk.mails()) == len(regions) - 1


def test_a_record_without_its_parameters_is_a_mail(desk, trails):
    desk.gets(call("self_stop_logging", eventName="PutEventSelectors", requestParameters=None))
    assert len(desk.mails()) == 1


@pytest.mark.parametrize("name", ["PutEventSelectors", "StopLogging"])
def test_two_trails_that_a_caller_narrows_and_restores_one_after_the_other_are_a_mail(desk, trails, name):
    boto3.client("s3").create_bucket(Bucket="other")
    arn = trails.create_trail(Name="other", S3BucketName="other", IsMultiRegionTrail=True)["TrailARN"]
    trails.start_logging(Name="other")
    desk.gets(said(name, MAIN, {"eventSelectors": READS}))
    assert desk.mails() == {}
    desk.gets(said(name, arn, {"eventSelectors": READS}))
    assert len(desk.mails()) == 1
    desk.wait(NARROWED_SECONDS + 1)
    desk.gets(said(name, MAIN, {"eventSelectors": READS}))
    assert desk.mails() == {}


def test_an_attempt_on_a_trail_that_aws_refused_is_no_mail(desk, trails):
    desk.gets(trail_call("StopLogging", MAIN, errorCode="AccessDenied"))
    assert desk.mails() == {}


def test_a_change_to_a_trail_is_a_mail_if_aws_does_not_say_what_is_logged(desk, trails):
    with desk.world.aws.failing("DescribeTrails", "AccessDeniedException"):
        desk.gets(trail_call("UpdateTrail", "other"))
    assert len(desk.mails()) == 1


# Forged records.


def forged(number, **detail):
    """A record of a call that nobody made, with a caller of its own."""
    return call(actor=f"user/invented{number}", eventID=f"{number:08x}-0000-4000-8000-000000000000", **detail)


def flooded(desk):
    """Reach the number of alerts of the account."""
    for number in range(MOST_OF_ACCOUNT):
        desk.gets(forged(number))
    assert len(desk.mails()) == MOST_OF_ACCOUNT
    assert desk.gets(forged(MOST_OF_ACCOUNT))["why"] == "held until CloudTrail shows the call"


def changed(desk, role="CanvasFull"):
    """A caller changes a role; gives the event of the call."""
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    desk.world.iam.put_role_policy(RoleName=role, PolicyName="More", PolicyDocument=document)
    return desk.world.event("PutRolePolicy")


def test_forged_records_with_a_new_caller_each_time_are_a_limited_number_of_mails(desk):
    flooded(desk)
    [(subject, text)] = desk.mails().items()
    assert subject == f"Rolewarden: callers caused too many alerts in account {ACCOUNT_ID}"
    assert "sends further alerts of this kind only when CloudTrail shows their calls" in " ".join(text.split())
    for number in range(3 * MOST_OF_ACCOUNT):
        desk.gets(forged(1_000 + number))
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}


def test_forged_records_end_in_one_summary_and_a_metric(desk, capsys):
    flooded(desk)
    desk.mails()
    desk.wait(HELD_SECONDS + HOUR + 1)
    metrics.clear_metrics()
    desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    assert "did not show the calls of 1 alerts: a caller may have forged their records" in " ".join(text.split())
    assert f"user/invented{MOST_OF_ACCOUNT} called DisableRule" in " ".join(text.split())
    assert f"{MOST_OF_ACCOUNT:08x}-0000-4000-8000-000000000000" in text
    assert metrics.metric_set["UnverifiedAlerts"]["Value"] == [1.0]
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}


def test_a_flood_of_forged_records_hides_no_call_that_cloudtrail_has(desk):
    flooded(desk)
    desk.mails()
    event = changed(desk)
    assert desk.gets(event)["why"] == "held until CloudTrail shows the call"
    for number in range(20):
        desk.gets(forged(1_000 + number))
    desk.gets({"step": SUMMARY})
    [subject] = desk.mails()
    assert subject.endswith("called PutRolePolicy on role CanvasFull")
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}


def test_a_call_that_cloudtrail_shows_late_is_a_mail_and_one_that_it_cannot_show_is_in_the_summary(desk):
    flooded(desk)
    event = changed(desk)
    desk.gets(event)
    desk.mails()
    with desk.world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        desk.gets({"step": SUMMARY})
        assert desk.mails() == {}
    desk.wait(LOOK_SECONDS + 1)
    desk.gets({"step": SUMMARY})
    [subject] = desk.mails()
    assert "PutRolePolicy" in subject
    desk.gets(changed(desk, "CanvasOmar"))
    desk.wait(HELD_SECONDS + HOUR + 1)
    with desk.world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    assert "called PutRolePolicy on role CanvasOmar" in " ".join(text.split())


@pytest.mark.parametrize(
    "changes",
    [
        {"userIdentity": {"arn": f"arn:aws:iam::{ACCOUNT_ID}:user/innocent"}},
        {"eventName": "DeleteRolePolicy"},
        {"requestParameters": {"roleName": "EnforceFunctionRole", "policyName": "More"}},
        {"awsRegion": "eu-west-1"},
        {"awsRegion": ["us-east-1"]},
        {"eventID": ["x"]},
    ],
)
def test_the_id_of_another_call_does_not_make_a_forged_record_true(desk, changes):
    flooded(desk)
    event = changed(desk)
    desk.gets({**event, "detail": {**event["detail"], **changes}})
    desk.mails()
    desk.gets({"step": SUMMARY})
    assert desk.mails() == {}


def test_the_summary_goes_on_after_an_alert_whose_call_cloudtrail_shows_after_its_summary(desk):
    flooded(desk)
    desk.gets(changed(desk))
    desk.wait(HOUR + 1)
    flooded_again = [desk.gets(forged(5_000 + number)) for number in range(MOST_OF_ACCOUNT + 1)]
    assert flooded_again[-1]["why"] == "held until CloudTrail shows the call"
    desk.wait(HELD_SECONDS)
    desk.mails()
    with desk.world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    assert "did not show the calls of 2 alerts" in " ".join(text.split())
    for _ in range(2):
        desk.wait(LOOK_SECONDS + 1)
        desk.gets({"step": SUMMARY})
    desk.wait(HOUR)
    desk.gets({"step": SUMMARY})
    mails = desk.mails()
    assert [subject for subject in mails if subject.endswith("called PutRolePolicy on role CanvasFull")]
    assert [text for text in mails.values() if "did not show the calls of 1 alerts" in " ".join(text.split())]


def test_no_row_of_another_form_keeps_a_held_alert_or_the_summary_from_people(desk):
    flooded(desk)
    event = changed(desk)
    desk.gets(event)
    desk.mails()
    table, place = desk.world.environment["ALERTS_TABLE"], f"{ACCOUNT_ID} {event['region']}"
    of_call = {"scope": f"held/{place}", "item": f"{event['detail']['eventID']} x"}
    rows: list[dict[str, Any]] = [
        {"scope": "holding", "item": "x"},
        {"scope": "holding", "item": f"{place} soon", "closes": 0},
        {"scope": "holding", "item": f"{place} 1", "closes": "soon"},
        {"scope": "holding", "item": f"{place} 2", "closes": 0, "held": 0, "sent": 1_000},
        {"scope": "holding", "item": f"{place} 3", "closes": 0, "held": "many"},
        {**of_call, "item": f"{of_call['item']}1"},
        {**of_call, "item": f"{of_call['item']}2", "hour": 1, "event": "{"},
        {**of_call, "item": f"{of_call['item']}3", "hour": "soon"},
    ]
    ends: list[dict[str, Any]] = [{}, {"closes": "soon"}, {"closes": 0, "repeats": 1, "beyond": "many"}]
    for scope in ("alert", "limit", "narrowed"):
        rows += [{"scope": scope, "item": f"x{number}", **end} for number, end in enumerate(ends)]
    for row in rows:
        desk.world.runtime.aws.put(table, {**row, "read_at": 0})
    desk.gets({"step": SUMMARY})
    assert [subject for subject in desk.mails() if subject.endswith("called PutRolePolicy on role CanvasFull")]
    desk.gets(forged(2_000))
    desk.wait(HELD_SECONDS + HOUR + 1)
    desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    assert "did not show the calls of 2 alerts" in " ".join(text.split())


def test_forged_records_in_the_name_of_a_caller_hide_no_call_of_that_caller(desk):
    event = changed(desk)
    for number in range(2 * MOST_OF_ACTOR):
        detail = {**event["detail"], "requestParameters": {"roleName": f"Other{number}"}, "eventID": str(number)}
        desk.gets({**event, "detail": detail})
    desk.gets(event)
    assert not any("on role CanvasFull" in subject for subject in desk.mails())
    desk.gets({"step": SUMMARY})
    [subject] = desk.mails()
    assert subject.endswith("called PutRolePolicy on role CanvasFull")


def test_a_caller_who_asks_for_the_summary_again_and_again_causes_one_look_at_cloudtrail(desk):
    flooded(desk)
    mark = desk.world.aws.mark()
    for _ in range(10):
        desk.gets({"step": SUMMARY})
    assert [call.operation for call in desk.world.aws.calls(mark)].count("LookupEvents") == 1


def test_the_number_of_forged_records_does_not_change_the_number_of_calls_to_cloudtrail(desk):
    flooded(desk)
    for number in range(50):
        desk.gets(forged(2_000 + number, eventName=f"Invented{number}"))
    event = changed(desk)
    desk.gets(event)
    desk.mails()
    mark = desk.world.aws.mark()
    desk.gets({"step": SUMMARY})
    assert [call.operation for call in desk.world.aws.calls(mark)].count("LookupEvents") == 1
    assert len(desk.mails()) == 1


def test_a_caller_whose_many_calls_cloudtrail_shows_is_limited_too(desk):
    for number in range(3 * MOST_OF_ACTOR):
        desk.world.role(f"Made{number}")
        desk.gets(changed(desk, f"Made{number}"))
    desk.mails()
    desk.gets({"step": SUMMARY})
    mails = desk.mails()
    assert len(mails) == MOST_OF_ACTOR + 1
    assert [subject for subject in mails if "too many alerts" in subject]
    desk.wait(WINDOW_SECONDS + 1)
    desk.gets({"step": SUMMARY})
    [text] = desk.mails().values()
    assert f"{MOST_OF_ACTOR} alerts about arn:aws:iam::{ACCOUNT_ID}:root" in " ".join(text.split())


def test_findings_with_invented_callers_wait_for_their_calls_too(desk):
    flooded(desk)
    event = changed(desk)
    cause = {
        "event_id": event["detail"]["eventID"],
        "event_name": "PutRolePolicy",
        "actor": cause_of(event["detail"]).actor,
    }
    invented = {
        **cause,
        "event_id": "0" * 8 + "-0000-4000-8000-000000000000",
        "actor": "arn:aws:iam::111122223333:user/x",
    }
    desk.gets(desk.recorded("finding_role", role="Real", cause=cause))
    desk.gets(desk.recorded("finding_role", role="Invented", cause=invented))
    desk.mails()
    desk.gets({"step": SUMMARY})
    assert list(desk.mails()) == ["Rolewarden: role Real cannot be protected: quota full"]
