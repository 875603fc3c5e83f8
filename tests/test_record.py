"""The record that users and auditors read: events, log lines, history and metrics."""

import logging

import pytest
from rolewarden.bindings import RoleKey
from rolewarden.history import HistoryKey
from rolewarden.origin import SWEEP
from rolewarden.record import logger, metrics
from rolewarden.reported import REPORTING_SECONDS
from rolewarden.work import Work
from rolewarden_local.aws import ACCOUNT_ID, Killed

FULL = RoleKey(ACCOUNT_ID, "CanvasFull")


@pytest.fixture
def bus(world):
    """Events with the source `rolewarden` that the default bus has delivered."""
    return world.listening({"source": ["rolewarden"]})


@pytest.fixture
def lines(monkeypatch):
    """The log lines of the functions."""
    found = []

    class Keep(logging.Handler):
        def emit(self, record):
            found.append(record)

    handler = Keep()
    logger.addHandler(handler)
    yield found
    logging.getLogger(logger.name).removeHandler(handler)


def test_a_remediation_leaves_one_log_line_one_event_one_row_and_its_metrics(world, bus, lines, counted):
    world.protected()
    bus(), world.queued()
    lines.clear()
    metrics.clear_metrics()
    rows = len(world.history("CanvasAnalytics"))
    event = world.detach("CanvasAnalytics", "no-generative-ai")
    world.enforce(event)
    [line] = lines
    [told] = bus()
    row = world.history("CanvasAnalytics")[-1]
    assert len(world.history("CanvasAnalytics")) == rows + 1
    assert line.getMessage() == told["detail-type"] == row["kind"] == "Role Remediated"
    for record in (line.outcome, told["detail"], row):
        assert record["role"] == "CanvasAnalytics"
        assert record["attached"] == ["no-generative-ai"]
        assert record["cause"]["event_id"] == event["detail"]["eventID"]
        assert record["cause"]["actor"] == event["detail"]["userIdentity"]["arn"]
    assert counted("Remediated") == 1
    assert counted("SecondsToRemediate") >= 0


def test_a_finding_has_a_reason_and_a_recommended_action(world, bus, counted):
    world.verdict("CanvasFull")
    [told] = bus()
    assert told["detail-type"] == "Role Finding"
    assert told["detail"]["reason"] == "quota full"
    assert "quota" in told["detail"]["recommendation"]
    assert counted("Unenforceable") == 1


def test_the_next_sweep_reports_a_finding_that_could_not_be_reported(world, bus):
    with world.aws.failing("PutEvents", "ThrottlingException"):
        world.enforcer.evaluate(Work(FULL, ACCOUNT_ID, SWEEP))
    assert bus() == []
    world.wait(REPORTING_SECONDS + 1)
    for _ in range(2):
        world.enforcer.evaluate(Work(FULL, ACCOUNT_ID, SWEEP))
    assert [told["detail"]["reason"] for told in bus()] == ["quota full"]


def test_the_repeated_event_reports_the_finding_of_a_function_that_ended_too_early(world, bus):
    event = world.role_event(FULL.name)
    with pytest.raises(Killed), world.aws.dying("PutEvents", takes_effect=False):
        world.enforce(event)
    world.wait(REPORTING_SECONDS + 1)
    world.enforce(event)
    assert [told["detail"]["reason"] for told in bus()] == ["quota full"]


def test_a_finding_of_two_functions_at_once_is_reported_by_one(world, bus):
    with world.aws.failing("PutEvents", "ThrottlingException"):
        world.verdict(FULL.name)  # This call records that the finding will be reported.
    world.verdict(FULL.name)
    assert bus() == []


def test_nothing_is_recorded_without_news(world, bus, lines):
    world.protected()
    bus(), lines.clear()
    rows = len(world.history("CanvasAnalytics"))
    world.verdict("CanvasAnalytics")
    assert (bus(), lines, len(world.history("CanvasAnalytics"))) == ([], [], rows)


