"""Callers with exactly the named permissions cannot change the tables, or make the deployed stack unprotect a role.

Forged input, such as messages and events, does not help them. The stack has `surplus: detach` and `OnDelete=remove`.
To add an attack, give `may` the permissions, make the calls, and check the roles.
"""

import io
import json
import shutil
import time
import zipfile
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden.bindings import RoleKey
from rolewarden.policies import DESCRIPTION
from rolewarden.verdicts import Verdict
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.seed import ANALYTICS, TRUST

from tests.callers import user_with
from tests.conftest import ROOT
from tests.deployments import left_by_deletion, physical, resources
from tests.inbox import subscribed
from tests.stacks import translated

pytestmark = pytest.mark.deployed


ACCOUNT = "111122223333"
POLICY = "no-generative-ai"
ARN = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/{POLICY}"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/Operator"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
HARMLESS = EVERYTHING.replace('"Action": "*"', '"Action": "s3:ListAllMyBuckets"')
OMAR = {"scope": ACCOUNT, "item": "us-east-1/d-analytics0001/user-profile#omar#execution"}


@pytest.fixture(scope="module")
def account(build):
    aws = LocalAws.start()
    aws.reset()
    # Another line in guardrails.yaml needs no other build. The build names files of the project by relative paths.
    folder = build.with_name("build-with-surplus")
    shutil.copytree(build, folder)
    rules = folder / "GuardrailsLayer" / "python" / "rolewarden_rules" / "guardrails.json"
    rules.write_text(json.dumps(json.loads(rules.read_text()) | {"surplus": "detach"}))
    with aws.serving() as url, aws.authorizing():
        parameters = {"OnDelete": "remove", "OperatorArn": OPERATOR}
        made = Account.made(aws, url, ROOT, folder, lambda _: None, parameters=parameters)
        yield made
        aws.reset()


@pytest.fixture
def may(account):
    """A function that makes an IAM user with exactly these actions on everything, and gives clients of the user."""
    iam = account.client("iam")
    made: list[str] = []

    def user(*actions):
        name = f"attacker-{len(made)}"
        made.append(name)
        return user_with(iam, name, *actions).client

    yield user
    for name in made:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="Only")
        iam.delete_user(UserName=name)


