"""The test of service control policies that are in effect: by simulation, by their texts, and in a sweep."""

import json

import boto3
import pytest
from rolewarden import reach
from rolewarden.aws import Aws
from rolewarden.guardrails_file import load
from rolewarden.in_force import OrganizationSimulator, PreventionProbe, denied_requests, equal_texts, is_of_prevention
from rolewarden.prevention import Scope, compile_prevention
from rolewarden.verdicts import Reason
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated.judge import judge
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.seed import TRUST

from tests.clinic import Clinic
from tests.commands import json_answer
from tests.conftest import TODAY
from tests.guardrails.prevention import organization, shipped
from tests.world import OWN_ROLE

MEMBER, CENTRAL, OUTSIDE = "222222222222", "111122223333", "999999999999"
UNIT = "ou-root-canvas000"
ROLE = "rolewarden-sweep"
ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
RULES = """
guardrails:
  none: {bedrock: {deny: all}, jumpstart: {deny: all}}
  nova: {bedrock: {allow: [amazon.nova-*]}, jumpstart: {deny: all}}
assignments:
  - guardrails: [nova]
    accounts: ["222222222222", "OWN"]
    domains: [research]
    principals: ["arn:aws:iam::222222222222:role/canvas/*", "arn:aws:iam::OWN:role/canvas/*"]
  - guardrails: [none]
""".replace("OWN", ACCOUNT_ID)


@pytest.fixture
def rules(tmp_path):
    return load(file(tmp_path), today=TODAY)


def file(folder, text=RULES):
    path = folder / "guardrails.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def company(aws):
    aws.reset()
    aws.organize("o-exampleorg1", {UNIT: {MEMBER}}, administrator=CENTRAL)
    return aws


def client(service, account):
    return boto3.client(service, "us-east-1", aws_access_key_id=account, aws_secret_access_key="-")


def attach(*documents):
    """Attach SCPs to the unit. Return their IDs."""
    organizations, found = client("organizations", MANAGEMENT), []
    for document in documents:
        number = len(organizations.list_policies(Filter="SERVICE_CONTROL_POLICY")["Policies"])
        text = json.dumps(document)
        made = organizations.create_policy(
            Name=f"scp-{number}", Description="", Type="SERVICE_CONTROL_POLICY", Content=text
        )
        found.append(made["Policy"]["PolicySummary"]["Id"])
        organizations.attach_policy(PolicyId=found[-1], TargetId=UNIT)
    return found


def detach(policy):
    client("organizations", MANAGEMENT).detach_policy(PolicyId=policy, TargetId=UNIT)


def documents(rules, scope=Scope.ACCOUNT):
    return [policy.document for policy in compile_prevention(rules, "aws", scope).policies]


