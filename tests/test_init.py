"""`rolewarden init` writes a guardrails.yaml that passes `check` for every account, and replaces no file unasked."""

import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rolewarden.bindings import Binding, RoleKey
from rolewarden.check import check
from rolewarden.guardrails import Mode
from rolewarden.known import known_models
from rolewarden_cli import init, options
from rolewarden_cli.init import MOST_PAGES, counted_uses, grouped, stack_files, starting_file
from rolewarden_cli.main import app
from rolewarden_cli.observed import Made, ObservedCall, ObservedCalls
from rolewarden_cli.rules import DEFAULT_FILE
from rolewarden_cli.starter import (
    Choices,
    DomainGroup,
    FoundAccount,
    FoundDomain,
    Usable,
    UsableAnswers,
    UsedModel,
    model_id,
)
from rolewarden_local.aws import ACCOUNT_ID
from typer.testing import CliRunner

from tests.callers import call_model
from tests.commands import rolewarden
from tests.conftest import ROOT, TODAY

pytestmark = pytest.mark.long

KNOWN = known_models()
NOVA, CLAUDE = "amazon.nova-pro-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"
FLAN = "huggingface-text2text-flan-t5-xl"
FAMILIES = ("bedrock", "jumpstart", "assistants")
DAY = date(2026, 11, 20)
HOSTILE = "a: b\n  - guardrails: []  # \u202e' \" {} &x *y !!python"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)
    return tmp_path


def run(*arguments, answer=None):
    """Run `init` without an account."""
    return CliRunner().invoke(app, ["init", "--without-account", *arguments], input=answer)


def checked(path):
    return check(path, today=TODAY, known=KNOWN)


def document(path=DEFAULT_FILE):
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


names = st.sampled_from([HOSTILE, "research", "research-2", "Research", "d-a", "*", "", "a" * 200]) | st.text(
    max_size=80
)
domains = st.builds(
    FoundDomain,
    st.text("ab", min_size=1, max_size=4).map(lambda text: f"d-{text}"),
    names,
    st.sampled_from(["us-east-1", "eu-west-1"]),
)


def used(ids):
    return st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True).map(
        lambda chosen: tuple(UsedModel(one, 3, DAY, ("CanvasRosa", HOSTILE)) for one in sorted(chosen))
    )


groups = st.builds(
    DomainGroup,
    st.lists(domains, min_size=1, max_size=3, unique=True).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    used(KNOWN.bedrock) | st.just(()),
    used(KNOWN.jumpstart) | st.just(()),
    st.lists(names, max_size=2).map(tuple),
)
accounts = st.builds(
    FoundAccount,
    st.just(ACCOUNT_ID),
    st.just(("us-east-1",)),
    st.lists(groups, min_size=1, max_size=3, unique_by=lambda group: group.domains).map(tuple),
    st.just(DAY),
    st.lists(names, max_size=2).map(tuple),
)
answers = st.builds(
    Choices,
    st.sampled_from(Mode),
    st.sampled_from(Usable),
    st.sampled_from(Usable),
    st.sampled_from(UsableAnswers),
).filter(lambda one: one.restrict)