@pytest.fixture(scope="module")
def operator(account):
    """A client of DynamoDB with the one role, besides those of the functions, that can write to the tables."""
    iam = account.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="Operator", AssumeRolePolicyDocument=document)
    allowed = {"Effect": "Allow", "Action": ["dynamodb:UpdateItem", "dynamodb:Query"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="Operator", PolicyName="Write", PolicyDocument=document)
    given = account.client("sts").assume_role(RoleArn=OPERATOR, RoleSessionName="operator")["Credentials"]
    keys = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
    return boto3.Session(*keys, region_name=REGION).client("dynamodb")


@pytest.fixture(scope="module")
def only(account):
    """A function that makes a user with exactly these permissions, and returns a session of the user."""
    return lambda *actions: user_with(account.client("iam"), actions[0].partition(":")[2], *actions)


@pytest.fixture(scope="module")
def invoker(only):
    return only("lambda:InvokeFunction").client("lambda")


@pytest.fixture(scope="module")
def sender(only):
    return only("sqs:SendMessage").client("sqs")


@pytest.fixture(scope="module")
def putter(only):
    """A function that puts events with these details on the default bus, for a user with only events:PutEvents."""
    events = only("events:PutEvents").client("events")

    def put(kind, *details, source="rolewarden"):
        entries = [{"Source": source, "DetailType": kind, "Detail": json.dumps(detail)} for detail in details]
        for start in range(0, len(entries), 10):
            assert events.put_events(Entries=entries[start : start + 10])["FailedEntryCount"] == 0

    return put


@pytest.fixture(scope="module")
def inbox(account):
    return subscribed(account.client, account.outputs["AlarmTopic"])


def tampers(account, number):
    """Change a role of Rolewarden, which is a mail. The mails about all earlier events arrive before it."""
    role = physical(account, "DetachFunctionRole")
    account.client("iam", "mallory").put_role_policy(
        RoleName=role, PolicyName=f"Nothing{number}", PolicyDocument=json.dumps(NOTHING)
    )
    account.client("iam", "mallory").delete_role_policy(RoleName=role, PolicyName=f"Nothing{number}")


def queues_of(account):
    found = resources(account.client("cloudformation"))
    return [each["PhysicalResourceId"] for each in found if each["ResourceType"] == "AWS::SQS::Queue"]


def row(scope, item, **attributes):
    return {"scope": {"S": scope}, "item": {"S": item}, **attributes}


def wrong_role(table):
    """The parameters of UpdateItem that give CanvasOmar's user profile another role, read at a time in the future."""
    return {
        "TableName": table,
        "Key": {name: {"S": value} for name, value in OMAR.items()},
        "UpdateExpression": "SET #role = :role, role_name = :name, read_at = :at",
        "ExpressionAttributeNames": {"#role": "role"},
        "ExpressionAttributeValues": {
            ":role": {"S": f"{ACCOUNT}/buildserver"},
            ":name": {"S": "BuildServer"},
            ":at": {"N": "99999999999"},
        },
    }


def last_sweep(table):
    """The parameters of PutItem that record a sweep by other rules, later than any other."""
    return {"TableName": table, "Item": row(f"sweep/{ACCOUNT}", "99999999999.000", rules={"S": "others"})}


WRITES = {
    "UpdateItem": lambda client, table: client.update_item(**wrong_role(table)),
    "PutItem": lambda client, table: client.put_item(**last_sweep(table)),
    "DeleteItem": lambda client, table: client.delete_item(TableName=table, Key=wrong_role(table)["Key"]),
    "BatchWriteItem": lambda client, table: client.batch_write_item(
        RequestItems={table: [{"PutRequest": {"Item": last_sweep(table)["Item"]}}]}
    ),
    "PartiQLInsert": lambda client, table: client.execute_statement(
        Statement=f"INSERT INTO \"{table}\" VALUE {{'scope': 'health', 'item': '{ACCOUNT}'}}"
    ),
    "PartiQLUpdate": lambda client, table: client.execute_statement(
        Statement=f"UPDATE \"{table}\" SET modified = 'x' WHERE scope = '{ACCOUNT}' AND item = '{OMAR['item']}'"  # noqa: S608
    ),
    "PartiQLDelete": lambda client, table: client.execute_statement(
        Statement=f"DELETE FROM \"{table}\" WHERE scope = '{ACCOUNT}' AND item = '{OMAR['item']}'"  # noqa: S608
    ),
}


@pytest.mark.parametrize("output", ["BindingsTable", "HistoryTable"])
def test_every_write_to_a_table_is_denied_and_reads_stay_open(account, may, output):
    client, table = may("dynamodb:*")("dynamodb"), account.outputs[output]
    for write in WRITES.values():
        with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
            write(client, table)
    assert client.scan(TableName=table)["Count"] > 0


@pytest.mark.parametrize("action", WRITES)
def test_a_caller_with_one_permission_to_write_cannot_unprotect_a_role(account, may, action):
    with pytest.raises(ClientError):
        WRITES[action](may(f"dynamodb:{action}")("dynamodb"), account.outputs["BindingsTable"])
    assert account.has_attached("CanvasOmar", [POLICY])


def test_a_wrong_row_and_a_message_do_not_make_the_detaching_function_detach(account, may, operator):
    operator.update_item(**wrong_role(account.outputs["BindingsTable"]))
    assert not [binding for binding in account.bindings.all() if binding.role and binding.role.name == "CanvasOmar"]
    function = physical(account, "DetachFunction")
    body = json.dumps({"account": ACCOUNT, "role": "CanvasOmar", "policies": [POLICY]})
    record = {"messageId": "1", "body": body, "eventSource": "aws:sqs"}
    may("lambda:InvokeFunction")("lambda").invoke(FunctionName=function, Payload=json.dumps({"Records": [record]}))
    assert account.has_attached("CanvasOmar", [POLICY])
    # The row can be corrected, although its time is in the future.
    account.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar", UserSettings={})
    waited(lambda: "CanvasOmar" in {b.role.name for b in account.bindings.all() if b.role}, "the row is corrected")


def test_a_policy_of_another_caller_under_the_path_is_attached_to_no_role(account, may):
    may("iam:CreatePolicy")("iam").create_policy(PolicyName="x", Path="/rolewarden/", PolicyDocument=EVERYTHING)
    account.client("iam").tag_role(RoleName="CanvasOmar", Tags=[{"Key": "touched", "Value": "yes"}])
    waited(account.is_swept, "the work is done")
    assert account.aws.roles_with_policy(ARN.replace(POLICY, "x")) == frozenset()
    account.iam.delete_policy(PolicyArn=ARN.replace(POLICY, "x"))


def test_a_policy_that_takes_the_name_of_a_guardrail_is_not_attached_before_it_is_restored(account, may):
    squatter = may("iam:CreatePolicyVersion")("iam")
    squatter.create_policy_version(PolicyArn=ARN, PolicyDocument=EVERYTHING, SetAsDefault=True)
    may("iam:DetachRolePolicy")("iam").detach_role_policy(RoleName="CanvasOmar", PolicyArn=ARN)
    waited(lambda: account.in_force(POLICY) and account.has_attached("CanvasOmar", [POLICY]), "restored and attached")
    attached_while_foreign = False
    is_foreign = False
    for event in LocalAws.start().events:
        name, said = event["detail"]["eventName"], event["detail"]["requestParameters"] or {}
        if "errorCode" in event["detail"] or said.get("policyArn") != ARN:
            continue
        if name == "CreatePolicyVersion":
            is_foreign = "attacker" in event["detail"]["userIdentity"]["arn"]
        attached_while_foreign |= is_foreign and name == "AttachRolePolicy"
    assert not attached_while_foreign


def problems(account):
    """The problems that SweepFunction finds in the parts of the central stack, with its own permissions."""
    sweep = account.client("lambda", "auditor")
    names = [each["FunctionName"] for each in sweep.list_functions()["Functions"]]
    [function] = [name for name in names if name.startswith("rolewarden-SweepFunction-")]
    answer = sweep.invoke(FunctionName=function, Payload=json.dumps({"step": "doctor"}))
    probes = json.loads(answer["Payload"].read())["probes"]
    found = [probe["message"] for probe in probes if probe["what"] == "central stack" and "message" in probe]
    return sorted(problem for message in found for problem in message.split("; "))


def test_the_sweep_finds_each_part_of_the_stack_that_a_caller_silences(account, may):
    assert problems(account) == []
    stack = resources(account.client("cloudformation"))
    named = {found["LogicalResourceId"]: found["PhysicalResourceId"] for found in stack}

    events, rule = may("events:PutRule")("events"), named["AlertFunctionSelfRulesAndAlarms"]
    pattern = account.client("events").describe_rule(Name=rule)["EventPattern"]
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["nobody.sends.this"]}))
    may("events:DisableRule")("events").disable_rule(Name=named["EnforceFunctionRoles"])
    mappings = may("lambda:UpdateEventSourceMapping", "lambda:PutFunctionConcurrency")("lambda")
    mappings.update_event_source_mapping(UUID=named["PublishFunctionAgain"], Enabled=False)
    function = named["AlertFunction"]
    mappings.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    may("cloudwatch:DisableAlarmActions")("cloudwatch").disable_alarm_actions(AlarmNames=[named["HeartbeatAlarm"]])
    assert problems(account) == [
        "alarm HeartbeatAlarm does not notify the topic",
        "mapping PublishFunctionAgain is disabled, so its function reads no messages",
        "rule AlertFunctionSelfRulesAndAlarms selects other events than its template says",
        "rule EnforceFunctionRoles is disabled",
        "the reserved concurrency of AlertFunction is 0, so it does not run",
    ]

    events.put_rule(Name=rule, EventPattern=pattern)
    account.client("events").enable_rule(Name=named["EnforceFunctionRoles"])
    mappings.update_event_source_mapping(UUID=named["PublishFunctionAgain"], Enabled=True)
    account.client("lambda").delete_function_concurrency(FunctionName=function)
    account.client("cloudwatch").enable_alarm_actions(AlarmNames=[named["HeartbeatAlarm"]])
    assert problems(account) == []


