"""`rolewarden check`, `rolewarden compile` and their library."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rolewarden.check import check
from rolewarden.denials import AwsRequest, Denials, Target, TargetKind
from rolewarden.documents import digest
from rolewarden.guardrails import Allowance, BedrockRule, Guardrail, JumpStartRule
from rolewarden.guardrails_file import load, read_yaml
from rolewarden.known import KnownModels, known_models
from rolewarden.policies import TooLong, compile_guardrail, compile_rules, denies
from rolewarden_cli.main import app
from rolewarden_cli.rules import left_open
from typer.testing import CliRunner

TODAY = date(2026, 1, 1)
SHIPPED = Path(__file__).resolve().parents[1] / "layers" / "guardrails" / "guardrails.yaml"
KNOWN = KnownModels(
    "2026-01-01",
    ("anthropic.claude-v2", "anthropic.claude-v2:1", "amazon.nova-pro-v1:0", "meta.llama3-70b-instruct-v1:0"),
    ("huggingface-llm-falcon-7b-bf16", "huggingface-text2text-flan-t5-xl"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "guardrails.yaml"


def rules(body: str, assigned: str = "a") -> str:
    return f"guardrails:\n  a: {{{body}}}\nassignments:\n  - guardrails: [{assigned}]\n"


def warnings(file: Path, text: str) -> list[str]:
    file.write_text(text)
    checked = check(file, today=TODAY, known=KNOWN)
    assert checked.errors == ()
    return [str(problem) for problem in checked.warnings]


def test_a_pattern_that_matches_no_known_model_is_a_warning_with_the_pattern_to_write(file: Path) -> None:
    [warning] = warnings(file, rules("bedrock: {deny: [meta.llama3-70b-instruct*, anthropic.claude-2*]}"))
    assert warning == (
        "guardrails.yaml:2: guardrails.a.bedrock.deny[2]: `anthropic.claude-2*` matches no model that was known on "
        "2026-01-01: write `anthropic.claude-v2*`"
    )


def test_a_pattern_without_similar_models_is_a_warning_without_suggestions(file: Path) -> None:
    [warning] = warnings(file, rules("jumpstart: {allow: [qqqq-*, huggingface-llm-falcon-*]}"))
    assert warning.endswith(
        "jumpstart.allow[1]: `qqqq-*` matches no model that was known on 2026-01-01: write a known model ID"
    )


def test_a_pattern_for_a_model_newer_than_the_list_is_kept(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: [anthropic.claude-99*]}"))
    checked = check(file, today=TODAY, known=KNOWN)
    assert checked.rules is not None
    assert checked.rules.guardrails["a"].bedrock is not None
    assert checked.rules.guardrails["a"].bedrock.patterns == ("anthropic.claude-99*",)


def test_an_exact_bedrock_id_under_deny_is_a_warning_because_it_leaves_other_versions_allowed(file: Path) -> None:
    [warning] = warnings(file, rules("bedrock: {deny: [anthropic.claude-v2]}"))
    assert warning.endswith(
        "`anthropic.claude-v2` does not deny other versions and variants of the model, "
        "for example `anthropic.claude-v2:1`: write `anthropic.claude-v2*`"
    )


def test_exact_ids_are_accepted_under_allow_and_for_jumpstart(file: Path) -> None:
    assert warnings(file, rules("bedrock: {allow: [anthropic.claude-v2]}")) == []
    assert warnings(file, rules("jumpstart: {deny: [huggingface-llm-falcon-7b-bf16]}")) == []


def test_without_a_list_of_models_every_pattern_is_accepted(file: Path) -> None:
    file.write_text(rules("bedrock: {allow: [qqqq.x]}"))
    assert check(file, today=TODAY).warnings == ()


def many(count: int) -> str:
    return ", ".join(f"'*.{'m' * 60}{number}'" for number in range(count))


def test_an_allow_list_that_exceeds_a_policy_is_an_error_with_its_line(file: Path) -> None:
    file.write_text(
        f"guardrails:\n  b: {{bedrock: {{deny: all}}}}\n  a:\n    bedrock: {{allow: [{many(60)}]}}\n"
        "assignments:\n  - guardrails: [a]\n"
    )
    checked = check(file, today=TODAY)
    assert checked.rules is None
    [error] = checked.errors
    assert str(error).startswith("guardrails.yaml:4: guardrails.a.bedrock: the allow list does not fit an IAM policy")


def test_a_jumpstart_list_that_exceeds_a_policy_is_an_error_with_its_line(file: Path) -> None:
    listed = ", ".join(f"'*{'m' * 60}{number}'" for number in range(99))
    file.write_text(rules(f"bedrock: {{deny: all}}, jumpstart: {{allow: [{listed}]}}"))
    [error] = check(file, today=TODAY).errors
    assert str(error).startswith("guardrails.yaml:2: guardrails.a.jumpstart: the allow list does not fit")


def test_compiling_without_a_check_gives_the_same_error_with_its_line() -> None:
    patterns = tuple(f"*.{'m' * 60}{number}" for number in range(60))
    with pytest.raises(TooLong) as refused:
        compile_guardrail(Guardrail("a", BedrockRule("allow", patterns)), "aws")
    assert str(refused.value).startswith("guardrails.a.bedrock: the allow list does not fit an IAM policy")
    assert str(refused.value).endswith("meaning: write families, such as `anthropic.claude-*`, or fewer models")


def test_slots_are_counted_for_each_assignment_and_nine_are_a_warning(file: Path) -> None:
    names = [f"g{number}" for number in range(9)]
    guardrails = "".join(f"  {name}: {{jumpstart: {{deny: all}}}}\n" for name in names)
    file.write_text(
        f"guardrails:\n{guardrails}assignments:\n"
        f"  - {{guardrails: [{', '.join(names[:8])}], domains: [d]}}\n  - guardrails: [{', '.join(names)}]\n"
    )
    checked = check(file, today=TODAY)
    assert checked.slots == (8, 9)
    [warning] = checked.warnings
    assert str(warning).startswith(
        "guardrails.yaml:13: assignments[2]: takes 9 of the 10 policies that a role can have"
    )


def test_guardrail_of_several_policies_costs_as_many_slots(file: Path) -> None:
    listed = ", ".join(f"maker.{'m' * 60}{number}*" for number in range(60))
    file.write_text(rules(f"bedrock: {{deny: [{listed}]}}"))
    checked = check(file, today=TODAY)
    policies = compile_rules(load(file, today=TODAY), "aws")
    assert checked.slots == (len(policies),)
    assert checked.policies == {"a": len(policies)}
    assert len(policies) > 1


def test_the_shipped_file_has_no_errors_or_warnings(tmp_path: Path) -> None:
    checked = check(SHIPPED, today=TODAY, known=known_models())
    assert (checked.errors, checked.warnings) == ((), ())
    assert checked.slots == (1, 1)


def test_shipped_models_can_all_be_listed_by_their_ids(file: Path) -> None:
    models = known_models()
    date.fromisoformat(models.as_of)
    assert len(models.bedrock) > 100
    assert len(models.jumpstart) > 500
    for family, ids in (("bedrock", models.bedrock), ("jumpstart", models.jumpstart)):
        assert list(ids) == sorted(set(ids))
        reading = read_yaml(rules(f"{family}: {{deny: [{', '.join(ids)}]}}"), today=TODAY)
        assert reading.errors == ()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_check_prints_the_cost_of_the_file_and_exits_0(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: all}"))
    code, out, _ = run("check", str(file))
    assert code == 0
    assert "policy a: 1," in out
    assert "assignment 1: 1 of the 10 policies that a role can have by default" in out
    assert out.endswith(f"{file}: 0 errors, 0 warnings\n")


def test_check_prints_a_line_for_each_mistake_and_exits_2(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: [claude-v2]}, jumpstart: {deny: []}") + "exemptions: []\nfoo: 1\n")
    code, out, _ = run("check", str(file))
    assert code == 2
    assert [line.split(": ")[:3] for line in out.splitlines()[:-1]] == [
        ["error", "guardrails.yaml:2", "guardrails.a.bedrock.deny[1]"],
        ["error", "guardrails.yaml:2", "guardrails.a.jumpstart.deny"],
        ["error", "guardrails.yaml:6", "foo"],
    ]


def test_check_of_a_file_with_warnings_only_exits_0(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: all}") + "exemptions:\n  - {role: X, until: 2020-01-31, reason: x}\n")
    code, out, _ = run("check", str(file))
    assert code == 0
    assert out.startswith("warning: guardrails.yaml:6: exemptions[1]: ended on 2020-01-31")


def test_check_of_a_missing_file_is_one_line_and_exits_1(tmp_path: Path) -> None:
    code, out, err = run("check", str(tmp_path / "none.yaml"))
    assert (code, out) == (1, "")
    assert (
        err == f"rolewarden: {tmp_path}/none.yaml: cannot be read: No such file or directory: "
        "name a readable guardrails.yaml\n"
    )


def test_check_as_json_has_errors_warnings_and_costs(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: all}", "a, b"))
    code, out, _ = run("check", "--json", str(file))
    assert code == 2
    found = json.loads(out)
    assert found["errors"] == [
        {"file": "guardrails.yaml", "line": 4, "where": "assignments[1].guardrails[2]",
         "message": "no guardrail has the name `b`: write one of: a"}
    ]  # fmt: skip
    assert found["slots"] == []
    file.write_text(rules("bedrock: {deny: all}"))
    _, out, _ = run("check", "--json", str(file))
    assert json.loads(out)["slots"] == [1]
    assert list(json.loads(out)["policies"]) == ["a"]


def test_compile_as_json_is_one_object_of_policy_name_and_document() -> None:
    code, out, _ = run("compile", "--json", str(SHIPPED))
    assert code == 0
    expected = {policy.name: policy.document for policy in compile_rules(load(SHIPPED, today=TODAY), "aws")}
    assert json.loads(out)["policies"] == expected
    assert run("compile", "--json", str(SHIPPED))[1] == out


def test_compile_writes_a_file_for_each_policy_and_prints_its_name(tmp_path: Path) -> None:
    code, out, _ = run("compile", "--out", str(tmp_path / "deep" / "policies"), str(SHIPPED))
    assert code == 0
    for policy in compile_rules(load(SHIPPED, today=TODAY), "aws"):
        written = tmp_path / "deep" / "policies" / f"{policy.name}.json"
        assert digest(written.read_text()) == digest(policy.document)
        assert str(written) in out.splitlines()


def test_compile_prints_indented_documents(file: Path) -> None:
    file.write_text(rules("jumpstart: {deny: all}"))
    code, out, _ = run("compile", str(file))
    name, _, document = out.partition("\n")
    assert (code, name) == (0, "a")
    assert '      "Sid": "JumpStartCreateSdk",' in document.splitlines()
    json.loads(document)


def test_compile_of_a_bad_file_prints_the_mistakes_and_no_document(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: [claude-v2]}"))
    code, out, err = run("compile", "--out", str(file.parent / "policies"), str(file))
    assert (code, out) == (1, "")
    assert err.startswith("error: guardrails.yaml:2: guardrails.a.bedrock.deny[1]: `claude-v2` has no provider")
    assert not (file.parent / "policies").exists()


def test_compile_into_an_existing_file_is_one_line_and_exits_1(file: Path) -> None:
    file.write_text(rules("bedrock: {deny: all}"))
    code, out, err = run("compile", "--out", str(file), str(file))
    assert (code, out) == (1, "")
    assert err == f"rolewarden: {file} is a file: give a folder with --out\n"


BOUNDED = """fallback: boundary
guardrails:
  long: {{bedrock: {{deny: [{}]}}}}
  short: {{bedrock: {{deny: all}}}}
