"""The wheel that `pipx install` installs: every command works in an empty folder outside of the checkout."""

import shutil
import subprocess

import pytest
from rolewarden_cli.init import stack_files
from rolewarden_cli.rules import DEFAULT_FILE

from tests.conftest import ROOT
from tests.installed import Installed

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
    assert said.startswith("rolewarden 0.1.0, for a stack of version 0.1.0")


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


def test_without_the_extra_one_line_names_it_and_its_installation(installed):
    local = [["plan", "--local"], ["replay", "events/detach_role_policy.json"], ["-m", "translate"]]
    for code, out, err in installed.run(*local, extra="without"):
        assert (code, out) == (1, "")
        [line] = err.splitlines()
        assert "the extra `local`" in line
        assert line.endswith("run `pip install 'rolewarden[local]'`")


def test_the_local_aws_works(installed):
    sample = "events/detach_role_policy.json"
    plan, replay, deployed = installed.run(["plan", "--local", "--json"], ["replay", sample, "--json"], ["-m", "demo"])
    assert plan[0] == 2, plan
    assert "CanvasAnalytics" in plan[1]
    assert replay[0] == 0, replay
    assert "CanvasAnalytics" in replay[1]
    assert deployed[0] == 1
    assert "needs a checkout" in deployed[2]
    assert not list(installed.desk.iterdir())
