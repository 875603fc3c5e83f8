"""The handlers: their wiring, and their answers to Lambda and SQS."""

import json

import boto3
import pytest
from rolewarden.errors import RetryLater, SettingsError
from rolewarden.events import parse_event
from rolewarden.settings import DetachSettings, DrillSettings, EnforceSettings, PublishSettings, SweepSettings
from rolewarden.work import Recheck
from rolewarden_local.aws import ACCOUNT_ID

from tests.conftest import sample
from tests.handlers import sqs_event, work_message
from tests.publishing import PUBLISHED, tamper
from tests.recorded import record


def recheck(event):
    return Recheck(parse_event(event), 1).as_dict()


def recorded(world, name):
    """A sample finding of which the history has the row."""
    return record(world.runtime.aws, world.environment["HISTORY_TABLE"], sample(name))


def test_alert_sends_the_message_to_the_topic(world, function):
    queue = world.sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = world.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns").subscribe(TopicArn=world.environment["ALARM_TOPIC_ARN"], Protocol="sqs", Endpoint=arn)
    answer = function("alert")(recorded(world, "finding_role"))
    [message] = world.sqs.receive_message(QueueUrl=queue)["Messages"]
    sent = json.loads(message["Body"])
    assert sent["Subject"] == answer["alert"] == "Rolewarden: role CanvasFull cannot be protected: quota full"
    assert "To do      detach a policy that the role does not need" in json.loads(sent["Message"])["text"]


def test_a_message_that_cannot_be_sent_is_retried(world, function):
    boto3.client("sns").delete_topic(TopicArn=world.environment["ALARM_TOPIC_ARN"])
    with pytest.raises(RetryLater, match="Publish: NotFound"):
        function("alert")(recorded(world, "finding_role"))


def test_alert_without_its_topic_names_the_missing_setting(world, function):
    world.environment = {**world.environment, "ALARM_TOPIC_ARN": ""}
    with pytest.raises(SettingsError, match="ALARM_TOPIC_ARN is not set"):
        function("alert")


def test_enforce_remediates_the_role_and_returns_the_outcome(world, function):
    answer = function("enforce")(world.role_event("CanvasOmar"))
    assert answer["request"] == {"role": "CanvasOmar"}
    assert [outcome["remediation"] for outcome in answer["outcomes"]] == ["attached"]
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_enforce_fails_after_a_temporary_error_so_that_lambda_retries(world, function):
    event = world.role_event("CanvasOmar")
    with world.aws.failing("ListAttachedRolePolicies", "Throttling"), pytest.raises(RetryLater):
        function("enforce")(event)


def test_reconcile_returns_only_the_message_that_needs_a_retry(world, function):
    handler = function("reconcile")
    with world.aws.failing("ListAttachedRolePolicies", "ServiceFailure", status=500, times=3):
        answer = handler(sqs_event(work_message("CanvasOmar"), work_message("CanvasAnalytics"), "no json", {"role": 7}))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert (world.attached("CanvasOmar"), world.attached("CanvasAnalytics")) == (set(), {"no-generative-ai"})


def test_reconcile_returns_all_messages_if_all_need_a_retry(world, function):
    handler = function("reconcile")
    with world.aws.failing("ListAttachedRolePolicies", "Throttling"):
        answer = handler(sqs_event(work_message("CanvasOmar"), work_message("CanvasAnalytics")))
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["0", "1"]


def test_reconcile_starts_no_role_without_enough_time_and_records_its_work(world, function):
    clock = iter([60, 60, 44, 44])
    answer = function("reconcile")(
        sqs_event(work_message("CanvasOmar"), work_message("CanvasAnalytics"), work_message("CanvasRosa")),
        seconds_left=lambda: next(clock, 44),
    )
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["2"]
    assert world.attached("CanvasRosa") == set()
    assert [len(world.history(role)) for role in ("CanvasOmar", "CanvasAnalytics", "CanvasRosa")] == [1, 1, 0]


