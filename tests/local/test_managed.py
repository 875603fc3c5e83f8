"""AWS's managed policies in the local AWS allow what they allow in AWS."""

import json

import pytest
from rolewarden_local.emulated.managed import MANAGED
from rolewarden_local.scenes.seed import BEDROCK_POLICIES, CANVAS_POLICIES, TRUST

AWS_OWNED = "arn:aws:iam::aws:policy/"
CANVAS, AI_SERVICES = f"{AWS_OWNED}AmazonSageMakerCanvasFullAccess", f"{AWS_OWNED}AmazonSageMakerCanvasAIServicesAccess"
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
OF_CANVAS, OF_OTHERS = (f"arn:aws:sagemaker:us-east-1:111122223333:endpoint/{name}" for name in ("canvas-a", "other-a"))


def allows(iam, policies, action, resource):
    iam.create_role(RoleName="Someone", AssumeRolePolicyDocument=TRUST)
    for policy in policies:
        iam.attach_role_policy(RoleName="Someone", PolicyArn=policy)
    arn = iam.get_role(RoleName="Someone")["Role"]["Arn"]
    found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource])
    return found["EvaluationResults"][0]["EvalDecision"] == "allowed"


@pytest.mark.parametrize(
    ("policies", "action", "resource", "expected"),
    [
        ([CANVAS], "bedrock:InvokeModel", MODEL, False),
        ([AI_SERVICES], "bedrock:InvokeModel", MODEL, True),
        ([AI_SERVICES], "bedrock:CreateModelInvocationJob", MODEL, False),
        (CANVAS_POLICIES, "bedrock-mantle:CreateInference", "*", False),
        (BEDROCK_POLICIES, "bedrock:InvokeModel", MODEL, False),
        ([CANVAS], "sagemaker:CreateEndpoint", OF_CANVAS, True),
        ([CANVAS], "sagemaker:CreateEndpoint", OF_OTHERS, False),
        (CANVAS_POLICIES, "sagemaker:CreateEndpoint", OF_OTHERS, True),
        (CANVAS_POLICIES, "iam:CreateRole", "*", False),
    ],
)
def test_a_managed_policy_allows_what_aws_publishes(iam, policies, action, resource, expected):
    assert allows(iam, policies, action, resource) is expected


def test_the_policies_have_their_versions_also_after_a_reset(iam):
    for arn in MANAGED:
        policy = iam.get_policy(PolicyArn=arn)["Policy"]
        version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        document = version["Document"]
        statements = (document if isinstance(document, dict) else json.loads(document))["Statement"]
        assert all(statement["Effect"] == "Allow" for statement in statements)
        assert {"Action": "*", "Resource": "*"} not in [
            {key: statement.get(key) for key in ("Action", "Resource")} for statement in statements
        ]
    assert iam.get_policy(PolicyArn=CANVAS)["Policy"]["DefaultVersionId"] == "v11"
