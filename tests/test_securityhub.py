"""Findings in AWS Security Hub: events open and close them, and the function has only the permissions it needs."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import boto3
import botocore.session
import pytest
from botocore.validate import validate_parameters
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from rolewarden.aws import Aws
from rolewarden.errors import RetryLater
from rolewarden.own_events import FindingResolved, RoleFinding, SubjectFinding
from rolewarden.securityhub import finding
from rolewarden_local.emulated.judge import judge

from tests.conftest import sample
from tests.handlers import lambda_context, load_function
from tests.patterns import matching
from tests.recorded import record
from tests.stacks import ACCOUNT, translated

PRODUCT = f"arn:aws:securityhub:us-east-1:{ACCOUNT}:product/{ACCOUNT}/default"
SHAPE = botocore.session.get_session().get_service_model("securityhub").shape_for("AwsSecurityFinding")
ENVELOPE = {"source": "rolewarden", "account": ACCOUNT, "region": "us-east-1", "time": "2026-11-23T09:00:00Z"}


def resolved(about, was="unenforceable: quota full only-nova-and-sonnet", account=ACCOUNT):
    return {
        **ENVELOPE,
        "detail-type": FindingResolved.detail_type,
        "detail": {"account": account, "finding": about, "was": was},
    }


def imported(event):
    """The finding for Security Hub that an event gives."""
    found = finding(event, "aws")
    assert found is not None
    return found


def test_the_finding_of_an_unenforceable_role_is_open_and_severe_with_a_recommended_action():
    found = imported(sample("finding_role"))
    assert found["Title"] == "CanvasFull is not protected: quota full"
    assert found["Description"].startswith("It lacks only-nova-and-sonnet. AttachRolePolicy: LimitExceeded")
    assert found["FindingProviderFields"]["Severity"] == {"Label": "HIGH"}
    assert (found["RecordState"], found["Compliance"]) == ("ACTIVE", {"Status": "FAILED"})
    assert found["Remediation"]["Recommendation"]["Text"] == sample("finding_role")["detail"]["recommendation"]
    assert found["Resources"][0]["Details"] == {"AwsIamRole": {"RoleName": "CanvasFull"}}


def test_a_finding_about_a_list_of_domains_is_about_domains_and_not_about_a_role():
    event = sample("finding_subject")
    event["detail"] = {
        "account": "111122223333",
        "domain": "*",
        "verdict": "unenforceable",
        "reason": "access denied",
        "message": "ListDomains: AccessDenied",
    }
    found = imported(event)
    assert found["Title"] == "the domains of a region may be unprotected: access denied"
    assert found["Description"] == "ListDomains: AccessDenied"
    [resource] = found["Resources"]
    assert (resource["Type"], resource["Id"].rpartition(":")[2]) == ("Other", "domain/*")


def test_the_finding_of_a_role_in_observe_mode_is_open_and_less_severe():
    event = sample("finding_role")
    event["detail"].update(verdict="drifted", reason="", message="", recommendation="")
    found = imported(event)
    assert found["FindingProviderFields"]["Severity"] == {"Label": "MEDIUM"}
    assert found["Title"] == "CanvasFull is not protected: reported, not remediated"
    assert found["Remediation"]["Recommendation"]["Text"]


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("finding_role", "CanvasFull"),
        ("finding_subject", "d-research0001/rosa"),
        ("finding_account", "account/AssumeRole"),
    ],
)
def test_a_resolution_archives_the_same_finding(name, about):
    event = sample(name)
    opened, closed = imported(event), imported(resolved(about, account=event["detail"]["account"]))
    assert opened["Id"] == closed["Id"]
    assert opened["Resources"] == closed["Resources"]
    assert opened["UpdatedAt"] < closed["UpdatedAt"]
    assert (closed["RecordState"], closed["Compliance"]) == ("ARCHIVED", {"Status": "PASSED"})


def test_an_account_that_cannot_be_entered_is_a_finding_about_that_account():
    found = imported(sample("finding_account"))
    assert found["Title"] == "account 222233334444 may be unprotected: account cannot be entered"
    assert (found["Resources"][0]["Type"], found["Resources"][0]["Id"]) == ("AwsAccount", "AWS::::Account:222233334444")
    assert "rolewarden-sweep" in found["Description"]


def test_roles_of_one_name_in_two_accounts_are_two_findings_of_the_account_that_imports_them():
    event = sample("finding_role")
    here = imported(event)
    event["detail"]["account"] = "444455556666"
    there = imported(event)
    assert here["Id"] != there["Id"]
    assert here["AwsAccountId"] == there["AwsAccountId"] == ACCOUNT
    assert there["Resources"][0]["Id"] == "444455556666/CanvasFull"


@pytest.mark.parametrize("change", [{"verdict": "compliant"}, {"verdict": "exempt"}, {"role": ""}, {"verdict": None}])
def test_an_event_that_is_no_finding_opens_none(change):
    event = sample("finding_role")
    event["detail"].update(change)
    assert finding(event, "aws") is None


@pytest.mark.parametrize("change", [{"source": "aws.iam"}, {"account": "x"}, {"time": ""}, {"region": None}])
def test_an_event_of_another_source_opens_no_finding(change):
    assert finding(sample("finding_role") | change, "aws") is None


PLAIN = st.none() | st.booleans() | st.integers() | st.text()
ANYTHING = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(ANYTHING | st.fixed_dictionaries({
    "source": st.just("rolewarden"), "account": st.just(ACCOUNT), "region": st.just("us-east-1"),
    "time": st.just("2026-11-23T09:00:00Z"),
    "detail-type": st.sampled_from([RoleFinding.detail_type, SubjectFinding.detail_type, FindingResolved.detail_type]),
    "detail": st.fixed_dictionaries({}, optional={
        key: ANYTHING | st.text(min_size=900, max_size=1500) | st.sampled_from(["unenforceable", "drifted"])
        for key in ("role", "domain", "user_profile", "finding", "was", "verdict", "reason", "message",
                    "recommendation", "missing")
    }),
}))  # fmt: skip
def test_every_event_gives_a_finding_that_security_hub_accepts_or_none(event):
    found = finding(event, "aws")
    if found is not None:
        validate_parameters(found, SHAPE)
        assert len(found["Title"]) <= 256
        assert len(found["Description"]) <= 1024
        assert len(found.get("Remediation", {}).get("Recommendation", {}).get("Text", "")) <= 512
        assert all((found["Title"], found["Description"], found["Resources"][0]["Id"]))


@pytest.fixture
def hub(monkeypatch):
    """The function's handler, and moto's Security Hub and history table."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "ACCOUNT_ID": ACCOUNT, "HISTORY_TABLE": "h", "HISTORY_DAYS": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client = boto3.client("securityhub", region_name="us-east-1")
        client.enable_security_hub()
        table = translated().resources("AWS::DynamoDB::Table")["HistoryTable"]
        made = {key: table[key] for key in ("AttributeDefinitions", "BillingMode", "KeySchema")}
        boto3.client("dynamodb", region_name="us-east-1").create_table(TableName="h", **made)
        module, context = load_function("securityhub"), lambda_context("SecurityHubFunction")
        yield SimpleNamespace(
            hears=lambda event: module.handler(event, context),
            records=partial(record, module.aws, "h"),
            states=lambda: [found["RecordState"] for found in client.get_findings()["Findings"]],
            client=client,
        )


