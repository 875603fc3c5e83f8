"""The one place that talks to AWS.

Every call goes through `Aws`, which gives plain values and two errors: `Refused`, which no retry changes, and
`RetryLater`. Which AWS error is which is decided in `translated` and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rolewarden import POLICY_PATH
from rolewarden.errors import Refused, RetryLater
from rolewarden.verdicts import Reason

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import PaginatorConfigTypeDef
    from mypy_boto3_sqs import SQSClient

GONE = "gone"
"""The `reason` of a Refused where the thing asked about does not exist."""

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)

_PAGES: PaginatorConfigTypeDef = {"PageSize": 100}
"""SageMaker's lists give ten a page unless asked for more, and no more than a hundred."""

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
_GONE = frozenset({"NoSuchEntity", "ResourceNotFound", "ResourceNotFoundException"})


@contextmanager
def translated() -> Iterator[None]:
    """Turns what boto3 raises inside into Refused or RetryLater.

    Error codes: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and those of each API.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        message = f"{error.operation_name}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        if code in _GONE:
            raise Refused(GONE, message) from error
        if code in _TERMINAL:
            raise Refused(_TERMINAL[code], message) from error
        if code in _RETRYABLE or status == 429 or status >= 500:
            raise RetryLater(message) from error
        raise Refused(Reason.REFUSED, message) from error
    except BotoCoreError as error:
        raise RetryLater(str(error)) from error


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
    """What ListRoles tells of a role; `trusted` are the services that may assume it."""

    name: str
    path: str
    trusted: frozenset[str]


_T = TypeVar("_T")


class Aws:
    """AWS as seen from one function: its region, its account, its identity."""

    def __init__(self, session: boto3.Session | None = None) -> None:
        self._session = session or _default_session()
        self._sagemaker: dict[str, SageMakerClient] = {}
        self._serialize = TypeSerializer().serialize
        self._deserialize = TypeDeserializer().deserialize

    @cached_property
    def region(self) -> str:
        """The region this code runs in."""
        return self._session.region_name or "us-east-1"

    @cached_property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov` or another, by the region."""
        return self._session.get_partition_for_region(self.region)

    # Clients are made when first used: a function pays at its cold start for those that it needs.
    @cached_property
    def _iam(self) -> IAMClient:
        return self._session.client("iam", config=_CONFIG)

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return self._session.client("dynamodb", config=_CONFIG)

    @cached_property
    def _sqs(self) -> SQSClient:
        return self._session.client("sqs", config=_CONFIG)

    @cached_property
    def _events(self) -> EventBridgeClient:
        return self._session.client("events", config=_CONFIG)

    def _sagemaker_in(self, region: str) -> SageMakerClient:
        if region not in self._sagemaker:
            self._sagemaker[region] = self._session.client("sagemaker", region_name=region, config=_CONFIG)
        return self._sagemaker[region]

    # IAM roles

    def attached_policies(self, role: str) -> frozenset[str]:
        """ARNs of all managed policies attached to `role`. Raises Refused ("gone" where there is no such role)."""
        with translated():
            pages = self._iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
            return frozenset(policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"])

    def attach(self, role: str, policy_arn: str) -> None:
        """Attach a policy. Raises Refused: which of the two does not exist is told apart by IAM's message."""
        try:
            with translated():
                self._iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)
        except Refused as refused:
            if refused.reason == GONE and "olicy " in str(refused) and "role with name" not in str(refused):
                raise Refused(Reason.POLICY_MISSING, str(refused)) from refused
            raise

    def roles(self) -> Iterator[RoleDescription]:
        """All roles of the account."""
        with translated():
            for page in self._iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1000}):
                for role in page["Roles"]:
                    yield _described(role["RoleName"], role["Path"], role.get("AssumeRolePolicyDocument"))

    def role(self, name: str) -> RoleDescription:
        """One role. Raises Refused."""
        with translated():
            role = self._iam.get_role(RoleName=name)["Role"]
            return _described(role["RoleName"], role["Path"], role.get("AssumeRolePolicyDocument"))

    # IAM policies

    def roles_with_policy(self, policy_arn: str) -> frozenset[str]:
        """Names of the roles that a policy is attached to; none where there is no such policy."""
        try:
            with translated():
                pages = self._iam.get_paginator("list_entities_for_policy").paginate(
                    PolicyArn=policy_arn, EntityFilter="Role", PaginationConfig={"PageSize": 1000}
                )
                return frozenset(role["RoleName"] for page in pages for role in page["PolicyRoles"])
        except Refused as refused:
            if refused.reason == GONE:
                return frozenset()
            raise

    def policy_text(self, policy_arn: str) -> str | None:
        """The default version's document as IAM returns it (percent-encoded JSON); None where there is no policy."""
        try:
            with translated():
                version = self._iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
                document = self._iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"][
                    "Document"
                ]
        except Refused as refused:
            if refused.reason == GONE:
                return None
            raise
        return document if isinstance(document, str) else json.dumps(document)

    def create_policy(self, name: str, text: str, description: str) -> None:
        """Create a policy under `/rolewarden/`."""
        with translated():
            self._iam.create_policy(
                PolicyName=name, Path=POLICY_PATH, PolicyDocument=text, Description=description
            )  # fmt: skip

    def replace_policy(self, policy_arn: str, text: str) -> None:
        """Make `text` the default version, in the place of the oldest other one where IAM keeps no more than five."""
        with translated():
            versions = self._iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
            if len(versions) >= 5:
                others = [version for version in versions if not version["IsDefaultVersion"]]
                oldest = min(others, key=lambda version: int(version["VersionId"].removeprefix("v")))
                self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=oldest["VersionId"])
            self._iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=text, SetAsDefault=True)

    # SageMaker

    def domain(self, region: str, domain_id: str) -> Mapping[str, Any]:
        """DescribeDomain. Raises Refused ("gone" where there is none)."""
        with translated():
            return self._sagemaker_in(region).describe_domain(DomainId=domain_id)

    def user_profile(self, region: str, domain_id: str, name: str) -> Mapping[str, Any]:
        """DescribeUserProfile. Raises Refused ("gone" where there is none)."""
        with translated():
            return self._sagemaker_in(region).describe_user_profile(DomainId=domain_id, UserProfileName=name)

    def domains(self, region: str) -> tuple[str, ...]:
        """Ids of all domains in `region`."""
        with translated():
            pages = self._sagemaker_in(region).get_paginator("list_domains").paginate(PaginationConfig=_PAGES)
            return tuple(domain["DomainId"] for page in pages for domain in page["Domains"])

    def user_profiles(self, region: str, domain_id: str) -> tuple[str, ...]:
        """Names of all user profiles of a domain."""
        with translated():
            paginator = self._sagemaker_in(region).get_paginator("list_user_profiles")
            pages = paginator.paginate(DomainIdEquals=domain_id, PaginationConfig=_PAGES)
            return tuple(profile["UserProfileName"] for page in pages for profile in page["UserProfiles"])

    def sagemaker_tags(self, region: str, arn: str) -> dict[str, str]:
        """The tags of a domain or user profile."""
        with translated():
            pages = (
                self._sagemaker_in(region).get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig=_PAGES)
            )
            return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    # DynamoDB, SQS, EventBridge: Rolewarden's own, so all of it raises RetryLater and nothing of it Refused

    def query(self, table: str, key: Mapping[str, str], *, index: str = "") -> list[dict[str, Any]]:
        """All items whose partition key (one entry in `key`) has that value."""
        [(name, value)] = key.items()
        where: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "#key = :value",
            "ExpressionAttributeNames": {"#key": name},
            "ExpressionAttributeValues": {":value": {"S": value}},
            **({"IndexName": index} if index else {"ConsistentRead": True}),
        }
        with _of_our_own():
            pages = self._dynamodb.get_paginator("query").paginate(**where)
            return [self._item(item) for page in pages for item in page["Items"]]

    def scan(self, table: str) -> Iterator[dict[str, Any]]:
        """All items of a table."""
        with _of_our_own():
            for page in self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
                yield from (self._item(item) for item in page["Items"])

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Write one item."""
        with _of_our_own():
            self._dynamodb.put_item(TableName=table, Item=self._attributes(item))

    def write(self, table: str, puts: Iterable[Mapping[str, Any]], deletes: Iterable[Mapping[str, str]] = ()) -> None:
        """Write and delete items, up to 25 in a call. Raises RetryLater where DynamoDB leaves some undone."""
        requests = [{"PutRequest": {"Item": self._attributes(item)}} for item in puts]
        requests += [{"DeleteRequest": {"Key": self._attributes(key)}} for key in deletes]
        with _of_our_own():
            for chunk in _chunks(requests, 25):
                left: Any = {table: chunk}
                for _ in range(3):
                    left = self._dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems")
                    if not left:
                        break
                else:
                    raise RetryLater(f"BatchWriteItem left items of {table} unprocessed")

    def send(self, queue_url: str, bodies: Iterable[Mapping[str, Any]], *, delay: int = 0) -> None:
        """Send messages, ten in a call, to be received after `delay` seconds. Raises RetryLater where SQS took none."""
        with _of_our_own():
            for chunk in _chunks([json.dumps(body) for body in bodies], 10):
                answer = self._sqs.send_message_batch(
                    QueueUrl=queue_url,
                    Entries=[
                        {"Id": str(number), "MessageBody": body, "DelaySeconds": delay}
                        for number, body in enumerate(chunk)
                    ],
                )
                if failed := answer.get("Failed"):
                    raise RetryLater(f"SendMessageBatch: {failed[0].get('Code')}: {failed[0].get('Message', '')}")

    def publish(self, detail_type: str, detail: Mapping[str, Any], *, resources: Sequence[str] = ()) -> None:
        """Put one event from source `rolewarden` on the default bus. Raises RetryLater where EventBridge refused it."""
        entry = {
            "Source": "rolewarden",
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": list(resources),
        }
        with _of_our_own():
            answer = self._events.put_events(Entries=[entry])  # type: ignore[list-item]
        if answer["FailedEntryCount"]:
            failed = answer["Entries"][0]
            raise RetryLater(f"PutEvents: {failed.get('ErrorCode')}: {failed.get('ErrorMessage', '')}")

    def _item(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._deserialize(value) for name, value in attributes.items()}

    def _attributes(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._serialize(value) for name, value in item.items()}


def _default_session() -> boto3.Session:
    """boto3's own: whoever else uses it shares what it has loaded of the services' models."""
    if boto3.DEFAULT_SESSION is None:
        boto3.setup_default_session()
    return cast("boto3.Session", boto3.DEFAULT_SESSION)


def _described(name: str, path: str, trust: Any) -> RoleDescription:
    """ListRoles and GetRole give the trust policy percent-encoded; boto3 decodes it where it can."""
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


def _chunks(items: list[_T], size: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
