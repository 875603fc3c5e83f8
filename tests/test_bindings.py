"""Bindings: the role of each subject, updated with SageMaker's state."""

import pytest
from rolewarden.errors import RetryLater
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import TRUST

from tests.guardrail_texts import TAGGED, TRUSTING
from tests.world import EC2_TRUST

ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role"


def test_a_domain_binds_the_roles_of_its_default_user_its_spaces_and_bedrock(world):
    world.bindings.write((), [b.key for b in world.bindings.all()])
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    world.enforce(world.event("UpdateDomain"))
    scope = f"{ACCOUNT_ID}/us-east-1/d-analytics0001"
    assert world.bound() == {
        f"{scope}/default-user#execution": "CanvasAnalytics",
        f"{scope}/default-user#bedrock": "CanvasBedrockAnalytics",
        f"{scope}/shared-spaces#execution": "CanvasAnalyticsSpaces",
    }


def test_one_event_about_a_domain_protects_all_its_roles(world):
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    world.enforce(world.event("UpdateDomain"))
    for role in ("CanvasAnalytics", "CanvasBedrockAnalytics", "CanvasAnalyticsSpaces"):
        assert world.attached(role) == {"no-generative-ai"}


def test_a_domain_that_changes_its_role_binds_the_new_role_and_unbinds_the_old_one(world):
    world.protected()
    world.sagemaker.update_domain(
        DomainId="d-research0001", DefaultUserSettings={"ExecutionRole": world.role("CanvasResearch2")}
    )
    world.enforce(world.event("UpdateDomain"))
    assert world.attached("CanvasResearch2") == {"only-nova-and-sonnet"}
    assert world.verdict("CanvasResearch")["verdict"] == "out_of_scope"


def test_a_new_domain_is_found_in_the_response_of_its_creation(world):
    answer = world.sagemaker.create_domain(
        DomainName="sales",
        AuthMode="IAM",
        DefaultUserSettings={"ExecutionRole": world.role("CanvasSales")},
        SubnetIds=["subnet-0a1b2c3d"],
        VpcId="vpc-0a1b2c3d",
    )
    assert "d-" in answer["DomainArn"]
    world.enforce(world.event("CreateDomain"))
    assert world.attached("CanvasSales") == {"no-generative-ai"}


def test_a_profile_that_inherits_binds_no_role_and_adds_nothing_to_its_domains_role(world):
    world.sagemaker.create_user_profile(DomainId="d-research0001", UserProfileName="ines")
    assert world.enforce(world.event("CreateUserProfile")) == []
    assert world.bound()[f"{ACCOUNT_ID}/us-east-1/d-research0001/user-profile#ines#execution"] is None


def test_a_profile_that_no_longer_has_a_role_is_unbound_from_it(world):
    world.sagemaker.delete_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    world.sagemaker.create_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    world.enforce(world.event("CreateUserProfile"))
    assert world.verdict("CanvasOmar")["verdict"] == "out_of_scope"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("GenerativeAiSettings", "AmazonBedrockRoleArn"),
        ("EmrServerlessSettings", "ExecutionRoleArn"),
        ("TimeSeriesForecastingSettings", "AmazonForecastRoleArn"),
    ],
)
def test_every_canvas_role_of_a_profile_is_protected_and_is_unbound_when_the_setting_is_removed(world, settings, key):
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001",
        UserProfileName="nadia",
        UserSettings={
            "ExecutionRole": world.role("CanvasNadia"),
            "CanvasAppSettings": {settings: {key: world.role("CanvasNadiaOther")}},
        },
    )
    world.enforce(world.event("CreateUserProfile"))
    assert world.attached("CanvasNadia") == world.attached("CanvasNadiaOther") == {"no-generative-ai"}
    world.sagemaker.update_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"CanvasAppSettings": {}}
    )
    world.enforce(world.event("UpdateUserProfile"))
    assert "CanvasNadiaOther" not in world.bound().values()


