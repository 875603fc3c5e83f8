"""`rolewarden report --since-report FILE`: a page has the data of its report, and a later report shows differences."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from rolewarden.guardrails import Exemption, Mode
from rolewarden.own_events import SubjectFinding
from rolewarden.verdicts import Verdict
from rolewarden_cli.models import BEDROCK, Model
from rolewarden_cli.organization import UnreachedAccount
from rolewarden_cli.report import render
from rolewarden_cli.report.snapshot import DATA_ID, UnreadableReportError, read_earlier, snapshot_in, snapshot_of

from tests.pages import Page, figure
from tests.reports import ACCOUNT, FREE, NOW, changed, entry, generated, planned

BEFORE = generated(6, 6)


def compared(now, folder, before=BEFORE):
    """The differences of a report from an earlier one, by way of the earlier file."""
    file = folder / "earlier.html"
    file.write_text(render(before), encoding="utf-8")
    found = read_earlier(file).compare(now)
    assert found.at == before.at
    return {(change.what, change.about): (change.before, change.now) for change in found.changes}


def test_a_page_gives_back_the_data_of_its_report():
    assert snapshot_in("earlier.html", render(BEFORE)) == snapshot_of(BEFORE)


def test_the_same_account_has_no_difference(tmp_path):
    assert compared(generated(6, 6), tmp_path) == {}


def with_access(report, **values):
    return changed(report, access=replace(report.accounts[0].access, **values))


def test_a_person_who_can_use_more_models_is_a_difference_with_the_models(tmp_path):
    [account] = BEFORE.accounts
    decisions = {**account.access.decisions, "Canvas-finance": (FREE,) * 6}
    found = compared(with_access(BEFORE, decisions=decisions), tmp_path)
    [(key, (_, now))] = found.items()
    assert key == ("people can use more models", "finance/user-001")
    assert set(now.split(", ")) == {model.id for model in account.access.models}


def test_new_and_removed_people_are_differences(tmp_path):
    [account] = BEFORE.accounts
    first, *others = account.access.rows
    joined = replace(first, user_profile="new-user")
    found = compared(with_access(BEFORE, rows=(joined, *others)), tmp_path)
    assert found.keys() == {("new person", "analytics/new-user"), ("person removed", "analytics/user-000")}


def test_another_role_of_a_person_is_a_difference(tmp_path):
    [account] = BEFORE.accounts
    first, *others = account.access.rows
    other = next(row.role for row in others if row.domain_name == "analytics")
    found = compared(with_access(BEFORE, rows=(replace(first, role=other), *others)), tmp_path)
    assert found["other role", "analytics/user-000"] == (first.role, other)


def test_the_state_of_a_role_an_exemption_and_a_mode_are_differences(tmp_path):
    [account] = BEFORE.accounts
    roles = tuple(
        planned(one.outcome.role, Verdict.EXEMPT if one.outcome.role == "Canvas-finance" else one.outcome.before)
        for one in account.plan.roles
    )
    exemption = Exemption("Canvas-finance", date(2027, 1, 31), "forecast", ACCOUNT, ticket="T-1", approved_by="Olga")
    guardrails = dict(BEFORE.rules.guardrails)
    guardrails["only-nova-and-sonnet"] = guardrails["only-nova-and-sonnet"]._replace(mode=Mode.OBSERVE)
    rules = BEFORE.rules._replace(exemptions=(exemption,), guardrails=guardrails)
    now = changed(replace(BEFORE, rules=rules), plan=replace(account.plan, roles=roles))
    found = compared(now, tmp_path)
    assert found == {
        ("state of a role", "Canvas-finance"): ("compliant", "exempt"),
        ("exemption", "Canvas-finance"): ("not there", "until 2027-01-31, forecast, ticket T-1, approved by Olga"),
        ("mode of a guardrail", "only-nova-and-sonnet"): ("enforce", "observe"),
    }


def test_an_account_that_could_not_be_read_and_a_model_that_is_new_in_the_list_are_differences(tmp_path):
    [account] = BEFORE.accounts
    model = Model("amazon.nova-99-v1:0", BEDROCK)
    decisions = {role: (*cells, FREE) for role, cells in account.access.decisions.items()}
    now = with_access(BEFORE, models=(*account.access.models, model), decisions=decisions)
    now = replace(now, unreached=(UnreachedAccount("222233334444", "refused"),))
    found = compared(now, tmp_path)
    assert found == {
        ("scope", "account 222233334444"): ("not in the report", "could not be read"),
        ("models that are new in the list", "6 people can use at least one of them"): ("not there", model.id),
    }


def test_other_rules_and_another_version_are_differences(tmp_path):
    provenance = replace(BEFORE.provenance, rules_digest="other", version="9.9.9")
    found = compared(replace(BEFORE, provenance=provenance), tmp_path)
    assert found.keys() == {("rules", "guardrails.yaml"), ("version of Rolewarden", "the command")}


def test_the_data_have_no_caller_and_without_actors_no_approver():
    exemption = Exemption("Canvas-finance", date(2027, 1, 31), "forecast", ACCOUNT, approved_by="Olga Ivanova")
    report = replace(BEFORE, rules=BEFORE.rules._replace(exemptions=(exemption,)))

    def data(one):
        return Page(render(one)).root.ids[DATA_ID].text

    assert "Olga Ivanova" in data(report)
    assert "mallory" not in data(report)
    assert "assumed-role" not in data(report)
    anonymous = render(report.without_actors())
    assert "Olga Ivanova" not in anonymous
    assert "mallory" not in anonymous
    assert json.loads(data(report.without_actors()))["names_approvers"] is False


def test_a_report_without_approvers_is_compared_without_them(tmp_path):
    exemption = Exemption("Canvas-finance", date(2027, 1, 31), "forecast", ACCOUNT, approved_by="Olga Ivanova")
    report = replace(BEFORE, rules=BEFORE.rules._replace(exemptions=(exemption,)))
    assert compared(report.without_actors(), tmp_path, before=report) == {}


def test_without_people_a_report_numbers_user_profiles_and_has_no_name_of_one():
    [account] = BEFORE.accounts
    first, *others = account.access.rows
    access = replace(
        account.access, rows=(replace(first, user_profile="ana.example"), *others), unread=("ana.example: no",)
    )
    finding = entry(NOW, SubjectFinding.detail_type, "d-analytics/ana.example", message="ana.example shares a role")
    provenance = replace(BEFORE.provenance, rules_text="user_profiles: [ana.example]")
    report = changed(replace(BEFORE, provenance=provenance), access=access, history=(finding,))
    html = render(report)
    assert "ana.example" in html
    numbered = render(report.without_people())
    assert "ana.example" not in numbered
    assert not any(row.user_profile in numbered for row in others)
    assert "analytics/person-1" in numbered
    assert figure(Page(numbered).root, "allowed") == figure(Page(html).root, "allowed")


def test_without_people_a_session_is_named_by_its_number():
    [account] = BEFORE.accounts
    first, *others = account.access.rows
    one = replace(first, user_profile="ana.example", source_identity="ana.example")
    decisions = {**account.access.decisions, one.session: (FREE,) * 6}
    report = with_access(BEFORE, rows=(one, *others), decisions=decisions)
    assert f"{first.role} as ana.example" in render(report)
    numbered = render(report.without_people())
    assert "ana.example" not in numbered
    assert f"{first.role} as person-1" in numbered
    assert figure(Page(numbered).root, "allowed") == figure(Page(render(report)).root, "allowed")


def test_reports_with_numbers_are_compared_without_people_and_the_page_says_so(tmp_path):
    [account] = BEFORE.accounts
    now = with_access(BEFORE, rows=account.access.rows[1:]).without_people()
    file = tmp_path / "earlier.html"
    file.write_text(render(BEFORE), encoding="utf-8")
    found = read_earlier(file).compare(now)
    assert found.changes == ()
    assert "people were not compared" in render(replace(now, comparison=found))


@pytest.mark.parametrize(
    "html",
    [
        "",
        "not a page",
        f'<script type="application/json" id="{DATA_ID}">{{"format": 99}}</script>',
        f'<script type="application/json" id="{DATA_ID}">[1, 2]</script>',
        f'<script type="application/json" id="{DATA_ID}">{"[" * 100_000}</script>',
        f'<script type="application/json" id="{DATA_ID}">{{"format": 1, "at": 5}}</script>',
    ],
)
def test_a_file_that_is_no_report_is_an_error_with_the_next_step(tmp_path, html):
    refuse(tmp_path, html)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ('"sets":[[', '"sets":[[999,'),
        ('"verdicts":{', '"verdicts":{"x":[],'),
        ('"at":"2026-11-25T09:00:00+00:00"', '"at":"2026-11-25"'),
    ],
)
def test_a_report_whose_data_is_wrong_is_an_error_with_the_next_step(tmp_path, text, instead):
    html = render(BEFORE)
    assert text in html
    refuse(tmp_path, html.replace(text, instead))


def refuse(folder, html):
    """Assert that a report cannot be compared with this file."""
    file = folder / "earlier.html"
    file.write_text(html, encoding="utf-8")
    with pytest.raises(UnreadableReportError, match="name a file that `rolewarden report`"):
        read_earlier(file)


def test_a_missing_file_is_an_error_with_the_option(tmp_path):
    with pytest.raises(UnreadableReportError, match="--since-report"):
        read_earlier(tmp_path / "none.html")