def test_the_sweep_finds_each_part_that_looks_alive_but_has_another_definition(account, may):
    stack = resources(account.client("cloudformation"))
    named = {found["LogicalResourceId"]: found["PhysicalResourceId"] for found in stack}
    topic, key, mapping = named["AlarmTopic"], named["AlarmKey"], named["ReconcileFunctionWork"]
    [alarm] = account.client("cloudwatch").describe_alarms(AlarmNames=[named["AlertErrorsAlarm"]])["MetricAlarms"]
    attributes = account.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]

    metrics = may("cloudwatch:PutMetricAlarm", "cloudwatch:PutAlarmMuteRule")("cloudwatch")
    given = set(metrics.meta.service_model.operation_model("PutMetricAlarm").input_shape.members)
    before = {name: value for name, value in alarm.items() if name in given}
    metrics.put_metric_alarm(**before | {"Threshold": 1e9})
    schedule = {"Schedule": {"Expression": "cron(0 0 * * *)", "Duration": "PT24H"}}
    muted = {"AlarmNames": [named["EventsDeadLetterQueueAlarm"]]}
    metrics.put_alarm_mute_rule(Name="quiet", Rule=schedule, MuteTargets=muted)
    mappings = may("lambda:UpdateEventSourceMapping")("lambda")
    nothing = {"Filters": [{"Pattern": '{"body": {"nothing": ["x"]}}'}]}
    mappings.update_event_source_mapping(UUID=mapping, FilterCriteria=nothing)
    sns = may("sns:SetTopicAttributes", "sns:PutDataProtectionPolicy")("sns")
    policy = json.loads(attributes["Policy"])
    policy["Statement"].append({"Effect": "Deny", "Principal": "*", "Action": "sns:Publish", "Resource": topic})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy))
    may("kms:DisableKey")("kms").disable_key(KeyId=key)
    assert problems(account) == [
        "alarm AlertErrorsAlarm has another Threshold than its template",
        "alarm EventsDeadLetterQueueAlarm is muted by the mute rule quiet",
        "key AlarmKey is Disabled, so alarms and alerts reach nobody",
        "mapping ReconcileFunctionWork has another FilterCriteria than its template",
        "the policy of AlarmTopic is not that of its template, so it may refuse alarms and alerts",
    ]

    account.client("kms").enable_key(KeyId=key)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=attributes["Policy"])
    sns.set_topic_attributes(TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue="alias/aws/sns")
    mappings.update_event_source_mapping(UUID=mapping, FilterCriteria={}, FunctionResponseTypes=[])
    account.client("cloudwatch").delete_alarm_mute_rule(AlarmMuteRuleName="quiet")
    metrics.put_metric_alarm(**before)
    assert problems(account) == [
        "AlarmTopic has another key than AlarmKey, so alarms may not reach it",
        "mapping ReconcileFunctionWork has another FunctionResponseTypes than its template",
    ]

    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue=attributes["KmsMasterKeyId"]
    )
    mappings.update_event_source_mapping(UUID=mapping, FunctionResponseTypes=["ReportBatchItemFailures"])
    sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy='{"Statement": []}')
    assert problems(account) == [
        "AlarmTopic has a data protection policy, which may refuse or change alarms and alerts"
    ]
    sns.put_data_protection_policy(ResourceArn=topic, DataProtectionPolicy="")
    assert problems(account) == []


