"""The generated parts of the pages about the template: parameters, alarms and metrics."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rolewarden.alert_limits import ALERT_KEPT_SECONDS
from rolewarden.progress import SWEEP_KEPT_SECONDS
from rolewarden.reported import KEPT_SECONDS

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "layers/rolewarden/rolewarden"
RUNBOOK = "../how-to/runbook.md"

METRICS = {
    "AccountsCovered": "The accounts that Rolewarden covers, counted every 15 minutes.",
    "AccountsCutOff": "The accounts whose last two sweeps found a broken event path, counted every 15 minutes.",
    "AccountsOverdue": "The accounts without a completed sweep for twice `SweepInterval`, counted every 15 minutes. It "
    "is one more if AWS refuses to list the accounts.",
    "Backfilled": "The audit added an entry to the history, because CloudTrail has a call that the history lacks.",
    "Contested": "Rolewarden remediated a role whose guardrails a caller has removed three times or more within a day.",
    "Detached": "DetachFunction detached guardrails that a role does not need.",
    "IgnoredEvents": "An event triggered no evaluation.",
    "PolicyRestored": "PublishFunction restored the policy of a guardrail that a caller had edited or deleted.",
    "RecordFailed": "The history table or the event bus did not take a record, or the history cannot be audited.",
    "Remediated": "Rolewarden attached policies to a role, or set or removed its fallback boundary.",
    "SecondsToDeliver": "The seconds from the call of a full drill until the event bus received its event: the part of "
    "CloudTrail, and of the forwarding. By `account` and `region`.",
    "SecondsToHear": "The seconds from the call of a drill to the start of EnforceFunction. By `account` and `region`.",
    "SecondsToRestore": "The seconds from the start of EnforceFunction until it had attached the canary's policy "
    "again. By `account` and `region`.",
    "SecondsToStart": "The seconds from the receipt of a full drill's event by the bus to the start of "
    "EnforceFunction. By `account` and `region`.",
    "SecondsUnprotected": "The seconds from the call of a full drill until EnforceFunction had attached the canary's "
    "policy again. By `account` and `region`.",
    "SecondsToRemediate": "The seconds from the call that made a role drift to the remediation.",
    "UnverifiedAlerts": "AlertFunction got records of calls that CloudTrail's event history does not show within two "
    "to three hours.",
    "Sweep.*": "A count of the sweep that completed: one metric for each numeric field of "
    "[Sweep Completed](events.md#sweep-completed).",
    "SweepCompleted": "A sweep of an account completed.",
    "SweepMissed": "A sweep could not read a part of the account for now.",
    "Unenforceable": "A role or a subject cannot be protected, or an account is not covered.",
    "UnconfirmedEvents": "AlertFunction or SecurityHubFunction got an event of source `rolewarden` without a row in "
    "the history: a caller forged the event, or the history did not take the row.",
    "UnreadableEvents": "An event that may hide a change cannot be parsed.",
    "Verdict.*": "Rolewarden evaluated a role; one metric for each [verdict](../glossary.md).",
}
"""The meaning of each metric. A name that ends in `*` stands for a family of metrics."""


class _Loader(yaml.SafeLoader):
    """Reads an intrinsic function as a list of its tag and its value."""


def _tagged(loader: _Loader, suffix: str, node: Any) -> list[Any]:
    if isinstance(node, yaml.ScalarNode):
        return [suffix, loader.construct_scalar(node)]
    if isinstance(node, yaml.SequenceNode):
        return [suffix, loader.construct_sequence(node, deep=True)]
    return [suffix, loader.construct_mapping(node, deep=True)]


_Loader.add_multi_constructor("!", _tagged)


def template() -> Mapping[str, Any]:
    """template.yaml, as `read` gives it."""
    return read("template.yaml")


@cache
def read(file: str) -> Mapping[str, Any]:
    """A template, with each intrinsic function as a list of its tag and its value."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    return found


def parameters() -> str:
    """The table of the parameters of template.yaml."""
    rows = ["| Parameter | Default | Values | Meaning |", "|---|---|---|---|"]
    for name, parameter in template()["Parameters"].items():
        default = f"`{parameter['Default']}`" if parameter["Default"] != "" else "empty"
        meaning = " ".join(parameter["Description"].split()).replace("|", "\\|")
        meaning = re.sub(r"docs/([\w/-]+\.md)", lambda found: f"[{title(found[1])}](../{found[1]})", meaning)
        rows.append(f"| `{name}` | {default} | {_values(parameter)} | {meaning.removesuffix('.')}. |")
    return "\n".join(rows)


