"""A text of AWS cannot add a line, move or hide other text, or control a terminal, wherever people read it."""

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.control import strip_control_codes
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rolewarden.alert import AlertKey, beyond, compose, summary
from rolewarden.cloudformation import answer_request
from rolewarden.history import HistoryKey
from rolewarden.plaintext import is_visible, plain_name, plain_text, user_agent, visible
from rolewarden.record import log_line, logger
from rolewarden.securityhub import finding
from rolewarden_cli import console as consoles
from rolewarden_cli.lines import print_document, print_fault, print_line
from rolewarden_cli.report.render import render
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import ROOT
from tests.desk import CASES, NAMES, ON_AN_ACCOUNT, WITH_JSON, needed, run
from tests.handlers import deployment_request
from tests.hostile import HOSTILE, SEQUENCES, SIGNS, spoiled
from tests.reports import changed, generated

STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""The sequence with which Rich sets a color. It prints nothing else to a terminal here."""

TEXTS = st.lists(st.one_of(st.sampled_from(SIGNS + SEQUENCES), st.text(max_size=8)), max_size=8).map("".join)


def assert_visible(text):
    """Each character has a shape of its own, and no text of an attacker begins a line."""
    hidden = {char for char in text if char != "\n" and not is_visible(char)}
    assert hidden == set(), sorted(map(ascii, hidden))
    assert not any(line.startswith("FORGED") for line in text.split("\n"))


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_a_character_that_nobody_sees_is_shown_as_its_code(sign):
    assert visible(f"a{sign}b") in {f"a{ascii(sign)[1:-1]}b", "a b"}
    assert visible(f"a{sign}b") == "a b" or not is_visible(sign)


@given(TEXTS)
def test_each_function_of_plaintext_gives_one_visible_line(text):
    for shown in (visible(text), plain_text(text, 80), plain_name(text, 80), user_agent(text, 80)):
        assert all(map(is_visible, shown))


def test_letters_of_every_language_stay_as_they_are():
    for text in ("Renée", "分析", "аналитика", "ניתוח", "😀", "arn:aws:iam::111122223333:user/O'Brien", ""):
        assert visible(text) == text


# The terminal.


def printed(thing, **more):
    out = io.StringIO()
    screen = consoles.VisibleConsole(file=out, highlight=False, emoji=False, markup=False, width=2000, **more)
    screen.print(thing)
    return out.getvalue()


@settings(max_examples=30)
@given(TEXTS)
def test_no_thing_that_the_console_prints_contains_more_than_visible_text(text):
    table = Table(title=text, caption=text)
    table.add_column(text, no_wrap=True)
    table.add_column(Text(text, "bold"), overflow="fold")
    table.add_row(text, Text.assemble((text, "red"), "  ", (text, "bold")), end_section=True)
    styled = Text.assemble((text, "bold"), text).append(text, "red")
    for thing in (text, styled, Padding(text, 1), Group(text, styled), table, consoles.heading(text)):
        assert_visible(printed(thing))
        assert_visible(STYLE.sub("", printed(thing, force_terminal=True, color_system="standard")))


@given(TEXTS, TEXTS)
def test_a_text_that_is_made_visible_keeps_its_styles(first, second):
    first, second = map(strip_control_codes, (first, second))  # Rich drops these few itself
    shown = consoles.visible_text(Text.assemble((first, "red"), (second, "bold")))
    assert shown.plain == visible(first) + visible(second)
    assert [shown.plain[span.start : span.end] for span in shown.spans if span.start < span.end and span.style] == [
        visible(text) for text in (first, second) if text
    ]


def test_markup_of_rich_in_a_name_is_text():
    for text in ("[red]red[/red]", "[link=https://evil.example]here[/link]", ":boom:", "[/nothing]"):
        assert printed(text, force_terminal=True).strip() == text


def test_every_console_and_every_progress_bar_comes_from_the_one_place(capsys):
    for soft_wrap in (False, True):
        consoles.console(soft_wrap=soft_wrap).print(HOSTILE)
    print_line(HOSTILE)
    print_document(HOSTILE.replace("\nFORGED", ""), stderr=True)
    print_fault(ValueError, ValueError("\x1b[2J\u202e"), None)
    out, err = capsys.readouterr()
    assert_visible(out)
    assert_visible(err)


CONSOLE, LINES = "cli/rolewarden_cli/console.py", "cli/rolewarden_cli/lines.py"
ALLOWED = {
    "print": {LINES, "layers/guardrails/build.py"},  # the build prints lines of `Problem`, which are visible
    "Console": set(),
    "VisibleConsole": {CONSOLE},
    "rich.progress": {CONSOLE},
    "confirm": {"cli/rolewarden_cli/options.py"},
    "prompt": {"cli/rolewarden_cli/options.py"},
    "stdout": {LINES},
    "stderr": {LINES, CONSOLE, "layers/guardrails/build.py"},
    "Logger": {"layers/rolewarden/rolewarden/record.py"},
}
"""Each way to write to a terminal or a log, and the modules that use it."""
BANNED = frozenset(
    """
    echo secho style input print_exception print_exc from_markup from_ansi pprint basicConfig StreamHandler
    """.split()  # noqa: SIM905
)
"""Further ways, which no module needs."""


def ways_of_writing(source: str) -> Iterator[str]:
    """Each way to write that a module uses."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            # The method `print` of a console is the way to write.
            is_method = isinstance(node.func, ast.Attribute) and name == "print"
            if name in {*ALLOWED, *BANNED} - {"stdout", "stderr"} and not is_method:
                yield name
            if any(keyword.arg == "markup" and getattr(keyword.value, "value", True) for keyword in node.keywords):
                yield "markup"
        elif isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr", "__stdout__", "__stderr__"}:
            if getattr(node.value, "id", "") == "sys":
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if node.module == "sys" and "std" in alias.name)
            if node.module == "rich":
                yield f"rich.{node.names[0].name}"
            if node.module in {"rich.progress", "rich.pretty", "rich.prompt", "rich.logging"}:
                yield node.module


