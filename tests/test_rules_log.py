"""A deployment with other rules is recorded: what changes in terms of access, and who deployed it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from rolewarden.changes import digest_of_rules
from rolewarden.errors import Refused, RetryLater
from rolewarden.guardrails_file import read_document
from rolewarden.origin import DEPLOYMENT, SCHEDULED_CHECK
from rolewarden.record import RULES_CHANGES
from rolewarden.rules_log import (
    LONGEST_LINE,
    MOST_LINES,
    NOT_THE_OUTPUT,
    OUTPUT,
    UNKNOWN_BEFORE,
    document_in,
)
from rolewarden.stacks import StackReader
from rolewarden.verdicts import Reason
from rolewarden.work import DEPLOYER, LONGEST_DELAY, RECHECKS
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.conftest import ROOT, sample

FIRST = document_in(ROOT / "layers" / "guardrails" / "guardrails.yaml")
CALL = sample("self_execute_change_set")["detail"]


def other(text: str = "anthropic.claude-*") -> Any:
    return json.loads(json.dumps(FIRST).replace("anthropic.claude-sonnet-4*", text))


@dataclass
class Deployments:
    """The answers of CloudFormation and CloudTrail: only a completed deployment changes the outputs of the stack."""

    outputs: dict[str, str] = field(default_factory=dict)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def stack_output(self, _stack: str, name: str) -> str:
        if self.error:
            raise self.error
        return self.outputs.get(name, "")

    def deployment_calls(self, _stack: str, since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        at = (datetime.fromisoformat(call["eventTime"]) for call in self.calls)
        yield from (call for call, when in zip(self.calls, at, strict=True) if since <= when <= until)


@dataclass
class Outbox:
    """The messages that were sent. SQS would deliver them after their delay."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    def send(self, _queue: str, bodies: Any, *, delay: int = 0) -> None:
        assert 0 < delay <= LONGEST_DELAY
        self.bodies += bodies


class Stack:
    """The publications of an account, with the rules of one deployment after another."""

    def __init__(self, world: Any) -> None:
        self.world, self.shown, self.outbox = world, Deployments(), Outbox()
        self.publications = world.publications

    def deploy(self, document: Any, *, completes: bool = True) -> dict[str, Any]:
        rules = read_document(document, {}, file="g", today=self.world.publications.clock.today()).rules
        assert rules
        publisher = replace(self.world.publications.publisher, needs=replace(self.world.runtime.needs, rules=rules))
        log = replace(self.world.publications.log, deployments=self.shown, rules=rules, document=document)
        self.publications = replace(self.world.publications, publisher=publisher, log=log, queues=self.outbox)
        answer = self.publications.run(ACCOUNT_ID, DEPLOYMENT)
        if completes:
            self.shown.outputs.update(answer["data"])
        return answer

    def call(self, **changes: Any) -> None:
        now = datetime.fromtimestamp(self.world.publications.clock.now(), UTC)
        self.shown.calls.append({**CALL, "eventTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"), **changes})

    def entries(self) -> list[dict[str, Any]]:
        return self.world.history(RULES_CHANGES)

    def lookups(self) -> list[dict[str, Any]]:
        """The messages about a lookup, which are then received."""
        received, self.outbox.bodies = self.outbox.bodies, []
        return [body for body in received if body["step"] == DEPLOYER]


@pytest.fixture
def stack(world):
    return Stack(world)


def test_a_change_of_the_rules_is_a_row_and_an_event_with_its_text_digests_and_deployer(stack):
    heard = stack.world.listening({"source": ["rolewarden"], "detail-type": ["Rules Changed"]})
    stack.call()
    stack.deploy(FIRST)
    stack.deploy(other())
    first, second = stack.entries()
    assert (first["summary"], first.get("earlier_digest"), first["digest"]) == (
        "first rules", None, digest_of_rules(FIRST),
    )  # fmt: skip
    assert (second["earlier_digest"], second["digest"]) == (digest_of_rules(FIRST), digest_of_rules(other()))
    assert second["summary"] == "+28 models for domain research"
    assert "guardrail only-nova-and-sonnet: changed" in second["changes"]
    assert second["cause"]["actor"] == "arn:aws:sts::111122223333:assumed-role/Admin/olga"
    assert "unverified" not in second
    assert stack.lookups() == []
    details = [event["detail"] for event in heard()]
    assert [detail["summary"] for detail in details] == ["first rules", "+28 models for domain research"]
    assert details[1]["changes"] == second["changes"]


def test_a_deployment_without_other_rules_and_a_scheduled_check_record_nothing(stack):
    stack.deploy(FIRST)
    stack.deploy(FIRST)
    assert len(stack.entries()) == 1
    assert stack.publications.run(ACCOUNT_ID, SCHEDULED_CHECK).keys() == {"policies"}
    assert len(stack.entries()) == 1


def test_the_digest_of_the_rules_is_an_attribute_of_the_custom_resource(stack):
    assert stack.deploy(FIRST)["data"] == {OUTPUT: digest_of_rules(FIRST)}


