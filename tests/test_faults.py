"""After every failure of a call, the role is protected in the end, or an alert reports that it cannot be."""

import contextlib
from typing import Any

import pytest
from rolewarden import aws as module
from rolewarden.aws import LONGEST_CALL
from rolewarden.aws_errors import translated
from rolewarden.errors import Refused, RetryLater
from rolewarden.own_events import SweepRequested
from rolewarden.record import metrics
from rolewarden.sweep import ENOUGH
from rolewarden_local.aws import Killed, Loss

from tests.handlers import sqs_event, work_message
from tests.world import World, _aws

CONFIG: Any = module._CONFIG
ROLE, GUARDRAIL = "CanvasOmar", "no-generative-ai"

PASSING = {
    "throttled": lambda aws, call: aws.failing(call, "Throttling"),
    "too many requests": lambda aws, call: aws.failing(call, "TooManyRequests", status=429),
    "an error of the service": lambda aws, call: aws.failing(call, "ServiceFailure", status=500),
    "the service is away": lambda aws, call: aws.failing(call, "ServiceUnavailable", status=503),
    "a gateway that is away": lambda aws, call: aws.failing(call, "SomethingNew", status=502),
    "somebody else changes it": lambda aws, call: aws.failing(call, "ConcurrentModification", status=409),
    "reset": lambda aws, call: aws.losing(call, Loss.RESET, takes_effect=False),
    "reset after it took effect": lambda aws, call: aws.losing(call, Loss.RESET, takes_effect=True),
    "no answer in time": lambda aws, call: aws.losing(call, Loss.TIMEOUT, takes_effect=False),
    "no answer in time, and it took effect": lambda aws, call: aws.losing(call, Loss.TIMEOUT, takes_effect=True),
}
"""Temporary errors, which affect every try of a call."""

DECIDING = ["Query", "ListAttachedRolePolicies", "AttachRolePolicy"]
"""The calls that a decision or a remediation needs."""

TELLING = ["SendMessageBatch", "PutEvents", "PutItem"]
"""The calls after the remediation."""


@pytest.fixture(scope="module")
def kept(aws, template):
    """A world and the function that restores it for each of the many faults."""
    return World(aws, template), aws.saved()


@pytest.fixture
def world(kept):
    found, restore = kept
    restore()
    found.lend()
    return found


@pytest.fixture(autouse=True)
def as_itself(monkeypatch):
    """The functions use their own role, because the audit records only calls of Rolewarden."""
    monkeypatch.setattr("rolewarden.runtime.Aws", lambda **_: _aws())


@pytest.fixture
def enforce(function):
    return function("enforce")


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("call", DECIDING)
def test_a_temporary_error_ends_the_invocation_and_the_next_try_remediates_the_role(world, enforce, call, fault):
    event = world.role_event(ROLE)
    with PASSING[fault](world.aws, call), pytest.raises(RetryLater):
        enforce(event)
    assert world.history(ROLE) == []
    enforce(event)
    assert world.attached(ROLE) == {GUARDRAIL}
    world.audit()
    assert [row["attached"] for row in world.history(ROLE) if row.get("attached")] == [[GUARDRAIL]]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("call", TELLING)
def test_a_temporary_error_after_the_remediation_does_not_undo_or_repeat_it_and_is_reported(
    world, enforce, call, fault, capsys, caplog
):
    event = world.role_event(ROLE)
    with PASSING[fault](world.aws, call):
        assert enforce(event)["outcomes"][0]["remediation"] == "attached"
    assert world.attached(ROLE) == {GUARDRAIL}
    assert (
        "recheck not scheduled" if call == "SendMessageBatch" else "the record could not be written"
    ) in caplog.messages
    assert ('"RecordFailed":[1.0]' in capsys.readouterr().out) == (call != "SendMessageBatch")
    world.audit()
    assert [row["attached"] for row in world.history(ROLE)] == [[GUARDRAIL]]


