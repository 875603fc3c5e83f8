"""One check of the policies and one sweep remediate every change that produced no event."""

import random
from collections import defaultdict

import pytest
from rolewarden.origin import SCHEDULED_CHECK
from rolewarden.policies import policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.publishing import PUBLISHED, UNRELATED
from tests.volume import volume

pytestmark = pytest.mark.long

DOMAINS = {"d-analytics0001": "no-generative-ai", "d-research0001": "only-nova-and-sonnet"}


class Mischief:
    """Random changes of every kind."""

    def __init__(self, world, seed):
        self.world, self.random, self.made = world, random.Random(seed), 0

    def name(self):
        self.made += 1
        return f"Made{self.made}"

    def profiles(self):
        listed = self.world.sagemaker.list_user_profiles(MaxResults=100)["UserProfiles"]
        return [(profile["DomainId"], profile["UserProfileName"]) for profile in listed]

    def a_profile(self):
        settings = self.random.choice([{}, {"ExecutionRole": self.world.role(self.name())}])
        self.world.sagemaker.create_user_profile(
            DomainId=self.random.choice(list(DOMAINS)), UserProfileName=self.name().lower(), UserSettings=settings
        )

    def another_role(self):
        domain, name = self.random.choice(self.profiles())
        self.world.sagemaker.update_user_profile(
            DomainId=domain, UserProfileName=name, UserSettings={"ExecutionRole": self.world.role(self.name())}
        )

    def a_shared_role(self):
        domain, name = self.random.choice(self.profiles())
        self.world.sagemaker.update_user_profile(
            DomainId=domain, UserProfileName=name,
            UserSettings={"ExecutionRole": f"arn:aws:iam::{ACCOUNT_ID}:role/CanvasRosa"},
        )  # fmt: skip

    def no_profile(self):
        domain, name = self.random.choice(self.profiles())
        self.world.sagemaker.delete_user_profile(DomainId=domain, UserProfileName=name)

    def another_domain_role(self):
        self.world.sagemaker.update_domain(
            DomainId=self.random.choice(list(DOMAINS)),
            DefaultUserSettings={"ExecutionRole": self.world.role(self.name())},
        )

    def detached(self):
        for role, needed in needs(self.world).items():
            for policy in needed & self.world.attached(role):
                if self.random.random() < 0.3:
                    self.world.detach(role, policy)

    def edited(self):
        arn = policy_arn(self.random.choice(sorted(PUBLISHED)), "aws", ACCOUNT_ID)
        versions = self.world.iam.list_policy_versions(PolicyArn=arn)["Versions"]
        if len(versions) < 5:
            self.world.iam.create_policy_version(PolicyArn=arn, PolicyDocument=UNRELATED, SetAsDefault=True)

    def no_policy(self):
        name = self.random.choice(sorted(PUBLISHED))
        arn = policy_arn(name, "aws", ACCOUNT_ID)
        for role in self.world.iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]:
            self.world.detach(role["RoleName"], name)
        for version in self.world.iam.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                self.world.iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        self.world.iam.delete_policy(PolicyArn=arn)
        self.world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)  # The next change needs this policy.

    def happens(self, times):
        kinds = [getattr(self, kind) for kind in (
            "a_profile", "another_role", "a_shared_role", "no_profile", "another_domain_role", "detached", "edited",
            "no_policy",
        )]  # fmt: skip
        for _ in range(times):
            self.random.choice(kinds)()


def needs(world):
    """The policies that each role must have, from SageMaker and the file's two assignments alone."""
    found = defaultdict(set)
    for domain, guardrail in DOMAINS.items():
        described = world.sagemaker.describe_domain(DomainId=domain)
        settings = [described["DefaultUserSettings"], described.get("DefaultSpaceSettings", {})]
        for profile in world.sagemaker.list_user_profiles(DomainIdEquals=domain, MaxResults=100)["UserProfiles"]:
            name = profile["UserProfileName"]
            found_profile = world.sagemaker.describe_user_profile(DomainId=domain, UserProfileName=name)
            settings.append(found_profile.get("UserSettings", {}))
        for setting in settings:
            canvas = setting.get("CanvasAppSettings", {}).get("GenerativeAiSettings", {})
            for arn in (setting.get("ExecutionRole"), canvas.get("AmazonBedrockRoleArn")):
                if arn:
                    found[arn.rsplit("/", 1)[-1]].add(guardrail)
    for unmendable in ("CanvasFull", "CanvasBreakGlass"):
        found.pop(unmendable, None)
    return found


@pytest.mark.volume
@pytest.mark.parametrize("seed", range(volume(3, 24)))
def test_one_sweep_remediates_everything_that_events_missed(world, seed):
    world.swept()
    Mischief(world, seed).happens(12)
    world.publications.run(ACCOUNT_ID, SCHEDULED_CHECK)
    world.sweep()
    assert world.in_force() == PUBLISHED
    for role, needed in needs(world).items():
        assert world.attached(role) >= needed, role
