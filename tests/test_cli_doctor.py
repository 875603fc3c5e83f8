"""The answer of `rolewarden doctor`: a line for each check, and the fix of what is not in order."""

import boto3
import pytest
from rolewarden import __version__
from rolewarden.aws import Aws
from rolewarden.errors import Refused
from rolewarden.verdicts import Reason
from rolewarden_cli.account import OperatorCalls
from rolewarden_cli.doctor import BESIDE_WORKERS
from rolewarden_cli.main import app
from rolewarden_cli.protect import Protection, text
from rolewarden_local.aws import ACCOUNT_ID
from rolewarden_local.emulated import stacksets
from rolewarden_local.emulated.organization import MANAGEMENT
from typer.testing import CliRunner

from tests.clinic import ALARMS, BUS, Clinic
from tests.commands import json_answer, rolewarden
from tests.stacks import ID, MEMBER, deployed, whole


@pytest.fixture
def clinic(world, monkeypatch):
    return Clinic(world, monkeypatch)


def problems(clinic, *, exit_code=2):
    """The checks that are not ok: what was checked, and the message, by level."""
    checks = json_answer("doctor", *clinic.options, exit_code=exit_code)["checks"]
    assert all(bool(check["recommendation"]) is (check["level"] != "ok") for check in checks)
    return {(c["level"], c["what"], c["message"]) for c in checks if c["level"] != "ok"}


def messages(clinic, *, exit_code=2):
    return {message for _, _, message in problems(clinic, exit_code=exit_code)}


def test_a_stack_in_good_order_has_a_line_for_each_check_and_exit_code_0(clinic):
    checks = json_answer("doctor", *clinic.options)["checks"]
    assert {check["level"] for check in checks} == {"ok"}
    assert [check["what"] for check in checks] == [
        "version",
        "rules",
        "subscriptions",
        "alarms",
        "dead-letter queues",
        "schedules and rules",
        "functions",
        "StackSets",
        "central stack",
        "trail",
        "other regions",
    ]


@pytest.mark.parametrize(
    ("deployed", "message", "recommendation"),
    [
        (None, f"the stack does not say its version, and this command is for {__version__}", "`sam build && sam"),
        ("0.0.9", f"the stack has version 0.0.9, and this command is for {__version__}", "`sam build && sam deploy`"),
        ("x; rm *", f"the stack does not say its version, and this command is for {__version__}", "`sam build && sam"),
        ("1.0.0rc0", f"the stack has version 1.0.0rc0, and this command is for {__version__}", "`sam build && sam"),
        ("1.0.0", f"the stack has version 1.0.0, and this command is for {__version__}", "./rolewarden-1.0.0-py3-"),
        ("1.10.0", f"the stack has version 1.10.0, and this command is for {__version__}", "rolewarden-1.10.0-py3-"),
    ],
)
def test_another_version_of_the_stack_is_a_finding_with_the_command_that_fits(
    clinic, monkeypatch, deployed, message, recommendation
):
    answer = clinic.world.sweeper.handle_event
    other = {"version": deployed} if deployed else {}

    def run(_, __, event):
        found = answer(event)
        return {**{key: value for key, value in found.items() if key != "version"}, **other}

    monkeypatch.setattr(OperatorCalls, "run", run)
    checks = json_answer("doctor", *clinic.options, exit_code=2)["checks"]
    [check] = [check for check in checks if check["what"] == "version"]
    assert (check["level"], check["message"]) == ("fail", message)
    assert recommendation in check["recommendation"]


def test_the_version_names_the_version_of_the_stack():
    result = CliRunner().invoke(app, ["--version"])
    assert result.stdout == f"rolewarden {__version__}, for a stack of version {__version__}\n"


def subscribe_without_confirmation(clinic):
    for subscription in boto3.client("sns").list_subscriptions_by_topic(TopicArn=clinic.topic)["Subscriptions"]:
        boto3.client("sns").unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    boto3.client("sns").subscribe(TopicArn=clinic.topic, Protocol="email", Endpoint="oncall@example.com")


def unsubscribe(clinic):
    [found] = boto3.client("sns").list_subscriptions_by_topic(TopicArn=clinic.topic)["Subscriptions"]
    boto3.client("sns").unsubscribe(SubscriptionArn=found["SubscriptionArn"])


def disable_actions(_clinic):
    boto3.client("cloudwatch").disable_alarm_actions(AlarmNames=["HeartbeatAlarm"])


def redirect_alarm(clinic):
    clinic.put_alarm("HeartbeatAlarm", AlarmActions=["arn:aws:sns:us-east-1:111122223333:other"])