assignments:
  - {{guardrails: [short], domains: [one]}}
  - guardrails: [long, short]
"""
LONG = ", ".join(f"maker{number}.model-with-a-long-name-{number}*" for number in range(40))


def test_a_boundary_that_exceeds_a_policy_is_a_warning_at_the_assignment_with_a_solution(file: Path) -> None:
    file.write_text(BOUNDED.format(LONG))
    [warning] = [str(problem) for problem in check(file, today=TODAY).warnings]
    place, _, message = warning.partition(": the boundary")
    assert place == "guardrails.yaml:7: assignments[2]"
    assert re.fullmatch(
        r" that replaces its guardrails on a full role takes [\d,]+ of the 6,144 characters of an IAM policy, and "
        "cannot be divided, so such a role stays unenforceable: use fewer guardrails or shorter lists",
        message,
    )


def test_boundaries_that_fit_or_are_not_requested_are_no_warning(file: Path) -> None:
    file.write_text(BOUNDED.format("anthropic.claude-*"))
    assert check(file, today=TODAY).warnings == ()
    file.write_text(BOUNDED.format(LONG).replace("fallback: boundary\n", ""))
    assert check(file, today=TODAY).warnings == ()


def test_compile_prints_the_boundaries_and_check_prints_their_size(file: Path) -> None:
    file.write_text(BOUNDED.format("anthropic.claude-*"))
    printed = json.loads(CliRunner().invoke(app, ["compile", str(file), "--json"]).stdout)
    assert list(printed["policies"]) == ["long", "short", "boundary.short", "boundary.long+short"]
    said = CliRunner().invoke(app, ["check", str(file)]).stdout
    assert re.search(r"policy boundary\.long\+short: [\d,]+ of 6,144 characters", said)


def test_check_names_the_paths_that_a_guardrail_leaves_open_and_the_option_for_each(file: Path) -> None:
    file.write_text(
        "guardrails:\n  a: {jumpstart: {deny: all}}\n"
        "  b: {bedrock: {deny: all}, jumpstart: {deny: all, weights: deny, autopilot: deny}, assistants: {deny: all},"
        " pass_roles: [Canvas*], other_profiles: deny, shared_spaces: deny, api_keys: deny}\n"
        "  c: {bedrock: {deny: all}, routes: canvas, assistants: {deny: all}, pass_roles: [Canvas*],"
        " other_profiles: deny, shared_spaces: deny, api_keys: deny}\n"
        "assignments:\n  - guardrails: [a, b, c]\n"
    )
    said = CliRunner().invoke(app, ["check", str(file)]).stdout
    assert (
        "guardrail a leaves open: fine-tuning of JumpStart models by Canvas (`jumpstart.autopilot`); the files of "
        "JumpStart models (`jumpstart.weights`); AWS's assistants (`assistants`); calls of models with an API key "
        "(`api_keys`); work as another role (`pass_roles`); applications of other "
        "user profiles (`other_profiles`); shared spaces, which run as a role of the domain (`shared_spaces`)"
    ) in said
    assert "guardrail b leaves open" not in said
    assert "guardrail c leaves open: everything that a notebook can reach (`routes: all`)\n" in said
    printed = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)
    assert printed["left_open"]["b"] == []


def test_check_names_each_option_that_is_off_and_that_closes_a_path_around_the_list_of_models() -> None:
    listed = Guardrail("a", BedrockRule("deny", ("meta.*",)), JumpStartRule("deny", ("meta-*",)))
    rules: dict[str, Any] = {"bedrock": listed.bedrock, "jumpstart": listed.jumpstart, "": listed}
    off = {
        f"{family}.{field}".strip(".")
        for family, rule in rules.items()
        for field in rule._fields
        if getattr(rule, field) is Allowance.ALLOW
    }
    # The list of models applies to a batch job.
    assert {f"`{option}`" for option in off - {"bedrock.batch"}} <= named(listed)
    for option in off:
        family, _, field = option.rpartition(".")
        part = rules[family]._replace(**{field: Allowance.DENY})
        assert f"`{option}`" not in named(listed._replace(**{family: part}) if family else part)


def named(guardrail: Guardrail) -> set[str]:
    return {re.findall("`.+?`", path)[-1] for path in left_open(guardrail)}


def test_check_counts_the_statements_that_guardrails_of_an_assignment_share(file: Path) -> None:
    shared = "guardrails:\n  a: {bedrock: {deny: [x.y*]}}\n  b: {bedrock: {deny: [x.z*]}}\nassignments:\n"
    file.write_text(f"{shared}  - guardrails: [a, b]\n")
    said = CliRunner().invoke(app, ["check", str(file)]).stdout
    assert re.search(
        r"assignment 1: 5 statements of [\d,]+ characters in more than one of its guardrails; one guardrail with all "
        r"families has each statement once",
        said,
    )
    file.write_text(f"{shared}  - {{guardrails: [a], domains: [d]}}\n  - guardrails: [b]\n")
    assert "in more than one" not in CliRunner().invoke(app, ["check", str(file)]).stdout


def test_an_unknown_fallback_is_an_error_with_the_allowed_values(file: Path) -> None:
    file.write_text(BOUNDED.format("anthropic.claude-*").replace("boundary\n", "bound\n", 1))
    [error] = check(file, today=TODAY).errors
    assert str(error) == "guardrails.yaml:1: fallback: `bound` is not understood: write `none` or `boundary`"


LOOSE = """guardrails:
  strict: {bedrock: {deny: all}, jumpstart: {deny: all}}
  loose: {bedrock: {allow: [amazon.nova-*]}}
  trial: {bedrock: {deny: all}, jumpstart: {deny: all}, mode: observe}
