"""`rolewarden access` and `explain` in an account of an organization: decisions of service control policies."""

import json

import boto3
import pytest
from rolewarden.guardrails_file import load
from rolewarden.prevention import compile_prevention
from rolewarden.vocabulary import HUB_TAGS, JUMPSTART_TAGS
from rolewarden_cli import access as accesses
from rolewarden_cli import inventory, options
from rolewarden_cli.account import InferenceProfile, OperatorCalls
from rolewarden_cli.connect import Where, connected
from rolewarden_cli.documents import Document, asks_where
from rolewarden_cli.models import models
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.seed import CANVAS_POLICIES

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

pytestmark = pytest.mark.long

NOVA, TITAN = "amazon.nova-pro-v1:0", "amazon.titan-text-express-v1"
FLAN, MISTRAL = "huggingface-text2text-flan-t5-xl", "huggingface-llm-mistral-7b-instruct"
TAGS = (*JUMPSTART_TAGS, *HUB_TAGS)
EVERYTHING = {"Action": ["bedrock:*", "bedrock-mantle:*", "sagemaker:*"], "Resource": "*"}
UNIT = "ou-root-canvas000"
PREVENTION = f"""
guardrails:
  none: {{bedrock: {{deny: all}}}}
assignments:
  - guardrails: []
    accounts: ["{ACCOUNT_ID}"]
    domains: [research]
    principals: ["arn:aws:iam::{ACCOUNT_ID}:role/CanvasRosa"]
  - guardrails: [none]
"""


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


@pytest.fixture(params=[False, True], ids=["a member", "an administrator"])
def reads(request):
    """Whether the account can read the service control policies, as a delegated administrator can."""
    return request.param


@pytest.fixture
def company(world, reads):
    """Make the account a member of an organization."""
    world.aws.organize("o-exampleorg1", {UNIT: {ACCOUNT_ID}}, administrator=ACCOUNT_ID if reads else "222222222222")
    return world


def deny(*statements, target=UNIT, effect="Deny"):
    """Attach a service control policy of these statements."""
    organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
    content = {"Version": "2012-10-17", "Statement": [{"Effect": effect, **each} for each in statements]}
    made = organizations.create_policy(
        Name="denies", Description="", Type="SERVICE_CONTROL_POLICY", Content=json.dumps(content)
    )
    organizations.attach_policy(PolicyId=made["Policy"]["PolicySummary"]["Id"], TargetId=target)


def put(world, role, *statements, name="own"):
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    world.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def cells(*arguments):
    """The decision of `access` by row and model."""
    found = json_answer("access", *arguments)["decisions"]
    return {(entry["user_profile"] or entry["kind"], entry["model"]): entry for entry in found}


def judged(world, wanted, monkeypatch, regions=()):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://in-process")
    with connected(Where(local=True, region=list(regions))) as connection:
        found = inventory.take(connection, world.runtime.rules)
        return accesses.matrix(connection.calls, found, models(connection, wanted))


