"""The calls of CloudFormation that raise no alert: those of an operation on Rolewarden's own stack or StackSets."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from rolewarden.aws import Aws
from rolewarden.errors import Refused, RetryLater
from rolewarden.own_operations import OwnOperations
from rolewarden.stacks import StackEvent, StackReader, StackSetOperation
from rolewarden.verdicts import Reason
from rolewarden_local.aws import LocalAws

from tests.conftest import ROOT

CENTRAL, MEMBER, OTHER = "111122223333", "222233334444", "555566667777"
STACK = f"arn:aws:cloudformation:eu-west-1:{CENTRAL}:stack/rolewarden/0a1b2c3d"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROLE = "rolewarden-EnforceFunctionRole-1A2B3C"
CFN = "cloudformation.amazonaws.com"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Asked:
    """CloudFormation as AlertFunction sees it: the events of one stack, and the operations of StackSets."""

    def __init__(self, events=(), operations=None, places=None, error=None, instances=None):
        self.events, self.operations, self.places = list(events), operations or {}, places or {}
        self.error, self.calls, self.instances = error, 0, instances or {}

    def _count(self):
        self.calls += 1
        if self.error:
            raise self.error

    def stack_events(self, stack_id):
        self._count()
        account = stack_id.split(":")[4]
        events = self.events if stack_id == STACK else self.instances[account]
        if isinstance(events, Exception):
            raise events
        yield from sorted(events, key=lambda event: event.at, reverse=True)

    def stack_set_stack(self, name, place, call_as):
        assert call_as == ("SELF" if name.endswith("-forwarders") else "DELEGATED_ADMIN")
        account, region = place
        stack = f"arn:aws:cloudformation:{region}:{account}:stack/StackSet-{name}-1/2"
        return stack if account in self.instances else ""

    def stack_set_operations(self, name, call_as):
        assert call_as == ("SELF" if name.endswith("-forwarders") else "DELEGATED_ADMIN")
        self._count()
        return tuple(self.operations.get(name, ()))

    def stack_set_places(self, _name, operation, _call_as):
        self._count()
        return frozenset(self.places.get(operation, ()))


def of_stack(status, seconds):
    return StackEvent(at(seconds), "rolewarden", STACK, "AWS::CloudFormation::Stack", status)


def worked_on(logical, kind, physical, start, end, properties=None, action="UPDATE"):
    text = "" if properties is None else json.dumps(properties)
    return [
        StackEvent(at(start), logical, physical, kind, f"{action}_IN_PROGRESS", text),
        StackEvent(at(end), logical, physical, kind, f"{action}_COMPLETE", text),
    ]


ENFORCE_TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
ENFORCE_DOCUMENT = {"Statement": [{"Effect": "Allow", "Action": "iam:AttachRolePolicy", "Resource": "*"}]}
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
IN_THE_TEMPLATE = {
    "AssumeRolePolicyDocument": ENFORCE_TRUST,
    "Policies": [{"PolicyName": "Enforce", "PolicyDocument": ENFORCE_DOCUMENT}],
}
UPDATE = [
    of_stack("UPDATE_IN_PROGRESS", 0),
    *worked_on("EnforceFunctionRole", "AWS::IAM::Role", ROLE, 10, 20, IN_THE_TEMPLATE),
    *worked_on("EnforceFunction", "AWS::Lambda::Function", "rolewarden-EnforceFunction-X", 30, 60),
    *worked_on(
        "NeverOnItself",
        "AWS::IAM::Policy",
        "rolew-Neve-1",
        40,
        60,
        {"PolicyName": "NeverOnItself", "Roles": [ROLE], "PolicyDocument": ENFORCE_DOCUMENT},
    ),
    *worked_on("ReconcileFunctionWork", "AWS::Lambda::EventSourceMapping", "5be8a1f4-3e36", 62, 68),
    *worked_on("EnforceLogs", "AWS::Logs::LogGroup", "rolewarden-EnforceLogs-1", 62, 68),
    of_stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", 70),
    *worked_on("OldQueue", "AWS::SQS::Queue", "https://sqs/1/old", 71, 75, action="DELETE"),
    of_stack("UPDATE_COMPLETE", 80),
]


def call(service, name, parameters, seconds, account=CENTRAL, region="eu-west-1", **more):
    time = at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
    detail = {
        "eventSource": f"{service}.amazonaws.com", "eventName": name, "eventTime": time, "awsRegion": region,
        "sourceIPAddress": CFN, "requestParameters": parameters, **more,
    }  # fmt: skip
    return {"detail-type": "AWS API Call via CloudTrail", "account": account, "region": region, "detail": detail}


def caused(event, asked=None, **stack_sets):
    named = {f"rolewarden-{name}": call_as for name, call_as in stack_sets.items()}
    return OwnOperations(asked or Asked(UPDATE), STACK, named).caused(event)


PUT = {"roleName": ROLE, "policyName": "Enforce", "policyDocument": json.dumps(ENFORCE_DOCUMENT)}
OWN = [
    call("iam", "PutRolePolicy", PUT, 15, region="us-east-1"),
    call("iam", "PutRolePolicy", {**PUT, "roleName": ROLE.upper()}, 15),
    call("iam", "PutRolePolicy", PUT, 9),  # CloudTrail records whole seconds
    call("iam", "DeleteRolePolicy", {"roleName": ROLE, "policyName": "Former"}, 15),
    call("iam", "PutRolePolicy", {**PUT, "policyName": "NeverOnItself"}, 50),
    call("iam", "UpdateAssumeRolePolicy", {"roleName": ROLE, "policyDocument": json.dumps(ENFORCE_TRUST)}, 15),
    call("lambda", "UpdateFunctionCode20150331v2", {"functionName": "rolewarden-EnforceFunction-X"}, 45),
    call("lambda", "UpdateFunctionCode20150331v2",
         {"functionName": f"arn:aws:lambda:eu-west-1:{CENTRAL}:function:rolewarden-EnforceFunction-X"}, 45),
    call("lambda", "UpdateEventSourceMapping20150331", {"uUID": "5be8a1f4-3e36", "batchSize": 5}, 65),
    call("logs", "PutDataProtectionPolicy", {"logGroupIdentifier": "rolewarden-EnforceLogs-1"}, 65),
    call("sqs", "DeleteQueue", {"queueUrl": "https://sqs/1/old"}, 73),
]  # fmt: skip
OTHERS = {
    "the operation is over": call("iam", "PutRolePolicy", PUT, 300),
    "the operation has not begun": call("iam", "PutRolePolicy", PUT, -60),
    "the resource is not worked on at that time": call("iam", "PutRolePolicy", PUT, 30),
    "another function": call("lambda", "UpdateFunctionCode", {"functionName": "rolewarden-SweepFunction-X"}, 45),
    "another document under the name of a policy": call(
        "iam", "PutRolePolicy", {**PUT, "policyDocument": json.dumps(EVERYTHING)}, 15
    ),
    "another trust policy": call(
        "iam", "UpdateAssumeRolePolicy", {"roleName": ROLE, "policyDocument": json.dumps(EVERYTHING)}, 15
    ),
    "no document": call("iam", "PutRolePolicy", {"roleName": ROLE, "policyName": "Enforce"}, 15),
    "another policy in the role": call("iam", "PutRolePolicy", {**PUT, "policyName": "blind"}, 15),
    "another role": call("iam", "PutRolePolicy", {**PUT, "roleName": "rolewarden-SweepFunctionRole-X"}, 15),
    "another role while a policy is written": call(
        "iam", "PutRolePolicy", {"roleName": "x", "policyName": "NeverOnItself"}, 50
    ),
    "a trail": call("cloudtrail", "StopLogging", {"name": "management"}, 15),
    "no call of CloudFormation": call("iam", "PutRolePolicy", PUT, 15, sourceIPAddress="203.0.113.7"),
    "an address that looks like CloudFormation's": call("iam", "PutRolePolicy", PUT, 15, sourceIPAddress=f"x{CFN}"),
    "another account": call("iam", "PutRolePolicy", PUT, 15, account=OTHER),
    "no time": call("iam", "PutRolePolicy", PUT, 15, eventTime="soon"),
    "no parameters": call("iam", "PutRolePolicy", None, 15),
}


@pytest.mark.parametrize("event", OWN)
def test_a_call_of_an_operation_on_the_own_stack_raises_no_alert(event):
    assert caused(event)


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_call_of_cloudformation_raises_an_alert(name):
    assert not caused(OTHERS[name])


def test_a_caller_who_says_to_be_cloudformation_is_not_believed():
    agent = {"userAgent": CFN, "userIdentity": {"invokedBy": CFN}, "sourceIPAddress": "203.0.113.7"}
    asked = Asked(UPDATE)
    assert not caused(call("iam", "PutRolePolicy", PUT, 15, **agent), asked)
    assert asked.calls == 0


@pytest.mark.parametrize(
    "error",
    [RetryLater("Throttling"), Refused(Reason.REFUSED, "DescribeStackEvents: AccessDenied"), KeyError("model")],
)
def test_if_cloudformation_cannot_be_asked_the_call_raises_an_alert(error):
    assert not caused(OWN[0], Asked(UPDATE, error=error))


def test_a_stack_that_is_created_knows_its_resources_before_they_have_a_name():
    events = [
        of_stack("CREATE_IN_PROGRESS", 0),
        StackEvent(at(10), "Role", "", "AWS::IAM::Role", "CREATE_IN_PROGRESS"),
        StackEvent(at(12), "Role", ROLE, "AWS::IAM::Role", "CREATE_IN_PROGRESS", json.dumps(IN_THE_TEMPLATE)),
    ]
    assert caused(call("iam", "PutRolePolicy", PUT, 14), Asked(events))


def test_an_earlier_operation_is_found_behind_a_later_one():
    later = [of_stack("UPDATE_IN_PROGRESS", 500), of_stack("UPDATE_COMPLETE", 600)]
    assert caused(OWN[0], Asked([*UPDATE, *later]))


def test_many_calls_of_one_deployment_ask_once():
    asked = Asked(UPDATE)
    operations = OwnOperations(asked, STACK, {})
    assert all(operations.caused(event) for event in OWN)
    assert asked.calls == 1


OPERATION = StackSetOperation("op-1", at(0), at(600))
SWEEP_DOCUMENT = {"Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]}
PUT_THERE = {"roleName": "rolewarden-sweep", "policyName": "Sweep", "policyDocument": json.dumps(SWEEP_DOCUMENT)}
OF_SWEEP = {"Policies": [{"PolicyName": "Sweep", "PolicyDocument": SWEEP_DOCUMENT}]}
THERE = [
    of_stack("UPDATE_IN_PROGRESS", 80),
    *worked_on("Sweep", "AWS::IAM::Role", "rolewarden-sweep", 90, 110, OF_SWEEP),
    *worked_on("Moves", "AWS::Events::Rule", "rolewarden-forward-moves", 90, 110),
    of_stack("UPDATE_COMPLETE", 120),
]
IN_MEMBERS = {
    "iam": call("iam", "PutRolePolicy", PUT_THERE, 100, MEMBER, "us-east-1"),
    "events": call("events", "PutRule", {"name": "rolewarden-forward-moves"}, 100, MEMBER, "eu-west-1"),
    "stack": call("cloudformation", "UpdateStack", {"stackName": "StackSet-rolewarden-members-1"}, 100, MEMBER,
                  sourceIPAddress=f"stacksets.{CFN}"),
}  # fmt: skip


def members(operation=OPERATION, places=((MEMBER, "eu-west-1"),), there=THERE):
    return Asked((), {"rolewarden-members": [operation]}, {"op-1": places}, instances={MEMBER: there})


@pytest.mark.parametrize("name", IN_MEMBERS)
def test_a_call_of_an_operation_on_an_own_stack_set_raises_no_alert(name):
    assert caused(IN_MEMBERS[name], members(), members="DELEGATED_ADMIN", forwarders="SELF")


OF_ANOTHER_STACK = {
    "another document": call("iam", "PutRolePolicy", {**PUT_THERE, "policyDocument": json.dumps(EVERYTHING)}, 100,
                             MEMBER, "us-east-1"),
    "another policy": call("iam", "PutRolePolicy", {**PUT_THERE, "policyName": "blind"}, 100, MEMBER, "us-east-1"),
    "another role": call("iam", "PutRolePolicy", {**PUT_THERE, "roleName": "rolewarden-enforce"}, 100, MEMBER,
                         "us-east-1"),
    "a rule that is not worked on": call("events", "RemoveTargets", {"rule": "rolewarden-forward-roles"}, 100, MEMBER,
                                         "eu-west-1"),
    "the queue": call("sqs", "DeleteQueue", {"queueUrl": f"https://sqs/{MEMBER}/rolewarden-undelivered"}, 100, MEMBER,
                      "eu-west-1"),
    "after the stack is done": call("events", "PutRule", {"name": "rolewarden-forward-moves"}, 300, MEMBER,
                                    "eu-west-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ANOTHER_STACK)
def test_a_call_of_another_stack_in_the_account_during_such_an_operation_raises_an_alert(name):
    assert not caused(OF_ANOTHER_STACK[name], members(), members="DELEGATED_ADMIN")


def by(role, event=IN_MEMBERS["iam"]):
    """An event with a call that CloudFormation makes for a caller who works as a role."""
    issuer = {"type": "Role", "accountId": MEMBER, "userName": role, "arn": f"arn:aws:iam::{MEMBER}:role/{role}"}
    identity = {"type": "AssumedRole", "invokedBy": CFN, "sessionContext": {"sessionIssuer": issuer}}
    return {**event, "detail": {**event["detail"], "userIdentity": identity}}


EXECUTION_ROLE = "stacksets-exec-899a82a2cb437e970934262f85c7628a"


@pytest.mark.parametrize(
    "asked",
    [
        members(there=Refused(Reason.NOT_ENTERED, "AssumeRole: AccessDenied")),
        Asked((), {"rolewarden-members": [OPERATION]}, {"op-1": ((MEMBER, "eu-west-1"),)}),
    ],
    ids=["the account cannot be entered", "the account has no stack any more"],
)
def test_without_the_events_of_a_stack_there_the_operation_and_the_role_of_stacksets_decide(asked):
    assert caused(by(EXECUTION_ROLE), asked, members="DELEGATED_ADMIN")
    for event in (by("Developer"), by("not-stacksets-exec-1"), IN_MEMBERS["iam"]):
        assert not caused(event, asked, members="DELEGATED_ADMIN")
    assert not caused(by(EXECUTION_ROLE), members(StackSetOperation("op-1", at(200), None)), members="DELEGATED_ADMIN")


def test_an_answer_that_cloudformation_refuses_is_no_operation_whoever_calls():
    refused = members(there=Refused(Reason.REFUSED, "DescribeStackEvents: AccessDenied"))
    assert not caused(by(EXECUTION_ROLE), refused, members="DELEGATED_ADMIN")


@pytest.mark.parametrize("name", IN_MEMBERS)
@pytest.mark.parametrize(
    "asked",
    [members(StackSetOperation("op-1", at(200), None)), members(StackSetOperation("op-1", at(0), at(50))),
     members(places=((OTHER, "eu-west-1"),)), Asked()],
    ids=["later", "earlier", "elsewhere", "none"],
)  # fmt: skip
def test_a_call_in_a_member_account_outside_of_these_operations_raises_an_alert(name, asked):
    assert not caused(IN_MEMBERS[name], asked, members="DELEGATED_ADMIN")


def test_another_region_of_the_same_account_raises_an_alert():
    event = call("events", "PutRule", {"name": "rolewarden-forward-moves"}, 100, MEMBER, "ap-south-1")
    assert not caused(event, members(), members="DELEGATED_ADMIN")


def test_an_operation_of_a_stack_set_excuses_no_call_in_the_region_of_the_stack():
    asked = Asked((), {"rolewarden-forwarders": [OPERATION]}, {"op-1": ((CENTRAL, "eu-west-1"),)})
    assert not caused(call("iam", "PutRolePolicy", PUT, 100), asked, forwarders="SELF")


def test_a_trail_in_a_member_account_raises_an_alert_during_an_operation_too():
    event = call("cloudtrail", "StopLogging", {"name": "management"}, 100, MEMBER, "eu-west-1")
    assert not caused(event, members(), members="DELEGATED_ADMIN")


@pytest.mark.parametrize("value", [None, [], "text", {}, {"detail": 3}, {"detail-type": "AWS API Call via CloudTrail"}])
def test_any_value_is_no_call_of_an_own_operation(value: Any):
    assert not caused(value)


def test_findings_are_never_left_out():
    event = json.loads((ROOT / "events/finding_role.json").read_text())
    assert not caused({**event, "detail": {**event["detail"], "sourceIPAddress": CFN}})


DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}
TRUST = {"Version": "2012-10-17", "Statement": []}


def operate(operation, name, resources):
    """An operation on a stack in the local AWS; gives the calls of it that CloudTrail records."""
    local, cloudformation = LocalAws.start(), boto3.client("cloudformation")
    before = len(local.events)
    template = json.dumps({"Resources": resources})
    getattr(cloudformation, operation)(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
    while (found := cloudformation.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("PROGRESS"):
        time.sleep(0.01)
    assert found["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    return found["StackId"], [
        event for event in list(local.events)[before:] if event["detail"]["sourceIPAddress"] == CFN
    ]


def role_with(*policies):
    named = [{"PolicyName": name, "PolicyDocument": DOCUMENT} for name in policies]
    properties = {"RoleName": ROLE, "AssumeRolePolicyDocument": TRUST, "Policies": named}
    return {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}


def test_the_local_cloudformation_tells_the_own_stack_from_another_that_changes_the_same_role(aws):
    aws.reset()
    aws.records_stack_calls = True
    own, made = operate("create_stack", "rolewarden", role_with("Enforce"))
    time.sleep(3)  # longer than SLACK, so that the next operation is apart from this one
    properties = {"PolicyName": "blind", "Roles": [ROLE], "PolicyDocument": DOCUMENT}
    _, foreign = operate("create_stack", "theirs", {"Blind": {"Type": "AWS::IAM::Policy", "Properties": properties}})
    time.sleep(3)
    _, changed = operate("update_stack", "rolewarden", role_with("Enforce", "More"))
    operations = OwnOperations(StackReader(Aws()), own, {})
    assert [event["detail"]["eventName"] for event in foreign] == ["PutRolePolicy"]
    assert len(made) == 2
    assert len(changed) == 3
    assert [operations.caused(event) for event in made + changed] == [True] * 5
    assert [operations.caused(event) for event in foreign] == [False]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("PutRolePolicy", {"policyName": "Backdoor", "policyDocument": json.dumps(EVERYTHING)}),
        ("UpdateAssumeRolePolicy", {"policyDocument": json.dumps(EVERYTHING)}),
        ("AttachRolePolicy", {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ("PutRolePermissionsBoundary", {"permissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
    ],
)
def test_a_call_that_gives_a_role_something_while_the_stack_deletes_a_policy_is_no_own_operation(name, parameters):
    deleted = worked_on("EnterAsEnforce", "AWS::IAM::Policy", "x", 10, 20, action="DELETE")
    asked = Asked([of_stack("UPDATE_IN_PROGRESS", 0), *deleted])
    assert not caused(call("iam", name, {"roleName": ROLE, **parameters}, 15), asked)
    assert caused(call("iam", "DeleteRolePolicy", {"roleName": ROLE, "policyName": "Enter"}, 15), asked)
