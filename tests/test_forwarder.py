"""forwarder.yaml has the same events and permissions as template.yaml, and only the resources that it needs."""

import json

import pytest
from rolewarden import MEMBER_ROLES, reach
from rolewarden.aws import IAM_HOME_REGIONS
from rolewarden_local.emulated.judge import judge
from rolewarden_local.scenes.template import Template

from tests.conftest import ROOT
from tests.permissions import of_template
from tests.stacks import WORKERS, aliases, forwarder, instances, translated

CENTRAL, MEMBER = "111122223333", "222233334444"
ORGANIZATION = "o-exampleorg1"
UNIT = "ou-root-canvas000"
CLOUDTRAIL = ["AWS API Call via CloudTrail"]


def organization(region="us-east-1", **parameters):
    return translated(region, OrganizationId=ORGANIZATION, OrganizationalUnits=UNIT, **parameters)


def test_forwarder_yaml_has_no_aliases_because_sam_uploads_it_as_it_is():
    assert not aliases((ROOT / "forwarder.yaml").read_text(encoding="utf-8"))
    assert aliases((ROOT / "template.yaml").read_text(encoding="utf-8"))


def statements(template, function):
    """The permissions of a function's role."""
    [rights] = [rights for rights in of_template(template) if rights.function == function]
    return list(rights.statements())


def patterns(template):
    """The patterns of the rules for IAM and SageMaker, by the first event in each."""
    found = [
        rule["EventPattern"]
        for rule in template.resources("AWS::Events::Rule").values()
        if "EventPattern" in rule and rule["EventPattern"].get("source") in (["aws.iam"], ["aws.sagemaker"])
        if rule.get("EventBusName", "default") == "default"
    ]
    return {pattern["detail"]["eventName"][0]: pattern for pattern in found}


def elsewhere(pattern, account):
    """The expected pattern in another account for one of the central stack, with member roles as the functions."""
    text = json.dumps(pattern).replace(CENTRAL, account)
    for function in WORKERS:
        name = function.removesuffix("Function").lower()
        text = text.replace(f"role/rolewarden/{function}Role", f"role/rolewarden/rolewarden-{name}")
    return json.loads(text)


def test_forwarders_send_the_events_that_the_central_account_would_match_in_their_region():
    away = translated("eu-west-1", Regions="eu-west-1,us-east-1,ap-south-1")
    for region in ("us-east-1", "ap-south-1"):
        sent = patterns(forwarder(away, "Forwarders", CENTRAL, region))
        here = patterns(translated(region))
        assert sent == (
            here if region == "us-east-1" else {k: v for k, v in here.items() if v["source"] != ["aws.iam"]}
        )


def test_forwarders_of_another_account_send_the_events_of_the_central_rules_without_those_of_member_roles():
    sent = patterns(forwarder(organization(), "Members", MEMBER, "us-east-1"))
    assert sent == {name: elsewhere(pattern, MEMBER) for name, pattern in patterns(translated()).items()}
    assert len(sent) == 3


@pytest.mark.parametrize("region", IAM_HOME_REGIONS.values())
def test_iam_events_are_forwarded_from_the_region_in_which_the_partition_has_them(region):
    here = translated(region)
    assert here.outputs()["IamEvents"].startswith("yes: CloudTrail")
    assert instances(here, "Forwarders") is None
    made = forwarder(organization(region), "Members", MEMBER, region)
    assert set(made.resources("AWS::IAM::Role")) >= {"Enforce", "ForwardRole"}


