"""Two accounts and three regions with one `sam deploy`: the central account remediates roles in all of them.

The central stack is in eu-west-1. IAM has its events only in us-east-1. Domains are in eu-west-1 and
ap-south-1.
"""

import json
from functools import partial

import boto3
import pytest
from botocore.exceptions import ClientError
from rolewarden.aws import Aws
from rolewarden.bindings import BindingsTable
from rolewarden.progress import Progress
from rolewarden_cli.main import app
from rolewarden_local.aws import LocalAws
from rolewarden_local.emulated._ministack import eventbridge, responses
from rolewarden_local.emulated.organization import MANAGEMENT
from rolewarden_local.scenes.account import waited
from rolewarden_local.scenes.deploy import deploy
from rolewarden_local.scenes.seed import TRUST, log, seed
from typer.testing import CliRunner

from tests import callers
from tests.callers import user_with
from tests.conftest import ROOT, sample
from tests.deployments import account_findings, alarms, commands, recipe, run
from tests.inbox import subscribed

pytestmark = pytest.mark.deployed

CENTRAL, MEMBER, LATER = "111122223333", "222233334444", "333344445555"
HERE, THERE, HOME = "eu-west-1", "ap-south-1", "us-east-1"
UNITS = {"ou-root-security0": {CENTRAL}, "ou-root-canvas000": {MEMBER}}
PARAMETERS = {**recipe("An organization"), "RecheckSeconds": "0"}


def client(service, account=CENTRAL, region=HERE):
    return callers.client(service, account, region)


def has_attached(account, role, guardrail="no-generative-ai"):
    listed = client("iam", account).list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return f"arn:aws:iam::{account}:policy/rolewarden/{guardrail}" in {policy["PolicyArn"] for policy in listed}


def domain(account, region, role):
    """Make a domain with its own role, and return the domain's ID."""
    arn = client("iam", account).create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    made = client("sagemaker", account, region).create_domain(
        DomainName=role.lower(), AuthMode="IAM", DefaultUserSettings={"ExecutionRole": arn}
    )
    return made["DomainId"]


class Company:
    """The organization, with Rolewarden deployed."""

    def __init__(self, aws, outputs):
        self.aws = aws
        self.outputs = outputs
        self.own = Aws(boto3.Session(CENTRAL, "x", region_name=HERE))
        self.bindings = BindingsTable(self.own, outputs["BindingsTable"], lambda _: True)
        self.progress = Progress(self.own, outputs["BindingsTable"])

    def history(self, account, about):
        return self.own.query(self.outputs["HistoryTable"], {"about": f"{account}/{about}".lower()})

    def sweeps_completed(self, account):
        return sum("completed" in sweep for sweep in self.progress.sweeps(account))

    def all_swept(self, account):
        return self.sweeps_completed(account) == len(self.progress.sweeps(account))

    def swept(self, account, times=1):
        waited(lambda: self.sweeps_completed(account) >= times, f"{times} sweeps of {account}")

    def worked_off(self):
        """Wait until each started sweep and its work have completed."""
        for account in (CENTRAL, MEMBER):
            waited(partial(self.all_swept, account), f"the sweeps of {account}")
        url = self.outputs["WorkQueue"]

        def left():
            counts = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return sum(int(count) for name, count in counts.items() if name.startswith("ApproximateNumberOfMessages"))

        waited(lambda: left() == 0, "the work of the sweeps")

    def ask(self):
        """Request a sweep of everything."""
        self.own.put_events([("Sweep Requested", {"by": "a test"})])

    def calls_of(self, function, since):
        return [
            call for call in self.aws.calls(since) if f"/{function}/" in call.caller or f"-{function}" in call.caller
        ]


@pytest.fixture(scope="module")
def company(build):
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url, aws.authorizing():
        seed(aws, HERE)
        aws.organize("o-exampleorg1", UNITS)
        for command in commands("An organization"):
            run(command, partial(client, account=MANAGEMENT))
        domain(MEMBER, THERE, "MemberCanvas")
        log(client("cloudtrail", MEMBER))
        outputs = deploy(ROOT, url, region=HERE, built=build, parameters=PARAMETERS, say=lambda _: None)
        made = Company(aws, outputs)
        made.swept(CENTRAL)
        made.swept(MEMBER)
        made.worked_off()
        yield made
        aws.reset()


def test_the_first_sweep_protects_the_roles_of_each_account_and_region(company):
    waited(lambda: has_attached(CENTRAL, "CanvasAnalytics"), "the central account's own role")
    waited(lambda: has_attached(MEMBER, "MemberCanvas"), "a role of the member, by a domain of another region")


