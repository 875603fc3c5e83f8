"""The policy simulator of the local AWS: IAM's answers about a role."""

import json

import boto3
import pytest

from tests.local.conftest import refusal

NOVA = "arn:aws:bedrock:::foundation-model/amazon.nova-pro-v1:0"
CLAUDE = "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-v2"
ENDPOINT = "arn:aws:sagemaker:eu-west-1:111122223333:endpoint/x"
TAG = "aws:ResourceTag/sagemaker-sdk:jumpstart-model-id"
ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY_TAGGED = {
    "Sid": "JumpStart",
    "Effect": "Deny",
    "Action": "sagemaker:InvokeEndpoint*",
    "Resource": "*",
    "Condition": {"StringLike": {TAG: "huggingface-*"}},
}
DENY_CLAUDE = {
    "Effect": "Deny",
    "Action": "bedrock:InvokeModel*",
    "Resource": "arn:aws:bedrock:*::foundation-model/anthropic.*",
}


def text(*statements: dict, indent: int | None = None) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=indent)


def entry(name: str, *values: str, kind: str = "string") -> dict:
    return {"ContextKeyName": name, "ContextKeyValues": list(values), "ContextKeyType": kind}


def custom(iam, *policies: str, actions: list[str] | None = None, **more: object) -> list[dict]:
    answer = iam.simulate_custom_policy(
        PolicyInputList=list(policies), ActionNames=actions or ["bedrock:InvokeModel"], **more
    )
    return answer["EvaluationResults"]


@pytest.fixture
def arn(iam, role):
    return iam.get_role(RoleName=role)["Role"]["Arn"]


@pytest.fixture
def simulated(iam, arn):
    """Simulate a request with the role's own policies, and return the results."""

    def simulate(*actions: str, **more: object) -> list[dict]:
        answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=list(actions), **more)
        return answer["EvaluationResults"]

    return simulate


def attach(iam, role: str, name: str, document: str) -> str:
    policy = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=policy)
    return policy


@pytest.mark.parametrize(
    ("model", "decision"), [("huggingface-llm-falcon", "explicitDeny"), ("xgboost", "allowed"), (None, "allowed")]
)
def test_a_deny_on_a_resource_tag_depends_on_the_tag_of_the_request(iam, role, simulated, model, decision):
    attach(iam, role, "admin", text(ALLOW_ALL))
    attach(iam, role, "guardrail", text(DENY_TAGGED))
    context = [entry(TAG.upper(), model)] if model else []
    (result,) = simulated("sagemaker:InvokeEndpoint", ResourceArns=[ENDPOINT], ContextEntries=context)
    assert result["EvalActionName"] == "sagemaker:InvokeEndpoint"
    assert (result["EvalResourceName"], result["EvalDecision"]) == (ENDPOINT, decision)
    sources = [matched["SourcePolicyId"] for matched in result["MatchedStatements"]]
    assert sources == (["guardrail"] if decision == "explicitDeny" else ["admin"])


def test_a_role_has_its_inline_policies_and_the_default_versions_of_managed_ones(iam, role, simulated):
    policy = attach(iam, role, "admin", text(ALLOW_ALL))
    iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=text(DENY_CLAUDE))
    denied, allowed = simulated("bedrock:InvokeModel", "bedrock:GetAgent", ResourceArns=[CLAUDE])
    assert denied["EvalDecision"] == "explicitDeny"
    (matched,) = denied["MatchedStatements"]
    assert (matched["SourcePolicyId"], matched["SourcePolicyType"]) == ("role_analyst_own", "IAM Policy")
    assert (allowed["EvalActionName"], allowed["EvalDecision"]) == ("bedrock:GetAgent", "allowed")
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=text(DENY_TAGGED), SetAsDefault=False)
    assert simulated("bedrock:GetAgent")[0]["EvalDecision"] == "allowed"
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v2")
    assert simulated("bedrock:GetAgent")[0]["EvalDecision"] == "implicitDeny"