@pytest.mark.parametrize(
    ("region", "regions", "forwarders", "members"),
    [
        ("us-east-1", "", None, {"us-east-1": True}),
        ("us-east-1", "us-east-1", None, {"us-east-1": True}),
        ("us-east-1", "us-east-1,eu-west-1", {"us-east-1": True, "eu-west-1": True},
         {"us-east-1": True, "eu-west-1": True}),
        ("us-east-1", "eu-west-1", {"eu-west-1": True}, {"eu-west-1": True, "us-east-1": False}),
        ("eu-west-1", "", {"us-east-1": False}, {"eu-west-1": True, "us-east-1": False}),
        ("eu-west-1", "eu-west-1", {"us-east-1": False}, {"eu-west-1": True, "us-east-1": False}),
        (
            "eu-west-1",
            "eu-west-1,ap-south-1",
            {"eu-west-1": True, "ap-south-1": True, "us-east-1": False},
            {"eu-west-1": True, "ap-south-1": True, "us-east-1": False},
        ),
        ("eu-west-1", "eu-west-1,us-east-1", {"eu-west-1": True, "us-east-1": True},
         {"eu-west-1": True, "us-east-1": True}),
        ("us-gov-west-1", "us-gov-west-1,us-gov-east-1", {"us-gov-west-1": True, "us-gov-east-1": True},
         {"us-gov-west-1": True, "us-gov-east-1": True}),
        ("us-gov-east-1", "", {"us-gov-west-1": False}, {"us-gov-east-1": True, "us-gov-west-1": False}),
        ("cn-northwest-1", "", {"cn-north-1": False}, {"cn-northwest-1": True, "cn-north-1": False}),
    ],
)  # fmt: skip
def test_stacks_are_in_regions_with_domains_and_in_the_region_of_iam_events(region, regions, forwarders, members):
    assert instances(translated(region, Regions=regions), "Forwarders") == forwarders
    assert instances(organization(region, Regions=regions), "Members") == members


def test_a_region_in_which_the_central_rules_match_everything_has_no_forwarder():
    everywhere = translated(Regions="us-east-1,eu-west-1")
    made = forwarder(everywhere, "Forwarders", CENTRAL, "us-east-1")
    assert [
        resource
        for kind in ("AWS::Events::Rule", "AWS::IAM::Role", "AWS::SQS::Queue")
        for resource in made.resources(kind)
    ] == []
    # An organizational unit can have the central account.
    made = forwarder(organization(), "Members", CENTRAL, "us-east-1")
    assert made.resources("AWS::Events::Rule") == made.resources("AWS::IAM::Role") == {}


def test_one_account_and_region_has_no_bus_no_stackset_and_no_access_to_other_accounts():
    alone = translated()
    for kind in ("AWS::Events::EventBus", "AWS::CloudFormation::StackSet"):
        assert alone.resources(kind) == {}
    for function in WORKERS:
        assert "sts:AssumeRole" not in json.dumps([s["Action"] for s in statements(alone, function)])
        assert "MEMBER_ROLE" not in alone.environment(function)
    assert alone.environment("SweepFunction")["REGIONS"] == "us-east-1"


def test_a_region_without_domains_has_rules_only_for_iam():
    made = forwarder(organization(Regions="eu-west-1"), "Members", MEMBER, "us-east-1")
    assert {pattern["source"][0] for pattern in patterns(made).values()} == {"aws.iam"}


def test_member_roles_are_made_once_an_account():
    everywhere = organization(Regions="us-east-1,eu-west-1")
    assert set(member_roles(everywhere)) == MEMBER_ROLES
    away = forwarder(everywhere, "Members", MEMBER, "eu-west-1").resources("AWS::IAM::Role")
    assert set(away) == {"ForwardRole"}


def member_roles(template):
    made = forwarder(template, "Members", MEMBER, "us-east-1").resources("AWS::IAM::Role").values()
    return {role["RoleName"]: role for role in made if role["RoleName"] in MEMBER_ROLES}


@pytest.mark.parametrize("function", WORKERS)
def test_a_member_role_belongs_to_one_function_that_assumes_no_other(function):
    template = organization()
    name = f"rolewarden-{function.removesuffix('Function').lower()}"
    [trust] = member_roles(template)[name]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": f"arn:aws:iam::{CENTRAL}:role/rolewarden/{function}Role"}
    assert template.environment(function)["MEMBER_ROLE"] == name
    documents = {
        "all": {
            "Version": "2012-10-17",
            "Statement": [s for s in statements(template, function) if s["Action"] == "sts:AssumeRole"],
        }
    }

    def may_enter(role, of=ORGANIZATION):
        return judge(
            documents, "sts:AssumeRole", f"arn:aws:iam::{MEMBER}:role/{role}", {"aws:ResourceOrgID": of}
        ).allowed

    assert may_enter(f"rolewarden/{name}")
    assert not may_enter(f"rolewarden/{name}", "o-somebodys1")
    others = [f"rolewarden/{other}" for other in MEMBER_ROLES - {name}]
    assert not any(map(may_enter, [*others, name, "Admin"]))


