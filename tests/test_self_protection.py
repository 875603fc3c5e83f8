"""Moves against Rolewarden itself: each matches one rule of AlertFunction, what is none of its business matches none.

How CloudTrail names what was called and on what: docs/runbook.md says how sure that is. The events go through the
template's own patterns, with resources under their logical ids and the stack named `rolewarden`.
"""

import json
from copy import deepcopy

import boto3
import pytest

from tests.conftest import ROOT, sample

ACCOUNT = "111122223333"
LAMBDA = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
RULE = "rolewarden-SweepFunctionSchedule-Yt3Jq0vXw1Zk"
ALARM = "rolewarden-HeartbeatAlarm-1K2L3M4N5O6P"
SUBSCRIPTION = f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic:5be8a1f4"

FUNCTIONS, SOURCES, ROLES, QUEUED, TABLES = (
    "SelfFunctions", "SelfEventSources", "SelfRoles", "SelfQueues", "SelfTables"
)  # fmt: skip
TOLD, LOGS, WATCH, GROUND = "SelfTopicAndKey", "SelfLogs", "SelfRulesAndAlarms", "SelfTrailAndStack"
OWN = ("EnforceFunction", "ReconcileFunction", "SweepFunction", "PublishFunction", "ReleaseFunction", "AlertFunction")
WORKED_OFF = ("WorkQueue", "SweepQueue", "ReleaseQueue", "PublishQueue")
QUEUES = (*WORKED_OFF, "WorkDeadLetterQueue", "EventsDeadLetterQueue", "InvocationsDeadLetterQueue")
MAPPINGS = ("ReconcileFunctionWork", "SweepFunctionRest", "ReleaseFunctionWork", "PublishFunctionAgain")
KEY = {"resources": [{"accountId": ACCOUNT, "ARN": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/AlarmKey"}]}
STACK = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/rolewarden/1f357b5b"


def queue(name):
    return f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{name}"


def on(service, calls, parameters, **more):
    return [(service, call, {"requestParameters": parameters, **more}) for call in calls.split()]


MOVES = {
    FUNCTIONS: [
        *on("lambda", "AddPermission20150331v2 CreateAlias20150331 CreateFunctionUrlConfig DeleteFunction20150331 "
            "DeleteFunctionConcurrency20171031 DeleteFunctionEventInvokeConfig PublishVersion20150331 "
            "PutFunctionCodeSigningConfig PutFunctionConcurrency20171031 PutFunctionEventInvokeConfig "
            "PutFunctionRecursionConfig PutProvisionedConcurrencyConfig PutRuntimeManagementConfig "
            "RemovePermission20150331v2 UpdateFunctionCode20150331v2 UpdateFunctionConfiguration20150331v2 "
            "UpdateFunctionEventInvokeConfig", {"functionName": "EnforceFunction"}),
        *[move for name in OWN for move in on("lambda", "DeleteFunction20150331", {"functionName": name})],
        *on("lambda", "DeleteFunction20150331", {"functionName": f"{ACCOUNT}:function:SweepFunction"}),
        *on("lambda", "DeleteFunction20150331", {"functionName": f"{LAMBDA}:function:SweepFunction"}),
        *on("lambda", "DeleteLayerVersion20181031 PublishLayerVersion20181031 RemoveLayerVersionPermission",
            {"layerName": "GuardrailsLayer"}),
        *on("lambda", "DeleteLayerVersion", {"layerName": f"{LAMBDA}:layer:RolewardenLayer"}),
    ],
    SOURCES: [
        *[move for name in MAPPINGS
          for move in
          on("lambda", "UpdateEventSourceMapping20150331 DeleteEventSourceMapping20150331", {"uuid": name})],
        *[move for name in WORKED_OFF for move in
          on("lambda", "DeleteEventSourceMapping20150331", {"uUID": "1f357b5b"},
             responseElements={"eventSourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"})],
        *[move for name in WORKED_OFF for move in
          on("lambda", "CreateEventSourceMapping20150331",
             {"functionName": "swallow", "eventSourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"})],
    ],
    ROLES: [
        *on("iam", "AttachRolePolicy DetachRolePolicy PutRolePolicy DeleteRolePolicy UpdateAssumeRolePolicy DeleteRole "
            "UpdateRole UpdateRoleDescription PutRolePermissionsBoundary DeleteRolePermissionsBoundary "
            "AddRoleToInstanceProfile", {"roleName": "EnforceFunctionRole"}),
        *[move for name in OWN for move in on("iam", "DeleteRole", {"roleName": f"{name}Role"})],
    ],
    QUEUED: [
        *[move for name in QUEUES for move in
          on("sqs", "AddPermission DeleteQueue PurgeQueue RemovePermission SetQueueAttributes",
             {"queueUrl": queue(name)})],
        *on("sqs", "PurgeQueue", {"queueUrl": f"https://queue.amazonaws.com/{ACCOUNT}/WorkQueue"}),
    ],
    TABLES: [
        *[move for name in ("BindingsTable", "HistoryTable") for move in
          on("dynamodb", "DeleteTable UpdateTable UpdateTimeToLive UpdateContinuousBackups", {"tableName": name})],
        *on("dynamodb", "DeleteTable", {"tableName": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/BindingsTable"}),
        *on("dynamodb", "PutResourcePolicy DeleteResourcePolicy",
            {"resourceArn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/BindingsTable"}),
        *on("dynamodb", "UpdateTable", {}, responseElements={"tableDescription": {"tableName": "HistoryTable"}}),
    ],
    TOLD: [
        *on("sns", "AddPermission DeleteTopic PutDataProtectionPolicy RemovePermission SetTopicAttributes",
            {"topicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"}),
        *on("sns", "SetSubscriptionAttributes Unsubscribe", {"subscriptionArn": SUBSCRIPTION}),
        *on("kms", "DisableKey DisableKeyRotation PutKeyPolicy ScheduleKeyDeletion", {"keyId": "alias/x"}, **KEY),
    ],
    LOGS: [
        *[move for name in OWN for move in
          on("logs", "AssociateKmsKey DeleteLogGroup DeleteLogStream DeleteRetentionPolicy DisassociateKmsKey "
             "PutDataProtectionPolicy PutRetentionPolicy", {"logGroupName": name.replace("Function", "Logs")})],
    ],
    WATCH: [
        *on("events", "DeleteRule DisableRule PutRule", {"name": RULE}),
        *on("events", "PutTargets RemoveTargets", {"rule": RULE}),
        *on("monitoring", "DeleteAlarms DisableAlarmActions", {"alarmNames": ["other", ALARM]}),
        *on("monitoring", "PutCompositeAlarm PutMetricAlarm SetAlarmState", {"alarmName": ALARM}),
        *on("monitoring", "PutAlarmMuteRule", {"name": "quiet", "muteTargets": {"alarmNames": [ALARM]}}),
    ],
    GROUND: [
        *on("cloudtrail", "DeleteTrail StopLogging UpdateTrail", {"name": "management"}),
        *on("cloudtrail", "PutEventSelectors", {"trailName": "management"}),
        *on("cloudformation", "CancelUpdateStack ContinueUpdateRollback DeleteStack ExecuteChangeSet RollbackStack "
            "SetStackPolicy UpdateStack UpdateTerminationProtection", {"stackName": "rolewarden"}),
        *on("cloudformation", "DeleteStack", {"stackName": STACK}),
    ],
}  # fmt: skip
"""Every kind of move, by the rule that is to match it: service, event, and what the record says."""

OF_NO_CONCERN = [
    *on("lambda", "DeleteFunction20150331 UpdateFunctionCode20150331v2", {"functionName": "nightly-report"}),
    *on("lambda", "UpdateEventSourceMapping20150331", {"uuid": "1f357b5b"},
        responseElements={"eventSourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders"}),
    *on("lambda", "PublishLayerVersion20181031", {"layerName": "pandas"}),
    *on("lambda", "Invoke", {"functionName": "EnforceFunction"}),
    *on("lambda", "TagResource20170331v2", {"resource": f"{LAMBDA}:function:EnforceFunction"}),
    *on("iam", "DeleteRole AttachRolePolicy PutRolePolicy", {"roleName": "CanvasAnalytics"}),
    *on("iam", "AttachRolePolicy", {"roleName": "EnforceFunctionRole2"}),
    *on("sqs", "PurgeQueue DeleteQueue", {"queueUrl": queue("orders")}),
    *on("sqs", "PurgeQueue", {"queueUrl": queue("MyWorkQueue")}),
    *on("dynamodb", "DeleteTable UpdateTable", {"tableName": "orders"}),
    *on("dynamodb", "CreateBackup", {"tableName": "HistoryTable"}),
    *on("sns", "DeleteTopic", {"topicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic2"}),
    *on("sns", "Unsubscribe", {"subscriptionArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic2:5be8a1f4"}),
    *on("sns", "Subscribe", {"topicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"}),
    *on("kms", "ScheduleKeyDeletion", {"keyId": "1"}, resources=[{"ARN": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"}]),
    *on("kms", "GenerateDataKey Decrypt", {}, **KEY),
    *on("logs", "DeleteLogGroup", {"logGroupName": "/aws/lambda/nightly-report"}),
    *on("logs", "CreateLogStream", {"logGroupName": "EnforceLogs"}),
    *on("events", "DeleteRule", {"name": "nightly"}),
    *on("monitoring", "DeleteAlarms", {"alarmNames": ["other"]}),
    *on("monitoring", "PutMetricAlarm", {"alarmName": "other"}),
    *on("cloudtrail", "StartLogging AddTags", {"name": "management"}),
    *on("cloudformation", "DeleteStack UpdateStack", {"stackName": "rolewarden-demo"}),
    *on("cloudformation", "CreateChangeSet", {"stackName": "rolewarden"}),
]  # fmt: skip
BY_CLOUDFORMATION = {"sourceIPAddress": "cloudformation.amazonaws.com", "userAgent": "cloudformation.amazonaws.com"}


def record(service, call, changes):
    """An event as EventBridge delivers it."""
    event = sample("self_purge_queue")
    event["source"] = f"aws.{service}"
    event["detail"] |= {
        "eventSource": f"{service}.amazonaws.com",
        "eventName": call,
        "responseElements": None,
    } | changes
    return event


@pytest.fixture(scope="module")
def matched(aws, template):
    """The names of AlertFunction's rules that an event matches."""
    client = boto3.client("events", region_name="us-east-1")
    patterns = {
        rule.name.removeprefix("AlertFunction"): json.dumps(rule.pattern)
        for rule in template.rules()
        if rule.function == "AlertFunction"
    }

    def match(event):
        text = json.dumps(event)
        return [
            name
            for name, pattern in patterns.items()
            if client.test_event_pattern(EventPattern=pattern, Event=text)["Result"]
        ]

    return match


def test_the_moves_are_on_every_queue_and_every_event_source_mapping_of_the_template(template):
    assert set(QUEUES) == set(template.resources("AWS::SQS::Queue"))
    assert set(MAPPINGS) == set(template.resources("AWS::Lambda::EventSourceMapping"))


@pytest.mark.parametrize("rule", MOVES)
def test_every_kind_of_move_matches_its_rule_and_no_other(matched, rule):
    wrong = [(service, call, changes) for service, call, changes in MOVES[rule]
             if matched(record(service, call, changes)) != [rule]]  # fmt: skip
    assert wrong == []


def test_what_people_do_to_what_is_theirs_matches_nothing(matched):
    wrong = [move for move in OF_NO_CONCERN if matched(record(*move))]
    assert wrong == []


@pytest.mark.parametrize("rule", [FUNCTIONS, SOURCES, ROLES, QUEUED, TABLES, TOLD, LOGS, WATCH])
def test_what_cloudformation_calls_in_a_deployment_is_told_by_the_operation_on_the_stack_alone(matched, rule):
    wrong = [
        (service, call)
        for service, call, changes in MOVES[rule]
        if matched(record(service, call, {**changes, **BY_CLOUDFORMATION}))
    ]
    assert wrong == []


def test_a_trail_that_a_stack_changes_is_told_all_the_same(matched):
    [move, *_] = MOVES[GROUND]
    assert matched(record(move[0], move[1], {**move[2], **BY_CLOUDFORMATION})) == [GROUND]


@pytest.mark.parametrize("rule", MOVES)
def test_an_attempt_that_failed_is_told_too_where_the_record_says_on_what(matched, rule):
    service, call, changes = MOVES[rule][0]
    failed = {"errorCode": "InvalidRequestException", "responseElements": None}
    assert matched(record(service, call, {**changes, **failed})) == [rule]


def test_a_denied_call_whose_parameters_are_not_recorded_stays_in_the_trail(matched):
    denied = {"errorCode": "AccessDenied", "requestParameters": None}
    assert matched(record("iam", "DeleteRole", denied)) == []


@pytest.mark.parametrize("rule", MOVES)
def test_what_happens_in_another_account_is_of_no_concern(matched, rule):
    event = record(*MOVES[rule][0])
    assert matched({**event, "account": "444455556666"}) == []


@pytest.mark.parametrize(
    ("service", "call", "parameters"),
    [
        ("dynamodb", "PutItem", {"tableName": "BindingsTable"}),
        ("dynamodb", "DeleteItem", {"tableName": "BindingsTable"}),
        ("lambda", "PutSomething", {"functionName": "EnforceFunction"}),
    ],
)
def test_data_events_which_a_trail_may_log_by_the_thousand_are_left_out(matched, service, call, parameters):
    data = {"requestParameters": parameters, "managementEvent": False}
    assert matched(record(service, call, data)) == []


def test_what_the_functions_do_in_their_work_raises_no_alert(matched):
    own = sample("awkward_own_call")["detail"]["userIdentity"]
    for call, parameters in [
        ("AttachRolePolicy", {"roleName": "CanvasAnalytics", "policyArn": "arn:aws:iam::aws:policy/x"}),
        ("CreatePolicyVersion", {"policyArn": f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/no-generative-ai"}),
        ("DetachRolePolicy", {"roleName": "CanvasAnalytics"}),
    ]:
        assert matched(record("iam", call, {"requestParameters": parameters, "userIdentity": own})) == []


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("finding_role", True),
        ("finding_subject", True),
        ("finding_account", True),
        ("finding_policy_restored", True),
        ("finding_role_contested", True),
    ],
)
def test_findings_of_rolewardens_are_told(matched, name, seen):
    assert (matched(sample(name)) == ["Findings"]) is seen


@pytest.mark.parametrize("kind", ["Role Remedied", "Role Released", "Sweep Completed", "Guardrails Published"])
def test_what_went_well_is_not_told(matched, kind):
    assert matched({**sample("finding_role"), "detail-type": kind}) == []


def test_a_role_that_is_only_observed_to_be_bare_is_not_told(matched):
    event = deepcopy(sample("finding_role"))
    event["detail"]["verdict"] = "drifted"
    assert matched(event) == []


def test_there_is_a_sample_of_a_move_for_every_way_in_which_a_rule_matches(template):
    samples = {
        (event["detail"]["eventSource"], re_undated(event["detail"]["eventName"]))
        for event in map(json.loads, (path.read_text() for path in (ROOT / "events").glob("self_*.json")))
    }
    services = {f"{service}.amazonaws.com" for moves in MOVES.values() for service, _, _ in moves}
    assert {source for source, _ in samples} == services
    told = {(f"{s}.amazonaws.com", re_undated(call)) for moves in MOVES.values() for s, call, _ in moves}
    assert samples <= told


def re_undated(name):
    return name.rstrip("v2").rstrip("0123456789")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("self_*.json")))
def test_every_sample_of_a_move_matches_one_rule(matched, name):
    assert len(matched(sample(name))) == 1
