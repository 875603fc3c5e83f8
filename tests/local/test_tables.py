"""Policies of DynamoDB tables, and the conditions of queries."""

import json

import boto3
import pytest

from tests.local.conftest import refusal

ACCOUNT = "111122223333"
WRITER = f"arn:aws:iam::{ACCOUNT}:user/writer"
KEY = {"id": {"S": "x"}}
DENIED = {
    "put_item": {"Item": KEY},
    "update_item": {"Key": KEY},
    "delete_item": {"Key": KEY},
}
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete")


def only_the_writer(*actions):
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [f"dynamodb:{action}" for action in actions],
        "Resource": "*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": [WRITER]}, "Bool": {"aws:PrincipalIsAWSService": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def clients(aws, iam):
    """Clients of DynamoDB for the root user, and for two users who can do everything, with a table and its policy."""
    root = boto3.client("dynamodb")
    arn = root.create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]["TableArn"]
    root.put_resource_policy(ResourceArn=arn, Policy=only_the_writer(*WRITES))
    found = {"root": root}
    for name in ("writer", "reader"):
        iam.create_user(UserName=name)
        allowed = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="May", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[name] = boto3.client(
            "dynamodb", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
        )
    with aws.authorizing():
        yield found


@pytest.mark.parametrize("operation", DENIED)
@pytest.mark.parametrize("who", ["root", "reader"])
def test_a_deny_in_the_policy_of_a_table_counts_for_every_caller_but_the_named_one(clients, operation, who):
    parameters = {"TableName": "kept", **DENIED[operation]}
    code, message, _ = refusal(getattr(clients[who], operation), **parameters)
    assert code == "AccessDeniedException"
    assert "with an explicit deny in a resource-based policy" in message
    getattr(clients["writer"], operation)(**parameters)


def test_a_transaction_a_batch_and_a_statement_need_the_actions_of_their_items(clients):
    put = {"Put": {"TableName": "kept", "Item": KEY}}
    batch = {"kept": [{"PutRequest": {"Item": KEY}}]}
    text = "INSERT INTO \"kept\" VALUE {'id': 'x'}"
    assert refusal(clients["reader"].transact_write_items, TransactItems=[put])[0] == "AccessDeniedException"
    assert refusal(clients["reader"].batch_write_item, RequestItems=batch)[0] == "AccessDeniedException"
    assert refusal(clients["reader"].execute_statement, Statement=text)[0] == "AccessDeniedException"


def test_reads_and_the_calls_of_a_deployment_stay_open(clients):
    reader = clients["reader"]
    assert reader.scan(TableName="kept")["Count"] == 0
    reader.update_table(TableName="kept", DeletionProtectionEnabled=False)
    reader.delete_table(TableName="kept")


ITEMS = ("a", "a/1", "a/2", "b", "\uffee", "\U00010000", "é")


@pytest.mark.parametrize("text", ["a", "a/", "b", "é", "\uffee", "\U00010000", "zz"])
@pytest.mark.parametrize(("condition", "holds"), [
    ("#k = :k AND begins_with(#s, :s)", lambda item, text: item.startswith(text)),
    ("#k = :k AND #s >= :s", lambda item, text: item.encode() >= text.encode()),
    ("#s >= :s AND #k = :k", lambda item, text: item.encode() >= text.encode()),
])  # fmt: skip
def test_a_query_finds_the_sort_keys_by_their_bytes(aws, text, condition, holds):
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="sorted",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in "ks"],
        BillingMode="PAY_PER_REQUEST",
    )
    for key in ("one", "other"):
        for item in ITEMS:
            client.put_item(TableName="sorted", Item={"k": {"S": key}, "s": {"S": item}})
    found = client.query(
        TableName="sorted",
        KeyConditionExpression=condition,
        ExpressionAttributeNames={"#k": "k", "#s": "s"},
        ExpressionAttributeValues={":k": {"S": "one"}, ":s": {"S": text}},
    )["Items"]
    assert {one["s"]["S"] for one in found} == {item for item in ITEMS if holds(item, text)}
    assert {one["k"]["S"] for one in found} <= {"one"}