def test_only_the_operator_can_hold_the_messages_of_a_dead_letter_queue(account, may):
    stack = resources(account.client("cloudformation"))
    queues = [found["PhysicalResourceId"] for found in stack if found["LogicalResourceId"].endswith("DeadLetterQueue")]
    assert len(queues) == 3
    attacker = may("sqs:ReceiveMessage")("sqs")
    for queue in queues:
        with pytest.raises(ClientError, match="AccessDenied"):
            attacker.receive_message(QueueUrl=queue, VisibilityTimeout=43200)


def test_a_caller_with_permission_to_publish_cannot_send_people_a_text(account, may):
    text = {"TopicArn": account.outputs["AlarmTopic"], "Subject": "Rolewarden", "Message": "open this link"}
    with pytest.raises(ClientError, match=r"AuthorizationError|AccessDenied"):
        may("sns:Publish")("sns").publish(**text)
    # The function that sends alerts still can.
    inbox = subscribed(account.client, account.outputs["AlarmTopic"])
    role = physical(account, "DetachFunctionRole")
    may("iam:PutRolePolicy")("iam").put_role_policy(RoleName=role, PolicyName="Nothing", PolicyDocument=HARMLESS)
    assert "PutRolePolicy" in inbox("DetachFunctionRole")


def test_a_caller_with_a_queue_cannot_send_its_messages_to_the_dead_letter_queue(account, may):
    sqs = may("sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:GetQueueAttributes")("sqs")
    dead = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{physical(account, 'WorkDeadLetterQueue').rpartition('/')[2]}"
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    with pytest.raises(ClientError, match="does not allow"):
        sqs.create_queue(QueueName="eve", Attributes={"RedrivePolicy": redrive})
    own = sqs.create_queue(QueueName="eve")["QueueUrl"]
    with pytest.raises(ClientError, match="does not allow"):
        sqs.set_queue_attributes(QueueUrl=own, Attributes={"RedrivePolicy": redrive})


CODE = """
import boto3

def handler(event, _context):
    try:
        boto3.client("iam").attach_role_policy(**event)
    except Exception as error:
        return str(error)
    return "attached"
"""


def test_another_function_with_the_role_of_enforcefunction_cannot_use_it(account):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", CODE)
    functions = account.client("lambda")
    arn = f"arn:aws:iam::{ACCOUNT}:role/rolewarden/{physical(account, 'EnforceFunctionRole')}"
    code = {"ZipFile": package.getvalue()}
    functions.create_function(FunctionName="theirs", Runtime="python3.13", Role=arn, Handler="app.handler", Code=code)
    event = json.dumps({"RoleName": "CanvasOmar", "PolicyArn": ARN}).encode()
    answer = functions.invoke(FunctionName="theirs", Payload=event)["Payload"].read().decode()
    functions.delete_function(FunctionName="theirs")
    assert "AccessDenied" in answer
    assert "explicit deny" in answer