def test_a_policy_of_aws_is_simulated_next_to_one_of_the_same_name(iam, role, simulated):
    iam.attach_role_policy(RoleName=role, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    assert simulated("bedrock:InvokeModel")[0]["EvalDecision"] == "allowed"
    attach(iam, role, "AdministratorAccess", text({**DENY_CLAUDE, "Resource": "*"}))
    (result,) = simulated("bedrock:InvokeModel")
    assert result["EvalDecision"] == "explicitDeny"
    assert [matched["SourcePolicyId"] for matched in result["MatchedStatements"]] == ["AdministratorAccess"]


def test_policies_of_the_request_are_added_to_those_of_the_role(iam, role, simulated):
    attach(iam, role, "admin", text(ALLOW_ALL))
    more = [text(DENY_TAGGED), text({**DENY_CLAUDE, "Resource": "*"})]
    (result,) = simulated("bedrock:InvokeModel", PolicyInputList=more)
    assert result["EvalDecision"] == "explicitDeny"
    assert [matched["SourcePolicyId"] for matched in result["MatchedStatements"]] == ["PolicyInputList.2"]


def test_a_user_has_the_policies_of_their_groups(iam):
    user = iam.create_user(UserName="ana")["User"]["Arn"]
    iam.create_group(GroupName="readers")
    iam.add_user_to_group(UserName="ana", GroupName="readers")
    iam.put_group_policy(GroupName="readers", PolicyName="all", PolicyDocument=text(ALLOW_ALL))
    iam.put_user_policy(UserName="ana", PolicyName="no", PolicyDocument=text(DENY_CLAUDE))

    def simulate(source: str, resource: str) -> list:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=source, ActionNames=["bedrock:InvokeModel"], ResourceArns=[resource]
        )
        return [matched["SourcePolicyId"] for matched in answer["EvaluationResults"][0]["MatchedStatements"]]

    assert simulate(user, NOVA) == ["group_readers_all"]
    assert simulate(user, CLAUDE) == ["user_ana_no"]
    group = iam.get_group(GroupName="readers")["Group"]["Arn"]
    assert simulate(group, CLAUDE) == ["group_readers_all"]


