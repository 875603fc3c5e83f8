"""The only module that calls AWS, except for `canary_calls`, `links` and `stacks`.

Every call goes through `Aws`. Its methods return plain values and raise two errors: `Refused`, if a retry would not
help, and `RetryLater`. `aws_errors.translated` decides which error of AWS becomes which of the two.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.config import Config
from botocore.session import Session
from botocore.utils import parse_timestamp

from rolewarden import GUARDRAILS_RESOURCE, POLICY_PATH
from rolewarden.attributes import attribute, plain
from rolewarden.aws_errors import of_our_own, reachable, translated
from rolewarden.chunks import chunks
from rolewarden.clock import CLOCK_SKEW, Clock
from rolewarden.errors import Gone, Refused, RetryLater
from rolewarden.listed import (
    ListedDomain,
    ListedProfile,
    ListedRule,
    ListedTrail,
    PublishedPolicy,
    RoleDescription,
    modified,
    role_description,
)
from rolewarden.names import same
from rolewarden.signature import correlated, sign
from rolewarden.verdicts import Reason

if TYPE_CHECKING:
    import boto3
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

IAM_HOME_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-eusc": "eusc-de-east-1",
}
"""The region of each partition in which CloudTrail delivers IAM's events, and in which the StackSet creates the
resources that an account needs only once."""

SESSION_SECONDS = 900
"""Seconds that a session in another account lasts. This is the minimum of STS, so that a change to the role in that
account takes effect soon."""

SESSION_LEFT = 300.0
"""Seconds that a session must have left. `Aws.within` replaces a session that has fewer."""

MOST_SESSIONS = 100
"""The number of accounts whose sessions are kept, because each account has its own clients. The session that has not
been used for the longest time is dropped first."""

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)

LONGEST_CALL = 45.0
"""Seconds after which a call has succeeded or failed: three attempts of 13 seconds, and botocore's pauses of up to 1
and 2 seconds between them. A function starts no work with fewer seconds left, because Lambda could end it during the
call and the record would not show the work."""

_PAGES: PaginatorConfigTypeDef = {"PageSize": 100}
"""The page size of SageMaker's lists. The default is 10 and the maximum is 100."""

TRANSACTION_TRIES = 4
"""The number of attempts at a transaction that conflicts with another writer."""

_TRANSACTION_BYTES = 3_500_000
"""Bytes of JSON of one transaction. DynamoDB accepts 4 MB of items, and a caller can choose the tags of a subject,
which take up to 60 KB."""

_MESSAGES_BYTES = 240_000
"""Bytes of messages in one call. SQS and EventBridge accept 256 KiB, and the rest is a margin."""


