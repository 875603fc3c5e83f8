"""A caller with exactly one permission, such as to send messages, frees no role of its guardrails by forged input."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden.bindings import RoleKey
from rolewarden.verdicts import Verdict
from rolewarden_local.aws import REGION, LocalAws
from rolewarden_local.scenes.account import Account, waited
from rolewarden_local.scenes.seed import ANALYTICS, TRUST

from tests.callers import user_with
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
    role = function_of(account, "DetachFunctionRole")
    account.client("iam", "mallory").put_role_policy(
        RoleName=role, PolicyName=f"Nothing{number}", PolicyDocument=json.dumps(NOTHING)
    )
    account.client("iam", "mallory").delete_role_policy(RoleName=role, PolicyName=f"Nothing{number}")


def function_of(account, name):
    summaries = account.client("cloudformation").list_stack_resources(StackName="rolewarden")["StackResourceSummaries"]
    [found] = [each["PhysicalResourceId"] for each in summaries if each["LogicalResourceId"] == name]
    return found


def queues_of(account):
    summaries = account.client("cloudformation").list_stack_resources(StackName="rolewarden")["StackResourceSummaries"]
    return [each["PhysicalResourceId"] for each in summaries if each["ResourceType"] == "AWS::SQS::Queue"]


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
    record["requestParameters"] = {"functionName": function_of(account, "EnforceFunction")}
    putter("AWS API Call via CloudTrail", record, source="mine")
    tampers(account, 1)
    inbox("called DeleteRolePolicy on role")
    assert not [subject for subject in {*inbox.subjects} - earlier if "DetachFunctionRole" not in subject]
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
