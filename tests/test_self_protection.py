"""Tampering with Rolewarden itself matches one rule of AlertFunction, and other calls match none.

docs/how-to/runbook.md says how certain CloudTrail's names of calls and resources are. The events are matched with
the patterns of the template with all its resources, with their logical IDs as names and the stack name
`rolewarden`. Events of other regions and accounts are matched with the forwarder's and the central bus's patterns.
"""

import json
from copy import deepcopy

import pytest
from rolewarden import MEMBER_ROLES

from tests.conftest import ROOT, sample
from tests.patterns import matching
from tests.stacks import ACCOUNT, CANARY, DELETIONS, ID, MEMBER, NOT_APART, forwarder_of_whole, instance, made, whole
from tests.tampering import ALARM, KEY, LAMBDA, RULE, STACK, SUBSCRIPTION, queue, record, rules

pytestmark = pytest.mark.long

OF_POLICIES, OF_LOGS = "SelfFunctionPolicies", "SelfLogPolicies"
FUNCTIONS, SOURCES, ROLES, QUEUED, TABLES = (
    "SelfFunctions", "SelfEventSources", "SelfRoles", "SelfQueues", "SelfTables"
)  # fmt: skip
TOLD, LOGS, WATCH, GROUND = "SelfTopicAndKey", "SelfLogs", "SelfRulesAndAlarms", "SelfTrailAndStack"
CENTRAL = "SelfBusAndStackSets"
OWN = (
    "EnforceFunction", "ReconcileFunction", "SweepFunction", "PublishFunction", "DetachFunction", "DrillFunction",
    "AlertFunction", "SecurityHubFunction",
)  # fmt: skip
WORKED_OFF = ("WorkQueue", "SweepQueue", "DetachQueue", "PublishQueue")
QUEUES = (*WORKED_OFF, "WorkDeadLetterQueue", "EventsDeadLetterQueue", "InvocationsDeadLetterQueue")
MAPPINGS = ("ReconcileFunctionWork", "SweepFunctionRest", "DetachFunctionWork", "PublishFunctionAgain")


def on(service, calls, parameters, **more):
    return [(service, call, {"requestParameters": parameters, **more}) for call in calls.split()]


