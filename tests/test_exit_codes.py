"""Every command has the exit codes of the table, and every `--json` answer has the version of its format."""

import ast
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
from rolewarden_cli import connect, options
from rolewarden_cli.answers import FORMAT_VERSION
from rolewarden_cli.commands import COMMANDS, ExitCode
from rolewarden_cli.commands import compile as compile_command
from rolewarden_cli.main import app
from typer.main import get_group
from typer.testing import CliRunner, Result

from tests.answers import wrong
from tests.conftest import ROOT, TODAY
from tests.desk import (
    CASES,
    NAMES,
    NOVA,
    ON_AN_ACCOUNT,
    ON_FILES,
    PARAMETERS,
    RULES,
    WITH_A_FILE,
    WITH_JSON,
    needed,
    run,
)
from tests.volume import volume

ROLEWARDEN = Path(sys.executable).with_name("rolewarden")


def test_every_command_has_a_case_for_each_of_its_exit_codes_and_is_the_module_of_its_name():
    assert {(name, 2) for name, row in COMMANDS.items() if row.open} | {(name, 0) for name in COMMANDS} == set(CASES)
    modules = {path.stem for path in (ROOT / "cli" / "rolewarden_cli" / "commands").glob("[!_]*.py")}
    assert modules == set(COMMANDS) == set(NAMES)
    assert [int(code) for code in ExitCode] == [0, 1, 2]


def test_the_command_line_has_no_exit_code_without_a_name():
    files = sorted((ROOT / "cli").rglob("*.py"))
    ends = re.compile(r"(?:typer\.Exit|sys\.exit|SystemExit)\((?!ExitCode\.)[^)]")
    assert {file.name: found for file in files if (found := ends.findall(file.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(("name", "code"), CASES)
def test_a_command_exits_with_the_code_of_the_table(desk, name, code):
    result = run(name, *CASES[name, code](desk))
    assert result.exit_code == code, result.output
    assert [line for line in result.output.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize(("name", "code"), [case for case in CASES if case[0] in WITH_JSON])
def test_every_answer_in_json_is_one_object_that_says_the_version_of_its_format(desk, name, code):
    result = run(name, *CASES[name, code](desk), "--json")
    assert result.exit_code == code, result.output
    answer = json.loads(result.stdout)
    assert answer["format_version"] == FORMAT_VERSION
    assert wrong(name, answer) == []


def failed(name: str, result: Result) -> str:
    """The line of an error. Asserts that standard output is empty."""
    assert (result.exit_code, result.stdout) == (1, ""), (name, result.output)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("rolewarden: ")
    return lines[0]


def as_json(name: str) -> list[str]:
    return ["--json"] if name in WITH_JSON else []


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_one_line_with_a_solution_and_exit_code_1(name):
    line = failed(name, run(name, *as_json(name), "--nonsense"))
    assert line.endswith(f": see `rolewarden {name} --help`")


def of_a_type() -> list[tuple[str, str]]:
    """Each command with each of its options whose value is a number or one of some words."""
    found = []
    for name in COMMANDS:
        run_command = getattr(import_module(f"rolewarden_cli.commands.{name}"), f"run_{name}")
        for parameter, hint in get_type_hints(run_command).items():
            kinds = {kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)} - {bool}
            if any(issubclass(kind, int | Enum) for kind in kinds):
                found.append((name, f"--{parameter.replace('_', '-')}"))
    return found


@pytest.mark.parametrize(("name", "option"), of_a_type())
def test_a_value_of_another_type_is_one_line_without_words_of_a_library(name, option):
    line = failed(name, run(name, *needed(name), option, "nonsense"))
    assert [words for words in ("Value error", "Input should", "unable to parse") if words in line] == []
    assert line.endswith(f": see `rolewarden {name} --help`")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["statsu"], "no such command 'statsu' (did you mean 'status'?): see `rolewarden --help`"),
        (["--nonsense"], "no such option: --nonsense: see `rolewarden --help`"),
        (["explain", "CanvasRosa"], "missing argument 'MODEL': see `rolewarden explain --help`"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line_and_exit_code_1(arguments, says):
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"rolewarden: {says}\n")


def test_without_a_command_the_help_is_shown_on_standard_error_and_the_exit_code_is_1():
    result = CliRunner().invoke(app, [])
    assert (result.exit_code, result.stdout) == (1, "")
    assert set(COMMANDS) <= set(result.stderr.split())


@pytest.mark.parametrize("file", ["none", "folder", "binary"])
@pytest.mark.parametrize("name", WITH_A_FILE)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_1(world, tmp_path, name, file):
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\x1f\x8b\xff\xfe")
    path = str(tmp_path / file)
    arguments = [path] if name in ON_FILES else [*needed(name), "--guardrails", path]
    assert file in failed(name, run(name, *arguments, *as_json(name)))


ON_A_STACK = {"history", "erase", "status", "sweep", "doctor", "drill", "verify", "scp"}


@pytest.mark.parametrize("name", sorted(ON_A_STACK))
def test_without_a_stack_it_is_one_line_and_exit_code_1(aws, name):
    aws.reset()
    line = failed(name, run(name, *needed(name), *as_json(name)))
    assert "stack `rolewarden` does not exist in us-east-1: give its name (--stack) and region (--region)" in line


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("explain", ["Nobody", NOVA]),
        ("history", ["--role", "Nobody"]),
        ("detach", ["Nobody", "--yes"]),
        ("access", ["--model", "nothing-*"]),
        ("history", ["--since", "yesterday"]),
        ("report", ["--out", "report.html", "--since", "yesterday"]),
    ],
)
def test_an_invalid_name_or_time_is_one_line_and_exit_code_1(world, monkeypatch, name, arguments):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    assert "`" in failed(name, run(name, *arguments, *as_json(name)))


