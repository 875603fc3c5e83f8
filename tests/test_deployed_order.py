"""A first deployment finds everything that it needs for every order in which CloudFormation creates resources."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated._ministack import lambda_svc
from rolewarden_local.scenes.deploy import STACK, environment, read_template, sam
from rolewarden_local.scenes.seed import TRUST, log

from tests import callers
from tests.conftest import ROOT
from tests.deployments import alarms, recipe
from tests.volume import volume

pytestmark = [pytest.mark.deployed, pytest.mark.volume]

CENTRAL, MEMBER = "111122223333", "222233334444"
Template = dict[str, Any]


def client(service: str, region: str, account: str = CENTRAL) -> Any:
    return callers.client(service, account, region)


@dataclass(frozen=True)
class Topology:
    """The scope of a stack: its Region, its parameters, and every Region and account that it covers."""

    region: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    accounts: tuple[str, ...] = (CENTRAL,)


THREE = ("eu-west-1", "ap-south-1", "us-east-1")
TOPOLOGIES = {
    "one account and Region": Topology("us-east-1", {}, ("us-east-1",)),
    "three Regions": Topology("eu-west-1", {"Regions": ",".join(THREE)}, THREE),
    "an organization": Topology("eu-west-1", recipe("An organization"), THREE, (CENTRAL, MEMBER)),
}


class Deployed:
    """A stack that CloudFormation has created from `template`, with the events of that time."""

    def __init__(self, aws: LocalAws, topology: Topology, template: Template) -> None:
        self.topology = topology
        for account in topology.accounts:
            role = client("iam", "us-east-1", account).create_role(RoleName="Canvas", AssumeRolePolicyDocument=TRUST)
            client("sagemaker", topology.region, account).create_domain(
                DomainName="canvas", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": role["Role"]["Arn"]}
            )
            log(client("cloudtrail", topology.region, account))
        # guardrails.yaml exempts this role.
        client("iam", "us-east-1", CENTRAL).create_role(RoleName="CanvasBreakGlass", AssumeRolePolicyDocument=TRUST)
        if len(topology.accounts) > 1:
            aws.organize("o-exampleorg1", {"ou-root-canvas000": {MEMBER}}, administrator=CENTRAL)
        self._listen()
        stacks = client("cloudformation", topology.region)
        bucket = client("s3", topology.region)
        bucket.put_object(Bucket="templates", Key="template.json", Body=json.dumps(template).encode())
        stacks.create_stack(
            StackName=STACK,
            TemplateURL=f"{bucket.meta.endpoint_url}/templates/template.json",
            Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in {**topology.parameters, "RecheckSeconds": "0"}.items()
            ],
        )
        while self.status().endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        self._wait_for_functions(aws)
        self.events = list(self._put_events())

    def status(self) -> str:
        [stack] = client("cloudformation", self.topology.region).describe_stacks(StackName=STACK)["Stacks"]
        return str(stack["StackStatus"])

    def _listen(self) -> None:
        """Record every event that the stack's functions put."""
        sqs, events = client("sqs", self.topology.region), client("events", self.topology.region)
        self._queue = sqs.create_queue(QueueName="listener")["QueueUrl"]
        [arn] = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"].values()
        events.put_rule(Name="listen", EventPattern=json.dumps({"source": ["rolewarden"]}))
        events.put_targets(Rule="listen", Targets=[{"Id": "1", "Arn": arn}])

    @staticmethod
    def _wait_for_functions(aws: LocalAws, quiet: float = 1.0) -> None:
        """Wait until no function has made a call for some time."""
        since, quiet_since = aws.mark(), time.monotonic()
        while time.monotonic() < quiet_since + quiet:
            if lambda_svc.executions_in_flight()[0] or any("/rolewarden-" in call.caller for call in aws.calls(since)):
                since, quiet_since = aws.mark(), time.monotonic()
            time.sleep(0.05)

    def problems(self) -> list[str]:
        """The errors of a first deployment: forbidden and missing results."""
        events = client("cloudformation", self.topology.region).describe_stack_events(StackName=STACK)["StackEvents"]
        found = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in events
            if event["ResourceStatus"] == "CREATE_FAILED"
        ]
        found += [f"put {event}" for event in self.events if event not in EXPECTED]
        for account in self.topology.accounts:
            attached = client("iam", "us-east-1", account).list_attached_role_policies(RoleName="Canvas")
            if not attached["AttachedPolicies"]:
                found.append(f"the role of {account} is unprotected")
        for region in self.topology.regions:
            sqs = client("sqs", region)
            for url in sqs.list_queues().get("QueueUrls", []):
                attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
                if int(attributes["ApproximateNumberOfMessages"]) and url != self._queue:
                    found.append(f"messages are left in {url.rsplit('/', 1)[-1]} in {region}")
        return [*found, *sorted(alarms(client("cloudwatch", self.topology.region)))]

    def _put_events(self) -> Iterator[str]:
        sqs = client("sqs", self.topology.region)
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                event = json.loads(message["Body"])
                yield event["detail-type"] + (f" {event['detail']}" if event["detail-type"] not in EXPECTED else "")


