"""`rolewarden diff` compares two sets of rules in terms of access."""

import json
import random
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rolewarden.changes import NO_RULES, compare_rules
from rolewarden.denials import Denials, targets_of
from rolewarden.guardrails import Rules, Subject
from rolewarden.guardrails_file import read_yaml
from rolewarden.known import known_models
from rolewarden.policies import compile_guardrail
from rolewarden_cli import options
from rolewarden_cli.main import app
from rolewarden_local.emulated.judge import judge
from typer.testing import CliRunner

from tests.commands import json_answer, rolewarden
from tests.conftest import ROOT, TODAY
from tests.volume import volume

DAY = date(2026, 11, 29)
SHIPPED = (ROOT / "layers" / "guardrails" / "guardrails.yaml").read_text(encoding="utf-8")
CLAUDE = {model for model in known_models().bedrock if model.startswith("anthropic.")}


def rules(text: str) -> Rules:
    reading = read_yaml(text, today=DAY)
    assert reading.rules, reading.errors
    return reading.rules


BASE = """\
guardrails:
  strict: {bedrock: {deny: all}, jumpstart: {deny: all}, assistants: {deny: all}}
  listed: {bedrock: {allow: [anthropic.*, amazon.nova-*]}, jumpstart: {deny: [huggingface-llm-falcon-*]}}
assignments:
- {guardrails: [listed], domains: [research]}
- {guardrails: [listed], user_profiles: [intern-*]}
- guardrails: [strict]
exemptions:
- {role: BreakGlass, until: 2027-01-31, reason: x}
- {role: Ended, until: 2026-11-01, reason: x}
"""


def compared(old: str, new: str):
    return compare_rules(rules(old), rules(new), "aws", DAY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("guardrails:\n", "# a comment\nguardrails:\n"),
        ("[anthropic.*, amazon.nova-*]", "[amazon.nova-*, anthropic.*]"),
        ("[anthropic.*, amazon.nova-*]", "[anthropic.*, anthropic.claude-*, amazon.nova-*]"),
        ("guardrails:\n", "mode: enforce\nsurplus: keep\nguardrails:\n"),
        ("domains: [research]", "domains: [research, research]"),
        ("intern-*", "INTERN-*"),
        ("reason: x", "reason: another"),
        # The first assignment with this guardrail can come earlier or later: both have the same.
        (
            "- {guardrails: [listed], domains: [research]}\n- {guardrails: [listed], user_profiles: [intern-*]}\n",
            "- {guardrails: [listed], user_profiles: [intern-*]}\n- {guardrails: [listed], domains: [research]}\n",
        ),
        ("strict", "renamed"),
        ("guardrails:\n", "guardrails:\n  unused: {jumpstart: {deny: all}}\n"),
    ],
)
def test_a_change_of_text_alone_changes_no_access(old, new):
    assert old in BASE
    found = compared(BASE, BASE.replace(old, new))
    assert not found.changes_access
    assert (found.assignments, found.scope, found.settings, found.summary) == ((), (), (), "no access changes")


def test_models_are_gained_and_lost_by_guardrail_and_by_assignment():
    found = compared(BASE, BASE.replace("anthropic.*", "mistral.*"))
    [guardrail] = found.guardrails
    mistral = {model for model in known_models().bedrock if model.startswith("mistral.")}
    assert (guardrail.name, guardrail.change) == ("listed", "changed")
    assert set(guardrail.access.lost["bedrock"]) == CLAUDE
    assert set(guardrail.access.gained["bedrock"]) == mistral
    assert {one.criteria: one.access for one in found.assignments} == {
        "domain research": guardrail.access,
        "user profile intern-*": guardrail.access,
    }
    assert found.summary.startswith(f"+{len(mistral)} -{len(CLAUDE)} models for domain research; ")


def test_a_pattern_of_models_that_no_list_has_is_gained_by_its_pattern():
    found = compared(BASE, BASE.replace("amazon.nova-*", "amazon.nova-*, newcomer.future-*"))
    assert found.guardrails[0].access.gained == {"bedrock": ("newcomer.future-*",)}


