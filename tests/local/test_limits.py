"""The limits of AWS on requests and on the resources of stacks, which MiniStack and moto do not know."""

import boto3
import pytest
from rolewarden_local.emulated._ministack import custom_resource, provisioners
from rolewarden_local.emulated.constraints import broken
from rolewarden_local.emulated.limits import CUSTOM_RESPONSE_SIZE, SCPS_PER_TARGET
from rolewarden_local.emulated.organization import MANAGEMENT

from tests.local.conftest import policy, refusal

LONG = "x" * 100_000
TOPIC = "arn:aws:sns:us-east-1:111122223333:alarms"
UNIT = "ou-root-canvas000"
EVENT = {"Source": "s", "DetailType": "d", "Detail": "x" * 262_144}
FINDING = {
    **dict.fromkeys(("SchemaVersion", "Id", "ProductArn", "GeneratorId", "CreatedAt", "UpdatedAt"), "x"),
    "AwsAccountId": "111122223333",
    "Description": "x",
    "Resources": [{"Type": "Other", "Id": "x"}],
}
SCP = {"Description": "", "Type": "SERVICE_CONTROL_POLICY"}


def client(service, key="111122223333"):
    return boto3.client(service, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key="-")


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        ("iam", "get_role", {"RoleName": "x" * 65}, "ValidationError"),
        ("iam", "get_role", {"RoleName": "a b"}, "ValidationError"),
        ("iam", "create_policy", {"PolicyName": "p", "PolicyDocument": "{\u201c}"}, "ValidationError"),
        ("iam", "tag_role", {"RoleName": "r", "Tags": [{"Key": "k", "Value": "v" * 257}]}, "ValidationError"),
        ("sts", "assume_role", {"RoleArn": "arn:aws:iam::1:role/rr", "RoleSessionName": "a b"}, "ValidationError"),
        ("dynamodb", "batch_get_item", {"RequestItems": {"t": {"Keys": [{"a": {"S": "x"}}] * 101}}},
         "ValidationException"),
        ("dynamodb", "query", {"TableName": "table", "KeyConditionExpression": "a = :a",
                               "ExpressionAttributeValues": {":a": {"S": "x" * 2_049}}}, "ValidationException"),
        ("cloudwatch", "describe_alarms", {"AlarmNames": ["a"] * 101}, "ValidationError"),
        ("events", "put_rule", {"Name": "a b", "EventPattern": "{}"}, "ValidationException"),
        ("events", "put_rule", {"Name": "a", "EventPattern": "x" * 2_049}, "InvalidEventPatternException"),
        ("events", "put_targets", {"Rule": "a", "Targets": [{"Id": f"{n}", "Arn": TOPIC} for n in range(6)]},
         "LimitExceededException"),
        ("events", "put_events", {"Entries": [EVENT]}, "ValidationException"),
        ("lambda", "get_policy", {"FunctionName": "a b"}, "ValidationException"),
        ("lambda", "get_function_configuration", {"FunctionName": "f" * 257}, "ValidationException"),
        ("sagemaker", "describe_domain", {"DomainId": "d-" + "x" * 62}, "ValidationException"),
        ("cloudformation", "list_stack_instances", {"StackSetName": "s", "StackInstanceRegion": "a b"},
         "ValidationError"),
        ("cloudformation", "create_stack", {"StackName": "s", "TemplateBody": LONG}, "ValidationError"),
        ("cloudformation", "create_stack", {"StackName": "s" * 129, "TemplateBody": "{}"}, "ValidationError"),
        ("sns", "publish", {"TopicArn": TOPIC, "Message": "m", "Subject": "s" * 100}, "InvalidParameter"),
        ("sns", "publish", {"TopicArn": TOPIC, "Message": "m", "Subject": "a\nb"}, "InvalidParameter"),
        ("sns", "publish", {"TopicArn": TOPIC, "Message": "m", "Subject": " a"}, "InvalidParameter"),
        ("sqs", "send_message", {"QueueUrl": "q", "MessageBody": "\x01"}, "InvalidMessageContents"),
        ("organizations", "create_policy", {"Name": "p", "Content": LONG, **SCP}, "ConstraintViolationException"),
        ("securityhub", "batch_import_findings", {"Findings": [{**FINDING, "Title": "x" * 257}]},
         "InvalidInputException"),
        ("securityhub", "batch_import_findings", {"Findings": [{**FINDING, "Title": " "}]}, "InvalidInputException"),
    ],
)  # fmt: skip
def test_a_request_beyond_a_limit_is_refused(aws, service, operation, parameters, code):
    assert refusal(getattr(client(service), operation), **parameters)[0] == code


@pytest.mark.parametrize(
    ("kind", "properties", "said"),
    [
        ("AWS::Events::Rule", {"EventPattern": {"source": ["x" * 2_048]}}, "Event pattern is longer"),
        ("AWS::Lambda::Function", {"Environment": {"Variables": {"A": "x" * 4_096}}}, "exceeded the 4KB limit"),
        ("AWS::IAM::Role", {"AssumeRolePolicyDocument": {"Sid": "x" * 2_048}}, "ACLSizePerRole"),
        ("AWS::IAM::Role", {"AssumeRolePolicyDocument": {}, "Description": "\u2013"}, "regular expression"),
        ("AWS::CloudWatch::Alarm", {"AlarmDescription": "x" * 1_025}, "less than or equal to 1024"),
    ],
)
def test_a_resource_of_a_stack_beyond_a_limit_is_refused(aws, kind, properties, said):
    with pytest.raises(ValueError, match=said):
        provisioners._RESOURCE_HANDLERS[kind]["create"]("Logical", properties, "stack")


def test_the_properties_of_a_resource_may_have_numbers_as_texts_and_documents_as_objects():
    properties = {"Targets": [{"Id": "x", "Arn": TOPIC, "RetryPolicy": {"MaximumRetryAttempts": "3"}}]}
    assert broken("events", "PutTargets", {"Rule": "r", **properties}) == []
    assert broken("kms", "CreateKey", {"KeyPolicy": {}, "Description": "x", "Tags": [{"Key": "a", "Value": "b"}]}) == []


def test_an_answer_of_a_custom_resource_that_is_too_long_fails_it(aws):
    for answer, status in (
        ({"Status": "SUCCESS", "PhysicalResourceId": "x"}, "SUCCESS"),
        ({"Status": "SUCCESS", "Data": {"A": "x" * CUSTOM_RESPONSE_SIZE}}, "FAILED"),
        ({"Status": "SUCCESS", "PhysicalResourceId": "x" * 1_025}, "FAILED"),
    ):
        custom_resource.register_token("t")
        custom_resource.deliver_response("t", answer)
        assert custom_resource._pending.pop("t")["result"]["Status"] == status


def test_a_unit_has_ten_service_control_policies_at_most(aws):
    aws.organize("o-exampleorg1", {UNIT: {"222222222222"}})
    organizations = client("organizations", MANAGEMENT)
    answers = []
    for number in range(SCPS_PER_TARGET):
        made = organizations.create_policy(Name=f"p{number}", Content=policy(Effect="Deny"), **SCP)
        attached = {"PolicyId": made["Policy"]["PolicySummary"]["Id"], "TargetId": UNIT}
        if number == SCPS_PER_TARGET - 1:  # FullAWSAccess is the first one.
            answers.append(refusal(organizations.attach_policy, **attached)[0])
        else:
            organizations.attach_policy(**attached)
    assert answers == ["ConstraintViolationException"]
