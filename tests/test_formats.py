"""`--format`: findings as CSV and OCSF, access as CSV, and results of pipelines as SARIF, all from the same results."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rolewarden_cli.access import AccessEntry
from rolewarden_cli.finding_rows import FindingRow, findings_text
from rolewarden_cli.formats import Format
from rolewarden_cli.main import app
from rolewarden_cli.ocsf import RESOURCE_TYPES, finding_id, ocsf_event
from rolewarden_cli.report.model import Finding, FindingKind, ResourceKind
from rolewarden_cli.sarif import SarifLevel, SarifResult, sarif_text
from rolewarden_local.scenes.seed import TRUST
from typer.testing import CliRunner

from tests.commands import json_answer, rolewarden

NOVA, CLAUDE = "amazon.nova-pro-v1:0", "anthropic.claude-3-5-haiku-20241022-v1:0"
NOW = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)
RULES = Path("rules.yaml")

OCSF_EVENT = {
    "type": "object",
    "required": [
        "activity_id", "category_uid", "class_uid", "cloud", "compliance", "finding_info", "metadata", "severity_id",
        "time", "type_uid",
    ],
    "properties": {
        "class_uid": {"const": 2003},
        "category_uid": {"const": 2},
        "activity_id": {"enum": [1, 2, 3]},
        "type_uid": {"const": 200301},
        "time": {"type": "integer", "minimum": 1_700_000_000_000},
        "severity_id": {"enum": [1, 2, 3, 4, 5, 6]},
        "compliance": {
            "required": ["standards", "status_id"],
            "properties": {"status_id": {"enum": [1, 2, 3, 99]}, "standards": {"minItems": 1}},
        },
        "finding_info": {"required": ["title", "uid"]},
        "metadata": {"required": ["product", "version"], "properties": {"product": {"required": ["vendor_name"]}}},
        "cloud": {"required": ["provider"]},
        "remediation": {"required": ["desc"], "properties": {"desc": {"type": "string", "minLength": 1}}},
    },
}  # fmt: skip
"""The fields that https://schema.ocsf.io/1.3.0/classes/compliance_finding requires of an event."""

SARIF_LOG = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "tool": {"required": ["driver"], "properties": {"driver": {"required": ["name"]}}},
                    "results": {
                        "items": {
                            "required": ["message", "ruleId", "locations"],
                            "properties": {
                                "message": {"required": ["text"]},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "locations": {
                                    "minItems": 1,
                                    "items": {
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "region": {"properties": {"startLine": {"minimum": 1}}},
                                                },
                                            }
                                        }
                                    },
                                },
                            },
                        }
                    },
                },
            }
        },
    },
}
"""The fields that SARIF 2.1.0 and GitHub require of a log."""


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def valid(schema: dict[str, Any], document: Any) -> bool:
    return not list(Draft202012Validator(schema).iter_errors(document))


def finding(
    name: str = "Canvas",
    kind: FindingKind = FindingKind.DRIFTED,
    why: str = "why",
    resource: ResourceKind = ResourceKind.ROLE,
) -> Finding:
    return Finding(resource, name, kind, why, "do this", "aside", "111122223333")


@pytest.mark.parametrize("kind", FindingKind)
def test_a_finding_of_each_kind_is_an_event_of_ocsf(kind: FindingKind) -> None:
    event = ocsf_event(finding(kind=kind), NOW)
    assert valid(OCSF_EVENT, event)
    assert (event["finding_info"]["types"], event["remediation"]["desc"]) == ([kind.value], "do this")
    assert event["cloud"]["account"]["uid"] == "111122223333"
    assert event["compliance"]["status_id"] == (2 if kind is FindingKind.UNREAD else 99 if kind.is_noted else 3)


@pytest.mark.parametrize("key", OCSF_EVENT["required"])
def test_the_rules_for_an_event_reject_one_without_a_required_key(key: str) -> None:
    event = ocsf_event(finding(), NOW)
    del event[key]
    assert not valid(OCSF_EVENT, event)


