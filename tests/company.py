"""An organization in the local AWS: the seeded account is its central account, with a member next to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self

import boto3
from rolewarden.aws import Aws
from rolewarden_cli.account import DeployedStack
from rolewarden_local.aws import ACCOUNT_ID, LocalAws
from rolewarden_local.emulated._ministack import cloudformation, iam
from rolewarden_local.scenes.template import Template

from tests.handlers import STACK
from tests.published import publish_at
from tests.stacks import EVERYTHING, MEMBER, deployed, forwarder_of_whole, translated, whole
from tests.world import USED, World

UNIT = "ou-root-canvas000"
"""The organizational unit whose accounts Rolewarden covers."""

ROLE = "rolewarden-enforce"
"""The role that Rolewarden assumes in a member account."""


BUS = f"arn:aws:events:us-east-1:{ACCOUNT_ID}:event-bus/rolewarden-central"
"""The central event bus."""


@cache
def _own_aws() -> Aws:
    return Aws(account=ACCOUNT_ID, member_role=ROLE)


@cache
def client(service: str, account: str, region: str = "us-east-1") -> Any:
    """A client for another account. All tests share it, because it has no state."""
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)  # type: ignore[call-overload]


def forward(account: str, region: str, *about: str) -> None:
    """Make the forwarding rules of an account and region, and the queue of its undelivered events."""
    client("sqs", account, region).create_queue(QueueName="rolewarden-undelivered")
    events = client("events", account, region)
    rules = {rule["Name"]: rule for rule in forwarder_of_whole(account, region).resources("AWS::Events::Rule").values()}
    role = "ForwardRole" if account == ACCOUNT_ID else f"rolewarden-forward-{region}"
    for each in about:
        name = f"rolewarden-forward-{each}"
        events.put_rule(Name=name, EventPattern=json.dumps(rules[name]["EventPattern"]))
        target = {
            "Id": "Hub",
            "Arn": BUS,
            "RoleArn": f"arn:aws:iam::{account}:role/rolewarden/{role}",
            "DeadLetterConfig": {"Arn": f"arn:aws:sqs:{region}:{account}:rolewarden-undelivered"},
        }
        events.put_targets(Rule=name, Targets=[target])


def organized(aws: LocalAws, template: Template) -> Company:
    """Make the seeded account the central account of an organization, with MEMBER in UNIT, and cover the member."""
    return Company(aws, template, restore=_organized(aws, template)).cover()


@cache
def _organized(aws: LocalAws, template: Template) -> Callable[[], None]:
    """Make the account of `organized`, and return a function that restores it."""
    Company(aws, template).organize(MEMBER)
    _make_stack_set()
    return aws.saved()


def central_stack(name: str = "rolewarden") -> DeployedStack:
    """The stack of the organization as commands find it, with the tables and the StackSet of `organized`."""
    found = deployed(translated(**{**EVERYTHING, "Regions": "us-east-1"}), physical=lambda logical: logical)
    resources = tuple(
        (logical, kind, "rolewarden-members" if logical == "Members" else physical)
        for logical, kind, physical in found.resources
    )
    return found._replace(name=name, resources=resources)


class Company(World):
    """The seeded account as the central account of an organization."""

    def organize(self, *accounts: str) -> None:
        """Put only these accounts into UNIT."""
        self._made = USED
        self.aws.organize("o-exampleorg1", {UNIT: set(accounts)}, administrator=ACCOUNT_ID)
        self.stack_was_updated(datetime(2026, 1, 1, tzinfo=UTC))
        # The exempt role is older than the deployment, or its exemption would be in doubt.
        iam._roles.get_scoped(ACCOUNT_ID, None, "CanvasBreakGlass")["CreateDate"] = "2025-12-01T00:00:00Z"

    def stack_was_updated(self, at: datetime) -> None:
        """Set the time of the last update of the central stack in CloudFormation."""
        # The command line looks for a stack with the name "rolewarden" and would miss its tables.
        stack = {"StackName": "central", "StackId": STACK, "Tags": [], "StackStatus": "UPDATE_COMPLETE"}
        times = dict.fromkeys(("CreationTime", "LastUpdatedTime"), at.isoformat())
        roles = {
            name: {"PhysicalResourceId": name, "ResourceType": "AWS::IAM::Role", "Timestamp": at.isoformat()}
            for name in whole().resources("AWS::IAM::Role")
        }
        made = {**stack, **times, "_resources": roles}
        cloudformation._stacks.set_scoped(ACCOUNT_ID, "us-east-1", "central", made)
        publish_at("central", at)

    def cover(self, regions: str = "us-east-1") -> Company:
        """Cover the members, too, and the domains in `regions`, a list with commas."""
        more = {
            "MEMBER_ROLE": ROLE,
            "MEMBER_STACK_SET": "rolewarden-members",
            "CALL_AS": "DELEGATED_ADMIN",
            "REGIONS": regions,
            "OWN_ROLES": "EnforceFunctionRole",
        }
        self.environment = {**self.environment, **more}
        self.assemble(_own_aws())
        return self

    def assemble(self, aws: Aws) -> None:
        """Make the collaborators, and forget the sessions in other accounts, which a restored account does not have."""
        aws._members.clear()
        super().assemble(aws)

    def swept(self) -> Self:
        """Sweep all accounts, before anything else is done in this Company. The functions are cold then."""
        return self.once("swept", self.everything)

    def everything(self, event: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Sweep all accounts, process all messages of the sweep, and return the outcomes."""
        self.sweeper.handle_event(event or {})
        return self.all_queues()

    def all_queues(self) -> list[dict[str, Any]]:
        """Process the queues until they are empty, and return the outcomes."""
        outcomes = []
        while True:
            published = self.queued("PUBLISH_QUEUE_URL")
            for body in published:
                self.publications.handle_message(body)
            swept = self.queued("SWEEP_QUEUE_URL")
            for body in swept:
                self.sweeper.handle_message(body)
            worked = self.work()
            outcomes += worked
            if not (published or swept or worked):
                return outcomes

    def history_of(self, account: str, about: str) -> list[dict[str, Any]]:
        """The history of a role or policy of an account."""
        return self.runtime.aws.query(self.environment["HISTORY_TABLE"], {"about": f"{account}/{about}".lower()})

    def findings_of(self, account: str) -> list[dict[str, Any]]:
        """The findings about an account as a whole."""
        rows = self.runtime.aws.scan(self.environment["HISTORY_TABLE"])
        return [row for row in rows if (row["account"], row["kind"]) == (account, "Account Finding")]


