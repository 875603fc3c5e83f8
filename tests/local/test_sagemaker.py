"""Studio's domains, user profiles and spaces, on the local AWS and on plain moto."""

import contextlib
import re
from datetime import UTC, datetime

import boto3
import moto
import pytest
from botocore.exceptions import ClientError
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated import sagemaker

ROLE = "arn:aws:iam::111122223333:role/analyst"
OTHER = "arn:aws:iam::111122223333:role/other"


@pytest.fixture(params=["local AWS", "moto"])
def studio(request):
    sagemaker.install_sagemaker()
    local = LocalAws.start()
    local.reset()
    backend = local.connected() if request.param == "local AWS" else moto.mock_aws()
    with contextlib.ExitStack() as stack:
        stack.enter_context(backend)
        yield boto3.client("sagemaker", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture
def domain(studio):
    return make_domain(studio, "analytics")


def make_domain(studio, name: str, **more: object) -> str:
    settings = {"ExecutionRole": ROLE, "SecurityGroups": ["sg-1"]}
    return studio.create_domain(DomainName=name, AuthMode="IAM", DefaultUserSettings=settings, **more)["DomainId"]


def test_the_description_of_a_domain_has_its_settings(studio):
    canvas = {"GenerativeAiSettings": {"AmazonBedrockRoleArn": OTHER}, "DirectDeploySettings": {"Status": "ENABLED"}}
    made = studio.create_domain(
        DomainName="analytics",
        AuthMode="IAM",
        DefaultUserSettings={"ExecutionRole": ROLE, "CanvasAppSettings": canvas},
        DefaultSpaceSettings={"ExecutionRole": OTHER},
    )
    told = studio.describe_domain(DomainId=made["DomainId"])
    assert re.fullmatch(r"d-[a-z0-9]{12}", told["DomainId"])
    assert told["DomainArn"] == made["DomainArn"]
    assert re.fullmatch(rf"arn:aws:sagemaker:eu-west-1:\d{{12}}:domain/{told['DomainId']}", told["DomainArn"])
    assert (told["DomainName"], told["Status"]) == ("analytics", "InService")
    assert told["DefaultUserSettings"] == {"ExecutionRole": ROLE, "CanvasAppSettings": canvas}
    assert told["DefaultSpaceSettings"] == {"ExecutionRole": OTHER}


def test_an_update_replaces_the_settings_it_names_and_no_others(studio, domain):
    before = studio.describe_domain(DomainId=domain)["LastModifiedTime"]
    studio.update_domain(
        DomainId=domain, DefaultUserSettings={"ExecutionRole": OTHER}, DefaultSpaceSettings={"ExecutionRole": ROLE}
    )
    told = studio.describe_domain(DomainId=domain)
    assert told["DefaultUserSettings"] == {"ExecutionRole": OTHER, "SecurityGroups": ["sg-1"]}
    assert told["DefaultSpaceSettings"] == {"ExecutionRole": ROLE}
    assert told["LastModifiedTime"] > before


def test_the_description_of_a_profile_has_only_its_own_settings(studio, domain):
    studio.create_user_profile(DomainId=domain, UserProfileName="ana")
    studio.create_user_profile(DomainId=domain, UserProfileName="omar", UserSettings={"ExecutionRole": OTHER})
    assert "ExecutionRole" not in studio.describe_user_profile(DomainId=domain, UserProfileName="ana")["UserSettings"]
    told = studio.describe_user_profile(DomainId=domain, UserProfileName="omar")
    assert told["UserSettings"] == {"ExecutionRole": OTHER}
    assert told["UserProfileArn"].endswith(f":user-profile/{domain}/omar")


def test_an_updated_profile_is_modified_later_than_it_was_made(studio, domain):
    studio.create_user_profile(DomainId=domain, UserProfileName="ana", UserSettings={"SecurityGroups": ["sg-2"]})
    studio.update_user_profile(DomainId=domain, UserProfileName="ana", UserSettings={"ExecutionRole": OTHER})
    told = studio.describe_user_profile(DomainId=domain, UserProfileName="ana")
    assert told["UserSettings"] == {"SecurityGroups": ["sg-2"], "ExecutionRole": OTHER}
    assert told["CreationTime"] < told["LastModifiedTime"] <= datetime.now(UTC)
    [listed] = studio.list_user_profiles(DomainIdEquals=domain)["UserProfiles"]
    assert listed["LastModifiedTime"] == told["LastModifiedTime"]


def test_profiles_come_in_pages_of_ten_unless_asked_otherwise(studio, domain):
    for number in range(25):
        studio.create_user_profile(DomainId=domain, UserProfileName=f"u{number}")
    studio.create_user_profile(DomainId=make_domain(studio, "research"), UserProfileName="u1")
    pages = studio.get_paginator("list_user_profiles").paginate(DomainIdEquals=domain)
    assert [len(page["UserProfiles"]) for page in pages] == [10, 10, 5]
    assert len(studio.list_user_profiles(MaxResults=100)["UserProfiles"]) == 26
    found = studio.list_user_profiles(UserProfileNameContains="u2", DomainIdEquals=domain, SortOrder="Descending")
    assert [profile["UserProfileName"] for profile in found["UserProfiles"]] == [
        "u24",
        "u23",
        "u22",
        "u21",
        "u20",
        "u2",
    ]


def test_domains_come_in_pages(studio):
    for number in range(12):
        make_domain(studio, f"d{number}")
    pages = studio.get_paginator("list_domains").paginate()
    assert [len(page["Domains"]) for page in pages] == [10, 2]


def test_a_space_is_made_and_deleted_in_its_domain(studio, domain):
    arn = studio.create_space(DomainId=domain, SpaceName="team", SpaceDisplayName="Team")["SpaceArn"]
    assert arn.endswith(f":space/{domain}/team")
    studio.update_space(DomainId=domain, SpaceName="team", SpaceDisplayName="The team")
    assert studio.describe_space(DomainId=domain, SpaceName="team")["SpaceDisplayName"] == "The team"
    assert [space["SpaceName"] for space in studio.list_spaces(DomainIdEquals=domain)["Spaces"]] == ["team"]
    studio.delete_space(DomainId=domain, SpaceName="team")
    assert studio.list_spaces()["Spaces"] == []


def test_domains_profiles_and_spaces_have_tags(studio):
    domain = make_domain(studio, "analytics", Tags=[{"Key": "a", "Value": "1"}])
    profile = studio.create_user_profile(DomainId=domain, UserProfileName="ana", Tags=[{"Key": "a", "Value": "1"}])
    space = studio.create_space(DomainId=domain, SpaceName="team", Tags=[{"Key": "a", "Value": "1"}])
    arns = [studio.describe_domain(DomainId=domain)["DomainArn"], profile["UserProfileArn"], space["SpaceArn"]]
    for arn in arns:
        studio.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
        studio.delete_tags(ResourceArn=arn, TagKeys=["b"])
        assert studio.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "2"}]