MOVES = {
    "SelfRolesPassed": on(
        "lambda", "CreateFunction20150331 UpdateFunctionConfiguration20150331v2",
        {"functionName": "theirs", "role": f"arn:aws:iam::{ACCOUNT}:role/rolewarden/PublishFunctionRole"},
    ),
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
    OF_POLICIES: [
        *[move for name in OWN for form in (name, f"{name}:$LATEST") for move in
          on("lambda", "PutResourcePolicy DeleteResourcePolicy", {"resourceArn": f"{LAMBDA}:function:{form}"})],
    ],
    SOURCES: [
        *[move for name in MAPPINGS for spelling in ("uUID", "uuid")
          for move in
          on("lambda", "UpdateEventSourceMapping20150331 DeleteEventSourceMapping20150331", {spelling: name})],
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
        *[move for name in QUEUES if name not in WORKED_OFF for move in
          on("sqs", "StartMessageMoveTask", {"sourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}",
                                             "destinationArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:swallow"})],
    ],
    TABLES: [
        *[move for name in ("BindingsTable", "HistoryTable") for move in
          on("dynamodb", "DeleteTable UpdateTable UpdateTimeToLive UpdateContinuousBackups", {"tableName": name})],
        *on("dynamodb", "DeleteTable", {"tableName": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/BindingsTable"}),
        *on("dynamodb", "PutResourcePolicy DeleteResourcePolicy",
            {"resourceArn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/BindingsTable"}),
        *on("dynamodb", "DisableKinesisStreamingDestination EnableKinesisStreamingDestination",
            {"tableName": "HistoryTable"}),
        *on("dynamodb", "CreateGlobalTable UpdateGlobalTable", {"globalTableName": "rolewarden-HistoryTable-1A2B"}),
        *on("dynamodb", "UpdateTable", {}, responseElements={"tableDescription": {"tableName": "HistoryTable"}}),
    ],
    TOLD: [
        *on("sns", "AddPermission DeleteTopic RemovePermission SetTopicAttributes",
            {"topicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"}),
        *on("sns", "PutDataProtectionPolicy", {"resourceArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"}),
        *on("sns", "SetSubscriptionAttributes Unsubscribe", {"subscriptionArn": SUBSCRIPTION}),
        *on("kms", "DeleteImportedKeyMaterial DisableKey DisableKeyRotation PutKeyPolicy RetireGrant RevokeGrant "
            "ScheduleKeyDeletion", {"keyId": "alias/x"}, **KEY),
    ],
    LOGS: [
        *[move for name in OWN for move in
          on("logs", "AssociateKmsKey DeleteLogGroup DeleteLogStream DeleteRetentionPolicy DisassociateKmsKey "
             "PutRetentionPolicy", {"logGroupName": name.replace("Function", "Logs")})],
        # The rule for the newer calls has no room for the log group of DrillFunction.
        *[move for form in ("", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:") for move in on(
            "logs", "DeleteTransformer PutDataProtectionPolicy PutLogGroupDeletionProtection PutTransformer",
            {"logGroupIdentifier": f"{form}DrillLogs"})],
    ],
    OF_LOGS: [
        *[move for name in OWN if name != "DrillFunction"
          for form in ("", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:") for move in
          on("logs", "DeleteTransformer PutDataProtectionPolicy PutLogGroupDeletionProtection PutTransformer",
             {"logGroupIdentifier": form + name.replace("Function", "Logs")})],
        *on("logs", "AssociateKmsKey DisassociateKmsKey",
            {"resourceIdentifier": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:rolewarden-EnforceLogs-1A"}),
        *on("logs", "DeleteResourcePolicy PutResourcePolicy",
            {"resourceArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:rolewarden-EnforceLogs-1A"}),
    ],
    WATCH: [
        *on("events", "StartReplay", {"replayName": "again"}),
        *on("events", "DeleteRule DisableRule PutRule", {"name": RULE}),
        *on("events", "PutTargets RemoveTargets", {"rule": RULE}),
        *on("monitoring", "DeleteAlarms DisableAlarmActions", {"alarmNames": ["other", ALARM]}),
        *on("monitoring", "PutCompositeAlarm PutMetricAlarm SetAlarmState", {"alarmName": ALARM}),
        *on("monitoring", "AssociateDatasetKmsKey", {"datasetIdentifier": "default"}),
        *on("monitoring", "PutAlarmMuteRule", {"name": "quiet", "muteTargets": {"alarmNames": [ALARM]}}),
    ],
    CENTRAL: [
        *on("cloudformation", "DeactivateOrganizationsAccess", {}),
        *on(
            "events",
            "PutPermission RemovePermission",
            {"eventBusName": "rolewarden-central", "statementId": "Members"},
        ),
        *on("events", "DeleteEventBus UpdateEventBus", {"name": "rolewarden-central"}),
        *[move for name in ("rolewarden-forwarders", "rolewarden-members", "rolewarden-members:1f357b5b") for move in
          on("cloudformation", "CreateStackInstances DeleteStackInstances DeleteStackSet ImportStacksToStackSet "
             "StopStackSetOperation UpdateStackInstances UpdateStackSet", {"stackSetName": name})],
    ],
    GROUND: [
        *on("logs", "PutAccountPolicy", {"policyType": "METRIC_EXTRACTION_POLICY"}),
        *on("cloudtrail", "DeleteTrail StopLogging UpdateTrail", {"name": "management"}),
        *on("cloudtrail", "PutEventSelectors", {"trailName": "management"}),
        *on("cloudformation", "CancelUpdateStack ContinueUpdateRollback DeleteStack ExecuteChangeSet RollbackStack "
            "SetStackPolicy UpdateStack UpdateTerminationProtection", {"stackName": "rolewarden"}),
        *on("cloudformation", "DeleteStack", {"stackName": STACK}),
        *on("cloudformation", "ImportStacksToStackSet", {"stackSetName": "other", "stackIds": [STACK]}),
        *on("cloudformation", "CreateStackRefactor",
            {"stackDefinitions": [{"stackName": "other"}, {"stackName": "rolewarden"}]}),
    ],
}  # fmt: skip
"""Every kind of tampering, by the rule that must match it: service, event, and fields of the record."""

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
    *on("sqs", "StartMessageMoveTask", {"sourceArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:WorkDeadLetterQueue"}),
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
        {"stackName": f"arn:aws:cloudformation:us-east-1:{MEMBER}:stack/{instance('members')}/{ID}"}),
    *on("cloudtrail", "DeleteTrail StopLogging UpdateTrail", {"name": "management"}),
    *on("cloudtrail", "PutEventSelectors", {"trailName": "management"}),
    *[move for name in (*sorted(MEMBER_ROLES), "rolewarden-forward-us-east-1") for move in
      on("iam", "AttachRolePolicy DetachRolePolicy PutRolePolicy DeleteRolePolicy UpdateAssumeRolePolicy DeleteRole "
         "PutRolePermissionsBoundary DeleteRolePermissionsBoundary", {"roleName": name})],
]  # fmt: skip
"""Tampering with resources of StackSets in another account."""

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


@pytest.fixture(scope="module")
def matched(aws):
    """The names of AlertFunction's rules that an event matches."""
    patterns = rules(whole())
    return lambda event: matching(patterns, event)


@pytest.fixture(scope="module")
def alerts(aws):
    """The number of alerts for an event of another account or region, delivered by its forwarder."""
    own = rules(whole(), "CentralBus")

    def count(event):
        event = json.loads(json.dumps(event))
        sends = matching(rules(forwarder_of_whole(event["account"], event["region"])), event)
        return len(sends) * len(matching(own, event))

    return count


def elsewhere(move, account=MEMBER, region="us-east-1"):
    """The record of tampering in another account or region."""
    event = record(*move)
    return {**event, "account": account, "region": region}


def test_the_tampering_cases_cover_every_function_role_queue_and_event_source_mapping():
    assert set(QUEUES) == set(whole().resources("AWS::SQS::Queue"))
    assert set(MAPPINGS) == set(whole().resources("AWS::Lambda::EventSourceMapping"))
    assert set(OWN) == set(whole().resources("AWS::Lambda::Function"))


def deletion(logical, kind, properties, place):
    """The record of a resource's deletion, with the name that a caller would use."""
    action, parameter, form = DELETIONS[kind]
    service, call = action.replace("cloudwatch", "monitoring").split(":")
    # In a template that is not deployed, the rules have the logical ID as the name of a queue.
    keys = ("Name", "StackSetName", "RoleName", *(("QueueName",) if logical not in QUEUES else ()))
    named = [properties[key] for key in keys if key in properties]
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


def test_the_deletion_of_every_resource_of_the_template_is_reported_once(matched):
    found = [resource for resource in made(whole()) if resource[1] not in NOT_APART and resource[0] != CANARY]
    wrong = [r[0] for r in found if len(matched(record(*deletion(*r, (ACCOUNT, "us-east-1"))))) != 1]
    assert wrong == []


@pytest.mark.parametrize("place", [(ACCOUNT, "eu-west-1"), (MEMBER, "us-east-1"), (MEMBER, "eu-west-1")])
def test_the_deletion_of_every_resource_of_a_forwarder_is_reported_once(matched, alerts, place):
    account, region = place
    kept = [r for r in made(forwarder_of_whole(*place)) if r[1] not in NOT_APART and r[0] != CANARY]
    of_account = set() if account == ACCOUNT else {"AWS::IAM::Role"}
    assert {kind for _, kind, _ in kept} == {"AWS::Events::Rule", "AWS::SQS::Queue"} | of_account
    for resource in kept:
        move = deletion(*resource, place)
        # IAM has all events in its home region. Those of the central account are on its own bus.
        event = elsewhere(move, account, "us-east-1" if move[0] == "iam" else region)
        heard = len(matched(event)) if (event["account"], event["region"]) == (ACCOUNT, "us-east-1") else alerts(event)
        assert heard == 1, resource[0]


def test_every_type_of_resource_is_monitored_or_has_a_reason_against_it():
    kinds = {kind for _, kind, _ in made(whole())} | {
        resource["Type"] for resource in forwarder_of_whole(MEMBER, "us-east-1").body["Resources"].values()
    }
    assert kinds == DELETIONS.keys() | NOT_APART.keys()
    assert not DELETIONS.keys() & NOT_APART.keys()


def test_tampering_in_another_account_is_reported_once(alerts):
    wrong = [move for move in FORWARDED if alerts(elsewhere(move)) != 1]
    assert wrong == []


def test_tampering_without_iam_is_reported_in_a_region_without_iam_events(alerts):
    for service, call, changes in FORWARDED:
        event = json.loads(json.dumps(elsewhere((service, call, changes), region="eu-west-1")).replace(
            "cloudformation:us-east-1", "cloudformation:eu-west-1"))  # fmt: skip
        assert alerts(event) == (0 if service == "iam" else 1), call


def test_tampering_in_another_region_of_the_central_account_is_reported_once(alerts):
    wrong = [
        move
        for move in FORWARDED
        if move[0] not in {"iam", "cloudformation"}
        if alerts(elsewhere(move, ACCOUNT, "eu-west-1")) != 1
    ]
    assert wrong == []


def test_changes_of_the_functions_roles_are_reported_over_the_bus_without_local_iam_events():
    patterns = rules(whole(), "CentralBus")
    [there] = [branch["detail"] for branch in patterns["ForwardedToAlert"]["$or"] if branch["source"] == ["aws.iam"]]
    own = patterns["ForwardedOwnRolesToAlert"]["detail"]
    [here] = [p["detail"] for name, p in rules(whole()).items() if name == ROLES]
    assert there["eventName"] == own["eventName"] == here["eventName"]
    _, *members = there["requestParameters"]["roleName"]
    assert own["requestParameters"]["roleName"] == here["requestParameters"]["roleName"]
    assert {member["equals-ignore-case"] for member in members} == MEMBER_ROLES


def test_changes_of_other_resources_in_another_account_are_not_reported(alerts):
    assert [move for move in NOT_FORWARDED if alerts(elsewhere(move))] == []


def test_alertfunction_gets_the_calls_of_stacksets_in_another_account(alerts):
    calls = [elsewhere((service, name, {**more, **BY_CLOUDFORMATION})) for service, name, more in FORWARDED]
    assert {alerts(call) for call in calls} == {1}


def test_the_work_of_member_roles_is_not_reported(alerts):
    identity = sample("awkward_own_call")["detail"]["userIdentity"]
    identity["sessionContext"]["sessionIssuer"]["arn"] = f"{THERE}enforce"
    for role in ("CanvasAnalytics", "rolewarden-sweep"):
        move = ("iam", "AttachRolePolicy", {"requestParameters": {"roleName": role}, "userIdentity": identity})
        assert alerts(elsewhere(move)) == 0


def test_the_bus_accepts_every_source_that_a_forwarder_sends_and_no_other():
    [policy] = whole().resources("AWS::Events::EventBusPolicy").values()
    taken = set(policy["Statement"]["Condition"]["StringEquals"]["events:source"])
    [moves] = [p for name, p in rules(forwarder_of_whole(MEMBER, "us-east-1")).items() if name == "Moves"]
    sources = {branch["eventSource"][0] for branch in moves["detail"]["$or"]}
    sent = {f"aws.{source.removesuffix('.amazonaws.com')}" for source in sources}
    assert taken == sent | {"aws.iam", "aws.sagemaker"}
    alerts = rules(whole(), "CentralBus")["ForwardedToAlert"]
    assert set(alerts["$or"][0]["source"]) == sent


@pytest.mark.parametrize("rule", MOVES)
def test_every_kind_of_tampering_matches_its_rule_and_no_other(matched, rule):
    wrong = [(service, call, changes) for service, call, changes in MOVES[rule]
             if matched(record(service, call, changes)) != [rule]]  # fmt: skip
    assert wrong == []


def recased(move):
    """The record of tampering by a caller that spells the role in another case."""
    service, call, changes = move
    parameters = changes["requestParameters"]
    return service, call, {**changes, "requestParameters": {"roleName": parameters["roleName"].swapcase()}}


def test_tampering_with_a_role_matches_its_rule_in_every_case_of_the_name(matched):
    assert [move for move in MOVES[ROLES] if matched(record(*recased(move))) != [ROLES]] == []


def test_tampering_with_a_member_role_is_reported_once_in_every_case_of_the_name(alerts):
    moves = [recased(move) for move in FORWARDED if move[0] == "iam"]
    assert [move for move in moves if alerts(elsewhere(move)) != 1] == []


def test_forwarded_tampering_with_the_functions_roles_is_reported_once_in_every_case_of_the_name(aws):
    over_the_bus = rules(whole(), "CentralBus")
    wrong = [move for move in MOVES[ROLES] for asks in (move, recased(move))
             if len(matching(over_the_bus, record(*asks))) != 1]  # fmt: skip
    assert wrong == []


def test_changes_of_other_resources_match_no_rule(matched):
    wrong = [move for move in OF_NO_CONCERN if matched(record(*move))]
    assert wrong == []


@pytest.mark.parametrize("rule", [rule for rule in MOVES if rule != GROUND])
def test_alertfunction_gets_the_calls_of_cloudformation_and_decides_by_their_stack(matched, rule):
    wrong = [
        (service, call)
        for service, call, changes in MOVES[rule]
        if matched(record(service, call, {**changes, **BY_CLOUDFORMATION})) != [rule]
    ]
    assert wrong == []


def test_a_trail_that_a_stack_changes_is_reported(matched):
    [move, *_] = MOVES[GROUND]
    assert matched(record(move[0], move[1], {**move[2], **BY_CLOUDFORMATION})) == [GROUND]


@pytest.mark.parametrize("rule", MOVES)
def test_a_failed_attempt_is_reported_if_the_record_has_its_resource(matched, rule):
    service, call, changes = MOVES[rule][0]
    failed = {"errorCode": "InvalidRequestException", "responseElements": None}
    assert matched(record(service, call, {**changes, **failed})) == [rule]


def test_a_denied_call_without_recorded_parameters_is_not_reported(matched):
    denied = {"errorCode": "AccessDenied", "requestParameters": None}
    assert matched(record("iam", "DeleteRole", denied)) == []


@pytest.mark.parametrize("rule", MOVES)
def test_calls_in_another_account_match_no_rule(matched, rule):
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
def test_data_events_match_no_rule(matched, service, call, parameters):
    data = {"requestParameters": parameters, "managementEvent": False}
    assert matched(record(service, call, data)) == []


def test_the_work_of_the_functions_sends_no_alert(matched):
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
def test_findings_of_rolewarden_send_an_alert(matched, name, seen):
    assert (matched(sample(name)) == ["Findings"]) is seen


@pytest.mark.parametrize("kind", ["Role Remediated", "Surplus Detached", "Sweep Completed", "Guardrails Published"])
def test_remediations_send_no_alert(matched, kind):
    assert matched({**sample("finding_role"), "detail-type": kind}) == []


def test_an_unprotected_role_in_observe_mode_sends_no_alert(matched):
    event = deepcopy(sample("finding_role"))
    event["detail"]["verdict"] = "drifted"
    assert matched(event) == []


def test_every_rule_on_tampering_has_a_sample_and_every_sample_is_tampering(matched):
    names = [path.stem for path in (ROOT / "events").glob("self_*.json")]
    assert {rule for name in names for rule in matched(sample(name))} == MOVES.keys()
    samples = {
        (event["detail"]["eventSource"], re_undated(event["detail"]["eventName"]))
        for event in map(json.loads, (path.read_text() for path in (ROOT / "events").glob("self_*.json")))
    }
    services = {f"{service}.amazonaws.com" for moves in MOVES.values() for service, _, _ in moves}
    assert {source for source, _ in samples} == services
    alerts = {(f"{s}.amazonaws.com", re_undated(call)) for moves in MOVES.values() for s, call, _ in moves}
    assert samples <= alerts


def re_undated(name):
    return name.rstrip("v2").rstrip("0123456789")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("self_*.json")))
def test_every_sample_of_tampering_matches_one_rule(matched, name):
    assert len(matched(sample(name))) == 1


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "events").glob("member_*.json")))
def test_every_sample_of_tampering_in_another_account_is_reported_once(alerts, name):
    assert alerts(sample(name)) == 1
