"""The time in which a role stays unprotected: the figures of drills in `status`, `history` and the report."""

import re
from typing import Any

import boto3
import pytest
from rolewarden_cli.figures import percentile
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.drilled import Operated
from tests.drills import HOME, one_account

pytestmark = pytest.mark.long


@pytest.fixture
def operated(world, monkeypatch):
    return Operated(one_account(world), monkeypatch)


def drilled(operated: Operated, *delays: float) -> None:
    """Drill once with each delay of CloudTrail, an hour apart. The time of the last drill is the current one."""
    operated.ground.now -= 3600 * len(delays)
    for delay in delays:
        operated.ground.delay = delay
        operated.run("DrillFunction", {"step": "drill", "account": ACCOUNT_ID})
        operated.wait(3600)


def measured(exit_code: int = 2) -> dict[str, Any]:
    answer = json_answer("status", exit_code=exit_code)["measured"]
    return {row["figure"]: row for row in answer["rows"]} | {"source": answer["source"]}


@pytest.mark.parametrize(
    ("figures", "percent", "wanted"),
    [([1], 50, 1), ([1], 95, 1), ([3, 1, 2], 50, 2), (range(1, 101), 95, 95), (range(1, 101), 50, 50), ([1, 9], 95, 9)],
)
def test_a_percentile_is_the_smallest_figure_that_so_many_do_not_exceed(figures, percent, wanted):
    assert percentile(list(figures), percent) == wanted


def test_status_has_the_figures_of_each_account_and_region(operated):
    drilled(operated, 10, 20, 60)
    found = measured()
    assert found["source"] == "history"
    unprotected = found["SecondsUnprotected"]
    assert (unprotected["account"], unprotected["region"], unprotected["count"]) == (ACCOUNT_ID, HOME, 3)
    assert [unprotected[name] for name in ("p50", "p95", "maximum")] == pytest.approx([20, 60, 60], abs=1)
    # A full drill comes with a pulse of two calls.
    assert found["SecondsToHear"]["count"] == 9
    text = rolewarden("status").stdout
    assert f"{ACCOUNT_ID} {HOME} unprotected 20.0 / 60.0 / 60.0, 3 times" in text
    assert max(map(len, text.splitlines())) <= 80


def test_before_the_first_drill_status_says_how_to_make_one(operated):
    assert "no drill yet: run `rolewarden drill`" in rolewarden("status").stdout


def test_the_figures_survive_the_loss_of_the_history_as_far_as_metrics_do(operated):
    drilled(operated, 10, 20, 60)
    operated.publish_metrics()
    boto3.client("dynamodb").delete_table(TableName="HistoryTable")
    found = measured()
    assert found["source"] == "metrics"
    assert found["SecondsUnprotected"]["count"] == 3
    assert found["SecondsUnprotected"]["maximum"] == pytest.approx(60, abs=1)
    text = " ".join(rolewarden("status").stdout.split())
    assert "HistoryTable deleted: restore the stack" in text
    assert "from CloudWatch, because the history has none" in text


def test_without_history_and_cloudwatch_status_says_that_it_cannot_know(operated):
    with operated.ground.aws.failing("ListMetrics", "AccessDenied", "no"):
        text = " ".join(rolewarden("status").stdout.split())
    assert "not known: the history has no drill CloudWatch does not answer: ListMetrics" in text


def test_a_drill_is_no_entry_of_the_history_unless_it_is_asked_for(operated):
    drilled(operated, 20)

    def kinds(*options: str) -> set[str]:
        return {entry["kind"] for entry in json_answer("history", *options)["entries"]}

    assert "Drill Measured" not in kinds()
    assert "Drill Measured" in kinds("--drills")


def test_the_report_says_how_often_and_how_long_and_counts_no_drill_as_drift(operated, tmp_path):
    drilled(operated, 20, 40)
    rules = operated.ground.world.environment["GUARDRAILS_FILE"]
    result = rolewarden(
        "report", "--out", str(tmp_path / "report.html"), "--guardrails", rules, "--model", "amazon.nova-pro-v1:0"
    )
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    row = page.partition('id="unprotected-title"')[2].partition("</section>")[0]
    [line] = [one for one in re.findall(r"<tr>.*?</tr>", row, re.DOTALL) if "unprotected" in one and "40.0" in one]
    assert re.findall(r">([0-9]+\.[0-9])<", line) == ["20.0", "40.0", "40.0"]
    assert "2 times" in line
    assert "Drill Measured" not in page
