"""docs/cost.md: what two accounts pay a month, of the calls that were counted and AWS's prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from figures import Row, table
from stand import OURS

TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"

SWEEPS = 730
"""A month's, at `rate(1 hour)`; PublishFunction checks the policies as often."""

MEGABYTES = 256
CALL_SECONDS = 0.05
"""What an AWS call takes a function, its own work in between included: assumed, as a local AWS says nothing of it."""

SWEEP_CPU_SECONDS = 0.006
"""What a sweep takes for each role beside its calls, with the part of a CPU that the function has: assumed."""

POLLS = 5 * 180 * 730
"""Lambda listens to a queue with five pollers, a request of twenty seconds each, whether anything comes or not:
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""

ROW_BYTES, ITEM_UNITS = 320, 4096
SWEEP_METRICS = 7
"""Metrics that each sweep puts out, so that they are there every hour; the others count in the hours that have them."""

PRICES = {
    "Lambda, a request": 0.20e-6,
    "Lambda, a GB-second (x86)": 16.6667e-6,
    "DynamoDB on demand, a read unit": 0.125e-6,
    "DynamoDB on demand, a write unit": 0.625e-6,
    "SQS, a request": 0.40e-6,
    "EventBridge, an event of one's own": 1.00e-6,
    "CloudWatch, a metric a month": 0.30,
    "CloudWatch, an alarm a month": 0.10,
    "CloudWatch Logs, a GB": 0.50,
    "KMS, a key a month": 1.00,
}
"""US dollars, us-east-1, without free tiers, as known in November 2026."""


@dataclass(frozen=True)
class Account:
    """An account by its roles, and what happens in a month: events on roles and subjects, and remedies among them."""

    name: str
    roles: int
    part: str
    events: int
    remedies: int


ACCOUNTS = (
    Account("a small team", 100, "sweep-100", 3_000, 30),
    Account("a large account", 10_000, "sweep-10000", 150_000, 1_000),
)


def whole(results: Mapping[str, Any]) -> str:
    """The page; empty until what it counts with has been measured."""
    parts = results["parts"]
    if not {"warm", *(account.part for account in ACCOUNTS)} <= parts.keys():
        return ""
    bills = [_bill(account, parts) for account in ACCOUNTS]
    heads = ["", *(account.name for account in ACCOUNTS)]
    counts = [[name, *(f"{bill[0][name]:,.0f}" for bill in bills)] for name in bills[0][0]]
    dollars = [[name, *(f"{bill[1][name]:,.2f}" for bill in bills)] for name in bills[0][1]]
    total = ["**a month**", *(f"**{sum(bill[1].values()):,.2f}**" for bill in bills)]
    profiles = "; ".join(
        f"{account.name}: {account.roles:,} roles, {account.events:,} events a month on roles and subjects, "
        f"{account.remedies:,} of them remedies"
        for account in ACCOUNTS
    )
    prices = [[name, f"{price:.10f}".rstrip("0").rstrip(".")] for name, price in PRICES.items()]
    return (
        "\n\n".join(
            [
                "# What it costs",
                "Made by `make bench` (`bench/cost.py`): do not edit. Calls are those of "
                "[benchmarks.md](benchmarks.md); half of the events are on governed roles. "
                f"{profiles[0].upper()}{profiles[1:]}. Sweeps run every hour. Assumed, and not measured: "
                f"{1000 * CALL_SECONDS:.0f} ms of a {MEGABYTES} MB function for each AWS call, and "
                f"{1000 * SWEEP_CPU_SECONDS:.0f} ms for each role of a sweep. IAM, SageMaker and CloudTrail's "
                "history charge nothing for a call; the trail is yours already.",
                "## Counts a month",
                table(heads, counts),
                "## US dollars a month",
                table(heads, [*dollars, total]),
                "Most of it is there whether anything happens or not: alarms, metrics and the key of AlarmTopic (with "
                "`KmsKeyArn` your own stands in). Twice the events, or a sweep every half hour, changes little.",
                "## Prices",
                "US dollars, us-east-1, without the free tiers, as known in November 2026, to be checked on AWS's pages "
                "before you rely on them: "
                "[Lambda](https://aws.amazon.com/lambda/pricing/), "
                "[DynamoDB](https://aws.amazon.com/dynamodb/pricing/on-demand/), "
                "[SQS](https://aws.amazon.com/sqs/pricing/), "
                "[EventBridge](https://aws.amazon.com/eventbridge/pricing/), "
                "[CloudWatch](https://aws.amazon.com/cloudwatch/pricing/), [KMS](https://aws.amazon.com/kms/pricing/). "
                "Events that AWS's services send cost nothing.",
                table(["", "US dollars"], prices),
            ]
        )
        + "\n"
    )


def _bill(account: Account, parts: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """What an account does in a month, and what it pays for it."""

    def calls(part: str, case: str) -> float:
        rows = [Row.from_dict(row) for row in parts[part]["rows"] if row["figure"] == "calls"]
        return next(row.of[OURS].median for row in rows if row.case == case)

    governed = account.events / 2
    of_events = (
        governed * calls("warm", "a role of no concern")
        + (governed - account.remedies) * calls("warm", "a compliant role")
        + account.remedies * (calls("warm", "a drifted role") + calls("warm", "a compliant role"))  # and a second look
    )
    of_sweeps = SWEEPS * calls(account.part, f"{account.roles:,} roles, steady")
    # PublishFunction reads two policies, twice each.
    of_checks = SWEEPS * 4.0
    invocations = account.events + account.remedies + 2 * SWEEPS
    seconds = (of_events + of_sweeps + of_checks) * CALL_SECONDS + SWEEPS * account.roles * SWEEP_CPU_SECONDS
    # A sweep reads the table twice, consistently; an event by the index.
    reads = SWEEPS * 2 * account.roles * ROW_BYTES / ITEM_UNITS + account.events / 2
    counts = {
        "AWS calls for events": of_events,
        "AWS calls for sweeps": of_sweeps,
        "AWS calls for checks of the policies": of_checks,
        "Lambda invocations": invocations,
        "Lambda GB-seconds": seconds * MEGABYTES / 1024,
        "DynamoDB read units": reads,
        "DynamoDB write units": 4 * SWEEPS + 2 * account.remedies,
        "SQS requests": account.remedies * 3 + len(_sources("SQS")) * POLLS,
        "EventBridge events of its own": account.remedies + SWEEPS,
        "log lines": invocations * 4,
    }
    alarms = sum(resource["Type"] == "AWS::CloudWatch::Alarm" for resource in _resources())
    price = PRICES
    dollars = {
        "Lambda": counts["Lambda invocations"] * price["Lambda, a request"]
        + counts["Lambda GB-seconds"] * price["Lambda, a GB-second (x86)"],
        "DynamoDB": counts["DynamoDB read units"] * price["DynamoDB on demand, a read unit"]
        + counts["DynamoDB write units"] * price["DynamoDB on demand, a write unit"],
        "SQS": counts["SQS requests"] * price["SQS, a request"],
        "EventBridge": counts["EventBridge events of its own"] * price["EventBridge, an event of one's own"],
        f"CloudWatch: {alarms} alarms": alarms * price["CloudWatch, an alarm a month"],
        "CloudWatch: metrics": (SWEEP_METRICS + 5) * price["CloudWatch, a metric a month"],
        "CloudWatch: logs, 1 KB a line": counts["log lines"] * 1e-6 * price["CloudWatch Logs, a GB"],
        "KMS": price["KMS, a key a month"],
    }
    return counts, dollars


def _sources(kind: str) -> list[Any]:
    """What functions are invoked by, of one kind."""
    events = (resource["Properties"].get("Events", {}) for resource in _resources() if "Properties" in resource)
    return [source for of in events for source in of.values() if source["Type"] == kind]


def _resources() -> list[Any]:
    """Those of template.yaml, its intrinsic functions left out."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: None)
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader)
    return list(template["Resources"].values())
