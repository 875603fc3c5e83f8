"""`rolewarden verify`: the checks of doctor, drills everywhere, a denied model call, and what stays unsettled."""

import json

import boto3
import pytest
from rolewarden_cli.verify import SETTLED_BY_PULSES, unsettled

from tests.clinic import Clinic
from tests.commands import json_answer, rolewarden
from tests.conftest import ROOT
from tests.drilled import Operated
from tests.drills import one_account
from tests.scripts import scripts
from tests.volume import volume

pytestmark = pytest.mark.long

[page] = scripts("docs", "verified_page")

NOVA = "amazon.nova-pro-v1:0"
RULES = "guardrails: {none: {bedrock: {deny: all}}}\nassignments: [{guardrails: [none]}]\nfallback: boundary\n"
ROLE = ["--role", "CanvasRosa", "--model", NOVA]


@pytest.fixture
def clinic(world_with, monkeypatch):
    world = world_with(RULES)
    world.protected()
    clinic = Clinic(world, monkeypatch)
    Operated(one_account(world), monkeypatch, clinic)
    return clinic


def calls(clinic: Clinic, *options: str, exit_code: int = 0) -> dict[str, dict[str, str]]:
    """The checks about model calls, by name."""
    found = json_answer("verify", *clinic.options, *ROLE, *options, exit_code=exit_code)["checks"]
    return {check["what"]: check for check in found if check["what"].endswith("model call")}


def test_a_stack_in_good_order_passes_and_the_end_says_what_only_an_account_can_confirm(clinic):
    result = rolewarden("verify", *clinic.options, *ROLE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "3 of 3 drills in order" in lines
    assert f"simulated model call: none denies CanvasRosa the model {NOVA}" in " ".join(result.stdout.split())
    heading = next(line for line in lines if line.startswith("facts that only your account can confirm"))
    assert lines.index(heading) > lines.index("3 of 3 drills in order")
    assert lines[-1].endswith("on which the protection depends less: add --all")
    shown = rolewarden("verify", *clinic.options, "--all").stdout
    assert len(shown) > 2 * len(result.stdout)
    assert max(map(len, lines)) <= 80


def test_all_unsettled_facts_are_those_of_the_page_without_the_one_that_the_pulses_settled(clinic):
    doubtful = {claim.id for claim in page.claims() if claim.evidence == page.NOT_VERIFIED}
    assert {one.id for one in unsettled([])} == doubtful
    assert doubtful >= SETTLED_BY_PULSES
    found = json_answer("verify", *clinic.options)
    assert {one["id"] for one in found["unsettled"]} == doubtful - SETTLED_BY_PULSES
    assert {one["state"] for one in found["drills"]} == {"heard"}


FIRST = [
    "updates-of-subjects-pass-roles",
    "profile-without-a-role-passes-none",
    "associated-resource-of-a-profile",
    "bedrock-role-is-passed",
    "sagemaker-session-name",
    "no-op-tags-are-recorded",
    "role-tags-and-live-sessions",
    "role-that-only-denies",
    "ingestion-time-precision",
]
"""The claims that decide what prevention can claim, in the order in which an account can settle them."""


def test_the_decisive_facts_come_first_in_their_order_and_only_an_account_can_settle_them(clinic):
    places = [claim.decisive for claim in page.claims() if claim.decisive]
    assert sorted(places) == list(range(1, len(places) + 1))
    assert {claim.evidence for claim in page.claims() if claim.decisive} == {page.NOT_VERIFIED}
    assert [one.id for one in unsettled([])][: len(FIRST)] == FIRST
    text = " ".join(rolewarden("verify", *clinic.options).stdout.split())
    shown = [claim.claim for claim in sorted(page.claims(), key=lambda one: one.decisive) if claim.decisive]
    found = [text.find(claim) for claim in shown if claim in text]
    assert found == sorted(found)
    assert len(found) >= len(places) - len(SETTLED_BY_PULSES)


def test_a_missed_pulse_settles_nothing(clinic):
    for rule in ("EnforceFunctionRoles", "EnforceFunctionSubjects"):
        boto3.client("events").disable_rule(Name=rule)
    found = json_answer("verify", *clinic.options, exit_code=2)
    assert {one["id"] for one in found["unsettled"]} >= SETTLED_BY_PULSES


def test_a_role_without_its_guardrail_fails_the_simulated_call(clinic):
    for policy in boto3.client("iam").list_attached_role_policies(RoleName="CanvasRosa")["AttachedPolicies"]:
        boto3.client("iam").detach_role_policy(RoleName="CanvasRosa", PolicyArn=policy["PolicyArn"])
    found = calls(clinic, exit_code=2)["simulated model call"]
    assert (found["level"], found["message"]) == ("fail", f"no policy denies CanvasRosa the model {NOVA}")
    assert found["recommendation"] == f"read the reason with `rolewarden explain CanvasRosa {NOVA}`"


def test_without_a_role_the_model_call_is_a_warning_that_says_how_to_test_it(clinic):
    text = " ".join(rolewarden("verify", *clinic.options).stdout.split())
    assert "warn simulated model call: not tested: name a role and a model" in text


def assumable() -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    boto3.client("iam").update_assume_role_policy(RoleName="CanvasRosa", PolicyDocument=json.dumps(trust))


REFUSALS = [
    ("AccessDeniedException", "not authorized, with an explicit deny in an identity-based policy", "ok"),
    ("AccessDeniedException", "You don't have access to the model with the specified model ID.", "warn"),
    ("ValidationException", "Malformed input request", "fail"),
    ("ResourceNotFoundException", "no such model", "warn"),
    ("ThrottlingException", "too many requests", "warn"),
]
"""Answers of Bedrock: the code, a part of the message, and the level of the check."""


@pytest.mark.volume
@pytest.mark.parametrize(("error", "message", "level"), volume(REFUSALS[:3], REFUSALS))
def test_a_real_call_must_be_denied_by_an_explicit_deny(clinic, error, message, level):
    assumable()
    with clinic.aws.failing("InvokeModel", error, message):
        found = calls(clinic, "--call", exit_code=2 if level == "fail" else 0)
    assert found["real model call"]["level"] == level, found
    assert found["simulated model call"]["level"] == "ok"


def test_a_role_that_cannot_be_assumed_fails_the_real_call_and_says_what_to_do(clinic):
    with clinic.aws.failing("AssumeRole", "AccessDenied", "no"):
        found = calls(clinic, "--call", exit_code=2)["real model call"]
    assert found["recommendation"].startswith("let your role assume it")


@pytest.mark.parametrize("options", [["--role", "CanvasRosa"], ["--model", NOVA], ["--call"]])
def test_options_that_need_others_are_one_line_and_exit_code_1(world, options):
    result = rolewarden("verify", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


def test_the_wheel_has_the_facts_that_the_command_reads():
    assert '"docs/verified.yaml" = "rolewarden_cli/project/docs/verified.yaml"' in (ROOT / "pyproject.toml").read_text()
