"""`rolewarden history` and `status` show the records of the deployed stack."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from rolewarden.policies import policy_arn
from rolewarden_cli import stack
from rolewarden_cli.history import UnreadableTimeError, parsed_time
from rolewarden_cli.stack import StackRules
from rolewarden_cli.status import ContestedRole, Status, SweepSeen
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.publishing import PUBLISHED
from tests.stacks import deploy

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def world(world, template, monkeypatch):
    deploy(template, monkeypatch)
    return world


@pytest.fixture
def lived(world):
    """An account after a sweep and the later detachment of a guardrail."""
    world.sweep()
    world.enforce(world.detach("CanvasRosa", "only-nova-and-sonnet"))
    return world


def entries(*arguments):
    return json_answer("history", *arguments)["entries"]


def test_the_newest_entry_comes_first_with_its_remediation_and_cause(lived):
    newest, *others = entries()
    assert (newest["about"], newest["kind"], newest["policies"]) == (
        "CanvasRosa", "Role Remediated", ["only-nova-and-sonnet"],
    )  # fmt: skip
    assert (newest["event"], newest["verdict"], newest["remediation"]) == ("DetachRolePolicy", "compliant", "attached")
    assert {entry["event"] for entry in others} == {"Sweep", "Deployment"}
    assert [entry["policies"] for entry in others if entry["kind"] == "Guardrails Published"] == [sorted(PUBLISHED)]
    assert others == sorted(others, key=lambda entry: entry["at"], reverse=True)


def test_the_history_can_be_filtered_by_role_time_and_caller(lived):
    assert {entry["about"] for entry in entries("--role", "CanvasRosa")} == {"CanvasRosa"}
    assert len(entries("--role", "CanvasRosa")) == 2
    [told_of] = entries("--actor", "ROOT")
    assert told_of["event"] == "DetachRolePolicy"
    assert entries("--actor", "mallory") == []
    assert entries("--since", "2999-01-01") == []
    assert len(entries("--since", "1h")) == len(entries())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T10:00:00+02:00", datetime(2026, 11, 25, 8, tzinfo=UTC)),
    ],
)
def test_a_point_in_time_is_a_duration_or_a_day(text, meant):
    assert parsed_time(text, NOW) == meant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "999999d", "", "7 d"])
def test_an_invalid_point_in_time_is_an_error_with_the_valid_forms(text):
    with pytest.raises(UnreadableTimeError, match="write 90m, 2h or 7d"):
        parsed_time(text, NOW)


def test_an_empty_history_is_described_in_words(world):
    assert rolewarden("history", "--since", "2999-01-01").stdout == "the history has no such entry\n"


def test_the_history_of_a_deployment_names_the_policies_that_it_wrote(world):
    assert "wrote no-generative-ai, only-nova-and-sonnet" in rolewarden("history").stdout


@pytest.mark.parametrize("command", ["history", "status"])
def test_without_a_stack_the_error_names_a_solution(aws, command):
    aws.reset()
    result = rolewarden(command)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "rolewarden: stack `rolewarden` does not exist in us-east-1: give its name (--stack) and region (--region); "
        "`rolewarden plan` works without one"
    )


def test_the_status_has_the_last_sweep_the_coverage_and_unenforceable_roles(lived):
    found = json_answer("status", exit_code=2)
    assert found["last_sweep"]["completed"]["unprotected"] == 7
    assert (found["governed"], found["exempt"], found["covered"]) == (7, 1, 6)
    [finding] = found["unenforceable"]
    assert (finding["about"], finding["reason"]) == ("CanvasFull", "quota full")
    assert "raise the quota" in finding["recommendation"]
    assert found["contested"] == []


def test_a_resolved_finding_is_not_in_the_status(lived):
    lived.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn="arn:aws:iam::111122223333:policy/team-policy-01")
    lived.sweep()
    found = json_answer("status")
    assert found["unenforceable"] == []
    assert found["covered"] == 7


def test_the_status_does_not_say_that_a_stack_works_that_hears_no_events(lived):
    """The roles are protected, but nothing says so any more before the next sweep."""
    lived.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn="arn:aws:iam::111122223333:policy/team-policy-01")
    boto3.client("cloudtrail").stop_logging(Name="management-events")
    lived.sweep()
    found = json_answer("status", exit_code=2)
    assert found["unenforceable"] == []
    [finding] = found["account_findings"]
    assert finding["reason"] == "events do not arrive"
    assert "management-events is stopped" in finding["message"]
    assert "events do not arrive" in rolewarden("status").stdout
    boto3.client("cloudtrail").start_logging(Name="management-events")
    lived.sweep()
    assert json_answer("status")["account_findings"] == []


def test_the_status_names_the_actors_of_a_contested_role(lived):
    for _ in range(2):
        lived.enforce(lived.detach("CanvasRosa", "only-nova-and-sonnet"))
    [contest] = json_answer("status", exit_code=2)["contested"]
    assert (contest["role"], contest["times"]) == ("CanvasRosa", 3)
    assert contest["actors"]


def test_before_the_first_sweep_the_status_claims_nothing(world):
    assert json_answer("status", exit_code=2)["last_sweep"] is None
    assert "coverage       not known before a sweep" in rolewarden("status").stdout


SWEPT = SweepSeen(NOW - timedelta(hours=30), {"roles": 3}, missed=False)
WELL = Status("111122223333", "us-east-1", NOW, SWEPT, None, 3, 0, (), (), 0)


@pytest.mark.parametrize(
    ("change", "holding"),
    [
        ({}, set()),
        ({"last_sweep": None}, {"sweep"}),
        ({"last_sweep": SweepSeen(NOW - timedelta(hours=49), {"roles": 3}, missed=False)}, {"sweep"}),
        ({"last_sweep": SweepSeen(NOW, {"roles": 3}, missed=True)}, {"sweep"}),
        ({"contested": (ContestedRole("CanvasRosa", 3, NOW, ()),)}, {"contested"}),
        ({"unenforceable": (object(),)}, {"unprotected"}),
        ({"account_findings": (object(),)}, {"account"}),
        ({"last_sweep": SweepSeen(NOW, {"roles": 3, "surplus": 1}, missed=False)}, {"surplus"}),
    ],
)
def test_the_status_names_each_condition_that_holds(change, holding):
    conditions = replace(WELL, **change).conditions
    assert {name for name, holds in conditions.items() if holds} == holding


@pytest.mark.parametrize("command", ["history", "status"])
def test_the_output_fits_eighty_columns(lived, command):
    assert max(map(len, rolewarden(command).stdout.splitlines())) <= 80


def test_the_coverage_counts_the_roles_of_now_and_not_those_of_the_last_sweep(lived):
    """A role that came after the sweep and cannot be protected takes nothing from the roles that are protected."""
    role = lived.role("CanvasNew")
    for number in range(1, 11):
        arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/team-policy-{number:02}"
        lived.iam.attach_role_policy(RoleName="CanvasNew", PolicyArn=arn)
    lived.sagemaker.create_user_profile(
        DomainId="d-research0001", UserProfileName="new", UserSettings={"ExecutionRole": role}
    )
    lived.enforce(lived.event("CreateUserProfile"))
    found = json_answer("status", exit_code=2)
    assert {entry["about"] for entry in found["unenforceable"]} == {"CanvasFull", "CanvasNew"}
    assert (found["governed"], found["covered"]) == (8, 6)
    shown = rolewarden("status").stdout
    assert "6 of 8 governed roles are protected" in shown
    assert "found 7 of 7 roles unprotected" in shown


def test_surplus_that_was_detached_since_the_last_sweep_is_not_in_the_status(lived, monkeypatch):
    monkeypatch.setattr(stack, "asked", lambda *_: StackRules.SAME)  # The stack of this test has no functions to ask.
    lived.iam.attach_role_policy(RoleName="BuildServer", PolicyArn=policy_arn("no-generative-ai", "aws", ACCOUNT_ID))
    lived.sweep()
    before = json_answer("status", exit_code=2)
    assert (before["surplus_roles"], "BuildServer" in rolewarden("status").stdout) == (1, True)
    done = rolewarden("detach", "--yes")
    assert done.exit_code == 0, done.output
    after = json_answer("status", exit_code=2)
    assert (after["surplus_roles"], after["unused_policies"]) == (0, 0)
    assert "surplus        none" in rolewarden("status").stdout
    assert rolewarden("status", "--fail-on", "surplus").exit_code == 0
