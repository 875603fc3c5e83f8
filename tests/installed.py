"""The wheel as `pipx` installs it, outside of the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.conftest import ROOT

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

    def __init__(self, folder: Path) -> None:
        wheels, self.desk = folder / "wheels", folder / "desk"
        self.desk.mkdir()
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        [self.wheel] = wheels.glob("*.whl")
        self.bin = folder / "bin"
        self.variables = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "COLUMNS": "100",
            "PIPX_HOME": str(folder / "pipx"),
            "PIPX_BIN_DIR": str(self.bin),
            "PIPX_DEFAULT_PYTHON": sys.executable,
            # pipx would make an environment for pip, and update it over the network.
            "PIPX_SHARED_LIBS": sys.prefix,
            "PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
        }
        self.install(["pipx", "install", f"{self.wheel}[local]"])

    def install(self, command: list[str]) -> None:
        """Run a `pipx install`, without a network. The packages that the wheel needs are those of this environment."""
        done = subprocess.run(
            [sys.executable, "-m", *command], env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        [self.packages] = (self.bin.parent / "pipx" / "venvs" / "rolewarden").glob("lib/python*/site-packages")
        # Python searches only its own folders for .pth files, so the editable install stays outside.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def run(self, *commands: list[str], extra: str = "with") -> list[tuple[int | str, str, str]]:
        """Run commands, return each exit code, output and errors, and assert that all code came from the wheel."""
        python = self.packages.parents[2] / "bin" / "python"
        ended = subprocess.run(
            [str(python), "-c", RUN, extra, json.dumps(commands)],
            cwd=self.desk,
            env=self.variables,
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