def test_a_file_of_the_output_that_cannot_be_written_is_an_error_before_the_account_is_read(world, tmp_path):
    with world.aws.failing("ListRoles", "AccessDenied", "no"):
        for out in (tmp_path / "missing" / "report.html", tmp_path):
            for command in (["report"], ["scp"], ["scp", "--admission"]):
                assert str(out) in failed(command[0], run(*command, "--out", str(out)))


@pytest.mark.parametrize("name", sorted(ON_A_STACK))
def test_without_a_local_aws_that_runs_it_is_one_line_and_exit_code_1(world, monkeypatch, name):
    monkeypatch.setattr(connect, "_answers", lambda _: False)
    monkeypatch.setattr(connect, "staged_account", nullcontext)
    line = failed(name, CliRunner().invoke(app, [name, *needed(name), *as_json(name), "--local"]))
    assert line.endswith("start one with `make local`")


def test_every_recommended_target_of_the_makefile_is_where_a_wheel_recommends_a_checkout():
    named = set()
    for path in (ROOT / "cli" / "rolewarden_cli").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
        named |= {path.name for node in texts if "`make " in str(node.value)}
    assert named == {"shipped.py", "connect.py"}  # In connect.py, it is the help of --local.
    code = "from pathlib import Path; Path.is_dir = lambda _: True; from rolewarden_cli import shipped; "
    code += "print(shipped.START_LOCAL)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "start one with `make local` in a checkout of the project"


@pytest.mark.parametrize("name", sorted({*ON_AN_ACCOUNT} - ON_A_STACK - {"diff"}))  # `diff` reads files first
def test_a_command_that_needs_no_stack_works_on_a_local_aws_of_its_own(world, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect, "_answers", lambda _: False)
    monkeypatch.setattr(connect, "staged_account", nullcontext)
    agreed = ["--yes"] if "--yes" in PARAMETERS[name] else []
    result = CliRunner().invoke(app, [name, *needed(name), *agreed, "--local"])
    assert result.exit_code in {ExitCode.DONE, ExitCode.OPEN}, result.output


@pytest.mark.parametrize("name", ["plan", "access", "history", "status", "doctor", "enforce"])
def test_an_error_of_aws_is_one_line_and_exit_code_1_with_json_too(world, name):
    with world.aws.failing("GetCallerIdentity", "AccessDenied", "no"):
        assert "cannot use your credentials" in failed(name, run(name, "--json"))


@pytest.mark.parametrize("name", ON_FILES)
def test_ctrl_c_is_one_line_and_exit_code_1(monkeypatch, name):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "read_text", interrupted)
    arguments = needed(name) or [str(RULES)]
    assert failed(name, run(name, *arguments, *as_json(name))) == "rolewarden: interrupted: run the command again"


def started(name: str, endpoint: str, folder: Path) -> subprocess.Popen[str]:
    """Run the installed command with the AWS at this endpoint."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "AWS_ENDPOINT_URL": endpoint}
    arguments = [str(ROLEWARDEN), name, *needed(name), "--local", *as_json(name)]
    if "--guardrails" in PARAMETERS[name]:
        arguments += ["--guardrails", str(RULES)]
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, env=environment, stdout=pipe, stderr=pipe, text=True, cwd=folder)


def end(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err.splitlines()


# A process of its own takes a second or two, with the retries of botocore.
@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize("name", volume(ON_AN_ACCOUNT[:2], ON_AN_ACCOUNT))
def test_without_a_server_it_is_one_line_and_exit_code_1(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, out, lines = end(started(name, f"http://127.0.0.1:{port}", tmp_path))
    assert (code, out, len(lines)) == (1, "", 1), lines
    assert lines[0].startswith("rolewarden: cannot reach AWS: ")
    said = lines[0].removesuffix("; `rolewarden init --without-account` needs no account")
    assert said.endswith(": check your network and AWS_ENDPOINT_URL, then run the command again")


@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize("name", volume(ON_AN_ACCOUNT[:2], ON_AN_ACCOUNT))
def test_ctrl_c_during_a_call_is_one_line_and_exit_code_1(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = started(name, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            assert end(process) == (1, "", ["rolewarden: interrupted: run the command again"])


def test_the_help_of_a_command_ends_with_its_row_of_the_table():
    for name, command in get_group(app).commands.items():
        assert str(command.help).endswith(f"\n\n{COMMANDS[name].exit_codes}"), name
        text = CliRunner(env={"COLUMNS": "80"}).invoke(app, [name, "--help"]).stdout
        assert max(map(len, text.splitlines())) <= 80, name


def test_help_imports_no_command():
    program = (
        "import sys\nfrom rolewarden_cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'boto3', 'botocore', 'jinja2', 'pygal', 'aws_lambda_powertools', 'rolewarden_cli.options'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["check", str(RULES)], ["compile", str(RULES)]], ids=str
)
def test_a_full_disk_is_one_line_and_a_reader_that_has_gone_is_none(arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        result = subprocess.run([ROLEWARDEN, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr.startswith("rolewarden: cannot write the output: No space left on device: ")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run([ROLEWARDEN, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (1, "")


def test_a_file_that_no_command_expects_to_fail_is_named_without_a_traceback(monkeypatch):
    def fails(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "some.file")

    monkeypatch.setattr(compile_command, "CheckedFile", SimpleNamespace(at=fails))
    result = run("compile", str(RULES))
    assert "some.file: cannot be used: Permission denied: " in failed("compile", result)
