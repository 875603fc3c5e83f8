"""A message is a hint: it neither gives a role a guardrail, nor blames a caller, nor makes an endless chain."""

import pytest
from rolewarden.bindings import NamedRow, StoredBindings
from rolewarden.contest import CONTESTED
from rolewarden.origin import SWEEP, Trigger
from rolewarden.verdicts import Reason
from rolewarden.work import RECHECKS, Recheck, Work, origin_in
from rolewarden_local.aws import ACCOUNT_ID

OLGA = "arn:aws:iam::111122223333:user/olga"
BLAMED = {"event_name": "DetachRolePolicy", "actor": OLGA, "event_id": "forged", "source_address": "198.51.100.7"}
GUARDRAIL = "no-generative-ai"


def work(role, **more):
    return {"role": role, "role_account": ACCOUNT_ID, "account": ACCOUNT_ID, **more}


@pytest.fixture
def protected(world):
    world.protected().queued()
    return world


def taken_off(world):
    """Detach the guardrail without an event for Rolewarden."""
    world.detach("CanvasOmar", GUARDRAIL)


def test_a_message_that_claims_bindings_gives_a_role_no_guardrail(protected):
    omar = next(binding for binding in protected.bindings.all() if binding.user_profile == "omar")
    claimed = omar._replace(role=omar.role._replace(name="BuildServer"))
    for rows in ([[*omar.key, omar.digest]], [[*claimed.key, claimed.digest]], [["members", "x", "y"]], [[1]], "rows"):
        answer = protected.enforcer.handle_message(work("BuildServer", rows=rows, bindings=[claimed.as_row()]))
        assert answer["verdict"] == "out_of_scope"
    assert protected.attached("BuildServer") == set()


def test_rows_that_a_message_names_count_only_as_the_table_has_them_now(protected):
    omar = next(binding for binding in protected.bindings.all() if binding.user_profile == "omar")
    row = NamedRow(omar.key[0], omar.key[1], omar.digest)
    table = protected.environment["BINDINGS_TABLE"]

    def stored(*rows):
        return StoredBindings(protected.runtime.aws, table, lambda _: True).named(omar.role, rows)

    assert stored(row) == (omar,)
    assert stored(row, row._replace(item="d-1/none")) == ()
    assert stored(row._replace(digest="0" * 16)) == ()
    protected.bindings.write([omar._replace(tags={"team": "new"})])
    assert stored(row) == ()


def test_a_caller_that_a_message_names_is_marked_as_unverified_and_not_named_in_a_contest(protected):
    heard = protected.listening({"source": ["rolewarden"], "detail-type": ["Role Contested"]})
    for number in range(CONTESTED):
        taken_off(protected)
        blamed = {**BLAMED, "event_id": f"forged-{number}"}
        protected.enforcer.handle_message(work("CanvasOmar", call="DetachRolePolicy", cause=blamed))
    rows = [row for row in protected.history("CanvasOmar") if row["cause"].get("actor") == OLGA]
    assert rows
    assert {row["cause"]["unverified"] for row in rows} == {"queue message"}
    [contest] = heard()
    assert [actor["actor"] for actor in contest["detail"]["actors"]] == [""]


@pytest.mark.parametrize("trigger", ["deployment", "operator", "schedule", "event", 7, None])
def test_a_message_cannot_claim_to_be_a_deployment_or_an_operator(trigger):
    origin = origin_in({"trigger": trigger, "cause": BLAMED})
    assert (origin.trigger, origin.cause.unverified) == (Trigger.EVENT, "queue message")


def test_a_message_of_a_sweep_names_no_caller():
    assert origin_in({"trigger": "sweep", "cause": BLAMED}) == SWEEP


@pytest.mark.parametrize("number", [-1, -(10**9), RECHECKS + 1, True, "1", 1.5])
def test_a_number_of_rechecks_that_none_can_have_is_no_message(number):
    assert Work.from_dict(work("CanvasOmar", rechecks=number)) is None
    request = {"request": {"role": "CanvasOmar"}, "account": ACCOUNT_ID, "region": "us-east-1", "rechecks": number}
    assert Recheck.from_dict(request) is None


def test_findings_about_one_thing_with_many_forged_callers_are_one(protected):
    heard = protected.listening({"source": ["rolewarden"], "detail-type": ["Role Finding"]})
    taken_off(protected)
    with protected.aws.failing("AttachRolePolicy", "AccessDenied"):
        for number in range(5):
            cause = {**BLAMED, "actor": f"{OLGA}{number}"}
            protected.enforcer.handle_message(work("CanvasOmar", cause=cause))
    [finding] = heard()
    assert finding["detail"]["reason"] == Reason.ACCESS_DENIED


NAMED = """guardrails:
  strict: {bedrock: {deny: all}}
  extra: {jumpstart: {deny: all}}
assignments:
  - {guardrails: [extra], domains: [research]}
  - {guardrails: [extra], tags: {team: research}}
  - guardrails: [strict]
"""


def test_a_message_that_claims_a_domain_name_and_tags_gives_a_role_no_guardrail(world_with):
    world = world_with(NAMED)
    world.sweep()
    assert world.attached("CanvasOmar") == {"strict"}
    world.assemble(world.runtime.aws)  # A new function has not read the name of the domain.
    began = world.progress.sweeps(ACCOUNT_ID)[-1]["item"]
    message = {"account": ACCOUNT_ID, "began": began, "step": "describe", "region": "us-east-1"}
    tags = {"team": "research"}
    for domain in ("d-analytics0001", ["d-analytics0001", "research"], {"id": "d-analytics0001", "name": "research"}):
        for profiles in (["omar"], {"omar": tags}, {"omar": None}):
            world.sweeper.handle_message({**message, "domain": domain, "profiles": profiles, "tags": {"omar": tags}})
    omar = next(binding for binding in world.bindings.all() if binding.user_profile == "omar")
    assert (omar.domain_name, omar.tags) == ("analytics", {})
    world.enforce(world.role_event("CanvasOmar"))
    assert world.attached("CanvasOmar") == {"strict"}
