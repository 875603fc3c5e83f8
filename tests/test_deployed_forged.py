"""A caller who can only invoke the deployed functions cannot detach a guardrail by a forged payload."""

import json
from urllib.parse import urlsplit

import boto3
import pytest
from rolewarden_local.account import Account, waited
from rolewarden_local.aws import REGION, LocalAws

from tests.conftest import ROOT

pytestmark = pytest.mark.deployed


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        build = tmp_path_factory.mktemp("build")
        made = Account.made(aws, url, ROOT, build, lambda _: None, parameters={"OnDelete": "remove"})
        waited(lambda: made.carries("CanvasOmar", ["no-generative-ai"]), "CanvasOmar protected")
        yield made
        aws.reset()


@pytest.fixture(scope="module")
def invoker(account):
    """A client of Lambda as a user who has lambda:InvokeFunction and nothing else."""
    iam = account.client("iam")
    iam.create_user(UserName="invoker")
    allowed = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="invoker", PolicyName="Invoke", PolicyDocument=document)
    key = iam.create_access_key(UserName="invoker")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    return session.client("lambda")


def function_of(account, name):
    summaries = account.client("cloudformation").list_stack_resources(StackName="rolewarden")["StackResourceSummaries"]
    [found] = [each["PhysicalResourceId"] for each in summaries if each["LogicalResourceId"] == name]
    return found


def request(account, kind, answers, **more):
    [stack] = account.client("cloudformation").describe_stacks(StackName="rolewarden")["Stacks"]
    return {
        "RequestType": kind,
        "ResponseURL": answers,
        "StackId": stack["StackId"],
        "RequestId": "forged",
        "LogicalResourceId": "Release",
        "PhysicalResourceId": "rolewarden-release",
        "ResourceType": "Custom::RolewardenRelease",
        "ResourceProperties": {"OnDelete": "remove"},
        **more,
    }


def invoked(invoker, account, function, payload):
    answer = invoker.invoke(FunctionName=function_of(account, function), Payload=json.dumps(payload))
    return json.loads(answer["Payload"].read())


def forged_findings(account, function):
    return [row for row in account.history(f"account/{function}") if row["reason"] == "forged request"]


@pytest.mark.parametrize("more", [{}, {"StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/other/1"}])
def test_a_forged_deletion_removes_nothing_and_is_reported(account, invoker, more):
    before = len(forged_findings(account, "ReleaseFunction"))
    endpoint = account.client("lambda").meta.endpoint_url
    assert urlsplit(endpoint).hostname
    invoked(invoker, account, "ReleaseFunction", request(account, "Delete", f"{endpoint}/forged", **more))
    assert account.carries("CanvasOmar", ["no-generative-ai"])
    assert len(forged_findings(account, "ReleaseFunction")) == before + 1


def test_a_forged_request_is_not_answered_at_an_address_of_the_callers_choice(account, invoker):
    answer = invoked(invoker, account, "ReleaseFunction", request(account, "Delete", "https://example.com/"))
    assert answer["refused"] == "the ResponseURL is no address of CloudFormation"
    assert account.carries("CanvasOmar", ["no-generative-ai"])


def test_a_forged_deployment_is_a_check_that_reports_what_it_restores(account, invoker):
    iam, endpoint = account.client("iam"), account.client("lambda").meta.endpoint_url
    before = len(forged_findings(account, "PublishFunction"))
    answer = invoked(invoker, account, "PublishFunction", request(account, "Update", f"{endpoint}/forged"))
    assert answer["refused"] == "it asks for a deployment, and the stack is in CREATE_COMPLETE"
    assert len(forged_findings(account, "PublishFunction")) == before + 1
    assert iam.get_policy(PolicyArn=account.policies["no-generative-ai"].arn("aws", "111122223333"))