def test_a_deployer_that_cloudtrail_shows_later_is_added_to_the_row_and_sent_as_an_event(stack):
    stack.deploy(FIRST)
    assert stack.entries()[0]["cause"] == {"event_name": "Deployment"}
    [message] = stack.lookups()
    heard = stack.world.listening({"source": ["rolewarden"], "detail-type": ["Rules Changed"]})
    assert stack.publications.handle_message(message) == {"deployer": "unknown"}
    stack.call(eventTime=stack.entries()[0]["at"].partition("#")[0][:19] + "Z")
    assert stack.publications.handle_message(message) == {"deployer": "recorded"}
    [row] = stack.entries()
    assert row["cause"]["event_name"] == "ExecuteChangeSet"
    assert row["summary"] == "first rules"
    [event] = heard()
    assert event["detail"]["digest"] == row["digest"]
    assert event["detail"]["cause"] == row["cause"]
    # A second message has nothing left to do, so a forged one sends no event.
    stack.publications.handle_message(message)
    assert heard() == []


@pytest.mark.parametrize("number", [0, 1, RECHECKS, -1, 99, "1", None])
def test_each_chain_of_lookups_ends_whatever_a_message_says(stack, number):
    stack.deploy(FIRST)
    stack.lookups()
    message: dict[str, Any] = {"account": ACCOUNT_ID, "step": "deployer", "rechecks": number}
    for _ in range(RECHECKS + 1):
        stack.publications.handle_message(message)
        found = stack.lookups()
        if not found:
            break
        [message] = found
    assert found == []


def test_calls_that_came_later_or_long_before_are_not_the_deployment(stack):
    stack.call(eventTime="2020-01-01T00:00:00Z")
    stack.deploy(FIRST)
    assert stack.entries()[0]["cause"] == {"event_name": "Deployment"}
    [message] = stack.lookups()
    stack.call(eventTime="2999-01-01T00:00:00Z")
    stack.publications.handle_message(message)
    assert stack.entries()[0]["cause"] == {"event_name": "Deployment"}


def test_a_forged_row_of_earlier_rules_is_marked_because_the_output_of_the_stack_differs(stack):
    stack.deploy(FIRST)
    genuine = stack.publications.progress.published_rules(ACCOUNT_ID)
    stack.deploy(other())
    # The forger hides that this deployment takes models away again.
    stack.publications.progress.set_published_rules(ACCOUNT_ID, genuine)
    stack.deploy(other("anthropic.claude-sonnet-4-5*"))
    assert stack.entries()[-1]["unverified"] == NOT_THE_OUTPUT


@pytest.mark.parametrize("text", ["", "x", "{}", "c${NkU;#q^0", "\x00", "A" * 400])
def test_earlier_rules_that_are_lost_or_unreadable_are_said_to_be_unknown(stack, text):
    stack.deploy(FIRST)
    stack.publications.progress.set_published_rules(ACCOUNT_ID, text)
    stack.deploy(other())
    entry = stack.entries()[-1]
    assert (entry["summary"], entry.get("changes")) == (UNKNOWN_BEFORE, None)


def test_a_rolled_back_deployment_records_both_changes(stack):
    stack.deploy(FIRST)
    stack.deploy(other(), completes=False)
    stack.shown.outputs.clear()  # During a rollback, DescribeStacks shows no outputs.
    stack.deploy(FIRST)
    summaries = [row["summary"] for row in stack.entries()]
    assert summaries == ["first rules", "+28 models for domain research", "-28 models for domain research"]
    assert stack.entries()[-1]["unverified"] == NOT_THE_OUTPUT


def test_a_long_change_is_cut_with_the_number_of_lines_that_are_left_out(stack):
    stack.deploy(FIRST)
    many = json.loads(json.dumps(FIRST))
    many["assignments"] = [
        {"guardrails": ["only-nova-and-sonnet"], "domains": [f"{'long-' * 120}{number}"]} for number in range(300)
    ] + many["assignments"]
    stack.deploy(many)
    entry = stack.entries()[-1]
    assert len(entry["changes"]) == MOST_LINES
    assert entry["more_changes"] > 200
    assert max(map(len, entry["changes"])) == LONGEST_LINE
    assert len(json.dumps(entry, default=str)) < 100_000


@pytest.mark.parametrize("error", [Refused(Reason.ACCESS_DENIED, "no"), RetryLater("later")])
def test_a_deployment_does_not_fail_because_its_change_cannot_be_recorded(stack, error):
    stack.shown.error = error
    assert stack.deploy(FIRST)["policies"]
    assert stack.entries() == []


def test_history_says_who_changed_the_rules_and_how(stack):
    stack.call()
    stack.deploy(FIRST)
    stack.deploy(other())
    text = rolewarden("history").stdout
    digests = [digest_of_rules(document)[:12] for document in (FIRST, other())]
    assert "rules changed: +28 models for domain research" in text
    assert "ExecuteChangeSet by arn:aws:sts::111122223333:assumed-role/Admin/olga" in " ".join(text.split())
    assert f"digest {digests[0]} -> {digests[1]}" in text
    newest = next(entry for entry in json_answer("history")["entries"] if entry["kind"] == "Rules Changed")
    assert newest["earlier_digest"] in {digest_of_rules(FIRST), ""}
    assert newest["changes"]


def test_cloudtrail_shows_the_call_that_deploys_a_stack_and_no_call_for_another_one(world):
    client = boto3.client("cloudformation")
    template = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": {OUTPUT: {"Value": "abc"}}})
    ids = [client.create_stack(StackName=name, TemplateBody=template)["StackId"] for name in ("one", "two")]
    reader = StackReader(world.runtime.aws)
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    [call] = reader.deployment_calls(ids[0], since, until)
    assert (call["eventName"], call["requestParameters"]["stackName"]) == ("CreateStack", "one")
    assert call["userIdentity"]["arn"]
    assert reader.stack_output(ids[0], OUTPUT) == "abc"
    assert reader.stack_output(ids[0], "Other") == ""
