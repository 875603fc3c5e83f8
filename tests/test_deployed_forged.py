"""A caller with one permission, such as lambda:InvokeFunction, cannot free a role of its guardrails."""

import json
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden.verdicts import Verdict
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.seed import ANALYTICS, TRUST

from tests.conftest import ROOT
from tests.deployments import left_by_deletion
from tests.inbox import subscribed
from tests.stacks import translated

pytestmark = pytest.mark.deployed


@pytest.fixture(scope="module")
def account(build):
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        made = Account.made(aws, url, ROOT, build, lambda _: None, parameters={"OnDelete": "remove"})
        waited(lambda: made.has_attached("CanvasOmar", ["no-generative-ai"]), "CanvasOmar protected")
        yield made
        aws.reset()


@pytest.fixture(scope="module")
def invoker(account):
    """A client of Lambda for a user with only lambda:InvokeFunction."""
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
        "LogicalResourceId": "DetachOnDelete",
        "PhysicalResourceId": "rolewarden-detach",
        "ResourceType": "Custom::RolewardenDetach",
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
    "AlertFunction": [{"source": "rolewarden", "detail-type": "Role Finding", "detail": {"role": "CanvasOmar"}}],
}


@pytest.mark.parametrize("function", FORGED)
def test_no_forged_payload_detaches_or_changes_a_guardrail(account, invoker, function):
    for payload in FORGED[function]:
        invoked(invoker, account, function, payload)
        waited(account.is_swept, "what the payload has set off is worked off")
        assert account.has_attached("CanvasOmar", ["no-generative-ai"])
        assert account.aws.policy(ARN) is not None


def test_every_function_of_the_stack_is_tried_with_forged_payloads():
    # SecurityHubFunction is not in this stack. It reads and writes findings of Security Hub and nothing else.
    assert translated().resources("AWS::Lambda::Function").keys() == FORGED.keys()


def test_a_forged_deployment_is_a_check_that_reports_what_it_restores(account, invoker):
    iam, endpoint = account.client("iam"), account.client("lambda").meta.endpoint_url
    before = len(forged_findings(account, "PublishFunction"))
    answer = invoked(invoker, account, "PublishFunction", request(account, "Update", f"{endpoint}/forged"))
    assert answer["refused"] == "the request asks for a deployment, but the status of the stack is CREATE_COMPLETE"
    assert len(forged_findings(account, "PublishFunction")) == before + 1
    assert iam.get_policy(PolicyArn=account.policies["no-generative-ai"].arn("aws", "111122223333"))


EXEMPT = "CanvasBreakGlass"
EXEMPT_ARN = f"arn:aws:iam::111122223333:role/{EXEMPT}"
LEVEL = {"Effect": "Allow", "Resource": "*"}


def attacker(account, name, *actions):
    """A session of a user with exactly these permissions."""
    iam = account.client("iam")
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": [{**LEVEL, "Action": list(actions)}]}
    iam.put_user_policy(UserName=name, PolicyName="Only", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)


def doubts(account):
    """The reasons of the findings about the exemption, oldest first."""
    return [row.get("reason", "resolved") for row in account.history(f"account/exemption of {EXEMPT}")]


@pytest.fixture(scope="module")
def inbox(account):
    return subscribed(account.client, account.outputs["AlarmTopic"])


def test_an_exempt_role_that_an_attacker_gives_to_a_whole_domain_gets_its_guardrails(account, inbox):
    assert not account.has_attached(EXEMPT, ["no-generative-ai"])
    giver = attacker(account, "giver", "sagemaker:UpdateDomain").client("sagemaker")
    giver.update_domain(DomainId=ANALYTICS, DefaultUserSettings={"ExecutionRole": EXEMPT_ARN})
    waited(lambda: account.has_attached(EXEMPT, ["no-generative-ai"]), f"{EXEMPT} protected")
    text = inbox("exempt role has a use that its exemption does not name")
    assert "user/giver" in text
    assert "uses an exempt role that is not exempt for it" in " ".join(text.split())
    assert "take the role away from the domains" in " ".join(text.split())
    back = "arn:aws:iam::111122223333:role/service-role/CanvasAnalytics"
    account.sagemaker.update_domain(DomainId=ANALYTICS, DefaultUserSettings={"ExecutionRole": back})
    waited(lambda: account.verdict(EXEMPT).verdict is Verdict.EXEMPT, f"{EXEMPT} exempt again")


def test_an_exempt_role_that_an_attacker_creates_again_gets_its_guardrails(account, inbox):
    rights = ("iam:DeleteRole", "iam:CreateRole", "iam:DetachRolePolicy", "iam:ListAttachedRolePolicies")
    iam = attacker(account, "recreator", *rights).client("iam")
    for policy in iam.list_attached_role_policies(RoleName=EXEMPT)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=EXEMPT, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=EXEMPT)
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=EXEMPT, AssumeRolePolicyDocument=document)
    waited(lambda: account.has_attached(EXEMPT, ["no-generative-ai"]), f"{EXEMPT} protected")
    text = inbox("exempt role is newer than the rules")
    assert "user/recreator" in text
    assert "exempt role is newer than the rules" in doubts(account)


def test_an_analyst_can_neither_pass_nor_assume_an_exempt_role(account):
    """A role of the analyst's own, with exactly these permissions, until Rolewarden attaches its guardrails."""
    rights = {**LEVEL, "Action": ["iam:PassRole", "sagemaker:CreateProcessingJob", "sts:AssumeRole"]}
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


def test_a_real_deletion_detaches_and_deletes_every_policy(account):
    # This is the last test of the module, because it deletes the stack.
    assert left_by_deletion(account) == (set(), set())