def _values(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return f"{parameter['MinValue']} to {parameter['MaxValue']}"
    return "a list with commas" if parameter["Type"] == "CommaDelimitedList" else "text"


def title(page: str) -> str:
    """The title of a page below docs/."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def alarms() -> str:
    """The table of the alarms of template.yaml."""
    rows = ["| Alarm | Meaning | In the state ALARM if |", "|---|---|---|"]
    for name, properties in _alarms():
        _, description = properties["AlarmDescription"]
        meaning, _, entry = description.partition(" Runbook: ${RunbookUrl}#")
        rows.append(f"| [{name}]({RUNBOOK}#{entry}) | {meaning} | {_condition(properties)} |")
    return "\n".join(rows)


def _alarms() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in template()["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield name, resource["Properties"]


def _condition(alarm: Mapping[str, Any]) -> str:
    statistic = alarm["Statistic"].lower()
    relation = {"GreaterThanThreshold": "above", "LessThanThreshold": "below"}[alarm["ComparisonOperator"]]
    what = f"the {statistic} of `{alarm['MetricName']}` is {relation} {alarm['Threshold']}"
    if alarm["TreatMissingData"] == "breaching":
        what += ", or missing,"
    if not isinstance(alarm["Period"], int):
        return f"{what} for the whole time that [SweepInterval](parameters.md) determines: {_intervals()}"
    length = _length(alarm["Period"])
    periods, bad = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    return f"{what} in {bad} of {periods} periods of {length}" if periods > 1 else f"{what} within {length}"


def _intervals() -> str:
    intervals = template()["Mappings"]["SweepIntervals"]
    return ", ".join(
        f"{_length(interval['Seconds'] * interval['Periods'])} for `{name}`" for name, interval in intervals.items()
    )


def _length(seconds: int) -> str:
    if seconds > 24 * 3600 and seconds % (24 * 3600) == 0:
        return f"{seconds // (24 * 3600)} days"
    number, unit = (seconds // 3600, "hour") if seconds % 3600 == 0 else (seconds // 60, "minute")
    return f"{number} {unit}{'s' if number != 1 else ''}"


def metrics() -> str:
    """The table of the metrics of the namespace `Rolewarden`. A metric without a meaning raises KeyError."""
    rows = ["| Metric | Unit | Meaning | Alarm |", "|---|---|---|---|"]
    for name, unit in sorted(recorded_metrics().items()):
        alarm = next((alarm for alarm, properties in _alarms() if properties["MetricName"] == name), "")
        link = f"[{alarm}]({RUNBOOK}#{alarm.lower()})" if alarm else ""
        rows.append(f"| `{name}` | {unit} | {METRICS[name]} | {link} |")
    return "\n".join(rows)


def recorded_metrics() -> dict[str, str]:
    """The name and unit of each metric that the code of the layer adds. `*` replaces a variable part of a name."""
    found: dict[str, str] = {}
    for path in sorted(LAYER.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: statement.value.value
            for statement in module.body
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_metric":
                name, unit, _ = node.args
                found[_name(name, constants)] = ast.unparse(unit).rpartition(".")[2].lower()
    return found


def _name(node: ast.expr, constants: Mapping[str, Any]) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)  # type: ignore[misc]
    return str(constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node))


CONTENT = {
    "BindingsTable": "Names and tags of domains and user profiles with their roles; sweeps; which findings were "
    "reported, with their callers",
    "HistoryTable": "Remediations and findings: the role or user profile, and the caller, with the session, address "
    "and tool of the call",
    "AlertsTable": "Alerts that were sent, and the ARN of each caller whose alerts are counted",
    "WorkQueue": "Roles to evaluate, with the caller of the change",
    "SweepQueue": "Steps of sweeps, with names of user profiles",
    "DetachQueue": "Roles from which to detach guardrails",
    "PublishQueue": "Accounts and policies to check",
    "WorkDeadLetterQueue": "Messages of the four queues above that failed several times",
    "EventsDeadLetterQueue": "CloudTrail records that EventBridge could not deliver, with their callers",
    "InvocationsDeadLetterQueue": "CloudTrail records that a function could not handle, with their callers",
    "Undelivered": "CloudTrail records that another region or account could not send to the central account, with "
    "their callers",
}
"""The content of each table and queue. `docs/generate.py` fails if one is missing."""

NOTHING_KEPT = frozenset(
    [
        "AWS::CloudFormation::StackSet",
        "AWS::CloudFormation::WaitConditionHandle",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Events::EventBus",
        "AWS::Events::EventBusPolicy",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::KMS::Key",
        "AWS::Lambda::Permission",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::QueuePolicy",
        "AWS::SageMaker::AppImageConfig",
        "AWS::Serverless::Function",
        "AWS::Serverless::LayerVersion",
        "Custom::RolewardenDetach",
        "Custom::RolewardenGuardrails",
    ]
)
"""The types of resources that keep no events and no rows. Metrics have no names of people."""


def kept() -> str:
    """The table of what each table, queue and log group keeps, and for how long. An unknown type raises KeyError."""
    rows = ["| place | content | kept for |", "|---|---|---|"]
    for file in ("template.yaml", "forwarder.yaml"):
        logs = []
        for name, resource in read(file)["Resources"].items():
            kind, properties = resource["Type"], resource.get("Properties", {})
            if kind == "AWS::DynamoDB::Table":
                rows.append(f"| table `{name}` | {CONTENT[name]} | {_kept_in(name, properties)} |")
            elif kind == "AWS::SQS::Queue":
                rows.append(f"| queue `{name}` | {CONTENT[name]} | {_length(properties['MessageRetentionPeriod'])} |")
            elif kind == "AWS::Logs::LogGroup":
                logs.append((name, properties["RetentionInDays"][1]))
            elif kind not in NOTHING_KEPT:
                raise KeyError(kind)
        for parameter in dict.fromkeys(parameter for _, parameter in logs):
            groups = ", ".join(f"`{name}`" for name, named in logs if named == parameter)
            rows.append(f"| log groups {groups} | The same as the history, and errors | {_days_of(parameter)} |")
    return "\n".join(rows)


def _kept_in(name: str, properties: Mapping[str, Any]) -> str:
    """The time for which a table keeps its rows. DynamoDB deletes a row within some days of that time."""
    attribute = properties["TimeToLiveSpecification"]["AttributeName"]
    length = {
        "AlertsTable": _length(ALERT_KEPT_SECONDS),
        "BindingsTable": f"the life of the user profile or domain; sweeps {_length(SWEEP_KEPT_SECONDS)}; reported "
        f"findings {_length(KEPT_SECONDS)}",
        "HistoryTable": _days_of("HistoryDays"),
    }[name]
    backups = properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
    return f"{length} (`{attribute}`)" + ("; backups 35 days more" if backups else "")


def _days_of(parameter: str) -> str:
    return f"{template()['Parameters'][parameter]['Default']} days, or [{parameter}](parameters.md)"
