"""Callers can be left out of the history and the report, and a person can be erased from the history."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from rolewarden.confirm import BEFORE, CONFIRMED
from rolewarden.contest import Contest
from rolewarden_cli.actors import SETTLED, without_principals
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.conftest import ROOT
from tests.scripts import scripts

ALICE = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/Admin/alice@example.com"
BOB = f"arn:aws:iam::{ACCOUNT_ID}:user/bob"
WORDS = ("alice", "bob", "192.0.2.7", "198.51.100.9", "secret-agent", "7c9e6679-user")
NOW = datetime.now(UTC)


def cause(actor, **more):
    address = "192.0.2.7" if actor == ALICE else "198.51.100.9"
    found = {"event_name": "DetachRolePolicy", "event_id": "11111111-2222-3333-4444-555555555555", "actor": actor}
    return {**found, "source_address": address, "user_agent": "secret-agent/1.0", **more}


@pytest.fixture
def lived(world):
    """A history with two callers, one of them also in a message and in a contest."""
    table = boto3.resource("dynamodb").Table(world.environment["HISTORY_TABLE"])

    def row(kind, days, **more):
        at = (NOW - timedelta(days=days)).isoformat(timespec="milliseconds")
        keys = {"about": f"{ACCOUNT_ID}/canvasrosa", "named": f"{ACCOUNT_ID}/CanvasRosa", "at": f"{at}##{kind}"}
        table.put_item(Item={**keys, "account": ACCOUNT_ID, "role": "CanvasRosa", "kind": kind, **more})

    remediated = {"remediation": "attached", "verdict": "compliant", "before": "drifted", "attached": ["a"]}
    row("Role Remediated", 10, cause=cause(ALICE, person="7c9e6679-user"), **remediated)
    row("Role Remediated", 9, cause=cause(BOB), **remediated)
    row("Role Finding", 8, cause=cause(ALICE), verdict="unenforceable", message=f"User: {ALICE} (alice@example.com)")
    of_contest = [
        {"actor": BOB, "source_address": "198.51.100.9", "times": 2},
        {"actor": "x", "person": "7c9e6679-user"},
    ]
    row("Role Contested", 7, cause=cause(BOB), actors=of_contest, remediations=3)
    row("Role Finding", 1, cause=cause(ALICE), verdict="unenforceable")
    for number in range(3):
        row("Role Remediated", number / 10, cause=cause(BOB, event_id=str(number)), **remediated)
    return world


def rows_of(world) -> list[Any]:
    """The rows of the history table."""
    found: Any = boto3.resource("dynamodb").Table(world.environment["HISTORY_TABLE"]).scan()["Items"]
    return list(found)


def erased_of(person, **more):
    answer = json_answer("erase", person, "--yes", **more)
    return answer["erased"], answer["recent"]


def named(text):
    return {word for word in WORDS if word in text}


def test_the_history_leaves_out_callers(lived):
    assert named(rolewarden("history").stdout) >= {"alice", "bob", "192.0.2.7", "7c9e6679-user"}
    for arguments in (["history"], ["history", "--json"]):
        text = rolewarden(*arguments, "--without-actors").stdout
        assert named(text) == set()
        assert "assumed-role" not in text
        assert "DetachRolePolicy" in text
        assert "CanvasRosa" in text


@pytest.mark.long
def test_the_report_leaves_out_callers_in_every_byte(lived, tmp_path):
    caller = boto3.client("sts").get_caller_identity()["Arn"]
    for arguments in ([], ["--without-actors"]):
        file = tmp_path / f"report{len(arguments)}.html"
        assert rolewarden("report", "-o", str(file), "--model", "amazon.nova-pro*", *arguments).exit_code == 0
        page = file.read_text()
        # A session, a user and an address can only stand in the page as they are, or in HTML's escapes.
        assert (caller in page, named(page) == set()) == (not arguments, bool(arguments))
    assert re.search(r"assumed-role|:user/|federated-user|\d{12}:root", page) is None
    assert "contested" in page


def test_a_person_is_erased_and_the_trace_stays(lived):
    before = json_answer("history")["entries"]
    assert erased_of("alice@example.com", exit_code=2) == (2, 1)
    erased = [row for row in rows_of(lived) if "erased" in row]
    assert len(erased) == 2
    assert "alice" not in json.dumps(erased, default=str)
    assert "192.0.2.7" not in json.dumps(erased, default=str)
    assert {row["erased"] for row in erased} == {NOW.date().isoformat()}
    # The change, the call and the ID of the event stay, and so do other callers.
    assert {row["cause"]["event_id"] for row in erased} == {"11111111-2222-3333-4444-555555555555"}
    after = json_answer("history")["entries"]
    assert [{**one, "actor": "", "person": "", "source_address": "", "message": "", "erased": ""} for one in after] == [
        {**one, "actor": "", "person": "", "source_address": "", "message": "", "erased": ""} for one in before
    ]
    assert BOB in {one["actor"] for one in after}
    assert f"caller erased on {NOW.date()}" in " ".join(rolewarden("history").stdout.split())


def test_the_id_of_a_user_is_erased_from_a_contest_and_another_caller_stays(lived):
    json_answer("erase", "7c9e6679-user", "--yes")
    text = rolewarden("history", "--json").stdout
    [contest] = [row for row in rows_of(lived) if row["kind"] == "Role Contested"]
    assert "7c9e6679-user" not in text + json.dumps(contest, default=str)
    assert contest["actors"][0]["actor"] == contest["cause"]["actor"] == BOB


def test_a_part_of_a_name_erases_nothing_and_nothing_is_erased_without_a_yes(lived):
    assert erased_of("alice") == (0, 0)
    assert rolewarden("erase", BOB).exit_code == 1
    assert BOB in rolewarden("history", "--json").stdout


def test_an_erased_caller_ends_no_contest(lived):
    def contest():
        found = Contest.among(rows_of(lived), NOW)
        return found and (found.remediations, found.since)

    before = contest()
    assert before
    erased_of(BOB, exit_code=2)
    assert contest() == before


def test_rows_that_alerts_are_compared_with_are_too_new():
    assert SETTLED >= CONFIRMED + BEFORE


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"User: {ALICE} is not authorized", "User: (left out) is not authorized"),
        (f"{BOB} and others", "(left out) and others"),
        (f"arn:aws-us-gov:iam::{ACCOUNT_ID}:root: no", "(left out): no"),
        ("role CanvasRosa has 10 of 10 policies", "role CanvasRosa has 10 of 10 policies"),
        (f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/a", f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/a"),
    ],
)
def test_the_arns_of_principals_leave_a_text(text, left):
    assert without_principals(text) == left


[PAGES] = scripts("docs", "template_pages")
KEEPS = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}


def test_the_page_has_each_place_of_the_templates_that_keeps_data_with_its_period():
    page = (ROOT / "docs/reference/personal-data.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for file in ("template.yaml", "forwarder.yaml"):
        for name, resource in PAGES.read(file)["Resources"].items():
            if resource["Type"] in KEEPS:
                [row] = [row for row in rows if f"`{name}`" in row.split("|")[1]]
                seconds = resource["Properties"].get("MessageRetentionPeriod")
                assert seconds is None or f"{seconds // 86400} days" in row.split("|")[3]


@pytest.mark.parametrize(
    "kind", ["AWS::Events::Archive", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::New::Type"]
)
def test_a_new_place_that_keeps_data_needs_a_line_on_the_page(monkeypatch, kind):
    new = {"Resources": {"New": {"Type": kind, "Properties": {"MessageRetentionPeriod": 86400}}}}
    monkeypatch.setattr(PAGES, "read", lambda _: new)
    with pytest.raises(KeyError, match=f"New|{kind}"):
        PAGES.kept()
