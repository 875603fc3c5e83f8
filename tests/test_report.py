"""The report's page without a browser: it has the report's figures, loads nothing, and escapes texts from AWS."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections import Counter
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rolewarden.bindings import DEFAULT_USER, ROLE
from rolewarden.guardrails import Exemption
from rolewarden.own_events import RulesChanged
from rolewarden.verdicts import Reason, Remediation, Verdict
from rolewarden_cli.access import Decision, Route, Statement
from rolewarden_cli.models import BEDROCK, JUMPSTART, Model
from rolewarden_cli.organization import UnreachedAccount
from rolewarden_cli.plan import EndingExemption, OpenSwitch, PlannedPolicy, SharedRole
from rolewarden_cli.report import AccountReport, FindingKind, Report, render
from rolewarden_cli.report.access_paths import ACCESS_PATHS, access_path
from rolewarden_cli.report.comparison import Change, Comparison
from rolewarden_cli.report.matrix import MOST_COLUMNS
from rolewarden_cli.report.model import AccountScps, AttachedScp, Watch
from rolewarden_cli.report.render import MOST_ACTORS
from rolewarden_cli.stack import StackRules
from rolewarden_cli.status import ContestedRole

from tests.guardrails.probes import emitted_sids
from tests.pages import Page, figure, findings, page, rows
from tests.reports import ACCOUNT, NOW, changed, denied, entry, generated, planned, rules_changed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def large():
    report = generated(500, 100)
    html = render(report)
    return report, html, Page(html).root


@pytest.fixture(scope="module")
def small():
    report = generated(24, 24)
    return report, page(report)


WORDS = {
    (True, False, True): "allowed",
    (False, False, True): "denied",
    (False, True, False): "denied by a service control policy",
    (False, False, False): "not allowed",
}
"""The text of a cell, by whether a route is open, an SCP closes one, and a statement decides."""


def test_a_page_of_500_profiles_and_100_models_has_a_row_for_each_profile_and_the_decision_on_each_model(large):
    report, _, root = large
    found = rows(root)
    reasons = [item.text for item in root.ids["reasons"].children]
    heads = [head.attributes["title"] for head in root.ids["matrix"].all("th", class_="model")]
    places = {model.id: place for place, model in enumerate(report.accounts[0].access.models)}
    assert sorted(heads) == sorted(places)
    assert len(found) == len(report.accounts[0].access.rows) == 500
    for row in report.accounts[0].access.rows:
        role, verdict, cells = found[row.domain_name, row.user_profile]
        assert (role, verdict) == (row.role, report.accounts[0].verdicts[row.role].value)
        assert len(cells) == 100
        for head, cell in zip(heads, cells, strict=True):
            decision = report.accounts[0].access.cell(row, places[head])
            said = WORDS[decision.allowed, decision.denied_by_scp, bool(decision.statements)]
            by = reasons[int(cell.attributes["data-by"]) - 1] if "data-by" in cell.attributes else ""
            assert cell.text == said
            assert all(statement.name in by for statement in decision.statements)
            assert (
                (decision.route in by)
                if decision.allowed
                else (bool(by) == bool(decision.statements or decision.undecided))
            )


def test_a_page_of_500_profiles_and_100_models_fits_into_two_and_a_half_megabytes(large):
    _, html, _ = large
    assert len(html.encode()) < 2_500_000


def test_the_figures_on_the_page_are_those_of_the_report(large):
    report, _, root = large
    verdicts = Counter(report.accounts[0].verdicts.values())
    for verdict in Verdict:
        assert figure(root, verdict.value) == str(verdicts[verdict])
    governed = verdicts.total() - verdicts[Verdict.EXEMPT] - verdicts[Verdict.OUT_OF_SCOPE]
    assert float(figure(root, "coverage").rstrip(" %")) == pytest.approx(
        100 * verdicts[Verdict.COMPLIANT] / governed, abs=0.1
    )
    cells = Counter(cell.text for _, _, row in rows(root).values() for cell in row)
    assert figure(root, "allowed") == str(cells["allowed"])
    assert figure(root, "denied") == str(cells["denied"])
    assert figure(root, "not-allowed") == str(cells["not allowed"])
    assert figure(root, "scp") == str(cells["denied by a service control policy"]) != "0"
    assert figure(root, "history") == str(len(report.accounts[0].drift)) == "240"
    assert figure(root, "findings") == str(len(list(report.findings()))) == str(len(findings(root)))


def numbers(root, title):
    """The table under a chart: series by label."""
    [drawn] = [found for found in root.all("figure") if found.children[0].text == title]
    head, *lines = drawn.all("tr")
    names = [cell.text for cell in head.all("th")]
    return {
        line.children[0].text: dict(zip(names, (int(c.text) for c in line.all("td")), strict=True)) for line in lines
    }


def test_the_charts_tables_add_up_to_the_history(large):
    report, _, root = large
    over_time = numbers(root, "Drift over time, by day")
    for day, told in over_time.items():
        kinds = Counter(entry.kind for entry in report.accounts[0].drift if str(entry.at.date()) == day)
        assert {kind: n for kind, n in told.items() if n} == dict(kinds)
    assert sum(sum(told.values()) for told in over_time.values()) == len(report.accounts[0].drift)
    by_actor = numbers(root, "Drift by caller")
    actors = Counter(entry.actor.rsplit("/", 1)[-1] for entry in report.accounts[0].drift)
    assert {actor: sum(told.values()) for actor, told in by_actor.items()} == dict(actors)
    assert list(by_actor) == [actor for actor, _ in actors.most_common()]


def bars(root, title):
    [drawn] = [found for found in root.all("svg") if found.attributes.get("aria-label") == title]
    return [rect for bar in drawn.all("g", class_="bar") for rect in bar.all("rect")]


def test_a_chart_draws_a_bar_for_each_number_above_zero_and_as_long(small):
    _, root = small
    told = [n for row in numbers(root, "Drift by caller").values() for n in row.values() if n]
    lengths = [float(rect.attributes["width"]) for rect in bars(root, "Drift by caller")]
    assert sorted(lengths) == pytest.approx(sorted(n * sum(lengths) / sum(told) for n in told))


def test_a_long_history_is_drawn_by_week():
    report = generated(5, 5)
    old = entry(NOW - timedelta(days=300))
    since = replace(report.provenance, history_since=NOW - timedelta(days=365))
    root = page(changed(replace(report, provenance=since), history=(old,)))
    [week] = numbers(root, "Drift over time, by the week that begins")
    assert 0 <= (old.at.date() - old.at.date().fromisoformat(week)).days < 7


def test_many_actors_share_a_bar():
    history = tuple(entry(NOW, actor=f"arn:aws:iam::{ACCOUNT}:user/u{n:02}") for n in range(MOST_ACTORS + 5))
    told = numbers(page(changed(generated(5, 5), history=history)), "Drift by caller")
    assert len(told) == MOST_ACTORS + 1
    assert sum(told["5 others"].values()) == 5


def test_many_models_of_a_provider_with_the_same_access_share_a_column():
    report = generated(10, MOST_COLUMNS + 40)
    root = page(report)
    heads = [head.attributes["title"] for head in root.ids["matrix"].all("th", class_="model")]
    assert len(heads) < MOST_COLUMNS
    assert sorted(", ".join(heads).split(", ")) == sorted(model.id for model in report.accounts[0].access.models)
    places = {model.id: place for place, model in enumerate(report.accounts[0].access.models)}
    found = rows(root)
    for row in report.accounts[0].access.rows:
        _, _, cells = found[row.domain_name, row.user_profile]
        for ids, cell in zip(heads, cells, strict=True):
            for model in ids.split(", "):
                assert (cell.text == "allowed") == report.accounts[0].access.cell(row, places[model]).allowed
    decided = sum(int(figure(root, name)) for name in ("allowed", "denied", "scp", "not-allowed"))
    assert decided == len(report.accounts[0].access.rows) * len(report.accounts[0].access.models)


def test_a_model_that_only_the_bedrock_role_reaches_is_allowed_and_the_row_has_both_roles():
    report = generated(1, 1)
    [row] = report.accounts[0].access.rows
    access = replace(
        report.accounts[0].access,
        rows=(replace(row, bedrock_role="CanvasBedrock"),),
        models=(Model("amazon.nova-1-v1:0", BEDROCK),),
        decisions={
            row.role: (denied("no-generative-ai", "BedrockModels"),),
            "CanvasBedrock": (Decision((Route("on demand", True, ()),)),),
        },
    )
    [(role, _, [cell])] = rows(page(changed(report, access=access))).values()
    assert role == f"{row.role} + CanvasBedrock"
    assert cell.text == "allowed"


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        (Verdict.EXEMPT, Verdict.COMPLIANT, Verdict.EXEMPT),
        (Verdict.COMPLIANT, Verdict.EXEMPT, Verdict.EXEMPT),
        (Verdict.EXEMPT, Verdict.UNENFORCEABLE, Verdict.UNENFORCEABLE),
        (Verdict.COMPLIANT, Verdict.COMPLIANT, Verdict.COMPLIANT),
    ],
)
def test_a_subject_is_compliant_if_each_of_its_roles_is(one, other, shown):
    report = generated(1, 1)
    [row] = report.accounts[0].access.rows
    row = replace(row, bedrock_role="CanvasBedrock")
    roles = (planned(row.role, one), planned("CanvasBedrock", other))
    assert changed(report, plan=replace(report.accounts[0].plan, roles=roles)).accounts[0].verdict(row) is shown


def test_each_printed_page_has_the_account_and_the_date():
    report = generated(1, 1)
    access = replace(report.accounts[0].access, account='1111"}</style>')
    css = page(changed(report, access=access)).one("style").text
    assert '@bottom-left { content: "Rolewarden, account 1111, 2026-11-25 09:00 UTC" }' in css


def test_roles_without_a_domain_are_listed_under_the_rule_that_governs_them():
    report = generated(1, 4)
    [row] = report.accounts[0].access.rows
    also = replace(row, kind=ROLE, user_profile="", domain_id="", domain_name="")
    default = replace(row, kind=DEFAULT_USER, user_profile="")
    found = rows(page(changed(report, access=replace(report.accounts[0].access, rows=(also, default)))))
    assert list(found) == [(row.domain_name, DEFAULT_USER), ("governed by name or trust", row.role)]


def test_the_same_report_gives_the_same_bytes(small):
    report, _ = small
    assert render(report) == render(generated(24, 24))


def test_an_empty_account_has_a_page_too():
    report = generated(0, 0)
    empty = changed(
        replace(report, policies=()),
        plan=replace(report.accounts[0].plan, roles=(), shared=(), exemptions=(), policies=(), deployed=False),
        history=(),
        status=None,
        watch=None,
    )
    root = page(empty)
    assert figure(root, "coverage") == "none"
    assert figure(root, "findings") == "0"
    assert root.text.count("Rolewarden is not deployed in") == 1
    assert "matrix" not in root.ids


# Nothing is loaded.


def test_nothing_on_the_page_comes_from_elsewhere(large):
    _, _, root = large
    for element in root.all():
        assert element.tag not in {"link", "img", "iframe", "object", "embed", "base", "image", "use"}
        assert {"src", "srcset", "action", "style", "xlink:href"}.isdisjoint(element.attributes)
        assert not any(name.startswith("on") for name in element.attributes)
        assert element.attributes.get("href", "#").startswith("#")
    for part in (*root.all("style"), *root.all("script")):
        text = part.text.replace("url(#", "")
        assert not re.search(r"url\(|@import|https?:|//[a-z]|fetch\(|XMLHttpRequest|import\(|localStorage", text)


def test_the_security_policy_of_the_page_allows_only_its_own_script(large):
    _, html, root = large
    [policy] = [m.attributes["content"] for m in root.all("meta", http_equiv="Content-Security-Policy")]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == "'none'"
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"
    assert html.index("Content-Security-Policy") < html.index("<style>") < html.index("<script>")


# Texts from AWS stay text.

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></td></style>{{7*7}}&amp;`x`"


def hostile():
    """A report in which every text from AWS or a user is an attack."""
    base = generated(1, 2)
    [row] = base.accounts[0].access.rows
    statement = Statement(f"p{HOSTILE}", "", f"s{HOSTILE}", {"Effect": "Deny"})
    free = Statement(f"f{HOSTILE}", "", "1", {})
    bad = replace(
        row,
        domain_name=f"domain{HOSTILE}",
        user_profile=f"profile{HOSTILE}",
        role=f"role{HOSTILE}",
        bedrock_role=f"b{HOSTILE}",
    )
    decisions = (Decision((Route("hub", False, (statement,)),)), Decision((Route(f"route{HOSTILE}", True, (free,)),)))
    access = replace(
        base.accounts[0].access,
        account=f"account{HOSTILE}",
        regions=(f"region{HOSTILE}",),
        listed=f"listed{HOSTILE}",
        rows=(bad,),
        models=(Model(f"model{HOSTILE}", JUMPSTART), Model(f"model2{HOSTILE}", JUMPSTART)),
        decisions={bad.role: decisions, bad.bedrock_role: decisions},
        unread=(f"unread{HOSTILE}",),
    )
    plan = replace(
        base.accounts[0].plan,
        roles=(
            planned(
                bad.role,
                Verdict.UNENFORCEABLE,
                missing=(f"missing{HOSTILE}",),
                message=f"message{HOSTILE}",
                reason=Reason.REFUSED,
            ),
        ),
        policies=(PlannedPolicy(f"policy{HOSTILE}", "replaced"),),
        shared=(
            SharedRole(
                ACCOUNT, "r", "d", f"sd{HOSTILE}", f"su{HOSTILE}", f"sr{HOSTILE}", (f"sg{HOSTILE}",), "recommendation"
            ),
        ),
        exemptions=(EndingExemption(f"pattern{HOSTILE}", NOW.date(), 1, f"er{HOSTILE}", (f"et{HOSTILE}",)),),
        switches=(OpenSwitch(ACCOUNT, "r", "d", f"od{HOSTILE}", f"ou{HOSTILE}", "Bedrock role", f"or{HOSTILE}"),),
    )
    told = entry(NOW).__class__
    words: dict[str, Any] = {
        field.name: f"{field.name}{HOSTILE}"
        for field in fields(told)
        if field.type == "str" and field.name != "account"
    }
    assert base.accounts[0].status is not None
    history = (replace(entry(NOW), **words, policies=(f"hp{HOSTILE}",)),)
    status = replace(base.accounts[0].status, contested=(ContestedRole(f"cr{HOSTILE}", 3, NOW, (f"ca{HOSTILE}",)),))
    [policy, *_] = base.policies
    document = {"Version": "2012-10-17", "Statement": [{"Sid": f"sid{HOSTILE}", "Resource": f"resource{HOSTILE}"}]}
    policies = (policy._replace(name=f"pname{HOSTILE}", document=document),)
    provenance = replace(
        base.provenance,
        caller=f"caller{HOSTILE}",
        place=f"place{HOSTILE}",
        guardrails_file=f"file{HOSTILE}",
        rules_text=f"text{HOSTILE}",
    )
    exemption = Exemption(bad.role, NOW.date(), f"ex{HOSTILE}", "", ticket=f"tk{HOSTILE}", approved_by=f"ab{HOSTILE}")
    rules = base.rules._replace(exemptions=(exemption,))
    watch = Watch(((f"alarm{HOSTILE}", "OK"),), f"interval{HOSTILE}", (f"covered{HOSTILE}",))
    prevention = AccountScps((AttachedScp(f"scp{HOSTILE}", of_rules=False),), None, f"notread{HOSTILE}")
    words = {field.name: f"rules-{field.name}{HOSTILE}" for field in fields(told) if field.type == "str"}
    change = replace(rules_changed(NOW), **{**words, "kind": RulesChanged.detail_type}, changes=(f"line{HOSTILE}",))
    account = AccountReport(plan, access, (*history, change), status, watch, prevention)
    lost = UnreachedAccount(f"lost{HOSTILE}", f"because{HOSTILE}")
    difference = Change(*(f"{word}{HOSTILE}" for word in ("dwhat", "dabout", "dbefore", "dnow")))
    comparison = Comparison(f"earlier{HOSTILE}", f"edigest{HOSTILE}", NOW, (difference,))
    return Report(provenance, rules, policies, (account,), (lost,), comparison)


@pytest.fixture(scope="module")
def attacked():
    return page(hostile())


def test_no_text_from_aws_becomes_an_element_or_an_attribute(attacked):
    assert len(list(attacked.all("script"))) == 2
    assert len(list(attacked.all("style"))) == 1
    assert not list(attacked.all("img"))
    assert not any(name.startswith("on") for element in attacked.all() for name in element.attributes)


@pytest.mark.parametrize(
    "word",
    ["account", "region", "caller", "place", "file", "listed", "domain", "profile", "role", "model", "route", "unread",
     "missing", "message", "policy", "sd", "su", "sr", "sg", "pattern", "er", "et", "od", "ou", "or", "cr", "ca", "sid",
     "resource", "pname", "kind", "about", "remediation", "reason", "event", "actor", "source_address", "hp", "p",
     "s", "f", "ex", "tk", "ab", "alarm", "interval", "covered", "scp", "notread", "rules-message", "line", "text",
     "lost", "because", "dwhat", "dabout", "dbefore", "dnow", "earlier", "edigest"],
)  # fmt: skip
def test_a_text_from_aws_is_shown_as_it_is(attacked, word):
    """The text as JSON has it in a policy document, without the backticks that mark code in a recommended action."""
    shown = " ".join(attacked.text.split())
    wanted = f"{word}{HOSTILE}"
    assert wanted in shown or wanted.replace('"', '\\"') in shown


def test_the_labels_of_charts_are_text(attacked):
    drawn = " ".join(text.text for found in attacked.all("svg") for text in found.all("text"))
    assert "domain<script>" in drawn
    assert "actor<script>" in drawn


@pytest.mark.parametrize("sign", ["\u202e", "\x00", "\x1b", "\u200b", "\ud800"])
def test_a_character_that_hides_or_reverses_text_is_shown_as_its_code(sign):
    report = generated(1, 2)
    [row] = report.accounts[0].access.rows
    access = replace(report.accounts[0].access, rows=(replace(row, domain_name=f"a{sign}b", user_profile=f"c{sign}d"),))
    html = render(changed(report, access=access, history=(entry(NOW, about=f"e{sign}f", actor=f"g{sign}h"),)))
    assert sign not in html
    for shown in ("a{}b", "c{}d", "e{}f", "g{}h"):
        assert shown.format(ascii(sign)[1:-1]) in html
    html.encode()


# Users with a screen reader or without a mouse.


def is_hidden(element):
    """Whether a screen reader ignores the element."""
    while element:
        if element.attributes.get("aria-hidden") == "true":
            return True
        element = element.parent
    return False


def test_every_part_of_the_page_has_a_name(large):
    _, _, root = large
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert root.one("html").attributes["lang"] == "en"
    assert len(list(root.all("h1"))) == 1
    labels = {label.attributes.get("for") for label in root.all("label")}
    for field in (*root.all("input"), *root.all("select")):
        assert field.parent.tag == "label" or field.attributes["id"] in labels
    for drawing in (found for found in root.all("svg") if not is_hidden(found)):
        assert drawing.attributes["role"] == "img"
        assert drawing.attributes["aria-label"]
    for element in root.all():
        if element.attributes.get("tabindex") == "0" and element.tag == "div":
            assert element.attributes["role"] == "region"
            assert element.attributes.get("aria-label") or element.attributes["aria-labelledby"] in ids
        for name in ("aria-labelledby", "aria-describedby"):
            assert element.attributes.get(name, ids[0]) in ids
        if element.tag == "a":
            assert element.attributes["href"].removeprefix("#") in ids
    for table in root.all("table"):
        assert next(table.all("caption")).text.strip()
    for cell in root.all("th"):
        assert cell.attributes["scope"] in {"col", "row", "rowgroup", "colgroup"}


def test_a_decision_and_a_verdict_are_recognizable_without_colour(small):
    _, root = small
    css = root.one("style").text
    signs = dict(re.findall(r"\.([adns])::before \{ content: \"(.)\"", css))
    assert len(set(signs.values())) == len(WORDS)
    assert {cell.text for _, _, cells in rows(root).values() for cell in cells} == set(WORDS.values())
    assert {v.value for v in Verdict} <= {element.text for element in root.all("span")}


def test_the_parts_of_a_bar_are_recognizable_without_colour(large):
    _, _, root = large
    css = root.one("style").text
    fills = dict(re.findall(r"\.(serie-\d) \{[^}]*--fill: url\(#(fill-\d)\)", css))
    signs = {p.attributes["id"]: p.one("path", class_="sign").attributes["d"] for p in root.all("pattern")}
    assert fills
    assert len(fills) == len(signs) == len(set(signs.values()))
    assert set(fills.values()) == set(signs)
    classes = [svg.attributes.get("class", "").partition(" ") for svg in root.all("svg")]
    swatches = {serie for kind, _, serie in classes if kind == "swatch"}
    assert swatches
    assert swatches <= fills.keys()


# Findings.


def test_each_finding_has_its_recommended_action_and_the_worst_comes_first(large):
    _, _, root = large
    listed = findings(root)
    assert all(recommendation for *_, recommendation in listed)
    kinds = [FindingKind(told) for _, told, _, _ in listed]
    assert kinds == sorted(kinds, key=list(FindingKind).index)
    assert {FindingKind.DRIFTED, FindingKind.UNENFORCEABLE, FindingKind.CONTESTED, FindingKind.ENDING} == set(kinds)
    assert any("fallback: boundary" in recommendation for *_, recommendation in listed)


def test_a_role_counts_as_drifted_if_enforcement_can_remediate_it_and_else_as_unenforceable():
    report = generated(0, 1)
    full = planned("Full", Verdict.UNENFORCEABLE, before=Verdict.DRIFTED)
    bare = planned("Bare", Verdict.DRIFTED)
    root = page(changed(report, plan=replace(report.accounts[0].plan, roles=(full, bare))))
    assert (figure(root, "unenforceable"), figure(root, "drifted")) == ("1", "1")


def test_a_decision_that_depends_on_a_key_of_a_live_call_says_so(small):
    _, root = small
    [reasons] = [element for element in root.all("ol") if element.attributes.get("id") == "reasons"]
    assert "(a live call's aws:SourceVpce could change it)" in {item.text for item in reasons.all("li")}


@pytest.mark.parametrize(("deployed", "recommendation"), [(True, "rolewarden sweep"), (False, "rolewarden enforce")])
def test_the_recommended_action_for_a_drifted_role_is_the_stack_or_the_command(deployed, recommendation):
    report = generated(0, 1)
    plan = replace(report.accounts[0].plan, roles=(planned("Bare", Verdict.DRIFTED),), deployed=deployed)
    assert any(
        found[0].startswith("role Bare") and recommendation in found[3]
        for found in findings(page(changed(report, plan=plan)))
    )


def test_a_drifted_role_in_observe_mode_has_no_recommended_command_that_would_not_attach_the_policy():
    report = generated(0, 1)
    role = planned("Seen", Verdict.DRIFTED)
    role = replace(role, outcome=role.outcome._replace(remediation=Remediation.OBSERVED))
    [found] = [
        f
        for f in findings(page(changed(report, plan=replace(report.accounts[0].plan, roles=(role,)))))
        if "Seen" in f[0]
    ]
    assert "mode: observe" in found[3]
    assert "rolewarden" not in found[3]


@pytest.mark.parametrize("state", StackRules)
@pytest.mark.parametrize("change", ["created", "replaced", "retired"])
def test_a_changed_policy_has_a_recommended_action_that_changes_it(state, change):
    report = generated(0, 1)
    plan = replace(report.accounts[0].plan, policies=(PlannedPolicy("only-nova-and-sonnet", change),), stack=state)
    [found] = [found for found in findings(page(changed(report, plan=plan))) if found[1] == FindingKind.TAMPERED]
    command = {
        StackRules.OTHER: "sam build && sam deploy",
        StackRules.UNKNOWN: "sam build && sam deploy",
        StackRules.SAME: "rolewarden sweep",
        StackRules.NONE: "rolewarden enforce",
    }[state]
    if change == "retired" and not state.may_undo:
        command = "rolewarden detach"
    assert found[3].startswith(f"run {command}")


def test_a_policy_with_other_text_is_a_finding_and_not_published():
    report = generated(0, 1)
    first, *others = report.accounts[0].plan.policies
    plan = replace(report.accounts[0].plan, policies=(replace(first, change="replaced"), *others))
    root = page(changed(report, plan=plan))
    assert any(about == f"policy {first.name}" and told == FindingKind.TAMPERED for about, told, *_ in findings(root))
    states = {p.children[0].text: next(p.all("span")).text for p in root.all("article")}
    assert states[first.name] == "not as published"
    assert {states[policy.name] for policy in others} == {"as published"}


def test_a_policy_is_in_force_on_the_roles_that_need_it_and_have_it(large):
    report, _, root = large
    [told] = [p.children[1].text for p in root.all("article") if p.children[0].text == "only-nova-and-sonnet"]
    compliant = sum(verdict is Verdict.COMPLIANT for verdict in report.accounts[0].verdicts.values())
    assert told == f"as published, in effect on {compliant} roles"


@pytest.mark.parametrize("verdict", [Verdict.EXEMPT, Verdict.UNENFORCEABLE])
def test_a_policy_is_not_in_effect_on_a_role_whose_policies_were_not_compared(verdict):
    report = generated(0, 1)
    role = planned("Other", verdict, required=("only-nova-and-sonnet",), missing=())
    root = page(changed(report, plan=replace(report.accounts[0].plan, roles=(role,))))
    [text] = [p.children[1].text for p in root.all("article") if p.children[0].text == "only-nova-and-sonnet"]
    assert text == "as published, in effect on 0 roles"


# Access paths.


def test_every_statement_of_the_compiler_has_an_explained_access_path():
    assert set(ACCESS_PATHS) - {"AllThatIsNotDenied"} == emitted_sids()


def test_the_certainty_of_an_access_path_is_that_of_the_guide():
    guide = (Path(__file__).parents[1] / "docs/reference/guardrails.md").read_text(encoding="utf-8")
    told = {
        sid: sure
        for sids, sure in re.findall(r"^\| (`[^|]*`) \|[^|]*\| (high|medium|low)", guide, flags=re.MULTILINE)
        for sid in re.findall(r"`(\w+)`", sids)
    }
    assert {sid: access_path(sid).confidence for sid in emitted_sids()} == told


def test_a_divided_statement_has_the_access_path_of_its_first_part():
    assert access_path("BedrockListedModels2") == access_path("BedrockListedModels")
    assert "does not know" in access_path("Theirs").closes
