"""Ordinary work, and deployments by CloudFormation and Terraform, that all service control policies together allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from rolewarden.guardrails import Rules
from rolewarden.packing import Document
from rolewarden.prevention import wider_callers
from rolewarden_cli.admission import AdmissionPolicies
from rolewarden_cli.protect import Protection

from tests.guardrails import prevention
from tests.guardrails.prevention import HERE, Call, is_denied, scps
from tests.guardrails.probes import Request
from tests.resource_types import handlers
from tests.stacks import deployed, whole

APPROVER = f"arn:aws:iam::{HERE}:role/approve-models"
ADMIN = f"arn:aws:iam::{HERE}:role/Admin"
CLOUDFORMATION = f"arn:aws:iam::{HERE}:role/cfn-execution"
ANALYST = f"arn:aws:iam::{HERE}:role/service-role/CanvasAnalytics"
PIPELINE = f"arn:aws:iam::{HERE}:role/SageMakerPipeline"
STUDIO = f"arn:aws:iam::{HERE}:role/service-role/AmazonSageMakerManageAccess"
PROJECT = f"arn:aws:iam::{HERE}:role/datazone_usr_role_abc_def"


def sagemaker(resource: str) -> str:
    return f"arn:aws:sagemaker:us-east-1:{HERE}:{resource}"


def passed(role: str, service: str) -> tuple[str, str, dict[str, str]]:
    return ("iam:PassRole", role, {"iam:PassedToService": f"{service}.amazonaws.com"})


PROFILE, DOMAIN = sagemaker("user-profile/d-1/alice"), sagemaker("domain/d-1")
TAGGED = {"aws:RequestTag/team": "research", "aws:TagKeys": "team"}
WORK = [
    (ADMIN, "sagemaker:CreateDomain", DOMAIN, TAGGED),
    (ADMIN, *passed(ANALYST, "sagemaker")),
    (ADMIN, "sagemaker:AddTags", DOMAIN, {"aws:TagKeys": "team"}),
    (ADMIN, "sagemaker:DeleteTags", PROFILE, {"aws:TagKeys": "team"}),
    (ADMIN, "sagemaker:CreateUserProfile", PROFILE, TAGGED),
    (ADMIN, "sagemaker:UpdateUserProfile", PROFILE, {}),
    (ADMIN, "sagemaker:UpdateDomain", DOMAIN, {}),
    (ADMIN, "sagemaker:DeleteUserProfile", PROFILE, {}),
    (ADMIN, "sagemaker:CreatePresignedDomainUrl", PROFILE, {}),
    (ADMIN, "iam:CreateRole", f"arn:aws:iam::{HERE}:role/service-role/CanvasNew", {}),
    (ADMIN, "iam:AttachRolePolicy", ANALYST, {"iam:PolicyARN": "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"}),
    # The exempt role is wider than others, so admission leaves these two to approvers.
    (APPROVER, "sts:AssumeRole", f"arn:aws:iam::{HERE}:role/CanvasBreakGlass", {}),
    (APPROVER, *passed(f"arn:aws:iam::{HERE}:role/CanvasBreakGlass", "sagemaker")),
    (ADMIN, "bedrock:ListFoundationModels", "*", {}),
    (ADMIN, "bedrock:GetFoundationModel", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", {}),
    (ADMIN, "bedrock:CreateGuardrail", f"arn:aws:bedrock:us-east-1:{HERE}:guardrail/g1", {}),
    (ADMIN, "bedrock:DeleteCustomModel", f"arn:aws:bedrock:us-east-1:{HERE}:custom-model/m1", {}),
    (ADMIN, "organizations:ListPolicies", "*", {}),
    (CLOUDFORMATION, "sagemaker:CreateDomain", DOMAIN, TAGGED),
    (CLOUDFORMATION, "sagemaker:AddTags", DOMAIN, {"aws:TagKeys": ["aws:cloudformation:stack-name", "team"]}),
    (CLOUDFORMATION, *passed(ANALYST, "sagemaker")),
    (CLOUDFORMATION, *passed(f"arn:aws:iam::{HERE}:role/function", "lambda")),
    (ANALYST, "sagemaker:CreateApp", sagemaker("app/d-1/alice/canvas/default"), {}),
    (ANALYST, "sagemaker:CreateAutoMLJobV2", sagemaker("automl-job/canvas-1"), TAGGED),
    (ANALYST, "sagemaker:CreateAutoMLJob", sagemaker("automl-job/canvas-2"), {}),
    (ANALYST, "sagemaker:CreateTrainingJob", sagemaker("training-job/canvas-1"), TAGGED),
    (ANALYST, *passed(ANALYST, "sagemaker")),
    (ANALYST, "sagemaker:CreateProcessingJob", sagemaker("processing-job/canvas-1"), {}),
    (ANALYST, "sagemaker:CreateTransformJob", sagemaker("transform-job/canvas-1"), {}),
    (ANALYST, "sagemaker:CreateModel", sagemaker("model/canvas-1"), TAGGED),
    (ANALYST, "sagemaker:CreateEndpointConfig", sagemaker("endpoint-config/canvas-1"), TAGGED),
    (ANALYST, "sagemaker:CreateEndpoint", sagemaker("endpoint/canvas-1"), TAGGED),
    (ANALYST, "sagemaker:InvokeEndpoint", sagemaker("endpoint/canvas-1"), {"aws:ResourceTag/team": "research"}),
    (ANALYST, "sagemaker:UpdateEndpoint", sagemaker("endpoint/canvas-1"), {}),
    (ANALYST, "sagemaker:DeleteEndpoint", sagemaker("endpoint/canvas-1"), {}),
    (ANALYST, "sagemaker:CreateModelPackage", sagemaker("model-package/canvas/1"), {}),
    (ANALYST, "s3:GetObject", "arn:aws:s3:::sagemaker-us-east-1-111122223333/data.csv", {}),
    (ANALYST, "s3:PutObject", "arn:aws:s3:::sagemaker-us-east-1-111122223333/model.tar.gz", {}),
    (ANALYST, "forecast:CreatePredictor", "*", {}),
    (ANALYST, "athena:StartQueryExecution", f"arn:aws:athena:us-east-1:{HERE}:workgroup/primary", {}),
    (ANALYST, "glue:GetTables", f"arn:aws:glue:us-east-1:{HERE}:catalog", {}),
    (ANALYST, "rekognition:DetectLabels", "*", {}),
    (PIPELINE, "sagemaker:StartPipelineExecution", sagemaker("pipeline/weekly"), {}),
    (PIPELINE, "sagemaker:CreateTrainingJob", sagemaker("training-job/pipelines-1"), TAGGED),
    (PIPELINE, "sagemaker:CreateHyperParameterTuningJob", sagemaker("hyper-parameter-tuning-job/t"), {}),
    (PIPELINE, *passed(PIPELINE, "sagemaker")),
    (PIPELINE, "sagemaker:RegisterModel", "*", {}),
    (PIPELINE, "ecr:BatchGetImage", f"arn:aws:ecr:us-east-1:{HERE}:repository/training", {}),
    (PIPELINE, "logs:PutLogEvents", f"arn:aws:logs:us-east-1:{HERE}:log-group:/aws/sagemaker:log-stream:x", {}),
    (STUDIO, "datazone:CreateProject", "*", {}),
    (STUDIO, "datazone:CreateEnvironment", "*", {}),
    (STUDIO, "sagemaker:CreateDomain", DOMAIN, {"aws:TagKeys": "AmazonDataZoneProject"}),
    (STUDIO, *passed(PROJECT, "sagemaker")),
    (STUDIO, "cloudformation:CreateStack", f"arn:aws:cloudformation:us-east-1:{HERE}:stack/DataZone-Env-1/1", {}),
    (PROJECT, "sagemaker:CreateSpace", sagemaker("space/d-1/s"), {}),
    (PROJECT, "redshift-data:ExecuteStatement", "*", {}),
    (PROJECT, "emr-serverless:StartJobRun", f"arn:aws:emr-serverless:us-east-1:{HERE}:/applications/a", {}),
]


@cache
def every_scp(rules: Callable[[], Rules]) -> dict[str, Document]:
    """The SCPs of models, of admission and of protection of a stack with every resource."""
    admission = AdmissionPolicies(wider_callers(rules(), "aws"), (APPROVER,)).documents()
    protection = Protection(deployed(whole())).service_control_policy()
    return {**scps(rules()), **admission, "protection": protection}


def is_allowed(rules: Callable[[], Rules], caller: str, request: Request, session: str = "AROAEXAMPLE:me") -> bool:
    """Whether all SCPs together allow a request."""
    context = {**Call(request, caller, session=session).context, "aws:RequestedRegion": "us-east-1"}
    return not is_denied(every_scp(rules), request, context)


@pytest.mark.parametrize("rules", [prevention.shipped, prevention.organization])
@pytest.mark.parametrize(("caller", "action", "resource", "context"), WORK)
def test_ordinary_work_of_an_unlisted_caller_is_allowed(rules, caller, action, resource, context) -> None:
    # Only the sessions of these callers have the name that SageMaker gives.
    session = "AROAEXAMPLE:SageMaker" if caller in {ANALYST, PIPELINE, PROJECT} else "AROAEXAMPLE:me"
    assert is_allowed(rules, caller, Request("", action, [resource], context), session)


def test_the_page_has_the_number_of_probes_of_ordinary_work() -> None:
    assert len(WORK) >= 40
    assert f"{len(WORK)} requests of ordinary work" in prevention.EXPLANATION.read_text(encoding="utf-8")


TERRAFORM = {
    "aws_iam_role": (
        "iam:CreateRole", "iam:GetRole", "iam:ListRoles", "iam:ListRoleTags", "iam:ListRolePolicies",
        "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole",
        "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy",
        "iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary", "iam:DeleteRole",
    ),
    "aws_sagemaker_domain": (
        "iam:PassRole", "sagemaker:CreateDomain", "sagemaker:DescribeDomain", "sagemaker:UpdateDomain",
        "sagemaker:ListTags", "sagemaker:AddTags", "sagemaker:DeleteTags", "sagemaker:DeleteDomain",
    ),
    "aws_sagemaker_user_profile": (
        "iam:PassRole", "sagemaker:CreateUserProfile", "sagemaker:DescribeUserProfile", "sagemaker:UpdateUserProfile",
        "sagemaker:ListTags", "sagemaker:AddTags", "sagemaker:DeleteTags", "sagemaker:DeleteUserProfile",
    ),
}  # fmt: skip
"""The permissions that Terraform's AWS provider uses for a resource, from its calls."""

