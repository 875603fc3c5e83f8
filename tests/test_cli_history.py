"""`rolewarden history` and `status`: what the deployed stack has recorded."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rolewarden_cli.history import UnreadableTimeError, parsed_time
from rolewarden_cli.status import ContestedRole, Status, SweepSeen

from tests.commands import rolewarden, told

NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def lived(world):
    """An account that was swept, and in which a guardrail was taken off since."""
    world.sweep()
    world.enforce(world.detach("CanvasRosa", "approved-models"))
    return world


def entries(*arguments):
    return told("history", *arguments)["entries"]


def test_the_newest_comes_first_with_what_was_done_and_why(lived):
    newest, *others = entries()
    assert (newest["about"], newest["kind"], newest["policies"]) == (
        "CanvasRosa", "Role Remediated", ["approved-models"],
    )  # fmt: skip
    assert (newest["event"], newest["verdict"], newest["remediation"]) == ("DetachRolePolicy", "compliant", "attached")
    assert {entry["event"] for entry in others} == {"Sweep"}
    assert others == sorted(others, key=lambda entry: entry["at"], reverse=True)


def test_it_is_narrowed_down_to_a_role_a_time_and_a_caller(lived):
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
def test_a_point_in_time_is_so_long_ago_or_a_day(text, meant):
    assert parsed_time(text, NOW) == meant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "999999d", "", "7 d"])
def test_what_is_no_point_in_time_is_an_error_that_says_what_to_write(text):
    with pytest.raises(UnreadableTimeError, match="write 90m, 2h or 7d"):
        parsed_time(text, NOW)


def test_an_empty_record_is_said_in_words(world):
    assert rolewarden("history").stdout == "the history has no such entry\n"


@pytest.mark.parametrize("command", ["history", "status"])
def test_where_nothing_is_deployed_the_way_out_is_named(aws, command):
    aws.reset()
    result = rolewarden(command)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "rolewarden: stack `rolewarden` does not exist in us-east-1: give its name (--stack) and region (--region); "
        "`rolewarden plan` works without one"
    )


def test_the_status_has_the_last_sweep_coverage_and_what_cannot_be_guarded(lived):
    found = told("status", exit_code=2)
    assert found["last_sweep"]["completed"]["unprotected"] == 7
    assert (found["governed"], found["exempt"], found["covered"]) == (8, 1, 6)
    [finding] = found["unenforceable"]
    assert (finding["about"], finding["reason"]) == ("CanvasFull", "quota full")
    assert "raise the quota" in finding["recommendation"]
    assert found["contested"] == []


def test_a_finding_that_was_settled_is_no_finding_any_more(lived):
    lived.iam.detach_role_policy(RoleName="CanvasFull", PolicyArn="arn:aws:iam::111122223333:policy/team-policy-01")
    lived.sweep()
    found = told("status")
    assert found["unenforceable"] == []
    assert found["covered"] == 7


def test_a_contested_role_is_told_with_who_contests_it(lived):
    for _ in range(2):
        lived.enforce(lived.detach("CanvasRosa", "approved-models"))
    [contest] = told("status", exit_code=2)["contested"]
    assert (contest["role"], contest["times"]) == ("CanvasRosa", 3)
    assert contest["actors"]


def test_before_the_first_sweep_nothing_is_claimed(world):
    assert told("status", exit_code=2)["last_sweep"] is None
    assert "coverage       not known before a sweep" in rolewarden("status").stdout


SWEPT = SweepSeen(NOW - timedelta(hours=30), {"roles": 3}, missed=False)
WELL = Status("111122223333", "us-east-1", NOW, SWEPT, None, 3, 0, (), (), 0)


@pytest.mark.parametrize(
    ("change", "is_well"),
    [
        ({}, True),
        ({"last_sweep": None}, False),
        ({"last_sweep": SweepSeen(NOW - timedelta(hours=49), {"roles": 3}, missed=False)}, False),
        ({"last_sweep": SweepSeen(NOW, {"roles": 3}, missed=True)}, False),
        ({"contested": (ContestedRole("CanvasRosa", 3, NOW, ()),)}, False),
        ({"unenforceable": (object(),)}, False),
    ],
)
def test_the_stack_is_well_if_a_whole_sweep_took_place_in_time_and_nothing_is_left(change, is_well):
    assert replace(WELL, **change).is_well is is_well


@pytest.mark.parametrize("command", ["history", "status"])
def test_the_pages_fit_eighty_columns(lived, command):
    assert max(map(len, rolewarden(command).stdout.splitlines())) <= 80
