"""The forms of an alert for chat and on-call tools, and the templates of docs/how-to/alerts.md that subscribe them."""

import json
import re
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rolewarden.alert import AlertKey, beyond, compose, summary
from rolewarden.alert_forms import forms
from rolewarden_local.emulated._ministack import eventbridge, sns
from samtranslator.yaml_helper import yaml_parse

from tests.conftest import ROOT, sample
from tests.permissions import actions

RUNBOOK = "https://docs.example.com/how-to/runbook/"
KEY = AlertKey("111122223333", "arn:aws:iam::111122223333:user/mallory", "DeleteRule", "a rule")
ALERTS = {
    **{path.stem: compose(sample(path.stem), "aws") for path in sorted((ROOT / "events").glob("*.json"))},
    "unreadable": compose({}, "aws"),
    "summary": summary([("Rolewarden: x", 1)], [("mallory", 7)]),
    "beyond": beyond(KEY, 20, of_actor=True),
}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def text(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest}


TEXTS = {"type": "array", "items": text(1000)}
NOTIFICATION = closed(
    ["version", "source", "content"],
    version={"const": "1.0"},
    source={"const": "custom"},
    id=text(255),
    content=closed(
        ["description"],
        textType={"const": "client-markdown"},
        title=text(250),
        description=text(8000),
        nextSteps=TEXTS,
        keywords=TEXTS,
    ),
    metadata=closed(
        [],
        threadId=text(255),
        summary=text(250),
        eventType=text(250),
        relatedResources=TEXTS,
        additionalContext={"type": "object", "additionalProperties": {"type": "string"}},
    ),
)
"""The fields of a custom notification, https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html. The
lengths are cautious."""

EVENT = closed(
    ["routing_key", "event_action", "payload"],
    routing_key=text(32),
    event_action={"enum": ["trigger", "acknowledge", "resolve"]},
    dedup_key=text(255),
    client=text(255),
    client_url=text(2000),
    payload=closed(
        ["summary", "source", "severity"],
        summary=text(1024),
        source=text(255),
        severity={"enum": ["critical", "error", "warning", "info"]},
        custom_details={"type": "object"},
    ),
)
"""An alert event of the Events API v2, https://developer.pagerduty.com/docs/send-alert-event."""


