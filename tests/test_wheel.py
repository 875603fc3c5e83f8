"""The wheel in an empty environment: every command works in an empty folder outside of the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.long

RUN = """
import contextlib, io, json, sys, traceback
from importlib.metadata import entry_points

if sys.argv[1] == "without":
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"ministack", "moto", "samtranslator", "hypercorn"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.meta_path.insert(0, Blocked())

answers = []
for arguments in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    code = 0
    sys.argv = ["rolewarden", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if arguments[0] == "-m":
                from rolewarden_local.__main__ import main
                code = main(arguments[1:])
            else:
                [command] = entry_points(group="console_scripts", name="rolewarden")
                command.load()()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = "traceback"
    answers.append((code, out.getvalue(), err.getvalue()))
own = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("rolewarden")}
print(json.dumps([answers, own]))
"""
"""A program that runs several commands in one process, because importing the local AWS takes long."""


class Installed:
    """An environment with the wheel and its dependencies, and an empty folder to work in."""

    modules: set[str]
    """Rolewarden's modules that the last run imported."""

    def __init__(self, folder: Path):
        wheels, environment, self.desk = folder / "wheels", folder / "environment", folder / "desk"
        self.desk.mkdir()
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        [wheel] = wheels.glob("*.whl")
        venv.create(environment, symlinks=True)
        self.bin = environment / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = environment / "lib" / version / "site-packages"
        install = ["--disable-pip-version-check", "--no-index", "--no-deps", "--quiet", str(wheel)]
        python = str(self.bin / "python")
        subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *install], check=True)
        # Python searches only its own folders for .pth files, so the editable install stays outside.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def run(self, *commands: list[str], extra: str = "with") -> list[tuple[int | str, str, str]]:
        """Run commands, return each exit code, output and errors, and assert that all code came from the wheel."""
        ended = subprocess.run(
            [str(self.bin / "python"), "-c", RUN, extra, json.dumps(commands)],
            cwd=self.desk,
            env={"PATH": str(self.bin), "HOME": str(self.desk), "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        answers, modules = json.loads(ended.stdout.splitlines()[-1])
        assert "rolewarden_cli.main" in modules
        assert all(Path(path).is_relative_to(self.packages) for path in modules.values() if path), modules
        self.modules = set(modules)
        return [tuple(answer) for answer in answers]


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