@given(answers, st.none() | accounts)
def test_the_file_of_every_account_passes_check_and_says_what_the_account_has(given_answers, account):
    if account is None:
        given_answers = replace(given_answers, bedrock=Usable.NONE)
    start = starting_file(given_answers, account, TODAY, has_schema=True)
    assert (start.found, start.by_provider) == (account, False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guardrails.yaml"
        path.write_text(start.text, encoding="utf-8")
        result = checked(path)
    assert result.errors == ()
    assert result.rules
    text = yaml.safe_load(start.text)
    assert text.keys() == {"mode", "guardrails", "assignments"}
    assert text["mode"] == given_answers.mode
    *special, last = text["assignments"]
    assert last == {"guardrails": [start.denying]}
    assert len(special) == len(start.groups)
    assert len({name.lower() for name in text["guardrails"]}) == len(start.groups) + 1
    for group, assignment in zip(start.groups, special, strict=True):
        assert assignment["domains"] == [domain.id for domain in group.domains]
        guardrail = text["guardrails"][assignment["guardrails"][0]]
        for family, choice, models in (
            ("bedrock", given_answers.bedrock, group.bedrock),
            ("jumpstart", given_answers.jumpstart, group.jumpstart),
        ):
            expected = {"allow": [one.id for one in models]} if choice is Usable.USED and models else {"deny": "all"}
            assert guardrail.get(family) == (None if choice is Usable.ANY else expected)


def test_a_list_that_needs_too_many_policies_becomes_a_list_of_providers():
    everything = tuple(UsedModel(one, 1, DAY, ("CanvasRosa",)) for one in KNOWN.jumpstart)
    domain = (FoundDomain("d-1", "research", "us-east-1"),)
    account = FoundAccount(ACCOUNT_ID, ("us-east-1",), (DomainGroup(domain, jumpstart=everything),))
    start = starting_file(Choices(), account, TODAY, has_schema=False)
    assert start.by_provider
    assert '"huggingface-*"' in start.text


def test_domains_with_the_same_name_or_the_name_of_another_id_get_guardrails_of_their_own():
    found = [("d-a", "Research"), ("d-b", "research"), ("d-c", "d-b"), ("d-e", "Research-2")]
    one = (UsedModel(NOVA, 1, DAY, ()),)
    groups_of_one = tuple(DomainGroup((FoundDomain(*domain, "us-east-1"),), bedrock=one) for domain in found)
    account = FoundAccount(ACCOUNT_ID, (), groups_of_one)
    start = starting_file(Choices(), account, TODAY, has_schema=False)
    assert start.found is account
    named = [assignment["guardrails"][0] for assignment in yaml.safe_load(start.text)["assignments"][:-1]]
    ends = ("Research", "d-b", "d-c", "Research-2")
    assert named == [f"allow-{end}-models-only" for end in ends]


def role(name, domain, *, account=ACCOUNT_ID, profile="", region="us-east-1"):
    kind = "user-profile" if profile else "default-user"
    return Binding(account, region, domain, kind, "execution", RoleKey(account, name), user_profile=profile)


def test_domains_that_share_a_role_get_one_guardrail():
    bindings = [role("A", "d-1"), role("B", "d-2"), role("a", "d-3"), role("B", "d-4", profile="x"), role("C", "d-4")]
    found = {frozenset(domain.id for domain in domains): roles for domains, roles in grouped(bindings)}
    assert {key: {*map(str.lower, roles)} for key, roles in found.items()} == {
        frozenset({"d-1", "d-3"}): {"a"},
        frozenset({"d-2", "d-4"}): {"b", "c"},
    }


def test_a_domain_with_an_id_of_another_form_is_left_out():
    assert [*grouped([role("A", 'd-"]\n')])] == []


@pytest.mark.parametrize(
    ("called", "means"),
    [
        (NOVA, NOVA),
        (f"us.{NOVA}", NOVA),
        (f"global.{CLAUDE}", CLAUDE),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}", NOVA),
        (f"arn:aws:bedrock:us-east-1:{ACCOUNT_ID}:inference-profile/eu.{NOVA}", NOVA),
        (f"arn:aws:bedrock:us-east-1:{ACCOUNT_ID}:provisioned-model/abc", ""),
        (f"arn:aws:bedrock:us-east-1:{ACCOUNT_ID}:application-inference-profile/abc", ""),
        ("amazon.*", ""),
        ("amazon.nova\n", ""),
        ("", ""),
    ],
)
def test_a_call_names_its_model_in_several_ways(called, means):
    assert model_id(called) == means


def calls(*made):
    """Calls since DAY: each the ARN or name of the role, and fields of the call."""
    found = ObservedCalls(datetime(2026, 11, 1, tzinfo=UTC))
    for principal, fields in made:
        arn = principal if ":" in principal else f"arn:aws:iam::{ACCOUNT_ID}:role/service-role/{principal}"
        call = ObservedCall(ACCOUNT_ID, "us-east-1", arn, fields.pop("service", "bedrock"), "InvokeModel", **fields)
        at = datetime(2026, 11, 20, tzinfo=UTC)
        found.made[call] = Made(2, at, at)
    return found


