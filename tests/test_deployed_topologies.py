"""Every shape of deployment: `sam deploy --tags` creates the stack with its StackSets, and it finds every path.

`tests/test_deployed.py` deploys into one account in us-east-1, and `tests/test_deployed_organization.py` into an
organization from a delegated administrator, and `tests/test_deployed_order.py` into several Regions. `make soak` runs
the shapes here.
"""

import json
from functools import partial
from itertools import product

import boto3
import pytest
from rolewarden_cli.main import app
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.account import waited
from rolewarden_local.scenes.deploy import STACK, deploy
from rolewarden_local.scenes.seed import log, seed
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.deployments import commands, recipe, resources, run
from tests.stacks import instances, translated
from tests.volume import volume

pytestmark = [pytest.mark.deployed, pytest.mark.volume]

CENTRAL, MEMBER = "111122223333", "222233334444"
SEVERAL = recipe("Several regions")["Regions"]
OPTIONAL = "eu-west-1,ap-east-1,me-central-1"
"""Two of these Regions are disabled by default."""

ALONE, DELEGATED, MANAGING = "alone", "delegated administrator", "management account"
TOPOLOGIES = volume(
    [],
    list(product(("us-east-1", "eu-west-1", "ap-east-1"), ("", SEVERAL, OPTIONAL), (ALONE, DELEGATED, MANAGING))),
)
"""The Region of the stack, `Regions`, and the central account's part in an organization."""


def client(service, account=CENTRAL, region="us-east-1"):
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="x", region_name=region)


@pytest.fixture
def local():
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        yield aws, url
        aws.reset()


def organized(aws, place):
    """Make the organization, follow the README in its management account, and return the parameters for it."""
    if place == ALONE:
        return {}
    management = CENTRAL if place == MANAGING else MANAGEMENT
    aws.organize(
        "o-exampleorg1",
        {"ou-root-security0": {CENTRAL}, "ou-root-canvas000": {MEMBER}},
        management=management,
    )
    activate, register = commands("An organization")
    run(activate, partial(client, account=management))
    if place == DELEGATED:
        run(register, partial(client, account=management))
    log(client("cloudtrail", MEMBER))
    given = recipe("An organization")
    return {name: given[name] for name in ("OrganizationId", "OrganizationalUnits")} | (
        {"StackSetsCallAs": "SELF"} if place == MANAGING else {}
    )


def forwarders(region, parameters):
    """Account and Region of each stack that the StackSets are to make."""
    template = translated(region, **parameters)
    return {
        (account, place)
        for name, account in (("Forwarders", CENTRAL), ("Members", MEMBER))
        for place in instances(template, name) or ()
    }


def stack_sets(region, members_call_as):
    """Account and Region of each stack of both StackSets, with its status."""
    cloudformation = client("cloudformation", region=region)
    found: dict[tuple[str, str], str] = {}
    for resource in resources(cloudformation):
        if resource["ResourceType"] == "AWS::CloudFormation::StackSet":
            call_as = members_call_as if resource["LogicalResourceId"] == "Members" else "SELF"
            name = resource["PhysicalResourceId"]
            listed = cloudformation.list_stack_instances(StackSetName=name, CallAs=call_as)["Summaries"]
            found |= {(each["Account"], each["Region"]): each["Status"] for each in listed}
    return found


def doctor(region):
    """The findings of `rolewarden doctor`, without alarms: a role is unprotected, and nobody subscribed."""
    ran = CliRunner().invoke(app, ["doctor", "--region", region, "--json"])
    assert ran.stdout, ran.output
    checks = json.loads(ran.stdout)["checks"]
    return [check for check in checks if check["level"] == "fail" and check["what"] not in {"subscriptions", "alarms"}]


def tags_of_queues(places):
    """The values of the tag `team` on the queues of the forwarders that send something."""
    values = set()
    for account, region in places:
        sqs = client("sqs", account, region)
        for url in sqs.list_queues(QueueNamePrefix="rolewarden-undelivered").get("QueueUrls", ()):
            values.add(sqs.list_queue_tags(QueueUrl=url).get("Tags", {}).get("team"))
    return values


@pytest.mark.parametrize(("region", "regions", "place"), TOPOLOGIES)
def test_a_new_stack_has_its_stacksets_and_finds_every_event_path(local, build, region, regions, place):
    aws, url = local
    seed(aws, region)
    parameters = {**({"Regions": regions} if regions else {}), **organized(aws, place)}
    up = partial(deploy, ROOT, url, region=region, built=build, parameters=parameters, say=lambda _: None)
    up(tags={"team": "platform"})
    places = forwarders(region, parameters)
    assert stack_sets(region, parameters.get("StackSetsCallAs", "DELEGATED_ADMIN")) == dict.fromkeys(places, "CURRENT")
    assert tags_of_queues(places) <= {"platform"}
    assert bool(tags_of_queues(places)) is bool(places)
    assert doctor(region) == []
    if volume(False, True):
        up(tags={"team": "governance"})
        assert tags_of_queues(places) <= {"governance"}
        cloudformation = client("cloudformation", region=region)
        cloudformation.delete_stack(StackName=STACK)

        def is_deleted():
            [stack] = [each for each in cloudformation.list_stacks()["StackSummaries"] if each["StackName"] == STACK]
            return stack["StackStatus"] == "DELETE_COMPLETE"

        waited(is_deleted, "the stack is deleted")
        assert tags_of_queues(places) == set()
