"""`rolewarden report`: the page has the same content as the other commands."""

import hashlib
import json

import pytest
from rolewarden_cli.account import OperatorCalls

from tests.clinic import Clinic
from tests.commands import rolewarden
from tests.conftest import ROOT
from tests.pages import Page, figure, findings, rows, rows_of_table

pytestmark = pytest.mark.long

MODELS = ("--model", "amazon.nova-pro-v1:0", "--model", "huggingface-text2text-flan-t5-xl")


@pytest.fixture
def reported(world, tmp_path):
    """The account's page, after the guardrails were attached and one was detached again."""
    world.protected()
    world.enforce(world.detach("CanvasAnalytics", "no-generative-ai"))
    world.detach("CanvasRosa", "only-nova-and-sonnet")
    file = tmp_path / "report.html"
    result = rolewarden("report", "-o", str(file), *MODELS)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{file}\n"
    return Page(file.read_text(encoding="utf-8")).root


def test_the_report_has_the_same_content_as_plan_access_and_history(reported):
    plan = json.loads(rolewarden("plan", "--json").stdout)
    access = json.loads(rolewarden("access", "--json", *MODELS).stdout)
    history = json.loads(rolewarden("history", "--json").stdout)["entries"]
    verdicts = [role["verdict"] if role["verdict"] == "unenforceable" else role["before"] for role in plan["roles"]]
    for verdict in ("compliant", "drifted", "exempt", "unenforceable"):
        assert figure(reported, verdict) == str(verdicts.count(verdict)), verdict
    shown = rows(reported)
    assert len(shown) == len({(one["domain_id"], one["kind"], one["user_profile"]) for one in access["decisions"]})
    allowed = [one["allowed"] for one in access["decisions"]]
    assert sorted(cell.text == "allowed" for _, _, cells in shown.values() for cell in cells) == sorted(allowed)
    drift = [entry for entry in history if entry["kind"] != "Guardrails Published"]
    assert figure(reported, "history") == str(len(drift))
    assert any(about.startswith("role CanvasRosa") for about, *_ in findings(reported))


def test_the_report_names_its_rules_and_its_caller(reported):
    told = " ".join(reported.ids["provenance"].text.split())
    assert hashlib.sha256((ROOT / "layers/guardrails/guardrails.yaml").read_bytes()).hexdigest() in told
    assert "111122223333" in told
    assert "arn:aws:" in told


def test_an_unwritable_file_is_an_error_of_one_line(world, tmp_path):
    result = rolewarden("report", "-o", str(tmp_path / "none" / "report.html"), *MODELS)
    assert result.exit_code == 1
    assert "is missing: make it, or give another file with --out" in " ".join(result.stderr.split())


def test_the_report_says_what_has_changed_since_an_earlier_one(world, tmp_path):
    world.protected()
    earlier, later = tmp_path / "earlier.html", tmp_path / "later.html"
    assert rolewarden("report", "-o", str(earlier), *MODELS).exit_code == 0
    world.detach("CanvasRosa", "only-nova-and-sonnet")
    result = rolewarden("report", "-o", str(later), "--since-report", str(earlier), *MODELS)
    assert result.exit_code == 0, result.output
    changes = rows_of_table(Page(later.read_text(encoding="utf-8")).root, "changes-table")
    state = {"Change": "state of a role", "About": "CanvasRosa"}
    assert {**state, "In the earlier report": "compliant", "In this report": "drifted"} in changes
    assert "people can use more models" in {change["Change"] for change in changes}


def test_an_earlier_report_that_is_none_is_an_error_of_one_line_before_any_call(world, tmp_path, monkeypatch):
    monkeypatch.setattr("rolewarden_cli.inventory.take", None)
    other = tmp_path / "other.html"
    other.write_text("<p>no report</p>")
    result = rolewarden("report", "-o", str(tmp_path / "report.html"), "--since-report", str(other), *MODELS)
    assert result.exit_code == 1
    assert "other.html: has no data of a report" in result.stderr


def test_the_report_of_a_deployed_stack_has_its_sweeps_alarms_and_settings(world, tmp_path, monkeypatch):
    clinic = Clinic(world, monkeypatch)
    clinic.parameters["SweepInterval"] = "1h"
    names = {"BindingsTable": "BINDINGS_TABLE", "HistoryTable": "HISTORY_TABLE"}
    tables = [(logical, "AWS::DynamoDB::Table", world.environment[key]) for logical, key in names.items()]
    stack = clinic.stack._replace(resources=(*clinic.stack.resources, *tables))
    monkeypatch.setattr(OperatorCalls, "stack", lambda *_: stack)
    world.sweep()
    file = tmp_path / "report.html"
    result = rolewarden("report", "-o", str(file), *MODELS, *clinic.options)
    assert result.exit_code == 0, result.output
    root = Page(file.read_text(encoding="utf-8")).root
    [sweeps, drills] = rows_of_table(root, "regularity")
    assert (sweeps["Times"], drills["Times"]) == ("1", "0")
    assert {"Alarm": "HeartbeatAlarm", "State now": "INSUFFICIENT_DATA"} in rows_of_table(root, "alarms")
    [scope] = rows_of_table(root, "scope-table")
    assert (scope["Stack"], scope["Last full evaluation"] == "not known") == ("deployed covers us-east-1", False)
    assert "every 1h" in root.ids["alive"].text


def test_without_actors_the_report_has_no_caller_and_no_approver(world, tmp_path):
    world.protected()
    world.enforce(world.detach("CanvasAnalytics", "no-generative-ai"))
    file = tmp_path / "report.html"
    assert rolewarden("report", "-o", str(file), "--without-actors", *MODELS).exit_code == 0
    html = file.read_text(encoding="utf-8")
    assert "security team" not in html
    assert "without callers" in html
    assert "arn:aws:sts" not in html
