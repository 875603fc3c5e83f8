"""template.yaml, translated as for CloudFormation: requirements for rules, queues and alarms."""

import json
import re
from typing import Any

import pytest
from rolewarden.alert import AlertKey, anchor, beyond, compose, summary
from rolewarden.events import IAM_EVENTS, POLICY_EVENTS, ROLE_EVENTS, SAGEMAKER_EVENTS, TAG_EVENTS
from rolewarden.settings import queues_of_mappings

from tests.conftest import ROOT, sample
from tests.patterns import matching
from tests.permissions import actions, of_template
from tests.stacks import ACCOUNT, FUNCTIONS, LISTENED_TO, RECEIVERS, WORKERS, translated, whole

ROLES = f"arn:aws:iam::{ACCOUNT}:role/rolewarden"
REGIONS = {
    "us-east-1": "aws",
    "eu-west-1": "aws",
    "us-gov-west-1": "aws-us-gov",
    "cn-north-1": "aws-cn",
    "eusc-de-east-1": "aws-eusc",
}


@pytest.fixture(scope="module")
def template():
    return translated()


def rules(template):
    """The rules that trigger work. tests/test_self_protection.py has the rules of AlertFunction."""
    return {rule.name: rule for rule in template.rules() if rule.function != "AlertFunction"}


def may(template, function, action):
    """The statements that allow a function an action."""
    [rights] = [rights for rights in of_template(template) if rights.function == function]
    return [s for s in rights.statements() if s["Effect"] == "Allow" and action in actions(s)]


def test_the_rules_name_exactly_the_events_that_the_code_understands(template):
    listed = [name for r in rules(template).values() for name in r.pattern.get("detail", {}).get("eventName", [])]
    assert sorted(listed) == sorted(SAGEMAKER_EVENTS | IAM_EVENTS)


def test_policy_events_go_to_publish_and_all_others_to_enforce(template):
    for rule in rules(template).values():
        names = set(rule.pattern.get("detail", {}).get("eventName", ()))
        if names & POLICY_EVENTS:
            assert (rule.function, frozenset(names)) == ("PublishFunction", POLICY_EVENTS)
        elif names:
            assert rule.function == "EnforceFunction"