@pytest.mark.parametrize(
    ("family", "option", "gained"),
    [
        ("bedrock", "customization: allow", "fine-tuning of Bedrock models"),
        ("bedrock", "indirect: allow", "agents, flows and knowledge bases of Bedrock"),
        (
            "bedrock",
            'allow_arns: ["arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc"]',
            "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc",
        ),
        ("jumpstart", "customization: allow", "serverless customization of JumpStart models"),
        ("jumpstart", "data_jobs: allow", "jobs that prepare data for JumpStart models"),
        ("jumpstart", "indirect: allow", "gateways and routers of hosted models"),
    ],
)
def test_an_option_that_opens_a_path_is_named_with_the_path(family, option, gained):
    listed = {
        "bedrock": "bedrock: {allow: [anthropic.*, amazon.nova-*]",
        "jumpstart": "jumpstart: {deny: [huggingface-llm-falcon-*]",
    }
    with_option = BASE.replace(listed[family], f"{listed[family]}, {option}")
    found = compared(BASE, with_option)
    [guardrail] = found.guardrails
    assert [one.option for one in guardrail.options] == [f"{family}.{option.split(':')[0]}"]
    assert gained in guardrail.access.gained["path"]
    assert guardrail.access.lost == {}
    back = compared(with_option, BASE).guardrails[0].access
    assert (back.lost, back.gained) == (guardrail.access.gained, {})


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        (
            "deny: [huggingface-llm-falcon-*]",
            "deny: [huggingface-llm-falcon-*], autopilot: deny",
            "fine-tuning of JumpStart models by Canvas",
        ),
        (
            "deny: [huggingface-llm-falcon-*]",
            "deny: [huggingface-llm-falcon-*], weights: deny",
            "the files of the listed JumpStart models",
        ),
        ("falcon-*]}}", "falcon-*]}, pass_roles: [X]}", "work as another role"),
        ("falcon-*]}}", "falcon-*]}, assistants: {deny: all}}", "AWS's assistants in Canvas"),
    ],
)
def test_an_option_that_closes_a_path_is_named_with_the_path(old, new, lost):
    [guardrail] = compared(BASE, BASE.replace(old, new)).guardrails
    assert guardrail.options
    assert lost in guardrail.access.lost["path"]


def test_routes_canvas_opens_paths_and_mode_observe_opens_everything():
    [routes] = compared(BASE, BASE.replace("strict: {", "strict: {routes: canvas, ")).guardrails
    assert [one.line for one in routes.options] == ["routes: all -> canvas"]
    assert {"batch jobs of Bedrock", "AWS's assistants outside Canvas"} <= set(routes.access.gained["path"])
    assert "bedrock" not in routes.access.gained
    [mode] = compared(BASE, BASE.replace("strict: {", "strict: {mode: observe, ")).guardrails
    assert [one.line for one in mode.options] == ["mode: enforce -> observe"]
    assert set(mode.access.gained["bedrock"]) == set(known_models().bedrock)