def in_account(statement, account):
    """The expected statement of a member role for one of the central account."""
    return json.loads(json.dumps(statement).replace(CENTRAL, account))


@pytest.mark.parametrize("function", WORKERS)
def test_a_member_role_has_the_permissions_and_conditions_of_its_function_in_the_central_account(function):
    template = organization(Regions="us-east-1,eu-west-1")
    name = f"rolewarden-{function.removesuffix('Function').lower()}"
    [policy] = member_roles(template)[name]["Policies"]
    theirs = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    ours = {
        s["Sid"]: in_account(s, MEMBER)
        for s in statements(template, function)
        if all(
            action.split(":")[0] in {"iam", "sagemaker", "tag", "cloudtrail", "ec2"}
            for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
        )
    }
    looks = ("ReadForwarders", "CountUndeliveredEvents", "CountFailedInvocations")
    ours |= {s["Sid"]: in_account(s, MEMBER) for s in statements(template, function) if s.get("Sid") in looks}
    if function == "SweepFunction":
        # Each role simulates itself.
        ours["TestPrevention"]["Resource"] = f"arn:aws:iam::{MEMBER}:role/rolewarden/{name}"
    if function == "PublishFunction":
        del ours["ReadEventHistory"]  # It looks for the deployer of the central stack.
    itself = theirs.pop("NeverOnItself", {}).get("Resource", [])
    assert bool(ours.pop("NeverOnItself", None)) is bool(itself)
    assert set(itself) == (
        {f"arn:aws:iam::{MEMBER}:role/rolewarden/{role}" for role in MEMBER_ROLES} if itself else set()
    )
    assert theirs == ours


def bus_policy():
    [policy] = organization().resources("AWS::Events::EventBusPolicy").values()
    statement = dict(policy["Statement"])
    assert statement.pop("Principal") == "*"
    return {"bus": {"Version": "2012-10-17", "Statement": [statement]}}


@pytest.mark.parametrize(
    ("context", "let_in"),
    [
        ({}, True),
        ({"events:source": "aws.sagemaker"}, True),
        ({"events:source": "aws.events"}, True),
        ({"events:source": "aws.cloudtrail"}, True),
        ({"events:source": "aws.ec2"}, False),
        ({"events:source": "rolewarden"}, False),
        ({"aws:PrincipalOrgID": "o-somebodys1"}, False),
        ({"aws:PrincipalOrgID": ""}, False),
        ({"aws:PrincipalArn": f"arn:aws:iam::{MEMBER}:role/Admin"}, False),
    ],
)  # fmt: skip
def test_the_central_event_bus_accepts_only_six_sources_from_forwarders_of_the_organization(context, let_in):
    usual = {
        "events:source": "aws.iam",
        "aws:PrincipalOrgID": ORGANIZATION,
        "aws:PrincipalArn": f"arn:aws:iam::{MEMBER}:role/rolewarden/rolewarden-forward-us-east-1",
    }
    keys = {key: value for key, value in {**usual, **context}.items() if value}
    arn = f"arn:aws:events:us-east-1:{CENTRAL}:event-bus/rolewarden-central"
    assert (
        judge(bus_policy(), "events:PutEvents", arn.replace("rolewarden-central", "CentralBus"), keys).allowed is let_in
    )
    assert not judge(bus_policy(), "events:PutRule", arn.replace("rolewarden-central", "CentralBus"), keys).allowed