def delete_alarm(_clinic):
    boto3.client("cloudwatch").delete_alarms(AlarmNames=["HeartbeatAlarm"])


def set_alarm(clinic):
    clinic.put_alarm("SweepErrorsAlarm", TreatMissingData="breaching")


def stop_heartbeat(clinic):
    clinic.put_alarm("HeartbeatAlarm", InsufficientDataActions=[clinic.topic])


def fill_queue(clinic):
    boto3.client("sqs").send_message(QueueUrl=clinic.queue("WorkDeadLetterQueue"), MessageBody="{}")


def disable_rule(_clinic):
    boto3.client("events").disable_rule(Name="Subjects")


def disable_central_rule(_clinic):
    boto3.client("events").disable_rule(Name="CentralSubjects", EventBusName=BUS)


def delete_rule(_clinic):
    boto3.client("events").delete_rule(Name="Subjects")


def disable_mapping(clinic):
    boto3.client("lambda").update_event_source_mapping(UUID=clinic.mapping, Enabled=False)


def reserve_nothing(clinic):
    boto3.client("lambda").put_function_concurrency(FunctionName=clinic.function, ReservedConcurrentExecutions=0)


def stop_trail(_clinic):
    boto3.client("cloudtrail").stop_logging(Name="management-events")


def log_reads_only(_clinic):
    boto3.client("cloudtrail").put_event_selectors(
        TrailName="management-events", EventSelectors=[{"ReadWriteType": "ReadOnly"}]
    )


