"""The wheel that `pipx install` installs: every command works in an empty folder outside of the checkout."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from hashlib import sha256

import boto3
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rolewarden import __version__
from rolewarden.aws import Aws
from rolewarden.progress import RecordedProgress
from rolewarden_cli.init import stack_files
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_local.aws import ACCOUNT_ID, REGION, LocalAws
from rolewarden_local.scenes.account import waited
from rolewarden_local.scenes.deploy import environment, sam
from rolewarden_local.scenes.seed import seed

from tests.callers import call_model
from tests.conftest import ROOT
from tests.installed import Installed, Walker

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_every_command_has_its_help_and_those_of_guardrails_yaml_work_without_the_extra(installed):
    from rolewarden_cli.main import app
    from typer.main import get_group

    names = [*get_group(app).commands]
    assert len(names) > 10
    answers = installed.run(
        ["--version"], *([name, "--help"] for name in names), ["check"], ["compile"], extra="without"
    )
    assert {code for code, *_ in answers} == {0}, answers
    assert not any(name.startswith("rolewarden_local") for name in installed.modules)
    helps = answers[1 : len(names) + 1]
    assert all(f"Usage: rolewarden {name}" in out for name, (_, out, _) in zip(names, helps, strict=True))
    checked, compiled = answers[-2:]
    assert "0 errors" in checked[1]
    assert '"Version": "2012-10-17"' in compiled[1]
    for _, _, err in (checked, compiled):
        assert "using the file that ships with Rolewarden" in err
    assert not list(installed.desk.iterdir())


def test_pipx_puts_the_command_on_the_path(installed):
    said = subprocess.check_output(["rolewarden", "--version"], env=installed.variables, text=True)
    assert said == f"rolewarden {__version__}, for a stack of version {__version__}\n"


def test_init_writes_the_files_of_the_stack_from_the_wheel(installed):
    [(code, out, err)] = installed.run(["init", "--without-account", "--with-stack"])
    assert (code, err) == (0, ""), out
    names = {file.relative_to(installed.desk) for file in installed.desk.rglob("*") if file.is_file()}
    try:
        for name in names - {DEFAULT_FILE}:
            assert (installed.desk / name).read_bytes() == (ROOT / name).read_bytes(), name
        assert {name for _, name in stack_files()} == names - {DEFAULT_FILE}
    finally:
        for entry in installed.desk.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def test_the_bill_of_materials_of_the_wheel_has_each_package_that_it_needs(installed, tmp_path):
    files = [tmp_path / name for name in ("one.json", "two.json")]
    for file in files:
        subprocess.run([sys.executable, ROOT / "cli" / "wheel_bom.py", installed.wheel, file], check=True)
    text, again = (file.read_text(encoding="utf-8") for file in files)
    assert text == again
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == "rolewarden"
    assert bill["metadata"]["component"]["hashes"][0]["content"] == sha256(installed.wheel.read_bytes()).hexdigest()
    extras = {part["name"]: part["properties"][0]["value"] for part in bill["components"]}
    assert {"boto3", "jmespath", "typer", "pyyaml"} <= {name for name, extra in extras.items() if not extra}
    assert {"ministack", "moto"} <= {name for name, extra in extras.items() if extra == "local"}
    assert not {"pytest", "mypy", "rolewarden"} & extras.keys()


def test_a_release_has_the_wheel_the_stack_both_bills_and_the_site():
    said = subprocess.check_output(["make", "-n", "-o", "install", "release"], cwd=ROOT, text=True)
    own = ("rolewarden-*.whl", "rolewarden-wheel.cdx.json", "rolewarden-stack.tar.gz", "rolewarden-site.tar.gz")
    named = (*own, "rolewarden-layer.cdx.json", "template.yaml", "forwarder.yaml", "SHA256SUMS")
    assert [name for name in named if name not in said] == []


def test_the_wheel_and_every_page_have_the_version_of_the_package(installed):
    wheel = f"rolewarden-{__version__}-py3-none-any.whl"
    assert installed.wheel.name == wheel
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.*"), ROOT / "Makefile"]
    named = {
        name for page in pages for name in re.findall(r"rolewarden-[^-\s]*-py3-none-any\.whl", page.read_text("utf-8"))
    }
    assert named == {wheel}


def test_readme_changelog_and_security_policy_have_the_version_as_semantic_versioning_writes_it():
    version = re.sub(r"rc(\d+)$", r"-rc.\1", __version__)
    assert f"**Status: {version}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f" {version}." in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    [newest, *_] = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.rstrip(",") == version


@pytest.fixture
def account():
    """A seeded account over HTTP, without a stack. CanvasRosa has called a model."""
    aws = LocalAws.start()
    aws.reset()
    with aws.serving() as url:
        seed(aws)
        with aws.connected():
            call_model("CanvasRosa", "amazon.nova-pro-v1:0")
        yield aws, url
        aws.reset()


def steps(page):
    """The command lines of a tutorial."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ")]


