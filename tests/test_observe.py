"""Observe mode: every output names it, counts what enforcing would do, and recommends nothing that is not true."""

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from rolewarden.alert import compose
from rolewarden.changes import compare_rules
from rolewarden.guardrails_file import load
from rolewarden.observing import banner
from rolewarden.settings import AlertSettings
from rolewarden_cli import options
from rolewarden_cli.status import Status, SweepSeen
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.scenes.account import Account, print_roles
from rolewarden_local.scenes.playground import hints
from rolewarden_local.scenes.seed import AccessKey

from tests.commands import json_answer, rolewarden
from tests.conftest import TODAY
from tests.guardrail_texts import BY_DOMAIN
from tests.stacks import deploy

pytestmark = pytest.mark.long

ALL = f"mode: observe\n{BY_DOMAIN}"
ONE = ALL.replace("no-generative-ai: {", "no-generative-ai: {mode: enforce, ")
BOUNDARY = f"fallback: boundary\n{ALL}"
BANNER = "In observe mode: no-generative-ai, only-nova-and-sonnet. Rolewarden reports roles that lack them, and"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(options, "utc_today", lambda: TODAY)


@pytest.fixture
def stack(template, monkeypatch):
    """The stack in CloudFormation, which `status` reads."""
    deploy(template, monkeypatch)


def rules(world):
    return ("--guardrails", world.environment["GUARDRAILS_FILE"])


def words(*arguments):
    return " ".join(rolewarden(*arguments).stdout.split())


def promotions(world):
    plan = json.loads(rolewarden("plan", *rules(world), "--json").stdout)
    return {tuple(one["guardrails"]): one for one in plan["promotions"]}


def test_plan_counts_what_each_promotion_would_change_and_could_not_protect(world_with):
    world = world_with(ALL)
    found = promotions(world)
    no_ai, nova = found[("no-generative-ai",)], found[("only-nova-and-sonnet",)]
    assert no_ai["would_change"] == [
        "CanvasAnalytics", "CanvasAnalyticsSpaces", "CanvasBedrockAnalytics", "CanvasBreakGlass", "CanvasOmar",
    ]  # fmt: skip
    assert (nova["would_change"], nova["could_not"]) == (["CanvasResearch", "CanvasRosa"], {"CanvasFull": "quota full"})
    both = found[("no-generative-ai", "only-nova-and-sonnet")]
    assert len(both["would_change"]) == 7
    assert both["could_not"] == {"CanvasFull": "quota full"}
    text = words("plan", *rules(world))
    assert f"{BANNER} attaches and detaches nothing." in text
    assert "all of them 7 roles would change: CanvasAnalytics, CanvasAnalyticsSpaces" in text
    assert "1 role could not be protected: CanvasFull quota full: detach a policy that the role does not need" in text
    assert "Write `mode: enforce` into a guardrail, and deploy, to promote it." in text


def test_a_fallback_boundary_counts_as_a_change_of_a_full_role(world_with):
    found = promotions(world_with(BOUNDARY))[("only-nova-and-sonnet",)]
    assert (found["would_change"], found["could_not"]) == (["CanvasFull", "CanvasResearch", "CanvasRosa"], {})


def test_a_promotion_is_what_the_deployment_of_it_then_does(world_with):
    planned = promotions(world_with(ALL))[("no-generative-ai",)]
    world = world_with(ONE, keep=True)
    world.sweep()
    world.work()
    attached = [name for name in world.seeded.roles if "no-generative-ai" in world.attached(name)]
    assert sorted(attached) == planned["would_change"]
    assert list(promotions(world)) == [("only-nova-and-sonnet",)]
    assert "In observe mode: only-nova-and-sonnet. Rolewarden reports" in words("plan", *rules(world))


@pytest.mark.usefixtures("stack")
def test_without_observe_mode_no_output_mentions_it(world_with):
    world = world_with(BY_DOMAIN)
    world.sweep()
    assert promotions(world) == {}
    for command in (
        ("plan", *rules(world)),
        ("status",),
        ("explain", "CanvasRosa", "amazon.nova-pro-v1:0", *rules(world)),
    ):
        shown = rolewarden(*command).stdout
        assert shown
        assert "observe" not in shown


@pytest.mark.usefixtures("stack")
def test_status_counts_observed_roles_apart_and_ends_with_2_until_they_are_enforced(world_with):
    world = world_with(ALL)
    world.sweep()
    world.work()
    found = json_answer("status", exit_code=2)
    assert found["observes"] is True
    assert rolewarden("status", "--fail-on", "contested,unprotected,sweep").exit_code == 0
    assert found["unenforceable"] == []
    assert sorted(entry["about"] for entry in found["observed"])[:2] == ["CanvasAnalytics", "CanvasAnalyticsSpaces"]
    assert found["observed_guardrails"] == ["no-generative-ai", "only-nova-and-sonnet"]
    assert found["covered"] == 0
    assert BANNER in words("status")
    assert max(map(len, rolewarden("status").stdout.splitlines())) <= 80


