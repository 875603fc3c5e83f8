"""Moves against Rolewarden itself: each matches one rule of AlertFunction, what is none of its business matches none.

How CloudTrail names what was called and on what: docs/how-to/runbook.md says how sure that is. The events go through
the patterns of the template with everything that it has, with resources under their logical ids and the stack named
`rolewarden`; those of other regions and accounts through the forwarder's and those of the central account's bus.
"""

import json
from copy import deepcopy
from functools import cache

import pytest
from rolewarden import MEMBER_ROLES

from tests.conftest import ROOT, sample
from tests.patterns import matching
from tests.stacks import ACCOUNT, DELETIONS, MEMBER, NOT_APART, forwarder_of_whole, instance, made, whole

pytestmark = pytest.mark.long

LAMBDA = f"arn:aws:lambda:us-east-1:{ACCOUNT}"
RULE = "rolewarden-SweepFunctionSchedule-Yt3Jq0vXw1Zk"
ALARM = "rolewarden-HeartbeatAlarm-1K2L3M4N5O6P"
SUBSCRIPTION = f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic:5be8a1f4"

FUNCTIONS, SOURCES, ROLES, QUEUED, TABLES = (
    "SelfFunctions", "SelfEventSources", "SelfRoles", "SelfQueues", "SelfTables"
)  # fmt: skip
TOLD, LOGS, WATCH, GROUND = "SelfTopicAndKey", "SelfLogs", "SelfRulesAndAlarms", "SelfTrailAndStack"
CENTRAL = "SelfBusAndStackSets"
OWN = (
    "EnforceFunction", "ReconcileFunction", "SweepFunction", "PublishFunction", "DetachFunction", "AlertFunction",
    "SecurityHubFunction",
)  # fmt: skip
WORKED_OFF = ("WorkQueue", "SweepQueue", "DetachQueue", "PublishQueue")
QUEUES = (*WORKED_OFF, "WorkDeadLetterQueue", "EventsDeadLetterQueue", "InvocationsDeadLetterQueue")
MAPPINGS = ("ReconcileFunctionWork", "SweepFunctionRest", "DetachFunctionWork", "PublishFunctionAgain")
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
        *[move for name in ("ForwardersAdministrationRole", "ForwardersExecutionRole", "ForwardRole")
          for move in on("iam", "DeleteRole PutRolePolicy", {"roleName": name})],
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
    CENTRAL: [
        *on(
            "events",
            "PutPermission RemovePermission",
            {"eventBusName": "rolewarden-central", "statementId": "Members"},
        ),
        *on("events", "DeleteEventBus UpdateEventBus", {"name": "rolewarden-central"}),
        *[move for name in ("rolewarden-forwarders", "rolewarden-members", "rolewarden-members:1f357b5b") for move in
          on("cloudformation", "DeleteStackInstances DeleteStackSet StopStackSetOperation UpdateStackInstances "
             "UpdateStackSet", {"stackSetName": name})],
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
    *on("cloudformation", "UpdateStackSet DeleteStackInstances", {"stackSetName": "rolewarden-membership"}),
    *on("cloudformation", "DetectStackSetDrift", {"stackSetName": "rolewarden-members"}),
    *on("events", "PutPermission DeleteEventBus", {"eventBusName": "orders", "name": "orders"}),
    *on("events", "CreateEventBus", {"name": "rolewarden-central"}),
]  # fmt: skip