def own_role(account, *resources):
    """A session of Rolewarden's role in an account, which may simulate these roles."""
    iam, trust = client("iam", account), json.loads(TRUST)
    trust["Statement"].append({**trust["Statement"][0], "Principal": {"AWS": f"arn:aws:iam::{account}:root"}})
    role = iam.create_role(RoleName=ROLE, Path="/rolewarden/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    if resources:
        right = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": list(resources)}
        text = json.dumps({"Version": "2012-10-17", "Statement": [right]})
        iam.put_role_policy(RoleName=ROLE, PolicyName="Sweep", PolicyDocument=text)
    given = client("sts", account).assume_role(RoleArn=role["Arn"], RoleSessionName="rolewarden")["Credentials"]
    keys = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
    return Aws(boto3.Session(*keys, region_name="us-east-1"))


def probed(aws, rules, account, beyond=""):
    return list(PreventionProbe(OrganizationSimulator(aws), rules, "aws", "us-east-1", beyond).probes(account))


def arn(account, name=ROLE):
    return f"arn:aws:iam::{account}:role/rolewarden/{name}"


@pytest.mark.parametrize(("made", "number"), [(shipped, (20, 20)), (organization, (42, 12))])
def test_each_statement_of_the_examples_has_a_request_that_it_denies_to_an_unknown_caller(made, number):
    statements = {
        one["Sid"]: one for document in documents(made()) for one in document["Statement"] if "After" not in one["Sid"]
    }
    requests = denied_requests(made(), "aws", "us-east-1")
    assert requests.keys() == statements.keys()
    caller = {"aws:PrincipalArn": arn(MEMBER), "aws:CurrentTime": "2026-12-31T12:00:00Z"}
    sole = 0
    for sid, request in requests.items():
        decisions = {
            other: judge(
                {"all": ALLOW_ALL, "scp": {"Version": "2012-10-17", "Statement": [one]}},
                request.action,
                request.resource,
                {**request.context, **caller},
            ).decision
            for other, one in statements.items()
        }
        assert decisions[sid] == "explicitDeny", (sid, request)
        sole += list(decisions.values()).count("explicitDeny") == 1
    # Only these statements show if one of them is missing. docs/explanation/prevention.md has the figures.
    assert (len(requests), sole) == number


@pytest.mark.parametrize("scope", list(Scope))
def test_policies_in_effect_are_proven_with_the_right_to_simulate_the_own_role_only(company, rules, scope):
    aws = own_role(MEMBER, arn(MEMBER))
    attached = attach(*documents(rules, scope))
    number = len(denied_requests(rules, "aws", "us-east-1"))
    with company.authorizing():
        [probe] = probed(aws, rules, MEMBER)
        assert (probe.what, probe.message) == (reach.PREVENTION, "")
        assert probe.in_order == f"in effect for {number} requests, text not read"
        detach(attached[0])
        [probe] = probed(aws, rules, MEMBER)
    assert probe.reason == Reason.NOT_PREVENTED
    assert f" of {number} requests that guardrails.yaml denies" in probe.message
    assert probe.as_dict()["recommendation"].startswith("print the service control policies")


def test_a_statement_that_is_missing_alone_shows_if_no_other_one_denies_its_request(company, rules):
    aws = own_role(MEMBER, arn(MEMBER))
    [document] = documents(rules)
    short = {**document, "Statement": [one for one in document["Statement"] if one["Sid"] != "JumpStartHub"]}
    attach(short)
    [probe] = probed(aws, rules, MEMBER)
    number = len(denied_requests(rules, "aws", "us-east-1"))
    assert probe.message == (
        f"no SCP denies 1 of {number} requests that guardrails.yaml denies, for example those of the statements "
        "JumpStartHub"
    )


def test_a_role_without_the_right_says_that_it_could_not_test(company, rules):
    aws = own_role(MEMBER, arn(MEMBER, "other"))
    attach(*documents(rules))
    with company.authorizing():
        [probe] = probed(aws, rules, MEMBER)
    assert probe.message.startswith("the SCPs could not be tested: SimulatePrincipalPolicy: AccessDenied")
    assert probe.reason == Reason.ACCESS_DENIED


def test_accounts_that_no_policy_restricts_are_named(company, rules):
    attach(*documents(rules))
    [management] = probed(own_role(MANAGEMENT, arn(MANAGEMENT)), rules, MANAGEMENT, beyond=MANAGEMENT)
    assert management.is_warning
    assert "no SCP restricts the management account" in management.message
    [outside] = probed(own_role(OUTSIDE, arn(OUTSIDE)), rules, OUTSIDE)
    assert (outside.message, outside.is_warning) == (
        "the account is in no organization, so no SCP restricts it",
        False,
    )


def test_a_file_without_principals_is_not_tested(company):
    del company
    assert probed(None, shipped(), MEMBER) == []


@pytest.mark.parametrize("scope", list(Scope))
def test_texts_are_equal_in_either_scope_and_however_they_are_divided(rules, scope):
    [document] = documents(rules, scope)
    statements = document["Statement"]
    halves = [{**document, "Statement": half} for half in (statements[3:][::-1], statements[:3])]
    other = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}
    assert equal_texts(rules, "aws", [other, *halves])
    assert not equal_texts(rules, "aws", halves[:1])
    assert [is_of_prevention(rules, "aws", one) for one in (*halves, other)] == [True, True, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["Condition"]["ArnNotLike"].update({"aws:PrincipalArn": "arn:aws:iam::*:role/*"}),
        lambda one: one.update(Resource="arn:aws:s3:::x"),
        lambda one: one.update(Effect="Allow"),
        lambda one: one.update(Action=["bedrock:Rerank"]),
        lambda one: one["Condition"].update({"Bool": {"aws:ViaAWSService": "true"}}),
    ],
)
def test_a_text_that_differs_in_any_element_is_not_equal(rules, change):
    [document] = documents(rules)
    copy = json.loads(json.dumps(document))
    one = next(one for one in copy["Statement"] if "ArnNotLike" in one.get("Condition", {}))
    change(one)
    assert not equal_texts(rules, "aws", [copy])
    assert not is_of_prevention(rules, "aws", copy)