def test_a_removed_guardrail_is_detached_and_its_policy_deleted(account):
    # With `surplus: keep`, the role would keep the policy.
    harmless = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}})
    old = account.iam.create_policy(
        PolicyName="old", Path="/rolewarden/", PolicyDocument=harmless, Description=DESCRIPTION
    )["Policy"]["Arn"]  # fmt: skip
    account.iam.create_policy_version(PolicyArn=old, PolicyDocument=harmless, SetAsDefault=True)
    account.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=old)

    def ask(**work):
        body = json.dumps({"account": ACCOUNT, **work})
        account.sqs.send_message(QueueUrl=account.outputs["DetachQueue"], MessageBody=body, DelaySeconds=1)

    ask(role="BuildServer", policies=["old"])
    waited(lambda: old not in account.aws.attached_policies("BuildServer"), "BuildServer detached")
    waited(lambda: account.history("BuildServer"), "the record of it")
    ask(policy="old")
    waited(lambda: account.aws.policy(old) is None, "the old policy deleted")


def request(account, kind, answers, **more):
    [stack] = account.client("cloudformation").describe_stacks(StackName="rolewarden")["Stacks"]
    return {
        "RequestType": kind,
        "ResponseURL": answers,
        "StackId": stack["StackId"],
        "RequestId": "forged",
        "LogicalResourceId": "DetachOnDelete",
        "PhysicalResourceId": "rolewarden-detach",
        "ResourceType": "Custom::RolewardenDetach",
        "ResourceProperties": {"OnDelete": "remove"},
        **more,
    }


def invoked(invoker, account, function, payload):
    answer = invoker.invoke(FunctionName=physical(account, function), Payload=json.dumps(payload))
    return json.loads(answer["Payload"].read())


def forged_findings(account, function):
    return [row for row in account.history(f"account/{function}") if row["reason"] == "forged request"]


@pytest.mark.parametrize("more", [{}, {"StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/other/1"}])
def test_a_forged_deletion_removes_nothing_and_is_reported(account, invoker, more):
    before = len(forged_findings(account, "DetachFunction"))
    endpoint = account.client("lambda").meta.endpoint_url
    assert urlsplit(endpoint).hostname
    invoked(invoker, account, "DetachFunction", request(account, "Delete", f"{endpoint}/forged", **more))
    assert account.has_attached("CanvasOmar", ["no-generative-ai"])
    assert len(forged_findings(account, "DetachFunction")) == before + 1


def test_a_forged_request_is_not_answered_at_an_address_of_the_callers_choice(account, invoker):
    answer = invoked(invoker, account, "DetachFunction", request(account, "Delete", "https://example.com/"))
    assert answer["refused"] == "the ResponseURL is not an address of CloudFormation"
    assert account.has_attached("CanvasOmar", ["no-generative-ai"])


def event(name, parameters):
    """An event as EventBridge would deliver it, with an actor that does not exist."""
    record = {
        "eventSource": "iam.amazonaws.com",
        "eventName": name,
        "userIdentity": {"arn": "arn:aws:iam::111122223333:user/nobody"},
        "requestParameters": parameters,
    }
    of_iam = {"source": "aws.iam", "detail-type": "AWS API Call via CloudTrail"}
    return {**of_iam, "account": "111122223333", "region": REGION, "time": "2027-01-15T00:00:00Z", "detail": record}