assignments:
  - %s
  - {guardrails: [strict], accounts: ["222233334444"]}
  - guardrails: [strict]
"""


@pytest.mark.parametrize(
    ("assignment", "by"),
    [
        ("{guardrails: [loose], tags: {team: research}}", "tags"),
        ("{guardrails: [], domains: [research]}", "names"),
        ("{guardrails: [trial], user_profiles: [intern-*]}", "names"),
        ("{guardrails: [loose], roles: [Canvas*]}", "names"),
        ("{guardrails: [loose], domains: [d-abc123], tags: {team: research}}", "tags"),
    ],
)
def test_an_assignment_that_denies_less_by_a_name_or_tag_is_a_warning(tmp_path, assignment, by):
    file = tmp_path / "guardrails.yaml"
    file.write_text(LOOSE % assignment)
    [warning] = [one for one in check(file, today=date(2026, 6, 1)).warnings if "denies less" in one.message]
    assert warning.where == "assignments[1]"
    assert f"matches by {by}" in warning.message
    assert "add `accounts`" in warning.message


@pytest.mark.parametrize(
    "assignment",
    [
        "{guardrails: [loose], tags: {team: research}, accounts: ['111122223333']}",
        "{guardrails: [], domains: [d-abc123]}",
        "{guardrails: [strict, loose], tags: {team: research}}",
    ],
)
def test_an_assignment_that_no_caller_can_choose_or_that_denies_as_much_is_no_warning(tmp_path, assignment):
    file = tmp_path / "guardrails.yaml"
    file.write_text(LOOSE % assignment)
    assert [one for one in check(file, today=date(2026, 6, 1)).warnings if "denies less" in one.message] == []


def test_named_taggers_end_the_warning_about_tags(tmp_path):
    file = tmp_path / "guardrails.yaml"
    text = LOOSE % "{guardrails: [loose], tags: {team: research}}"
    file.write_text(f"{text}trusted_taggers: ['arn:aws:iam::111122223333:role/platform']\n")
    checked = check(file, today=date(2026, 6, 1))
    assert checked.errors == ()
    assert [one for one in checked.warnings if "denies less" in one.message] == []


PLACED = """
guardrails:
  strict: {bedrock: {deny: all}%s}
  loose: {bedrock: {allow: [amazon.nova-*]}}