THERE = f"arn:aws:iam::{MEMBER}:role/rolewarden/rolewarden-"
FORWARDED = [
    *on("events", "DeleteRule DisableRule PutRule", {"name": "rolewarden-forward-roles"}),
    *on("events", "PutTargets RemoveTargets", {"rule": "rolewarden-forward-subjects"}),
    *on("sqs", "AddPermission DeleteQueue PurgeQueue RemovePermission SetQueueAttributes",
        {"queueUrl": f"https://sqs.us-east-1.amazonaws.com/{MEMBER}/rolewarden-undelivered"}),
    *on("cloudformation", "DeleteStack ExecuteChangeSet SetStackPolicy UpdateStack UpdateTerminationProtection",
        {"stackName": instance("members")}),
    *on("cloudformation", "DeleteStack",
        {"stackName": f"arn:aws:cloudformation:us-east-1:{MEMBER}:stack/{instance('members')}/1f357b5b"}),
    *on("cloudtrail", "DeleteTrail StopLogging UpdateTrail", {"name": "management"}),
    *on("cloudtrail", "PutEventSelectors", {"trailName": "management"}),
    *[move for name in (*sorted(MEMBER_ROLES), "rolewarden-forward-us-east-1") for move in
      on("iam", "AttachRolePolicy DetachRolePolicy PutRolePolicy DeleteRolePolicy UpdateAssumeRolePolicy DeleteRole "
         "PutRolePermissionsBoundary DeleteRolePermissionsBoundary", {"roleName": name})],
]  # fmt: skip
"""Moves in another account, against what StackSets has put there."""

NOT_FORWARDED = [
    *on("events", "DeleteRule", {"name": "nightly"}),
    *on("sqs", "PurgeQueue", {"queueUrl": f"https://sqs.us-east-1.amazonaws.com/{MEMBER}/orders"}),
    *on("cloudformation", "DeleteStack UpdateStack", {"stackName": "orders"}),
    *on("cloudtrail", "StartLogging", {"name": "management"}),
    *on("iam", "AttachRolePolicy DeleteRole", {"roleName": "CanvasAnalytics"}),
    *on("iam", "DeleteRole", {"roleName": "rolewarden-enforcer"}),
    *on("iam", "TagRole", {"roleName": "rolewarden-enforce"}),
]
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


@cache
def rules(template, bus="default"):
    """The patterns of a bus' rules that tell AlertFunction or, in a forwarder, the central account."""
    return {
        name.removeprefix("AlertFunction"): rule["EventPattern"]
        for name, rule in template.resources("AWS::Events::Rule").items()
        if "EventPattern" in rule and rule.get("EventBusName", "default") == bus
        if any(target["Arn"].endswith((":AlertFunction", ":event-bus/CentralBus")) for target in rule["Targets"])
    }


@pytest.fixture(scope="module")
def matched(aws):
    """The names of AlertFunction's rules that an event matches."""
    patterns = rules(whole())
    return lambda event: matching(patterns, event)


@pytest.fixture(scope="module")
def told(aws):
    """How often AlertFunction hears of an event of another account or region, over the forwarder that is there."""
    own = rules(whole(), "CentralBus")

    def count(event):
        event = json.loads(json.dumps(event))
        sends = matching(rules(forwarder_of_whole(event["account"], event["region"])), event)
        return len(sends) * len(matching(own, event))

    return count


def elsewhere(move, account=MEMBER, region="us-east-1"):
    """A move as CloudTrail has it in another place."""
    event = record(*move)
    return {**event, "account": account, "region": region}


def test_the_moves_are_on_every_function_role_queue_and_event_source_mapping_of_the_template():
    assert set(QUEUES) == set(whole().resources("AWS::SQS::Queue"))
    assert set(MAPPINGS) == set(whole().resources("AWS::Lambda::EventSourceMapping"))
    assert set(OWN) == set(whole().resources("AWS::Lambda::Function"))


def deletion(logical, kind, properties, place):
    """The record of its being deleted, as who does it would name it."""
    action, parameter, form = DELETIONS[kind]
    service, call = action.replace("cloudwatch", "monitoring").split(":")
    named = [properties[key] for key in ("Name", "StackSetName", "RoleName", "QueueName") if key in properties]
    name = named[0] if named else logical
    name = {
        "AWS::CloudWatch::Alarm": f"rolewarden-{logical}",
        "AWS::Events::Rule": name if named else f"rolewarden-{logical}",
        "AWS::Lambda::LayerVersion": logical[:-10],
        "AWS::SNS::Topic": f"arn:aws:sns:us-east-1:{ACCOUNT}:{logical}",
        "AWS::SQS::Queue": f"https://sqs.{place[1]}.amazonaws.com/{place[0]}/{name}",
    }.get(kind, name)
    of_key = {"resources": [{"ARN": f"arn:aws:kms:us-east-1:{ACCOUNT}:{form.format(name)}"}]}
    parameters = {parameter: [name] if parameter == "alarmNames" else name}
    return service, call, {"requestParameters": parameters, **(of_key if service == "kms" else {})}