def test_a_domain_can_be_deleted_only_if_it_is_empty(studio, domain):
    studio.create_user_profile(DomainId=domain, UserProfileName="ana")
    assert code(studio.delete_domain, DomainId=domain) == "ResourceInUse"
    studio.delete_user_profile(DomainId=domain, UserProfileName="ana")
    studio.delete_domain(DomainId=domain)
    assert code(studio.describe_domain, DomainId=domain) == "ResourceNotFound"


def test_a_missing_resource_is_not_found(studio, domain):
    assert code(studio.describe_domain, DomainId="d-none") == "ResourceNotFound"
    assert code(studio.update_domain, DomainId="d-none") == "ResourceNotFound"
    assert code(studio.create_user_profile, DomainId="d-none", UserProfileName="ana") == "ResourceNotFound"
    for call in (studio.describe_user_profile, studio.update_user_profile, studio.delete_user_profile):
        assert code(call, DomainId=domain, UserProfileName="none") == "ResourceNotFound"


def test_a_name_cannot_be_used_twice(studio, domain):
    studio.create_user_profile(DomainId=domain, UserProfileName="ana")
    assert code(studio.create_user_profile, DomainId=domain, UserProfileName="ana") == "ResourceInUse"
    assert code(make_domain, studio=studio, name="analytics") == "ResourceInUse"


def test_a_user_profile_is_the_same_in_every_case(studio, domain):
    arn = studio.create_user_profile(DomainId=domain, UserProfileName="PowerUser")["UserProfileArn"]
    assert code(studio.create_user_profile, DomainId=domain, UserProfileName="POWERuser") == "ResourceInUse"
    studio.update_user_profile(DomainId=domain, UserProfileName="poweruser", UserSettings={"ExecutionRole": OTHER})
    found = studio.describe_user_profile(DomainId=domain, UserProfileName="POWERUSER")
    assert (found["UserProfileName"], found["UserSettings"]["ExecutionRole"]) == ("PowerUser", OTHER)
    studio.add_tags(ResourceArn=arn.replace("poweruser", "PowerUser"), Tags=[{"Key": "team", "Value": "x"}])
    assert studio.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "x"}]
    studio.delete_user_profile(DomainId=domain, UserProfileName="pOWERuSER")
    assert studio.list_user_profiles(DomainIdEquals=domain)["UserProfiles"] == []


def test_a_description_can_have_the_spelling_of_the_request(studio, domain):
    studio.create_user_profile(DomainId=domain, UserProfileName="PowerUser")
    LocalAws.start().answers_as_asked = True
    assert studio.describe_user_profile(DomainId=domain, UserProfileName="POWERUSER")["UserProfileName"] == "POWERUSER"
    assert studio.list_user_profiles(DomainIdEquals=domain)["UserProfiles"][0]["UserProfileName"] == "PowerUser"
    LocalAws.start().reset()
    assert LocalAws.start().answers_as_asked is False


@pytest.mark.parametrize("name", ["under_score", "-ana", "a" * 64])
def test_an_invalid_name_is_rejected(studio, domain, name):
    assert code(studio.create_user_profile, DomainId=domain, UserProfileName=name) == "ValidationException"


def test_a_role_that_is_no_arn_is_rejected(studio, domain):
    settings = {"ExecutionRole": "just-a-name-of-a-role"}
    assert code(studio.update_domain, DomainId=domain, DefaultUserSettings=settings) == "ValidationException"


def code(call, **parameters: object) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return refused.value.response["Error"]["Code"]