def test_a_renamed_guardrail_is_said_to_be_renamed_and_a_changed_one_as_well():
    renamed = BASE.replace("strict", "nothing-generative")
    [guardrail] = compared(BASE, renamed).guardrails
    assert (guardrail.change, guardrail.renamed_from, bool(guardrail.access)) == ("renamed", "strict", False)
    assert list(guardrail.lines()) == [
        "guardrail nothing-generative: renamed from strict, no access changes",
        "  roles get nothing-generative first, and strict stays attached until `rolewarden detach` detaches it; both "
        "count against the quota",
    ]
    [both] = compared(BASE, renamed.replace("assistants: {deny: all}", "pass_roles: [X]")).guardrails
    assert (both.change, both.renamed_from) == ("renamed", "strict")
    assert "AWS's assistants in Canvas" in both.access.gained["path"]
    # One that denies something else is another guardrail.
    other = BASE.replace(
        "strict: {bedrock: {deny: all}, jumpstart: {deny: all}, assistants: {deny: all}}",
        "x: {assistants: {deny: all}}",
    )
    found = compared(BASE, other.replace("[strict]", "[x]")).guardrails
    assert {(one.name, one.change) for one in found} == {("x", "added"), ("strict", "removed")}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("surplus: detach", "roles get later first, and earlier is detached afterwards"),
        ("mode: observe", "earlier stays attached, because every guardrail is in observe mode"),
    ],
)
def test_a_renamed_guardrail_is_said_to_stay_or_to_go_by_the_new_rules(keys, expected):
    rules = "guardrails:\n  {}: {{bedrock: {{deny: all}}}}\nassignments: [{{guardrails: [{}]}}]\n"
    earlier, later = (rules.format(name, name) for name in ("earlier", "later"))
    [guardrail] = compared(earlier, f"{keys}\n{later}").guardrails
    assert guardrail.on_roles == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("surplus: keep", "strict stays attached until `rolewarden detach` detaches it"),
        ("surplus: detach", "strict is detached from its roles"),
    ],
)
def test_a_removed_guardrail_is_said_to_stay_or_to_go_by_the_new_rules(keys, expected):
    strict = "  strict: {bedrock: {deny: all}}\n"
    rules = f"guardrails:\n  a: {{jumpstart: {{deny: all}}}}\n{strict}assignments: [{{guardrails: [a]}}]\n"
    without = rules.replace(strict, "")
    [removed] = compared(rules, f"{keys}\n{without}").guardrails
    assert removed.on_roles == expected
    assert f"  {expected}" in removed.lines()


def test_a_renamed_guardrail_in_observe_mode_is_said_to_reach_no_role():
    b = "  b: {{assistants: {{deny: all}}}}\n"
    rules = "guardrails:\n  {}: {{bedrock: {{deny: all}}{}}}\n" + b + "assignments: [{{guardrails: [{}, b]}}]\n"
    later = "surplus: detach\n" + rules.format("later", ", mode: observe", "later")
    [guardrail] = compared(rules.format("earlier", "", "earlier"), later).guardrails
    assert guardrail.on_roles.startswith("no role gets later, which is in observe mode")


def test_an_assignment_that_comes_first_takes_subjects_of_the_next_one():
    # Subjects of both lose `listed`, although neither assignment alone changes what its subjects have.
    text = BASE.replace(
        "- {guardrails: [listed], domains: [research]}\n", "- {guardrails: [strict], domains: [payroll]}\n"
    )
    swapped = text.replace(
        "- {guardrails: [strict], domains: [payroll]}\n- {guardrails: [listed], user_profiles: [intern-*]}\n",
        "- {guardrails: [listed], user_profiles: [intern-*]}\n- {guardrails: [strict], domains: [payroll]}\n",
    )
    [moved] = compared(text, swapped).assignments
    assert (moved.criteria, moved.before, moved.guardrails) == (
        "domain payroll, user profile intern-*",
        ("strict",),
        ("listed",),
    )
    # The same with an assignment that is new, and whose own subjects had the same guardrails before.
    without = text.replace("- {guardrails: [strict], domains: [payroll]}\n", "")
    [added] = compared(without, text).assignments
    assert (added.criteria, added.before, added.guardrails) == (moved.criteria, ("listed",), ("strict",))


