"""The event path of a deployed stack without a deployment: rules, buses, queues, roles and canaries in the local AWS.

EnforceFunction runs in this process, behind the rules of the template. CloudTrail delivers by a virtual clock. A test
sends drills, lets time pass, and asks the judge.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import ClientError
from rolewarden.aws import Aws
from rolewarden.clock import Clock
from rolewarden.driller import Driller
from rolewarden.settings import DrillSettings
from rolewarden.sweep_messages import Sweep
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.seed import log
from rolewarden_local.scenes.template import Template

from tests.company import Company
from tests.stacks import MEMBER, forwarder, translated
from tests.world import World

HOME, AWAY = "us-east-1", "eu-west-1"
ORGANIZATION = {"OrganizationId": "o-exampleorg1", "OrganizationalUnits": "ou-root-canvas000"}
DRILL_KEY = "ASIADRILLFUNCTIONKEY"
DELAY = 20.0
"""Seconds from a call to the delivery of its event, unless a test says otherwise."""

DAY = 24 * 3600.0
RULES = frozenset({"EnforceFunctionSubjects", "EnforceFunctionRoles", "ForwardedToEnforce", "Subjects", "Roles"})
"""The logical IDs of the rules that drills pass, in both templates."""

QUEUES = {"EventsDeadLetterQueue": "EventsDeadLetterQueue", "Undelivered": "rolewarden-undelivered"}
"""The names of the dead-letter queues of these rules, by their logical IDs."""

FUNCTION = f"arn:aws:lambda:{HOME}:{ACCOUNT_ID}:function:EnforceFunction"


def client(service: str, account: str = ACCOUNT_ID, region: str = HOME) -> Any:
    """Make a client for an account and region."""
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)  # type: ignore[call-overload]


class Ground:
    """A world with the event path of its stack.

    - `regions`: the regions that the stack covers. The stack is in HOME.
    - `members`: whether MEMBER is covered, too. `world` is then a Company.
    """

    def __init__(self, world: World, regions: tuple[str, ...] = (HOME,), *, members: bool = False) -> None:
        self.world, self.aws, self.regions = world, world.aws, regions
        self.now, self.delay = float(round(time.time())), DELAY
        self.accounts = (ACCOUNT_ID, MEMBER) if members else (ACCOUNT_ID,)
        elsewhere = {"Regions": ",".join(regions)} if regions != (HOME,) else {}
        self.template = translated(**elsewhere, **(ORGANIZATION if members else {}))
        self._denied = contextlib.ExitStack()
        self._put(self.template, ACCOUNT_ID, HOME)
        self._put_function()
        for region in regions:
            if region != HOME:
                self._put(forwarder(self.template, "Forwarders", ACCOUNT_ID, region), ACCOUNT_ID, region)
            if members:
                self._put(forwarder(self.template, "Members", MEMBER, region), MEMBER, region)
        if members:
            log(client("cloudtrail", MEMBER))
        self._assemble(members=members)

    def _assemble(self, *, members: bool) -> None:
        more = {"REGIONS": ",".join(self.regions), "RECHECK_SECONDS": "900"}
        if self.template.resources("AWS::Events::EventBus"):
            more |= {
                "CENTRAL_BUS": f"arn:aws:events:{HOME}:{ACCOUNT_ID}:event-bus/rolewarden-central",
                "FORWARDED_RULE": "rolewarden-central|ForwardedToEnforce",
            }
        if members:
            more |= {"ORGANIZATION_ID": ORGANIZATION["OrganizationId"]}
        self.world.environment = {**self.world.environment, **more}
        self.world.assemble(self.world.runtime.aws)
        self.world.runtime.clock.now = lambda: self.now
        self.aws.run_here(FUNCTION, self.world.enforcer.handle_event)
        self.aws.lend(DRILL_KEY, "DrillFunctionRole")
        clock = Clock(now=lambda: self.now)
        own = Aws(
            boto3.Session(DRILL_KEY, "secret", "token", region_name=HOME),
            account=ACCOUNT_ID,
            member_role="rolewarden-drill",
            clock=clock,
        )
        self.driller = Driller.of(own, DrillSettings.read(self.world.environment), clock)
        self.driller.deployed = lambda: 0.0

    def _put_function(self) -> None:
        put_function(self.regions)
        functions = client("lambda")
        for name, permission in self.template.resources("AWS::Lambda::Permission").items():
            if permission["FunctionName"].endswith("EnforceFunction"):
                functions.add_permission(
                    FunctionName="EnforceFunction",
                    StatementId=name,
                    Action=permission["Action"],
                    Principal=permission["Principal"],
                    SourceArn=permission["SourceArn"].replace(
                        "rule/ForwardedTo", "rule/rolewarden-central/ForwardedTo"
                    ),
                )

    def _put(self, template: Template, account: str, region: str) -> None:
        """Make what the events pass in one account and region, as CloudFormation makes it from a template."""
        _put_identities(template, account)
        _put_queues(template, client("sqs", account, region))
        events = client("events", account, region)
        for bus in template.resources("AWS::Events::EventBus").values():
            events.create_event_bus(Name=bus["Name"])
        for policy in template.resources("AWS::Events::EventBusPolicy").values():
            statement = {**policy["Statement"], "Sid": policy["StatementId"], "Resource": self._bus}
            document = {"Version": "2012-10-17", "Statement": [statement]}
            events.put_permission(EventBusName="rolewarden-central", Policy=json.dumps(document))
        for name, rule in template.resources("AWS::Events::Rule").items():
            if name in RULES:
                self._put_rule(events, rule.get("Name", name), rule, region)
        for config in template.resources("AWS::SageMaker::AppImageConfig").values():
            made = partial(client("sagemaker", account, region).create_app_image_config, Tags=config["Tags"])
            _put_once(partial(made, AppImageConfigName=config["AppImageConfigName"]))

    @property
    def _bus(self) -> str:
        return f"arn:aws:events:{HOME}:{ACCOUNT_ID}:event-bus/rolewarden-central"

    def _put_rule(self, events: Any, name: str, rule: Mapping[str, Any], region: str) -> None:
        bus = {"EventBusName": "rolewarden-central"} if "EventBusName" in rule else {}
        events.put_rule(Name=name, EventPattern=json.dumps(rule["EventPattern"]), **bus)
        targets = json.dumps(rule["Targets"])
        targets = targets.replace("event-bus/CentralBus", "event-bus/rolewarden-central")
        targets = targets.replace(":Undelivered", ":rolewarden-undelivered")
        own = f"{ACCOUNT_ID}:role/rolewarden/ForwardRole"
        targets = targets.replace(own, "KEPT").replace(
            "role/rolewarden/ForwardRole", f"role/rolewarden/rolewarden-forward-{region}"
        )
        events.put_targets(Rule=name, Targets=json.loads(targets.replace("KEPT", own)), **bus)

    def pulse(self, account: str = ACCOUNT_ID) -> list[dict[str, Any]]:
        """Send a pulse in an account."""
        return self._sent({"step": "pulse", "account": account})

    def drill(self, account: str = ACCOUNT_ID) -> list[dict[str, Any]]:
        """Send a pulse and a full drill in an account."""
        return self._sent({"step": "drill", "account": account})

    def _sent(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        with self.late():
            drills: list[dict[str, Any]] = self.driller.handle(payload)["drills"]
            return drills

    def late(self) -> Any:
        """Let CloudTrail deliver the calls of a block after `delay` seconds of the virtual clock."""
        return self.aws.delayed(lambda _: self.delay, clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, and deliver each event when it is due."""
        end = self.now + seconds
        with self.late():
            while (due := self.aws.next_delivery()) is not None and due <= end:
                self.now = max(self.now, due)
                self.aws.deliver()
        self.now = end

    def states(self, account: str = ACCOUNT_ID) -> dict[tuple[str, str], str]:
        """The state of each kind of drill by region, and the broken link if there is one."""
        shown = self.world.sweeper.handle_event({"step": "drills", "account": account})["drills"]
        return {
            (found["drill"], found["region"]): f"{found['state']}: {found['link']}"
            if "link" in found
            else found["state"]
            for found in shown
        }

    def judge(self, account: str = ACCOUNT_ID) -> None:
        """Run the step of a sweep that judges drills and restores the canary."""
        self.world.sweeper.judge_drills(Sweep(account, self.now))
        with self.late():
            self.world.work()

    def deny(self, operation: str) -> None:
        """Have AWS deny a call of EnforceFunction from now on."""
        self._denied.enter_context(self.aws.failing(operation, "AccessDenied"))

    def allow(self) -> None:
        """Allow everything again."""
        self._denied.close()

    def has_canary_policy(self, account: str = ACCOUNT_ID) -> bool:
        """Whether the canary's policy is attached to the canary role."""
        attached = client("iam", account).list_attached_role_policies(RoleName="rolewarden-canary")["AttachedPolicies"]
        return [policy["PolicyName"] for policy in attached] == ["drill.canary"]