def messages(*bodies):
    """An event with which Lambda passes messages of a queue to a function."""
    return {
        "Records": [
            {"messageId": str(number), "body": json.dumps(body), "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies)
        ]
    }


ARN = "arn:aws:iam::111122223333:policy/rolewarden/no-generative-ai"
ROLE, OTHER = {"role": "CanvasOmar", "account": "111122223333"}, "222233334444"
FORGED = {
    "EnforceFunction": [
        event("DeleteRole", {"roleName": "CanvasOmar"}),
        event("DetachRolePolicy", {"roleName": "CanvasOmar", "policyArn": ARN}),
    ],
    "PublishFunction": [
        event("DeletePolicy", {"policyArn": ARN}),
        messages({"step": "publish", "account": "111122223333", "cause": {"event_name": "Deployment"}}),
    ],
    "ReconcileFunction": [
        messages({**ROLE, "role_account": "111122223333", "bindings": [], "cause": {"event_name": "Sweep"}}),
        messages({**ROLE, "role_account": OTHER}),
    ],
    "DetachFunction": [
        messages({**ROLE, "policies": ["no-generative-ai"]}),
        messages({"account": "111122223333", "policy": "no-generative-ai"}),
    ],
    "SweepFunction": [
        {"step": "doctor"},
        {"source": "rolewarden", "detail": {"account": OTHER, "cause": {"event_name": "Deployment"}}},
        messages({"step": "compare", "account": "111122223333", "began": "1.000"}),
    ],
    "DrillFunction": [
        {"step": "drill", "account": OTHER},
        {"step": "drill", "account": "111122223333", "role": "CanvasOmar", "policy": ARN},
        {"source": "rolewarden", "detail-type": "Sweep Completed", "detail": {"account": OTHER}},
    ],
    "AlertFunction": [{"source": "rolewarden", "detail-type": "Role Finding", "detail": {"role": "CanvasOmar"}}],
}
"""Payloads of a caller who can invoke functions and has no other permission, by the function."""

ELSEWHERE = {"SecurityHubFunction": "tests/test_securityhub.py"}
"""The functions that this stack does not have, each with the test module that tries forged payloads."""


@pytest.mark.parametrize("function", FORGED)
def test_no_forged_payload_detaches_or_changes_a_guardrail(account, invoker, function):
    for payload in FORGED[function]:
        invoked(invoker, account, function, payload)
        waited(account.is_swept, "what the payload has set off is worked off")
        assert account.has_attached("CanvasOmar", ["no-generative-ai"])
        assert account.aws.policy(ARN) is not None


def test_every_function_of_the_stack_is_tried_with_forged_payloads():
    assert translated(SecurityHub="on").resources("AWS::Lambda::Function").keys() == FORGED.keys() | ELSEWHERE.keys()


def test_a_forged_message_of_a_sweep_gives_a_domain_no_other_name(account, invoker):
    began = account.progress.sweeps("111122223333")[-1]["item"]
    message = {"account": "111122223333", "began": began, "step": "describe", "region": REGION}
    for domain in (ANALYTICS, [ANALYTICS, "research"]):
        for profiles in (["omar"], {"omar": {"team": "research"}}):
            body = {**message, "domain": domain, "profiles": profiles}
            invoked(invoker, account, "SweepFunction", messages(body))
    [omar] = account.bindings.of_role(RoleKey("111122223333", "CanvasOmar"))
    assert (omar.domain_name, omar.tags) == ("analytics", {})


def test_a_forged_deployment_is_a_check_that_reports_what_it_restores(account, invoker):
    iam, endpoint = account.client("iam"), account.client("lambda").meta.endpoint_url
    before = len(forged_findings(account, "PublishFunction"))
    answer = invoked(invoker, account, "PublishFunction", request(account, "Update", f"{endpoint}/forged"))
    assert answer["refused"] == "the request asks for a deployment, but the status of the stack is CREATE_COMPLETE"
    assert len(forged_findings(account, "PublishFunction")) == before + 1
    assert iam.get_policy(PolicyArn=account.policies["no-generative-ai"].arn("aws", "111122223333"))


EXEMPT = "CanvasBreakGlass"
EXEMPT_ARN = f"arn:aws:iam::111122223333:role/{EXEMPT}"


def doubts(account):
    """The reasons of the findings about the exemption, oldest first."""
    return [row.get("reason", "resolved") for row in account.history(f"account/exemption of {EXEMPT}")]


def test_an_exempt_role_that_an_attacker_gives_to_a_whole_domain_gets_its_guardrails(account, only, inbox):
    assert not account.has_attached(EXEMPT, ["no-generative-ai"])
    giver = only("sagemaker:UpdateDomain").client("sagemaker")
    giver.update_domain(DomainId=ANALYTICS, DefaultUserSettings={"ExecutionRole": EXEMPT_ARN})
    waited(lambda: account.has_attached(EXEMPT, ["no-generative-ai"]), f"{EXEMPT} protected")
    text = inbox("exempt role has a use that its exemption does not name")
    assert "user/UpdateDomain" in text
    assert "uses an exempt role that is not exempt for it" in " ".join(text.split())
    assert "take the role away from the domains" in " ".join(text.split())
    back = "arn:aws:iam::111122223333:role/service-role/CanvasAnalytics"
    account.sagemaker.update_domain(DomainId=ANALYTICS, DefaultUserSettings={"ExecutionRole": back})
    waited(lambda: account.verdict(EXEMPT).verdict is Verdict.EXEMPT, f"{EXEMPT} exempt again")


def test_an_exempt_role_that_an_attacker_creates_again_gets_its_guardrails(account, only, inbox):
    # A sweep in the moment without the role would send a mail about it, perhaps during a later test.
    waited(account.is_swept, "the earlier sweeps")
    rights = ("iam:DeleteRole", "iam:CreateRole", "iam:DetachRolePolicy", "iam:ListAttachedRolePolicies")
    iam = only(*rights).client("iam")
    for policy in iam.list_attached_role_policies(RoleName=EXEMPT)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=EXEMPT, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=EXEMPT)
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=EXEMPT, AssumeRolePolicyDocument=document)
    waited(lambda: account.has_attached(EXEMPT, ["no-generative-ai"]), f"{EXEMPT} protected")
    text = inbox("exempt role is newer than the rules")
    assert "user/DeleteRole" in text
    assert "exempt role is newer than the rules" in doubts(account)