def test_every_rule_on_cloudtrail_leaves_out_failed_calls_and_keeps_calls_without_a_session_issuer(template):
    for rule in rules(template).values():
        if rule.pattern["source"] == ["rolewarden"]:
            continue
        detail = rule.pattern["detail"]
        assert detail["errorCode"] == [{"exists": False}]
        issuers = [b["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] for b in detail["$or"]]
        assert issuers == [
            [{"exists": False}],
            [{"anything-but": [f"{ROLES}/{function}Role" for function in WORKERS if function not in LISTENED_TO]}],
        ]


@pytest.mark.parametrize(
    ("issuer", "seen"),
    [
        ("EnforceFunctionRole", False),
        ("PublishFunctionRole", False),
        ("DetachFunctionRole", True),
        ("DrillFunctionRole", True),
        ("Escape", True),
        ("EnforceFunctionRole2", True),
    ],
)
def test_rules_ignore_calls_of_the_functions_and_not_of_other_roles_under_their_path(aws, template, issuer, seen):
    event = sample("awkward_own_call")
    event["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = f"{ROLES}/{issuer}"
    [rule] = [
        r for r in rules(template).values() if "DetachRolePolicy" in r.pattern.get("detail", {}).get("eventName", ())
    ]
    assert bool(matching({rule.name: rule.pattern}, event)) is seen


def test_alertfunction_knows_the_queue_of_each_event_source_mapping():
    environment = whole().resources("AWS::Lambda::Function")["AlertFunction"]["Environment"]["Variables"]
    mappings = whole().resources("AWS::Lambda::EventSourceMapping")
    assert queues_of_mappings(environment) == {
        name.lower(): found["EventSourceArn"].rsplit(":", 1)[-1] for name, found in mappings.items()
    }


def test_rules_match_tag_events_only_of_domains_and_profiles(template):
    [rule] = [
        r for r in rules(template).values() if set(r.pattern.get("detail", {}).get("eventName", ())) >= TAG_EVENTS
    ]
    assert set(rule.pattern["detail"]["eventName"]) == SAGEMAKER_EVENTS
    tagged = sample("add_tags")
    tagged["detail"]["requestParameters"]["resourceArn"] = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:space/d-1/one"
    assert matching({rule.name: rule.pattern}, sample("add_tags")) == [rule.name]
    assert matching({rule.name: rule.pattern}, sample("update_domain")) == [rule.name]
    assert not matching({rule.name: rule.pattern}, tagged)


def test_rules_match_tagged_resources_by_prefix_because_eventbridge_allows_few_wildcards(template):
    [rule] = [
        r for r in rules(template).values() if set(r.pattern.get("detail", {}).get("eventName", ())) >= TAG_EVENTS
    ]
    here = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
    [without, with_arn] = rule.pattern["detail"]["requestParameters"]["$or"]
    assert without == {"resourceArn": [{"exists": False}]}
    assert with_arn["resourceArn"] == [
        {"prefix": f"{here}:domain/"},
        {"prefix": f"{here}:user-profile/"},
        f"{here}:app-image-config/rolewarden-canary",
    ]
    assert not any("wildcard" in json.dumps(rule.pattern) for rule in template.rules())


def test_rules_match_events_of_this_account_and_sagemaker_events_of_this_region(template):
    for rule in rules(template).values():
        if rule.pattern["source"] != ["rolewarden"]:
            assert rule.pattern["account"] == [ACCOUNT]
        # IAM's events may come from its home region over a bus.
        assert rule.pattern.get("region") == (["us-east-1"] if rule.pattern["source"] == ["aws.sagemaker"] else None)


def test_an_undeliverable_event_goes_to_a_dead_letter_queue_that_accepts_it(template):
    queues = template.resources("AWS::SQS::QueuePolicy")["EventsDeadLetterQueuePolicy"]
    statement, _ = queues["PolicyDocument"]["Statement"]
    for rule in template.resources("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"]["Arn"] == statement["Resource"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}


def test_an_invocation_that_keeps_failing_goes_to_a_dead_letter_queue(template):
    configs = template.resources("AWS::Lambda::EventInvokeConfig")
    called_by_rules = {target["Arn"].rsplit(":", 1)[-1] for r in template.resources("AWS::Events::Rule").values()
                       for target in r["Targets"]}  # fmt: skip
    assert called_by_rules | {"DetachFunction"} == {config["FunctionName"] for config in configs.values()}
    for config in configs.values():
        queue = config["DestinationConfig"]["OnFailure"]["Destination"]
        assert queue.endswith(":InvocationsDeadLetterQueue")
        sends = [s["Resource"] for s in may(template, config["FunctionName"], "sqs:SendMessage")]
        assert queue in sends


def test_only_failed_messages_are_retried_and_go_to_a_dead_letter_queue(template):
    queues = template.resources("AWS::SQS::Queue")
    mappings = template.resources("AWS::Lambda::EventSourceMapping").values()
    assert {mapping["EventSourceArn"].rsplit(":", 1)[-1] for mapping in mappings} == set(RECEIVERS)
    for mapping in mappings:
        queue = queues[mapping["EventSourceArn"].rsplit(":", 1)[-1]]
        assert queue["RedrivePolicy"]["deadLetterTargetArn"].endswith(":WorkDeadLetterQueue")
        assert mapping["BatchSize"] == 1 or mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


@pytest.mark.parametrize("queue", ["WorkQueue", "SweepQueue", "DetachQueue", "PublishQueue"])
def test_a_message_stays_hidden_longer_than_its_function_can_run(template, queue):
    timeout = template.resources("AWS::Lambda::Function")[RECEIVERS[queue]]["Timeout"]
    assert template.resources("AWS::SQS::Queue")[queue]["VisibilityTimeout"] >= 6 * timeout


def test_the_functions_have_the_names_of_their_own_roles(template):
    for function in FUNCTIONS:
        assert template.environment(function)["OWN_ROLES"].split(",") == [f"{own}Role" for own in FUNCTIONS]


def test_no_event_reaches_a_function_that_can_detach(template):
    targets = [t["Arn"] for r in template.resources("AWS::Events::Rule").values() for t in r["Targets"]]
    assert not any("DetachFunction" in target for target in targets)


def test_functions_that_attach_are_deleted_before_a_deleted_stack_detaches_guardrails(template):
    for function in set(WORKERS) - {"DetachFunction"}:
        assert "DetachOnDelete" in template.depends_on(function)


def test_only_one_function_receives_messages_of_each_queue(template):
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
        found = {
            statement["Resource"].rsplit(":", 1)[-1]: function
            for function in FUNCTIONS
            for statement in may(template, function, action)
            # These calls count the messages in a forwarder's queue, and read the policy of a dead-letter queue.
            if statement["Sid"] not in {"CountUndeliveredEvents", "ReadDeadLetterQueue"}
        }
        assert found == RECEIVERS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_runs_as_a_role_of_its_own_under_rolewardens_path(template, function):
    assert template.resources("AWS::Lambda::Function")[function]["Role"].endswith(f"/{function}Role")
    assert template.resources("AWS::IAM::Role")[f"{function}Role"]["Path"] == "/rolewarden/"


@pytest.mark.parametrize(("region", "partition"), REGIONS.items())
def test_every_arn_has_the_partition_of_the_deployment(region, partition):
    text = json.dumps(translated(region).resolve(translated(region).body["Resources"]))
    other = set(REGIONS.values()) - {partition}
    assert f"arn:{partition}:" in text
    assert not any(f'"arn:{name}:' in text for name in other)


@pytest.mark.parametrize("region", REGIONS)
def test_an_output_of_the_stack_shows_whether_iam_events_reach_it(region):
    told = translated(region).outputs()["IamEvents"]
    assert told.startswith("yes: over a forwarder" if region == "eu-west-1" else "yes: CloudTrail delivers")


def test_the_rules_match_all_role_events(template):
    assert set(rules(template)["EnforceFunctionRoles"].pattern["detail"]["eventName"]) == ROLE_EVENTS


KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1f357b5b-3e36-838c-94a4-e671aa807118"


@pytest.fixture(scope="module")
def keyed():
    """The template with a customer key."""
    return translated(KmsKeyArn=KEY)


def test_without_a_customer_key_everything_is_encrypted_with_keys_of_aws(template):
    for queue in template.resources("AWS::SQS::Queue").values():
        assert (queue["SqsManagedSseEnabled"], queue.get("KmsMasterKeyId")) == (True, None)
    for kind in ("AWS::Lambda::Function", "AWS::Logs::LogGroup"):
        assert not any(
            {"KmsKeyArn", "KmsKeyId"} & properties.keys() for properties in template.resources(kind).values()
        )
    assert not any(may(template, function, "kms:Decrypt") for function in WORKERS)


def test_the_topic_has_the_stacks_own_key_that_alarms_and_alertfunction_can_use(template):
    [topic] = template.resources("AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == "AlarmKey"
    assert "AlarmKey" in template.resources("AWS::KMS::Key")
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        [statement] = may(template, "AlertFunction", action)
        assert statement["Resource"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/AlarmKey"


def test_a_customer_key_encrypts_everything(keyed):
    for table in keyed.resources("AWS::DynamoDB::Table").values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    for queue in keyed.resources("AWS::SQS::Queue").values():
        assert (queue["KmsMasterKeyId"], queue.get("SqsManagedSseEnabled")) == (KEY, None)
    [topic] = keyed.resources("AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == KEY
    assert {log["KmsKeyId"] for log in keyed.resources("AWS::Logs::LogGroup").values()} == {KEY}
    assert {function["KmsKeyArn"] for function in keyed.resources("AWS::Lambda::Function").values()} == {KEY}
    assert not keyed.resources("AWS::KMS::Key")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_can_use_only_the_customer_key(keyed, function):
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert [statement["Resource"] for statement in may(keyed, function, action)] == [KEY]


def test_tampering_with_the_customer_key_is_reported(keyed):
    [rule] = [r for r in keyed.rules() if r.name == "AlertFunctionSelfTopicAndKey"]
    assert KEY in json.dumps(rule.pattern)


def test_alertfunction_can_change_only_its_own_table_and_publish_only_to_its_topic(template):
    allowed: dict[str, Any] = {}
    for rights in of_template(template):
        for statement in rights.statements() if rights.function == "AlertFunction" else ():
            for action in actions(statement) if statement["Effect"] == "Allow" else ():
                allowed[action] = [*allowed.get(action, []), statement["Resource"]]
    tables = {name: f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{name}" for name in ("AlertsTable", "HistoryTable")}
    assert sorted(allowed.pop("dynamodb:Query")) == sorted(tables.values())
    assert {action: one for action, [one] in allowed.items()} == {
        "dynamodb:PutItem": tables["AlertsTable"],
        "dynamodb:UpdateItem": tables["AlertsTable"],
        "dynamodb:DeleteItem": tables["AlertsTable"],
        "cloudtrail:DescribeTrails": "*",
        "cloudtrail:LookupEvents": "*",
        "cloudtrail:GetEventSelectors": "arn:aws:cloudtrail:*:*:trail/*",
        "cloudtrail:GetTrailStatus": "arn:aws:cloudtrail:*:*:trail/*",
        "sns:Publish": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic",
        "cloudformation:DescribeStackEvents": template.resolve({"Ref": "AWS::StackId"}),
        "kms:Decrypt": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/AlarmKey",
        "kms:GenerateDataKey": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/AlarmKey",
        "sqs:SendMessage": f"arn:aws:sqs:us-east-1:{ACCOUNT}:InvocationsDeadLetterQueue",
        "logs:CreateLogStream": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:AlertLogs:*",
        "logs:PutLogEvents": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:AlertLogs:*",
    }


def alarms(template):
    return template.resources("AWS::CloudWatch::Alarm")


def test_every_dead_letter_queue_has_an_alarm(template):
    watched = {d["Value"] for alarm in alarms(template).values() for d in alarm.get("Dimensions", ())}
    dead = {
        queue["RedrivePolicy"]["deadLetterTargetArn"].rsplit(":", 1)[-1]
        for queue in template.resources("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    }
    targets = [t for rule in template.resources("AWS::Events::Rule").values() for t in rule["Targets"]]
    dead |= {target["DeadLetterConfig"]["Arn"].rsplit(":", 1)[-1] for target in targets}
    configs = template.resources("AWS::Lambda::EventInvokeConfig").values()
    dead |= {config["DestinationConfig"]["OnFailure"]["Destination"].rsplit(":", 1)[-1] for config in configs}
    assert len(dead) == 3
    assert dead <= watched


def test_errors_and_throttles_of_every_function_have_an_alarm(template):
    for metric in ("Errors", "Throttles"):
        watched = [
            dimension["Value"]
            for alarm in alarms(template).values()
            if (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", metric)
            for dimension in alarm["Dimensions"]
        ]
        assert sorted(watched) == sorted(FUNCTIONS)


INTERVALS = {"15m": 900, "1h": 3600, "6h": 6 * 3600, "12h": 12 * 3600, "1d": 24 * 3600}
"""Each value of SweepInterval in seconds."""


def seconds_of(schedule):
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", schedule)
    assert found is not None, schedule
    count, unit = found.groups()
    assert schedule.endswith("s)") == (count != "1")  # EventBridge rejects `rate(1 hours)`.
    return int(count) * {"minute": 60, "hour": 3600, "day": 24 * 3600}[unit]


def test_the_template_accepts_these_intervals(template):
    declared = template.source["Parameters"]["SweepInterval"]
    assert declared["AllowedValues"] == list(INTERVALS)
    assert set(template.source["Mappings"]["SweepIntervals"]) == set(INTERVALS)
    assert declared["Default"] == "1h"


@pytest.mark.parametrize(("value", "seconds"), INTERVALS.items())
def test_the_sweep_and_the_policy_check_run_once_an_interval(value, seconds):
    rules = translated(SweepInterval=value).resources("AWS::Events::Rule")
    found = {
        name: seconds_of(rule["ScheduleExpression"]) for name, rule in rules.items() if "ScheduleExpression" in rule
    }
    assert found == {
        "SweepFunctionSchedule": seconds,
        "DrillFunctionSchedule": 24 * 3600,
        "PublishFunctionCheck": seconds,
        "SweepFunctionHeartbeat": 900,
        "AlertFunctionSummary": 900,
    }
    assert translated(SweepInterval=value).environment("SweepFunction")["SWEEP_SECONDS"] == str(seconds)


def test_every_alarm_goes_to_the_topic_and_has_its_entry_in_the_runbook(template):
    runbook = (ROOT / "docs/how-to/runbook.md").read_text()
    entries = {anchor(line[3:]) for line in runbook.splitlines() if line.startswith("## ")}
    told = set()
    for name, alarm in alarms(template).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"]
        entry = alarm["AlarmDescription"].rpartition(" Runbook: docs/how-to/runbook.md#")[2]
        assert name.lower().endswith(entry)
        told.add(entry)
    assert told | {"alerts", "restore-the-stack", "a-first-deployment-that-fails"} == entries


@pytest.mark.parametrize("url", ["https://github.com/x/rolewarden/blob/main/docs/how-to/runbook.md",
                                 "https://docs.example.com/how-to/runbook/"])  # fmt: skip
def test_every_alarm_ends_with_a_link_to_its_entry_if_the_stack_has_the_url_of_the_runbook(url):
    for name, alarm in alarms(translated(RunbookUrl=url)).items():
        link = alarm["AlarmDescription"].split()[-1]
        assert link.partition("#")[0] == url
        assert link.partition("#")[2], name
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        assert len(alarm["AlarmDescription"]) + 256 <= 1024


@pytest.mark.parametrize(("value", "is_allowed"), [
    ("docs/how-to/runbook.md", True), ("https://wiki.example.com/x?page=runbook", True),
    ("", False), ("http://wiki.example.com/x", False), ("https://wiki.example.com/x#y", False),
    ("https://wiki.example.com/a b", False), ("https://wiki.example.com/a\nb", False), ("javascript:alert(1)", False),
])  # fmt: skip
def test_the_url_of_the_runbook_is_one_word_that_a_heading_can_follow(template, value, is_allowed):
    pattern = template.body["Parameters"]["RunbookUrl"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, value)) is is_allowed


def test_every_reason_except_a_missing_role_has_a_recommended_action():
    from rolewarden.verdicts import RECOMMENDATIONS, Reason

    assert set(Reason) - RECOMMENDATIONS.keys() == {Reason.ROLE_GONE}


@pytest.mark.parametrize("metric", ["Contested", "RecordFailed", "Unenforceable", "UnverifiedAlerts"])
def test_every_metric_of_an_error_has_an_immediate_alarm(template, metric):
    [alarm] = [a for a in alarms(template).values() if a["MetricName"] == metric]
    assert alarm["Namespace"] == "Rolewarden"
    assert alarm["Dimensions"] == [{"Name": "service", "Value": "rolewarden"}]
    assert (alarm["EvaluationPeriods"], alarm["Threshold"], alarm["TreatMissingData"]) == (1, 0, "notBreaching")


def test_every_alert_names_an_entry_of_the_runbook_and_links_it_if_the_stack_has_its_url():
    runbook = (ROOT / "docs/how-to/runbook.md").read_text()
    entries = {line.lstrip("# ") for line in runbook.splitlines() if line.startswith("#")}
    links = {f"https://x.example/r#{anchor(entry)}" for entry in entries}
    events = [sample(path.stem) for path in (ROOT / "events").glob("*.json")]
    key = AlertKey("111122223333", "mallory", "DeleteRule", "a rule")
    alerts = [compose(event, "aws") for event in [*events, {}]]
    alerts += [summary([("x", 1)], []), beyond(key, 5, of_actor=True)]
    for alert in alerts:
        [line] = [line for line in alert.body.splitlines() if line.startswith("Runbook")]
        assert line.partition("docs/how-to/runbook.md, ")[2] in entries
        assert alert.linked("docs/how-to/runbook.md") == alert
        linked = alert.linked("https://x.example/r").body.splitlines()
        after = [linked[number + 1] for number, line in enumerate(linked) if line == "Runbook:"]
        assert after
        assert set(after) <= links
        assert len(set(after)) == len(after)


def test_no_number_that_a_caller_writes_can_lower_an_alarm_on_our_own_metrics(template):
    """Every caller with cloudwatch:PutMetricData can write to a namespace that does not begin with AWS/."""
    ours = {name: alarm for name, alarm in alarms(template).items() if not alarm["Namespace"].startswith("AWS/")}
    assert len(ours) >= 5
    assert {alarm["Statistic"] for alarm in ours.values()} == {"Maximum"}


def test_a_function_that_no_longer_counts_has_an_alarm_on_a_metric_that_only_aws_writes(template):
    sweep = [{"Name": "FunctionName", "Value": "SweepFunction"}]
    [alarm] = [a for a in alarms(template).values() if (a["MetricName"], a["Dimensions"]) == ("Invocations", sweep)]
    assert alarm["Namespace"] == "AWS/Lambda"
    assert alarm["InsufficientDataActions"] == alarm["AlarmActions"]
    assert alarm["TreatMissingData"] == "missing"


def test_messages_that_a_caller_holds_in_a_dead_letter_queue_have_an_alarm(template):
    watched = {
        metric: {a["Dimensions"][0]["Value"] for a in alarms(template).values() if a["MetricName"] == metric}
        for metric in ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible")
    }
    visible, held = watched.values()
    assert visible == held
