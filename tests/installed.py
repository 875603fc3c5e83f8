"""The wheel as `pipx` installs it, outside of the checkout."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
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

    def install(self, command: list[str], folder: Path = ROOT) -> None:
        """Run a `pipx install`, without a network. The packages that the wheel needs are those of this environment."""
        pipx = [sys.executable, "-m", *command]
        done = subprocess.run(pipx, cwd=folder, env=self.variables, capture_output=True, text=True, check=False)
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


SERVE = """
import importlib, json, os, pkgutil, sys
from importlib.metadata import entry_points

[command] = entry_points(group="console_scripts", name="rolewarden")
main = command.load()
import rolewarden_cli.commands
for found in pkgutil.iter_modules(rolewarden_cli.commands.__path__, "rolewarden_cli.commands."):
    importlib.import_module(found.name)

for line in sys.stdin:
    arguments, folder, out, err = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        if "--local" in arguments:
            # The reader has no endpoint in the environment, so the command seeds a local AWS of its own.
            del os.environ["AWS_ENDPOINT_URL"]
        os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(os.open(err, os.O_CREAT | os.O_WRONLY), 2)
        sys.argv = ["rolewarden", *arguments]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A program that runs each command in a process of its own, and imports the modules only once."""


class Walker:
    """A reader who types the commands of a page, one after the other. `cd` changes the folder of the next ones."""

    def __init__(self, installed: Installed, folder: Path, variables: dict[str, str]) -> None:
        self.installed, self.folder = installed, folder
        self.variables = {**installed.variables, **variables}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Walker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def type(self, line: str) -> tuple[int, str]:
        """Run one line of a page, and return its exit code and its output."""
        words = shlex.split(line)
        if words[0] == "cd":
            self.folder /= words[1]
            return 0, ""
        if words[:2] == ["pipx", "install"]:
            self._end()  # It must not import modules while pipx replaces them.
            self.installed.install([*words[:2], "--force", *words[2:]], self.folder)
            return 0, ""
        if words[0] == "rolewarden":
            return self._rolewarden(words[1:])
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def _rolewarden(self, arguments: list[str]) -> tuple[int, str]:
        if not self._process:
            python, pipe = self.installed.packages.parents[2] / "bin" / "python", subprocess.PIPE
            self._process = subprocess.Popen(
                [str(python), "-c", SERVE], env=self.variables, cwd=self.folder, stdin=pipe, stdout=pipe, text=True
            )
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("out", "err")]
            self._process.stdin.write(json.dumps([arguments, str(self.folder), *map(str, files)]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return code, "".join(file.read_text(encoding="utf-8") for file in files)