def test_each_exemption_is_gained_changed_or_ended():
    def scope(new: str) -> list[tuple[str, str]]:
        return [(one.change, one.text) for one in compared(BASE, new).scope if one.section == "exemptions"]

    added = "- {role: Other, account: '111122223333', user_profiles: [op], until: 2027-02-01, reason: x}\n"
    assert scope(BASE + added) == [
        ("added", "exemption of role Other of account 111122223333: added, until 2027-02-01, for user profile op")
    ]
    assert scope(BASE.replace("2027-01-31", "2027-03-31")) == [
        ("changed", "exemption of role BreakGlass: until 2027-01-31 -> until 2027-03-31")
    ]
    named = BASE.replace("until: 2027-01-31", "until: 2027-01-31, role_id: AROA1234567890EXAMPLE")
    with_id = "until 2027-01-31 -> until 2027-01-31, only with ID AROA1234567890EXAMPLE"
    assert scope(named) == [("changed", f"exemption of role BreakGlass: {with_id}")]
    assert scope(BASE.replace("2027-01-31", "2026-11-28")) == [("removed", "exemption of role BreakGlass: ended")]
    gone = BASE.replace("- {role: BreakGlass, until: 2027-01-31, reason: x}\n", "")
    assert scope(gone) == [("removed", "exemption of role BreakGlass: removed")]


def test_an_exemption_alone_is_no_change_of_a_guardrail_but_decides_who_can_use_the_role():
    found = compared(BASE.split("exemptions:", maxsplit=1)[0], BASE)
    assert found.guardrails == found.assignments == ()
    assert [one.section for one in found.scope] == ["exemptions", "pass_and_assume", "pass_and_assume"]
    assert "roles with a guardrail can no longer use role BreakGlass (pass or assume it)" in found.lines()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("never_govern: [{role: Build*}]\n", "roles Build* now get no guardrail, as never_govern says"),
        ("also_govern: {roles: [Job*]}\n", "roles Job* now get guardrails without a subject, as also_govern says"),
        ("surplus: detach\n", "surplus: keep -> detach"),
        ("fallback: boundary\n", "fallback: none -> boundary"),
        ("hold: suspicious\n", "hold: none -> suspicious"),
    ],
)
def test_keys_of_the_whole_file_are_compared(more, says):
    found = compared(BASE, BASE + more)
    assert found.changes_access
    assert says in found.lines()


def test_an_assignment_by_tags_makes_every_guardrail_deny_changes_of_tags():
    found = compared(BASE, BASE.replace("domains: [research]", "tags: {team: genomics}"))
    assert "roles with a guardrail can no longer change tags of domains and user profiles" in found.lines()
    assert {one.criteria for one in found.assignments} == {"domain research", "tag team=genomics"}


def test_before_the_first_publication_nothing_was_denied():
    found = compare_rules(NO_RULES, rules(BASE), "aws", DAY)
    assert {one.change for one in found.guardrails} == {"added"}
    last = found.assignments[-1]
    assert (last.criteria, last.before) == ("every other subject", ())
    assert set(last.access.lost["bedrock"]) == set(known_models().bedrock)


FAMILIES = {
    "bedrock": ["deny: all", "deny: [anthropic.*]", "allow: [amazon.nova-*]", "allow: [meta.*], indirect: allow",
                "deny: [cohere.*], customization: allow"],
    "jumpstart": ["deny: all", "deny: [meta-*]", "allow: [huggingface-llm-*]", "deny: all, hubs: [own]",
                  "deny: [meta-*], weights: deny, autopilot: deny"],
    "assistants": ["deny: all"],
}  # fmt: skip


def test_the_targets_are_denied_as_an_evaluator_that_is_not_ours_says():
    for family, values in FAMILIES.items():
        for value in values:
            for routes in ("all", "canvas"):
                guardrail = f"{{routes: {routes}, {family}: {{{value}}}}}"
                text = f"guardrails: {{g: {guardrail}}}\nassignments: [{{guardrails: [g]}}]\n"
                found = rules(text)
                compiled = compile_guardrail(found.guardrails["g"], "aws")
                policies = {policy.name: json.dumps(policy.document) for policy in compiled}
                denials = Denials(one for policy in compiled for one in policy.document["Statement"])
                targets = targets_of([found], "aws")
                models = [target for target in targets if target.kind != "path"]
                for target in [*random.Random(1).sample(models, 8), *(one for one in targets if one.kind == "path")]:
                    denied = (
                        any(judged(policies, request) == "explicitDeny" for request in call) for call in target.calls
                    )
                    assert denials.covers(target) == all(denied), (text, target)