class Aws:
    """AWS with the region, the account and the identity of one function.

    `within` gives access to other accounts.
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
        """Keep the identity. The clients are created when they are first used.

        - `session`: a session of boto3, for a caller with another identity or region than the environment's. None means
          the environment's.
        - `account`: the function's own account. If it is empty, every account counts as the function's own.
        - `member_role`: the name of the function's role in other accounts. Empty if the function cannot enter any.
        - `keys`: credentials to use instead of those of the session, by the names of botocore's parameters.
        - `clock`: the clock of the function. None means a clock without a deadline.
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
        """The region of this function."""
        return self._session.region_name or "us-east-1"

    @cached_property
    def partition(self) -> str:
        """The partition of the region: `aws`, `aws-cn`, `aws-us-gov` or another."""
        return self._session.get_partition_for_region(self.region)

    def within(self, account: str, *, afresh: bool = False) -> Aws:
        """AWS as seen from `account`: this object itself if `account` is its own or is empty.

        For another account, this function assumes its role there. A cached session costs no call; with `afresh` the
        function assumes the role again. Raises Refused if the function cannot enter the account, and RetryLater.
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
        """Whether `account` is this function's own account, or is empty. Always true if the own account is empty."""
        return account in {self.account, ""} or not self.account

    def leave(self, account: str) -> None:
        """Drop the session in `account`, because AWS may no longer accept it. The next use starts a new session."""
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
        """A client of a service. It raises the errors of botocore, so wrap each call in `translated`.

        `region` is empty for the own region. `config` holds the options that differ from the default; None means none.
        """
        # The clients of all accounts share one session, so that botocore loads the model of each service once.
        make: Callable[..., Any] = self._session.client
        return make(
            service,
            region_name=region or self.region,
            config=_CONFIG.merge(config) if config else _CONFIG,
            **self._keys,
        )

    def prepare(self) -> None:
        """Create the clients that an evaluation needs, because Lambda gives a function more CPU during a cold start."""
        _ = self._dynamodb, self._iam

    # Each client is created when it is first used, because creating one takes time at a cold start.
    @cached_property
    def _iam(self) -> IAMClient:
        client = cast("IAMClient", self.client("iam"))
        client.meta.events.register("before-send.iam", sign)
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

    def _cloudtrail_in(self, region: str) -> CloudTrailClient:
        # AWS allows two calls of LookupEvents a second. In adaptive mode the client slows down to that rate.
        config = Config(retries={"mode": "adaptive", "total_max_attempts": 6})
        return cast("CloudTrailClient", self.client("cloudtrail", region, config))

    @cached_property
    def _cloudtrail(self) -> CloudTrailClient:
        return self._cloudtrail_in(IAM_HOME_REGIONS.get(self.partition, ""))

    def _tagging_in(self, region: str) -> Any:
        return self.client("resourcegroupstaggingapi", region)

    def _sagemaker_in(self, region: str) -> SageMakerClient:
        if region not in self._sagemaker:
            self._sagemaker[region] = self.client("sagemaker", region)
        return self._sagemaker[region]

    # IAM roles

    def attached_policies(self, role: str) -> frozenset[str]:
        """The ARNs of all managed policies attached to `role`. Raises Gone if the role does not exist, and Refused."""
        with translated():
            pages = self._iam.get_paginator("list_attached_role_policies").paginate(RoleName=role)
            return frozenset(policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"])

    def attach(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """Attach a policy. Raises Gone if the role does not exist, and Refused.

        If the policy does not exist, the reason is POLICY_MISSING: only IAM's message distinguishes the two cases.
        CloudTrail records the `correlation_id` with this call, as with other calls that change IAM.
        """
        try:
            with translated(), correlated(correlation_id):
                self._iam.attach_role_policy(RoleName=role, PolicyArn=policy_arn)
        except Gone as gone:
            if "olicy " in str(gone) and "role with name" not in str(gone):
                raise Refused(Reason.POLICY_MISSING, str(gone)) from gone
            raise

    def detach(self, role: str, policy_arn: str, *, correlation_id: str) -> bool:
        """Detach a policy. Gives whether it was attached. Raises Refused.

        The result is also False if a first attempt detached the policy but its response was lost, and botocore tried
        again. Only CloudTrail shows that case.
        """
        try:
            with translated(), correlated(correlation_id):
                self._iam.detach_role_policy(RoleName=role, PolicyArn=policy_arn)
        except Gone:
            return False
        return True

    def roles(self) -> Iterator[RoleDescription]:
        """All roles of the account. Raises Refused and RetryLater."""
        with translated():
            for page in self._iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1000}):
                for role in page["Roles"]:
                    yield role_description(role)

    def role(self, name: str) -> RoleDescription:
        """One role. Raises Gone if it does not exist, Refused and RetryLater."""
        with translated():
            return role_description(self._iam.get_role(RoleName=name)["Role"])

    def set_boundary(self, role: str, policy_arn: str, *, correlation_id: str) -> None:
        """Set the permissions boundary of a role, and replace the one that it has. Raises as `attach` does."""
        try:
            with translated(), correlated(correlation_id):
                self._iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=policy_arn)
        except Gone as gone:
            # IAM's message is "Scope ARN: ... does not exist or is not attachable." if the policy is missing, and
            # "The role with name ... cannot be found." if the role is.
            if "role with name" not in str(gone):
                raise Refused(Reason.POLICY_MISSING, str(gone)) from gone
            raise

    def remove_boundary(self, role: str, *, correlation_id: str) -> bool:
        """Remove the permissions boundary of a role. Gives whether it had one, see `detach`. Raises Refused."""
        try:
            with translated(), correlated(correlation_id):
                self._iam.delete_role_permissions_boundary(RoleName=role)
        except Gone:
            return False
        return True

    def assumed(self, role_arn: str, session_name: str, seconds: int = 3600) -> Aws:
        """AWS with the identity of a role, for a number of `seconds`. Raises Refused and RetryLater."""
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
        """The names of the roles that a policy is attached to; empty if the policy does not exist."""
        return self._roles_using(policy_arn, "PermissionsPolicy")

    def roles_with_boundary(self, policy_arn: str) -> frozenset[str]:
        """The names of the roles whose permissions boundary a policy is; empty if the policy does not exist."""
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

    def policy(self, policy_arn: str, known: PublishedPolicy | None = None) -> PublishedPolicy | None:
        """The default version of a policy; None if the policy does not exist. Raises Refused and RetryLater.

        `known` is the policy as the caller has read it before. A version never changes, and a policy that was deleted
        and created again has another ID, so the text is read only if it differs.
        """
        found = self._policy(policy_arn)
        if not found or (known and (known.id, known.version) == (found["PolicyId"], found["DefaultVersionId"])):
            return known if found else None
        version = found["DefaultVersionId"]
        try:
            with translated():
                document = self._iam.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"][
                    "Document"
                ]
        except Gone:
            return None
        text = document if isinstance(document, str) else json.dumps(document)
        return PublishedPolicy(version, text, found["PolicyId"])

    def policy_description(self, policy_arn: str) -> str:
        """The description of a policy; empty if it has none, or if the policy does not exist."""
        return str(self._policy(policy_arn).get("Description", ""))

    def policy_created(self, policy_arn: str) -> float:
        """The creation time of a policy, in seconds of the epoch; 0 if the policy does not exist."""
        found = self._policy(policy_arn)
        return float(found["CreateDate"].timestamp()) if found else 0.0

    def _policy(self, policy_arn: str) -> Mapping[str, Any]:
        """GetPolicy; empty if the policy does not exist."""
        try:
            with translated():
                return cast("Mapping[str, Any]", self._iam.get_policy(PolicyArn=policy_arn)["Policy"])
        except Gone:
            return {}

    def own_policies(self) -> tuple[str, ...]:
        """The names of all policies under `/rolewarden/`, without those under a path below it."""
        with translated():
            lists = self._iam.get_paginator("list_policies")
            pages = lists.paginate(Scope="Local", PathPrefix=POLICY_PATH, PaginationConfig={"PageSize": 1000})
            found = (one["PolicyName"] for page in pages for one in page["Policies"] if one["Path"] == POLICY_PATH)
            return tuple(sorted(found))

    def namesake(self, name: str) -> str:
        """The ARN of the policy of this name that is not under `/rolewarden/`; empty if the account has none."""
        with translated():
            pages = self._iam.get_paginator("list_policies").paginate(Scope="Local")
            others = (one for page in pages for one in page["Policies"] if one["Path"] != POLICY_PATH)
            return next((one["Arn"] for one in others if same(one["PolicyName"], name)), "")

    def create_policy(self, name: str, text: str, description: str, *, correlation_id: str) -> None:
        """Create a policy under `/rolewarden/`. Raises Refused if the account has a policy of that name elsewhere."""
        with translated(), correlated(correlation_id):
            try:
                self._iam.create_policy(
                    PolicyName=name, Path=POLICY_PATH, PolicyDocument=text, Description=description
                )  # fmt: skip
            except self._iam.exceptions.EntityAlreadyExistsException as error:
                raise Refused(
                    Reason.NAME_TAKEN,
                    f"CreatePolicy: the name `{name}` belongs to {self.namesake(name) or 'another policy'}, and IAM "
                    "allows each name once: delete that policy, or rename the guardrail in guardrails.yaml",
                ) from error

    def replace_policy(self, policy_arn: str, text: str, *, correlation_id: str) -> str:
        """Make `text` the default version of a policy. Gives the ID of the new version.

        If the policy has five versions, which is IAM's maximum, delete the oldest one that is not the default.
        """
        with translated(), correlated(correlation_id):
            versions = self._iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
            if len(versions) >= 5:
                others = [version for version in versions if not version["IsDefaultVersion"]]
                oldest = min(others, key=lambda version: int(version["VersionId"].removeprefix("v")))
                self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=oldest["VersionId"])
            created = self._iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=text, SetAsDefault=True)
            return created["PolicyVersion"]["VersionId"]

    def set_default_version(self, policy_arn: str, version: str, *, instead_of: str, correlation_id: str) -> None:
        """Make an older version the default again, and delete the version `instead_of`."""
        with translated(), correlated(correlation_id):
            self._iam.set_default_policy_version(PolicyArn=policy_arn, VersionId=version)
            self._iam.delete_policy_version(PolicyArn=policy_arn, VersionId=instead_of)

    def delete_policy(self, policy_arn: str) -> None:
        """Delete a policy with all its versions, if it exists. Raises Refused while it is attached."""
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
        """All domains in `region`. Raises Refused if SageMaker is not in that region, or cannot be reached."""
        with translated(), reachable(region):
            pages = self._sagemaker_in(region).get_paginator("list_domains").paginate(PaginationConfig=_PAGES)
            return tuple(
                ListedDomain(domain["DomainId"], domain.get("DomainName", ""), modified(domain))
                for page in pages
                for domain in page["Domains"]
            )

    def enabled_regions(self) -> tuple[str, ...]:
        """The regions that are enabled in the account, in the order of their names. Raises Refused and RetryLater.

        EC2 has the call in every partition (https://github.com/gruntwork-io/cloud-nuke/issues/132), and leaves out the
        regions that are not enabled (https://github.com/cloud-custodian/cloud-custodian/pull/4006). ListRegions of
        Account Management has no endpoint in the partition aws-us-gov (botocore, endpoints.json).
        """
        with translated():
            return tuple(sorted(found["RegionName"] for found in self.client("ec2").describe_regions()["Regions"]))

    def domain_names(self, region: str) -> tuple[str, ...]:
        """The names of the domains in a region that the stack does not cover. Raises Refused and RetryLater.

        Unlike `domains`, it keeps no client: there may be thirty such regions in each of a hundred accounts.
        """
        with translated(), reachable(region):
            pages = self.client("sagemaker", region).get_paginator("list_domains").paginate(PaginationConfig=_PAGES)
            return tuple(domain.get("DomainName", domain["DomainId"]) for page in pages for domain in page["Domains"])

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
        """CloudTrail's records of the calls of one name to IAM, newest first, from its event history of 90 days.

        CloudTrail keeps this history even without a trail. A call appears in it after some minutes:
        https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
        """
        yield from _looked_up(self._cloudtrail, "EventName", event_name, StartTime=since, EndTime=until)

    def recorded_writes(self, region: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """CloudTrail's records of all calls in a region that changed something, as `calls_of` gives them."""
        client = self._cloudtrail_in(region)
        yield from _looked_up(client, "ReadOnly", "false", StartTime=since, EndTime=until)

    def recorded_call(self, event_id: str) -> Mapping[str, Any] | None:
        """CloudTrail's record of one call to IAM; None if its event history does not have the call."""
        return next(_looked_up(self._cloudtrail, "EventId", event_id), None)

    # Rolewarden's own tables, queues and event bus. These methods raise RetryLater, and never Refused.

    def query(
        self,
        table: str,
        key: Mapping[str, str],
        *,
        index: str = "",
        begins: tuple[str, str] = ("", ""),
        least: tuple[str, str] = ("", ""),
        most: int = 0,
    ) -> list[dict[str, Any]]:
        """All items of one partition, or the first `most` of them. Raises RetryLater.

        - `key`: one entry, the name and the value of the partition key.
        - `index`: the index to query; empty for the table itself.
        - `begins`: the name of the sort key, and the text that its value begins with. Empty texts mean no condition.
        - `least`: the name of the sort key, and its least value. Empty texts mean no condition.
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
        with of_our_own():
            if most:
                return [self._item(item) for item in self._dynamodb.query(**where, Limit=most)["Items"]]
            pages = self._dynamodb.get_paginator("query").paginate(**where)
            return [self._item(item) for page in pages for item in page["Items"]]

    def newest(self, table: str, key: Mapping[str, str], most: int) -> list[dict[str, Any]]:
        """The `most` items of a partition with the greatest sort keys, greatest first."""
        [(name, value)] = key.items()
        with of_our_own():
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
        with of_our_own():
            for page in self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
                yield from (self._item(item) for item in page["Items"])

    def put(self, table: str, item: Mapping[str, Any]) -> None:
        """Write one item."""
        with of_our_own():
            self._dynamodb.put_item(TableName=table, Item=self._attributes(item))

    def put_unless(
        self, table: str, item: Mapping[str, Any], condition: str, values: Mapping[str, Any] | None = None
    ) -> bool:
        """Write one item, unless the existing item meets `condition` (of DynamoDB). Gives whether it was written."""
        valued: dict[str, Any] = {"ExpressionAttributeValues": self._attributes(values)} if values else {}
        with of_our_own():
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
        """Change one item by an update expression. Gives the item after the change."""
        with of_our_own():
            answer = self._dynamodb.update_item(
                TableName=table,
                Key=self._attributes(key),
                UpdateExpression=expression,
                ExpressionAttributeValues=self._attributes(values),
                ReturnValues="ALL_NEW",
            )
        return self._item(answer.get("Attributes", {}))

    def put_all(self, table: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Write items, 25 in a call. Raises RetryLater if DynamoDB leaves some unprocessed."""
        if len(items) == 1:
            return self.put(table, items[0])
        requests = [{"PutRequest": {"Item": self._attributes(item)}} for item in items]
        with of_our_own():
            for chunk in chunks(requests, 25):
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
        """Write and delete items whose state was read at the time `at` (seconds of the epoch), up to 100 in a call.

        An existing item that was read later stays as it is. If its time is not a number, or is in the future, the item
        counts as old. Otherwise it could not be corrected. Raises RetryLater.
        """
        latest = max(at, self.clock.now()) + CLOCK_SKEW
        newer = {
            "TableName": table,
            "ConditionExpression": "attribute_not_exists(read_at) OR NOT attribute_type(read_at, :number)"
            " OR read_at <= :at OR read_at > :latest",
            "ExpressionAttributeValues": self._attributes(
                {":at": Decimal(f"{at:.6f}"), ":latest": Decimal(f"{latest:.6f}"), ":number": "N"}
            ),
        }
        actions: list[Any] = [
            {"Put": {**newer, "Item": self._attributes({**item, "read_at": Decimal(f"{at:.6f}")})}} for item in puts
        ]
        actions += [{"Delete": {**newer, "Key": self._attributes(key)}} for key in deletes]
        for chunk in chunks(actions, 100, most=_TRANSACTION_BYTES, weigh=lambda action: len(json.dumps(action))):
            left = chunk
            tries = 0
            while left:
                try:
                    left = self._transact(left)
                except RetryLater:
                    # Another writer may be changing one of these items now, and botocore does not retry that conflict.
                    tries += 1
                    if tries == TRANSACTION_TRIES:
                        raise
                    time.sleep(random.uniform(0.05, 0.2) * tries)  # noqa: S311

    def _transact(self, actions: list[Any]) -> list[Any]:
        """Do all `actions` or none. Gives the actions that are still to do.

        If some items were read later by another function, the result is the other actions. Otherwise it is empty.
        """
        with of_our_own():
            try:
                self._dynamodb.transact_write_items(TransactItems=actions)
            except self._dynamodb.exceptions.TransactionCanceledException as cancelled:
                codes = [reason.get("Code", "None") for reason in cancelled.response.get("CancellationReasons", [])]
                if set(codes) <= {"None", "ConditionalCheckFailed"} and "ConditionalCheckFailed" in codes:
                    return [action for action, code in zip(actions, codes, strict=True) if code == "None"]
                raise RetryLater(f"TransactWriteItems: {', '.join(sorted(set(codes)))}") from cancelled
        return []

    def send(self, queue_url: str, bodies: Iterable[Mapping[str, Any]], *, delay: int = 0) -> None:
        """Send messages, up to ten in a call. Raises RetryLater if SQS does not accept one of them.

        The receiver gets them after `delay` seconds; 0 means the queue's own delay. The messages about another account
        form a message group. SQS then shares the receivers fairly among the accounts (Developer Guide, Amazon SQS fair
        queues), so an account with many or slow messages does not block the others.
        """
        later = {"DelaySeconds": delay} if delay else {}
        with of_our_own():
            messages = [(self._group(str(body.get("account", ""))), json.dumps(body)) for body in bodies]
            for chunk in chunks(messages, 10, most=_MESSAGES_BYTES, weigh=lambda message: len(message[1])):
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

        Raises RetryLater if EventBridge refuses one.
        """
        details = [(name, json.dumps(detail)) for name, detail in events]
        with of_our_own():
            for chunk in chunks(details, 10, most=_MESSAGES_BYTES, weigh=lambda event: len(event[1]) + 200):
                answer = self._events.put_events(
                    Entries=[{"Source": "rolewarden", "DetailType": name, "Detail": detail} for name, detail in chunk]
                )
                if answer["FailedEntryCount"]:
                    failed = next(entry for entry in answer["Entries"] if "ErrorCode" in entry)
                    raise RetryLater(f"PutEvents: {failed.get('ErrorCode')}: {failed.get('ErrorMessage', '')}")

    def trails(self, region: str) -> tuple[ListedTrail, ...]:
        """The trails that cover `region`, also those of the organization. Raises Refused and RetryLater."""
        with translated():
            found = self.client("cloudtrail", region).describe_trails(includeShadowTrails=True)["trailList"]
        return tuple(
            ListedTrail(
                trail["TrailARN"],
                trail.get("HomeRegion", region),
                is_of_all_regions=trail.get("IsMultiRegionTrail", False),
                has_global_events=trail.get("IncludeGlobalServiceEvents", False),
                # A trail without own selectors logs all management events (CloudTrail API Reference,
                # PutEventSelectors). The answer may lack the field; then its selectors are read.
                has_own_selectors=trail.get("HasCustomEventSelectors", True),
            )
            for trail in found
        )

    def is_logging(self, region: str, trail_arn: str) -> bool:
        """Whether a trail logs. Raises Refused and RetryLater.

        CloudTrail may refuse the question about a trail of another account, as the organization's is:
        https://github.com/turbot/steampipe-plugin-aws/issues/577
        """
        with translated():
            return bool(self.client("cloudtrail", region).get_trail_status(Name=trail_arn)["IsLogging"])

    def selectors(self, region: str, trail_arn: str) -> tuple[Mapping[str, Any], ...]:
        """The classic or advanced event selectors of a trail, as CloudTrail returns them. Raises Refused as above.

        A trail has one of both kinds, and the answer then lacks the other:
        https://github.com/nccgroup/ScoutSuite/issues/1424
        """
        with translated():
            answer = self.client("cloudtrail", region).get_event_selectors(TrailName=trail_arn)
        return (*answer.get("EventSelectors", ()), *answer.get("AdvancedEventSelectors", ()))

    def rule(self, region: str, name: str) -> ListedRule | None:
        """A rule on the default bus of `region`; None if it does not exist. Raises Refused and RetryLater."""
        try:
            with translated():
                client = self.client("events", region)
                rule = client.describe_rule(Name=name)
                return ListedRule.of(rule, client.list_targets_by_rule(Rule=name)["Targets"])
        except Gone:
            return None

    def messages_in(self, region: str, queue: str) -> int | None:
        """The approximate number of messages in a queue, with those that a caller holds; None if it does not exist."""
        try:
            with translated():
                client = self.client("sqs", region)
                url = client.get_queue_url(QueueName=queue)["QueueUrl"]
                names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
                found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
                return sum(map(int, found.values()))
        except Gone:
            return None

    def stack_set_accounts(self, name: str, region: str, call_as: str) -> tuple[str, ...]:
        """The accounts that have a stack of a StackSet in `region`.

        `call_as` is "SELF" or "DELEGATED_ADMIN" (CloudFormation API Reference, ListStackInstances). Raises Refused. Its
        reason is NOT_DELEGATED if StackSets says so. StackSets says the same to a caller without the permission
        organizations:ListDelegatedAdministrators: https://github.com/hashicorp/terraform-provider-aws/pull/37069
        """
        try:
            with translated():
                pages = self._cloudformation.get_paginator("list_stack_instances").paginate(
                    StackSetName=name, StackInstanceRegion=region, CallAs=cast("Any", call_as)
                )
                return tuple(sorted(found["Account"] for page in pages for found in page["Summaries"]))
        except Refused as refused:
            # CloudFormation has no error code of its own for it.
            if "delegated admin" in str(refused):
                raise Refused(Reason.NOT_DELEGATED, str(refused)) from refused
            raise

    def stack_status(self, stack_id: str) -> str:
        """The status of a stack in this region, such as "UPDATE_IN_PROGRESS". Raises RetryLater."""
        return str(self._stack(stack_id)["StackStatus"])

    def stack_created(self, stack_id: str) -> float:
        """The start of the creation of a stack of this region, in seconds of the epoch. Raises RetryLater."""
        return float(self._stack(stack_id)["CreationTime"].timestamp())

    def stack_updated(self, stack_id: str) -> float:
        """The start of the last update of a stack, or of its creation if it had no update. Raises RetryLater."""
        stack = self._stack(stack_id)
        return float(stack.get("LastUpdatedTime", stack["CreationTime"]).timestamp())

    def _stack(self, stack_id: str) -> Any:
        with of_our_own():
            return self._cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]

    def stack_published(self, stack: str) -> float | None:
        """The time of the last publication of a stack's guardrails; None if it had none. Raises RetryLater."""
        try:
            with of_our_own():
                calls = self._cloudformation
                found = calls.describe_stack_resource(StackName=stack, LogicalResourceId=GUARDRAILS_RESOURCE)
        except RetryLater as error:
            # CloudFormation has no separate error code for what does not exist.
            if "does not exist" in str(error):
                return None
            raise
        return float(found["StackResourceDetail"]["LastUpdatedTimestamp"].timestamp())

    def notify(self, topic_arn: str, subject: str, forms: Mapping[str, str]) -> None:
        """Send a message to the subscribers of a topic. Raises RetryLater.

        `forms` has the message for each protocol, and `default` for the others.
        """
        message = json.dumps(forms)
        with of_our_own():
            self._sns.publish(TopicArn=topic_arn, Subject=subject, Message=message, MessageStructure="json")

    def import_finding(self, finding: Mapping[str, Any]) -> None:
        """Send one finding to Security Hub, in its format. Raises RetryLater, also if Security Hub refuses it."""
        with of_our_own():
            answer = self._securityhub.batch_import_findings(Findings=[cast("Any", finding)])
        for failed in answer.get("FailedFindings", ()):
            raise RetryLater(f"BatchImportFindings: {failed['ErrorCode']}: {failed['ErrorMessage']}")

    def _item(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The plain values of an item, without the attributes that Rolewarden cannot have written."""
        item = {}
        for name, value in attributes.items():
            with suppress(TypeError):
                item[name] = plain(value)
        return item

    def _attributes(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: attribute(value) for name, value in item.items()}


def _looked_up(
    client: CloudTrailClient, key: Literal["EventName", "EventId", "ReadOnly"], value: str, **more: Any
) -> Iterator[Mapping[str, Any]]:
    with translated():
        pages = client.get_paginator("lookup_events").paginate(
            LookupAttributes=[{"AttributeKey": key, "AttributeValue": value}], **more
        )
        for page in pages:
            yield from (json.loads(event["CloudTrailEvent"]) for event in page["Events"])


class _Session:
    """The part of boto3's session that `Aws` uses. The layer has only botocore: boto3 would double the cold start."""

    def __init__(self) -> None:
        self._session = Session()
        # botocore reads each time with dateutil, which takes a third of the reading of a list of roles.
        self._session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
        self.region_name: str | None = self._session.get_config_variable("region")

    def client(self, service: str, **how: Any) -> Any:
        return self._session.create_client(service, **how)

    def get_partition_for_region(self, region: str) -> str:
        return self._session.get_partition_for_region(region)


def _time(value: Any) -> datetime:
    """A time of an answer, as botocore's `parse_timestamp` gives it."""
    if isinstance(value, str):
        with suppress(ValueError):
            found = datetime.fromisoformat(value)
            if found.tzinfo:
                return found
    return parse_timestamp(value)


@cache
def _default_session() -> _Session:
    """The one session of the process, which keeps the service models that it has loaded."""
    return _Session()