def test_a_deleted_profile_is_unbound(world):
    world.sagemaker.delete_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    assert world.enforce(world.event("DeleteUserProfile")) == []
    assert "CanvasOmar" not in world.bound().values()


def test_a_deleted_domain_and_its_profiles_are_unbound(world):
    for name in ("ravi", "rosa", "fatima"):
        world.sagemaker.delete_user_profile(DomainId="d-research0001", UserProfileName=name)
    world.sagemaker.delete_domain(DomainId="d-research0001")
    world.enforce(world.event("DeleteDomain"))
    assert not [key for key in world.bound() if "d-research0001" in key]


def test_a_domain_without_a_role_is_unbound_and_its_profiles_stay_bound(world, monkeypatch):
    world.protected()
    domain = world.runtime.aws.domain
    monkeypatch.setattr(
        world.runtime.aws,
        "domain",
        lambda *key: {**domain(*key), "DefaultUserSettings": {}, "DefaultSpaceSettings": {}},
    )
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    world.enforce(world.event("UpdateDomain"))
    assert world.verdict("CanvasAnalytics")["verdict"] == "out_of_scope"
    world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_profile_whose_domain_no_longer_exists_is_unbound(world):
    world.enforcer.discovery.reader._domain_names.clear()
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    with world.aws.failing("DescribeDomain", "ResourceNotFound"):
        assert "refused" not in world.enforcer.handle_event(world.event("UpdateUserProfile"))
    assert "CanvasOmar" not in world.bound().values()


@pytest.mark.parametrize("operation", ["Query", "TransactWriteItems"])
@pytest.mark.parametrize("code", ["ValidationException", "AccessDeniedException", "ResourceNotFoundException"])
def test_an_unavailable_table_is_retried_and_is_no_finding_about_a_subject(world, operation, code):
    world.bindings.write((), [b.key for b in world.bindings.all()])
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    event = world.event("UpdateDomain")
    with world.aws.failing(operation, code), pytest.raises(RetryLater):
        world.enforce(event)
    assert world.history("d-analytics0001") == []
    world.enforce(event)
    for role in ("CanvasAnalytics", "CanvasBedrockAnalytics", "CanvasAnalyticsSpaces"):
        assert world.attached(role) == {"no-generative-ai"}


def test_a_role_with_unreadable_bindings_does_not_block_the_other_roles_of_its_domain(world):
    world.sagemaker.update_domain(DomainId="d-analytics0001")
    with world.aws.failing("Query", "AccessDeniedException", times=1), pytest.raises(RetryLater):
        world.enforce(world.event("UpdateDomain"))
    assert world.attached("CanvasAnalyticsSpaces") == world.attached("CanvasBedrockAnalytics") == {"no-generative-ai"}


def test_a_binding_that_was_just_written_counts_before_the_index_shows_it(world, monkeypatch):
    table = world.bindings
    monkeypatch.setattr(table.aws, "query", lambda *_args, **_kwargs: [])
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001", UserProfileName="nadia", UserSettings={"ExecutionRole": world.role("CanvasNadia")}
    )
    world.enforce(world.event("CreateUserProfile"))
    assert world.attached("CanvasNadia") == {"no-generative-ai"}


def test_tags_decide_if_an_assignment_uses_them(world_with):
    world = world_with(TAGGED)
    world.protected()
    assert world.attached("CanvasRosa") == {"no-generative-ai"}  # The seed tags this profile with team=data-science.
    assert world.attached("CanvasOmar") == set()


def test_an_added_tag_protects_a_role_and_a_removed_tag_no_longer_requires_it(world_with):
    world = world_with(TAGGED)
    arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:user-profile/d-analytics0001/omar"
    world.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "data-platform"}])
    world.enforce(world.event("AddTags"))
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    world.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert "required" not in world.enforce(world.event("DeleteTags"))[0]