def judged(policies, request) -> str:
    context = {key: list(value) if isinstance(value, tuple) else value for key, value in request.context.items()}
    return judge(policies, request.action, request.resource, context).decision


NAMES = st.sampled_from(["research", "payroll", "re*", "*"])
CRITERIA = st.fixed_dictionaries(
    {},
    optional={
        "domains": st.lists(NAMES, min_size=1, max_size=2),
        "user_profiles": st.lists(st.sampled_from(["rosa", "intern-*", "*-a"]), min_size=1, max_size=2),
    },
)
FILES = st.lists(st.tuples(CRITERIA, st.sampled_from(["strict", "listed"])), max_size=4)


@settings(max_examples=volume(20, 2000), deadline=None)
@given(FILES, FILES)
def test_every_subject_whose_guardrails_change_is_in_a_change(old, new):
    def made(some) -> Rules:
        listed = [{"guardrails": [name], **one} for one, name in some if one]
        assignments = json.dumps([*listed, {"guardrails": ["strict"]}])
        return rules(f"{BASE.partition('assignments:')[0]}assignments: {assignments}")

    before, after = made(old), made(new)
    changes = compare_rules(before, after, "aws", DAY).assignments
    expected = False
    for domain in ("research", "payroll", "re"):
        for profile in ("rosa", "intern-1", "intern-a", "x-a", ""):
            subject = Subject("111122223333", "Role", "d-1", domain, profile)
            was, now = ([one.name for one in some.required(subject)] for some in (before, after))
            if was != now:
                expected = True
                assert any((list(one.before), list(one.guardrails)) == (was, now) for one in changes), (
                    subject,
                    changes,
                )
    if not expected and changes:
        # A pattern may select subjects that this test has no name for, but never one for which nothing changes.
        assert all(one.before != one.guardrails for one in changes)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)

    def write(*texts: str) -> list[str]:
        paths = [tmp_path / f"{number}.yaml" for number, _ in enumerate(texts)]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return [str(path) for path in paths]

    return write


def diff(*arguments: str, given: str | None = None):
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["diff", *arguments], input=given)


def test_the_command_prints_the_lines_in_80_columns_and_exits_with_2(files):
    result = diff(*files(BASE, BASE.replace("anthropic.*", "mistral.*")))
    assert result.exit_code == 2
    assert "guardrail listed: changed" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_comment_prints_that_no_access_changes_and_exits_with_0(files):
    old, new = files(BASE, f"# a comment\n{BASE}")
    result = diff(old, new)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "no access changes")
    answer = json.loads(diff(old, new, "--json").stdout)
    assert answer["changes_access"] is False
    assert answer["old"]["digest"] == answer["new"]["digest"]


@pytest.mark.parametrize("place", [0, 1])
def test_one_of_the_files_can_be_standard_input(files, place):
    paths = files(BASE, BASE)
    paths[place] = "-"
    assert diff(*paths, given=BASE).exit_code == 0
    assert diff(*paths, given=BASE.replace("anthropic.*", "mistral.*")).exit_code == 2