assignments:
%s
"""
INTERNS = "  - {guardrails: [strict], user_profiles: [intern-*]}\n  - {guardrails: [loose]}"
RESEARCHERS = "  - {guardrails: [loose], user_profiles: [research-*]}\n  - {guardrails: [strict]}"


@pytest.mark.parametrize(
    ("options", "assignments", "missing"),
    [
        ("", INTERNS, ["assignments[1] other_profiles", "assignments[1] shared_spaces"]),
        (", other_profiles: deny", INTERNS, ["assignments[1] shared_spaces"]),
        (", shared_spaces: deny", INTERNS, ["assignments[1] other_profiles"]),
        (", other_profiles: deny, shared_spaces: deny", INTERNS, []),
        # The shared spaces of a domain have no user profile, so the last assignment covers them.
        ("", RESEARCHERS, ["assignments[2] other_profiles"]),
        ("", "  - {guardrails: [strict], domains: [a]}\n  - {guardrails: [loose]}", []),
        ("", "  - {guardrails: [strict], user_profiles: [a]}\n  - {guardrails: [strict]}", []),
        ("", "  - {guardrails: [strict, loose]}", []),
    ],
)
def test_users_who_can_work_as_another_role_with_fewer_denies_are_a_warning(tmp_path, options, assignments, missing):
    file = tmp_path / "guardrails.yaml"
    file.write_text(PLACED % (options, assignments))
    checked = check(file, today=date(2026, 6, 1))
    assert checked.errors == ()
    found = [(one.where, re.search(r"add `(\w+): deny`", one.message)) for one in checked.warnings]
    assert [f"{where} {option[1]}" for where, option in found if option] == missing


NARROW = """
guardrails:
  none: {bedrock: {deny: all}}
  some: {bedrock: {allow: [amazon.nova-*]}}
