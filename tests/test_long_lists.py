"""Long lists in guardrails.yaml: the work of `rolewarden check` grows with the list, and not with its square."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from rolewarden.check import MOST_POLICIES, check
from rolewarden.guardrails import BedrockRule, Guardrail, JumpStartRule
from rolewarden.guardrails_file import read_yaml
from rolewarden.known import known_models
from rolewarden.matching import fewest
from rolewarden.policies import compile_guardrail, fewest_policies
from rolewarden_cli.commands.check import MOST_SHOWN
from rolewarden_cli.main import app
from typer.testing import CliRunner

TODAY = date(2026, 6, 1)


def calls(run: Callable[[], object]) -> int:
    """The number of calls of functions, which is the same on each machine."""
    profile = cProfile.Profile()
    profile.runcall(run)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined]


def listing(family: str, kind: str, models: list[str]) -> str:
    lines = "".join(f"        - '{model}'\n" for model in models)
    return f"guardrails:\n  a:\n    {family}:\n      {kind}:\n{lines}assignments:\n  - guardrails: [a]\n"


def models(family: str, number: int) -> list[str]:
    dot = "." if family == "bedrock" else "-"
    return [f"maker{place % 40}{dot}model-{place}-x*" for place in range(number)]


@pytest.mark.parametrize(
    "shape",
    [
        "maker{0}.model-{1:05}*",
        "*model-{0}-{1:05}",
        "*model-{0:02}-{1:05}*",
        "maker{0}.?-*-{1:05}",
        "maker{0}.model-{1}",
    ],
)
def test_ten_times_the_patterns_take_at_most_twelve_times_the_comparisons(shape: str) -> None:
    few, many = ([shape.format(place % 40, place) for place in range(number)] for number in (200, 2000))
    assert calls(lambda: fewest(many)) <= 12 * calls(lambda: fewest(few))


@pytest.mark.parametrize("kind", ["deny", "allow"])
@pytest.mark.parametrize("family", ["bedrock", "jumpstart"])
def test_ten_times_the_models_take_at_most_twelve_times_the_calls(family: str, kind: str, tmp_path: Path) -> None:
    """The first list is one of the longest that the compiler does not refuse at once."""
    counted = []
    for number in (60, 600):
        file = tmp_path / f"{number}.yaml"
        file.write_text(listing(family, kind, models(family, number)), encoding="utf-8")
        counted.append(calls(lambda file=file: check(file, today=TODAY, known=known_models())))  # type: ignore[misc]
    assert counted[1] <= 12 * counted[0]


def test_twice_the_allowed_models_take_at_most_five_times_the_calls() -> None:
    """The compiler divides an allow list again and again. A list of about 250 models is refused before."""
    few, many = (Guardrail("a", None, JumpStartRule("allow", tuple(models("jumpstart", n)))) for n in (120, 240))
    assert calls(lambda: compile_guardrail(many, "aws")) <= 5 * calls(lambda: compile_guardrail(few, "aws"))


@pytest.mark.parametrize("number", [1, 40, 150])
@pytest.mark.parametrize("kind", ["deny", "allow"])
@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_the_fewest_policies_are_never_more_than_the_compiled_ones(number: int, kind: str, partition: str) -> None:
    known = known_models()
    bedrock, jumpstart = known.bedrock[:number], known.jumpstart[: number * 8 : 8]
    for guardrail in (
        Guardrail("a", BedrockRule(kind, bedrock)),  # type: ignore[arg-type]
        Guardrail("a", None, JumpStartRule(kind, jumpstart)),  # type: ignore[arg-type]
    ):
        needed = len(compile_guardrail(guardrail, partition))
        assert needed / 3 - 1 <= fewest_policies(guardrail, partition) <= needed


def test_more_policies_than_any_quota_are_an_error_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "guardrails.yaml"
    file.write_text(listing("bedrock", "deny", models("bedrock", 700)), encoding="utf-8")
    [error] = check(file, today=TODAY).errors
    assert error.where == "guardrails.a"
    assert error.message.startswith("needs ")
    assert error.message.endswith(
        f"policies, and no role can have more than {MOST_POLICIES}: write families, such as `anthropic.claude-*`, or "
        "fewer models"
    )


def test_guardrails_that_together_need_more_policies_than_any_quota_are_an_error_at_the_assignment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "guardrails.yaml"
    names = [f"g{number}" for number in range(MOST_POLICIES + 1)]
    bodies = "".join(f"  {name}: {{jumpstart: {{deny: all}}}}\n" for name in names)
    rules = f"guardrails:\n{bodies}assignments:\n  - {{guardrails: [{', '.join(names)}], domains: [d]}}\n"
    file.write_text(f"{rules}  - guardrails: [{', '.join(names[1:])}]\n", encoding="utf-8")
    [error] = check(file, today=TODAY).errors
    assert (error.where, error.message) == (
        "assignments[1]",
        "takes 21 policies, and no role can have more than 20: use fewer guardrails or shorter lists",
    )


def test_the_progress_of_a_long_file_reaches_its_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "guardrails.yaml"
    file.write_text(listing("bedrock", "deny", models("bedrock", 5000)), encoding="utf-8")
    seen: list[tuple[str, int, int]] = []
    check(file, today=TODAY, progress=lambda *step: seen.append(step))
    lines = [done for step, done, total in seen if step == "reading lines" and total > 5000]
    assert lines == sorted(lines)
    assert len(lines) == 5
    assert ("compiling guardrails", 0, 1) in seen


def test_a_file_with_thousands_of_mistakes_prints_the_first_ones(tmp_path: Path) -> None:
    file = tmp_path / "guardrails.yaml"
    file.write_text(listing("bedrock", "deny", [f"Maker.x{place}*" for place in range(MOST_SHOWN + 50)]))
    out = CliRunner().invoke(app, ["check", str(file)]).stdout.splitlines()
    assert len(out) == MOST_SHOWN + 2
    assert out[-2] == "50 more problems: correct these first, or use --json to list all"
    assert len(read_yaml(file.read_text(), today=TODAY).errors) == MOST_SHOWN + 50