def _member_template() -> str:
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    role = {"RoleName": ROLE, "Path": "/rolewarden/", "AssumeRolePolicyDocument": trust}
    return json.dumps({"Resources": {"Enter": {"Type": "AWS::IAM::Role", "Properties": role}}})


def _make_stack_set() -> None:
    """Make the StackSet of the members, which follows the organization."""
    boto3.client("s3").create_bucket(Bucket="templates")
    boto3.client("s3").put_object(Bucket="templates", Key="member.json", Body=_member_template())
    properties = {
        "StackSetName": "rolewarden-members",
        "TemplateURL": "https://s3.us-east-1.amazonaws.com/templates/member.json",
        "PermissionModel": "SERVICE_MANAGED",
        "CallAs": "DELEGATED_ADMIN",
        "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "StackInstancesGroup": [
            {"DeploymentTargets": {"OrganizationalUnitIds": [UNIT]}, "Regions": ["us-east-1"]},
        ],
    }
    resource = {"Type": "AWS::CloudFormation::StackSet", "Properties": properties}
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(StackName="parent", TemplateBody=json.dumps({"Resources": {"Members": resource}}))
    while (found := cloudformation.describe_stacks(StackName="parent")["Stacks"][0])["StackStatus"].endswith(
        "PROGRESS"
    ):
        time.sleep(0.01)
    assert found["StackStatus"] == "CREATE_COMPLETE"
