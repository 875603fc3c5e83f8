"""The parts of IAM that MiniStack lacks: quotas, protected roles, checks of policies, paging."""

import json

import boto3
import pytest
from rolewarden_local.scenes.seed import TRUST

from tests.local.conftest import policy, refusal

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def make_policy(iam, name: str, **more: str) -> str:
    return iam.create_policy(PolicyName=name, PolicyDocument=policy(), **more)["Policy"]["Arn"]


def pages(iam, operation: str, key: str, size: int, **parameters: object) -> list[list]:
    paginator = iam.get_paginator(operation)
    return [page[key] for page in paginator.paginate(PaginationConfig={"PageSize": size}, **parameters)]


def test_an_eleventh_policy_cannot_be_attached_to_a_role(iam, role):
    for number in range(10):
        iam.attach_role_policy(RoleName=role, PolicyArn=make_policy(iam, f"p{number}"))
    eleventh = make_policy(iam, "p10")
    assert refusal(iam.attach_role_policy, RoleName=role, PolicyArn=eleventh) == (
        "LimitExceeded",
        "Cannot exceed quota for PoliciesPerRole: 10",
        409,
    )
    assert len(iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]) == 10


def test_attaching_a_policy_again_to_a_full_role_is_no_error(iam, role, aws):
    aws.policies_per_role = 1
    for _ in range(2):
        iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)


def test_a_name_that_differs_only_in_case_is_taken(iam, role):
    def made(call, **parameters):
        code, _, status = refusal(call, **parameters)
        return code, status

    make_policy(iam, "Team-Policy")
    iam.create_user(UserName="Alice")
    assert made(iam.create_role, RoleName="ANALYST", AssumeRolePolicyDocument=TRUST) == ("EntityAlreadyExists", 409)
    assert made(iam.create_policy, PolicyName="team-POLICY", PolicyDocument=policy()) == ("EntityAlreadyExists", 409)
    assert made(iam.create_user, UserName="alice") == ("EntityAlreadyExists", 409)


def test_a_call_finds_a_role_or_policy_in_any_case_and_the_answer_has_the_stored_case(iam, role, aws):
    arn = make_policy(iam, "Team-Policy")
    other = arn.replace("Team-Policy", "TEAM-policy")
    iam.attach_role_policy(RoleName="Analyst", PolicyArn=other)
    iam.put_role_policy(RoleName="aNALYST", PolicyName="Inline", PolicyDocument=policy())
    iam.put_role_permissions_boundary(RoleName="ANALYST", PermissionsBoundary=other)
    found = iam.get_role(RoleName="ANALYST")["Role"]
    assert (found["RoleName"], found["PermissionsBoundary"]["PermissionsBoundaryArn"]) == ("analyst", arn)
    attached = iam.list_attached_role_policies(RoleName="ANALYST")["AttachedPolicies"]
    assert attached == [{"PolicyName": "Team-Policy", "PolicyArn": arn}]
    assert iam.get_policy(PolicyArn=other)["Policy"]["PolicyName"] == "Team-Policy"
    assert iam.list_entities_for_policy(PolicyArn=other, PolicyUsageFilter="PermissionsPolicy")["PolicyRoles"]
    assert iam.get_role_policy(RoleName="ANALYST", PolicyName="INLINE")["PolicyName"] == "Inline"
    iam.delete_role_policy(RoleName="ANALYST", PolicyName="iNLINE")
    iam.detach_role_policy(RoleName="ANALYST", PolicyArn=other)
    iam.delete_role_permissions_boundary(RoleName="ANALYST")
    iam.delete_role(RoleName="ANALYST")
    assert iam.list_roles(PathPrefix="/service-role/")["Roles"] == []


def test_cloudtrail_records_a_name_as_the_caller_spells_it(iam, role, aws):
    iam.tag_role(RoleName="ANALYST", Tags=[{"Key": "k", "Value": "v"}])
    assert aws.events[-1]["detail"]["requestParameters"]["roleName"] == "ANALYST"


def test_a_path_is_distinguished_by_case(iam):
    arn = make_policy(iam, "p", Path="/team/")
    code, _, _ = refusal(iam.get_policy, PolicyArn=arn.replace("/team/", "/TEAM/"))
    assert code == "NoSuchEntity"


def test_a_raised_quota_is_in_the_account_summary_and_in_force(iam, role, aws):
    assert iam.get_account_summary()["SummaryMap"]["AttachedPoliciesPerRoleQuota"] == 10
    aws.policies_per_role = 11
    assert iam.get_account_summary()["SummaryMap"]["AttachedPoliciesPerRoleQuota"] == 11
    for number in range(11):
        iam.attach_role_policy(RoleName=role, PolicyArn=make_policy(iam, f"p{number}"))


def test_a_policy_that_does_not_exist_is_not_attachable(iam, role):
    arn = "arn:aws:iam::111122223333:policy/none"
    assert refusal(iam.attach_role_policy, RoleName=role, PolicyArn=arn) == (
        "NoSuchEntity",
        f"Policy {arn} does not exist or is not attachable.",
        404,
    )


