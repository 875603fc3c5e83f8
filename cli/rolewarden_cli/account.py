"""The calls to AWS that only operators make; no function of the stack makes them or has permission to.

They go through the clients of an `Aws`, and raise the same errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

from botocore.config import Config
from botocore.handlers import json_decode_policies
from rolewarden import GUARDRAILS_RESOURCE
from rolewarden.aws import Aws
from rolewarden.aws_errors import translated
from rolewarden.errors import Gone, Refused
from rolewarden.listed import RoleDescription, role_description
from rolewarden.verdicts import Reason

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_iam import IAMClient

Context = Mapping[str, str | bool | Sequence[str]]
"""The condition keys of a request."""

ALLOW_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@dataclass(frozen=True)
class RoleDetail(RoleDescription):
    """A role as GetAccountAuthorizationDetails describes it.

    - `attached`: the ARNs of the attached managed policies.
    - `inline`: the texts of the inline policies as IAM stores them, by policy name.
    - `tags`: the tags, by key.
    """

    arn: str = ""
    attached: tuple[str, ...] = ()
    inline: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Identity(NamedTuple):
    """The caller of AWS: its account, and the ARN of the user, role session or root user."""

    account: str
    arn: str


class InferenceProfile(NamedTuple):
    """A Bedrock inference profile, through which a caller reaches a model in several regions.

    `models` are the ARNs of foundation models on which Bedrock also authorizes a call through the profile.
    """

    id: str
    arn: str
    models: tuple[str, ...]


class MatchedStatement(NamedTuple):
    """A statement that decided a simulation: the SourcePolicyId of its policy, and its position in the policy's text.

    `start` and `end` are line and column, counted from 1.
    """

    policy: str
    start: tuple[int, int]
    end: tuple[int, int]


class Simulated(NamedTuple):
    """The result of IAM's simulator for one action on one resource.

    - `decision`: "allowed", "explicitDeny" or "implicitDeny".
    - `missing`: the condition keys that the request lacked, of all statements of all policies, but not of SCPs.
    - `denied_by_scp`: whether a service control policy denies it. None if the simulation of several resources leaves it
      open: a simulation of the same request `as_administrator` tells.
    """

    action: str
    resource: str
    decision: str
    matched: tuple[MatchedStatement, ...]
    missing: tuple[str, ...] = ()
    denied_by_scp: bool | None = False


@dataclass(frozen=True)
class Measured:
    """The figures of a metric, in its unit."""

    count: int
    p50: float
    p95: float
    maximum: float


class DeployedStack(NamedTuple):
    """A stack of CloudFormation.

    Each entry of `resources` is the logical ID, the type and the physical ID. `parameters` has all values, also the
    defaults. `deployed` is when the guardrails were last published, in seconds of the epoch.
    """

    name: str
    arn: str
    resources: tuple[tuple[str, str, str], ...]
    parameters: Mapping[str, str] = MappingProxyType({})
    deployed: float = 0.0

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that the stack covers: those of its parameter Regions, or its own."""
        given = (region.strip() for region in self.parameters.get("Regions", "").split(","))
        return tuple(filter(None, given)) or (self.arn.split(":")[3],)


class AlarmState(NamedTuple):
    """An alarm of CloudWatch.

    - `notifies`: the ARNs that it notifies. Empty if its actions are disabled.
    - `needs_data`: whether it also notifies if its metric has no data.
    """

    name: str
    state: str
    notifies: frozenset[str]
    needs_data: bool


class StackInstance(NamedTuple):
    """A stack of a StackSet: its place, the status of its last operation or of the stack, and the reason for it."""

    account: str
    region: str
    status: str
    reason: str