@pytest.mark.parametrize("fault", ["throttled", "an error of the service", "reset", "no answer in time"])
@pytest.mark.parametrize("call", [*DECIDING, *TELLING])
def test_a_call_that_fails_once_is_retried_immediately(world, enforce, call, fault, capsys):
    event = world.role_event(ROLE)
    with PASSING[fault](world.aws, call):
        world.aws._faults._in_force[-1].left = 1
        assert enforce(event)["outcomes"][0]["remediation"] == "attached"
    assert world.attached(ROLE) == {GUARDRAIL}
    assert "RecordFailed" not in capsys.readouterr().out
    assert [row["attached"] for row in world.history(ROLE)] == [[GUARDRAIL]]


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("call", [*DECIDING, *TELLING])
def test_the_next_try_and_the_audit_complete_the_work_of_an_ended_function(
    world, function, call, takes_effect
):  # fmt: skip
    event = world.role_event(ROLE)
    with contextlib.suppress(Killed), world.aws.dying(call, takes_effect=takes_effect):
        function("enforce")(event)
    function("enforce")(event)
    assert world.attached(ROLE) == {GUARDRAIL}
    world.audit()
    assert [row["attached"] for row in world.history(ROLE) if row.get("attached")] == [[GUARDRAIL]]


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("AccessDenied", 403, "access denied"),
        ("LimitExceeded", 409, "quota full"),
        ("UnmodifiableEntity", 400, "protected role"),
        ("PolicyNotAttachable", 400, "policy missing"),
        ("InvalidInput", 400, "refused"),
    ],
)
def test_a_permanent_error_is_a_finding_with_a_recommended_action_and_no_failure(world, enforce, code, status, reason):
    event = world.role_event(ROLE)
    with world.aws.failing("AttachRolePolicy", code, status=status):
        [outcome] = enforce(event)["outcomes"]
    assert (outcome["verdict"], outcome["reason"]) == ("unenforceable", reason)
    assert outcome["recommendation"]
    assert [row["reason"] for row in world.history(ROLE)] == [reason]


def test_an_invalid_request_is_a_permanent_error():
    with pytest.raises(Refused, match="Parameter validation failed"):
        _aws().attached_policies(7)  # type: ignore[arg-type]


def test_an_error_of_botocore_is_retried():
    from botocore.exceptions import EndpointConnectionError

    with pytest.raises(RetryLater), translated():
        raise EndpointConnectionError(endpoint_url="https://iam.amazonaws.com")


@pytest.mark.parametrize("operation", ["PutEvents", "SendMessageBatch"])
def test_a_batch_that_succeeds_in_part_is_a_failure(world, operation):
    send = {
        "PutEvents": lambda: world.runtime.aws.put_events(
            [(SweepRequested.detail_type, {"by": "a"}), (SweepRequested.detail_type, {"by": "b"})]
        ),
        "SendMessageBatch": lambda: world.runtime.aws.send(world.environment["WORK_QUEUE_URL"], [{}, {}]),
    }[operation]
    with (
        world.aws.partly_failing(operation, code="InternalFailure"),
        pytest.raises(RetryLater, match="InternalFailure"),
    ):
        send()
    send()


def test_unprocessed_rows_are_written_by_the_next_call(world):
    table, rows = world.environment["HISTORY_TABLE"], [{"about": "a", "at": str(number)} for number in range(30)]
    with world.aws.partly_failing("BatchWriteItem", entries=3, times=2):
        world.runtime.aws.put_all(table, rows)
    assert len(world.runtime.aws.query(table, {"about": "a"})) == 30


def test_rows_that_stay_unprocessed_are_a_failure(world):
    rows = [{"about": "a", "at": str(number)} for number in range(3)]
    with world.aws.partly_failing("BatchWriteItem"), pytest.raises(RetryLater, match="unprocessed"):
        world.runtime.aws.put_all(world.environment["HISTORY_TABLE"], rows)


def test_a_throttled_batch_of_records_is_counted_and_written_by_the_audit(world, function, capsys):
    handler = function("reconcile")
    with world.aws.failing("BatchWriteItem", "ProvisionedThroughputExceededException"):
        handler(sqs_event(work_message(ROLE), work_message("CanvasAnalytics")))
    assert '"RecordFailed":[2.0]' in capsys.readouterr().out
    assert world.attached(ROLE) == world.attached("CanvasAnalytics") == {GUARDRAIL}
    world.audit()
    assert [row["attached"] for row in world.history(ROLE)] == [[GUARDRAIL]]