def templates() -> dict[str, dict[str, Any]]:
    """The templates of the page by the name in their first line."""
    page = (ROOT / "docs/how-to/alerts.md").read_text(encoding="utf-8")
    found = re.findall(r"^```yaml\n# (\w+)\.yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return {name: yaml_parse(body) for name, body in found}


TEMPLATES = templates()


def resources(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The properties of every resource of a type, with the name of its template."""
    return [
        (name, resource["Properties"])
        for name, template in TEMPLATES.items()
        for resource in template["Resources"].values()
        if resource["Type"] == kind
    ]


def to_pagerduty(data: str) -> dict[str, Any]:
    """The request that the pipe makes of a message of the queue, with the connection's parameters.

    The local AWS renders the template, and escapes no value.
    """
    [(_, pipe)] = resources("AWS::Pipes::Pipe")
    [(_, connection)] = resources("AWS::Events::Connection")
    template, body = pipe["TargetParameters"]["InputTemplate"], json.loads(data)
    paths = {f"$.body.{name}": body[name] for name in re.findall(r"<\$\.body\.(\w+)>", template)}
    request = json.loads(eventbridge._render_input_template(template, paths))
    parameters = connection["AuthParameters"]["InvocationHttpParameters"]["BodyParameters"]
    return request | {parameter["Key"]: "0" * 32 for parameter in parameters}


def judge(alert: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The notification and the event of an alert. Fails if one of them is not in its schema."""
    sent = forms(alert)
    assert set(sent) == {"default", "https", "sqs"}
    assert len(json.dumps(sent).encode()) < 256 * 1024
    notification, event = json.loads(sent["https"]), to_pagerduty(sent["sqs"])
    Draft202012Validator(NOTIFICATION).validate(notification)
    Draft202012Validator(EVENT).validate(event)
    return notification, event


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_a_notification_of_the_chat_and_an_event_of_pagerduty(name):
    alert = ALERTS[name].linked(RUNBOOK)
    notification, event = judge(alert)
    content, details = notification["content"], event["payload"]["custom_details"]
    assert content["title"] == event["payload"]["summary"] == event["dedup_key"] == alert.headline
    assert content["description"].startswith("- What: ")
    assert content["nextSteps"][0].startswith("To do: ")
    assert any(step.startswith(f"Runbook: {RUNBOOK}#") for step in content["nextSteps"])
    assert {"What", "To do", "Runbook"} <= details.keys()
    # Each row is in one of the two parts.
    shown = len(content["description"].splitlines()) + len(content["nextSteps"])
    assert shown == len(alert.rows)


HOSTILE = st.lists(
    st.sampled_from([*'"\\<>!@|`*_\n\r&{}$.abc é[]()', "](", "[Open](//10.0.0.1)", "] ("]), max_size=40
).map("".join)


@given(role=HOSTILE, reason=HOSTILE, message=HOSTILE, actor=HOSTILE)
def test_no_text_of_an_event_breaks_a_form_or_mentions_a_channel(role, reason, message, actor):
    event = sample("finding_role")
    event["detail"] |= {"role": role, "reason": reason, "message": message, "cause": {"actor": actor}}
    notification, _ = judge(compose(event, "aws"))
    written = json.dumps(notification)
    assert "<" not in written
    assert ">" not in written
    assert "](" not in written


def test_a_mention_of_the_whole_channel_is_text_in_the_chat():
    event = sample("finding_role")
    event["detail"]["message"] = "AttachRolePolicy: <!channel> <https://evil.example|AWS console>"
    notification, _ = judge(compose(event, "aws"))
    assert "\u2039!channel\u203a" in notification["content"]["description"]
    assert "<!channel>" in compose(event, "aws").body


def test_a_link_of_markdown_with_another_text_is_text_in_the_chat():
    """Its address can lack a scheme and the name of a host, which `plain_text` takes apart."""
    for address in ("//10.0.0.1", "//localhost", "ms-settings:x", "example"):
        event = sample("finding_role")
        event["detail"]["message"] = f"AttachRolePolicy: [Open the console]({address})"
        notification, _ = judge(compose(event, "aws"))
        description = notification["content"]["description"]
        assert f"[Open the console] ({address})" in description, address


@pytest.mark.parametrize("name", ["slack", "teams", "pagerduty"])
def test_cfn_lint_finds_no_problem_in_a_template_of_the_page(name, tmp_path):
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(TEMPLATES[name]))
    lint = ROOT / ".venv-sam" / "bin" / "cfn-lint"
    ran = subprocess.run([str(lint), "--regions", "us-east-1", "--", str(file)], capture_output=True, text=True,
                         check=False)  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_the_templates_subscribe_to_the_topic_and_change_nothing_about_it():
    assert set(TEMPLATES) == {"slack", "teams", "pagerduty"}
    for template in TEMPLATES.values():
        kinds = {resource["Type"] for resource in template["Resources"].values()}
        assert not kinds & {"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::TopicInlinePolicy", "AWS::KMS::Key"}
    for _, channel in [*resources("AWS::Chatbot::SlackChannelConfiguration"),
                       *resources("AWS::Chatbot::MicrosoftTeamsChannelConfiguration")]:  # fmt: skip
        assert channel["SnsTopicArns"] == [{"Ref": "AlarmTopic"}]
        # Without a guardrail policy, AWS applies AdministratorAccess.
        [guardrail] = channel["GuardrailPolicies"]
        assert guardrail == {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AWSDenyAll"}


def test_a_role_of_a_template_can_only_forward_alerts():
    allowed = set()
    for name, role in resources("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                assert isinstance(statement["Resource"], dict)
                allowed |= {(name, action) for action in actions(statement)}
    assert allowed == {
        ("pagerduty", action)
        for action in ("events:InvokeApiDestination", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
                       "sqs:ReceiveMessage")
    }  # fmt: skip
    [(_, queue)] = resources("AWS::SQS::QueuePolicy")
    [statement] = queue["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Ref": "AlarmTopic"}}}


def test_alarms_and_alerts_reach_pagerduty_by_one_way_each():
    alarm = {"AlarmName": "HeartbeatAlarm", "NewStateValue": "ALARM"}
    alert = json.loads(forms(ALERTS["finding_role"])["sqs"])
    notification = json.loads(forms(ALERTS["finding_role"])["https"])
    [(_, pipe)] = resources("AWS::Pipes::Pipe")
    [selected] = pipe["SourceParameters"]["FilterCriteria"]["Filters"]
    [(_, alarms), (_, alerts)] = resources("AWS::SNS::Subscription")

    def matches(pattern, detail):
        return eventbridge._matches_detail(detail, pattern)

    pattern = json.loads(selected["Pattern"])
    assert matches(pattern, {"body": alert})
    assert not matches(pattern, {"body": alarm})
    assert matches(alarms["FilterPolicy"], alarm)
    assert not matches(alarms["FilterPolicy"], notification)
    assert alerts["RawMessageDelivery"] is True


def test_a_mail_is_text_and_a_queue_and_a_chat_get_json():
    alert = ALERTS["finding_role"]
    message = json.dumps(forms(alert))
    got = {protocol: sns._resolve_message_for_protocol(message, "json", protocol)
           for protocol in ("email", "sqs", "https", "sms")}  # fmt: skip
    assert got["email"] == got["sms"] == alert.body
    assert json.loads(got["sqs"])["text"] == alert.body
    assert json.loads(got["https"])["source"] == "custom"
