"""The report answers an auditor's twelve questions, each at one place, found by its accessible text only.

A test reads the table of the questions, follows the link in its row, and reads the tables there by their captions, the
heads of their columns and the names of their rows, as a person with a screen reader does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rolewarden.guardrails import BedrockRule, Guardrail, JumpStartRule, NeverGoverned, Routes
from rolewarden.own_events import AccountFinding, FindingResolved, RoleFinding, RoleRemediated
from rolewarden.verdicts import Reason, Verdict
from rolewarden_cli.report.answer import NOT_DEPLOYED
from rolewarden_cli.report.controls import AWS_CONTROLS, CONTROLS
from rolewarden_cli.report.evidence import find_regularity, find_tampering, find_unprotected, length_in_words
from rolewarden_cli.report.matrix import NOT_EVALUATED
from rolewarden_cli.report.model import AccountScps, AttachedScp
from rolewarden_cli.report.sections import SECTION_TITLES

from tests.conftest import ROOT
from tests.pages import Element, page
from tests.reports import ACCOUNT, NOW, changed, entry, example, generated, of_several, rules_changed

pytestmark = pytest.mark.long

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def asked():
    return page(example())


@pytest.fixture(scope="module")
def several():
    return page(of_several())


def words(element: Element) -> str:
    return " ".join(element.text.split())


def table(element: Element) -> Rows:
    """The rows of a table: the text of each cell by the head of its column."""
    [*_, line] = element.one("thead").all("tr")
    heads = [words(head) for head in line.children]
    lines = element.one("tbody").all("tr")
    return [dict(zip(heads, map(words, line.children), strict=True)) for line in lines]


def caption(element: Element) -> str:
    return next((" ".join(str(one.texts[0]).split()) for one in element.all("caption")), "")


def tables(element: Element) -> dict[str, Rows]:
    """The tables of a section, or the table itself, by caption."""
    found = [element] if element.tag == "table" else element.all("table")
    return {caption(one): table(one) for one in found}


def ask(root: Element, question: str) -> tuple[str, Element]:
    """The short answer to a question, and the place with its evidence."""
    [row] = [row for row in root.ids["twelve"].one("tbody").all("tr") if question in words(row.children[0])]
    _, answer, evidence = row.children
    return words(answer), root.ids[evidence.one("a").attributes["href"].removeprefix("#")]


def test_the_report_has_twelve_questions_and_each_has_one_place(asked):
    questions = table(asked.ids["twelve"])
    assert [row["Question"].split(".")[0] for row in questions] == [str(number) for number in range(1, 13)]
    for row in questions:
        answer, place = ask(asked, row["Question"].split(". ", 1)[1])
        assert answer.endswith(".")
        assert place.tag in {"section", "table"}


def test_who_can_use_any_model(asked):
    answer, place = ask(asked, "any generative model")
    assert answer == "12 of 14 people can use at least one generative model."
    found = tables(place)
    people = [
        name
        for reach in ("every model", "some models")
        for row in found[f"People who can use {reach}"]
        for name in row["People"].split(" 2 people")[0].split(" 3 people")[0].split(", ")
    ]
    assert len(people) == 12
    assert "research/user-003" in people
    assert not {"finance/user-001", "finance/user-011"} & set(people)
    assert "analytics default-user" in {row["Used by"] for row in found["Other users of roles, which are no people"]}


def test_who_can_use_every_model_and_why(asked):
    answer, place = ask(asked, "every model")
    assert answer == (
        "3 people can use all 16 models that the report evaluates: 1 by an exemption, 2 because their role lacks a "
        "guardrail."
    )
    rows = table(place)
    assert {row["People"]: row["State"] for row in rows} == {
        "finance/user-006": "exempt exempt from guardrails until 2026-12-15",
        "research/user-008, research/user-013 2 people": "drifted lacks a guardrail",
    }
    assert {row["Models"].split(" Amazon")[0] for row in rows} == {"16 of 16"}
    assert all("IAM simulated each decision" in row["How sure"] for row in rows)


def test_the_headline_is_the_first_thing_on_the_page(asked):
    main = asked.one("main")
    first = words(main.children[0])
    assert first.startswith("The answer 12 of 14 people can use at least one generative model. 3 people can use all 16")
    assert "A person is a user profile" in first
    assert "8 of 9 roles that need guardrails have them (88.8 %)." in first


def test_by_which_exemption_until_when_and_approved_by_whom(asked):
    answer, place = ask(asked, "By which exemption")
    assert "role Canvas-finance-006 until 2026-12-15, approved by Olga Ivanova, data protection" in answer
    assert "1 without a recorded approval" in answer
    used, unused = tables(place)["Exceptions from the rules"]
    assert used == {
        "Role": "Canvas-finance-006",
        "Reason": "quarterly forecast with all models",
        "Ticket": "SEC-123",
        "Approved by": "Olga Ivanova, data protection",
        "Until": "2026-12-15",
        "Days left": "20",
        "Used by": "finance/user-006",
        "Can use": "16 of 16 models",
        "Accepted now": "yes exempt from guardrails",
    }
    assert (unused["Approved by"], unused["Used by"]) == ("not recorded", "not used")


def test_a_person_with_an_exempt_and_a_drifted_role_counts_as_exempt_because_the_exemption_lasts():
    report = example()
    [account] = report.accounts
    rows = tuple(
        replace(row, bedrock_role="Canvas-research") if row.user_profile == "user-006" else row
        for row in account.access.rows
    )
    root = page(changed(report, access=replace(account.access, rows=rows)))
    answer, place = ask(root, "every model")
    assert "1 by an exemption, 2 because their role lacks a guardrail" in answer
    [row] = [row for row in table(place) if row["People"] == "finance/user-006"]
    assert row["State"] == "drifted lacks a guardrail, role Canvas-finance-006 is exempt until 2026-12-15"


def test_which_person_uses_which_role(asked):
    answer, place = ask(asked, "Which person")
    assert answer.startswith("14 people and 10 roles")
    [matrix] = [one for one in place.all("table") if one.attributes.get("id") == "matrix"]
    roles = {}
    for body in matrix.all("tbody"):
        domain, *rows = body.children
        for row in rows:
            roles[f"{words(next(domain.all('span')))}/{words(row.children[0])}"] = words(row.children[1])
    assert roles["finance/user-006"] == "Canvas-finance-006"
    assert roles["research/user-008"] == roles["research/user-013"] == "Canvas-research"
    assert len(roles) == 15


def test_which_roles_were_unprotected_and_how_long(asked):
    answer, place = ask(asked, "unprotected")
    assert "1 of them now" in answer
    found = tables(place)
    [now] = [row for row in found["Times without protection, by role"] if row["Role"] == "Canvas-research"]
    assert now["Protected now"] == "unprotected since 2026-11-25 07:00 UTC"
    assert {row["Seconds"]: row["Longest"] for row in found["Seconds that drills measured"]} == {
        "to hear a call": "6.0",
        "unprotected": "7.0",
    }


def test_who_tampered(asked):
    answer, place = ask(asked, "tampered")
    assert "calls by mallory" in answer
    rows = tables(place)["Calls against the guardrails, by caller"]
    found = {(row["Caller"], row["Effect of the calls"]) for row in rows}
    assert ("mallory", "took a guardrail from a role") in found
    assert ("mallory", "edited a guardrail's policy") in found
    assert ("mallory", "changed the canary, with which Rolewarden tests itself") in found


def test_who_changed_the_rules_and_what_that_changed(asked):
    answer, place = ask(asked, "changed the rules")
    assert answer == "1 change; the newest one by Admin/olga on 2026-11-16: +28 models for domain research."
    [row] = tables(place)["Changes of the rules"]
    assert row["Changed by"] == "Admin/olga"
    assert row["Call"] == "ExecuteChangeSet"
    assert "domain research: can now use 28 models" in row["Changed access"]
    assert row["Digests of the rules"].startswith("ada45860848c to ")
    modes = {row["Guardrail"]: row["Mode"] for row in tables(place)["The guardrails of the rules"]}
    assert modes["only-nova-and-sonnet"] == "enforce Rolewarden attaches it"
    assert (ROOT / "layers/guardrails/guardrails.yaml").read_text(encoding="utf-8") in place.text


def test_which_accounts_and_regions_are_covered(several):
    answer, place = ask(several, "accounts and regions")
    assert answer == "3 accounts in us-east-1; 1 more could not be read."
    rows = {row["Account"]: row for row in tables(place)["Accounts and regions"]}
    assert list(rows) == ["111122223333", "222233334444", "333344445555", "444455556666"]
    assert rows["111122223333"]["Stack"] == "deployed covers us-east-1"
    assert rows["333344445555"]["Stack"] == "not deployed"
    assert rows["444455556666"]["Regions read"] == "not read"
    assert "AccessDenied" in rows["444455556666"]["Stack"]


def test_whether_rolewarden_was_working_all_the_time(asked):
    answer, place = ask(asked, "working all the time")
    assert answer == "The longest time without a sign of work was 1 d."
    found = tables(place)
    signs = {row["Sign of work"]: row["Longest time without one"] for row in found["Sweeps and drills"]}
    assert signs == {"completed sweep of the last 7 days": "1 h", "drill that was heard": "1 d"}
    alarms = {row["Alarm"]: row["State now"] for row in found["Alarms about a silent Rolewarden"]}
    assert alarms == {"EventPathsAlarm": "OK", "HeartbeatAlarm": "OK"}


def test_which_service_control_policies_hold():
    report = example()
    assignment = report.rules.assignments[0]._replace(principals=(f"arn:aws:iam::{ACCOUNT}:role/Research",))
    rules = report.rules._replace(assignments=(assignment, *report.rules.assignments[1:]))
    scps = (AttachedScp("FullAWSAccess", of_rules=False), AttachedScp("rolewarden-models", of_rules=True))
    root = page(changed(replace(report, rules=rules), prevention=AccountScps(scps, equals_rules=True)))
    answer, place = ask(root, "service control policies")
    assert answer == f"2 policies could be read. The policies of {ACCOUNT} have every statement of the rules."
    assert {row["Policy"]: row["Kind"] for row in tables(place)["Service control policies"]} == {
        "FullAWSAccess": "another one",
        "rolewarden-models": "rules of guardrails.yaml",
    }


def test_what_is_not_covered(several):
    answer, place = ask(several, "What is not covered")
    assert answer.endswith("and 4 that every report has.")
    [rows] = tables(place).values()
    found = {(row["What"], row["Account"]) for row in rows}
    assert ("account not read", "444455556666") in found
    assert ("user profile without a role of its own", "222233334444") in found
    assert ("other principals", "all") in found
    assert "more people may be able to use a model" in words(several.ids["answer"])


def test_what_changed_since_the_last_report(asked):
    answer, place = ask(asked, "since the last report")
    assert answer == "6 differences since 2026-10-26 09:00 UTC."
    assert "report-2026-10.html" in words(place)
    rows = {(row["Change"], row["About"]): row for row in tables(place)["Differences from the earlier report"]}
    people = rows["people can use more models", "research/user-008, research/user-013"]
    assert people["In this report"].startswith("cohere.command-1-v1:0, ")
    assert rows["state of a role", "Canvas-finance-006"]["In this report"] == "exempt"
    exemption = rows["exemption", "Canvas-finance-006"]
    assert exemption["In the earlier report"] == "not there"
    assert "approved by Olga Ivanova" in exemption["In this report"]


def test_three_accounts_are_in_one_report_and_each_row_names_its_account(several):
    found = tables(several.ids["people"])["People who can use some models"]
    assert {row["Account"] for row in found} == {"111122223333", "222233334444", "333344445555"}
    heads = [words(next(head.all("span"))) for head in several.ids["matrix"].all("th", scope="rowgroup")]
    assert "analytics, account 222233334444" in heads
    assert len(heads) == 15
    assert words(several.one("h1").parent).startswith(
        "Rolewarden Who can use generative AI in SageMaker Canvas 4 accounts"
    )


def test_a_model_that_only_one_account_lists_is_not_evaluated_in_the_others():
    report = of_several(2, 4)
    first, *others = report.accounts
    access = first.access
    fewer = {role: cells[:-1] for role, cells in access.decisions.items()}
    less = replace(first, access=replace(access, models=access.models[:-1], decisions=fewer))
    root = page(replace(report, accounts=(less, *others)))
    cells = [cell.text for cell in root.ids["matrix"].all("td", class_="u")]
    assert cells == [NOT_EVALUATED] * len(access.rows)
    assert root.ids["figure-not-evaluated"].text == str(len(cells))


def test_a_report_without_a_stack_says_so_once_and_answers_no_question_about_the_record():
    report = generated(4, 4)
    plan = replace(report.accounts[0].plan, deployed=False)
    root = page(changed(report, plan=plan, history=(), status=None, watch=None))
    assert words(root).count("not deployed in") == 1
    for question in ("unprotected", "tampered", "changed the rules", "working all the time"):
        answer, place = ask(root, question)
        assert answer == "Not recorded."
        assert place.attributes["id"] == NOT_DEPLOYED
    assert not {"unprotected", "tampering", "alive"} & root.ids.keys()
    assert not [figure for figure in root.all("figcaption") if "Drift" in figure.text]


def test_no_text_of_the_page_has_a_raw_backtick():
    report = example()
    rules = report.rules._replace(never_govern=(NeverGoverned("Canvas-supply*"),))
    root = page(replace(report, rules=rules))
    documents = "".join(part.text for part in root.all("pre"))
    assert root.one("main").text.count("`") == documents.count("`")


def test_observe_mode_is_said_once_in_the_answer(asked):
    report = of_several(2, 2)
    banner = "Observe mode: only-nova-and-sonnet."
    accounts = tuple(replace(one, plan=replace(one.plan, banner=banner)) for one in report.accounts)
    root = page(replace(report, accounts=accounts))
    assert words(root).count(banner) == 1
    assert banner in words(root.ids["answer"])
    assert "observe-mode" not in asked.ids


def test_models_are_in_natural_order():
    report = generated(2, 60)
    heads = [head.attributes["title"] for head in page(report).ids["matrix"].all("th", class_="model")]
    assert heads.index("amazon.nova-2-v1:0") < heads.index("amazon.nova-9-v1:0")
    assert heads.index("huggingface-llm-example-7b-instruct") < heads.index("huggingface-llm-example-17b-instruct")


def test_each_column_has_a_number_a_family_and_its_whole_name_below_the_table(asked):
    families = [words(head) for head in asked.ids["matrix"].all("th", scope="colgroup")]
    assert families == ["Amazon Bedrock", "SageMaker JumpStart"]
    heads = list(asked.ids["matrix"].all("th", class_="model"))
    listed = [words(item) for item in asked.ids["columns"].children]
    assert listed == [head.attributes["title"] for head in heads]
    assert [words(next(head.all("b"))) for head in heads] == [str(n) for n in range(1, 17)]


def account_with(*history, **verdicts):
    report = changed(generated(3, 3), history=history)
    [account] = report.accounts
    roles = tuple(
        replace(one, outcome=one.outcome._replace(before=verdicts.get(one.outcome.role, one.outcome.before)))
        for one in account.plan.roles
    )
    return replace(account, plan=replace(account.plan, roles=roles))


def test_a_time_without_protection_lasts_from_the_finding_to_the_remediation():
    finding = entry(NOW - timedelta(hours=5), RoleFinding.detail_type, "A", verdict="unenforceable")
    mended = entry(NOW - timedelta(hours=2), RoleRemediated.detail_type, "A")
    [found] = find_unprotected(account_with(mended, finding))
    assert (found.times, found.longest, found.since, found.is_now) == (1, timedelta(hours=3), None, False)


def test_a_resolved_finding_also_ends_it():
    finding = entry(NOW - timedelta(hours=5), RoleFinding.detail_type, "A", verdict="drifted")
    resolved = entry(NOW - timedelta(hours=4), FindingResolved.detail_type, "A", verdict="")
    [found] = find_unprotected(account_with(finding, resolved))
    assert (found.times, found.longest) == (1, timedelta(hours=1))


def test_a_remediation_counts_from_the_call_and_one_without_a_call_has_an_unknown_length():
    known = entry(NOW - timedelta(hours=2), about="A", row={"seconds_since_event": 12})
    unknown = entry(NOW - timedelta(hours=1), about="a", row={})
    [found] = find_unprotected(account_with(known, unknown))
    assert (found.times, found.unmeasured, found.longest) == (2, 1, timedelta(seconds=12))


def test_a_role_that_is_unprotected_now_is_listed_without_any_history():
    [found] = find_unprotected(account_with(**{"Canvas-finance": Verdict.DRIFTED}))
    assert (found.role, found.is_now, found.since, found.times) == ("Canvas-finance", True, None, 0)


def test_a_remediation_after_a_new_user_profile_is_no_tampering():
    assert find_tampering([entry(NOW, event="CreateUserProfile")]) == ()


def test_a_finding_about_a_forged_request_is_tampering():
    forged = entry(NOW, AccountFinding.detail_type, reason=Reason.FORGED.value, event="forged request", actor="")
    [found] = find_tampering([forged])
    assert found.did == "sent a forged request to a function"


def test_the_longest_time_without_a_sweep_includes_the_time_until_now():
    [account] = generated(1, 1).accounts
    assert account.status is not None
    late = replace(account.status.sweeps[0], began=NOW - timedelta(hours=30))
    [sweeps, _] = find_regularity(
        replace(account, status=replace(account.status, sweeps=(late,))), NOW - timedelta(days=9)
    )
    assert (sweeps.times, sweeps.longest_gap) == (1, timedelta(hours=30))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (48, "48 s"), (725, "12 min 5 s"), (3600, "1 h"), (273_600, "3 d 4 h")]
)
def test_a_length_of_time_has_its_two_largest_units(seconds, text):
    assert length_in_words(timedelta(seconds=seconds)) == text


def test_a_change_of_the_rules_that_was_cut_says_so():
    change = rules_changed(NOW)
    cut = replace(change, row={"more_changes": 7}, unverified="another digest")
    [row] = tables(page(changed(generated(1, 1), history=(cut,))).ids["rules"])["Changes of the rules"]
    assert "and 7 further lines" in row["Changed access"]
    assert "not verified: another digest" in row["Changed by"]


def left_open(*guardrails):
    """The access paths that the report says each guardrail leaves open, by the name of the guardrail."""
    report = generated(1, 1)
    rules = report.rules._replace(guardrails={one.name: one for one in guardrails})
    rows = tables(page(replace(report, rules=rules)).ids["rules"])["The guardrails of the rules"]
    return {row["Guardrail"]: row["It leaves open"].split("; ") for row in rows}


def test_a_guardrail_leaves_open_what_its_statements_do_not_deny():
    complete = Guardrail("complete", BedrockRule("deny-all"), JumpStartRule("deny-all"))
    listed = Guardrail("listed", BedrockRule("allow", ("amazon.nova-*",)), JumpStartRule("deny", ("huggingface-*",)))
    of_canvas = complete._replace(name="of-canvas", routes=Routes.CANVAS)
    found = left_open(complete, listed, of_canvas)
    denied_by_all = {"batch jobs of Bedrock", "gated JumpStart models by reference"}
    assert denied_by_all.isdisjoint(found["complete"])
    assert denied_by_all <= {*found["listed"]}
    assert {*denied_by_all, "agents, flows and knowledge bases of Bedrock"} <= {*found["of-canvas"]}
    assert {"shared spaces", "AWS's assistants in Canvas"} <= {*found["complete"]}


def test_a_guardrail_without_a_family_leaves_all_of_it_open():
    [found] = left_open(Guardrail("bedrock-only", BedrockRule("deny-all"))).values()
    assert "all of SageMaker JumpStart" in found
    assert "all of Amazon Bedrock" not in found


def test_each_control_names_sections_of_the_report_and_a_source(asked):
    rows = tables(asked.ids["controls"])
    for row, control in zip(rows["Control objectives that this report supports"], CONTROLS, strict=True):
        assert row["Source"] == control.source
        assert set(control.sections) <= SECTION_TITLES.keys()
        assert set(control.sections) <= asked.ids.keys()
    assert len(rows["Public controls of AWS near to generative AI"]) == len(AWS_CONTROLS)
    assert {"AC-3", "AC-6", "CM-6", "SI-7", "A.5.15", "A.8.2"} <= {control.control for control in CONTROLS}