def test_a_row_of_the_history_ends_when_the_settings_say(world):
    world.verdict("CanvasOmar")
    [row] = world.history("CanvasOmar")
    from datetime import UTC, datetime, timedelta

    lives = datetime.fromtimestamp(int(row["expires"]), UTC) - HistoryKey.of(row["at"]).time
    assert abs(lives - timedelta(days=400)) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("operation", "code"), [("PutEvents", "InternalFailure"), ("PutItem", "AccessDeniedException")]
)
def test_a_record_that_cannot_be_written_stops_no_remediation_and_is_itself_reported(
    world, lines, counted, operation, code
):
    event = world.role_event("CanvasOmar")
    with world.aws.failing(operation, code, status=500 if code == "InternalFailure" else 400):
        [outcome] = world.enforce(event)
    assert outcome["remediation"] == "attached"
    assert world.attached("CanvasOmar") == {"no-generative-ai"}
    assert counted("RecordFailed") == 1
    assert [line.getMessage() for line in lines if line.levelno >= logging.ERROR] == ["the record could not be written"]


def test_events_and_credentials_are_not_logged(world, lines):
    event = world.role_event("CanvasOmar")
    event["detail"]["userIdentity"]["accessKeyId"] = "AKIASECRETSECRETSECR"
    world.enforce(event)
    text = " ".join(str(vars(line)) for line in lines)
    assert "CanvasOmar" in text
    assert "AKIASECRETSECRETSECR" not in text
    assert "sessionContext" not in text


def test_a_remediated_role_is_rechecked_a_limited_number_of_times(world):
    world.enforce(world.role_event("CanvasOmar"))
    url = world.environment["WORK_QUEUE_URL"]
    counts = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
    work = {"role": "CanvasOmar", "role_account": "111122223333", "account": "111122223333", "rechecks": 1}
    assert world.enforcer.handle_message(work)["verdict"] == "compliant"
    world.detach("CanvasOmar", "no-generative-ai")
    assert world.enforcer.handle_message({**work, "rechecks": 3})["remediation"] == "attached"
    counts = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_recheck_remediates_an_unprotected_role(world):
    world.protected()
    world.detach("CanvasOmar", "no-generative-ai")
    work = {"role": "CanvasOmar", "role_account": "111122223333", "account": "111122223333", "rechecks": 1}
    world.enforcer.handle_message(work)
    assert world.attached("CanvasOmar") == {"no-generative-ai"}


def test_a_recheck_that_cannot_be_requested_does_not_lose_the_record(world):
    event = world.role_event("CanvasOmar")
    with world.aws.failing("SendMessageBatch", "AccessDenied", status=403):
        assert world.enforce(event)[0]["remediation"] == "attached"
    assert [row["remediation"] for row in world.history("CanvasOmar")] == ["attached"]


@pytest.mark.parametrize("body", [None, [], {}, "text", {"role": 7}, {"role": "x", "account": "y"}, {"rechecks": "z"}])
def test_a_message_that_is_no_work_is_logged_and_dropped(world, body):
    assert world.enforcer.handle_message(body) == {"ignored": "no work message"}


def test_an_event_that_may_hide_a_change_is_counted_separately(world, counted):
    from tests.conftest import sample

    world.enforcer.handle_event(sample("awkward_cut_parameters"))
    world.enforcer.handle_event(sample("awkward_denied_call"))
    assert (counted("IgnoredEvents"), counted("UnreadableEvents")) == (2, 1)


def test_a_subject_that_cannot_be_read_is_a_finding_and_not_retried(world, bus):
    world.sagemaker.update_user_profile(DomainId="d-analytics0001", UserProfileName="omar")
    with world.aws.failing("DescribeUserProfile", "AccessDeniedException", status=400):
        answer = world.enforcer.handle_event(world.event("UpdateUserProfile"))
    assert "AccessDeniedException" in answer["refused"]
    told = next(event for event in bus() if event["detail-type"] == "Subject Finding")
    assert (told["detail"]["user_profile"], told["detail"]["reason"]) == ("omar", "access denied")
    assert told["detail"]["recommendation"]
    [row] = world.history("d-analytics0001/omar")
    assert row["verdict"] == "unenforceable"
    assert world.attached("CanvasOmar") == {"no-generative-ai"}  # This is the role in the bindings table.