def test_an_analyst_can_neither_pass_nor_assume_an_exempt_role(account):
    """A role of the analyst's own, with exactly these permissions, until Rolewarden attaches its guardrails."""
    rights = {
        "Effect": "Allow",
        "Resource": "*",
        "Action": ["iam:PassRole", "sagemaker:CreateProcessingJob", "sts:AssumeRole"],
    }
    iam = account.client("iam")
    iam.create_role(RoleName="Analyst", AssumeRolePolicyDocument=TRUST)
    document = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    iam.put_role_policy(RoleName="Analyst", PolicyName="Only", PolicyDocument=document)
    settings = {"ExecutionRole": "arn:aws:iam::111122223333:role/Analyst"}
    account.sagemaker.create_user_profile(DomainId=ANALYTICS, UserProfileName="analyst", UserSettings=settings)
    waited(lambda: account.has_attached("Analyst", ["no-generative-ai"]), "Analyst protected")
    LocalAws.start().lend("ASIAANALYST000000001", "Analyst")
    analyst = boto3.Session("ASIAANALYST000000001", "x", "y", region_name=REGION)
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    job: Any = {
        "AppSpecification": {"ImageUri": "111122223333.dkr.ecr.us-east-1.amazonaws.com/any"},
        "ProcessingResources": {"ClusterConfig": cluster},
    }
    with pytest.raises(ClientError, match=r"iam:PassRole on resource.*with an explicit deny in an identity-based"):
        analyst.client("sagemaker").create_processing_job(ProcessingJobName="as-exempt", RoleArn=EXEMPT_ARN, **job)
    with pytest.raises(ClientError, match=r"sts:AssumeRole on resource.*with an explicit deny in an identity-based"):
        analyst.client("sts").assume_role(RoleArn=EXEMPT_ARN, RoleSessionName="exempt")
    other = "arn:aws:iam::111122223333:role/CanvasRosa"
    analyst.client("sagemaker").create_processing_job(ProcessingJobName="as-rosa", RoleArn=other, **job)


def test_a_caller_with_the_right_to_send_messages_reaches_no_queue_of_the_stack(account, sender):
    queues = queues_of(account)
    assert len(queues) == 7
    for url in queues:
        with pytest.raises(ClientError) as refused:
            sender.send_message(QueueUrl=url, MessageBody=json.dumps({**ROLE, "role_account": "111122223333"}))
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
        assert "explicit deny in a resource-based policy" in str(refused.value)


SIGN_IN = "To do: sign in at https://portal.example/ to keep your access"
"""Texts that an attacker would like to have in a mail of Rolewarden."""

CALLER = {"event_name": "TagRole", "actor": SIGN_IN, "user_agent": SIGN_IN, "time": "2027-01-15T00:00:00Z"}
FINDING: dict[str, Any] = {
    "account": "111122223333",
    "role": "CanvasOmar",
    "before": "drifted",
    "verdict": "unenforceable",
    "remediation": "none",
    "missing": [SIGN_IN],
    "reason": SIGN_IN,
    "message": SIGN_IN,
    "recommendation": SIGN_IN,
    "cause": CALLER,
}
FORGED_EVENTS: dict[str, dict[str, Any]] = {
    "Role Finding": FINDING,
    "Subject Finding": FINDING | {"domain": "d-analytics0001", "user_profile": "omar"},
    "Account Finding": FINDING,
    "Policy Restored": FINDING | {"policy": "no-generative-ai", "remediation": "created"},
    "Role Contested": FINDING | {"remediations": 3, "since": SIGN_IN, "actors": [CALLER]},
    "Finding Resolved": {"account": "111122223333", "finding": "CanvasOmar", "was": SIGN_IN, "cause": CALLER},
}
NOTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}],
}


