"""Callers with exactly the named permissions cannot change the tables, or make the deployed stack unprotect a role.

The stack has `surplus: detach`. To add an attack, give `may` the permissions, make the calls, and check the roles.
"""

import io
import json
import shutil
import zipfile

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.account import Account, waited

from tests.callers import user_with
from tests.conftest import ROOT
from tests.inbox import subscribed

pytestmark = pytest.mark.deployed

ACCOUNT = "111122223333"
POLICY = "no-generative-ai"
ARN = f"arn:aws:iam::{ACCOUNT}:policy/rolewarden/{POLICY}"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/Operator"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
NOTHING = EVERYTHING.replace('"Action": "*"', '"Action": "s3:ListAllMyBuckets"')
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
        made = Account.made(aws, url, ROOT, folder, lambda _: None, parameters={"OperatorArn": OPERATOR})
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


def physical(account, logical):
    """The physical ID of a resource of the stack."""
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="rolewarden")
    resources = (each for page in pages for each in page["StackResourceSummaries"])
    [found] = [each["PhysicalResourceId"] for each in resources if each["LogicalResourceId"] == logical]
    return found


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
    return [probe["message"] for probe in probes if probe["what"] == "central stack" and "message" in probe]


def test_the_sweep_finds_each_part_of_the_stack_that_a_caller_silences(account, may):
    assert problems(account) == []
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="rolewarden")
    stack = (found for page in pages for found in page["StackResourceSummaries"])
    named = {found["LogicalResourceId"]: found["PhysicalResourceId"] for found in stack}

    events, rule = may("events:PutRule")("events"), named["AlertFunctionSelfRulesAndAlarms"]
    pattern = account.client("events").describe_rule(Name=rule)["EventPattern"]
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["nobody.sends.this"]}))
    assert problems(account) == ["rule AlertFunctionSelfRulesAndAlarms selects other events than its template says"]
    events.put_rule(Name=rule, EventPattern=pattern)
    may("events:DisableRule")("events").disable_rule(Name=named["EnforceFunctionRoles"])
    assert problems(account) == ["rule EnforceFunctionRoles is disabled"]
    account.client("events").enable_rule(Name=named["EnforceFunctionRoles"])

    mappings = may("lambda:UpdateEventSourceMapping", "lambda:PutFunctionConcurrency")("lambda")
    mappings.update_event_source_mapping(UUID=named["PublishFunctionAgain"], Enabled=False)
    assert problems(account) == ["mapping PublishFunctionAgain is disabled, so its function reads no messages"]
    mappings.update_event_source_mapping(UUID=named["PublishFunctionAgain"], Enabled=True)

    function = named["AlertFunction"]
    mappings.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    assert problems(account) == ["the reserved concurrency of AlertFunction is 0, so it does not run"]
    account.client("lambda").delete_function_concurrency(FunctionName=function)

    may("cloudwatch:DisableAlarmActions")("cloudwatch").disable_alarm_actions(AlarmNames=[named["HeartbeatAlarm"]])
    assert problems(account) == ["alarm HeartbeatAlarm does not notify the topic"]
    account.client("cloudwatch").enable_alarm_actions(AlarmNames=[named["HeartbeatAlarm"]])
    assert problems(account) == []


def test_only_the_operator_can_hold_the_messages_of_a_dead_letter_queue(account, may):
    stack = account.client("cloudformation").list_stack_resources(StackName="rolewarden")["StackResourceSummaries"]
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
    may("iam:PutRolePolicy")("iam").put_role_policy(RoleName=role, PolicyName="Nothing", PolicyDocument=NOTHING)
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


def test_cloudformation_can_still_update_and_delete_the_tables(account):
    # This is the last test of the module, because it deletes the stack.
    stacks = account.client("cloudformation")
    stacks.delete_stack(StackName="rolewarden")

    def is_deleted():
        [stack] = [each for each in stacks.list_stacks()["StackSummaries"] if each["StackName"] == "rolewarden"]
        return stack["StackStatus"] == "DELETE_COMPLETE"

    waited(is_deleted, "the stack is deleted")
    assert account.outputs["BindingsTable"] not in account.client("dynamodb").list_tables()["TableNames"]