def test_whatever_the_template_makes_its_deletion_is_told_once(matched):
    found = [resource for resource in made(whole()) if resource[1] not in NOT_APART]
    wrong = [r[0] for r in found if len(matched(record(*deletion(*r, (ACCOUNT, "us-east-1"))))) != 1]
    assert wrong == []


@pytest.mark.parametrize("place", [(ACCOUNT, "eu-west-1"), (MEMBER, "us-east-1"), (MEMBER, "eu-west-1")])
def test_whatever_a_forwarder_makes_its_deletion_is_told_once(matched, told, place):
    account, region = place
    kept = [resource for resource in made(forwarder_of_whole(*place)) if resource[1] not in NOT_APART]
    of_account = set() if account == ACCOUNT else {"AWS::IAM::Role"}
    assert {kind for _, kind, _ in kept} == {"AWS::Events::Rule", "AWS::SQS::Queue"} | of_account
    for resource in kept:
        move = deletion(*resource, place)
        # IAM has all events in its home region, of the central account on the central account's own bus.
        event = elsewhere(move, account, "us-east-1" if move[0] == "iam" else region)
        heard = len(matched(event)) if (event["account"], event["region"]) == (ACCOUNT, "us-east-1") else told(event)
        assert heard == 1, resource[0]


def test_every_type_of_resource_is_told_of_or_has_a_reason_not_to_be():
    kinds = {kind for _, kind, _ in made(whole())} | {
        resource["Type"] for resource in forwarder_of_whole(MEMBER, "us-east-1").body["Resources"].values()
    }
    assert kinds == DELETIONS.keys() | NOT_APART.keys()
    assert not DELETIONS.keys() & NOT_APART.keys()


def test_moves_in_another_account_are_told_once(told):
    wrong = [move for move in FORWARDED if told(elsewhere(move)) != 1]
    assert wrong == []


def test_in_a_region_that_has_no_iam_events_all_others_are_told(told):
    for service, call, changes in FORWARDED:
        event = json.loads(json.dumps(elsewhere((service, call, changes), region="eu-west-1")).replace(
            "cloudformation:us-east-1", "cloudformation:eu-west-1"))  # fmt: skip
        assert told(event) == (0 if service == "iam" else 1), call


def test_moves_in_another_region_of_the_hubs_account_are_told_once(told):
    wrong = [
        move
        for move in FORWARDED
        if move[0] not in {"iam", "cloudformation"}
        if told(elsewhere(move, ACCOUNT, "eu-west-1")) != 1
    ]
    assert wrong == []


def test_the_functions_own_roles_are_told_of_over_the_bus_where_the_hub_has_no_iam_events():
    patterns = rules(whole(), "CentralBus")
    [there] = [branch["detail"] for branch in patterns["ForwardedToAlert"]["$or"] if branch["source"] == ["aws.iam"]]
    own = patterns["ForwardedOwnRolesToAlert"]["detail"]
    [here] = [p["detail"] for name, p in rules(whole()).items() if name == ROLES]
    assert there["eventName"] == own["eventName"] == here["eventName"]
    _, *members = there["requestParameters"]["roleName"]
    assert own["requestParameters"]["roleName"] == here["requestParameters"]["roleName"]
    assert {member["equals-ignore-case"] for member in members} == MEMBER_ROLES


def test_what_people_do_to_what_is_theirs_in_another_account_is_not_told(told):
    assert [move for move in NOT_FORWARDED if told(elsewhere(move))] == []


def test_what_stacksets_calls_in_another_account_is_not_told_but_a_stopped_trail_is(told):
    heard = [move[1] for move in FORWARDED if told(elsewhere((move[0], move[1], {**move[2], **BY_CLOUDFORMATION})))]
    assert set(heard) == {"DeleteTrail", "StopLogging", "UpdateTrail", "PutEventSelectors"}