def test_a_first_deployment_raises_no_alarm_and_no_finding_about_an_account(company):
    assert alarms(client("cloudwatch")) <= {"UnenforceableAlarm"}  # the central account has a full role
    for account in (CENTRAL, MEMBER):
        assert account_findings(company.own, company.outputs, account) == []


def test_iam_events_of_the_central_account_come_from_the_home_region(company):
    waited(lambda: has_attached(CENTRAL, "CanvasOmar"), "the first sweep")
    policy = f"arn:aws:iam::{CENTRAL}:policy/rolewarden/no-generative-ai"
    client("iam").detach_role_policy(RoleName="CanvasOmar", PolicyArn=policy)
    waited(lambda: has_attached(CENTRAL, "CanvasOmar"), "CanvasOmar has it again")
    waited(
        lambda: any(row["cause"]["event_name"] == "DetachRolePolicy" for row in company.history(CENTRAL, "CanvasOmar")),
        "by the event",
    )


def test_the_event_of_a_new_domain_in_another_region_protects_its_role(company):
    domain(CENTRAL, THERE, "CanvasFarAway")
    waited(lambda: has_attached(CENTRAL, "CanvasFarAway"), "CanvasFarAway")
    waited(
        lambda: any(row["cause"]["event_name"] == "CreateDomain" for row in company.history(CENTRAL, "CanvasFarAway")),
        "by the event",
    )