def test_a_subject_with_unreadable_tags_is_protected_by_the_last_known_ones_and_reported(world_with):
    world = world_with(TAGGED)
    world.sagemaker.update_user_profile(
        DomainId="d-research0001", UserProfileName="rosa", UserSettings={"ExecutionRole": world.role("CanvasRosa2")}
    )
    with world.aws.failing("ListTags", "AccessDeniedException"):
        world.enforce(world.event("UpdateUserProfile"))
    assert world.attached("CanvasRosa2") == {"no-generative-ai"}
    [row] = world.history("d-research0001/rosa")
    assert (row["kind"], row["reason"]) == ("Subject Finding", "access denied")


def test_a_profile_with_capital_letters_is_one_subject_although_its_arn_is_in_lower_case(world_with):
    world = world_with(TAGGED)
    world.sagemaker.create_user_profile(
        DomainId="d-analytics0001",
        UserProfileName="PowerUser",
        UserSettings={"ExecutionRole": world.role("CanvasPower")},
    )
    world.enforce(world.event("CreateUserProfile"))
    arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:user-profile/d-analytics0001/poweruser"
    world.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "data-platform"}])
    world.enforce(world.event("AddTags"))
    assert [key for key in world.bound() if "power" in key.lower()] == [
        f"{ACCOUNT_ID}/us-east-1/d-analytics0001/user-profile#poweruser#execution"
    ]
    assert world.verdict("CanvasPower")["required"] == ["no-generative-ai"]
    assert world.attached("CanvasPower") == {"no-generative-ai"}


def test_tags_are_not_read_if_no_assignment_uses_them(world):
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    assert "sagemaker:ListTags" not in world.calls(world.event("UpdateUserProfile"))


@pytest.mark.parametrize(("name", "trust"), [("AnyName", TRUST), ("NotebookX", EC2_TRUST)])
def test_a_new_role_that_also_govern_covers_by_trust_or_name_is_protected(world_with, name, trust):
    world = world_with(TRUSTING)
    world.role(name, trust)
    world.enforce(world.event("CreateRole"))
    assert world.attached(name) == {"no-generative-ai"}


def test_a_role_that_comes_to_trust_sagemaker_is_governed_from_then_on(world_with):
    world = world_with(TRUSTING)
    world.role("Builder", EC2_TRUST)
    assert world.enforce(world.event("CreateRole"))[0]["verdict"] == "out_of_scope"
    world.iam.update_assume_role_policy(RoleName="Builder", PolicyDocument=TRUST)
    world.enforce(world.event("UpdateAssumeRolePolicy"))
    assert world.attached("Builder") == {"no-generative-ai"}
    world.iam.update_assume_role_policy(RoleName="Builder", PolicyDocument=EC2_TRUST)
    assert world.enforce(world.event("UpdateAssumeRolePolicy"))[0]["verdict"] == "out_of_scope"


@pytest.mark.parametrize(
    ("path", "name"),
    [("/aws-service-role/sagemaker.amazonaws.com/", "NotebookService"), ("/rolewarden/", "EnforceFunctionRole")],
)
def test_roles_of_aws_and_of_rolewardens_functions_are_not_governed_by_trust(world_with, path, name):
    world = world_with(TRUSTING)
    world.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=TRUST)
    assert world.enforce(world.event("CreateRole"))[0]["verdict"] == "out_of_scope"
    world.sweep()
    world.work()
    assert world.attached(name) == set()


def test_another_role_under_rolewardens_path_is_governed(world_with):
    world = world_with(TRUSTING)
    world.iam.create_role(RoleName="Escape", Path="/rolewarden/", AssumeRolePolicyDocument=TRUST)
    world.enforce(world.event("CreateRole"))
    assert world.attached("Escape") == {"no-generative-ai"}
    world.detach("Escape", "no-generative-ai")
    world.sweep()
    world.work()
    assert world.attached("Escape") == {"no-generative-ai"}
