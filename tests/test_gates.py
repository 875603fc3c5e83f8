"""`--fail-on` chooses the conditions that end a command with exit code 2. One table names them."""

import pytest
import typer
from rolewarden_cli import options
from rolewarden_cli.commands import COMMANDS, ExitCode

from tests.desk import CASES, NAMES, NONE, PARAMETERS, needed, run

GATED = [name for name in NAMES if COMMANDS[name].conditions]


def ended(command: str, fail_on: list[str] | None, *holding: str) -> ExitCode:
    """The exit code of a command for which only the conditions `holding` hold."""
    found = {name: name in holding for name in COMMANDS[command].conditions}
    with pytest.raises(typer.Exit) as end:
        options.end(command, fail_on, found)
    return ExitCode(end.value.exit_code)


def without_choice(arguments: list[str]) -> list[str]:
    """Arguments of a case without its own --fail-on."""
    if "--fail-on" not in arguments:
        return arguments
    place = arguments.index("--fail-on")
    return arguments[:place] + arguments[place + 2 :]


def test_exactly_the_commands_that_can_exit_with_2_have_the_option():
    assert [name for name in NAMES if "--fail-on" in PARAMETERS[name]] == GATED
    assert len(GATED) > 10


@pytest.mark.parametrize("command", GATED)
def test_a_condition_counts_if_it_is_named_or_by_default_if_none_is_named(command):
    for name, condition in COMMANDS[command].conditions.items():
        others = [other for other in COMMANDS[command].conditions if other != name]
        assert ended(command, [name], name) is ExitCode.OPEN
        assert ended(command, [name], *others) is ExitCode.DONE
        assert ended(command, others, name) is ExitCode.DONE
        assert ended(command, [options.NO_CONDITION], name) is ExitCode.DONE
        assert ended(command, None, name) is (ExitCode.OPEN if condition.is_default else ExitCode.DONE)
    assert ended(command, None) is ExitCode.DONE


def test_a_result_without_a_condition_of_the_table_is_a_fault_of_the_program():
    with pytest.raises(ValueError, match="other conditions than its row"):
        options.end("check", None, {"errors": False})


@pytest.mark.parametrize("name", GATED)
def test_with_none_a_command_never_exits_with_2(desk, name):
    arguments = without_choice(CASES[name, 2](desk))
    result = run(name, *arguments, "--fail-on", "none")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", GATED)
def test_an_unknown_condition_is_one_line_that_names_those_of_the_command(name):
    result = run(name, *needed(name), "--fail-on", "nonsense")
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.endswith(f"for --fail-on: write one or more of {', '.join(COMMANDS[name].conditions)}, none")


def test_none_stands_alone():
    result = run("check", "--fail-on", "none,errors")
    assert result.exit_code == 1
    assert "excludes every condition" in result.stderr


UNUSED = NONE.replace("{none: {", "{spare: {bedrock: {deny: all}}, none: {")


@pytest.mark.parametrize(
    ("choice", "code"),
    [([], 0), (["warnings"], 2), (["errors"], 0), (["errors,warnings"], 2), (["errors", "warnings"], 2)],
)
def test_check_can_fail_on_warnings(desk, choice, code):
    given = [word for one in choice for word in ("--fail-on", one)]
    assert run("check", *desk.file(UNUSED), *given).exit_code == code


@pytest.mark.parametrize(
    ("other", "holding"),
    [
        (NONE.replace("deny: all", "deny: [anthropic.*]"), {"gained"}),
        (NONE.replace("{bedrock:", "{jumpstart: {deny: all}, bedrock:"), {"lost"}),
        (NONE.replace("fallback: boundary", "surplus: detach"), {"scope"}),
        (f"# a comment\n{NONE}", set()),
    ],
)
def test_diff_tells_gained_access_from_lost_access(desk, other, holding):
    files = desk.two_files(other)
    codes = {name: run("diff", *files, "--fail-on", name).exit_code for name in COMMANDS["diff"].conditions}
    assert {name for name, code in codes.items() if code == 2} == holding


def test_plan_can_fail_only_on_roles_that_cannot_be_protected(desk):
    rules = desk.rules(NONE.replace("fallback: boundary\n", ""), protected=False)
    assert run("plan", *rules, "--fail-on", "unprotected").exit_code == 2
    assert run("plan", *rules, "--fail-on", "unread").exit_code == 0


def test_plan_can_fail_on_a_guardrail_in_observe_mode(desk):
    rules = desk.rules(f"mode: observe\n{NONE}", protected=False)
    assert run("plan", *rules).exit_code == 0
    assert run("plan", *rules, "--fail-on", "observed").exit_code == 2


def test_the_help_names_each_condition_with_its_meaning():
    text = " ".join(run("plan", "--help").stdout.split())
    assert "observed (a role lacks a guardrail in observe mode; not by default)" in text