def put_function(regions: tuple[str, ...], name: str = "EnforceFunction") -> None:
    """Make a function with an empty handler and its list of regions."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass")
    client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT_ID}:role/{name}Role",
        Handler="app.handler",
        Code={"ZipFile": file.getvalue()},
        Environment={"Variables": {"REGIONS": ",".join(regions)}},
    )


def _put_once(make: Any) -> None:
    """Make something unless it exists."""
    try:
        make()
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"EntityAlreadyExists", "ResourceInUse", "ResourceInUseException"}:
            raise


def _put_identities(template: Template, account: str) -> None:
    iam = client("iam", account)
    for policy in template.resources("AWS::IAM::ManagedPolicy").values():
        _put_once(
            partial(
                iam.create_policy,
                PolicyName=policy["ManagedPolicyName"],
                Path=policy["Path"],
                PolicyDocument=json.dumps(policy["PolicyDocument"]),
                Description=policy["Description"],
            )
        )
    for name, role in template.resources("AWS::IAM::Role").items():
        if "RoleName" in role or name == "ForwardRole":
            _put_role(iam, name, role, account)


def _put_queues(template: Template, sqs: Any) -> None:
    policies = template.resources("AWS::SQS::QueuePolicy")
    for logical, name in QUEUES.items():
        if logical in template.made():
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            text = json.dumps(policies[f"{logical}Policy"]["PolicyDocument"]).replace(":Undelivered", f":{name}")
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})


def _put_role(iam: Any, logical: str, role: Mapping[str, Any], account: str) -> None:
    name = role.get("RoleName", logical)
    trust = json.dumps(role["AssumeRolePolicyDocument"])
    # The functions' roles do not exist here, so the account's root stands for them.
    trust = trust.replace(f"{ACCOUNT_ID}:role/rolewarden/", f"{ACCOUNT_ID}:root#")
    document = json.loads(trust)
    for statement in document["Statement"]:
        if "#" in str(statement["Principal"].get("AWS", "")):
            statement["Principal"] = {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}
    _put_once(
        partial(
            iam.create_role,
            RoleName=name,
            Path=role["Path"],
            AssumeRolePolicyDocument=json.dumps(document),
            Tags=role.get("Tags", []),
        )
    )
    for policy in role.get("Policies", ()):
        text = json.dumps(policy["PolicyDocument"]).replace("event-bus/CentralBus", "event-bus/rolewarden-central")
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=text)
    if role.get("ManagedPolicyArns"):
        arn = f"arn:aws:iam::{account}:policy/rolewarden/drill.canary"
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)


def one_account(world: World) -> Ground:
    """One account and region."""
    return Ground(world)


def several_regions(world: World) -> Ground:
    """One account with two regions."""
    return Ground(world, (HOME, AWAY))


def organization(company: Company) -> Ground:
    """Two accounts with two regions each."""
    company.cover(f"{HOME},{AWAY}")
    company.sweeper.progress.set_member_swept(MEMBER, 0)
    return Ground(company, (HOME, AWAY), members=True)