assignments:
"""
PLACES_APART = NARROW.replace("none: {", "none: {other_profiles: deny, shared_spaces: deny, ")
ROLE = "arn:aws:iam::111122223333:role/canvas/some/*"
CATCH_ALL = "  - guardrails: [none]\n"


def test_an_assignment_that_an_scp_cannot_see_is_a_warning_if_the_file_names_principals(file: Path) -> None:
    loose = "  - {guardrails: [some], domains: [d-abcdefghijkl]}\n"
    listed = f'  - {{guardrails: [some], accounts: ["111122223333"], principals: ["{ROLE}"]}}\n'
    assert warnings(file, NARROW + loose + CATCH_ALL) == []
    [warning] = warnings(file, NARROW + loose + listed + CATCH_ALL)
    assert warning == (
        "guardrails.yaml:6: assignments[1]: has no `principals`, so a service control policy denies its roles all that "
        "any guardrail denies: add `principals` with the ARNs of its roles"
    )


@pytest.mark.parametrize(
    ("place", "warned"),
    [
        ("user_profiles: [intern-*]", True),
        ("tags: {team: interns}", True),
        ("user_profiles: [intern-*], domains: [d-abcdefghijkl]", True),
        ("user_profiles: [intern-*], domains: [d-other]", False),
        ('user_profiles: [intern-*], accounts: ["444455556666"]', False),
        ('user_profiles: [intern-*], principals: ["arn:aws:iam::111122223333:role/interns/*"]', False),
        ("domains: [d-abcdefghijkl]", False),
    ],
)
def test_a_rule_stricter_than_the_role_that_a_profile_inherits_is_a_warning(
    file: Path, place: str, warned: bool
) -> None:
    listed = (
        f'  - {{guardrails: [some], accounts: ["111122223333"], domains: [d-abcdefghijkl], principals: ["{ROLE}"]}}\n'
    )
    found = warnings(file, f"{PLACES_APART}  - {{guardrails: [none], {place}}}\n{listed}{CATCH_ALL}")
    words = (
        "guardrails.yaml:6: assignments[1]: denies more than assignment 2, which has `principals`. A user profile "
        "without a role of its own works as the role of its domain, and a service control policy then applies "
        "assignment 2: give these user profiles a role of their own, and add it to `principals`"
    )
    assert found == ([words] if warned else [])


def test_an_exemption_without_an_account_is_a_warning_if_the_file_names_principals(file: Path) -> None:
    listed = f'  - {{guardrails: [some], accounts: ["111122223333"], principals: ["{ROLE}"]}}\n'
    exempt = "exemptions: [{role: Visitor, until: 2027-01-31}]\n"
    [warning] = warnings(file, NARROW + listed + CATCH_ALL + exempt)
    assert warning.endswith(
        "exemptions[1]: names no account, so a service control policy does not exempt `Visitor`: add `account` with "
        "the 12 digits of the role's account"
    )


def test_compile_prints_the_service_control_policies_of_a_file(tmp_path: Path) -> None:
    code, printed, said = run("compile", "--scp", "--json", str(SHIPPED))
    answer = json.loads(printed)
    assert code == 0
    assert list(answer["policies"]) == ["rolewarden-models", "rolewarden-models-2"]
    assert all(len(json.dumps(document)) > answer["characters"][name] for name, document in answer["policies"].items())
    assert (answer["scope"], answer["partition"], answer["without_not_resource"]) == ("account", "aws", [])
    assert "rolewarden: 2 SCPs of the 10 that a root, OU or account can have" in said
    assert "assignments[1]: has no `principals`" in said
    code, printed, _ = run("compile", "--scp", str(SHIPPED), "--out", str(tmp_path))
    files = [Path(line) for line in printed.splitlines()]
    assert (code, [path.name for path in files]) == (0, ["rolewarden-models.json", "rolewarden-models-2.json"])
    assert [json.loads(path.read_text()) for path in files] == list(answer["policies"].values())
    assert [len(path.read_text()) for path in files] == list(answer["characters"].values())


def test_compile_names_what_the_service_control_policies_lack(file: Path) -> None:
    file.write_text(NARROW.replace("none: {", "none: {mode: observe, ") + CATCH_ALL)
    _, _, said = run("compile", "--scp", "--partition", "aws-cn", "--scope", "sagemaker", str(file))
    assert "in observe mode, so not in the SCP: none" in said
    assert "AWS documents no NotResource in SCPs of aws-cn, so these statements are only in the attached" in said
    file.write_text("mode: observe" + NARROW + CATCH_ALL)
    code, _, said = run("compile", "--scp", str(file))
    assert code == 0
    assert "every guardrail is in observe mode, so the SCP would deny nothing: write `mode: enforce`" in said


def test_options_of_service_control_policies_without_scp_are_an_error() -> None:
    code, _, said = run("compile", "--scope", "sagemaker", str(SHIPPED))
    assert code == 1
    assert "--scope and --partition are for service control policies: give --scp, too" in said


REGIONAL = [
    "allow: all, regions: [eu-*]",
    "allow: [amazon.nova-*], regions: [eu-*]",
    "deny: [anthropic.*], regions: [eu-*]",
    "allow: all, regions: [eu-*], profiles: [eu]",
    "deny: [anthropic.*], regions: [eu-*], profiles: [eu]",
    "allow: all, profiles: [eu]",
    "allow: all, regions: [eu-*], only_through: "
    "['arn:aws:bedrock:eu-central-1:111122223333:application-inference-profile/a1']",
]
"""Rules of `bedrock` with `regions` and without, of which some leave a model in another geography open on Mantle."""


@pytest.mark.parametrize("rule", REGIONAL)
def test_regions_without_profiles_are_a_warning_exactly_if_mantle_leads_out_of_them(tmp_path, rule):
    text = rules(f"bedrock: {{{rule}}}")
    found = warnings(tmp_path / "guardrails.yaml", text)
    read = read_yaml(text, today=date(2026, 6, 1)).rules
    assert read is not None
    guardrail = read.guardrails["a"]
    context = {"aws:RequestedRegion": "eu-west-1", "bedrock-mantle:Model": "us.amazon.nova-pro-v1:0"}
    project = "arn:aws:bedrock-mantle:eu-west-1:111122223333:project/default"
    call = (AwsRequest("bedrock-mantle:CreateInference", project, context),)
    is_open = not Denials(denies(guardrail, "aws")).covers(Target(TargetKind.PATH, "", (call,)))
    is_warned = any("model IDs with a geography on `bedrock-mantle`" in line for line in found)
    assert is_warned == (is_open and "regions" in rule), found