CLOUDFORMATION_TYPES = (
    "AWS::IAM::Role",
    "AWS::SageMaker::Domain",
    "AWS::SageMaker::UserProfile",
    "AWS::SageMaker::Space",
)
WIDER = {
    prevention.shipped: f"arn:aws:iam::{HERE}:role/CanvasBreakGlass",
    prevention.organization: f"arn:aws:iam::{HERE}:role/canvas/only-nova-and-sonnet/Research",
}
"""A wider role of each file."""


def deployment(role: str) -> Iterator[Request]:
    """The requests of both tools that create, read, update and delete a role, and a domain and user profile with it."""
    by_type = [(kind, {action for found in handlers(kind).values() for action in found})
               for kind in CLOUDFORMATION_TYPES]  # fmt: skip
    for kind, actions in (*by_type, *TERRAFORM.items()):
        for action in sorted(actions):
            name = action.partition(":")[2]
            resource = PROFILE if "UserProfile" in name else DOMAIN if "Domain" in name or "Tags" in name else "*"
            of_tags = {"aws:TagKeys": ["aws:cloudformation:stack-name", "team"]} if "Tags" in name else {}
            yield Request(
                kind,
                action,
                [role if "Role" in name and "iam:" in action and "ServiceLinked" not in name else resource],
                {"iam:PassedToService": "sagemaker.amazonaws.com"} if name == "PassRole" else of_tags,
            )


@pytest.mark.parametrize("rules", WIDER)
def test_cloudformation_and_terraform_deploy_ordinary_roles_for_everybody_and_wider_ones_for_approvers(rules) -> None:
    ordinary, wider = list(deployment(ANALYST)), list(deployment(WIDER[rules]))
    assert len(ordinary) > 100
    assert [(caller, one) for caller in (ADMIN, CLOUDFORMATION, APPROVER) for one in ordinary
            if not is_allowed(rules, caller, one)] == []  # fmt: skip
    assert [one for one in wider if not is_allowed(rules, APPROVER, one)] == []
    for caller in (ADMIN, CLOUDFORMATION):
        assert {one.action for one in wider if not is_allowed(rules, caller, one)} == {
            "iam:CreateRole", "iam:PassRole", "iam:UpdateAssumeRolePolicy",
        }  # fmt: skip