class OperatorCalls:
    """Calls to the account that `aws` works on."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._read: dict[tuple[str, ...], Any] = {}
        self._reading = Lock()

    @cached_property
    def _iam(self) -> IAMClient:
        return cast("IAMClient", self._aws.client("iam"))

    @cached_property
    def _iam_as_stored(self) -> IAMClient:
        """A client that returns policies as texts, because the simulator refers to lines and columns."""
        client = cast("IAMClient", self._aws.client("iam"))
        client.meta.events.unregister("after-call.iam", json_decode_policies)
        return client

    @cached_property
    def _organizations(self) -> Any:
        return self._aws.client("organizations")

    def role_details(self) -> Iterator[RoleDetail]:
        """All roles of the account with their policies, up to a thousand in a call. Raises Refused."""
        with translated():
            pages = self._iam_as_stored.get_paginator("get_account_authorization_details").paginate(
                Filter=["Role"], PaginationConfig={"PageSize": 1000}
            )
            for page in pages:
                for role in page["RoleDetailList"]:
                    described = role_description(role)
                    yield RoleDetail(
                        described.name,
                        described.path,
                        described.trust,
                        described.boundary,
                        described.id,
                        described.created,
                        arn=role["Arn"],
                        attached=tuple(policy["PolicyArn"] for policy in role.get("AttachedManagedPolicies", ())),
                        inline={
                            policy["PolicyName"]: unquote(str(policy["PolicyDocument"]))
                            for policy in role.get("RolePolicyList", ())
                        },
                        tags={tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
                    )

    def trust_of(self, role: str) -> tuple[str, Mapping[str, Any]]:
        """The ARN and the trust policy of a role, by its name. Raises Gone, Refused and RetryLater."""
        with translated():
            found = self._iam_as_stored.get_role(RoleName=role)["Role"]
            return found["Arn"], json.loads(unquote(str(found["AssumeRolePolicyDocument"])))

    def policies_per_role(self) -> int:
        """The quota of managed policies that can be attached to a role of this account. Raises Refused."""
        with translated():
            return self._iam.get_account_summary()["SummaryMap"]["AttachedPoliciesPerRoleQuota"]

    def simulate(
        self,
        role_arn: str,
        actions: Sequence[str],
        resources: Sequence[str] = ("*",),
        context: Context = MappingProxyType({}),
        *,
        as_administrator: bool = False,
    ) -> list[Simulated]:
        """The decisions of IAM's simulator about a role that requests each of `actions` on each of `resources`.

        The simulator evaluates the role's policies and its boundary, and the service control policies of the account
        with their conditions (IAM API Reference, SimulatePrincipalPolicy). Raises Refused and RetryLater.

        Args:
            role_arn: the role.
            actions: such as "bedrock:InvokeModel".
            resources: ARNs, or "*".
            context: the condition keys of the request; a sequence is a key with several values.
            as_administrator: whether the role also has a policy and a boundary that allow everything. Then only an
                explicit deny or a service control policy closes a request.
        """
        more = {"PolicyInputList": [ALLOW_ALL], "PermissionsBoundaryPolicyInputList": [ALLOW_ALL]}
        found: list[Simulated] = []
        with translated():
            pages = self._iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=role_arn,
                ActionNames=list(actions),
                ResourceArns=list(resources),
                ContextEntries=[_context_entry(key, value) for key, value in context.items()],  # type: ignore[misc]
                PaginationConfig={"PageSize": 1000},
                **(more if as_administrator else {}),  # type: ignore[arg-type]
            )
            for page in pages:
                for result in page["EvaluationResults"]:
                    found += _simulated(result, resources)
        return found

    # The organization. Several accounts share most of these answers, so each call is made once.

    def organization(self) -> tuple[str, str]:
        """The id and the management account of the organization that the account is in. Raises Refused, RetryLater."""
        found = self._once(("organization",), lambda: self._organizations.describe_organization()["Organization"])
        return found["Id"], found["MasterAccountId"]

    def organization_path(self, account: str) -> tuple[str, ...]:
        """The ids from the root of the organization down to `account`. Raises Refused and RetryLater."""
        path = [account]
        while not path[0].startswith("r-"):
            path.insert(0, self._once(("parent", path[0]), partial(self._parent, path[0])))
        return tuple(path)

    def _parent(self, child: str) -> str:
        [parent] = self._organizations.list_parents(ChildId=child)["Parents"]
        return str(parent["Id"])

    def control_policies(self, targets: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
        """Id, name, ARN and text of each service control policy attached to `targets`. Raises Refused, RetryLater."""
        for target in targets:
            for summary in self._once(("policies", target), partial(self._policies_of, target)):
                text = self._once(("text", summary["Id"]), partial(self._control_policy, summary["Id"]))
                yield summary["Id"], summary["Name"], summary["Arn"], text

    def _policies_of(self, target: str) -> list[dict[str, Any]]:
        pages = self._organizations.get_paginator("list_policies_for_target").paginate(
            TargetId=target, Filter="SERVICE_CONTROL_POLICY"
        )
        return [one for page in pages for one in page["Policies"]]

    def _control_policy(self, policy_id: str) -> str:
        return str(self._organizations.describe_policy(PolicyId=policy_id)["Policy"]["Content"])

    def _once(self, key: tuple[str, ...], read: Callable[[], Any]) -> Any:
        """The result of `read`, from its first call with this key. A refusal is raised again without a call."""
        with self._reading:
            if key not in self._read:
                try:
                    with translated():
                        self._read[key] = read()
                except Refused as refused:
                    self._read[key] = refused
            found = self._read[key]
        if isinstance(found, Refused):
            raise found
        return found

    def identity(self) -> Identity:
        """The identity of the caller. Raises Refused and RetryLater."""
        with translated():
            answer = self._aws.client("sts").get_caller_identity()
            return Identity(answer["Account"], answer["Arn"])

    def policy_text(self, policy_arn: str) -> str:
        """The text of a policy's default version, exactly as IAM stores it. Raises Refused."""
        with translated():
            version = self._iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
            found = self._iam_as_stored.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"]
            return unquote(str(found["Document"]))

    def foundation_models(self, region: str) -> tuple[str, ...]:
        """The IDs of the models that Bedrock offers in `region`. Raises Refused and RetryLater."""
        with translated():
            models = self._aws.client("bedrock", region).list_foundation_models()["modelSummaries"]
            return tuple(dict.fromkeys(model["modelId"] for model in models))

    def inference_profiles(self, region: str) -> tuple[InferenceProfile, ...]:
        """The inference profiles that AWS offers in `region`. Raises Refused and RetryLater."""
        with translated():
            pages = (
                self._aws.client("bedrock", region)
                .get_paginator("list_inference_profiles")
                .paginate(typeEquals="SYSTEM_DEFINED", PaginationConfig={"PageSize": 1000})
            )
            return tuple(
                InferenceProfile(
                    found["inferenceProfileId"],
                    found["inferenceProfileArn"],
                    tuple(model["modelArn"] for model in found["models"] if "modelArn" in model),
                )
                for page in pages
                for found in page["inferenceProfileSummaries"]
            )

    def has_table(self, table: str) -> bool:
        """Whether a table of this name exists. Raises Refused and RetryLater."""
        try:
            with translated():
                self._aws.client("dynamodb").describe_table(TableName=table)
        except Gone:
            return False
        return True

    def run(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function and give its response. Raises Refused if the function fails, and RetryLater."""
        with translated():
            client = self._aws.client("lambda", config=Config(read_timeout=900))
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
            response = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise Refused(Reason.REFUSED, f"{function}: {response.get('errorMessage', response)}")
        return response

    def stack(self, name: str) -> DeployedStack:
        """A stack in this region with its resources. Raises Gone if it does not exist, Refused and RetryLater."""
        try:
            with translated():
                client = cast("CloudFormationClient", self._aws.client("cloudformation"))
                [stack] = client.describe_stacks(StackName=name)["Stacks"]
                pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
                listed = [
                    found
                    for page in pages
                    for found in page["StackResourceSummaries"]
                    if found.get("PhysicalResourceId") and found["ResourceStatus"] != "DELETE_COMPLETE"
                ]
        except Refused as refused:
            # CloudFormation has no separate error code for a stack that does not exist.
            if "does not exist" in str(refused):
                raise Gone(
                    f"stack `{name}` does not exist in {self._aws.region}: "
                    "give its name (--stack) and region (--region)"
                ) from refused
            raise
        parameters = {given["ParameterKey"]: given["ParameterValue"] for given in stack.get("Parameters", ())}
        resources = tuple(
            (found["LogicalResourceId"], found["ResourceType"], found["PhysicalResourceId"]) for found in listed
        )
        published = (
            found["LastUpdatedTimestamp"] for found in listed if found["LogicalResourceId"] == GUARDRAILS_RESOURCE
        )
        deployed = next(published, stack["CreationTime"]).timestamp()
        return DeployedStack(stack["StackName"], stack["StackId"], resources, parameters, deployed)

    # The calls that only `rolewarden plan --prevention` makes.

    def event_history(
        self, region: str, key: str, value: str, since: datetime, turn: Callable[[], None]
    ) -> Iterator[list[dict[str, Any]]]:
        """CloudTrail's records since a time in one region, newest first, a page at a time.

        CloudTrail takes two requests a second in each region, gives 50 records in a page, and keeps 90 days:
        https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html

        Args:
            region: the region whose history is read.
            key: the attribute to look up, `EventSource` or `EventName`.
            value: the value of the attribute.
            since: the oldest time.
            turn: the function to call before each request, so that requests are not too many.

        Raises Refused and RetryLater.
        """
        asked: dict[str, Any] = {
            "LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}],
            "StartTime": since,
            "MaxResults": 50,
        }
        client = self._aws.client("cloudtrail", region)
        while True:
            turn()
            with translated():
                page = client.lookup_events(**asked)
            yield [json.loads(event["CloudTrailEvent"]) for event in page["Events"]]
            if not page.get("NextToken"):
                return
            asked["NextToken"] = page["NextToken"]

    # The calls that only `rolewarden verify` makes.

    def invoke_nothing(self, region: str, model: str) -> None:
        """Call a model with a request that no model accepts. Raises Refused, which says why, Gone and RetryLater.

        Not verified: Bedrock authorizes a call before it validates the request.
        """
        with translated():
            self._aws.client("bedrock-runtime", region).invoke_model(modelId=model, body=b"{}")

    # The figures of drills.

    def measured_places(self, metric: str) -> tuple[tuple[str, str], ...]:
        """The accounts and regions of which Rolewarden has a metric. Raises Refused and RetryLater.

        CloudWatch lists metrics with a figure of the last two weeks:
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
        """
        with translated():
            pages = (
                self._aws.client("cloudwatch")
                .get_paginator("list_metrics")
                .paginate(
                    Namespace="Rolewarden", MetricName=metric, Dimensions=[{"Name": "account"}, {"Name": "region"}]
                )
            )
            found = [
                {dimension["Name"]: dimension["Value"] for dimension in listed["Dimensions"]}
                for page in pages
                for listed in page["Metrics"]
            ]
        return tuple(sorted({(each["account"], each["region"]) for each in found}))

    def measured(self, metric: str, account: str, region: str, since: datetime, until: datetime) -> Measured | None:
        """The figures of a metric of an account and region, None without any. Raises Refused and RetryLater."""
        seconds = math.ceil((until - since).total_seconds() / 3600) * 3600
        dimensions = [{"Name": "account", "Value": account}, {"Name": "region", "Value": region}]
        shared: Any = {
            "Namespace": "Rolewarden",
            "MetricName": metric,
            "Dimensions": dimensions,
            "StartTime": since,
            "EndTime": until,
            "Period": seconds,
        }
        client = self._aws.client("cloudwatch")
        with translated():
            plain = client.get_metric_statistics(**shared, Statistics=["SampleCount", "Maximum"])["Datapoints"]
            parted = client.get_metric_statistics(**shared, ExtendedStatistics=["p50", "p95"])["Datapoints"]
        if not plain or not parted:
            return None
        # CloudWatch may cut the time into two periods. The percentiles are those of the one with more figures.
        most = max(plain, key=lambda found: found["SampleCount"])
        share = next((found for found in parted if found["Timestamp"] == most["Timestamp"]), parted[-1])
        extended = share["ExtendedStatistics"]
        count = sum(int(found["SampleCount"]) for found in plain)
        return Measured(count, extended["p50"], extended["p95"], max(found["Maximum"] for found in plain))

    # The calls that only `rolewarden doctor` makes.

    def subscriptions(self, topic_arn: str) -> tuple[bool, ...]:
        """Whether each subscription of a topic is confirmed. Raises Refused and RetryLater.

        SNS gives a pending subscription no ARN: https://docs.aws.amazon.com/sns/latest/dg/sns-email-notifications.html
        """
        with translated():
            pages = self._aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
            return tuple(
                found["SubscriptionArn"].startswith("arn:") for page in pages for found in page["Subscriptions"]
            )

    def alarms(self, names: Sequence[str]) -> tuple[AlarmState, ...]:
        """Those of the alarms with these names that exist, a hundred in a call. Raises Refused and RetryLater."""
        client, found = self._aws.client("cloudwatch"), []
        with translated():
            for start in range(0, len(names), 100):
                found += client.describe_alarms(AlarmNames=list(names[start : start + 100]))["MetricAlarms"]
        return tuple(
            AlarmState(
                alarm["AlarmName"],
                alarm["StateValue"],
                frozenset(alarm["AlarmActions"] if alarm["ActionsEnabled"] else ()),
                bool(alarm.get("InsufficientDataActions")),
            )
            for alarm in found
        )

    def is_rule_enabled(self, name: str, bus: str) -> bool:
        """Whether a rule on an event bus exists and is enabled. Raises Refused and RetryLater."""
        try:
            with translated():
                state = self._aws.client("events").describe_rule(Name=name, EventBusName=bus)["State"]
                return bool(state != "DISABLED")
        except Gone:
            return False

    def is_mapping_enabled(self, mapping_id: str) -> bool:
        """Whether an event source mapping reads its queue. Raises Refused and RetryLater."""
        try:
            with translated():
                state = self._aws.client("lambda").get_event_source_mapping(UUID=mapping_id)["State"]
                return state in {"Creating", "Enabling", "Enabled", "Updating"}
        except Gone:
            return False

    def unreserved_concurrency(self) -> int:
        """The executions that the functions of this region without a reservation share. Raises as above."""
        with translated():
            return int(
                self._aws.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
            )

    def reserved_concurrency(self, function: str) -> int | None:
        """The executions reserved for a function: 0 if it cannot run, None without a reservation. Raises as above."""
        with translated():
            answer = self._aws.client("lambda").get_function_concurrency(FunctionName=function)
        reserved: int | None = answer.get("ReservedConcurrentExecutions")
        return reserved

    def stack_instances(self, name: str, call_as: str) -> tuple[StackInstance, ...]:
        """All stacks of a StackSet. `call_as` as in `Aws.stack_set_accounts`. Raises Refused and RetryLater."""
        with translated():
            pages = (
                self._aws.client("cloudformation")
                .get_paginator("list_stack_instances")
                .paginate(StackSetName=name, CallAs=call_as)
            )
            return tuple(
                StackInstance(
                    found["Account"],
                    found["Region"],
                    _instance_status(found["Status"], found.get("StackInstanceStatus", {}).get("DetailedStatus", "")),
                    found.get("StatusReason", ""),
                )
                for page in pages
                for found in page["Summaries"]
            )


def _instance_status(status: str, detailed: str) -> str:
    """The status of a stack instance: that of its last operation, unless the stack is out of date nevertheless.

    An operation that only detects drift succeeds also on a stack that an earlier operation did not update.
    """
    return status if detailed in {"", "SUCCEEDED"} else detailed


def _context_entry(key: str, value: str | bool | Sequence[str]) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"ContextKeyName": key, "ContextKeyType": "boolean", "ContextKeyValues": [str(value).lower()]}
    if isinstance(value, str):
        return {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [value]}
    return {"ContextKeyName": key, "ContextKeyType": "stringList", "ContextKeyValues": list(value)}


def _simulated(result: Mapping[str, Any], resources: Sequence[str]) -> Iterator[Simulated]:
    """One for each resource."""
    # IAM returns no resource-specific result if the only resource is `*`.
    alone = {**result, "EvalResourceName": resources[0], "EvalResourceDecision": result["EvalDecision"]}
    by_all = result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True)
    for one in result.get("ResourceSpecificResults") or [alone]:
        decision, matched = one["EvalResourceDecision"], tuple(map(_matched, one.get("MatchedStatements", ())))
        denied_by_scp: bool | None = not by_all and decision != "allowed"
        if denied_by_scp and len(resources) > 1:
            # The detail is that of all resources. If an SCP denies a request, IAM names no statement of another policy.
            denied_by_scp = False if matched else None
        missing = tuple(one.get("MissingContextValues", ()))
        yield Simulated(result["EvalActionName"], one["EvalResourceName"], decision, matched, missing, denied_by_scp)


def _matched(statement: Mapping[str, Any]) -> MatchedStatement:
    places = (statement.get(f"{end}Position", {}) for end in ("Start", "End"))
    start, end = ((int(place.get("Line", 1)), int(place.get("Column", 1))) for place in places)
    return MatchedStatement(statement["SourcePolicyId"], start, end)