@pytest.mark.parametrize("resource", ResourceKind)
@pytest.mark.parametrize("name", ["Canvas", "user profile x", "role role"])
def test_the_resource_of_an_event_has_its_type_whatever_its_name(resource: ResourceKind, name: str) -> None:
    found = finding(name, resource=resource)
    [one] = ocsf_event(found, NOW)["resources"]
    assert (one["type"], one["name"]) == (RESOURCE_TYPES[resource], name)
    assert one["uid"] == (name if resource is ResourceKind.ACCOUNT else f"111122223333/{name}")
    assert found.about == f"{resource.value} {name}"


def test_the_same_finding_has_the_same_identifier_at_any_time_and_another_one_has_another() -> None:
    one, later = (ocsf_event(finding(why=why), at) for why, at in (("a", NOW), ("b", NOW.replace(year=2028))))
    assert one["finding_info"]["uid"] == later["finding_info"]["uid"]
    others = [finding("Other"), finding(kind=FindingKind.UNENFORCEABLE), finding(kind=FindingKind.UNREAD)]
    assert len({finding_id(each) for each in (finding(), *others)}) == 4


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum"])
def test_no_cell_of_csv_begins_like_a_formula(name: str) -> None:
    text = findings_text([finding(why=name)], Format.CSV, NOW, RULES)
    assert rows(text)[0]["why"] == f"'{name}"


def test_a_text_of_others_adds_no_row_and_no_column() -> None:
    hostile = 'a,"b"\nc\u2028d\x1b[31m'
    text = findings_text([finding(why=hostile), finding()], Format.CSV, NOW, RULES)
    first, second = rows(text)
    assert (first["why"].count("\n"), "\x1b" in text, second["why"]) == (0, False, "why")
    assert len(text.splitlines()) == 3
    [line] = findings_text([finding(why=hostile)], Format.OCSF, NOW, RULES).splitlines()
    assert json.loads(line)["class_uid"] == 2003


def test_the_findings_of_a_plan_are_those_of_the_report_in_each_format(world: Any, tmp_path: Path) -> None:
    listed = rows(rolewarden("plan", "--format", "csv").stdout)
    assert list(listed[0]) == [field.name for field in fields(FindingRow)]
    events = [json.loads(line) for line in rolewarden("plan", "--format", "ocsf").stdout.splitlines()]
    assert all(valid(OCSF_EVENT, event) for event in events)
    log = json.loads(rolewarden("plan", "--format", "sarif").stdout)
    assert valid(SARIF_LOG, log)
    [run] = log["runs"]
    assert len(listed) == len(events) == len(run["results"])
    assert [row["kind"] for row in listed] == [event["compliance"]["control"] for event in events]
    drifted = {row["about"] for row in listed if row["kind"] == "drifted"}
    assert drifted == {f"role {one['role']}" for one in json_answer("plan", exit_code=2)["roles"]
                       if one["before"] == "drifted" and one["verdict"] != "unenforceable"}  # fmt: skip
    file = tmp_path / "report.csv"
    assert rolewarden("report", "-o", str(file), "--format", "csv", "--model", NOVA).exit_code == 0
    of_report = {(row["about"], row["kind"]) for row in rows(file.read_text(encoding="utf-8"))}
    assert {(row["about"], row["kind"]) for row in listed} <= of_report


def test_access_as_csv_has_a_row_for_each_decision_of_its_json(world: Any) -> None:
    world.iam.create_role(RoleName="=1+1", AssumeRolePolicyDocument=TRUST)
    options = ("--model", NOVA, "--model", CLAUDE)
    found = rows(rolewarden("access", *options, "--format", "csv").stdout)
    decisions = json_answer("access", *options)["decisions"]
    assert list(found[0]) == [field.name for field in fields(AccessEntry)] == list(decisions[0])
    keys = ("subject", "model", "role", "decision", "route")
    assert [tuple(row[key] for key in keys) for row in found] == [tuple(one[key] for key in keys) for one in decisions]
    assert [row["statements"] for row in found] == ["; ".join(one["statements"]) for one in decisions]
    assert {row["allowed"] for row in found} <= {"true", "false"}