def test_a_finding_opens_and_closes_in_security_hub(hub):
    hub.hears(hub.records(sample("finding_role")))
    [opened] = hub.client.get_findings()["Findings"]
    assert (opened["RecordState"], opened["ProductArn"]) == ("ACTIVE", PRODUCT)
    answer = hub.hears(hub.records(resolved("CanvasFull")))
    assert answer == {"imported": opened["Id"]}
    assert hub.states() == ["ARCHIVED"]


def test_an_event_without_a_row_in_the_history_opens_and_archives_nothing(hub):
    assert hub.hears(sample("finding_role")) == {"imported": None}
    hub.hears(hub.records(sample("finding_role")))
    assert hub.hears(resolved("CanvasFull")) == {"imported": None}
    other = sample("finding_role")
    other["detail"]["message"] = "sign in at the portal"
    assert hub.hears(other) == {"imported": None}
    assert hub.states() == ["ACTIVE"]
    assert "portal" not in str(hub.client.get_findings())


def test_an_event_that_is_repeated_later_has_the_time_of_its_row(hub):
    now = datetime.now(UTC)
    hub.hears(hub.records(sample("finding_role"), now - timedelta(hours=2)))
    closing = hub.records(resolved("CanvasFull"), now - timedelta(hours=1))
    hub.hears(closing)
    opened = hub.records(sample("finding_role"), now)
    hub.hears(opened)
    hub.hears({**closing, "time": (now + timedelta(hours=1)).isoformat()})
    [found] = hub.client.get_findings()["Findings"]
    # moto keeps the last finding. Security Hub keeps the one with the later time, which is that of the row.
    assert datetime.fromisoformat(found["UpdatedAt"]) < now


