"""A narrow terminal changes only the line breaks of an output: no word is broken, cut or left out."""

import re
from collections import Counter

import pytest

from tests import commands
from tests.desk import CASES, run

VARIES = re.compile(r"[\d.]+(?= s\b| ms\b)|\d+ (?:seconds?|minutes?) ago|\d\d:\d\d:\d\dZ")
"""The texts that change from run to run: measured times."""

ONCE = {"enforce", "detach", "erase", "sweep", "init", "drill"}
"""The commands whose second run has another result."""


def words(output: str) -> Counter[str]:
    return Counter(VARIES.sub("", " ".join(output.split())).split())


@pytest.mark.parametrize(("name", "code"), [case for case in CASES if case[0] not in ONCE])
def test_an_output_has_the_same_words_in_40_columns_as_in_400(desk, monkeypatch, name, code):
    arguments = CASES[name, code](desk)
    outputs = []
    for width in ("40", "400"):
        monkeypatch.setattr(commands, "COLUMNS", width)
        outputs.append(run(name, *arguments).output)
    narrow, wide = map(words, outputs)
    assert narrow == wide


@pytest.mark.parametrize(
    ("name", "begins"),
    [("history", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  | {22}"), ("doctor", r"(ok|warn|fail)  +| {6}")],
)
def test_the_lines_of_an_entry_begin_below_its_first_words(desk, monkeypatch, name, begins):
    arguments = CASES[name, 0](desk)
    monkeypatch.setattr(commands, "COLUMNS", "40")
    result = run(name, *arguments)
    assert len(result.stdout.splitlines()) > 10
    assert [line for line in result.stdout.splitlines() if not re.match(rf"({begins})\S", line)] == []