def test_a_role_that_an_attacker_in_the_member_account_names_like_an_exempt_role_is_protected(company):
    """The attacker has only iam:CreateRole. The owner of a domain then uses the role."""
    attacker = user_with(client("iam", MEMBER), "namer", "iam:CreateRole").client("iam")
    arn = attacker.create_role(RoleName="CanvasBreakGlass", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    assert arn.split(":")[4] == MEMBER
    studio = client("sagemaker", MEMBER, THERE)
    studio.create_domain(DomainName="free", AuthMode="IAM", DefaultUserSettings={"ExecutionRole": arn})
    waited(lambda: has_attached(MEMBER, "CanvasBreakGlass"), "the role of the same name")
    assert not has_attached(CENTRAL, "CanvasBreakGlass")


def test_a_role_in_the_member_account_is_remediated_through_the_member_role(company):
    waited(lambda: has_attached(MEMBER, "MemberCanvas"), "the first sweep")
    policy = f"arn:aws:iam::{MEMBER}:policy/rolewarden/no-generative-ai"
    client("iam", MEMBER).detach_role_policy(RoleName="MemberCanvas", PolicyArn=policy)
    waited(lambda: has_attached(MEMBER, "MemberCanvas"), "MemberCanvas has it again")
    attached = [
        e for e in company.aws.events if e["account"] == MEMBER and e["detail"]["eventName"] == "AttachRolePolicy"
    ]
    issuers = {e["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] for e in attached}
    assert issuers
    assert issuers <= {f"arn:aws:iam::{MEMBER}:role/rolewarden/rolewarden-{f}" for f in ("enforce", "reconcile")}
    waited(
        lambda: any(r["cause"]["event_name"] == "DetachRolePolicy" for r in company.history(MEMBER, "MemberCanvas")),
        "by the event",
    )


def test_an_edited_guardrail_of_the_member_account_is_restored(company):
    policy = f"arn:aws:iam::{MEMBER}:policy/rolewarden/no-generative-ai"
    edited = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"}]}
    iam = client("iam", MEMBER)
    made = iam.create_policy_version(PolicyArn=policy, PolicyDocument=json.dumps(edited), SetAsDefault=True)
    hollow_version = made["PolicyVersion"]["VersionId"]
    waited(
        lambda: iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"] != hollow_version,
        "another version is in force",
    )
    waited(lambda: bool(company.history(MEMBER, "policy/no-generative-ai")), "the record of it")


def test_an_account_that_joins_is_swept_and_one_that_leaves_is_unbound(company):
    before = company.sweeps_completed(CENTRAL)
    domain(LATER, HERE, "LaterCanvas")
    company.aws.organize("o-exampleorg1", {**UNITS, "ou-root-canvas000": {MEMBER, LATER}})
    company.ask()
    waited(lambda: has_attached(LATER, "LaterCanvas"), "the role of the new account")
    assert company.history(LATER, "policy/no-generative-ai") == []
    company.aws.organize("o-exampleorg1", UNITS)
    company.ask()
    waited(lambda: LATER not in company.progress.member_accounts(), "the account is dropped")
    assert company.bindings.of_account(LATER) == ()
    company.swept(CENTRAL, before + 2)


def forge(company, account, role):
    """Put a forged event on the central event bus."""
    detail = {
        "eventSource": "iam.amazonaws.com",
        "eventName": "DetachRolePolicy",
        "eventID": "forged",
        "eventTime": "2027-01-15T00:00:00Z",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::999988887777:user/mallory"},
        "requestParameters": {
            "roleName": role,
            "policyArn": f"arn:aws:iam::{account}:policy/rolewarden/no-generative-ai",
        },
    }
    entry = {"Source": "aws.iam", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(detail)}
    with responses.request_scope(account, HOME):
        record = {**entry, "EventId": "forged", "EventBusName": "rolewarden-central", "Time": 1, "Resources": []}
        event = {**record, "Account": account, "Region": HOME}
    with responses.request_scope(CENTRAL, HERE):
        eventbridge._dispatch_event(event)


def test_a_forged_event_of_the_member_account_only_triggers_an_evaluation(company):
    company.worked_off()
    client("iam", MEMBER).create_role(RoleName="Innocent", AssumeRolePolicyDocument=TRUST)
    mark = company.aws.mark()
    forge(company, MEMBER, "MemberCanvas")
    forge(company, MEMBER, "Innocent")

    def looked():
        calls = [call for call in company.aws.calls(mark) if call.account == MEMBER]
        return [call for call in calls if call.operation == "ListAttachedRolePolicies"]

    waited(lambda: bool([call for call in looked() if "rolewarden" in call.caller]), "a look at MemberCanvas")
    changing = ("Attach", "Detach", "Put", "Create", "Delete")
    done = [c for c in company.aws.calls(mark) if c.service == "iam" and c.operation.startswith(changing)]
    assert done == []
    assert not has_attached(MEMBER, "Innocent")


DEPLOYER = f"arn:aws:iam::{CENTRAL}:role/deploy-rolewarden"


@pytest.fixture
def protected(company):
    """The service control policy that `rolewarden scp` prints is attached to both units. It exempts a deployer."""
    company.worked_off()
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam = client("iam", CENTRAL)
    iam.create_role(RoleName="deploy-rolewarden", AssumeRolePolicyDocument=TRUST)
    iam.put_role_policy(RoleName="deploy-rolewarden", PolicyName="all", PolicyDocument=json.dumps(everything))
    printed = CliRunner().invoke(app, ["scp", "--region", HERE, "--deployer", DEPLOYER])
    assert printed.exit_code == 0, printed.output
    organizations = client("organizations", MANAGEMENT)
    policy = organizations.create_policy(
        Name="rolewarden", Description="", Type="SERVICE_CONTROL_POLICY", Content=printed.stdout
    )["Policy"]["PolicySummary"]["Id"]
    for unit in UNITS:
        organizations.attach_policy(PolicyId=policy, TargetId=unit)
    yield
    for unit in UNITS:
        organizations.detach_policy(PolicyId=policy, TargetId=unit)
    organizations.delete_policy(PolicyId=policy)
    iam.delete_role_policy(RoleName="deploy-rolewarden", PolicyName="all")
    iam.delete_role(RoleName="deploy-rolewarden")


@pytest.mark.usefixtures("protected")
def test_under_its_service_control_policy_the_stack_works_and_no_administrator_undoes_it(company):
    for account, role in ((CENTRAL, "CanvasAnalytics"), (MEMBER, "MemberCanvas")):
        policy = f"arn:aws:iam::{account}:policy/rolewarden/no-generative-ai"
        with pytest.raises(ClientError, match="with an explicit deny in a service control policy"):
            client("iam", account).detach_role_policy(RoleName=role, PolicyArn=policy)
    before = {account: company.sweeps_completed(account) for account in (CENTRAL, MEMBER)}
    domain(MEMBER, THERE, "MemberUnderPolicy")
    domain(CENTRAL, HERE, "CanvasUnderPolicy")
    waited(lambda: has_attached(MEMBER, "MemberUnderPolicy"), "a role of the member")
    waited(lambda: has_attached(CENTRAL, "CanvasUnderPolicy"), "a role of the central account")
    company.ask()
    for account, times in before.items():
        company.swept(account, times + 1)
        assert account_findings(company.own, company.outputs, account) == []
    assert [check["message"] for check in doctor() if check["level"] == "fail"] == []


def detached_by_a_deployer(account):
    """Let an administrator of an account trust everybody with the deployer's role, assume it and detach a guardrail."""
    anybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
    client("iam", account).update_assume_role_policy(RoleName="deploy-rolewarden", PolicyDocument=trust)
    given = client("sts", account).assume_role(RoleArn=DEPLOYER, RoleSessionName="mallory")["Credentials"]
    deployer = boto3.client("iam", aws_access_key_id=given["AccessKeyId"], aws_session_token=given["SessionToken"],
                            aws_secret_access_key=given["SecretAccessKey"])  # fmt: skip
    policy = f"arn:aws:iam::{account}:policy/rolewarden/no-generative-ai"
    deployer.detach_role_policy(RoleName="CanvasAnalytics", PolicyArn=policy)


@pytest.mark.usefixtures("protected")
def test_under_its_service_control_policy_no_administrator_becomes_the_deployer_to_detach_a_guardrail(company):
    with pytest.raises(ClientError, match=r"iam:UpdateAssumeRolePolicy .* explicit deny in a service control policy"):
        detached_by_a_deployer(CENTRAL)
    with pytest.raises(ClientError, match=r"iam:DeleteRole .* explicit deny in a service control policy"):
        client("iam", CENTRAL).delete_role(RoleName="deploy-rolewarden")
    assert has_attached(CENTRAL, "CanvasAnalytics")


@pytest.fixture(scope="module")
def inbox(company):
    return subscribed(client, company.outputs["AlarmTopic"])


def test_a_change_of_a_member_role_sends_an_alert_in_the_central_account(company, inbox):
    client("iam", MEMBER).put_role_policy(
        RoleName="rolewarden-detach",
        PolicyName="More",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
        ),
    )
    text = inbox("called PutRolePolicy on role rolewarden-detach")
    assert f"Account    {MEMBER}, {HOME}" in text
    client("iam", MEMBER).delete_role_policy(RoleName="rolewarden-detach", PolicyName="More")


def happens(account, region, event):
    """Deliver CloudTrail's event in that account. The local AWS itself makes only events of IAM and SageMaker."""
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
    with responses.request_scope(account, region):
        record = {**entry, "EventId": event["id"], "EventBusName": "default", "Time": 1, "Resources": []}
        eventbridge._dispatch_event({**record, "Account": account, "Region": region})


def test_disabling_a_rule_of_a_forwarder_sends_an_alert_in_the_central_account(company, inbox):
    for account, rule in ((MEMBER, "rolewarden-forward-subjects"), (CENTRAL, "rolewarden-forward-policies")):
        event = sample("member_disable_rule")
        event["detail"] |= {"requestParameters": {"name": rule}, "awsRegion": THERE}
        happens(account, THERE, event)
        assert f"Account    {account}, {THERE}" in inbox(f"called DisableRule on {rule}")


def test_accounts_outside_of_the_organization_cannot_put_events_on_the_bus(company):
    refused = client("events", "999988887777").put_events(
        Entries=[
            {
                "Source": "aws.iam",
                "DetailType": "AWS API Call via CloudTrail",
                "Detail": "{}",
                "EventBusName": f"arn:aws:events:{HERE}:{CENTRAL}:event-bus/rolewarden-central",
            }
        ]
    )
    assert refused["FailedEntryCount"] == 1


def doctor():
    """The checks of `rolewarden doctor`, without alarms: an unprotected role is in ALARM, and nobody subscribed."""
    ran = CliRunner().invoke(app, ["doctor", "--region", HERE, "--json"])
    assert ran.stdout, ran.output
    return [check for check in json.loads(ran.stdout)["checks"] if check["what"] not in {"subscriptions", "alarms"}]


def test_doctor_has_a_line_for_each_link_and_a_recommended_action_for_missing_ones(company):
    found = doctor()
    assert [check["message"] for check in found if check["level"] == "fail"] == []
    assert {(MEMBER, THERE), (CENTRAL, HOME)} <= {
        (check["account"], check["region"]) for check in found if check["what"] == "forwarder"
    }
    events = client("events", MEMBER, THERE)
    events.disable_rule(Name="rolewarden-forward-subjects")
    [missing] = [check for check in doctor() if check["level"] == "fail"]
    assert (missing["account"], missing["region"], missing["what"]) == (MEMBER, THERE, "forwarder")
    assert missing["message"] == "rule rolewarden-forward-subjects is disabled"
    events.enable_rule(Name="rolewarden-forward-subjects")


def test_an_account_that_cannot_be_entered_is_a_finding_and_the_others_are_swept(company):
    iam = client("iam", MEMBER)
    iam.delete_role_policy(RoleName="rolewarden-sweep", PolicyName="Sweep")
    iam.delete_role(RoleName="rolewarden-sweep")
    before = len(company.progress.sweeps(CENTRAL))
    company.ask()
    waited(lambda: bool(company.history(MEMBER, "account/AssumeRole")), "the finding")
    [finding] = company.history(MEMBER, "account/AssumeRole")
    assert (finding["kind"], finding["reason"]) == ("Account Finding", "account cannot be entered")
    assert f"arn:aws:iam::{MEMBER}:role/rolewarden/rolewarden-sweep" in finding["message"]
    company.swept(CENTRAL, before + 1)