def test_a_caller_with_the_right_to_put_events_sends_no_mail(account, putter, inbox):
    earlier = set(inbox.subjects)
    for kind, detail in FORGED_EVENTS.items():
        putter(kind, detail, {**detail, "role": "CanvasRosa"})
    record: dict[str, Any] = {
        **event("DeleteRole", {})["detail"],
        "eventSource": "lambda.amazonaws.com",
        "managementEvent": True,
    }
    record |= {"eventName": "DeleteFunction20150331", "userAgent": SIGN_IN}
    record["requestParameters"] = {"functionName": physical(account, "EnforceFunction")}
    putter("AWS API Call via CloudTrail", record, source="mine")
    tampers(account, 1)
    inbox("called DeleteRolePolicy on role")
    # Alerts about the exempt role, with which earlier tests work, can still come. A forged one would name these.
    forged = ("CanvasOmar", "CanvasRosa", "omar", "no-generative-ai", "sign in", "DeleteFunction", "cannot be read")
    assert not [subject for subject in {*inbox.subjects} - earlier if any(text in subject for text in forged)]
    assert SIGN_IN not in str(inbox.texts)


def test_forty_requests_for_a_sweep_lead_to_few_sweeps_and_one_request_to_one(account, putter):
    waited(account.is_swept, "the earlier sweeps")
    before = len(account.progress.sweeps("111122223333"))
    putter("Sweep Requested", *[{"by": "an attacker"}] * 40)
    waited(lambda: len(account.progress.sweeps("111122223333")) > before, "the requested sweep")
    tampers(account, 2)
    waited(account.is_swept, "the requested sweeps")
    assert len(account.progress.sweeps("111122223333")) - before <= 3


def test_a_caller_who_invokes_the_function_again_and_again_sends_one_mail_without_a_link(account, invoker, inbox):
    record: dict[str, Any] = event("DeleteRole", {"roleName": "x"})
    record["detail"] |= {"userIdentity": {"arn": SIGN_IN}, "userAgent": SIGN_IN, "awsRegion": REGION}
    for _ in range(5):
        invoked(invoker, account, "AlertFunction", record)
    invoked(invoker, account, "AlertFunction", {**record, "account": OTHER})
    for detail in FORGED_EVENTS.values():
        payload = {"source": "rolewarden", "account": "111122223333", "detail-type": "Role Finding", "detail": detail}
        assert invoked(invoker, account, "AlertFunction", payload)["alert"] == ""
    subject = "Rolewarden itself: a caller called DeleteRole on role x"
    text = inbox(subject)
    assert inbox.subjects.count(subject) == 1
    assert "portal.example" not in text
    assert "https://portal" not in text


def test_a_message_that_claims_bindings_puts_no_guardrail_on_a_role(account, invoker):
    [omar] = account.bindings.of_role(RoleKey("111122223333", "CanvasOmar"))
    claimed = omar._replace(role=RoleKey("111122223333", "BuildServer"))
    body = {"role": "BuildServer", "role_account": "111122223333", "account": "111122223333", "trigger": "sweep"}
    rows: list[dict[str, Any]] = [
        {"bindings": [claimed.as_row()], "read_at": time.time()},
        {"rows": [[*omar.key, omar.digest]]},
        {"rows": [[*claimed.key, claimed.digest]]},
    ]
    for row in rows:
        invoked(invoker, account, "ReconcileFunction", messages({**body, **row}))
    assert not account.has_attached("BuildServer", ["no-generative-ai"])


def test_a_caller_who_invokes_the_sweeping_function_again_and_again_starts_few_sweeps(account, invoker):
    # This comes after the tests that wait for a sweep, because it uses up the sweeps that can start at once.
    waited(account.is_swept, "the earlier sweeps")
    before = len(account.progress.sweeps("111122223333"))
    begin = messages({"step": "begin", "account": "111122223333"})
    for payload in ({}, {"source": "aws.events", "detail-type": "Scheduled Event"}, begin) * 5:
        invoked(invoker, account, "SweepFunction", payload)
    waited(account.is_swept, "the sweeps")
    # Six start without a wait for all accounts, and six for the one account.
    assert len(account.progress.sweeps("111122223333")) - before <= 12


def test_a_real_deletion_detaches_and_deletes_every_policy(account):
    # This is the last test of the module, because it deletes the stack. CloudFormation needs minutes to delete a stack,
    # and a second here. The functions have ended their work before.
    waited(account.is_swept, "what the attacks have set off is worked off")
    assert left_by_deletion(account) == (set(), set())
    # Its policy denies the deletion of the tables to everybody but CloudFormation.
    assert account.outputs["BindingsTable"] not in account.client("dynamodb").list_tables()["TableNames"]
