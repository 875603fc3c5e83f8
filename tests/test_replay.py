"""`rolewarden replay`: its output, its JSON and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rolewarden.record import metrics
from rolewarden_cli.main import app
from typer.testing import CliRunner

from tests.conftest import ROOT, sample

pytestmark = pytest.mark.long

EVENTS = ROOT / "events"


@pytest.fixture
def replay(aws):

    def run(*arguments):
        return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["replay", *map(str, arguments)])

    return run


def as_json(result):
    return json.loads(result.stdout)["events"]


def test_a_detached_guardrail_is_shown_with_rule_role_verdicts_remediation_and_calls(replay):
    result = replay(EVENTS / "detach_role_policy.json")
    assert result.exit_code == 0
    for said in (
        "EnforceFunctionRoles > EnforceFunction",
        "arn:aws:iam::111122223333:user/mallory",
        "role CanvasAnalytics",
        "drifted > compliant",
        "attached no-generative-ai",
        "iam:AttachRolePolicy",
        "1 event, 1 matched a rule, 1 role remediated, none left drifted",
    ):
        assert said in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_the_hundredth_metric_is_not_printed_before_the_answer():
    for number in range(99):
        metrics.add_metric(f"Metric{number}", "Count", 1)
    try:
        answer = CliRunner().invoke(app, ["replay", str(ROOT / "events" / "detach_role_policy.json"), "--json"]).stdout
    finally:
        metrics.clear_metrics()
    assert len(json.loads(answer)["events"]) == 1


def test_every_sample_can_be_replayed_and_leaves_no_role_drifted(replay):
    result = replay("--json", *sorted(EVENTS.glob("*.json")))
    assert result.exit_code == 0
    everything = as_json(result)
    # A call on the product's own role matches two rules. It is out of scope for one, and an alert for the other.
    replayed = {Path(r["file"]).stem: r for r in everything if not (r["file"].startswith("self") and not r["alert"])}
    assert replayed.keys() == {path.stem for path in EVENTS.glob("*.json")}
    # Tampering in another account is reported over the central event bus, and a stack of one account has none.
    elsewhere = {name: replayed.pop(name) for name in list(replayed) if name.startswith("member")}
    assert not any(r["outcomes"] and r["outcomes"][0]["remediation"] != "none" for r in elsewhere.values())
    unmatched = {name for name, r in replayed.items() if r["rule"] is None}
    assert unmatched == {
        "awkward_denied_call",
        "awkward_other_function",
        "awkward_other_service",
        "awkward_own_call",
    }
    assert replayed["awkward_deployment_call"]["calls"][0] == "cloudformation:DescribeStackEvents"
    assert replayed["awkward_role_of_no_concern"]["calls"] == ["dynamodb:Query"]
    assert replayed["awkward_cut_parameters"]["request"].keys() == {"ignored"}
    for name, r in replayed.items():
        if not name.startswith("awkward") and r["function"] == "EnforceFunction":
            assert {o["verdict"] for o in r["outcomes"]} == {"compliant"}, name
            assert {o["remediation"] for o in r["outcomes"]} == {"attached"}, name
        if name.startswith(("self", "finding")):
            asks = name == "self_put_role_policy_by_other_stack"
            assert (r["function"], r["calls"].count("sns:Publish")) == ("AlertFunction", 1), name
            assert ("cloudformation:DescribeStackEvents" in r["calls"]) is asks, name
            assert r["alert"].startswith("Rolewarden"), name


def test_the_message_of_an_alert_and_the_rules_that_do_not_match_are_shown_on_request(replay, tmp_path):
    event = sample("tag_role")
    event["detail"]["requestParameters"]["roleName"] = "CanvasFull"
    path = tmp_path / "full.json"
    path.write_text(json.dumps(event))
    shown = replay("--alert", "--why", path).stdout
    assert "\nRolewarden: role CanvasFull cannot be protected: quota full\n" in shown
    assert "\n  To do      detach a policy" in shown
    assert 'EnforceFunctionSubjects: source is "aws.iam"' in " ".join(shown.split())
    assert "EnforceFunctionRoles: " not in shown
    assert "To do" not in replay(path).stdout


def test_the_last_line_counts_events_and_not_the_results_of_their_rules_and_alerts(replay, tmp_path):
    event = sample("tag_role")
    event["detail"]["requestParameters"]["roleName"] = "CanvasFull"
    path = tmp_path / "full.json"
    path.write_text(json.dumps(event))
    results = as_json(replay("--json", "--alert", path, EVENTS / "awkward_other_service.json"))
    assert [result["number"] for result in results] == [1, 1, 2]
    last = replay("--alert", path, EVENTS / "awkward_other_service.json").stdout.splitlines()[-1]
    assert last.startswith("2 events, 1 matched a rule, ")


def test_tampering_is_shown_as_its_alert(replay):
    result = replay(EVENTS / "self_stop_logging.json")
    assert result.exit_code == 0
    assert "AlertFunctionSelfTrailAndStack > AlertFunction" in result.stdout
    assert "alert      Rolewarden itself: user/mallory called StopLogging on" in result.stdout


def test_a_finding_is_replayed_with_its_kind_and_its_cause(replay):
    [found] = as_json(replay("--json", EVENTS / "finding_role.json"))
    assert found["event"] == "Role Finding"
    assert found["actor"] == "arn:aws:iam::111122223333:user/mallory"
    assert found["alert"] == "Rolewarden: role CanvasFull cannot be protected: quota full"


def test_a_role_that_stays_unprotected_gives_exit_code_2_and_is_named(replay, tmp_path):
    event = sample("tag_role")
    event["detail"]["requestParameters"]["roleName"] = "CanvasFull"
    path = tmp_path / "full.json"
    path.write_text(json.dumps(event))
    result = replay(path)
    assert result.exit_code == 2
    assert "left drifted: CanvasFull" in result.stdout
    assert "quota full" in result.stdout


def test_a_cloudtrail_record_and_a_log_file_are_accepted(replay, tmp_path):
    record, trail = tmp_path / "record.json", tmp_path / "trail.json"
    record.write_text(json.dumps(sample("detach_role_policy")["detail"]))
    trail.write_text(json.dumps({"Records": [sample("put_role_policy")["detail"], sample("tag_role")["detail"]]}))
    result = replay("--json", record, trail)
    assert [(r["file"], r["event"]) for r in as_json(result)] == [
        ("record.json", "DetachRolePolicy"),
        ("trail.json", "PutRolePolicy"),
        ("trail.json", "TagRole"),
    ]
    assert result.exit_code == 0


def test_an_event_of_another_account_and_region_is_replayed_in_the_local_one(replay, tmp_path):
    paths = []
    for name in ("update_domain", "add_tags", "delete_policy"):
        text = json.dumps(sample(name)).replace("111122223333", "444455556666").replace("us-east-1", "eu-west-1")
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(text)
    ours = as_json(replay("--json", *[EVENTS / path.name for path in paths]))
    theirs = as_json(replay("--json", *paths))
    for replayed in (*ours, *theirs):
        for outcome in replayed["outcomes"]:
            outcome.pop("correlation_id", None)  # The value differs each time.
    assert [(r["rule"], r["outcomes"], r["policies"]) for r in theirs] == [
        (r["rule"], r["outcomes"], r["policies"]) for r in ours
    ]
    assert all(r["rule"] for r in theirs)


def test_each_file_starts_from_the_same_account(replay):
    twice = as_json(replay("--json", EVENTS / "tag_role.json", EVENTS / "tag_role.json"))
    assert [r["outcomes"][0]["before"] for r in twice] == ["drifted", "drifted"]


def test_events_in_one_file_follow_one_another(replay, tmp_path):
    trail = tmp_path / "trail.json"
    trail.write_text(json.dumps({"Records": [sample("tag_role")["detail"]] * 2}))
    assert [r["outcomes"][0]["before"] for r in as_json(replay("--json", trail))] == ["drifted", "compliant"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"{", "is not valid JSON: "),
        (b'{"hello": 1}', "lacks `eventSource`: "),
    ],
)
def test_invalid_input_gives_exit_code_1_and_one_line(replay, tmp_path, content, why):
    path = tmp_path / "input.json"
    if content is not None:
        path.write_bytes(content)
    result = replay(EVENTS / "tag_role.json", path)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"rolewarden: {path}: ")
    assert why in line
    assert result.stdout == ""


def test_the_installed_command_runs():
    command = Path(sys.executable).with_name("rolewarden")
    ran = subprocess.run([command, "replay", "--help"], capture_output=True, text=True, check=True)
    assert "Example: rolewarden replay events/detach_role_policy.json" in ran.stdout