@pytest.mark.parametrize("path", ["/aws-service-role/es.amazonaws.com/", "/aws-reserved/sso.amazonaws.com/eu-west-1/"])
def test_a_role_that_belongs_to_aws_cannot_be_changed(iam, path):
    iam.create_role(RoleName="theirs", Path=path, AssumeRolePolicyDocument=TRUST)
    code, message, status = refusal(iam.attach_role_policy, RoleName="theirs", PolicyArn=READ_ONLY)
    assert (code, status) == ("UnmodifiableEntity", 400)
    assert message == (
        "Cannot perform the operation on the protected role 'theirs' - this role is only modifiable by AWS"
    )
    code, _, _ = refusal(iam.put_role_policy, RoleName="theirs", PolicyName="p", PolicyDocument=policy())
    assert code == "UnmodifiableEntity"
    code, _, _ = refusal(iam.put_role_permissions_boundary, RoleName="theirs", PermissionsBoundary=READ_ONLY)
    assert code == "UnmodifiableEntity"


def test_a_managed_policy_has_at_most_6144_characters_without_white_space(iam):
    room = 6144 - len("".join(policy(Sid="").split()))
    fits = policy(Sid="x" * room)
    arn = iam.create_policy(PolicyName="fits", PolicyDocument=json.dumps(json.loads(fits), indent=8))["Policy"]["Arn"]
    too_long = policy(Sid="x" * (room + 1))
    expected = ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144", 409)
    assert refusal(iam.create_policy, PolicyName="long", PolicyDocument=too_long) == expected
    assert refusal(iam.create_policy_version, PolicyArn=arn, PolicyDocument=too_long) == expected


def test_the_inline_policies_of_a_role_have_at_most_10240_characters_together(iam, role):
    iam.put_role_policy(RoleName=role, PolicyName="a", PolicyDocument=policy(Sid="x" * 6000))
    code, message, status = refusal(
        iam.put_role_policy, RoleName=role, PolicyName="b", PolicyDocument=policy(Sid="x" * 5000)
    )
    assert (code, status) == ("LimitExceeded", 409)
    assert message == "Maximum policy size of 10240 bytes exceeded for role analyst"
    iam.put_role_policy(RoleName=role, PolicyName="a", PolicyDocument=policy(Sid="x" * 10_000))


def test_a_null_condition_accepts_only_true_and_false(iam, role):
    for value in ("true", "false", True, ["true", "false"]):
        iam.put_role_policy(
            RoleName=role, PolicyName="p", PolicyDocument=policy(Condition={"Null": {"aws:TagKeys": value}})
        )
    wild = policy(Condition={"Null": {"aws:RequestTag/sagemaker-sdk:jumpstart-model-id": "*"}})
    for call, parameters in (
        (iam.create_policy, {"PolicyName": "p"}),
        (iam.create_policy_version, {"PolicyArn": make_policy(iam, "q")}),
        (iam.put_role_policy, {"RoleName": role, "PolicyName": "p"}),
    ):
        code, _, status = refusal(call, PolicyDocument=wild, **parameters)
        assert (code, status) == ("MalformedPolicyDocument", 400)


def test_the_name_of_a_policy_is_taken_regardless_of_path_and_case(iam):
    make_policy(iam, "guardrail", Path="/rolewarden/")
    assert refusal(iam.create_policy, PolicyName="Guardrail", PolicyDocument=policy())[0] == "EntityAlreadyExists"


def test_another_version_becomes_the_default(iam):
    arn = make_policy(iam, "p")
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(Sid="x"))["PolicyVersion"]["VersionId"]
    iam.set_default_policy_version(PolicyArn=arn, VersionId=version)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert {version["VersionId"]: version["IsDefaultVersion"] for version in versions} == {"v2": True, "v1": False}
    assert refusal(iam.set_default_policy_version, PolicyArn=arn, VersionId="v9")[0] == "NoSuchEntity"


def test_roles_come_in_pages(iam):
    for number in range(250):
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=TRUST)
    first = iam.list_roles()
    assert (len(first["Roles"]), first["IsTruncated"]) == (100, True)
    got = pages(iam, "list_roles", "Roles", 120)
    assert [len(page) for page in got] == [120, 120, 10]
    assert {role["RoleName"] for page in got for role in page} == {f"r{number}" for number in range(250)}


def test_the_roles_with_a_policy_come_in_pages(iam):
    arn = make_policy(iam, "p")
    for number in range(130):
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=TRUST)
        iam.attach_role_policy(RoleName=f"r{number}", PolicyArn=arn)
    assert iam.list_entities_for_policy(PolicyArn=arn)["IsTruncated"]
    got = pages(iam, "list_entities_for_policy", "PolicyRoles", 60, PolicyArn=arn, EntityFilter="Role")
    assert [len(page) for page in got] == [60, 60, 10]
    assert {role["RoleName"] for page in got for role in page} == {f"r{number}" for number in range(130)}
    assert len(iam.list_entities_for_policy(PolicyArn=arn, MaxItems=1000)["PolicyRoles"]) == 130