def test_what_the_member_roles_do_in_their_work_is_not_told(told):
    identity = sample("awkward_own_call")["detail"]["userIdentity"]
    identity["sessionContext"]["sessionIssuer"]["arn"] = f"{THERE}enforce"
    for role in ("CanvasAnalytics", "rolewarden-sweep"):
        move = ("iam", "AttachRolePolicy", {"requestParameters": {"roleName": role}, "userIdentity": identity})
        assert told(elsewhere(move)) == 0


def test_the_bus_takes_every_source_that_a_forwarder_sends_and_no_other():
    [policy] = whole().resources("AWS::Events::EventBusPolicy").values()
    taken = set(policy["Statement"]["Condition"]["StringEquals"]["events:source"])
    [moves] = [p for name, p in rules(forwarder_of_whole(MEMBER, "us-east-1")).items() if name == "Moves"]
    sources = {branch["eventSource"][0] for branch in moves["detail"]["$or"]}
    sent = {f"aws.{source.removesuffix('.amazonaws.com')}" for source in sources}
    assert taken == sent | {"aws.iam", "aws.sagemaker"}
    told = rules(whole(), "CentralBus")["ForwardedToAlert"]
    assert set(told["$or"][0]["source"]) == sent


@pytest.mark.parametrize("rule", MOVES)
def test_every_kind_of_move_matches_its_rule_and_no_other(matched, rule):
    wrong = [(service, call, changes) for service, call, changes in MOVES[rule]
             if matched(record(service, call, changes)) != [rule]]  # fmt: skip
    assert wrong == []


def recased(move):
    """The move, as a caller makes it who spells the role in another case."""
    service, call, changes = move
    parameters = changes["requestParameters"]
    return service, call, {**changes, "requestParameters": {"roleName": parameters["roleName"].swapcase()}}


def test_a_move_against_a_role_matches_its_rule_in_whatever_case_the_caller_spells_the_role(matched):
    assert [move for move in MOVES[ROLES] if matched(record(*recased(move))) != [ROLES]] == []


def test_a_move_against_a_member_role_is_told_once_in_whatever_case_the_caller_spells_it(told):
    moves = [recased(move) for move in FORWARDED if move[0] == "iam"]
    assert [move for move in moves if told(elsewhere(move)) != 1] == []


def test_a_move_against_the_functions_roles_that_is_forwarded_is_told_once_in_whatever_case(aws):
    over_the_bus = rules(whole(), "CentralBus")
    wrong = [move for move in MOVES[ROLES] for asks in (move, recased(move))
             if len(matching(over_the_bus, record(*asks))) != 1]  # fmt: skip
    assert wrong == []


def test_what_people_do_to_what_is_theirs_matches_nothing(matched):
    wrong = [move for move in OF_NO_CONCERN if matched(record(*move))]
    assert wrong == []


@pytest.mark.parametrize("rule", [FUNCTIONS, SOURCES, ROLES, QUEUED, TABLES, TOLD, LOGS, WATCH, CENTRAL])
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


@pytest.mark.parametrize("kind", ["Role Remediated", "Surplus Detached", "Sweep Completed", "Guardrails Published"])
def test_what_went_well_is_not_told(matched, kind):
    assert matched({**sample("finding_role"), "detail-type": kind}) == []


def test_a_role_that_is_only_observed_to_be_bare_is_not_told(matched):
    event = deepcopy(sample("finding_role"))
    event["detail"]["verdict"] = "drifted"
    assert matched(event) == []


def test_every_rule_on_moves_has_a_sample_and_every_sample_is_a_move(matched):
    names = [path.stem for path in (ROOT / "events").glob("self_*.json")]
    assert {rule for name in names for rule in matched(sample(name))} == MOVES.keys()
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


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("member_*.json")))
def test_every_sample_of_a_move_in_another_account_is_told_once(told, name):
    assert told(sample(name)) == 1
