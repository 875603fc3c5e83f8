"""Domains in regions that the stack does not cover: found once a day by a sweep, and by `rolewarden doctor`."""

import boto3
import pytest
from rolewarden.sweep import REGIONS_SECONDS
from rolewarden.work import DOCTOR
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.regions import OFFERED

from tests.commands import json_answer, rolewarden
from tests.company import client
from tests.stacks import MEMBER

PARIS = "eu-west-3"


def create_domain(region, name, account=ACCOUNT_ID):
    answer = client("sagemaker", account, region).create_domain(
        DomainName=name,
        AuthMode="IAM",
        DefaultUserSettings={"ExecutionRole": f"arn:aws:iam::{account}:role/CanvasElsewhere"},
        SubnetIds=["subnet-1"],
        VpcId="vpc-1",
    )
    return answer["DomainArn"].rpartition("/")[2]


def findings(world):
    """The messages of the findings about the account."""
    rows = world.runtime.aws.scan(world.environment["HISTORY_TABLE"])
    return [row["message"] for row in rows if row["kind"] == "Account Finding"]


def resolved(world):
    rows = world.runtime.aws.scan(world.environment["HISTORY_TABLE"])
    return [row["finding"] for row in rows if row["kind"] == "Finding Resolved"]


def asked(world, event):
    """The lines of `rolewarden doctor` about other regions."""
    probes = world.sweeper.handle_event(event)["probes"]
    return [probe for probe in probes if probe["what"] == "other regions"]


def regions_read(world, sweep):
    mark = world.aws.mark()
    sweep()
    return {call.region for call in world.aws.calls(mark) if call.operation == "ListDomains"}


def test_a_domain_in_a_region_that_is_not_covered_is_a_finding_with_the_fix(world):
    create_domain(PARIS, "forgotten")
    world.sweep()
    assert findings(world) == [f"domains in {PARIS}: forgotten"]
    [row] = [r for r in world.runtime.aws.scan(world.environment["HISTORY_TABLE"]) if r["kind"] == "Account Finding"]
    assert row["reason"] == "domains in a region that is not covered"
    assert row["recommendation"].startswith("add the region to the parameter Regions and deploy, or delete the domains")


def test_it_is_found_once_and_resolved_after_the_domain_is_deleted(world):
    domain = create_domain(PARIS, "forgotten")
    for _ in range(3):
        world.sweep()
        world.wait(REGIONS_SECONDS)
    assert (findings(world), resolved(world)) == ([f"domains in {PARIS}: forgotten"], [])
    boto3.client("sagemaker", PARIS).delete_domain(DomainId=domain)
    world.sweep()
    assert resolved(world) == [f"account/domains in {PARIS}"]


def test_it_is_resolved_after_the_region_is_covered(world):
    create_domain(PARIS, "forgotten")
    world.sweep()
    world.environment = {**world.environment, "REGIONS": f"us-east-1,{PARIS}"}
    world.assemble(world.runtime.aws)
    world.wait(REGIONS_SECONDS)
    world.sweep()
    assert resolved(world) == [f"account/domains in {PARIS}"]


def test_all_regions_are_read_once_a_day(world):
    assert len(regions_read(world, world.sweep)) == len(OFFERED)
    assert regions_read(world, world.sweep) == {"us-east-1"}
    world.wait(REGIONS_SECONDS)
    assert len(regions_read(world, world.sweep)) == len(OFFERED)


def test_a_region_that_the_account_has_enabled_is_read_too(world):
    create_domain("eu-south-1", "hidden")
    assert "eu-south-1" not in regions_read(world, world.sweep)
    world.aws.enable_region(ACCOUNT_ID, "eu-south-1")
    world.wait(REGIONS_SECONDS)
    world.sweep()
    assert findings(world) == ["domains in eu-south-1: hidden"]


def test_a_region_that_could_not_be_read_is_no_finding_and_resolves_none(world):
    create_domain(PARIS, "forgotten")
    world.sweep()
    world.wait(REGIONS_SECONDS)
    with world.aws.failing("ListDomains", "AccessDeniedException", after=1):
        world.sweep()
    assert (findings(world), resolved(world)) == ([f"domains in {PARIS}: forgotten"], [])


def test_a_list_of_regions_that_is_refused_is_a_finding_of_its_own_and_resolves_none(world):
    create_domain(PARIS, "forgotten")
    world.sweep()
    world.wait(REGIONS_SECONDS)
    with world.aws.failing("DescribeRegions", "UnauthorizedOperation"):
        world.sweep()
    assert {message.partition(":")[0] for message in findings(world)} == {f"domains in {PARIS}", "DescribeRegions"}
    assert resolved(world) == []
    world.wait(REGIONS_SECONDS)
    world.sweep()
    assert resolved(world) == ["account/DescribeRegions"]


def test_what_aws_cannot_answer_now_is_read_by_the_next_sweep(world):
    create_domain(PARIS, "forgotten")
    with world.aws.failing("DescribeRegions", "RequestLimitExceeded"):
        world.sweep()
    assert findings(world) == []
    world.sweep()
    assert findings(world) == [f"domains in {PARIS}: forgotten"]


def test_doctor_names_the_domains_of_every_region_and_some_of_many(world):
    assert asked(world, {"step": DOCTOR}) == [{"account": ACCOUNT_ID, "region": "", "what": "other regions"}]
    for number in range(5):
        create_domain(PARIS, f"domain-{number}")
    create_domain("sa-east-1", "alone")
    assert {probe["message"] for probe in asked(world, {"step": DOCTOR})} == {
        f"domains in {PARIS}: domain-0, domain-1, domain-2 and 2 more",
        "domains in sa-east-1: alone",
    }


def test_doctor_warns_of_a_region_that_cannot_be_read(world):
    with world.aws.failing("ListDomains", "AccessDeniedException", times=1):
        [probe] = asked(world, {"step": DOCTOR})
    assert probe["warning"]
    assert "no action is needed" in probe["recommendation"]


@pytest.mark.long
def test_the_regions_of_a_member_account_are_read_in_that_account(company):
    create_domain(PARIS, "forgotten", MEMBER)
    company.everything()
    assert [row["message"] for row in company.findings_of(MEMBER) if row["message"].startswith("domains")] == [
        f"domains in {PARIS}: forgotten"
    ]
    assert "other regions" in {probe["what"] for probe in asked(company, {"step": DOCTOR}) if "message" in probe}


def test_plan_names_domains_in_other_regions_and_the_fix(world):
    create_domain(PARIS, "forgotten")
    rules = ["--guardrails", world.environment["GUARDRAILS_FILE"]]
    assert json_answer("plan", *rules, exit_code=2)["outside"] == [f"domains in {PARIS}: forgotten"]
    text = rolewarden("plan", *rules).stdout
    assert f"{PARIS}: forgotten" in text
    assert "Add the region to --region and to the stack's parameter Regions" in text
    assert json_answer("plan", *rules, "--region", "us-east-1", "--region", PARIS, exit_code=2)["outside"] == []


def test_plan_says_that_it_could_not_read_the_regions(world):
    rules = ["--guardrails", world.environment["GUARDRAILS_FILE"]]
    with world.aws.failing("DescribeRegions", "UnauthorizedOperation", "no"):
        unread = json_answer("plan", *rules, exit_code=2)["unread"]
    assert unread == ["the list of regions could not be read: DescribeRegions: UnauthorizedOperation: no"]