def test_a_boundary_counts_as_use_of_a_policy(iam, role):
    arn = make_policy(iam, "p")
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    found = iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")["PolicyRoles"]
    assert [entity["RoleName"] for entity in found] == [role]
    assert iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsPolicy")["PolicyRoles"] == []


def test_a_boundary_is_a_policy_that_exists(iam, role):
    arn = "arn:aws:iam::111122223333:policy/none"
    expected = ("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)
    assert refusal(iam.put_role_permissions_boundary, RoleName=role, PermissionsBoundary=arn) == expected
    made = {"RoleName": "r", "AssumeRolePolicyDocument": TRUST, "PermissionsBoundary": arn}
    assert refusal(iam.create_role, **made) == expected
    assert refusal(iam.get_role, RoleName="r")[0] == "NoSuchEntity"
    not_one = "arn:aws:iam::111122223333:role/service-role/analyst"
    assert refusal(iam.put_role_permissions_boundary, RoleName=role, PermissionsBoundary=not_one)[0] == (
        "ValidationError"
    )
    assert "PermissionsBoundary" not in iam.get_role(RoleName=role)["Role"]


def test_a_role_and_a_policy_show_a_boundary(iam, role):
    def count() -> int:
        return iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"]

    arn = make_policy(iam, "p")
    assert count() == 0
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    assert iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
        "PermissionsBoundaryArn": arn,
    }
    assert count() == 1
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0
    iam.delete_role_permissions_boundary(RoleName=role)
    assert count() == 0
    assert "PermissionsBoundary" not in iam.get_role(RoleName=role)["Role"]


def test_a_policy_that_is_a_boundary_cannot_be_deleted(iam, role):
    arn = make_policy(iam, "p")
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    code, _, status = refusal(iam.delete_policy, PolicyArn=arn)
    assert (code, status) == ("DeleteConflict", 409)
    iam.delete_role_permissions_boundary(RoleName=role)
    iam.delete_policy(PolicyArn=arn)


def test_a_role_without_a_boundary_has_none_to_delete(iam, role):
    assert refusal(iam.delete_role_permissions_boundary, RoleName=role)[0] == "NoSuchEntity"


def test_a_boundary_is_no_attachment_and_an_attachment_no_boundary(iam):
    arn = make_policy(iam, "p")
    for name in ("bounded", "carrier"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary=arn)
    iam.attach_role_policy(RoleName="carrier", PolicyArn=arn)

    def found(**usage: str) -> list[str]:
        return [role["RoleName"] for role in iam.list_entities_for_policy(PolicyArn=arn, **usage)["PolicyRoles"]]

    assert found(PolicyUsageFilter="PermissionsBoundary") == ["bounded"]
    assert found(PolicyUsageFilter="PermissionsPolicy") == ["carrier"]
    assert found() == ["bounded", "carrier"]
    assert iam.list_attached_role_policies(RoleName="bounded")["AttachedPolicies"] == []


def test_policies_attached_policies_inline_policies_and_versions_come_in_pages(iam, role):
    arns = [make_policy(iam, f"p{number}") for number in range(5)]
    for arn in arns:
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        iam.put_role_policy(RoleName=role, PolicyName=arn.rsplit("/", 1)[1], PolicyDocument=policy())
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arns[0], PolicyDocument=policy())
    for operation, key, parameters in (
        ("list_policies", "Policies", {"Scope": "Local"}),
        ("list_attached_role_policies", "AttachedPolicies", {"RoleName": role}),
        ("list_role_policies", "PolicyNames", {"RoleName": role}),
        ("list_policy_versions", "Versions", {"PolicyArn": arns[0]}),
    ):
        assert [len(page) for page in pages(iam, operation, key, 2, **parameters)] == [2, 2, 1]


def test_the_details_of_roles_come_in_pages_with_the_policies_of_each_role(iam, role):
    arn = make_policy(iam, "p")
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=policy())
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    for number in range(4):
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=TRUST)
    got = pages(iam, "get_account_authorization_details", "RoleDetailList", 2, Filter=["Role"])
    assert [len(page) for page in got] == [2, 2, 1]
    detail = next(found for page in got for found in page if found["RoleName"] == role)
    assert detail["AttachedManagedPolicies"] == [{"PolicyName": "p", "PolicyArn": arn}]
    assert detail["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert detail["RolePolicyList"] == [{"PolicyName": "own", "PolicyDocument": json.loads(policy())}]


def test_a_page_of_more_than_1000_is_rejected(iam):
    assert refusal(iam.list_roles, MaxItems=1001)[0] == "ValidationError"


def test_a_role_that_does_not_exist_cannot_be_assumed(aws):
    arn = "arn:aws:iam::444455556666:role/none"
    code, message, status = refusal(boto3.client("sts").assume_role, RoleArn=arn, RoleSessionName="visit")
    assert (code, status) == ("AccessDenied", 403)
    assert message.endswith(f"is not authorized to perform: sts:AssumeRole on resource: {arn}")