def test_a_message_that_arrives_twice_is_processed_once(world, function):
    handler = function("reconcile")
    for _ in range(3):
        assert handler(sqs_event(work_message(ROLE), work_message(ROLE))) == {"batchItemFailures": []}
    assert [row["attached"] for row in world.history(ROLE)] == [[GUARDRAIL]]


def test_the_repeated_batch_and_the_audit_record_the_work_of_a_function_that_ended_in_a_batch(
    world, function
):  # fmt: skip
    batch = sqs_event(work_message(ROLE), work_message("CanvasAnalytics"))
    with contextlib.suppress(Killed), world.aws.dying("AttachRolePolicy", after=1):
        function("reconcile")(batch)
    assert world.history(ROLE) == []
    function("reconcile")(batch)
    world.audit()
    for role in (ROLE, "CanvasAnalytics"):
        assert world.attached(role) == {GUARDRAIL}
        assert [row["attached"] for row in world.history(role)] == [[GUARDRAIL]]


@pytest.mark.parametrize("operation", ["PutItem", "Query"])
def test_a_finding_is_reported_twice_if_its_report_cannot_be_remembered(world, operation):
    event = world.role_event("CanvasFull")
    with world.aws.failing(operation, "ProvisionedThroughputExceededException", times=3, after=operation == "Query"):
        world.enforce(event)
    world.enforce(event)
    assert "quota full" in [row["reason"] for row in world.history("CanvasFull")]
    metrics.clear_metrics()


# The maximum time of a call, and the timeouts that depend on it


def longest_call() -> float:
    """Seconds as botocore counts them: each attempt connects and reads, and each retry waits first.

    Standard mode waits for up to 1, 2, 4, … and at most 20 seconds,
    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html.
    """
    attempts = CONFIG.retries["total_max_attempts"]
    return attempts * (CONFIG.connect_timeout + CONFIG.read_timeout) + sum(min(2**n, 20) for n in range(attempts - 1))


def test_botocore_retries_with_the_configured_mode_and_times():
    assert CONFIG.retries == {"mode": "standard", "total_max_attempts": 3}
    assert longest_call() == 42
    assert longest_call() <= LONGEST_CALL


@pytest.mark.parametrize(("function_name", "queue"), [
    ("EnforceFunction", ""), ("ReconcileFunction", "WorkQueue"), ("PublishFunction", "PublishQueue"),
    ("SweepFunction", "SweepQueue"), ("DetachFunction", "DetachQueue"),
])  # fmt: skip
def test_an_unanswered_call_ends_before_its_function_and_the_function_before_the_visibility_timeout(
    template, function_name, queue
):
    timeout = template.resources("AWS::Lambda::Function")[function_name]["Timeout"]
    assert timeout >= 2 * LONGEST_CALL
    if queue:
        found = template.resources("AWS::SQS::Queue")[queue]
        assert found["VisibilityTimeout"] >= 6 * timeout
        kept = found["MessageRetentionPeriod"]
        assert kept > found["RedrivePolicy"]["maxReceiveCount"] * found["VisibilityTimeout"]


def test_a_sweep_hands_over_while_time_is_left_for_a_call_and_the_message(template):
    assert template.resources("AWS::Lambda::Function")["SweepFunction"]["Timeout"] > 2 * ENOUGH
    assert 2 * longest_call() <= ENOUGH


def test_every_client_has_these_times(world):
    clients = [world.runtime.aws._sagemaker_in("us-east-1"), *(
        getattr(world.runtime.aws, name) for name in ("_iam", "_dynamodb", "_sqs", "_events", "_sns", "_cloudtrail")
    )]  # fmt: skip
    for client in clients:
        times = client.meta.config.connect_timeout, client.meta.config.read_timeout
        assert times == (CONFIG.connect_timeout, CONFIG.read_timeout)