def test_events_that_a_forwarder_cannot_deliver_are_in_the_queue_that_sweeps_check():
    made = forwarder(organization(), "Members", MEMBER, "us-east-1")
    [policy] = made.resources("AWS::SQS::QueuePolicy").values()
    statement, _ = policy["PolicyDocument"]["Statement"]
    for rule in made.resources("AWS::Events::Rule").values():
        [target] = rule["Targets"]
        assert target["DeadLetterConfig"]["Arn"] == statement["Resource"]
        assert target["Arn"].startswith(f"arn:aws:events:us-east-1:{CENTRAL}:event-bus/")
    assert [queue["QueueName"] for queue in made.resources("AWS::SQS::Queue").values()] == [reach.UNDELIVERED]


def test_forwarding_rules_of_the_central_account_use_the_role_of_its_stack_and_others_their_own():
    template = organization(Regions="us-east-1,eu-west-1")
    here = forwarder(template, "Forwarders", CENTRAL, "eu-west-1")
    there = forwarder(template, "Members", MEMBER, "eu-west-1")
    for made, role in (
        (here, f"arn:aws:iam::{CENTRAL}:role/rolewarden/ForwardRole"),
        (there, f"arn:aws:iam::{MEMBER}:role/rolewarden/ForwardRole"),
    ):
        targets = [target for rule in made.resources("AWS::Events::Rule").values() for target in rule["Targets"]]
        assert {target["RoleArn"] for target in targets} == {role}
    ours = template.resources("AWS::IAM::Role")["ForwardRole"]
    [theirs] = there.resources("AWS::IAM::Role").values()
    assert ours["Policies"] == theirs["Policies"]
    assert in_account(ours["AssumeRolePolicyDocument"], MEMBER) == theirs["AssumeRolePolicyDocument"]


def test_a_sweep_checks_the_rules_of_the_forwarder():
    made = forwarder(organization(), "Members", MEMBER, "us-east-1").resources("AWS::Events::Rule").values()
    assert {rule["Name"] for rule in made} == set(reach.FORWARDING_RULES.values())


def test_a_forwarders_pattern_is_within_the_limits_of_eventbridge():
    role = f"arn:aws-us-gov:iam::{CENTRAL}:role/rolewarden/{'x' * 64}"
    given = {f"{f.removesuffix('Function')}Role": role for f in WORKERS}
    others = {
        "CentralAccount": CENTRAL,
        "CentralRegion": "us-gov-east-1",
        "CentralBus": "b",
        "Covers": "own-account",
        "Regions": "us-gov-west-1",
    }
    made = Template(ROOT / "forwarder.yaml", region="us-gov-west-1", account=CENTRAL, parameters={**given, **others})
    rules = made.resources("AWS::Events::Rule").values()
    for rule in rules:
        assert len(json.dumps(rule["EventPattern"], separators=(",", ":"))) <= 2048
    assert len(rules) == 4


def test_functions_read_the_named_regions():
    assert translated(Regions="us-east-1,eu-west-1").environment("EnforceFunction")["REGIONS"] == "us-east-1,eu-west-1"
    named = statements(translated(Regions="us-east-1,eu-west-1"), "EnforceFunction")
    [reads] = [statement for statement in named if statement.get("Sid") == "ReadSubjects"]
    assert reads["Condition"] == {"StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]}}


@pytest.mark.parametrize(
    ("given", "of_member"),
    [
        (f"arn:aws:iam::{CENTRAL}:policy/team/limits", f"arn:aws:iam::{MEMBER}:policy/team/limits"),
        ("arn:aws:iam::aws:policy/PowerUserAccess", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ("", None),
    ],
)
def test_every_role_has_the_required_boundary_and_a_member_role_the_one_of_its_account(given, of_member):
    template = organization(RolePermissionsBoundary=given, Regions="us-east-1,eu-west-1")
    assert {role.get("PermissionsBoundary", "") for role in template.resources("AWS::IAM::Role").values()} == {given}
    there = forwarder(template, "Members", MEMBER, "us-east-1").resources("AWS::IAM::Role")
    assert len(there) == len({"CanaryRole", "ForwardRole"}) + len(MEMBER_ROLES)
    assert {role.get("PermissionsBoundary") for role in there.values()} == {of_member}
