"""A small company that uses Canvas: two domains, six profiles, their roles, and two users who change these roles."""

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import boto3

from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated import sagemaker
from rolewarden_local.emulated._ministack import REGION

CANVAS_POLICY: Final = "arn:aws:iam::aws:policy/AmazonSageMakerCanvasFullAccess"
CANVAS_POLICIES: Final[tuple[str, ...]] = (
    "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess",
    CANVAS_POLICY,
    "arn:aws:iam::aws:policy/AmazonSageMakerCanvasAIServicesAccess",
)
"""The managed policies that let a role work with Studio, Canvas, JumpStart and Bedrock."""
BEDROCK_POLICIES: Final[tuple[str, ...]] = ("arn:aws:iam::aws:policy/AmazonSageMakerCanvasBedrockAccess",)
"""The managed policy of a role that Canvas passes to Bedrock. It allows access to training data and to no model."""
ANALYTICS: Final = "d-analytics0001"
RESEARCH: Final = "d-research0001"
FULL_ROLE: Final = "CanvasFull"
CANVAS_ROLES: Final = (
    "CanvasAnalytics",
    "CanvasAnalyticsSpaces",
    "CanvasBedrockAnalytics",
    "CanvasResearch",
    "CanvasOmar",
    "CanvasRosa",
    "CanvasBreakGlass",
    FULL_ROLE,
)
OTHER_ROLES: Final = {"BuildServer": "ec2.amazonaws.com", "DataLake": "glue.amazonaws.com"}
PATHS: Final = {"CanvasAnalytics": "/service-role/"}  # The SageMaker console creates its roles under this path.


class AccessKey(NamedTuple):
    """A user's credentials, in the order of the parameters of `boto3.Session`."""

    access_key_id: str
    secret_access_key: str

    def session(self, region: str = REGION) -> boto3.Session:
        """A boto3 session with these credentials."""
        return boto3.Session(*self, region_name=region)


@dataclass(frozen=True)
class Seeded:
    """The resources that `seed` made: roles by name and ARN, domains by name and ID, users by name and access key."""

    region: str
    roles: dict[str, str]
    domains: dict[str, str]
    access_keys: dict[str, AccessKey]


def seed(aws: LocalAws, region: str = REGION) -> Seeded:
    """Fill an empty local AWS. The domains are in `region`.

    Raises:
        botocore.exceptions.ClientError: A resource with one of the names already exists.
    """
    with aws.connected():
        iam, studio, cloudtrail = _clients(region)
        log(cloudtrail)
        roles = _make_roles(iam)
        domains = {"analytics": _make_analytics(studio, roles), "research": _make_research(studio, roles)}
        return Seeded(region, roles, domains, {name: _make_user(iam, name) for name in ("alice", "mallory")})


@functools.cache
def _clients(region: str) -> tuple[Any, Any, Any]:
    # The clients use the default account and not the environment's credentials. Making clients takes longer than
    # seeding, so this function caches them.
    session = boto3.Session("test", "test", region_name=region)
    return session.client("iam"), session.client("sagemaker"), session.client("cloudtrail")


def log(cloudtrail: Any) -> None:
    """Make a trail that logs the calls in every region of an account."""
    cloudtrail.create_trail(Name="management-events", S3BucketName="management-events", IsMultiRegionTrail=True)
    cloudtrail.start_logging(Name="management-events")


def _make_roles(iam: Any) -> dict[str, str]:
    roles = {}
    for name in CANVAS_ROLES:
        services = ["sagemaker.amazonaws.com"]
        policies: tuple[str, ...] = CANVAS_POLICIES if name != FULL_ROLE else ()
        if "Bedrock" in name:
            services.insert(0, "bedrock.amazonaws.com")
            policies = BEDROCK_POLICIES
        roles[name] = _make_role(iam, name, services)
        for policy in policies:
            iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    for number in range(1, 11):
        policy = iam.create_policy(PolicyName=f"team-policy-{number:02}", PolicyDocument=_TEAM_POLICY)["Policy"]
        iam.attach_role_policy(RoleName=FULL_ROLE, PolicyArn=policy["Arn"])
    return roles | {name: _make_role(iam, name, [service]) for name, service in OTHER_ROLES.items()}


