"""`rolewarden report`: the page has the same content as the other commands."""

import hashlib
import json

import pytest

from tests.commands import rolewarden
from tests.conftest import ROOT
from tests.pages import Page, figure, findings, rows

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
    assert figure(reported, "history") == str(len(history))
    assert any(about.startswith("role CanvasRosa") for about, *_ in findings(reported))


def test_the_report_names_its_rules_and_its_caller(reported):
    told = " ".join(reported.ids["provenance"].text.split())
    assert hashlib.sha256((ROOT / "layers/guardrails/guardrails.yaml").read_bytes()).hexdigest() in told
    assert "111122223333" in told
    assert "arn:aws:" in told


def test_an_unwritable_file_is_an_error_of_one_line(world, tmp_path):
    result = rolewarden("report", "-o", str(tmp_path / "none" / "report.html"), *MODELS)
    assert result.exit_code == 1
    assert "report.html: cannot be written: No such file or directory" in result.stderr