def test_status_is_not_well_while_nothing_enforces_although_each_role_has_its_guardrail():
    at = datetime(2026, 11, 25, 15, tzinfo=UTC)
    for observes in (0, 1):
        sweep = SweepSeen(at, {"roles": 8, "seconds": 1, "observes": observes}, missed=False)
        status = Status("111122223333", "us-east-1", at, sweep, None, 8, 0, (), (), 0)
        assert status.conditions["observed"] is bool(observes)


@pytest.fixture
def renamed(world_with):
    """Roles with the guardrail no-generative-ai, which is `renamed` and in observe mode now."""
    world = world_with(BY_DOMAIN)
    world.sweep()
    world.work()
    world = world_with(ALL.replace("no-generative-ai", "renamed"), keep=True)
    world.sweep()
    world.work()
    return world


@pytest.mark.usefixtures("stack")
def test_status_offers_no_detachment_that_observe_mode_refuses(renamed):
    assert renamed.attached("CanvasOmar")
    text = words("status")
    assert "they stay while every guardrail is in observe mode" in text
    assert "`rolewarden detach`" not in text


def test_detach_says_that_observe_mode_detaches_nothing(renamed):
    assert "does not need no-generative-ai, and keeps it" in words("plan", *rules(renamed))
    for roles in ((), ("CanvasOmar",)):
        text = words("detach", *roles, *rules(renamed), "--yes")
        assert "every guardrail is in observe mode, so Rolewarden detaches nothing" in text
        assert "does not need" not in text
        assert "needs its policies" not in text


def test_the_last_line_of_the_plan_counts_the_roles_that_lack_only_observed_guardrails(world_with):
    text = words("plan", *rules(world_with(ALL)))
    assert "8 without a guardrail in observe mode" in text
    assert "no governed role" not in text
    text = words("plan", *rules(world_with(ONE)))
    assert "3 without a guardrail in observe mode" in text


@pytest.mark.usefixtures("stack")
def test_status_counts_the_events_that_would_have_been_remediated_since_observing(world_with):
    world = world_with(BY_DOMAIN)
    world.enforce(world.role_event("CanvasOmar"))
    world = world_with(ALL, keep=True)
    world.sweep()
    world.work()
    assert "Rolewarden would have remediated none of the events so far" in words("status")
    world.enforce(world.detach("CanvasOmar", "no-generative-ai"))
    world.enforce(world.role_event("CanvasRosa"))
    world.enforce(world.role_event("CanvasFull"))
    found = json_answer("status", exit_code=2)["since_observing"]
    assert (found["remediated"], found["could_not"]) == (2, 1)
    assert re.search(r"Since 2026-.* UTC, 2 events would have been remediated, and 1 could not", words("status"))
    # What Rolewarden remediated meanwhile begins a new count.
    world = world_with(BY_DOMAIN, keep=True)
    world.enforce(world.role_event("CanvasOmar"))
    world.enforce(world.role_event("CanvasRosa"))
    world = world_with(ALL, keep=True)
    world.sweep()
    found = json_answer("status", exit_code=2)["since_observing"]
    assert (found["remediated"], found["could_not"]) == (0, 0)


@pytest.mark.usefixtures("stack")
def test_a_full_role_that_a_fallback_boundary_would_protect_counts_as_remediated(world_with):
    world = world_with(BOUNDARY)
    world.enforce(world.role_event("CanvasFull"))
    world.sweep()
    found = json_answer("status", exit_code=2)["since_observing"]
    assert (found["remediated"], found["could_not"]) == (1, 0)


def test_access_and_explain_name_the_guardrails_in_observe_mode(world_with):
    world = world_with(ALL)
    model = "amazon.nova-pro-v1:0"
    assert BANNER in words("access", "--model", model, *rules(world))
    assert json_answer("access", "--model", model, *rules(world))["observed"] == [
        "no-generative-ai",
        "only-nova-and-sonnet",
    ]
    assert BANNER in words("explain", "CanvasRosa", model, *rules(world))


