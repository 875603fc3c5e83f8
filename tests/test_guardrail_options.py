"""Mistakes in the options of guardrails for assistants, hubs, jobs and roles."""

from __future__ import annotations

import pytest

from tests.guardrail_files import WAY_OUT, guardrail, one_line, yaml

NO_ASSISTANT = "an assistant does not show its model: write `assistants: {deny: all}`"
MISTAKES = [
    (guardrail("{assistants: {}}"), 2, "guardrails.a.assistants.deny", NO_ASSISTANT),
    (guardrail("{assistants: {deny: [q]}}"), 2, "guardrails.a.assistants.deny", NO_ASSISTANT),
    (guardrail("{assistants: {allow: all, deny: all}}"), 2, "guardrails.a.assistants.allow", "unknown key"),
    (guardrail("{assistants: all}"), 2, "guardrails.a.assistants", "must be a mapping with `deny`"),
    (guardrail("{pass_roles: []}"), 2, "guardrails.a.pass_roles", "is empty: write a list of patterns of role names"),
    (guardrail("{pass_roles: ['*']}"), 2, "guardrails.a.pass_roles[1]", "`*` matches every role"),
    (guardrail("{pass_roles: [role/Canvas]}"), 2, "guardrails.a.pass_roles[1]", "is not a role name: write `Canvas`"),
    (guardrail("{jumpstart: {deny: [x], hubs: [ours]}}"), 2, "guardrails.a.jumpstart.hubs",
     "`hubs` is an exception from `deny: all`"),
    (guardrail("{jumpstart: {deny: all, hubs: [ours-*]}}"), 2, "guardrails.a.jumpstart.hubs[1]",
     "`ours-*` is not the name of a hub"),
    (guardrail("{jumpstart: {deny: all, hubs: [SageMakerPublicHub]}}"), 2, "guardrails.a.jumpstart.hubs[1]",
     "`SageMakerPublicHub` has every model of JumpStart"),
    (guardrail("{jumpstart: {deny: all, hubs: [ours], weights: deny}}"), 2, "guardrails.a.jumpstart.weights",
     "`weights: deny` with `hubs` would also deny the files of these hubs"),
    (guardrail("{jumpstart: {deny: [x], customization: allow, data_jobs: allow}}"), 2,
     "guardrails.a.jumpstart.data_jobs", "`customization: allow` already allows these jobs"),
    (guardrail("{jumpstart: {deny: all, indirect: deny}, routes: canvas}"), 2, "guardrails.a.jumpstart.indirect",
     "contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {deny: all, data_jobs: deny}, routes: canvas}"), 2, "guardrails.a.jumpstart.data_jobs",
     "contradicts `routes: canvas`"),
    (guardrail("{jumpstart: {deny: all, data_jobs: maybe}}"), 2, "guardrails.a.jumpstart.data_jobs",
     "`maybe` is not understood: write `deny` or `allow`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "where", "words"), MISTAKES)
def test_a_mistake_in_an_option_names_its_place_and_a_solution(text: str, line: int, where: str, words: str) -> None:
    reading = yaml(text)
    assert reading.rules is None
    [problem] = reading.errors
    assert (problem.line, problem.where) == (line, where)
    assert words in one_line(problem)
    assert WAY_OUT.search(problem.message), "the message names no correction"
    assert reading.warnings == ()