def test_a_boundary_limits_the_role_and_the_result_shows_it(iam, role, simulated):
    attach(iam, role, "admin", text(ALLOW_ALL))
    assert "PermissionsBoundaryDecisionDetail" not in simulated("s3:GetObject")[0]
    limits = text({**ALLOW_ALL, "Action": ["bedrock:*"]}, DENY_CLAUDE)
    boundary = iam.create_policy(PolicyName="limits", PolicyDocument=limits)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)
    (outside,) = simulated("s3:GetObject")
    assert outside["EvalDecision"] == "implicitDeny"
    assert outside["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    (inside,) = simulated("bedrock:InvokeModel", ResourceArns=[NOVA])
    assert inside["EvalDecision"] == "allowed"
    assert inside["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": True}
    (denied,) = simulated("bedrock:InvokeModel", ResourceArns=[CLAUDE])
    assert denied["EvalDecision"] == "explicitDeny"
    (matched,) = denied["MatchedStatements"]
    assert (matched["SourcePolicyId"], matched["SourcePolicyType"]) == ("limits", "Permissions Boundary Policy")
    assert denied["ResourceSpecificResults"][0]["PermissionsBoundaryDecisionDetail"] == {
        "AllowedByPermissionsBoundary": False
    }


def test_a_boundary_of_the_request_takes_the_place_of_the_roles_own(iam, role, simulated):
    attach(iam, role, "admin", text(ALLOW_ALL))
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess")
    (result,) = simulated("bedrock:InvokeModel", PermissionsBoundaryPolicyInputList=[text(DENY_CLAUDE)])
    assert result["EvalDecision"] == "implicitDeny"


def test_a_model_without_a_region_is_a_resource(iam):
    deny = text(ALLOW_ALL, {**DENY_CLAUDE, "Resource": "arn:aws:bedrock:::foundation-model/amazon.nova-*"})
    assert custom(iam, deny, ResourceArns=[NOVA])[0]["EvalDecision"] == "explicitDeny"
    assert custom(iam, deny, ResourceArns=[CLAUDE])[0]["EvalDecision"] == "allowed"


def test_without_resources_the_simulation_is_about_all_of_them(iam):
    (result,) = custom(iam, text(ALLOW_ALL, DENY_CLAUDE))
    assert (result["EvalResourceName"], result["EvalDecision"]) == ("*", "allowed")
    assert "ResourceSpecificResults" not in result


def test_each_resource_has_its_own_decision_and_the_action_the_most_restrictive(iam):
    policy = text({**ALLOW_ALL, "Resource": ["arn:aws:bedrock:*:*:*"]}, DENY_CLAUDE)
    results = custom(iam, policy, ResourceArns=[NOVA, CLAUDE], actions=["bedrock:InvokeModel", "bedrock:Rerank"])
    assert [result["EvalDecision"] for result in results] == ["explicitDeny", "allowed"]
    decisions = {
        specific["EvalResourceName"]: specific["EvalResourceDecision"]
        for specific in results[0]["ResourceSpecificResults"]
    }
    assert decisions == {NOVA: "allowed", CLAUDE: "explicitDeny"}
    assert len(results[0]["MatchedStatements"]) == 1
    other = custom(iam, policy, ResourceArns=[NOVA, ENDPOINT], actions=["bedrock:Rerank"])
    assert other[0]["EvalDecision"] == "implicitDeny"


def test_all_values_of_a_key_are_evaluated(iam):
    deny = {**ALLOW_ALL, "Effect": "Deny", "Condition": {"ForAnyValue:StringLike": {"aws:TagKeys": "*jumpstart*"}}}
    keys = entry("aws:TagKeys", "team", "sm-jumpstart-id", kind="stringList")
    action = ["sagemaker:DeleteTags"]
    (denied,) = custom(iam, text(ALLOW_ALL, deny), actions=action, ContextEntries=[keys])
    assert denied["EvalDecision"] == "explicitDeny"
    keys["ContextKeyValues"].pop()
    (allowed,) = custom(iam, text(ALLOW_ALL, deny), actions=action, ContextEntries=[keys])
    assert allowed["EvalDecision"] == "allowed"


def test_an_implicit_deny_names_the_keys_of_the_policies_that_the_request_lacks(iam):
    # The result also has the keys of another action and of a policy variable, each in the policy's spelling.
    policy = text(
        {**ALLOW_ALL, "Action": "bedrock:*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "a"}}},
        {**ALLOW_ALL, "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}/*"},
        DENY_TAGGED,
    )
    (result,) = custom(iam, policy)
    assert result["EvalDecision"] == "implicitDeny"
    assert result["MissingContextValues"] == ["aws:PrincipalTag/team", TAG, "aws:username"]
    (result,) = custom(iam, policy, ContextEntries=[entry("AWS:principaltag/team", "b")], ResourceArns=[NOVA])
    assert result["ResourceSpecificResults"][0]["MissingContextValues"] == [TAG, "aws:username"]
    (result,) = custom(iam, policy, ContextEntries=[entry("aws:PrincipalTag/team", "a")])
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("allowed", [])


def test_the_simulator_knows_the_caller(iam, role, arn, simulated):
    allow = {**ALLOW_ALL, "Condition": {"ArnEquals": {"aws:PrincipalArn": arn}}}
    attach(iam, role, "self", text(allow))
    assert simulated("s3:GetObject")[0]["EvalDecision"] == "allowed"
    other = entry("aws:PrincipalArn", "arn:aws:iam::111122223333:role/other")
    assert simulated("s3:GetObject", ContextEntries=[other])[0]["EvalDecision"] == "implicitDeny"
    as_other = {"CallerArn": "arn:aws:iam::111122223333:role/other"}
    assert simulated("s3:GetObject", **as_other)[0]["EvalDecision"] == "implicitDeny"


def place(policy: str, position: dict) -> int:
    """The offset of a position in a policy's text."""
    return sum(len(line) for line in policy.splitlines(keepends=True)[: position["Line"] - 1]) + position["Column"] - 1


@pytest.mark.parametrize("indent", [None, 2, 4])
def test_a_position_points_to_the_statement_in_the_text_of_the_policy(iam, indent):
    policy = text(ALLOW_ALL, DENY_TAGGED, DENY_CLAUDE, {**DENY_CLAUDE, "Resource": "*"}, indent=indent)
    (result,) = custom(iam, policy, ResourceArns=[CLAUDE])
    found = [
        json.loads(
            policy[place(policy, matched["StartPosition"]) : place(policy, matched["EndPosition"])].lstrip(", \n")
        )
        for matched in result["MatchedStatements"]
    ]
    assert found == [DENY_CLAUDE, {**DENY_CLAUDE, "Resource": "*"}]


# Positions in AWS's answers: AdministratorAccess from public records, and the examples of the AWS CLI's
# reference on simulate-custom-policy (with another operator of the same length) and simulate-principal-policy.
ADMINISTRATOR = text(ALLOW_ALL, indent=2)
IN_NO_LIST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":'
    '{"StringNotEquals":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}'
)
INDENTED = text({**ALLOW_ALL, "Sid": "List", "Action": "codecommit:ListRepositories"}, indent=4)


@pytest.mark.parametrize(
    ("policy", "action", "start", "end"),
    [
        (ADMINISTRATOR, "s3:GetObject", (3, 17), (8, 6)),
        (IN_NO_LIST, "dynamodb:CreateBackup", (1, 38), (1, 167)),
        (INDENTED, "codecommit:ListRepositories", (3, 19), (9, 10)),
    ],
)
def test_positions_are_those_that_aws_answers(iam, policy, action, start, end):
    (result,) = custom(iam, policy, actions=[action])
    (matched,) = result["MatchedStatements"]
    assert tuple(matched["StartPosition"].values()) == start
    assert tuple(matched["EndPosition"].values()) == end


def test_results_come_in_pages(iam):
    actions = [f"s3:Action{number}" for number in range(105)]
    parameters = {"PolicyInputList": [text(ALLOW_ALL)], "ActionNames": actions}
    first = iam.simulate_custom_policy(**parameters)
    assert first["IsTruncated"]
    assert len(first["EvaluationResults"]) == 100
    rest = iam.simulate_custom_policy(**parameters, Marker=first["Marker"])
    assert not rest["IsTruncated"]
    assert "Marker" not in rest
    results = first["EvaluationResults"] + rest["EvaluationResults"]
    assert [result["EvalActionName"] for result in results] == actions
    pages = iam.get_paginator("simulate_custom_policy").paginate(**parameters, PaginationConfig={"PageSize": 50})
    assert [len(page["EvaluationResults"]) for page in pages] == [50, 50, 5]


def test_another_accounts_role_is_unknown(arn, aws):
    other = boto3.client("iam", region_name="eu-west-1", aws_access_key_id="444455556666", aws_secret_access_key="x")
    code, _, status = refusal(other.simulate_principal_policy, PolicySourceArn=arn, ActionNames=["s3:GetObject"])
    assert (code, status) == ("NoSuchEntity", 404)


@pytest.mark.parametrize("name", ["service-role/nobody", "analyst", "other/analyst"])
def test_a_role_that_does_not_exist_under_its_path_is_unknown(iam, role, name):
    source = f"arn:aws:iam::111122223333:role/{name}"
    assert refusal(iam.simulate_principal_policy, PolicySourceArn=source, ActionNames=["s3:GetObject"]) == (
        "NoSuchEntity",
        f"The role with name {name.split('/')[-1]} cannot be found.",
        404,
    )


def test_a_session_cannot_be_simulated(iam):
    session = "arn:aws:sts::111122223333:assumed-role/analyst/me"
    assert refusal(iam.simulate_principal_policy, PolicySourceArn=session, ActionNames=["s3:GetObject"]) == (
        "InvalidInput",
        f"Invalid Entity Arn: {session} does not clearly define entity type and name.",
        400,
    )


@pytest.mark.parametrize(
    ("parameters", "code", "says"),
    [
        ({"ActionNames": ["GetObject"]}, "InvalidInput", "missing names"),
        ({"ActionNames": ["s3:Get Object"]}, "InvalidInput", "s3:Get Object"),
        ({"ResourceArns": ["bucket"]}, "InvalidInput", "ResourceNames are not in a valid ARN format: bucket."),
        ({"ResourceArns": ["arn:aws:s3:::b", "*"]}, "InvalidInput", "ResourceNames are not in a valid ARN format: *."),
        ({"ContextEntries": [entry("aws:x", "a", kind="text")]}, "ValidationError", "enum value set"),
        ({"ContextEntries": [entry("aws:x", "a", "b")]}, "InvalidInput", "single value, but received 2"),
        ({"ContextEntries": [entry("aws:x")]}, "InvalidInput", "cannot be null or empty"),
        ({"ContextEntries": [entry("aws:x", "a"), entry("AWS:X", "b")]}, "InvalidInput", "Duplicate context key"),
        ({"ContextEntries": [{"ContextKeyName": "aws:x", "ContextKeyValues": ["a"]}]}, "InvalidInput", "invalid type"),
        ({"PolicyInputList": ["{"]}, "InvalidInput", "PolicyInputList.1: Syntax errors in policy."),
        ({"PolicyInputList": [text({**ALLOW_ALL, "Effect": "Audit"})]}, "InvalidInput", "Syntax errors in policy."),
        (
            {"PermissionsBoundaryPolicyInputList": [text(ALLOW_ALL)] * 2},
            "InvalidInput",
            "The list of Permissions Boundary policies cannot exceed 1 items.",
        ),
        ({"MaxItems": 1001}, "ValidationError", "less than or equal to 1000"),
    ],
)
def test_an_invalid_request_is_rejected_as_aws_does(iam, parameters, code, says):
    request = {"PolicyInputList": [text(ALLOW_ALL)], "ActionNames": ["s3:GetObject"], **parameters}
    refused, message, status = refusal(iam.simulate_custom_policy, **request)
    assert (refused, status) == (code, 400)
    assert says in message


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"PolicyInputList": [text({**ALLOW_ALL, "Condition": {"IpAddress": {"aws:SourceIp": "::"}}})]}, "IpAddress"),
        ({"ResourcePolicy": text(ALLOW_ALL)}, "ResourcePolicy"),
    ],
)
def test_an_unsupported_simulation_is_an_error_and_never_a_guess(iam, parameters, names):
    request = {"PolicyInputList": [text(ALLOW_ALL)], "ActionNames": ["s3:GetObject"], **parameters}
    code, message, status = refusal(iam.simulate_custom_policy, **request)
    assert (code, status) == ("NotImplemented", 501)
    assert names in message