def test_a_sweep_reports_policies_that_are_not_in_effect_and_a_later_one_resolves_it(world, tmp_path):
    world = world.under(file(tmp_path))
    world.aws.organize("o-exampleorg2", {UNIT: {ACCOUNT_ID}})
    world.iam.create_role(RoleName=OWN_ROLE, Path="/rolewarden/", AssumeRolePolicyDocument=TRUST)

    def findings():
        reported = world.reported.of_account(ACCOUNT_ID)
        return [finding.name for finding in reported if finding.kind == "prevention"]

    world.sweep()
    assert findings() == ["account/prevention"]
    attach(*documents(world.runtime.rules))
    world.sweep()
    assert findings() == []


def test_a_sweep_resolves_the_finding_if_the_file_names_no_principals_any_more(world, tmp_path):
    world = world.under(file(tmp_path))
    world.sweep()
    kinds = [finding.kind for finding in world.reported.of_account(ACCOUNT_ID)]
    assert kinds.count("prevention") == 1
    world = world.under(file(tmp_path, RULES.replace("    principals", "    # principals")))
    world.sweep()
    assert [f for f in world.reported.of_account(ACCOUNT_ID) if f.kind == "prevention"] == []


@pytest.mark.parametrize("reads", [True, False], ids=["an administrator", "a member"])
def test_doctor_says_what_is_in_effect_and_whether_the_texts_are_equal(world, tmp_path, monkeypatch, reads):
    world = world.under(file(tmp_path))
    clinic = Clinic(world, monkeypatch)
    # A new organization has no policies and no administrators of an earlier one.
    world.aws.organize(f"o-reads{reads:d}", {UNIT: {ACCOUNT_ID}}, administrator=ACCOUNT_ID if reads else MEMBER)
    world.iam.create_role(RoleName=OWN_ROLE, Path="/rolewarden/", AssumeRolePolicyDocument=TRUST)
    number = len(denied_requests(world.runtime.rules, "aws", "us-east-1"))

    def lines(exit_code):
        checks = json_answer("doctor", *clinic.options, exit_code=exit_code)["checks"]
        assert all(check["recommendation"] for check in checks if check["level"] != "ok")
        return [(check["level"], check["message"]) for check in checks if check["what"] == "prevention"]

    unread = ("warn", "the texts of the SCPs could not be read, so only the simulation counts")
    simulated, texts = lines(2)
    assert simulated[0] == "fail"
    assert texts == (("fail", "the SCPs lack statements that the local file compiles to") if reads else unread)
    attach(*documents(world.runtime.rules))
    equal = ("ok", "the SCPs equal those of the local file")
    assert lines(0) == [("ok", f"in effect for {number} requests, text not read"), equal if reads else unread]


def test_doctor_has_no_line_about_prevention_without_principals(world, monkeypatch):
    checks = json_answer("doctor", *Clinic(world, monkeypatch).options)["checks"]
    assert "prevention" not in {check["what"] for check in checks}