def test_only_models_of_a_list_and_only_calls_of_the_roles_count():
    found = calls(
        ("canvasrosa", {"models": (f"us.{NOVA}",)}),
        ("CanvasRosa", {"models": ("anthropic.made-up-v9",)}),
        ("CanvasRosa", {"service": "sagemaker", "tags": (("sagemaker-sdk:jumpstart-model-id", FLAN),)}),
        ("CanvasRosa", {"service": "sagemaker", "tags": (("team", FLAN),)}),
        ("BuildServer", {"models": (CLAUDE,)}),
        ("arn:aws:iam::999999999999:role/CanvasRosa", {"models": (CLAUDE,)}),
    )
    [uses] = counted_uses(found, ACCOUNT_ID, [("CanvasRosa",)], KNOWN)
    assert [(one.id, one.calls, one.last) for one in uses.of("bedrock")] == [(NOVA, 2, DAY)]
    assert [one.id for one in uses.of("jumpstart")] == [FLAN]
    assert uses.hidden == {"anthropic.made-up-v9"}


def test_a_domain_keeps_the_models_that_its_roles_called(world, here):
    call_model("CanvasRosa", f"us.{NOVA}")
    result = rolewarden("init", "--yes")
    assert result.exit_code == 0, result.output
    assert "domain research: 3 roles, 1 model in use" in result.stdout
    assert "2 guardrails in observe mode" in result.stdout
    found = document()
    assert found["guardrails"]["allow-research-models-only"]["bedrock"] == {"allow": [NOVA]}
    assert found["assignments"][0] == {"guardrails": ["allow-research-models-only"], "domains": ["d-research0001"]}
    assert checked(DEFAULT_FILE).errors == ()
    assert "1 call, last on" in DEFAULT_FILE.read_text()
    plan = rolewarden("plan", "--fail-on", "observed")
    assert plan.exit_code == 2, plan.output


def test_a_history_that_aws_refuses_is_named_in_the_file(world, here):
    with world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        result = rolewarden("init", "--yes")
    assert result.exit_code == 0, result.output
    assert "not read: event history of us-east-1" in result.stdout
    assert "# Not read: event history of us-east-1" in DEFAULT_FILE.read_text()


def test_days_0_reads_no_history(world, here):
    with world.aws.failing("LookupEvents", "AccessDeniedException", status=403):
        result = rolewarden("init", "--yes", "--days", "0")
    assert "not read" not in result.stdout
    assert document()["guardrails"].keys() == {"deny-generative-ai"}


def test_a_long_history_ends_after_some_pages(world, here, monkeypatch):
    pages: list[list[str]] = []

    def endless(*_):
        while True:
            pages.append([])
            yield []

    monkeypatch.setattr("rolewarden_cli.account.OperatorCalls.event_history", endless)
    result = rolewarden("init", "--yes")
    assert f"before the newest {MOST_PAGES * 50:,}: add their models by hand" in " ".join(result.stdout.split())
    assert len(pages) == MOST_PAGES * len((*init.BEDROCK_CALLS, *init.JUMPSTART_CALLS))


def test_without_a_terminal_nothing_is_asked_and_the_defaults_count(here):
    result = run()
    assert result.exit_code == 0, result.output
    assert "?" not in result.output
    assert document() == {
        "mode": "observe",
        "guardrails": {
            "deny-generative-ai": {
                "bedrock": {"deny": "all"},
                "jumpstart": {"deny": "all"},
                "assistants": {"deny": "all"},
            }
        },
        "assignments": [{"guardrails": ["deny-generative-ai"]}],
    }


OPTIONS = {"--mode": "enforce", "--bedrock": "any", "--jumpstart": "none", "--assistants": "any"}