def is_swept(times):
    """Whether so many sweeps of the deployed stack are complete."""
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="rolewarden")["Stacks"]
    table = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}["BindingsTable"]
    sweeps = RecordedProgress(Aws(boto3.Session(region_name=REGION)), table).sweeps(ACCOUNT_ID)
    return len([sweep for sweep in sweeps if sweep.get("completed")]) >= times


PENDING = {
    "rolewarden plan --local",
    "rolewarden plan",
    "rolewarden status",
    "rolewarden diff layers/guardrails/guardrails.yaml.bak",
    "rolewarden verify --role CanvasRosa --model amazon.titan-text-express-v1",
}
"""Commands of the tutorial that can end with 2. The account of the seed has a role without room for a policy."""


@pytest.mark.deployed
def test_the_tutorial_of_the_first_week_works_from_an_empty_folder_to_the_enforced_guardrails(
    installed, account, tmp_path
):
    aws, url = account
    variables = {
        **environment(url, REGION),
        "SAM_CLI_POLL_DELAY": "3",  # Each question after the progress costs CPU time.
        "PATH": f"{installed.bin}:{os.environ['PATH']}",
    }
    command = installed.bin / "sam"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(sam(ROOT))} "$@"\n')
    command.chmod(0o755)
    (tmp_path / installed.wheel.name).symlink_to(installed.wheel)
    outputs, deployed = {}, 0

    def has(role):
        attached = boto3.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        return {one["PolicyName"] for one in attached if ":policy/rolewarden/" in one["PolicyArn"]}

    with Walker(installed, tmp_path, variables) as walker, aws.connected():
        for step in steps("your-first-week.md"):
            if step.startswith("sam build") and not (walker.folder / ".wheels").exists():
                (walker.folder / ".wheels").symlink_to(ROOT / ".wheels")  # The build then needs no network.
            code, output = walker.type(step)
            assert code == 0 or (code == 2 and step in PENDING), (step, code, output)
            outputs[step] = output
            if step.startswith("sam deploy"):
                deployed += 1
                aws.confirm_subscriptions()
                waited(partial(is_swept, deployed), f"sweep {deployed}")
                if deployed == 1:
                    assert has("CanvasRosa") == has("CanvasOmar") == set()
        waited(
            lambda: has("CanvasRosa") == {"allow-research-models-only", "allow-research-models-only-2"}, "CanvasRosa"
        )
        waited(lambda: has("CanvasOmar") == {"deny-generative-ai"}, "CanvasOmar")
    assert "CanvasRosa" in outputs["rolewarden plan --local"]
    assert "amazon.nova-pro-v1:0" in (walker.folder / DEFAULT_FILE).read_text()
    assert (walker.folder / "first-week.html").read_text().startswith("<!DOCTYPE html>")
    verified = outputs["rolewarden verify --role CanvasRosa --model amazon.titan-text-express-v1"]
    assert re.search(r"^ok +.*simulated model call", verified, re.MULTILINE), verified
    assert re.search(r"(\d+) of \1 drills in order", verified), verified


def test_without_the_extra_one_line_names_it_and_its_installation(installed):
    local = [["plan", "--local"], ["replay", "events/detach_role_policy.json"], ["-m", "translate"]]
    for code, out, err in installed.run(*local, extra="without"):
        assert (code, out) == (1, "")
        [line] = err.splitlines()
        assert "the extra `local`" in line
        assert line.endswith(f"run `pipx install --force './rolewarden-{__version__}-py3-none-any.whl[local]'`")


def test_no_command_installs_rolewarden_by_its_name_from_an_index():
    """No index has Rolewarden, so anybody could publish another package under the name."""
    by_name = re.compile(
        r"\b(?:install|run|--from|--with)(?: +-\S+)* +[\"']?rolewarden(?:\[|==|[\"'`]|\s*$)", re.MULTILINE
    )
    assert by_name.search("run `pip install 'rolewarden[local]'`")
    assert by_name.search("pipx install --force rolewarden")
    folders = [ROOT / name for name in ("cli", "docs", "examples", "functions", "layers", "local")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".md", ".yml", ".yaml"}]
    files += [*ROOT.glob("*.md"), ROOT / "Makefile"]
    assert [path for path in files if by_name.search(path.read_text(encoding="utf-8"))] == []


def test_the_local_aws_works(installed):
    sample = "events/detach_role_policy.json"
    replay, deployed = installed.run(["replay", sample, "--json"], ["-m", "demo"])
    assert replay[0] == 0, replay
    assert "CanvasAnalytics" in replay[1]
    assert deployed[0] == 1
    assert "needs a checkout" in deployed[2]
    assert not list(installed.desk.iterdir())
