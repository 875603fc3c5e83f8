"""`rolewarden plan` warns of names in guardrails.yaml that match nothing in the account, with the nearest name."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from rolewarden.bindings import DEFAULT_USER, EXECUTION, USER_PROFILE, Binding, RoleKey
from rolewarden.guardrails_file import read_yaml
from rolewarden.trust import trust_of
from rolewarden_cli.account import RoleDetail
from rolewarden_cli.inventory import Inventory
from rolewarden_cli.unmatched import UnmatchedName, find_unmatched

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY

ACCOUNT = "111122223333"
DAY = date(2026, 11, 29)
TRUST = trust_of(
    {
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ]
    }
)


def subject(domain: str, profile: str, role: str | None, **tags: str) -> Binding:
    kind = USER_PROFILE if profile else DEFAULT_USER
    key = RoleKey(ACCOUNT, role) if role else None
    return Binding(ACCOUNT, "us-east-1", f"d-{domain}0001", kind, EXECUTION, key, domain, profile, tags)


def role(name: str) -> RoleDetail:
    return RoleDetail(name, "/", TRUST)


BINDINGS = (
    subject("research", "", "CanvasResearch"),
    subject("research", "rosa", "CanvasRosa", team="genomics"),
    subject("research", "ines", None),
    subject("analytics", "", "CanvasAnalytics"),
)
ROLES = {
    name: role(name) for name in ("CanvasResearch", "CanvasRosa", "CanvasAnalytics", "CanvasUnused", "BuildServer")
}


def inventory(**changes: Any) -> Inventory:
    fields: dict[str, Any] = {"bindings": BINDINGS, "roles": ROLES, "policies_per_role": 10, **changes}
    return Inventory(ACCOUNT, "aws", ("us-east-1",), datetime(2026, 11, 29, tzinfo=UTC), **fields)


def unmatched(text: str, *, is_organization: bool = False, **changes: Any) -> tuple[UnmatchedName, ...]:
    reading = read_yaml(text, today=DAY)
    assert reading.rules, reading.errors
    return find_unmatched(inventory(**changes), reading.rules, DAY, is_organization=is_organization)


def assigned(criteria: str, more: str = "") -> str:
    return (
        "guardrails: {none: {bedrock: {deny: all}}, some: {bedrock: {deny: [anthropic.*]}}}\n"
        f"assignments:\n- {{guardrails: [some], {criteria}}}\n- guardrails: [none, some]\n{more}"
    )


PLAIN = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\n"


@pytest.mark.parametrize(
    ("text", "place", "nearest"),
    [
        (assigned("domains: [reserch]"), "assignments[1].domains[1]", "research"),
        (assigned("domains: [research, Analytics]"), "assignments[1].domains[2]", "analytics"),
        (assigned("domains: ['analitics*']"), "assignments[1].domains[1]", "analytics"),
        (assigned("domains: [d-reserch0001]"), "assignments[1].domains[1]", "d-research0001"),
        (assigned("domains: [payroll]"), "assignments[1].domains[1]", ""),
        (assigned("user_profiles: [roza]"), "assignments[1].user_profiles[1]", "rosa"),
        (assigned("roles: [CanvasRozaa]"), "assignments[1].roles[1]", "CanvasRosa"),
        (assigned("roles: [CanvasUnused]"), "assignments[1].roles[1]", ""),
        (assigned("accounts: ['111122223334']"), "assignments[1].accounts[1]", ACCOUNT),
        (assigned("tags: {taem: genomics}"), "assignments[1].tags.taem", "team"),
        (assigned("tags: {team: genomcs}"), "assignments[1].tags.team", "genomics"),
        (
            PLAIN + "exemptions: [{role: CanvasRoza, until: 2026-12-31, reason: x}]\n",
            "exemptions[1].role",
            "CanvasRosa",
        ),
        (
            PLAIN + "exemptions: [{role: CanvasRosa, until: 2026-12-31, reason: x, user_profiles: [roza]}]\n",
            "exemptions[1].user_profiles[1]",
            "rosa",
        ),
        (
            PLAIN + "exemptions: [{role: CanvasRosa, account: '111122223339', until: 2026-12-31, reason: x}]\n",
            "exemptions[1].account",
            ACCOUNT,
        ),
        (PLAIN + "never_govern: [{role: BuildServr}]\n", "never_govern[1].role", "BuildServer"),
        (
            PLAIN + "never_govern: [{role: BuildServer, account: '111122223339'}]\n",
            "never_govern[1].account",
            ACCOUNT,
        ),
        (PLAIN + "also_govern: {roles: [BuildServr*]}\n", "also_govern.roles[1]", "BuildServer"),
        (PLAIN + "also_govern: {trusting: [glue.amazonaws.com]}\n", "also_govern.trusting[1]", ""),
        (
            "guardrails: {none: {bedrock: {deny: all}, pass_roles: [CanvasRoza]}}\n"
            "assignments: [{guardrails: [none]}]\n",
            "guardrails.none.pass_roles[1]",
            "CanvasRosa",
        ),
    ],
)
def test_a_name_that_matches_nothing_is_found_with_the_nearest_name(text, place, nearest):
    [found] = unmatched(text)
    assert (found.place, found.nearest) == (place, nearest)
    assert found.name
    assert found.line.endswith(
        f"did you mean `{nearest}`?" if nearest else "correct it, or remove it if it is not for later"
    )


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        assigned("domains: [research]"),
        assigned("domains: [d-research0001]"),
        assigned("domains: ['re*']"),
        assigned("user_profiles: [ROSA]"),
        assigned("roles: [canvasrosa]"),
        assigned("tags: {team: 'gen*'}"),
        assigned(f"accounts: ['{ACCOUNT}']"),
        # A user profile without a role of its own uses the role of its domain.
        assigned("user_profiles: [ines], roles: [CanvasResearch]"),
        PLAIN + "exemptions: [{role: canvasrosa, until: 2026-12-31, reason: x, domains: [research]}]\n",
        # An exemption that has ended needs no role.
        PLAIN + "exemptions: [{role: CanvasRoza, until: 2026-11-01, reason: x}]\n",
        PLAIN + "never_govern: [{role: 'Build*'}]\nalso_govern: {roles: [CanvasUnused]}\n",
        PLAIN + "also_govern: {trusting: [sagemaker.amazonaws.com]}\n",
    ],
)
def test_a_name_that_matches_something_is_no_finding(text):
    assert unmatched(text) == ()


def test_an_assignment_whose_criteria_no_subject_meets_together_is_found():
    [found] = unmatched(assigned("domains: [analytics], user_profiles: [rosa]"))
    assert (found.place, found.name) == ("assignments[1]", "")
    assert "no subject meets all its criteria" in found.problem


def test_an_assignment_that_earlier_ones_always_win_over_is_found_and_they_are_named():
    text = (
        "guardrails: {none: {bedrock: {deny: all}}, some: {bedrock: {deny: [anthropic.*]}}}\n"
        "assignments:\n- {guardrails: [none], domains: [research]}\n- {guardrails: [some], user_profiles: [rosa]}\n"
        "- guardrails: [none]\n"
    )
    guardrail, assignment = unmatched(text)
    assert (guardrail.place, assignment.place) == ("guardrails.some", "assignments[2]")
    assert "an earlier assignment always wins: 1 (domain research)" in assignment.problem
    # A subject for which no earlier one decides is enough.
    assert unmatched(text.replace("[research]", "[analytics]")) == ()


def test_the_last_assignment_is_no_finding_because_every_file_needs_one():
    assert unmatched(assigned("domains: ['*']")) == ()


def test_names_in_an_assignment_for_other_accounts_are_not_looked_up_here():
    text = assigned("accounts: ['999988887777'], domains: [payroll]")
    assert [found.place for found in unmatched(text)] == ["assignments[1].accounts[1]"]
    assert unmatched(text, is_organization=True) == ()


def test_nothing_is_claimed_about_an_account_that_could_not_be_read_completely():
    assert unmatched(assigned("domains: [reserch]"), unread=("us-east-1: ListDomains: no",)) == ()


def test_plan_prints_the_findings_and_has_them_in_json_and_they_do_not_change_its_exit_code(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr("rolewarden_cli.options.utc_today", lambda: TODAY)
    file = tmp_path / "guardrails.yaml"
    file.write_text(PLAIN.replace("assignments: [", "assignments: [{guardrails: [none], domains: [reserch]}, "))
    [found] = json_answer("plan", "--guardrails", str(file), exit_code=2)["unmatched"]
    assert found == {
        "place": "assignments[1].domains[1]",
        "name": "reserch",
        "problem": "matches no domain in us-east-1",
        "nearest": "research",
    }
    text = rolewarden("plan", "--guardrails", str(file)).stdout
    assert "names in guardrails.yaml that match nothing here" in text
    assert "`reserch` matches no domain in us-east-1: did you mean `research`?" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