_TEAM_POLICY: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}
)


def trusting(services: str | list[str]) -> str:
    """The trust policy of a role that these services may assume."""
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


TRUST = trusting("sagemaker.amazonaws.com")


def _make_role(iam: Any, name: str, services: Iterable[str]) -> str:
    trust = trusting(list(services))
    role = iam.create_role(RoleName=name, Path=PATHS.get(name, "/"), AssumeRolePolicyDocument=trust)["Role"]
    return str(role["Arn"])


def _make_analytics(studio: Any, roles: dict[str, str]) -> str:
    bedrock = {"GenerativeAiSettings": {"AmazonBedrockRoleArn": roles["CanvasBedrockAnalytics"]}}
    domain_id = _make_domain(
        studio,
        "analytics",
        ANALYTICS,
        DefaultUserSettings={
            "ExecutionRole": roles["CanvasAnalytics"],
            "CanvasAppSettings": {**bedrock, "DirectDeploySettings": {"Status": "ENABLED"}},
        },
        DefaultSpaceSettings={"ExecutionRole": roles["CanvasAnalyticsSpaces"]},
    )
    studio.create_user_profile(DomainId=domain_id, UserProfileName="ana")
    _make_profile(studio, domain_id, "omar", roles["CanvasOmar"])
    _make_profile(studio, domain_id, "breakglass", roles["CanvasBreakGlass"])
    return domain_id


def _make_research(studio: Any, roles: dict[str, str]) -> str:
    domain_id = _make_domain(
        studio, "research", RESEARCH, DefaultUserSettings={"ExecutionRole": roles["CanvasResearch"]}
    )
    studio.create_user_profile(DomainId=domain_id, UserProfileName="ravi")
    _make_profile(studio, domain_id, "rosa", roles["CanvasRosa"], Tags=[{"Key": "team", "Value": "data-science"}])
    _make_profile(studio, domain_id, "fatima", roles[FULL_ROLE])
    return domain_id


def _make_domain(studio: Any, name: str, domain_id: str, **settings: Any) -> str:
    sagemaker.fix_domain_id(name, domain_id)
    return str(studio.create_domain(DomainName=name, AuthMode="IAM", **settings)["DomainId"])


def _make_profile(studio: Any, domain_id: str, name: str, role: str, **more: Any) -> None:
    studio.create_user_profile(DomainId=domain_id, UserProfileName=name, UserSettings={"ExecutionRole": role}, **more)


_ADMINISTRATOR: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


ADMINISTRATION: Final = "AWSCloudFormationStackSetAdministrationRole"
EXECUTION: Final = "AWSCloudFormationStackSetExecutionRole"
"""The default names of the roles of self-managed StackSets."""


def make_stack_set_roles(iam: Any, *, services: Iterable[str] = ("cloudformation.amazonaws.com",)) -> None:
    """Make the roles of self-managed StackSets in one account, with every permission.

    `services` are the service principals that the administration role trusts.
    """
    made = iam.create_role(RoleName=ADMINISTRATION, AssumeRolePolicyDocument=trusting(list(services)))["Role"]
    statement = {"Effect": "Allow", "Principal": {"AWS": made["Arn"]}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName=EXECUTION, AssumeRolePolicyDocument=trust)
    for name in (ADMINISTRATION, EXECUTION):
        iam.put_role_policy(RoleName=name, PolicyName="Administrator", PolicyDocument=_ADMINISTRATOR)


def _make_user(iam: Any, name: str) -> AccessKey:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="Administrator", PolicyDocument=_ADMINISTRATOR)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return AccessKey(key["AccessKeyId"], key["SecretAccessKey"])
