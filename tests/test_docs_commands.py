"""Every command in README.md and docs/ runs in the order of the page and prints the output of the page."""

import re
import shlex
from pathlib import Path

import pytest
from rolewarden_cli import options
from rolewarden_cli.commands import COMMANDS as ROWS
from rolewarden_cli.main import app
from typer.main import get_group
from typer.testing import CliRunner

from tests.commands import rolewarden
from tests.conftest import ROOT, TODAY
from tests.stacks import deploy, deployed

pytestmark = pytest.mark.long

WALKED = {"your-first-week.md"}
"""Pages whose commands another test runs, on a deployed stack."""
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], key=lambda page: page.name)
BLOCK = re.compile(
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$|(?P<indented>(?:^ {4}\S[^\n]*\n)+)", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"`(?:\.venv/bin/)?rolewarden ([a-z][^`]*)`")
COMMANDS = get_group(app).commands
OFFLINE = {"replay", "check", "compile"}
"""Commands that do not need an account."""
OF_A_STACK = {"doctor", "drill", "verify"}
"""Commands that other tests run on a stack. Without a stack they only print an error."""


def lines(page: Path) -> list[tuple[list[str], list[str]]]:
    """Each `rolewarden ...` line of the page's code blocks: its arguments, and the output in a console block."""
    found: list[tuple[list[str], list[str]]] = []
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        text = block["text"] if block["indented"] is None else block["indented"]
        console = block["kind"] == "console"
        for line in text.replace("\\\n", " ").splitlines():
            plain = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if plain.startswith("rolewarden ") and (not console or line.startswith("$ ")):
                found.append((shlex.split(plain, comments=True)[1:], []))
            elif console and found:
                found[-1][1].append(line.rstrip())
    return found


def with_lines(*, offline: bool) -> list[Path]:
    pages = [page for page in PAGES if page.name not in WALKED]
    return [page for page in pages if any((args[0] in OFFLINE) is offline for args, _ in lines(page))]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A working folder with the project's files under the paths of the pages."""
    for name in ("events", "layers", "template.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", with_lines(offline=True), ids=lambda page: page.name)
def test_commands_without_an_account_do_what_the_page_says(page, desk, aws):
    for arguments, shown in lines(page):
        if arguments[0] in OFFLINE:
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, (arguments, result.output)
            if shown:
                assert untimed(result.stdout.splitlines()) == untimed(shown), arguments


@pytest.mark.parametrize("page", with_lines(offline=False), ids=lambda page: page.name)
def test_commands_on_an_account_print_what_the_page_says(page, desk, world, template, monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    monkeypatch.setattr(options, "is_a_terminal", lambda: True)
    for arguments, shown in lines(page):
        if arguments[0] in OFFLINE:
            continue
        local = [argument for argument in arguments if argument != "--local"]
        with monkeypatch.context() as patched:
            if arguments[0] == "scp":
                # This command needs a deployed stack, and this account has none.
                patched.setattr(
                    "rolewarden_cli.account.OperatorCalls.stack", lambda _, name: deployed(template, name=name)
                )
            elif arguments[0] == "init":
                # This command writes the file of which the folder of the page has a link.
                (folder := desk / "new").mkdir(exist_ok=True)
                patched.chdir(folder)
            elif arguments[0] in {"status", "sweep"}:
                deploy(template, patched)
            result = rolewarden(*local, answer="y\n")
        if arguments[0] in OF_A_STACK:
            assert "stack `rolewarden` does not exist" in result.output, (arguments, result.output)
            continue
        # The seed's full role stays unchanged, and no sweep runs.
        codes = {0, 2} if ROWS[arguments[0]].open else {0}
        assert result.exit_code in codes, (arguments, result.output)
        if shown:
            printed = untimed(result.stdout.splitlines())
            # A line of `...` means that the page omits lines.
            parts = [untimed(part.splitlines()) for part in re.split(r"^\.\.\.$", "\n".join(shown), flags=re.MULTILINE)]
            assert printed[: len(parts[0])] == parts[0], arguments
            assert printed[len(printed) - len(parts[-1]) :] == parts[-1], arguments
            assert len(parts) > 1 or printed == parts[0], arguments


def untimed(lines: list[str]) -> list[str]:
    """The lines without the times of this run."""
    told = [re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line.rstrip()) for line in lines]
    return [line for line in told if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_sentence_exists_with_its_options(page):
    for named in INLINE.findall(page.read_text(encoding="utf-8")):
        name, *rest = named.split()
        assert name in COMMANDS, named
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= options | {"--help"}, named


def test_every_command_has_an_example():
    for name, command in COMMANDS.items():
        help_text = " ".join((command.help or "").split())
        assert f"Example: rolewarden {name}" in help_text, name
        assert "Exit code:" in help_text, name


def test_help_lists_every_command_in_full():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    listed = result.stdout.partition("Commands:\n")[2]
    assert listed.split()[0] == "init"
    assert {line.split()[0] for line in listed.splitlines()} == set(COMMANDS)
    assert "..." not in listed


def test_every_command_is_on_the_page_of_the_command_line():
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert {name for name in COMMANDS if f"rolewarden {name}" not in page} == set()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("rolewarden ac", "access"), ("rolewarden plan --fail", "--fail-on"), ("rolewarden init --mode ob", "observe")],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_choices(shell, typed, completed):
    environment = {
        "_ROLEWARDEN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    result = CliRunner().invoke(app, [], env=environment, prog_name="rolewarden")
    assert completed in result.stdout
