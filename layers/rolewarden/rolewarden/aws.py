"""The one place that talks to AWS.

Every call goes through `Aws`, which gives plain values and two errors: `Refused`, which no retry changes, and
`RetryLater`. Which AWS error is which is decided in `translated` and nowhere else.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast
from urllib.parse import unquote

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ParamValidationError
from botocore.session import Session

from rolewarden import POLICY_PATH
from rolewarden.attributes import attribute, plain
from rolewarden.clock import Clock
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.verdicts import Reason

if TYPE_CHECKING:
    import boto3
    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudtrail import CloudTrailClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_iam.literals import PolicyUsageTypeType
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import PaginatorConfigTypeDef
    from mypy_boto3_securityhub import SecurityHubClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

SIGNATURE = "rolewarden/"
"""Goes before the correlation ID in the user agent of each call that changes IAM."""

IAM_HOME_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-eusc": "eusc-de-east-1",
}
"""The region of each partition in which CloudTrail delivers IAM's events, and in which what IAM has once is made."""

SESSION_SECONDS = 900
"""How long a session in another account lasts, the least that STS gives: what is changed about the role there is seen
soon."""

SESSION_LEFT = 300.0
"""With fewer seconds left a session is not used for anything new."""

MOST_SESSIONS = 100
"""As many accounts are kept entered, the one that was used last longest: each has clients of its own."""

_correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)

LONGEST_CALL = 45.0
"""Seconds after which a call is answered or given up: three attempts of 13, and botocore's pauses of up to 1 and 2
between them. With fewer left nothing is begun, as Lambda would end the function at it, without a word on record."""

_PAGES: PaginatorConfigTypeDef = {"PageSize": 100}
"""SageMaker's lists give ten a page unless asked for more, and no more than a hundred."""

TRANSACTION_TRIES = 4

_MESSAGES_BYTES = 240_000
"""What SQS and EventBridge take in one call, 256 KiB, less some air."""