FAULTS = {
    subscribe_without_confirmation: "alarms have no receiver: 1 of 1 subscriptions are not confirmed",
    unsubscribe: "alarms have no receiver: the topic has no subscription",
    disable_actions: "HeartbeatAlarm does not notify the topic",
    redirect_alarm: "HeartbeatAlarm does not notify the topic",
    delete_alarm: "HeartbeatAlarm does not exist",
    set_alarm: "SweepErrorsAlarm is in ALARM",
    stop_heartbeat: "HeartbeatAlarm has no data",
    fill_queue: "WorkDeadLetterQueue has 1 messages",
    disable_rule: "Subjects is disabled or does not exist",
    disable_central_rule: "CentralSubjects is disabled or does not exist",
    delete_rule: "Subjects is disabled or does not exist",
    disable_mapping: "SweepMessages does not read its queue",
    reserve_nothing: "SweepFunction cannot run: its reserved concurrency is 0",
    stop_trail: "trail/management-events is stopped",
    log_reads_only: "trail/management-events selects no write management events",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_one_line_that_fails(clinic, fault):
    fault(clinic)
    [(level, _, message)] = problems(clinic)
    assert level == "fail"
    assert message.endswith(FAULTS[fault])


def test_rules_that_differ_from_the_file_fail(clinic, tmp_path):
    other = tmp_path / "guardrails.yaml"
    other.write_text("guardrails:\n  other:\n    bedrock: {deny: all}\nassignments:\n  - guardrails: [other]\n")
    checks = json_answer("doctor", "--guardrails", str(other), exit_code=2)["checks"]
    assert [(c["level"], c["message"]) for c in checks if c["what"] == "rules"] == [
        ("fail", "the deployed rules differ from the local file")
    ]


def test_without_a_local_file_the_rules_are_a_warning(clinic, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checks = json_answer("doctor")["checks"]
    assert [check["what"] for check in checks if check["level"] == "warn"] == ["rules"]


def test_a_pending_subscription_next_to_a_confirmed_one_is_a_warning(clinic):
    boto3.client("sns").subscribe(TopicArn=clinic.topic, Protocol="email", Endpoint="second@example.com")
    assert problems(clinic, exit_code=0) == {("warn", "subscriptions", "1 of 2 subscriptions are not confirmed")}


def test_too_few_executions_are_a_warning(clinic):
    clinic.parameters = {**clinic.parameters, "Concurrency": "500"}
    [message] = messages(clinic, exit_code=0)
    assert message.endswith(f"and Rolewarden may need {1000 + BESIDE_WORKERS}")


REFUSED = {
    (OperatorCalls, "subscriptions"): "subscriptions",
    (OperatorCalls, "alarms"): "alarms",
    (Aws, "messages_in"): "dead-letter queues",
    (OperatorCalls, "is_rule_enabled"): "schedules and rules",
    (OperatorCalls, "is_mapping_enabled"): "schedules and rules",
    (OperatorCalls, "reserved_concurrency"): "functions",
    (OperatorCalls, "unreserved_concurrency"): "functions",
    (OperatorCalls, "stack_instances"): "StackSets",
}


@pytest.mark.parametrize(("call", "what"), REFUSED.items(), ids=str)
def test_a_check_that_aws_refuses_has_failed_and_the_others_are_made(clinic, monkeypatch, call, what):
    def refuse(*_):
        raise Refused(Reason.ACCESS_DENIED, "no")

    clinic.stack_sets = {"Forwarders": "rolewarden-forwarders"} if call[1] == "stack_instances" else {}
    monkeypatch.setattr(*call, refuse)
    assert problems(clinic) == {("fail", what, "could not be checked: no")}


def test_a_function_that_cannot_be_invoked_fails_the_rules_and_the_event_path(clinic, monkeypatch):
    def refuse(*_):
        raise Refused(Reason.ACCESS_DENIED, "no")

    monkeypatch.setattr(OperatorCalls, "run", refuse)
    assert {(level, what) for level, what, _ in problems(clinic)} == {
        ("fail", "version"),
        ("fail", "rules"),
        ("fail", "event path"),
    }


def test_each_line_fits_80_columns_and_begins_with_the_level(clinic):
    set_alarm(clinic)
    stop_trail(clinic)
    result = rolewarden("doctor", *clinic.options)
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if not line.startswith(" ")} == {"ok", "fail"}
    assert sum(not line.startswith(" ") for line in lines) == 11
    text = " ".join(line.strip() for line in lines)
    assert "fail  alarms: SweepErrorsAlarm is in ALARM: follow docs/how-to/runbook.md, ErrorsAlarm" in text
    assert all(f"fail  alarms: {alarm}" not in text for alarm in ALARMS[:1])


@pytest.mark.long
def test_a_stack_of_a_member_account_whose_operation_failed_is_named(company, monkeypatch):
    clinic = Clinic(company, monkeypatch)
    clinic.stack_sets = {"Members": "rolewarden-members"}
    checks = json_answer("doctor", *clinic.options, exit_code=2)["checks"]
    assert [(c["level"], c["message"]) for c in checks if c["what"] == "StackSets"] == [
        ("ok", "the last operation succeeded in 1 places")
    ]
    [stack_set] = stacksets.EXISTING.values()
    stack_set.made[MEMBER, "us-east-1"] = {"Status": "OUTDATED", "StatusReason": "rolewarden-sweep already exists"}
    checks = json_answer("doctor", *clinic.options, exit_code=2)["checks"]
    [failed] = [check for check in checks if check["what"] == "StackSets"]
    assert (failed["level"], failed["account"], failed["region"]) == ("fail", MEMBER, "us-east-1")
    assert failed["message"] == ("rolewarden-members: the last operation is FAILED (rolewarden-sweep already exists)")
    # An operation that only detects drift says nothing about the template of the stack.
    stack_set.made[MEMBER, "us-east-1"] = {"Status": "OUTDATED", "DetailedStatus": "SUCCEEDED"}
    checks = json_answer("doctor", *clinic.options, exit_code=2)["checks"]
    assert [(c["level"], c["message"]) for c in checks if c["what"] == "StackSets"] == [
        ("fail", "rolewarden-members: the stack is OUTDATED")
    ]


@pytest.mark.parametrize("administrator", [ACCOUNT_ID, "222222222222"])
def test_a_service_control_policy_that_stops_the_operator_is_a_warning(clinic, administrator):
    clinic.parameters["OperatorArn"] = operator = f"arn:aws:iam::{ACCOUNT_ID}:role/on-call"
    assert json_answer("doctor", *clinic.options)["checks"][8]["what"] == "operator"
    clinic.aws.organize("o-exampleorg1", {"ou-root-canvas000": {ACCOUNT_ID}}, administrator=administrator)
    organizations = boto3.client("organizations", aws_access_key_id=MANAGEMENT, aws_secret_access_key="-")

    def attach(*deployers):
        document = text(Protection(deployed(whole()), deployers).service_control_policy())
        # The queue of this stack has another name.
        document = document.replace(f"rolewarden-WorkQueue-{ID[:8]}", "WorkQueue")
        made = organizations.create_policy(
            Name=f"rolewarden{len(deployers)}", Description="", Type="SERVICE_CONTROL_POLICY", Content=document
        )["Policy"]["PolicySummary"]["Id"]
        organizations.attach_policy(PolicyId=made, TargetId="ou-root-canvas000")

    attach(operator)
    found = problems(clinic, exit_code=0)
    if administrator != ACCOUNT_ID:
        assert [message for *_, message in found] == [
            "this caller cannot read the service control policies, which may deny the work of OperatorArn"
        ]
        return
    assert found == set()
    attach()
    [(level, what, message)] = problems(clinic, exit_code=0)
    assert (level, what) == ("warn", "operator")
    assert message.startswith("the service control policy rolewarden0 denies OperatorArn its redrives")