def test_commands_and_functions_write_only_through_the_places_that_make_text_visible():
    files = [file for folder in ("cli", "functions", "layers") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 80
    used: dict[str, set[str]] = {}
    for file in files:
        for way in ways_of_writing(file.read_text(encoding="utf-8")):
            used.setdefault(way, set()).add(str(file.relative_to(ROOT)))
    assert used == {way: modules for way, modules in ALLOWED.items() if modules}


@pytest.mark.parametrize(
    ("line", "way"),
    [
        ("print(name)", "print"),
        ("rich.print(name)", ""),
        ("from rich import print\n", "rich.print"),
        ("typer.echo(name)", "echo"),
        ("sys.stdout.write(name)", "stdout"),
        ("out = Console()", "Console"),
        ("out = rich.console.Console(markup=False)", "Console"),
        ("out.print(name, markup=True)", "markup"),
        ("Text.from_markup(name)", "from_markup"),
    ],
)
def test_a_new_command_that_writes_in_another_way_is_found(line, way):
    assert list(ways_of_writing(line)) == ([way] if way else [])


# Every command.


def attack_results(monkeypatch, name):
    """Spoil what each function of a command that shows a result is given."""
    module = import_module(f"rolewarden_cli.commands.{name}")
    for attribute, show in vars(module).copy().items():
        if attribute.startswith("show_") and callable(show):
            monkeypatch.setattr(module, attribute, spoiling(show))


def spoiling(show):
    def shown(*things, **more):
        given = [thing if isinstance(thing, Console) else spoiled(plain(thing)) for thing in things]
        return show(*given, **{key: spoiled(value) for key, value in more.items()})

    return shown


def plain(thing):
    return list(thing) if isinstance(thing, Iterator) else thing


def put_hostile_rows(world):
    """Rows of the history as an event of an attacker makes them."""
    cause = {"event_name": "DetachRolePolicy", "actor": f"mallory{HOSTILE}", "source_address": f"1.2.3.4{HOSTILE}"}
    for number, kind in enumerate(("Role Remediated", "Role Finding", "Role Contested", "Subject Finding")):
        at = datetime(2026, 11, 23, 8, number, tzinfo=UTC)
        about = f"{ACCOUNT_ID}/canvasrosa{number}"
        row = {"about": about, "named": f"{about}{HOSTILE}", "at": HistoryKey(at, "", kind).text, "kind": kind}
        more = {"reason": HOSTILE, "message": HOSTILE, "attached": [f"approved{HOSTILE}"], "verdict": "unenforceable"}
        item = json.loads(json.dumps({**row, **more, "cause": cause}))
        world.runtime.aws.put(world.environment["HISTORY_TABLE"], item)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_prints_visible_text(desk, monkeypatch, name):
    code = min(code for command, code in CASES if command == name)
    arguments = CASES[name, code](desk)
    if hasattr(desk, "world"):
        put_hostile_rows(desk.world)
    attack_results(monkeypatch, name)
    result = run(name, *arguments)
    assert result.exit_code in {0, 1, 2}, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert_visible(result.stdout)
    assert_visible(result.stderr)
    shows = any(attribute.startswith("show_") for attribute in vars(import_module(f"rolewarden_cli.commands.{name}")))
    if shows and name not in {"check", "compile"}:
        assert "\\u202e" in result.stdout.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize("name", WITH_JSON)
def test_json_has_every_character_in_ascii(desk, name):
    code = min(code for command, code in CASES if command == name)
    arguments = CASES[name, code](desk)
    if hasattr(desk, "world"):
        put_hostile_rows(desk.world)
    result = run(name, *arguments, "--json")
    assert re.fullmatch(r"[ -~\n]*", result.stdout)
    assert json.loads(result.stdout)


SAYABLE = "".join(char for char in HOSTILE if char == "\n" or (char >= " "))
"""The part of the text that an answer in XML can have."""


@pytest.mark.parametrize("name", ON_AN_ACCOUNT)
def test_an_error_of_aws_is_one_visible_line(world, name):
    with world.aws.failing("GetCallerIdentity", "AccessDenied", SAYABLE):
        result = run(name, *needed(name))
    assert result.exit_code == 1
    assert_visible(result.output)
    assert len(result.stderr.splitlines()) == 1


def test_a_replayed_record_of_an_attacker_prints_visible_text(tmp_path):
    record = json.loads((ROOT / "events" / "detach_role_policy.json").read_text())
    record["detail"]["userIdentity"]["arn"] += HOSTILE
    record["detail"]["requestParameters"]["roleName"] += HOSTILE
    (tmp_path / "event.json").write_text(json.dumps(record))
    result = run("replay", str(tmp_path / "event.json"))
    assert_visible(result.output)
    assert "mallory\\nFORGED" in result.stdout.replace("\n", "").replace(" ", "")


# The report, alerts, findings and the log.


def test_the_report_has_only_visible_text():
    report = spoiled(generated(2, 2))
    [account] = report.accounts
    decisions = {row.session: account.access.decisions[row.role] for row in account.access.rows}
    html = render(changed(report, access=replace(account.access, decisions=decisions)))
    assert_visible(html.replace("\n", "\n "))
    assert html.count("\\u202e") > 50


@pytest.mark.parametrize("file", sorted((ROOT / "events").glob("*.json")), ids=lambda file: file.stem)
def test_every_kind_of_alert_and_finding_has_only_visible_text(file):
    event = json.loads(file.read_text())
    for sign in (*SEQUENCES, HOSTILE, "\ud800"):
        hostile = {**event, "detail": spoiled({"kind": 0, **event["detail"]}, sign)}
        alert = compose(hostile, "aws")
        assert_visible(alert.body)
        assert alert.headline.isascii()
        assert alert.headline.isprintable()
        if event["source"] == "rolewarden":
            assert_visible(json.dumps(finding(hostile, "aws"), ensure_ascii=False))


def test_summaries_of_alerts_have_only_visible_text():
    key = AlertKey(ACCOUNT_ID, HOSTILE, HOSTILE, HOSTILE)
    for alert in (
        *(beyond(key, 10, of_actor=of_actor) for of_actor in (True, False)),
        summary([(HOSTILE, 2)], [(HOSTILE, 3)]),
    ):
        assert_visible(alert.headline + "\n" + alert.body)


def test_the_answer_to_cloudformation_has_only_visible_text(answers):
    def refuse():
        raise ValueError(HOSTILE.replace("\n", ""))

    answer_request(deployment_request(answers), refuse, seconds_left=60)
    [answer] = answers.heard
    assert_visible(answer["Reason"])
    assert "\\u202e" in answer["Reason"]


def test_a_tool_that_decodes_the_log_shows_only_visible_text():
    detail = {"role": HOSTILE, "left": [HOSTILE], HOSTILE: (HOSTILE,), "why": KeyError(HOSTILE)}
    line = log_line({"level": "ERROR", "message": HOSTILE, "finding": detail, "exception": "Traceback:\n  x\u202e"})
    assert line.isascii()
    found = json.loads(line)
    assert found.pop("exception") == "Traceback:\n  x\\u202e"
    assert_visible(json.dumps(found, ensure_ascii=False))


def test_the_logger_of_the_functions_uses_this_serializer():
    record = logging.LogRecord("rolewarden", logging.INFO, "file", 1, "role\u202e", None, None)
    [handler] = logger.handlers
    assert json.loads(handler.format(record))["message"] == "role\\u202e"