def test_the_first_file_is_standard_input_and_the_second_is_the_file_of_the_project(files):
    assert diff(given=BASE).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (["-", "-"], BASE, "both files are standard input"),
        (["-"], "guardrails: {}\n", "standard input:1: guardrails"),
        (["-"], "a: [", "standard input:"),
    ],
)
def test_a_mistake_is_an_error_with_exit_code_1(arguments, given, says):
    result = diff(*arguments, given=given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_in_an_account_each_role_and_its_subjects_have_their_change(world, files):
    old, new = files(SHIPPED, SHIPPED.replace("domains: [research]", "user_profiles: [rosa]"))
    found = json_answer("diff", old, new, exit_code=2)["account"]
    roles = {role["role"]: role for role in found["roles"]}
    assert set(roles) == {"CanvasResearch", "CanvasFull"}
    research = roles["CanvasResearch"]
    assert (research["before"], research["guardrails"]) == (["only-nova-and-sonnet"], ["no-generative-ai"])
    assert research["kept"] == ["only-nova-and-sonnet"]
    assert "research/rosa" not in research["subjects"]
    assert "amazon.nova-pro-v1:0" in research["access"]["lost"]["bedrock"]
    text = rolewarden("diff", old, new).stdout
    assert "only-nova-and-sonnet stays attached" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_in_an_account_an_exemption_takes_the_guardrails_from_its_role(world, files):
    more = "- {role: CanvasOmar, account: '111122223333', until: 2027-01-31, reason: x}\n"
    old, new = files(SHIPPED, f"{SHIPPED.rstrip()}\n  {more}")
    [role] = json_answer("diff", old, new, exit_code=2)["account"]["roles"]
    assert (role["role"], role["was_exempt"], role["is_exempt"]) == ("CanvasOmar", False, True)
    assert role["access"]["gained"]["bedrock"]


def test_in_an_account_a_new_role_of_also_govern_is_compared(world, files):
    old, new = files(SHIPPED, f"{SHIPPED}\nalso_govern: {{roles: [BuildServer]}}\n")
    [role] = json_answer("diff", old, new, exit_code=2)["account"]["roles"]
    assert (role["role"], role["before"], role["guardrails"]) == ("BuildServer", [], ["no-generative-ai"])


@pytest.mark.parametrize(
    ("option", "path"),
    [("other_profiles", "applications of other user profiles"), ("shared_spaces", "shared spaces")],
)
def test_a_guardrail_without_an_option_about_places_opens_a_path(option, path):
    strict = BASE.replace("assistants: {deny: all}}", f"assistants: {{deny: all}}, {option}: deny}}")
    found = compared(strict, BASE)
    [guardrail] = found.guardrails
    assert (guardrail.access.gained, guardrail.access.lost) == ({"path": (path,)}, {})
    assert [one.line for one in guardrail.options] == [f"{option}: deny -> allow"]


def test_another_list_of_trusted_taggers_is_a_change():
    tagged = BASE.replace("domains: [research]", "tags: {team: research}")
    arn = "arn:aws:iam::111122223333:role/platform"
    found = compared(f"{tagged}trusted_taggers: ['{arn}']\n", tagged)
    assert found.guardrails == ()
    assert [one.line for one in found.settings] == [f"trusted_taggers: {arn} -> none"]


def test_principals_that_change_their_assignment_under_prevention_are_named():
    one, other = (f"arn:aws:iam::111122223333:role/canvas/{name}/*" for name in ("one", "other"))
    head = "guardrails:\n  a: {bedrock: {deny: all}}\n  b: {jumpstart: {deny: all}}\nassignments:\n"

    def file(*principals: str) -> str:
        named = zip(("[]", "[a]"), ("x", "y"), principals, strict=True)
        entries = (
            f"  - {{guardrails: {guardrails}, accounts: ['111122223333'], domains: [{domain}]"
            f"{f', principals: [{given}]' if given else ''}}}\n"
            for guardrails, domain, given in named
        )
        return f"{head}{''.join(entries)}  - guardrails: [a, b]\n"

    found = compared(file(f"'{one}'", ""), file("", f"'{one}', '{other}'"))
    assert [(change.section, change.change, change.text) for change in found.scope] == [
        ("principals", "changed", f"principal {one} under the SCPs: no guardrail -> a"),
        ("principals", "added", f"principal {other} under the SCPs: all guardrails -> a"),
    ]
    assert found.changes_access
    [removed] = compared(file("", f"'{one}'"), file("", "")).scope
    assert removed.text == f"principal {one} under the SCPs: a -> all guardrails"
    shared = file(f"'{one}'], source_identities: [ana, ben", "")
    [change] = compared(file(f"'{one}'", ""), shared).scope
    assert change.text == (
        f"principal {one} under the SCPs: no guardrail -> no guardrail for the source identities ana, ben, "
        "else all guardrails"
    )