_RETRYABLE = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentModificationException",
        "EntityTemporarilyUnmodifiable",
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        # What IAM and its kin say of credentials that are too new for them, as a fresh function's are.
        "InvalidClientTokenId",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "ServiceFailure",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "UnrecognizedClientException",
    }
)
_TERMINAL = {
    "AccessDenied": Reason.ACCESS_DENIED,
    "AccessDeniedException": Reason.ACCESS_DENIED,
    "UnauthorizedOperation": Reason.ACCESS_DENIED,
    "LimitExceeded": Reason.QUOTA,
    "UnmodifiableEntity": Reason.PROTECTED,
    "PolicyNotAttachable": Reason.POLICY_MISSING,
}
_GONE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchEntity",
        "QueueDoesNotExist",
        "ResourceNotFound",
        "ResourceNotFoundException",
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """Turns what botocore raises inside into Refused, Gone or RetryLater.

    Error codes: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and those of each API.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = f"{error.operation_name}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        if code in _GONE:
            raise Gone(message) from error
        if code in _TERMINAL:
            raise Refused(_TERMINAL[code], message) from error
        if code in _RETRYABLE or status == 429 or status >= 500:
            raise RetryLater(message) from error
        raise Refused(Reason.REFUSED, message) from error
    except ParamValidationError as error:
        raise Refused(Reason.REFUSED, str(error)) from error
    except BotoCoreError as error:
        raise RetryLater(str(error)) from error


@contextmanager
def _reachable(region: str) -> Iterator[None]:
    """That an endpoint has no address may be for good, and is no reason to give up the rest of a sweep."""
    try:
        yield
    except EndpointConnectionError as error:
        raise Refused(Reason.UNREACHABLE, f"SageMaker in {region}: {error}") from error


@contextmanager
def _of_our_own() -> Iterator[None]:
    """As `translated`, for what Rolewarden itself keeps: that it cannot get at its table says nothing about a role."""
    try:
        with translated():
            yield
    except Refused as refused:
        raise RetryLater(str(refused)) from refused


@dataclass(frozen=True)
class RoleDescription:
    """What ListRoles and GetRole tell of a role; `trusted` are the services that may assume it.

    `boundary` is the ARN of its permissions boundary, empty where it has none; ListRoles tells of none (IAM API
    Reference).
    """

    name: str
    path: str
    trusted: frozenset[str]
    boundary: str = ""


class ListedDomain(NamedTuple):
    """What ListDomains tells of a domain; `modified` is empty while it is being changed."""

    id: str
    name: str = ""
    modified: str = ""


class ListedProfile(NamedTuple):
    """What ListUserProfiles tells of a user profile; `modified` is empty while it is being changed."""

    name: str
    modified: str = ""


class PublishedPolicy(NamedTuple):
    """The default version of a policy: its id, and its document as IAM returns it (percent-encoded JSON)."""

    version: str
    text: str


class ListedRule(NamedTuple):
    """A rule on the default bus, and the ARNs of its targets."""

    is_enabled: bool
    targets: frozenset[str]


_T = TypeVar("_T")


class Aws:
    """AWS as seen from one function: its region, its account, its identity.

    Other accounts are seen by `within`.
    """

    def __init__(
        self,
        session: boto3.Session | _Session | None = None,
        *,
        account: str = "",
        member_role: str = "",
        keys: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`account` is the function's own, and `member_role` the name of its role in others, empty where it has none.

        A `session` of boto3's is for whoever has boto3, and another identity or region than the environment's. `keys`
        are credentials, in botocore's words, other than those of the session.
        """
        self._session = session or _default_session()
        self.account = account
        self._member_role = member_role
        self._keys = keys or {}
        self.clock = clock or Clock()
        self._members: dict[str, tuple[float, Aws]] = {}
        self._sagemaker: dict[str, SageMakerClient] = {}

    @cached_property
    def region(self) -> str:
        """The region this code runs in."""
        return self._session.region_name or "us-east-1"

    @cached_property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov` or another, by the region."""
        return self._session.get_partition_for_region(self.region)

    def within(self, account: str, *, afresh: bool = False) -> Aws:
        """AWS as seen from `account`: this very one where it is its own, or where none is named.

        Another is entered by the role there that belongs to this function; what is cached costs no call, and is not
        taken with `afresh`. Raises Refused where it may not be entered, and RetryLater.
        """
        if self.is_home(account):
            return self
        now = self.clock.now()
        until, member = self._members.pop(account, (0.0, self))
        if afresh or until - now < SESSION_LEFT:
            member, until = self._entered(account), now + SESSION_SECONDS
        self._members[account] = until, member
        while len(self._members) > MOST_SESSIONS:
            del self._members[next(iter(self._members))]
        return member

    def is_home(self, account: str) -> bool:
        """Whether `account` is this one, or none is named; without an account of one's own all are."""
        return account in {self.account, ""} or not self.account

    def leave(self, account: str) -> None:
        """Enter `account` anew the next time: AWS may no longer know the session."""
        self._members.pop(account, None)

    def _entered(self, account: str) -> Aws:
        if not self._member_role:
            raise Refused(Reason.NOT_ENTERED, f"the stack does not cover account {account}")
        arn = f"arn:{self.partition}:iam::{account}:role{POLICY_PATH}{self._member_role}"
        try:
            return self.assumed(arn, "rolewarden", SESSION_SECONDS)
        except Refused as refused:
            raise Refused(Reason.NOT_ENTERED, str(refused)) from refused

    def client(self, service: str, region: str = "", config: Config | None = None) -> Any:
        """A client of a service; `config` has what differs from the usual. Its errors are those of botocore.

        Wrap each call in `translated`.
        """
        # Of one session: what it has loaded of a service's model serves the clients of every account.
        make: Callable[..., Any] = self._session.client
        return make(
            service,
            region_name=region or self.region,
            config=_CONFIG.merge(config) if config else _CONFIG,
            **self._keys,
        )

    def prepare(self) -> None:
        """Make the clients that look at a role: at a cold start Lambda lends a function more CPU than it has later."""
        _ = self._dynamodb, self._iam

    # Clients are made when first used: a function pays for those that it needs.
    @cached_property
    def _iam(self) -> IAMClient:
        client = cast("IAMClient", self.client("iam"))
        client.meta.events.register("before-send.iam", _sign)
        return client

    @cached_property
    def _sts(self) -> STSClient:
        return cast("STSClient", self.client("sts"))

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return cast("DynamoDBClient", self.client("dynamodb"))

    @cached_property
    def _sqs(self) -> SQSClient:
        return cast("SQSClient", self.client("sqs"))

    @cached_property
    def _events(self) -> EventBridgeClient:
        return cast("EventBridgeClient", self.client("events"))

    @cached_property
    def _cloudformation(self) -> CloudFormationClient:
        return cast("CloudFormationClient", self.client("cloudformation"))

    @cached_property
    def _sns(self) -> SNSClient:
        return cast("SNSClient", self.client("sns"))

    @cached_property
    def _securityhub(self) -> SecurityHubClient:
        return cast("SecurityHubClient", self.client("securityhub"))

    @cached_property
    def _cloudtrail(self) -> CloudTrailClient:
        # LookupEvents answers two calls a second: the client keeps to what it is allowed.
        config = Config(retries={"mode": "adaptive", "total_max_attempts": 6})
        return cast("CloudTrailClient", self.client("cloudtrail", IAM_HOME_REGIONS.get(self.partition, ""), config))

    def _tagging_in(self, region: str) -> Any:
        return self.client("resourcegroupstaggingapi", region)

    def _sagemaker_in(self, region: str) -> SageMakerClient:
        if region not in self._sagemaker:
            self._sagemaker[region] = self.client("sagemaker", region)
        return self._sagemaker[region]

    # IAM roles

    def attached_policies(self, role: str) -> frozenset[str]:
        """ARNs of all managed policies attached to `role`. Raises Gone if the role does not exist, and Refused."""
        with translated():
            pages = self._iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
            return frozenset(policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"])

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """Attach a policy. Raises Refused: which of the two does not exist is told apart by IAM's message.

        CloudTrail shows the `correlation_id` of this and of every other call that changes IAM, see `calls_of`.
        """
        try:
            with translated(), _correlated(correlation_id):
                self._iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)
        except Gone as gone:
            if "olicy " in str(gone) and "role with name" not in str(gone):
                raise Refused(Reason.POLICY_MISSING, str(gone)) from gone
            raise

    def detach(self, role: str, policy_arn: str, *, correlation_id: str) -> bool:
        """Detach a policy; whether it was attached. Raises Refused.

        False also where a first attempt went unanswered and had detached it: CloudTrail alone knows.
        """
        try:
            with translated(), _correlated(correlation_id):
                self._iam.detach_role_policy(RoleName=role, PolicyArn=policy_arn)
        except Gone:
            return False
        return True

    def roles(self) -> Iterator[RoleDescription]:
        """All roles of the account."""
        with translated():
            for page in self._iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1000}):
                for role in page["Roles"]:
                    yield role_description(role["RoleName"], role["Path"], role.get("AssumeRolePolicyDocument"))

    def role(self, name: str) -> RoleDescription:
        """One role. Raises Refused."""
        with translated():
            role = self._iam.get_role(RoleName=name)["Role"]
            described = role_description(role["RoleName"], role["Path"], role.get("AssumeRolePolicyDocument"))
            return replace(described, boundary=role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""))

    def set_boundary(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """Set the permissions boundary of a role, in the place of the one it has. Raises Refused as `attach` does."""
        try:
            with translated(), _correlated(correlation_id):
                self._iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=policy_arn)
        except Gone as gone:
            # "Scope ARN: ... does not exist or is not attachable.", or "The role with name ... cannot be found."
            if "role with name" not in str(gone):
                raise Refused(Reason.POLICY_MISSING, str(gone)) from gone
            raise

    def remove_boundary(self, role: str, *, correlation_id: str) -> bool:
        """Take the permissions boundary off a role; whether there was one, as of `detach`. Raises Refused."""
        try:
            with translated(), _correlated(correlation_id):
                self._iam.delete_role_permissions_boundary(RoleName=role)
        except Gone:
            return False
        return True

    def assumed(self, role_arn: str, session_name: str, seconds: int = 3600) -> Aws:
        """AWS as seen by a role, for so many seconds. Raises Refused, RetryLater."""
        with translated():
            credentials = self._sts.assume_role(
                RoleArn=role_arn, RoleSessionName=session_name, DurationSeconds=seconds
            )["Credentials"]
        return Aws(
            self._session,
            keys={
                "aws_access_key_id": credentials["AccessKeyId"],
                "aws_secret_access_key": credentials["SecretAccessKey"],
                "aws_session_token": credentials["SessionToken"],
            },
        )

    # IAM policies

    def roles_with_policy(self, policy_arn: str) -> frozenset[str]:
        """Names of the roles that a policy is attached to; none where there is no such policy."""
        return self._roles_using(policy_arn, "PermissionsPolicy")

    def roles_with_boundary(self, policy_arn: str) -> frozenset[str]:
        """Names of the roles that a policy is the permissions boundary of; none where there is no such policy."""
        return self._roles_using(policy_arn, "PermissionsBoundary")

    def _roles_using(self, policy_arn: str, usage: PolicyUsageTypeType) -> frozenset[str]:
        try:
            with translated():
                pages = self._iam.get_paginator("list_entities_for_policy").paginate(
                    PolicyArn=policy_arn,
                    EntityFilter="Role",
                    PolicyUsageFilter=usage,
                    PaginationConfig={"PageSize": 1000},
                )
                return frozenset(role["RoleName"] for page in pages for role in page["PolicyRoles"])
        except Gone:
            return frozenset()

    def policy(self, policy_arn: str) -> PublishedPolicy | None:
        """What a policy says now; None where there is none."""
        try:
            with translated():
                found = self._iam.get_policy(PolicyArn=policy_arn)["Policy"]
                version = found["DefaultVersionId"]
                document = self._iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"][
                    "Document"
                ]
        except Gone:
            return None
        text = document if isinstance(document, str) else json.dumps(document)
        return PublishedPolicy(version, text)

    def policy_description(self, policy_arn: str) -> str:
        """The description of a policy; empty where it has none, or where there is no such policy."""
        try:
            with translated():
                return self._iam.get_policy(PolicyArn=policy_arn)["Policy"].get("Description", "")
        except Gone:
            return ""

    def own_policies(self) -> tuple[str, ...]:
        """Names of all policies under `/rolewarden/`."""
        with translated():
            pages = self._iam.get_paginator("list_policies").paginate(
                Scope="Local", PathPrefix=POLICY_PATH, PaginationConfig={"PageSize": 1000}
            )
            return tuple(sorted(policy["PolicyName"] for page in pages for policy in page["Policies"]))

    def create_policy(self, name: str, text: str, description: str, *, correlation_id: str) -> None:
        """Create a policy under `/rolewarden/`. Raises Refused where one of that name is somebody else's."""
        with translated(), _correlated(correlation_id):
            try:
                self._iam.create_policy(
                    PolicyName=name, Path=POLICY_PATH, PolicyDocument=text, Description=description
                )  # fmt: skip
            except self._iam.exceptions.EntityAlreadyExistsException as error:
                raise Refused(
                    Reason.NAME_TAKEN,
                    f"the account has a policy `{name}` that is not under {POLICY_PATH}, and IAM keeps a name once: "
                    "rename the guardrail in guardrails.yaml, or delete that policy",
                ) from error

    def replace_policy(self, policy_arn: str, text: str, *, correlation_id: str) -> str:
        """Make `text` the default version, in the place of the oldest other one where IAM keeps no more than five.

        Gives the new version's id.
        """
        with translated(), _correlated(correlation_id):
            versions = self._iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
            if len(versions) >= 5:
                others = [version for version in versions if not version["IsDefaultVersion"]]
                oldest = min(others, key=lambda version: int(version["VersionId"].removeprefix("v")))
                self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=oldest["VersionId"])
            created = self._iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=text, SetAsDefault=True)
            return created["PolicyVersion"]["VersionId"]

    def set_default_version(self, policy_arn: str, version: str, *, instead_of: str) -> None:
        """Make an older version the default again, and delete the one that it stands in for."""
        with translated():
            self._iam.set_default_policy_version(PolicyArn=policy_arn, VersionId=version)
            self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=instead_of)

    def delete_policy(self, policy_arn: str) -> None:
        """Delete a policy with all its versions; one that is gone is deleted. Raises Refused while it is attached."""
        with suppress(Gone), translated():
            for version in self._iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=version["VersionId"])
            self._iam.delete_policy(PolicyArn=policy_arn)

    # SageMaker

    def domain(self, region: str, domain_id: str) -> Mapping[str, Any]:
        """DescribeDomain. Raises Gone if the domain does not exist, and Refused."""
        with translated():
            return self._sagemaker_in(region).describe_domain(DomainId=domain_id)

    def user_profile(self, region: str, domain_id: str, name: str) -> Mapping[str, Any]:
        """DescribeUserProfile. Raises Gone if the user profile does not exist, and Refused."""
        with translated():
            return self._sagemaker_in(region).describe_user_profile(DomainId=domain_id, UserProfileName=name)

    def domains(self, region: str) -> tuple[ListedDomain, ...]:
        """All domains in `region`. Raises Refused where SageMaker is not in that region, or cannot be reached there."""
        with translated(), _reachable(region):
            pages = self._sagemaker_in(region).get_paginator("list_domains").paginate(PaginationConfig=_PAGES)
            return tuple(
                ListedDomain(domain["DomainId"], domain.get("DomainName", ""), modified(domain))
                for page in pages
                for domain in page["Domains"]
            )

    def user_profiles(self, region: str, domain_id: str) -> tuple[ListedProfile, ...]:
        """All user profiles of a domain."""
        with translated():
            paginator = self._sagemaker_in(region).get_paginator("list_user_profiles")
            pages = paginator.paginate(DomainIdEquals=domain_id, PaginationConfig=_PAGES)
            return tuple(
                ListedProfile(profile["UserProfileName"], modified(profile))
                for page in pages
                for profile in page["UserProfiles"]
            )

    def subject_tags(self, region: str) -> dict[str, dict[str, str]]:
        """The tags of all tagged domains and user profiles, by the end of their ARNs (see `bindings.tagged`)."""
        with translated():
            pages = (
                self._tagging_in(region)
                .get_paginator("get_resources")
                .paginate(ResourceTypeFilters=["sagemaker:domain", "sagemaker:user-profile"], ResourcesPerPage=100)
            )
            return {
                found["ResourceARN"].split(":", 5)[5].lower(): {tag["Key"]: tag["Value"] for tag in found["Tags"]}
                for page in pages
                for found in page["ResourceTagMappingList"]
            }

    def sagemaker_tags(self, region: str, arn: str) -> dict[str, str]:
        """The tags of a domain or user profile."""
        with translated():
            pages = (
                self._sagemaker_in(region).get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig=_PAGES)
            )
            return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    # CloudTrail

    def calls_of(self, event_name: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """CloudTrail's records of calls of one name to IAM, oldest page last, from its event history of 90 days.

        It holds them whether there is a trail or not, some minutes late:
        https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
        """
        yield from self._looked_up("EventName", event_name, StartTime=since, EndTime=until)

    def recorded_call(self, event_id: str) -> Mapping[str, Any] | None:
        """CloudTrail's record of one call to IAM; None where its event history does not have it."""
        return next(self._looked_up("EventId", event_id), None)

    def _looked_up(self, key: Literal["EventName", "EventId"], value: str, **more: Any) -> Iterator[Mapping[str, Any]]:
        with translated():
            pages = self._cloudtrail.get_paginator("lookup_events").paginate(
                LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}], **more
            )
            for page in pages:
                yield from (json.loads(event["CloudTrailEvent"]) for event in page["Events"])

    # DynamoDB, SQS, EventBridge: Rolewarden's own, so all of it raises RetryLater and nothing of it Refused

    def query(
        self,
        table: str,
        key: Mapping[str, str],
        *,
        index: str = "",
        begins: tuple[str, str] = ("", ""),
        least: tuple[str, str] = ("", ""),
    ) -> list[dict[str, Any]]:
        """All items whose partition key (one entry in `key`) has that value.

        `begins` is the name of the sort key and what it is to begin with, or `least` what it is to be at the least.
        """
        [(name, value)] = key.items()
        where: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "#key = :value",
            "ExpressionAttributeNames": {"#key": name},
            "ExpressionAttributeValues": {":value": {"S": value}},
            **({"IndexName": index} if index else {"ConsistentRead": True}),
        }
        for (sort, text), condition in ((begins, "begins_with(#sort, :sort)"), (least, "#sort >= :sort")):
            if text:
                where["KeyConditionExpression"] += f" AND {condition}"
                where["ExpressionAttributeNames"]["#sort"] = sort
                where["ExpressionAttributeValues"][":sort"] = {"S": text}
        with _of_our_own():
            pages = self._dynamodb.get_paginator("query").paginate(**where)
            return [self._item(item) for page in pages for item in page["Items"]]

    def newest(self, table: str, key: Mapping[str, str], most: int) -> list[dict[str, Any]]:
        """The items of a partition whose sort keys are the greatest, `most` of them, greatest first."""
        [(name, value)] = key.items()
        with _of_our_own():
            answer = self._dynamodb.query(
                TableName=table,
                KeyConditionExpression="#key = :value",
                ExpressionAttributeNames={"#key": name},
                ExpressionAttributeValues={":value": {"S": value}},
                ScanIndexForward=False,
                Limit=most,
            )
        return [self._item(item) for item in answer["Items"]]

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """All items of a table."""
        with _of_our_own():
            for page in self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
                yield from (self._item(item) for item in page["Items"])

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Write one item."""
        with _of_our_own():
            self._dynamodb.put_item(TableName=table, Item=self._attributes(item))

    def put_unless(
        self, table: str, item: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None
    ) -> bool:
        """Write one item unless `condition` (of DynamoDB) holds of the one that is there; whether it was written."""
        valued: dict[str, Any] = {"ExpressionAttributeValues": self._attributes(values)} if values else {}
        with _of_our_own():
            try:
                self._dynamodb.put_item(
                    TableName=table,
                    Item=self._attributes(item),
                    ConditionExpression=f"NOT ({condition})",
                    **valued,
                )
            except self._dynamodb.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def update(self, table: str, key: Mapping[str, str], expression: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change one item by an update expression; what it is then."""
        with _of_our_own():
            answer = self._dynamodb.update_item(
                TableName=table,
                Key=self._attributes(key),
                UpdateExpression=expression,
                ExpressionAttributeValues=self._attributes(values),
                ReturnValues="ALL_NEW",
            )
        return self._item(answer.get("Attributes", {}))

    def put_all(self, table: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Write items, 25 in a call. Raises RetryLater where DynamoDB leaves some undone."""
        if len(items) == 1:
            return self.put(table, items[0])
        requests = [{"PutRequest": {"Item": self._attributes(item)}} for item in items]
        with _of_our_own():
            for chunk in _chunks(requests, 25):
                left: Any = {table: chunk}
                for _ in range(3):
                    left = self._dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems")
                    if not left:
                        break
                else:
                    raise RetryLater(f"BatchWriteItem left items of {table} unprocessed")
        return None

    def write_newer(
        self, table: str, puts: Iterable[Mapping[str, Any]], deletes: Iterable[Mapping[str, str]], *, at: float
    ) -> None:
        """Write and delete items as they were read `at` (seconds of the epoch), a hundred in a call.

        Items that were read later stay. Raises RetryLater.
        """
        newer = {
            "TableName": table,
            "ConditionExpression": "attribute_not_exists(read_at) OR read_at <= :at",
            "ExpressionAttributeValues": self._attributes({":at": Decimal(f"{at:.6f}")}),
        }
        actions: list[Any] = [
            {"Put": {**newer, "Item": self._attributes({**item, "read_at": Decimal(f"{at:.6f}")})}} for item in puts
        ]
        actions += [{"Delete": {**newer, "Key": self._attributes(key)}} for key in deletes]
        for chunk in _chunks(actions, 100):
            left = chunk
            tries = 0
            while left:
                try:
                    left = self._transact(left)
                except RetryLater:
                    # Somebody else is writing one of these items just now, and botocore does not try that again.
                    tries += 1
                    if tries == TRANSACTION_TRIES:
                        raise
                    time.sleep(random.uniform(0.05, 0.2) * tries)  # noqa: S311

    def _transact(self, actions: list[Any]) -> list[Any]:
        """Do them all or none; what is left to do without those that were overtaken."""
        with _of_our_own():
            try:
                self._dynamodb.transact_write_items(TransactItems=actions)
            except self._dynamodb.exceptions.TransactionCanceledException as cancelled:
                codes = [reason.get("Code", "None") for reason in cancelled.response.get("CancellationReasons", [])]
                if set(codes) <= {"None", "ConditionalCheckFailed"} and "ConditionalCheckFailed" in codes:
                    return [action for action, code in zip(actions, codes, strict=True) if code == "None"]
                raise RetryLater(f"TransactWriteItems: {', '.join(sorted(set(codes)))}") from cancelled
        return []

    def send(self, queue_url: str, bodies: Iterable[Mapping[str, Any]], *, delay: int = 0) -> None:
        """Send messages, up to ten in a call, to be received after `delay` seconds, or the queue's own delay for 0.

        What is about another account goes in a group of that account: SQS is then fair to them (Developer Guide, Amazon
        SQS fair queues), and one with many messages, or slow ones, holds up no other. Raises RetryLater where SQS took
        none.
        """
        later = {"DelaySeconds": delay} if delay else {}
        with _of_our_own():
            messages = [(self._group(str(body.get("account", ""))), json.dumps(body)) for body in bodies]
            for chunk in _chunks(messages, 10, most=_MESSAGES_BYTES, weigh=lambda message: len(message[1])):
                answer = self._sqs.send_message_batch(
                    QueueUrl=queue_url,
                    Entries=[
                        {"Id": str(number), "MessageBody": body, **group, **later}  # type: ignore[typeddict-item]
                        for number, (group, body) in enumerate(chunk)
                    ],
                )
                if failed := answer.get("Failed"):
                    raise RetryLater(f"SendMessageBatch: {failed[0].get('Code')}: {failed[0].get('Message', '')}")

    def _group(self, account: str) -> dict[str, str]:
        return {} if self.is_home(account) else {"MessageGroupId": account}

    def put_events(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Put events (detail type and detail) from source `rolewarden` on the default bus, ten in a call.

        Raises RetryLater where EventBridge refused one.
        """
        details = [(name, json.dumps(detail)) for name, detail in events]
        with _of_our_own():
            for chunk in _chunks(details, 10, most=_MESSAGES_BYTES, weigh=lambda event: len(event[1]) + 200):
                answer = self._events.put_events(
                    Entries=[{"Source": "rolewarden", "DetailType": name, "Detail": detail} for name, detail in chunk]
                )
                if answer["FailedEntryCount"]:
                    failed = next(entry for entry in answer["Entries"] if "ErrorCode" in entry)
                    raise RetryLater(f"PutEvents: {failed.get('ErrorCode')}: {failed.get('ErrorMessage', '')}")

    def is_logged(self, region: str) -> bool:
        """Whether a trail that logs covers `region`, one of the organization's too. Raises Refused, RetryLater."""
        with translated():
            client = self.client("cloudtrail", region)
            trails = client.describe_trails(includeShadowTrails=True)["trailList"]
            return any(client.get_trail_status(Name=trail["TrailARN"])["IsLogging"] for trail in trails)

    def rule(self, region: str, name: str) -> ListedRule | None:
        """A rule on the default bus of `region`; None where there is none. Raises Refused, RetryLater."""
        try:
            with translated():
                client = self.client("events", region)
                rule = client.describe_rule(Name=name)
                targets = client.list_targets_by_rule(Rule=name)["Targets"]
        except Gone:
            return None
        return ListedRule(rule["State"] == "ENABLED", frozenset(target["Arn"] for target in targets))

    def messages_in(self, region: str, queue: str) -> int | None:
        """About how many messages wait in a queue; None where there is no such queue. Raises Refused, RetryLater."""
        try:
            with translated():
                client = self.client("sqs", region)
                url = client.get_queue_url(QueueName=queue)["QueueUrl"]
                name = "ApproximateNumberOfMessages"
                return int(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
        except Gone:
            return None

    def stack_set_accounts(self, name: str, region: str, call_as: str) -> tuple[str, ...]:
        """The accounts that have a stack of a StackSet in `region`.

        `call_as` is "SELF" or "DELEGATED_ADMIN" (CloudFormation API Reference, ListStackInstances). Raises Refused.
        """
        with translated():
            pages = self._cloudformation.get_paginator("list_stack_instances").paginate(
                StackSetName=name, StackInstanceRegion=region, CallAs=cast("Any", call_as)
            )
            return tuple(sorted(found["Account"] for page in pages for found in page["Summaries"]))

    def stack_status(self, stack_id: str) -> str:
        """The status of a stack of this region, such as "UPDATE_IN_PROGRESS". Raises RetryLater."""
        with _of_our_own():
            [stack] = self._cloudformation.describe_stacks(StackName=stack_id)["Stacks"]
            return str(stack["StackStatus"])

    def notify(self, topic_arn: str, subject: str, text: str) -> None:
        """Send a message to everybody who is subscribed to a topic. Raises RetryLater."""
        with _of_our_own():
            self._sns.publish(TopicArn=topic_arn, Subject=subject, Message=text)

    def import_finding(self, finding: Mapping[str, Any]) -> None:
        """Give Security Hub one finding in its own format. Raises RetryLater, also where it takes no findings."""
        with _of_our_own():
            answer = self._securityhub.batch_import_findings(Findings=[cast("Any", finding)])
        for failed in answer.get("FailedFindings", ()):
            raise RetryLater(f"BatchImportFindings: {failed['ErrorCode']}: {failed['ErrorMessage']}")

    def _item(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: plain(value) for name, value in attributes.items()}

    def _attributes(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: attribute(value) for name, value in item.items()}


class _Session:
    """As much of boto3's session as is used here: the layer carries botocore, and boto3 would double its cold start."""

    def __init__(self) -> None:
        self._session = Session()
        self.region_name: str | None = self._session.get_config_variable("region")

    def client(self, service: str, **how: Any) -> Any:
        return self._session.create_client(service, **how)

    def get_partition_for_region(self, region: str) -> str:
        return self._session.get_partition_for_region(region)


@cache
def _default_session() -> _Session:
    """One a process: it keeps what it has loaded of the services' models."""
    return _Session()


@contextmanager
def _correlated(correlation_id: str) -> Iterator[None]:
    """Inside, each call to IAM carries the correlation_id."""
    before = _correlation_id.set(correlation_id)
    try:
        yield
    finally:
        _correlation_id.reset(before)


def _sign(request: AWSPreparedRequest, **_: Any) -> None:
    """Write the correlation ID where CloudTrail keeps it: the user agent. Tries of botocore's own carry the same.

    At the last moment, as botocore builds the header anew for each try; it is not part of what is signed.
    """
    if correlation_id := _correlation_id.get():
        request.headers["User-Agent"] = f"{request.headers.get('User-Agent', '')} {SIGNATURE}{correlation_id}"


def modified(subject: Mapping[str, Any]) -> str:
    """LastModifiedTime of a listed or described subject, as a text to compare; empty while it is being changed."""
    settled = subject.get("Status", "InService") == "InService" and "LastModifiedTime" in subject
    return f"{subject['LastModifiedTime'].timestamp():.3f}" if settled else ""


def role_description(name: str, path: str, trust: Any) -> RoleDescription:
    """ListRoles and GetRole give the trust policy percent-encoded; botocore decodes it where it can."""
    if isinstance(trust, str):
        try:
            trust = json.loads(unquote(trust))
        except ValueError:
            trust = {}
    statements = (trust or {}).get("Statement", [])
    services: set[str] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        named = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow":
            services.update([named] if isinstance(named, str) else named)
    return RoleDescription(name, path, frozenset(services))


def _chunks(
    items: list[_T],
    size: int,
    *,
    most: float = float("inf"),
    weigh: Callable[[_T], int] = len,  # type: ignore[assignment]
) -> Iterator[list[_T]]:
    """`items` in lists of no more than `size`, and of no more than `most` by weight where they can be."""
    chunk: list[_T] = []
    weight = 0
    for item in items:
        if chunk and (len(chunk) == size or weight + weigh(item) > most):
            yield chunk
            chunk, weight = [], 0
        chunk.append(item)
        weight += weigh(item)
    if chunk:
        yield chunk