def test_enforce_without_enough_time_leaves_a_role_to_the_next_try(world, function):
    with pytest.raises(RetryLater, match="too little time is left to evaluate role CanvasOmar"):
        function("enforce")(world.role_event("CanvasOmar"), seconds_left=lambda: 10)


def test_publish_rechecks_a_policy_from_its_queue(world, function):
    event = tamper(world, "edited")
    world.runtime.aws.send(world.environment["PUBLISH_QUEUE_URL"], [recheck(event)])
    [body] = world.queued("PUBLISH_QUEUE_URL")
    assert function("publish")(sqs_event(body))["policies"] == {"no-generative-ai": "replaced"}
    assert world.in_force() == PUBLISHED


def test_sweep_sends_drifted_roles_to_reconcile(world, function):
    counts = function("sweep")({"source": "aws.events"})
    assert counts["unprotected"] == 7
    function("reconcile")(sqs_event(*world.queued()))
    assert world.attached("CanvasAnalytics") == {"no-generative-ai"}


def test_publish_on_an_event_restores_the_policy(world, function):
    arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/rolewarden/no-generative-ai"
    world.iam.delete_policy(PolicyArn=arn)
    assert function("publish")(world.event("DeletePolicy"))["policies"] == {"no-generative-ai": "created"}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BINDINGS_TABLE", "", "BINDINGS_TABLE is not set"),
        ("ACCOUNT_ID", "", "ACCOUNT_ID is not set"),
        ("OWN_ROLES", "", "OWN_ROLES is not set"),
        ("RECHECK_SECONDS", "901", "RECHECK_SECONDS is `901`: give a number from 0 to 900"),
        ("HISTORY_DAYS", "soon", "HISTORY_DAYS is `soon`: give a number from 1 to 3653"),
        ("GUARDRAILS_FILE", "", "no guardrails found: add GuardrailsLayer to the function"),
    ],
)
def test_a_function_with_wrong_settings_fails_at_its_cold_start(world, variable, value, said):
    with pytest.raises(SettingsError, match=said):
        EnforceSettings.read({**world.environment, variable: value})


COMMON = {"ACCOUNT_ID", "BINDINGS_TABLE", "HISTORY_TABLE", "HISTORY_DAYS", "GUARDRAILS_FILE", "STACK_ID"}
NEEDED = {
    DrillSettings: {"ACCOUNT_ID", "BINDINGS_TABLE", "STACK_ID", "REGIONS", "DRILL_LIMIT_MINUTES"},
    EnforceSettings: {*COMMON, "WORK_QUEUE_URL", "RECHECK_SECONDS", "OWN_ROLES", "REGIONS", "DRILL_ROLE"},
    PublishSettings: {*COMMON, "PUBLISH_QUEUE_URL", "SWEEP_QUEUE_URL", "RECHECK_SECONDS", "REGIONS",
        "FALLBACK"},
    DetachSettings: {*COMMON, "WORK_QUEUE_URL", "RECHECK_SECONDS", "OWN_ROLES", "REGIONS"},
    SweepSettings: {
        *COMMON, "WORK_QUEUE_URL", "SWEEP_QUEUE_URL", "DETACH_QUEUE_URL", "PUBLISH_QUEUE_URL", "OWN_ROLES", "REGIONS",
        "SWEEP_SECONDS", "DRILL_LIMIT_MINUTES", "ENFORCE_FUNCTION", "SUBJECTS_RULE", "ROLES_RULE",
        "EVENTS_DEAD_LETTER_QUEUE",
    },
}  # fmt: skip


@pytest.mark.parametrize("settings", NEEDED, ids=lambda found: found.__name__)
def test_a_function_requires_only_the_settings_that_it_uses(world, settings):
    missed = set()
    for variable in world.environment:
        try:
            settings.read({name: value for name, value in world.environment.items() if name != variable})
        except SettingsError:
            missed.add(variable)
    assert missed == NEEDED[settings]
