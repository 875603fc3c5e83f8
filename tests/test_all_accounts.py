"""`--all-accounts`: plan, access, status and history of every account that the stack covers."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import boto3
import pytest
from rolewarden.policies import policy_arn
from rolewarden.progress import RecordedProgress
from rolewarden_cli import organization
from rolewarden_cli.account import OperatorCalls
from rolewarden_local.aws import ACCOUNT_ID as CENTRAL
from rolewarden_local.scenes.seed import TRUST

from tests.answers import wrong
from tests.commands import json_answer, rolewarden
from tests.company import ROLE, UNIT, Company, central_stack, client, organized
from tests.conftest import ROOT
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

NOVA = "amazon.nova-pro-v1:0"
AS_ROLE = ("--all-accounts", "--member-role", f"rolewarden/{ROLE}")
LATER, STRANGER = "333344445555", "999988887777"


@pytest.fixture
def company(aws, template, monkeypatch):
    """The central account and a member with a domain, after a sweep."""
    made = organized(aws, template)

    def begin() -> None:
        domain(MEMBER, "Theirs")
        made.everything()

    made.once("swept with a domain of the member", begin)
    monkeypatch.setattr(OperatorCalls, "stack", lambda _, name: central_stack(name))
    return made


def domain(account: str, role: str) -> None:
    arn = client("iam", account).create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    client("sagemaker", account).create_domain(
        DomainName=role.lower(), AuthMode="IAM", DefaultUserSettings={"ExecutionRole": arn}
    )


def detach(account: str, role: str) -> None:
    arn = policy_arn("no-generative-ai", "aws", account)
    client("iam", account).detach_role_policy(RoleName=role, PolicyArn=arn)


def join(company: Company, *accounts: str) -> None:
    """Add accounts to the organization. Their stack has no role that a command could assume."""
    company.aws.organize("o-exampleorg1", {UNIT: {MEMBER, *accounts}}, administrator=CENTRAL)
    for account in accounts:
        client("iam", account).delete_role(RoleName=ROLE)


def answer_of(command: str, *arguments: str, exit_code: int = 0) -> Any:
    """The answer of a command for all accounts, which has the form of the schema."""
    found = json_answer(command, *arguments, exit_code=exit_code)
    assert wrong(command, found) == []
    return found


def by_account(found: Any) -> dict[str, Any]:
    return {one["account"]: one for one in found["accounts"]}


def test_the_plan_has_an_entry_for_each_account_and_totals(company):
    detach(MEMBER, "Theirs")
    found = answer_of("plan", *AS_ROLE, exit_code=2)
    plans = by_account(found)
    assert set(plans) == {CENTRAL, MEMBER}
    assert [(one["role"], one["attached"]) for one in plans[MEMBER]["roles"]] == [("Theirs", ["no-generative-ai"])]
    assert plans[MEMBER]["deployed"]
    assert plans[MEMBER]["stack"] == "same"
    total = found["totals"]
    assert (total["accounts"], total["unreached"]) == (2, 0)
    assert total["roles"] == sum(len(one["roles"]) for one in plans.values())
    assert total["changed_roles"] == 1


def test_a_plan_of_accounts_without_anything_to_do_exits_with_0(company):
    for role in ("CanvasFull",):
        boto3.client("iam").detach_role_policy(RoleName=role, PolicyArn=first_policy(role))
    company.everything()
    found = answer_of("plan", *AS_ROLE)
    assert found["totals"]["done"] == 2


def first_policy(role: str) -> str:
    return str(boto3.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"][0]["PolicyArn"])


def test_the_role_of_the_page_is_the_default(company):
    page = (ROOT / "docs" / "how-to" / "command-line.md").read_text(encoding="utf-8")
    [template] = re.findall(r"```yaml\n(AWSTemplate.*?)```", page, flags=re.DOTALL)
    client("cloudformation", MEMBER).create_stack(
        StackName="operator",
        TemplateBody=template,
        Parameters=[{"ParameterKey": "OperatorArn", "ParameterValue": f"arn:aws:iam::{CENTRAL}:root"}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    found = answer_of("plan", "--all-accounts", exit_code=2)
    assert set(by_account(found)) == {CENTRAL, MEMBER}
    assert found["unreached"] == []


def test_access_has_the_decisions_of_each_account(company):
    found = answer_of("access", "--model", NOVA, *AS_ROLE)
    decisions = {(one["account"], one["role"]): one for each in found["accounts"] for one in each["decisions"]}
    assert decisions[MEMBER, "Theirs"]["decision"] == "denied"
    assert decisions[MEMBER, "Theirs"]["statements"]
    assert found["totals"]["decisions"] == len([one for each in found["accounts"] for one in each["decisions"]])
    assert (CENTRAL, "CanvasRosa") in decisions


def test_status_and_history_need_no_role_in_a_member_account(company):
    calls = company.aws.calls()
    states = by_account(answer_of("status", "--all-accounts", exit_code=2))
    assert (states[MEMBER]["governed"], states[MEMBER]["covered"]) == (1, 1)
    assert {one["reason"] for one in states[CENTRAL]["unenforceable"]} == {"quota full"}
    assert states[MEMBER]["unenforceable"] == []
    histories = by_account(answer_of("history", "--all-accounts"))
    assert "Theirs" in {one["about"] for one in histories[MEMBER]["entries"]}
    assert all(one["account"] == CENTRAL for one in histories[CENTRAL]["entries"])
    assert "AssumeRole" not in {call.operation for call in company.aws.calls()[len(calls) :]}


def test_a_forged_row_about_a_member_leads_no_command_into_another_account(company):
    table = boto3.resource("dynamodb").Table(company.environment["BINDINGS_TABLE"])
    table.put_item(Item={"scope": "members", "item": STRANGER, "swept": 1})
    assert STRANGER in RecordedProgress(company.runtime.aws, table.name).member_accounts()
    before = len(company.aws.calls())
    found = answer_of("plan", *AS_ROLE, exit_code=2)
    assert {*by_account(found), *(one["account"] for one in found["unreached"])} == {CENTRAL, MEMBER}
    assert STRANGER not in {call.account for call in company.aws.calls()[before:]}
    assert {one["account"] for one in answer_of("status", "--all-accounts", exit_code=2)["accounts"]} == {
        CENTRAL,
        MEMBER,
    }


def test_without_the_option_a_command_shows_the_account_of_its_caller(company):
    assert {one["account"] for one in json_answer("history")["entries"]} == {CENTRAL}
    assert json_answer("history", "--role", "Theirs", "--all-accounts")["totals"]["entries"] == 1
    lines = rolewarden("history", "--role", "theirs", "--all-accounts").stdout.splitlines()
    assert f"{MEMBER}  Theirs" in lines[0]


def test_the_report_has_each_account_and_what_they_share_is_read_once(company, tmp_path):
    join(company, LATER)
    file, before = tmp_path / "report.html", len(company.aws.calls())
    result = rolewarden("report", "-o", str(file), "--model", NOVA, *AS_ROLE)
    assert result.exit_code == 2, result.output
    page = file.read_text(encoding="utf-8")
    assert all(account in page for account in (CENTRAL, MEMBER, LATER))
    made = Counter(call.operation for call in company.aws.calls()[before:])
    assert (made["Scan"], made["DescribeAlarms"], made["ListFoundationModels"]) == (1, 1, 1)
    result = rolewarden("report", "-o", str(file), "--model", NOVA, "--format", "csv", *AS_ROLE)
    assert result.exit_code == 2, result.output
    assert f"{LATER},account {LATER},not read" in file.read_text(encoding="utf-8")


def test_an_account_that_cannot_be_entered_is_a_row_and_the_others_are_read(company):
    join(company, LATER)
    result = rolewarden("access", "--model", NOVA, *AS_ROLE)
    assert result.exit_code == 2
    assert f"{MEMBER} " in result.stdout
    assert f"{LATER}  cannot assume rolewarden/{ROLE}" in result.stdout
    assert "--member-role" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = answer_of("plan", *AS_ROLE, exit_code=2)
    assert set(by_account(found)) == {CENTRAL, MEMBER}
    [unreached] = found["unreached"]
    assert (unreached["account"], found["totals"]["unreached"]) == (LATER, 1)


def test_an_account_in_which_a_call_is_refused_is_a_row(company):
    with company.aws.failing("GetAccountAuthorizationDetails", "AccessDenied", "no", times=1):
        found = answer_of("plan", *AS_ROLE, exit_code=2)
    [unreached] = found["unreached"]
    assert "GetAccountAuthorizationDetails" in unreached["why"]
    assert {*by_account(found), unreached["account"]} == {CENTRAL, MEMBER}
    assert len(found["accounts"]) == 1


def test_what_the_accounts_share_is_read_once(company, monkeypatch):
    before = len(company.aws.calls())
    json_answer("access", "--model", NOVA, *AS_ROLE)
    two = Counter(call.operation for call in company.aws.calls()[before:])
    before = len(company.aws.calls())
    json_answer("access", "--model", NOVA)
    one = Counter(call.operation for call in company.aws.calls()[before:])
    shared = ("GetCallerIdentity", "ListFoundationModels", "ListInferenceProfiles", "DescribeOrganization")
    assert {name: two[name] for name in shared} == {name: one[name] for name in shared}
    assert two["Scan"] == 0
    assert two["AssumeRole"] == 1
    assert two["GetAccountAuthorizationDetails"] == 2
    before = len(company.aws.calls())
    json_answer("status", "--all-accounts", exit_code=2)
    assert Counter(call.operation for call in company.aws.calls()[before:])["Scan"] == 1


def test_a_few_accounts_are_read_at_the_same_time():
    """The pool begins the next account when one ends: at most `ACCOUNTS_AT_ONCE` are open, and all are read."""
    from threading import Barrier, Lock

    accounts = frozenset(f"{number:012}" for number in range(2 * organization.ACCOUNTS_AT_ONCE))
    together, lock, now, most = Barrier(organization.ACCOUNTS_AT_ONCE, timeout=30), Lock(), 0, 0

    class Wide:
        account = "000000000000"
        covered = accounts
        stack_calls = None

    def read(account: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1
        return account

    seen: list[tuple[int, int]] = []
    wide: Any = Wide()
    enter: Any = lambda _, account: account  # noqa: E731 - an account stands for its connection
    each: Any = read
    found, unreached = organization.read_accounts(wide, enter, each, lambda _, done, total: seen.append((done, total)))
    assert found == tuple(sorted(accounts))
    assert unreached == ()
    assert most == organization.ACCOUNTS_AT_ONCE
    assert seen == [(done, len(accounts)) for done in range(len(accounts) + 1)]


@pytest.mark.parametrize("command", ["plan", "access", "status", "history"])
def test_a_stack_without_members_is_one_line_with_a_solution(world, template, monkeypatch, command):
    monkeypatch.setattr(
        OperatorCalls,
        "stack",
        lambda _, name: central_stack(name)._replace(
            resources=tuple(one for one in central_stack(name).resources if one[0] != "Members")
        ),
    )
    result = rolewarden(command, "--all-accounts")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "covers no member account: leave out --all-accounts" in result.stderr


@pytest.mark.parametrize("role", ["arn:aws:iam::111122223333:role/x", "a b", "", "x/"])
def test_a_text_that_names_no_role_is_one_line_with_a_solution(company, role):
    result = rolewarden("plan", "--all-accounts", "--member-role", role)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "write it with its path" in result.stderr


def test_the_text_has_a_row_for_each_account_and_fits_80_columns(company):
    detach(MEMBER, "Theirs")
    for command in ("plan", "access --model amazon.nova-pro-v1:0", "status"):
        arguments = AS_ROLE if command != "status" else ("--all-accounts",)
        lines = rolewarden(*command.split(), *arguments).stdout.splitlines()
        assert max(map(len, lines)) <= 80, lines
        assert [line for line in lines if line.startswith((CENTRAL, MEMBER))] != []
        assert any(line.startswith("2 accounts") for line in lines)
    everything = rolewarden("plan", "--all", *AS_ROLE).stdout
    assert f"account {MEMBER}, us-east-1" in everything
    assert json.loads(rolewarden("plan", "--json", *AS_ROLE).stdout)["format_version"] == 2


def test_the_inference_profiles_of_a_member_have_its_own_account(company, monkeypatch):
    asked: set[str] = set()
    really = OperatorCalls.simulate

    def simulate(calls: OperatorCalls, role: str, actions: Any, resources: Any, *more: Any, **settings: Any) -> Any:
        asked.update(one for one in resources if "inference-profile" in one and f"::{MEMBER}:" in role)
        return really(calls, role, actions, resources, *more, **settings)

    monkeypatch.setattr(OperatorCalls, "simulate", simulate)
    json_answer("access", "--model", NOVA, *AS_ROLE)
    assert asked
    assert {arn.split(":")[4] for arn in asked} == {MEMBER}
