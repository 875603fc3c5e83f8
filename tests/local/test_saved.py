"""A restored account has the saved state, regardless of later changes."""

import boto3

from tests.publishing import UNRELATED
from tests.stacks import MEMBER
from tests.world import World


def all_of(world) -> dict:
    roles = {role["RoleName"]: role for role in world.iam.list_roles()["Roles"]}
    tables = {binding.key: binding for binding in world.bindings.all()}
    profiles = world.sagemaker.list_user_profiles()["UserProfiles"]
    versions = {name: world.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] for name, arn in arns(world)}
    carried = {name: world.attached(name) for name in roles}
    return {"roles": roles, "bound": tables, "profiles": profiles, "versions": versions, "attached_policies": carried}


def arns(world) -> list[tuple[str, str]]:
    return [(policy["PolicyName"], policy["Arn"]) for policy in world.iam.list_policies(Scope="Local")["Policies"]]


def change_everything(world) -> None:
    world.protected()
    world.role("Another")
    world.iam.delete_role(RoleName="BuildServer")
    world.iam.tag_role(RoleName="CanvasOmar", Tags=[{"Key": "a", "Value": "b"}])
    for _, arn in arns(world):
        world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)
    world.sagemaker.delete_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    world.sagemaker.update_domain(DomainId="d-research0001", DefaultSpaceSettings={"ExecutionRole": world.role("More")})
    world.bindings.write((), [binding.key for binding in world.bindings.all()])
    world.sqs.create_queue(QueueName="another")


def test_a_saved_account_can_be_restored_twice(aws, template):
    world = World(aws, template)
    before = all_of(world)
    restore = aws.saved()
    for _ in range(2):
        change_everything(world)
        assert all_of(world) != before
        restore()
        assert all_of(world) == before
        assert world.queued() == []
        assert len(world.sqs.list_queues()["QueueUrls"]) == 7
        assert world.history("CanvasOmar") == []


def test_a_restored_account_has_no_earlier_faults_events_or_calls(aws, template):
    world = World(aws, template)
    restore = aws.saved()
    aws.policies_per_role = 3
    with aws.failing("ListRoles", "ServiceFailure", status=500):
        restore()
        world.iam.list_roles()
    assert aws.policies_per_role == 10
    assert len(aws.events) == 0


def test_a_restored_account_has_the_same_access_keys(aws, template):
    world = World(aws, template)
    restore = aws.saved()
    mallory = world.seeded.access_keys["mallory"].session().client("iam")
    restore()
    mallory.tag_role(RoleName="CanvasOmar", Tags=[{"Key": "a", "Value": "b"}])
    assert world.event("TagRole")["detail"]["userIdentity"]["userName"] == "mallory"


def test_a_restored_account_has_its_organization_and_stack_sets(company):
    def members() -> set[str]:
        stacks = boto3.client("cloudformation").list_stack_instances(
            StackSetName="rolewarden-members", CallAs="DELEGATED_ADMIN"
        )
        return {stack["Account"] for stack in stacks["Summaries"]}

    restore = company.aws.saved()
    for change in (lambda: company.organize("333344445555"), company.aws.reset):
        change()
        restore()
        assert members() == {MEMBER}
    company.organize(MEMBER, "333344445555")
    assert members() == {MEMBER, "333344445555"}