def test_each_question_has_an_option(here, monkeypatch):
    monkeypatch.setattr(options, "is_a_terminal", lambda: True)
    given_options = [word for pair in OPTIONS.items() for word in pair]
    by_options = run("--without-stack", *given_options, "options.yaml")
    assert by_options.exit_code == 0, by_options.output
    assert "?" not in by_options.output
    asked = run("asked.yaml", answer="\n".join([*OPTIONS.values(), "n", ""]))
    assert asked.exit_code == 0, asked.output
    assert asked.output.count("?") == len(OPTIONS) + 1
    assert document("asked.yaml") == document("options.yaml")
    assert document("options.yaml")["guardrails"] == {"deny-jumpstart": {"jumpstart": {"deny": "all"}}}


def test_an_answer_that_is_none_is_asked_again(here, monkeypatch):
    monkeypatch.setattr(options, "is_a_terminal", lambda: True)
    result = run("file.yaml", answer="perhaps\nenforce\n\n\n\nn\n")
    assert "`perhaps` is no answer: write one of enforce, observe" in result.output
    assert document("file.yaml")["mode"] == "enforce"


def test_yes_asks_nothing_on_a_terminal(here, monkeypatch):
    monkeypatch.setattr(options, "is_a_terminal", lambda: True)
    result = run("--yes")
    assert result.exit_code == 0, result.output
    assert "?" not in result.output


@pytest.mark.parametrize(("terminal", "answer"), [(False, None), (True, "n\n")])
def test_a_file_is_not_replaced_unasked(here, monkeypatch, terminal, answer):
    monkeypatch.setattr(options, "is_a_terminal", lambda: terminal)
    Path("mine.yaml").write_text("mine")
    result = run("mine.yaml", answer=answer)
    assert result.exit_code == 1
    assert "mine.yaml exists: give --force to replace it, or name another file" in result.output
    assert Path("mine.yaml").read_text() == "mine"
    assert run("mine.yaml", "--force", "--yes").exit_code == 0
    assert document("mine.yaml")["mode"] == "observe"


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(here):
    Path("mine.yaml").write_text("mine")
    result = run("mine.yaml/other.yaml", "--yes")
    assert result.exit_code == 1
    assert "mine.yaml: cannot be made: File exists: name a file in another folder" in result.output
    assert Path("mine.yaml").read_text() == "mine"


def test_a_file_that_another_program_makes_meanwhile_is_not_replaced(here):
    Path("mine.yaml").write_text("mine")
    with pytest.raises(init.ExistsError, match="give --force"):
        init.write_new_file(Path("mine.yaml"), "other", replaces=False)
    assert Path("mine.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bedrock", "any", "--jumpstart", "any", "--assistants", "any"], "these answers deny nothing"),
        (["--bedrock", "used"], "`used` needs an account"),
        (["--mode", "perhaps"], "see `rolewarden init --help`"),
        (["--days", "91"], "see `rolewarden init --help`"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(here, arguments, says):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert says in line
    assert not [*here.iterdir()]


def test_without_credentials_the_error_names_the_way_without_an_account(here, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(here / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(here))
    result = CliRunner().invoke(app, ["init"])
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith("; `rolewarden init --without-account` needs no account")


def test_the_files_of_the_stack_are_those_of_the_checkout(here):
    assert run("--with-stack").exit_code == 0
    for source, name in stack_files():
        assert (here / name).read_bytes() == source.read_bytes() == (ROOT / name).read_bytes()
    written = {file.relative_to(here).as_posix() for file in here.rglob("*") if file.is_file()}
    code = {file.relative_to(ROOT).as_posix() for file in (ROOT / "layers").rglob("*.py")}
    assert code | {"template.yaml", "forwarder.yaml", "samconfig.toml", str(DEFAULT_FILE)} <= written
    assert DEFAULT_FILE.read_text().startswith("# yaml-language-server: $schema=../../docs/reference/guardrails.schema")


def test_a_changed_file_of_the_stack_is_not_replaced_unasked(here):
    Path("template.yaml").write_text("mine")
    result = run("--with-stack")
    assert result.exit_code == 1
    assert "template.yaml exists with another content: give --force to replace it" in result.output
    assert {file.name for file in here.iterdir()} == {"template.yaml"}
    assert run("--with-stack", "--force").exit_code == 0
    assert Path("template.yaml").read_bytes() == (ROOT / "template.yaml").read_bytes()
