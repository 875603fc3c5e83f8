"""The seeded account matches its description in the docs and the demo."""

import boto3
from rolewarden_local.scenes.seed import seed


def role_of(studio, domain: str, profile: str) -> str | None:
    settings = studio.describe_user_profile(DomainId=domain, UserProfileName=profile)["UserSettings"]
    return settings.get("ExecutionRole", "").rsplit("/", 1)[-1] or None


def test_the_seed_makes_two_domains_with_their_profiles(aws):
    seeded = seed(aws, region="eu-west-1")
    studio = boto3.client("sagemaker", "eu-west-1")
    assert seeded.domains == {"analytics": "d-analytics0001", "research": "d-research0001"}
    roles = {
        (profile["DomainId"], profile["UserProfileName"]): role_of(
            studio, profile["DomainId"], profile["UserProfileName"]
        )
        for profile in studio.list_user_profiles()["UserProfiles"]
    }
    assert roles == {
        ("d-analytics0001", "ana"): None,
        ("d-analytics0001", "omar"): "CanvasOmar",
        ("d-analytics0001", "breakglass"): "CanvasBreakGlass",
        ("d-research0001", "ravi"): None,
        ("d-research0001", "rosa"): "CanvasRosa",
        ("d-research0001", "fatima"): "CanvasFull",
    }
    analytics = studio.describe_domain(DomainId="d-analytics0001")
    defaults = analytics["DefaultUserSettings"]
    assert defaults["ExecutionRole"] == seeded.roles["CanvasAnalytics"]
    assert defaults["ExecutionRole"] == "arn:aws:iam::111122223333:role/service-role/CanvasAnalytics"
    bedrock = defaults["CanvasAppSettings"]["GenerativeAiSettings"]["AmazonBedrockRoleArn"]
    assert bedrock == seeded.roles["CanvasBedrockAnalytics"]
    assert analytics["DefaultSpaceSettings"]["ExecutionRole"] == seeded.roles["CanvasAnalyticsSpaces"]


def test_one_role_is_full_and_out_of_scope_roles_have_no_guardrail(aws, iam):
    seeded = seed(aws)
    attached = {name: len(iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]) for name in seeded.roles}
    assert attached.pop("CanvasFull") == 10
    assert (attached.pop("BuildServer"), attached.pop("DataLake")) == (0, 0)
    assert attached.pop("CanvasBedrockAnalytics") == 1
    assert set(attached.values()) == {3}


def test_the_users_of_the_seed_can_act(aws):
    for name, key in seed(aws).access_keys.items():
        arn = key.session().client("sts").get_caller_identity()["Arn"]
        assert arn == f"arn:aws:iam::111122223333:user/{name}"


def test_the_seed_can_be_made_again_after_a_reset(aws):
    first = seed(aws)
    aws.reset()
    assert seed(aws).domains == first.domains