EXPECTED = {"Drill Measured", "Guardrails Published", "Role Remediated", "Rules Changed", "Sweep Completed"}


@pytest.fixture(scope="module")
def prepare(
    build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., tuple[LocalAws, Template]]]:
    """A function that makes an empty local AWS with the uploads of `sam package`, and returns the template."""
    aws = LocalAws.start()
    made: dict[str, tuple[Callable[[], None], str]] = {}
    with aws.serving() as url, aws.authorizing():

        def package(region: str) -> str:
            aws.reset()
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            client("s3", region).create_bucket(Bucket="templates", **where)
            template = tmp_path_factory.mktemp("packaged") / "template.yaml"
            command: list[str | Path] = [*sam(ROOT), "package", "--template-file", build / "template.yaml"]
            options: list[str | Path] = ["--output-template-file", template, "--s3-bucket", "templates"]
            ran = subprocess.run(
                [*command, *options, "--region", region], cwd=ROOT,
                env=environment(url, region), capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stdout + ran.stderr
            return json.dumps(read_template(template))

        def prepared(region: str, *, seed: int = 0) -> tuple[LocalAws, Template]:
            if region not in made:
                packaged = package(region)
                made[region] = (aws.saved(), packaged)
            restore, packaged = made[region]
            restore()
            aws.creation_seed = seed
            return aws, json.loads(packaged)

        yield prepared
        aws.reset()


@pytest.mark.parametrize("name", volume(["three Regions"], list(TOPOLOGIES)))
@pytest.mark.parametrize("seed", range(volume(1, 5)))
def test_a_first_deployment_raises_no_finding_and_no_alarm(prepare, name, seed):
    topology = TOPOLOGIES[name]
    aws, template = prepare(topology.region, seed=seed)
    assert Deployed(aws, topology, template).problems() == []


@pytest.mark.parametrize("name", volume([], list(TOPOLOGIES)))
@pytest.mark.parametrize("seed", range(volume(1, 5)))
def test_a_first_deployment_without_the_dependencies_of_guardrails_fails(prepare, name, seed):
    topology = TOPOLOGIES[name]
    aws, template = prepare(topology.region, seed=seed)
    guardrails = template["Resources"]["Guardrails"]
    del guardrails["DependsOn"], guardrails["Properties"]["After"]
    assert Deployed(aws, topology, template).problems()


def left_behind(region: str) -> dict[str, list[str]]:
    """The remaining resources of the stack in its account and Region, by kind."""
    iam, logs = client("iam", region), client("logs", region)
    policies = iam.list_policies(Scope="Local", PathPrefix="/rolewarden/")["Policies"]
    return {
        "attached policies": [
            policy["PolicyName"] for policy in iam.list_attached_role_policies(RoleName="Canvas")["AttachedPolicies"]
        ],
        "policies": [policy["PolicyName"] for policy in policies],
        "roles": [role["RoleName"] for role in iam.list_roles(PathPrefix="/rolewarden/")["Roles"]],
        "tables": client("dynamodb", region).list_tables()["TableNames"],
        "log groups": [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]],
        "queues": [url for url in client("sqs", region).list_queues()["QueueUrls"] if not url.endswith("/listener")],
    }


@pytest.mark.skipif(volume(True, False), reason="a second deployment takes 12 s: `make soak` makes it")
def test_a_first_deployment_that_fails_at_its_last_resource_leaves_nothing_behind(prepare):
    region = "us-east-1"
    aws, template = prepare(region)
    nowhere = f"arn:aws:lambda:{region}:{CENTRAL}:function:nowhere"
    template["Resources"]["Last"] = {
        "Type": "Custom::Last", "DependsOn": ["Guardrails"], "Properties": {"ServiceToken": nowhere},
    }  # fmt: skip
    deployed = Deployed(aws, TOPOLOGIES["one account and Region"], template)
    assert "Role Remediated" in deployed.events
    assert deployed.status() == "ROLLBACK_COMPLETE"
    assert {kind: names for kind, names in left_behind(region).items() if names} == {}