def test_the_report_recommends_only_what_is_true_in_observe_mode(world_with, tmp_path):
    world = world_with(ALL)
    world.enforce(world.role_event("CanvasFull"))
    world.sweep()
    page = tmp_path / "report.html"
    rolewarden("report", "-o", str(page), "--model", "amazon.nova-pro-v1:0", *rules(world))
    text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").partition("<body")[2])
    text = " ".join(text.replace("`", " ").split())
    assert BANNER in text
    assert "In enforce mode, 7 roles would change, and 1 could not be protected. Since 2026-" in text
    assert "0 events would have been remediated, and 1 could not have been." in text
    assert "could not be protected in enforce mode: quota full" in text
    assert "write mode: enforce into the guardrail instead of" in text
    assert "if the stack does not remediate the role" not in text
    assert "run rolewarden enforce" not in text


def alert_settings(world, file):
    environment = {**world.environment, "ALARM_TOPIC_ARN": "arn", "ALERTS_TABLE": "a", "EVENT_SOURCES": "a=b"}
    return AlertSettings.read({**environment, "GUARDRAILS_FILE": str(file)})


def test_an_alert_names_the_guardrails_in_observe_mode_and_comes_also_with_unusable_rules(world_with, tmp_path):
    world = world_with(ALL)
    settings = alert_settings(world, world.environment["GUARDRAILS_FILE"])
    body = " ".join(compose({"source": "x"}, "aws", banner=settings.banner).body.split())
    assert f"Observed {BANNER} attaches and detaches nothing." in body
    broken = tmp_path / "guardrails.yaml"
    broken.write_text("guardrails: []")
    assert alert_settings(world, broken).banner == ""
    assert "Observed" not in compose({"source": "x"}, "aws").body


def test_an_alert_does_not_promise_to_attach_an_observed_guardrail():
    path = Path(__file__).parents[1] / "events" / "finding_policy_restored.json"
    event = json.loads(path.read_text(encoding="utf-8"))
    event["detail"]["remediation"] = "created"
    observing, enforcing = (" ".join(compose(event, "aws", banner=line).body.split()) for line in (BANNER, ""))
    assert "to every role that needs it, unless its guardrail is in observe mode" in observing
    assert "unless its guardrail" not in enforcing


def test_the_banner_names_ten_guardrails_and_counts_the_others():
    assert "g00, g01, g02, g03, g04, g05, g06, g07, g08, g09 and 2 more." in banner(
        [f"g{number:02}" for number in range(12)], every=False
    )
    assert banner([], every=False) == ""


def account_of(world):
    """The account of a test as `make local` sees it."""
    names = {"BindingsTable": "BINDINGS_TABLE", "HistoryTable": "HISTORY_TABLE"}
    outputs = {logical: world.environment[name] for logical, name in names.items()}
    return Account(outputs, {"mallory": AccessKey("key", "secret")}, Path(world.environment["GUARDRAILS_FILE"]))


@pytest.mark.parametrize(("text", "settled"), [(ALL, True), (ONE, False)], ids=["all", "one"])
def test_make_local_does_not_wait_for_guardrails_in_observe_mode(world_with, text, settled):
    account = account_of(world_with(text))
    assert account.is_settled("CanvasRosa")
    assert account.is_settled("CanvasOmar") is settled
    shown = io.StringIO()
    print_roles(account, Console(file=shown, width=200))
    assert "In observe mode: " in shown.getvalue()
    tried = hints(account, "http://localhost")
    assert ("Rolewarden attaches no guardrail in observe mode" in tried) is settled
    assert ("detach-role-policy" not in tried) is settled


def test_make_local_says_that_a_policy_is_attached_again_in_enforce_mode(world_with):
    account = account_of(world_with(BY_DOMAIN))
    assert not account.is_settled("CanvasRosa")
    tried = hints(account, "http://localhost")
    assert "list the attached policies a second later" in tried
    assert f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/no-generative-ai" in tried


@pytest.fixture
def change(tmp_path):
    """The difference between two texts of guardrails.yaml."""

    def compared(*texts):
        files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        old, new = (load(file, today=TODAY) for file in files)
        return compare_rules(old, new, "aws", TODAY)

    return compared


def test_diff_shows_a_promotion_and_what_it_denies(change):
    [guardrail] = change(ALL, ONE).guardrails
    assert [one.line for one in guardrail.options] == ["mode: observe -> enforce"]
    assert guardrail.access.lost["bedrock"]


def test_diff_shows_a_promotion_that_denies_nothing_new(change):
    both = "guardrails:\n  a: {bedrock: {deny: all}}\n  b: {bedrock: {deny: all}, mode: %s}\n"
    twice = f"{both}assignments: [{{guardrails: [a, b]}}]"
    found = change(twice % "observe", twice % "enforce")
    assert "  mode: observe -> enforce" in found.lines()