def test_an_event_in_another_region_is_about_this_one(hub):
    answer = hub.hears({**hub.records(sample("finding_role")), "region": "eu-west-1"})
    assert answer["imported"].startswith("us-east-1/")


def test_an_event_that_is_no_finding_is_ignored(hub):
    assert hub.hears({"source": "rolewarden"}) == {"imported": None}
    assert hub.client.get_findings()["Findings"] == []


def test_a_finding_that_security_hub_rejects_is_retried():
    aws = Aws(boto3.Session("test", "test", region_name="us-east-1"))
    failed = [{"Id": "1", "ErrorCode": "InvalidInput", "ErrorMessage": "no"}]
    aws.__dict__["_securityhub"] = SimpleNamespace(batch_import_findings=lambda **_: {"FailedFindings": failed})
    with pytest.raises(RetryLater, match="BatchImportFindings: InvalidInput: no"):
        aws.import_finding({})


# The template.


def test_the_stack_has_no_security_hub_resources_by_default():
    template = translated()
    assert not [name for name in template.made() if name.startswith("SecurityHub")]
    environment = template.resources("AWS::Lambda::Function")["SweepFunction"]["Environment"]["Variables"]
    assert "SecurityHub" not in json.dumps(environment)


def test_securityhub_can_only_import_findings_of_this_account():
    template = translated(SecurityHub="on")
    role = template.resources("AWS::IAM::Role")["SecurityHubFunctionRole"]
    policies = {policy["PolicyName"]: policy["PolicyDocument"] for policy in role["Policies"]}
    assert judge(policies, "securityhub:BatchImportFindings", PRODUCT).allowed
    assert not judge(policies, "securityhub:BatchImportFindings", PRODUCT.replace("/default", "/other")).allowed
    for action in ("securityhub:BatchUpdateFindings", "securityhub:DisableSecurityHub", "iam:DetachRolePolicy"):
        assert not judge(policies, action, PRODUCT).allowed
    assert "ManagedPolicyArns" not in role
    others = {
        name: of for name, of in template.resources("AWS::IAM::Role").items() if name != "SecurityHubFunctionRole"
    }
    assert "securityhub" not in json.dumps(others)


def test_the_role_of_securityhub_is_one_of_rolewarden():
    variables = translated(SecurityHub="on").resources("AWS::Lambda::Function")["SweepFunction"]["Environment"][
        "Variables"
    ]
    assert "SecurityHubFunctionRole" in variables["OWN_ROLES"].split(",")


@pytest.mark.parametrize(
    ("event", "hears"),
    [
        (sample("finding_role"), True),
        (sample("finding_subject"), True),
        (resolved("CanvasFull"), True),
        (sample("finding_role_contested"), False),
        (sample("detach_role_policy"), False),
    ],
    ids=lambda value: value.get("detail-type", "") if isinstance(value, dict) else str(value),
)
def test_securityhub_receives_events_that_open_or_close_a_finding(aws, event, hears):
    [rule] = [rule for rule in translated(SecurityHub="on").rules() if rule.function == "SecurityHubFunction"]
    full = {"version": "0", "id": "1", "resources": [], **event}
    assert bool(matching({rule.name: rule.pattern}, full)) is hears