def test_a_policy_that_denies_other_regions_closes_nothing_in_this_one(company):
    deny({**EVERYTHING, "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}}})
    found = cells("--model", NOVA, "--model", FLAN)
    assert found["rosa", NOVA]["allowed"]
    assert found["rosa", FLAN]["allowed"]


def test_a_model_that_a_policy_denies_is_denied_by_it_and_another_is_allowed(company):
    deny({"Action": "*", "Resource": f"arn:aws:bedrock:*::foundation-model/{NOVA}"},
         {"Action": "bedrock-mantle:*", "Resource": "*"})  # fmt: skip
    found = cells("--model", NOVA, "--model", TITAN)
    keys = ("allowed", "route", "statements", "service_control_policy", "undecided")
    assert {key: found["rosa", NOVA][key] for key in keys} == {
        "allowed": False, "route": "", "statements": [], "service_control_policy": True, "undecided": [],
    }  # fmt: skip
    assert (found["rosa", TITAN]["allowed"], found["rosa", TITAN]["service_control_policy"]) == (True, False)


def test_a_denial_of_prevention_is_told_from_that_of_another_policy(company, reads, tmp_path):
    file = tmp_path / "guardrails.yaml"
    file.write_text(PREVENTION)
    rules = load(file, today=TODAY)
    for policy in compile_prevention(rules, "aws").policies:
        deny(*policy.document["Statement"])
    shown = rolewarden("access", "--guardrails", str(file), "--model", NOVA, "--model", TITAN, "--all").stdout
    assert ("denied by the prevention SCP" in shown) is reads
    [rosa, omar] = (
        json_answer("explain", role, NOVA, "--guardrails", str(file))["routes"] for role in ("CanvasRosa", "CanvasOmar")
    )
    assert {route["prevention"] for route in omar} == {reads}
    assert not any(route["prevention"] for route in rosa)
    text = rolewarden("explain", "CanvasOmar", NOVA, "--guardrails", str(file)).stdout
    assert ("denied by the prevention SCP: denies" in text) is reads
    assert ("denied by a service control policy" in text) is not reads


def test_a_denial_by_missing_permissions_is_not_attributed_to_the_organization(company):
    deny({"Action": "*", "Resource": f"arn:aws:bedrock:*::foundation-model/{NOVA}"})
    for arn in CANVAS_POLICIES:
        company.iam.detach_role_policy(RoleName="CanvasRosa", PolicyArn=arn)
    for policy in company.iam.list_role_policies(RoleName="CanvasRosa")["PolicyNames"]:
        company.iam.delete_role_policy(RoleName="CanvasRosa", PolicyName=policy)
    found = cells("--model", NOVA, "--model", TITAN)
    assert (found["rosa", NOVA]["allowed"], found["rosa", NOVA]["service_control_policy"]) == (False, True)
    assert (found["rosa", TITAN]["allowed"], found["rosa", TITAN]["service_control_policy"]) == (False, False)


def test_a_denial_by_a_boundary_is_not_attributed_to_the_organization(company):
    deny({"Action": "*", "Resource": f"arn:aws:bedrock:*::foundation-model/{NOVA}"})
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    arn = company.iam.create_policy(PolicyName="limit", PolicyDocument=json.dumps(nothing))["Policy"]["Arn"]
    company.iam.put_role_permissions_boundary(RoleName="CanvasRosa", PermissionsBoundary=arn)
    found = cells("--model", NOVA, "--model", TITAN)
    assert (found["rosa", NOVA]["allowed"], found["rosa", NOVA]["service_control_policy"]) == (False, True)
    assert (found["rosa", TITAN]["allowed"], found["rosa", TITAN]["service_control_policy"]) == (False, False)


def test_a_policy_that_allows_too_little_denies_as_well(company):
    organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")
    deny({"Action": ["sagemaker:*", "iam:*", "organizations:*"], "Resource": "*"}, effect="Allow")
    organizations.detach_policy(PolicyId="p-FullAWSAccess", TargetId=UNIT)
    found = cells("--model", NOVA, "--model", FLAN)
    assert found["rosa", NOVA]["service_control_policy"]
    assert found["rosa", FLAN]["allowed"]


def test_roles_that_a_policy_distinguishes_are_evaluated_separately(company):
    by_who = {"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT_ID}:role/*CanvasRosa"}}
    deny({**EVERYTHING, "Condition": by_who})
    found = cells("--model", NOVA)
    assert (found["rosa", NOVA]["allowed"], found["omar", NOVA]["allowed"]) == (True, False)


def test_models_that_a_policy_distinguishes_are_evaluated_separately(company):
    deny(
        *({"Action": "sagemaker:Create*", "Resource": "*", "Condition": {"StringLike": {
            f"aws:RequestTag/{tag}": "*huggingface-llm-mistral-*"}}} for tag in TAGS),
        {"Action": "sagemaker:DeployHubModel", "Resource": "*"},
    )  # fmt: skip
    found = cells("--model", FLAN, "--model", MISTRAL)
    assert found["rosa", FLAN]["allowed"]
    assert (found["rosa", MISTRAL]["allowed"], found["rosa", MISTRAL]["service_control_policy"]) == (False, True)


def test_each_region_is_evaluated_like_a_call_to_it_and_a_profile_needs_all_its_regions(company, monkeypatch):
    def profiles(_calls, region):
        arn = f"arn:aws:bedrock:{region}:{ACCOUNT_ID}:inference-profile/"
        leads_to = {"home": ["us-east-1"], "us": ["us-east-1", "us-west-2"], "global": ["us-east-1", ""]}
        return tuple(
            InferenceProfile(
                f"{name}.{NOVA}",
                f"{arn}{name}",
                tuple(f"arn:aws:bedrock:{to}::foundation-model/{NOVA}" for to in regions),
            )
            for name, regions in leads_to.items()
        )

    monkeypatch.setattr(OperatorCalls, "inference_profiles", profiles)
    put(company, "CanvasRosa", {"Effect": "Allow", "Action": "bedrock-mantle:*", "Resource": "*"})
    deny({**EVERYTHING, "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}}})
    explained = json_answer("explain", "CanvasRosa", NOVA, "--region", "us-east-1", "--region", "eu-west-1")
    routes = {route["route"]: route for route in explained["routes"]}
    allowed = {name for name, route in routes.items() if route["allowed"]}
    by_profile = f"inference profile {{}}.{NOVA} in us-east-1"
    assert {"on demand in us-east-1", by_profile.format("home"), "Mantle in us-east-1"} <= allowed
    assert not any(name.endswith("in eu-west-1") for name in allowed)
    for closed in (by_profile.format("us"), by_profile.format("global"), "on demand in eu-west-1"):
        assert (routes[closed]["allowed"], routes[closed]["service_control_policy"]) == (False, True)


def test_a_condition_on_the_inference_profile_is_judged_by_each_profile(company):
    models_of = {
        "Action": ["bedrock:InvokeModel*", "bedrock:CreateModelInvocationJob"],
        "Resource": "arn:aws:bedrock:*::foundation-model/*",
    }
    deny({**models_of, "Condition": {"Null": {"bedrock:InferenceProfileArn": "true"}}})
    put(company, "CanvasRosa", {**models_of, "Effect": "Deny", "Condition": {
        "ArnLike": {"bedrock:InferenceProfileArn": "arn:aws:bedrock:*:*:inference-profile/us.*"}}})  # fmt: skip
    routes = {route["route"]: route for route in json_answer("explain", "CanvasRosa", NOVA)["routes"]}
    assert routes["on demand"]["service_control_policy"]
    assert routes["on demand"]["undecided"] == []
    assert routes[f"inference profile us.{NOVA}"]["statements"] == ["inline policy own:statement 1"]
    assert routes[f"inference profile eu.{NOVA}"]["allowed"]


def test_the_tags_of_a_role_are_known(company):
    company.iam.tag_role(RoleName="CanvasRosa", Tags=[{"Key": "Team", "Value": "research"}])
    deny({**EVERYTHING, "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalTag/Team": "research"}}})
    deny_untagged = {**EVERYTHING, "Effect": "Deny", "Condition": {"Null": {"aws:PrincipalTag/Team": "true"}}}
    put(company, "CanvasRosa", deny_untagged)
    found = cells("--model", NOVA)
    assert (found["rosa", NOVA]["allowed"], found["omar", NOVA]["allowed"]) == (True, False)


def test_a_decision_that_depends_on_a_key_of_only_a_live_call_says_so(company):
    only_here = {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}
    put(company, "CanvasRosa", {"Sid": "OnlyHere", "Effect": "Deny", **EVERYTHING, "Condition": only_here})
    verdict = cells("--model", NOVA)["rosa", NOVA]
    assert (verdict["allowed"], verdict["undecided"]) == (False, ["aws:SourceVpce"])
    assert cells("--model", NOVA)["omar", NOVA]["undecided"] == []
    page = rolewarden("access", "--model", NOVA).stdout
    assert "a live call's aws:SourceVpce could change it" in " ".join(page.split())


def test_an_allow_that_waits_for_a_key_and_a_deny_that_waits_for_one_are_undecided(world):
    world.aws.organize("o-exampleorg1", {UNIT: {ACCOUNT_ID}})
    here = {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
    put(world, "CanvasRosa", {"Effect": "Deny", **EVERYTHING, "Condition": here})
    verdict = cells("--model", NOVA)["rosa", NOVA]
    assert (verdict["allowed"], verdict["undecided"]) == (True, ["aws:SourceVpce"])
    for arn in CANVAS_POLICIES:
        world.iam.detach_role_policy(RoleName="CanvasOmar", PolicyArn=arn)
    put(world, "CanvasOmar", {"Effect": "Allow", **EVERYTHING, "Condition": here})
    explained = json_answer("explain", "CanvasOmar", NOVA)
    assert (explained["allowed"], explained["undecided"]) == (False, ["aws:SourceVpce"])


def test_a_key_of_a_statement_about_something_else_is_not_missed(company):
    put(company, "CanvasRosa", {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {
        "StringEquals": {"aws:SourceVpce": "vpce-1"}}}, {"Effect": "Deny", "Action": "bedrock:*",
        "Resource": "arn:aws:bedrock:*:*:agent/*", "Condition": {"StringEquals": {"aws:SourceVpce": "x"}}})  # fmt: skip
    assert cells("--model", NOVA)["rosa", NOVA]["undecided"] == []


def test_the_pages_of_access_and_explain_name_the_policy_as_a_decision_of_its_own(company, reads):
    deny(EVERYTHING)
    page = rolewarden("access", "--model", NOVA, "--model", FLAN).stdout
    assert "denied by a service control policy" in page
    assert "not allowed by any statement" not in page
    assert max(map(len, page.splitlines())) <= 80
    page = rolewarden("explain", "CanvasRosa", NOVA).stdout
    assert "service control policy" in page
    assert ("denies" in page) is reads
    assert max(map(len, page.splitlines())) <= 80
    groups = rolewarden("access", "--model", "amazon.*").stdout
    assert "denied by a service control policy" in groups


def test_unreadable_policies_are_reported_once(company, reads):
    deny({**EVERYTHING, "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}}})
    unread = json_answer("access", "--model", NOVA)["unread"]
    assert [line for line in unread if "service control policies" in line] == unread[: 0 if reads else 1]


def test_rolewardens_own_guardrails_leave_no_decision_open(world_with):
    everything = "{bedrock: {deny: all}, jumpstart: {deny: all}}"
    listed = "{bedrock: {allow: ['amazon.nova-*']}, jumpstart: {allow: ['huggingface-*']}}"
    world = world_with(
        f"guardrails: {{all: {everything}, some: {listed}}}\n"
        "assignments: [{domains: [research], guardrails: [some]}, {guardrails: [all]}]\n"
    )
    world.protected()
    found = cells("--model", NOVA, "--model", TITAN, "--model", FLAN)
    assert {tuple(verdict["undecided"]) for verdict in found.values()} == {()}
    assert {verdict["allowed"] for verdict in found.values()} == {True, False}


def test_without_an_organization_the_command_makes_no_additional_calls_and_prints_nothing_about_it(world, monkeypatch):
    outside = judged(world, (NOVA, FLAN), monkeypatch)
    assert outside.simulations < 4 * len(outside.decisions)
    assert outside.unread == ()
    world.aws.organize("o-exampleorg1", {UNIT: {ACCOUNT_ID}}, administrator=ACCOUNT_ID)
    assert judged(world, (NOVA, FLAN), monkeypatch).simulations == outside.simulations


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "athena:ListDatabases", "Resource": "*"}, False),
        ({"Action": ["s3:Get*", "q:*"], "Resource": "*"}, False),
        ({"Action": "Bedrock:InvokeModel", "Resource": "*"}, True),
        ({"Action": ["s3:Get*", "sagemaker:*"], "Resource": "*"}, True),
        ({"Action": "*", "Resource": "*"}, True),
        ({"Action": "*:*", "Resource": "*"}, True),
        ({"NotAction": "s3:*", "Resource": "*"}, True),
    ],
)
def test_only_statements_about_models_make_the_place_of_a_model_matter(statement, expected):
    condition = {"StringEquals": {"aws:ResourceAccount": "111122223333"}}
    text = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", **statement, "Condition": condition}]})
    assert asks_where(Document("a", "", text)) is expected
    assert not asks_where(Document("a", "", text.replace("ResourceAccount", "SourceVpce")))
