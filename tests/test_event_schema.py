"""The page and the schema describe the events of Rolewarden. conftest.py validates every event."""

import json
import re

import boto3
import pytest
from jsonschema import Draft202012Validator
from rolewarden import own_events
from rolewarden.aws import Aws
from rolewarden.canary import CANARY_POLICY, CANARY_ROLE
from rolewarden.origin import DEPLOYMENT
from rolewarden.own_events import OWN_EVENTS, RulesChanged, SweepRequested
from rolewarden.policies import policy_arn
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import ROOT, sample
from tests.drills import one_account
from tests.guardrail_texts import SINGLED_OUT
from tests.publishing import tamper
from tests.schema import DETAILS, SCHEMA, wrong

PAGE = (ROOT / "docs/reference/events.md").read_text(encoding="utf-8")
SAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)]


def test_the_schema_is_valid():
    Draft202012Validator.check_schema(SCHEMA)


def test_every_detail_type_is_in_the_schema_and_no_other():
    classes = [value for value in vars(own_events).values() if isinstance(value, type) and "detail_type" in vars(value)]
    assert classes == list(OWN_EVENTS)
    assert set(DETAILS) == {event.detail_type for event in OWN_EVENTS}


@pytest.mark.parametrize("name", sorted(DETAILS))
def test_the_page_has_a_sample_of_each_detail_type_that_the_schema_takes(name):
    shown = [event for event in SAMPLES if event["detail-type"] == name]
    assert shown
    for event in shown:
        assert event["source"] == "rolewarden"
        assert not list(Draft202012Validator(SCHEMA).iter_errors(event))
        assert wrong(name, event["detail"]) == []


@pytest.mark.parametrize("name", sorted(DETAILS))
def test_the_page_has_every_field_and_what_it_means(name):
    [section] = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert DETAILS[name]["description"] in " ".join(section.split())
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| [^|]* \| (.*?) \|$", section, flags=re.MULTILINE))
    fields = DETAILS[name]["properties"]
    assert list(rows) == list(fields)
    for field, told in fields.items():
        assert rows[field].startswith(told["description"])
    always = set(re.findall(r"^\| `(\w+)` \| always \|", section, flags=re.MULTILINE))
    assert always == set(DETAILS[name]["required"])


@pytest.mark.parametrize("path", sorted((ROOT / "events").glob("finding_*.json")), ids=lambda path: path.stem)
def test_the_sample_findings_are_events_as_the_schema_has_them(path):
    event = sample(path.stem)
    assert wrong(event["detail-type"], event["detail"]) == []


def test_a_field_that_is_not_documented_is_found():
    event = sample("finding_role")
    assert wrong("Role Finding", {**event["detail"], "new": 1})
    assert wrong("Role Finding", {**event["detail"], "verdict": "bad"})
    assert wrong("Role Lost", {})
    assert wrong("Role Finding", {k: v for k, v in event["detail"].items() if k != "role"})


@pytest.fixture
def put(monkeypatch):
    """Detail type and detail of the new events."""
    found = []
    publish = Aws.put_events

    def keep(self, events):
        events = list(events)
        found.extend(events)
        publish(self, events)

    monkeypatch.setattr(Aws, "put_events", keep)
    return found


def test_a_scenario_with_every_event_matches_the_schema(world_with, put):
    world = world_with("surplus: detach\n" + (ROOT / "layers/guardrails/guardrails.yaml").read_text(encoding="utf-8"))
    world.sweep()
    for _ in range(3):
        world.enforce(world.detach("CanvasAnalytics", "no-generative-ai"))
    world.remediate_by_hand()
    boto3.client("cloudtrail").stop_logging(Name="management-events")
    world.sweep()
    world.publications.handle_event(tamper(world, "edited"))
    loose = world_with("surplus: detach\n" + SINGLED_OUT, keep=True)
    loose.sweep(), loose.detach_surplus()
    world.runtime.recorder.record_rules(
        RulesChanged(account=ACCOUNT_ID, cause=DEPLOYMENT.cause, digest="0" * 64, summary="first rules")
    )
    world.runtime.aws.put_events([(SweepRequested.detail_type, {"by": "rolewarden sweep"})])
    boto3.client("cloudtrail").start_logging(Name="management-events")
    ground = one_account(world)
    ground.drill()
    ground.wait(60)
    with ground.late():
        world.iam.detach_role_policy(RoleName=CANARY_ROLE, PolicyArn=policy_arn(CANARY_POLICY, "aws", ACCOUNT_ID))
    ground.wait(60)
    assert [line for name, detail in put for line in wrong(name, json.loads(json.dumps(detail)))] == []
    assert {name for name, _ in put} == set(DETAILS)
