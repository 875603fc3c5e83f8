"""The examples of the page about prevention attach exactly the files that the commands print."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from rolewarden_cli.main import app
from rolewarden_cli.observed import LAKE_COLUMNS
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.guardrails import prevention
from tests.resource_types import schema
from tests.world import GUARDRAILS

pytestmark = pytest.mark.long

UNIT = "ou-examplerootid-exampleouid"


def snippet(language: str, begins: str) -> str:
    """The block of the page that begins with a text."""
    page = prevention.HOW_TO.read_text(encoding="utf-8")
    [found] = re.findall(rf"```{language}\n({begins}.*?)```", page, flags=re.DOTALL)
    return str(found)


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files that `compile --scp` prints into the folder `scps` for the shipped file, by name."""
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["compile", str(GUARDRAILS), "--scp", "--out", "scps"])
    assert ran.exit_code == 0, ran.output
    return {file.stem: file.read_text() for file in Path("scps").iterdir()}


def test_the_template_attaches_each_printed_file_once_and_one_after_the_other(printed: dict[str, str]) -> None:
    template = yaml.safe_load(snippet("yaml", "Parameters"))
    resources = list(template["Resources"].items())
    names = []
    for number, (_, resource) in enumerate(resources):
        properties = resource["Properties"]
        assert (resource["Type"], properties["Type"]) == ("AWS::Organizations::Policy", "SERVICE_CONTROL_POLICY")
        assert properties["TargetIds"] == {"Ref": "Units"}
        location = {"Location": f"scps/{properties['Name']}.json"}
        assert properties["Content"] == {"Fn::Transform": {"Name": "AWS::Include", "Parameters": location}}
        assert resource.get("DependsOn") == (resources[number - 1][0] if number else None)
        assert set(properties) <= schema("AWS::Organizations::Policy")["properties"].keys()
        names.append(properties["Name"])
    assert names == [*sorted(printed), "rolewarden-admission"]


def test_cfn_lint_finds_no_problem_in_the_template_with_the_printed_files(printed: dict[str, str]) -> None:
    template = yaml.safe_load(snippet("yaml", "Parameters"))
    for resource in template["Resources"].values():
        # CloudFormation includes the file. The SCP of admission depends on the approvers.
        content = printed.get(resource["Properties"]["Name"])
        resource["Properties"]["Content"] = json.loads(content or '{"Version": "2012-10-17", "Statement": []}')
    Path("template.json").write_text(json.dumps(template))
    lint = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    ran = subprocess.run([str(lint), "template.json"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_the_cdk_example_makes_a_policy_of_each_printed_file_with_its_bytes(
    printed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SimpleNamespace] = []

    class Policy(SimpleNamespace):
        def __init__(self, _stack: object, construct: str, /, **given: object) -> None:
            super().__init__(id=construct, given=given, after=[])
            made.append(self)

        def add_dependency(self, other: SimpleNamespace) -> None:
            self.after.append(other.id)

    library = ModuleType("aws_cdk")
    library.App = lambda: SimpleNamespace(synth=lambda: None)  # type: ignore[attr-defined]
    library.Stack = lambda *_: None  # type: ignore[attr-defined]
    library.aws_organizations = SimpleNamespace(CfnPolicy=Policy)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aws_cdk", library)
    exec(snippet("python", "from pathlib"), {})  # noqa: S102 - the example of the page
    assert {one.given["name"]: one.given["content"] for one in made} == printed
    assert [one.after for one in made] == [[], *([one.id] for one in made[:-1])]
    words = {"name": "Name", "type": "Type", "content": "Content", "target_ids": "TargetIds"}
    assert {words[word] for one in made for word in one.given} <= schema("AWS::Organizations::Policy")[
        "properties"
    ].keys()
    assert {one.given["type"] for one in made} == {"SERVICE_CONTROL_POLICY"}
    assert [one.given["target_ids"] for one in made] == [[UNIT]] * len(made)


def test_the_terraform_example_takes_each_printed_file_and_the_same_ou(printed: dict[str, str]) -> None:
    text = snippet("terraform", "locals")
    [pattern] = re.findall(r'fileset\("\$\{path\.module\}/scps", "([^"]+)"\)', text)
    assert all(fnmatchcase(f"{name}.json", pattern) for name in [*printed, "rolewarden-admission"])
    assert f'units = ["{UNIT}"]' in text
    assert 'type     = "SERVICE_CONTROL_POLICY"' in text
    assert all(text.count(a) == text.count(b) for a, b in ("{}", "()", "[]"))


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_parses_the_example() -> None:
    text = snippet("terraform", "locals")
    ran = subprocess.run(["terraform", "fmt", "-"], input=text, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, text), ran.stderr


def test_the_query_for_cloudtrail_lake_has_exactly_the_columns_that_the_command_reads() -> None:
    query = snippet("sql", "SELECT")
    selected = query.partition("FROM")[0].removeprefix("SELECT")
    columns = re.split(r",\s*(?![^()]*\))", selected.strip())
    assert tuple(column.split(" AS ")[-1].strip() for column in columns) == LAKE_COLUMNS
    grouped = re.findall(r"\d+", query.rpartition("GROUP BY")[2])
    assert len(grouped) == len(LAKE_COLUMNS) - len(("calls", "first", "last"))


def test_the_steps_begin_with_the_plan_and_attach_to_a_test_ou_first() -> None:
    page = prevention.HOW_TO.read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |\n\n)", page.partition("## Attach the SCPs")[2], re.M | re.S)
    seen = [
        next(n for n, step in enumerate(steps) if word in step)
        for word in ("plan --prevention", "test OU,", "other OUs")
    ]
    assert seen == sorted(seen)
    assert "### Go back" in page