def checked(text: str, tmp_path: Path, *arguments: str) -> Any:
    file = tmp_path / "my rules.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["check", str(file), "--format", "sarif", *arguments])
    return json.loads(result.stdout), result.exit_code


def test_check_has_a_result_in_the_line_of_each_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log, code = checked("guardrails:\n  none: {bedrock: {deny: all}}\nassignments:\n- guardrails: [nine]\n", tmp_path)
    assert code == 2
    assert valid(SARIF_LOG, log)
    [result] = [each for each in log["runs"][0]["results"] if "`nine`" in each["message"]["text"]]
    [place] = result["locations"]
    assert place["physicalLocation"]["region"] == {"startLine": 4}
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "my%20rules.yaml"}
    assert (result["ruleId"], result["level"]) == ("check/error", "error")
    clean, code = checked("guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n", tmp_path)
    assert (code, [one for one in clean["runs"][0]["results"] if one["level"] == "error"]) == (0, [])


def test_diff_has_a_result_for_each_change(tmp_path: Path) -> None:
    text = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text)
    new.write_text(text.replace("deny: all", "deny: [anthropic.*]"))
    result = CliRunner().invoke(app, ["diff", str(old), str(new), "--format", "sarif"])
    log = json.loads(result.stdout)
    assert (result.exit_code, valid(SARIF_LOG, log)) == (2, True)
    results = log["runs"][0]["results"]
    assert {one["ruleId"] for one in results} == {"diff/changed", "diff/gained"}
    assert any("assignment" in one["message"]["text"] and "batch jobs" in one["message"]["text"] for one in results)
    assert {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results} == {new.as_uri()}
    same = CliRunner().invoke(app, ["diff", str(old), str(old), "--format", "sarif"])
    assert json.loads(same.stdout)["runs"][0]["results"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "-o", "r.csv", "--format", "csv", "--since-report", "old.html"], "leave out --format"),
        (["plan", "--prevention", "--format", "csv"], "leave out --all-accounts and --format"),
        (["plan", "--prevention", "--all-accounts"], "leave out --all-accounts and --format"),
    ],
)
def test_a_format_and_an_option_for_something_else_are_one_line(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rules = ["--guardrails", world.environment["GUARDRAILS_FILE"]]
    result = rolewarden(*arguments, *rules)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert not Path("r.csv").exists()


def test_a_text_of_a_file_is_no_link_in_a_result() -> None:
    """A viewer of SARIF makes a link of this form, with the text in the brackets in place of the address."""
    message = "`[approved](https://evil.example)` is not a model ID"
    result = SarifResult("check/error", SarifLevel.ERROR, message, Path("guardrails.yaml"), 1)
    [found] = json.loads(sarif_text([result]))["runs"][0]["results"]
    assert found["message"]["text"] == "`[approved] (https://evil.example)` is not a model ID"


def test_a_result_keeps_its_fingerprint_when_its_line_moves() -> None:
    def fingerprint(**more: Any) -> Any:
        result = SarifResult("check/error", SarifLevel.ERROR, "wrong", RULES, **more)
        return json.loads(sarif_text([result]))["runs"][0]["results"][0]["partialFingerprints"]

    assert fingerprint(line=3) == fingerprint(line=9) != fingerprint(about="role x")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "--format", "csv"], "`check` has no format `csv`: write sarif, or use --json"),
        (["check", "--json", "--format", "sarif"], "--json and --format are two formats: give one of them"),
        (["check", "--format", "sarif", "--json"], "--json and --format are two formats: give one of them"),
    ],
)
def test_a_format_that_a_command_does_not_have_is_one_line_with_a_solution(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"rolewarden: {says}\n")
