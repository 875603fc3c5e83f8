"""Stale reads of IAM: their age and their answers. Writes act on the current state."""

import pytest
from rolewarden_local.scenes.seed import TRUST

from tests.local.conftest import policy, refusal

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def arn(iam):
    return iam.create_policy(PolicyName="p", PolicyDocument=policy())["Policy"]["Arn"]


def attached(iam, role: str) -> list[str]:
    return [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]


def test_a_read_returns_the_earlier_state_of_the_role(aws, iam, role, arn, clock):
    with aws.stale(10, clock=clock):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        clock.now += 9
        assert attached(iam, role) == []
        clock.now += 1
        assert attached(iam, role) == [arn]
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        assert attached(iam, role) == [arn]
        clock.now += 10
        assert attached(iam, role) == []


def test_each_read_has_the_requested_age_up_to_the_maximum(aws, iam, role, arn, clock):
    ages = iter([0, 5, 6, 1000, 0])
    with aws.stale(10, clock=clock, age=lambda _: next(ages)):
        clock.now += 20
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        clock.now += 5
        assert [attached(iam, role) for _ in range(3)] == [[arn], [arn], []]
        clock.now += 5
        assert [attached(iam, role) for _ in range(2)] == [[arn], [arn]]


def test_the_age_can_depend_on_the_operation(aws, iam, role, arn, clock):
    with aws.stale(10, clock=clock, age=lambda operation: 10 if operation == "GetRole" else 0):
        iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
        assert "PermissionsBoundary" not in iam.get_role(RoleName=role)["Role"]
        assert iam.list_entities_for_policy(PolicyArn=arn, EntityFilter="Role")["PolicyRoles"][0]["RoleName"] == role


def test_every_read_of_roles_and_policies_can_be_stale(aws, iam, role, arn, clock):
    def seen() -> list[object]:
        roles = [found["RoleName"] for found in iam.list_roles()["Roles"]]
        policies = [found["PolicyName"] for found in iam.list_policies(Scope="Local")["Policies"]]
        versions = [found["VersionId"] for found in iam.list_policy_versions(PolicyArn=arn)["Versions"]]
        carriers = [found["RoleName"] for found in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]]
        current = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        return [roles, policies, versions, carriers, current, attached(iam, role)]

    before = seen()
    with aws.stale(10, clock=clock):
        iam.create_role(RoleName="new", AssumeRolePolicyDocument=TRUST)
        iam.create_policy(PolicyName="q", PolicyDocument=policy())
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(Sid="x"), SetAsDefault=True)
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        assert seen() == before
        assert refusal(iam.get_role, RoleName="new")[0] == "NoSuchEntity"
        assert refusal(iam.get_policy_version, PolicyArn=arn, VersionId="v2")[0] == "NoSuchEntity"
        clock.now += 10
        now = [["analyst", "new"], ["p", "q"], ["v2", "v1"], ["analyst"], "v2", [arn]]
        assert seen() == now
    assert seen() == now


def test_writes_act_on_the_current_state(aws, iam, role, arn, clock):
    with aws.stale(10, clock=clock):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
        assert attached(iam, role) == []
        assert refusal(iam.delete_policy, PolicyArn=arn)[0] == "DeleteConflict"
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        assert refusal(iam.detach_role_policy, RoleName=role, PolicyArn=arn)[0] == "NoSuchEntity"


def test_the_attachments_of_an_aws_policy_can_be_stale(aws, iam, role, clock):
    with aws.stale(10, clock=clock):
        iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
        assert iam.list_entities_for_policy(PolicyArn=READ_ONLY)["PolicyRoles"] == []
        clock.now += 10
        assert iam.list_entities_for_policy(PolicyArn=READ_ONLY)["PolicyRoles"][0]["RoleName"] == role


def test_after_the_block_reads_return_the_current_state(aws, iam, role, arn, clock):
    with aws.stale(10, clock=clock):
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    assert attached(iam, role) == [arn]
