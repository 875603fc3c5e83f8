"""docs/explanation/cost.md: the monthly bills of three customers, from counted calls and AWS's prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from accounts import ALONE, CENTRAL, EVENT, MEMBER
from figures import Row, table
from stand import OURS

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "template.yaml"
EVENTS = ROOT / "events"

HOURS = 730
"""Hours of a month."""

MEGABYTES = 256
CALL_SECONDS = 0.05
"""Seconds for an AWS call and the function's own work for it. This is assumed: a local AWS cannot measure it."""

LOOKUP_SECONDS = 0.5
"""CloudTrail answers two LookupEvents a second:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html"""

SWEEP_CPU_SECONDS = 0.006
"""Seconds of a sweep for each role, in addition to its calls, with the function's share of a CPU. This is assumed."""

POLLS = 5 * 180 * HOURS
"""Requests of a month for one queue. Lambda polls a queue with five pollers, and each request lasts twenty seconds,
with or without messages. It uses only two pollers if the queue has no maximum concurrency:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""

PLATFORM_LOG = 300
"""Bytes that Lambda itself logs for an invocation (START, END and REPORT). This is assumed."""

ROW_BYTES, READ_BYTES = 320, 4096
SWEEP_METRICS, OTHER_METRICS = 8, 7
"""Metrics of each sweep, and metrics of events. The bill assumes that events happen every hour."""


@dataclass(frozen=True)
class Price:
    """A price of a service: US dollars for `per` units, and its source."""

    service: str
    dollars: float
    per: int
    unit: str
    found: str

    @property
    def each(self) -> float:
        return self.dollars / self.per

    @property
    def page(self) -> str:
        """The page of AWS with the price."""
        name = self.service.lower().replace(" ", "-")
        return f"https://aws.amazon.com/{name}/pricing/{'on-demand/' if name == 'dynamodb' else ''}"


CHECKED = "2026-11-25"
"""The date of the last comparison of the prices with AWS's pages."""

MILLION = 1_000_000
_PAGE = "its page, an archived copy"
_PAGE_OF, _LIST, _OTHERS = "its page of {}, as others copied it", "price list of {}", "**only what others quote**, {}"
_SENDER_PAYS = 'that the sender pays so: EventBridge User Guide, "Sending and receiving events between accounts"'

PRICES = {
    "metric": Price("CloudWatch", 0.30, 1, "a metric a month, by the hours it is there", _LIST.format("2026-09-21")),
    "alarm": Price("CloudWatch", 0.10, 1, "an alarm a month", _LIST.format("2026-09-21")),
    "dashboard": Price("CloudWatch", 3.00, 1, "a dashboard a month", _OTHERS.format("2026-06")),
    "key": Price("KMS", 1.00, 1, "a key a month, and as much again after a yearly rotation", _PAGE),
    "GB-second": Price("Lambda", 16.6667, MILLION, "GB-seconds (x86)", f"{_PAGE}; {_LIST.format('2026-09-11')}"),
    "request": Price("Lambda", 0.20, MILLION, "requests", f"{_PAGE}; {_LIST.format('2026-09-11')}"),
    "event": Price(
        "EventBridge", 1.00, MILLION, "events of one's own, or sent to another account or region",
        f"{_LIST.format('2026-10-08')}; {_SENDER_PAYS}",
    ),
    "queue request": Price("SQS", 0.40, MILLION, "requests", _LIST.format("2026-09-11")),
    "log": Price("CloudWatch", 0.50, 1, "a GB of logs", _LIST.format("2026-09-21")),
}  # fmt: skip
"""US dollars, us-east-1, without free tiers: the prices that make up at least DECISIVE of one customer's bill."""

DECISIVE = 0.05

AT_MOST = {
    "read": 0.125 / MILLION,
    "write": 0.625 / MILLION,
    "fair request": 0.10 / MILLION,
    "mail": 2.00 / 100_000,
    "GB of rows": 0.25,
    "GB of kept logs": 0.03,
    "GB between regions": 0.02,
}
"""US dollars for one of each thing that makes up less than DECISIVE of every bill. The bill shows their sum only.

The price lists are those of 2026-05-13 (DynamoDB), 2026-09-11 (SQS) and 2026-10-08 (SNS). The prices of a GB have not
been compared with a list."""

LISTENERS = {
    "second trail": Price("CloudTrail", 2.00, 100_000, "management events, of each trail but the first", _PAGE),
    "watched": Price("GuardDuty", 4.00, MILLION, "management events", _PAGE_OF.format("2026-10-07")),
}
"""Prices of services that read CloudTrail. They are not in the bill, but in an organization they exceed it."""

DRILL_CALLS = {
    "role pulse": {"sent": 2, "heard": 5, "in CloudTrail": 1, "PutEvents": 1},
    "subject pulse": {"sent": 2, "heard": 4, "in CloudTrail": 1, "PutEvents": 1},
    "full drill": {"sent": 3, "heard": 7, "in CloudTrail": 3, "PutEvents": 1},
}
"""The AWS calls of each kind of drill: by DrillFunction to send it, and by EnforceFunction to hear it.

A subject pulse is sent in each region, the others in one. tests/test_drill_cost.py counts the calls."""

DRILL_METRICS = 4
"""Metrics of a full drill, in addition to the one of every drill: delivery, start, restore and unprotected."""

DRILLS_A_DAY = 1
"""Full drills of an account a day, without those after deployments and on demand."""

FREE = {
    "request": 1_000_000, "GB-second": 400_000, "queue request": 1_000_000, "metric": 10, "alarm": 10, "dashboard": 3,
    "log": 5,
}  # fmt: skip
"""The free amounts of each account every month, from the pages above and SQS's page."""


@dataclass(frozen=True)
class Customer:
    """A customer: a number of accounts, the governed roles of each, and a month's events and remediations.

    `sweep` is the part of the bench that sweeps as many roles. The fields after it are parameters of the template.
    """

    name: str
    accounts: int
    roles: int
    events: int
    remediations: int
    sweep: str = "sweep-100"
    regions: int = 1
    sweeps: float = HOURS

    @property
    def is_organization(self) -> bool:
        return self.accounts > 1


CUSTOMERS = (
    Customer("a small team", 1, 100, 3_000, 30),
    Customer("a large account", 1, 10_000, 150_000, 1_000, "sweep-10000"),
    Customer("an organization", 1_000, 100, 10 * 3600 * HOURS, 10_000, regions=3),
)


def whole(results: Mapping[str, Any]) -> str:
    """The page. It is empty if the bench has not measured the parts that the page needs."""
    parts = results["parts"]
    if not {"warm", "accounts", *(customer.sweep for customer in CUSTOMERS)} <= parts.keys():
        return ""
    counts = [_counts(customer, parts) for customer in CUSTOMERS]
    names = [customer.name for customer in CUSTOMERS]
    sections = [
        "# Cost",
        _summary(counts),
        table(["US dollars a month", *names], _bill(counts)),
        "*With AWS's free tiers*: if nothing else in the account, or in the whole organization, uses them up. "
        "`make bench` makes this page (`bench/cost.py`) from the calls that it counts: do not edit it.",
        _left_out(counts),
        "## Change the sweep interval",
        table(["US dollars a month, more or less", *names], _intervals(parts)),
        "## Reduce the cost",
        _smaller(parts, counts),
        "## Drills",
        _drilled(),
        table(["of drills, a month", *names], _shown_drills()),
        "## Charges of other listeners to CloudTrail",
        _watched(counts),
        "## Counts for one month",
        table(["what is counted", *names], _shown_counts(counts)),
        _assumed(parts),
        "## Prices",
        f"US dollars, us-east-1, compared on {CHECKED}. The price pages of AWS load their figures when a browser "
        "shows them, so copies of the pages often lack the figures. If a copy has no figure, this page uses the "
        "price list of AWS (AWS Price List API) as public repositories quote it, with the date of the list, or "
        "otherwise a figure that others quote. Before you rely on a price, read its page.",
        table(["service", "US dollars", "for", "found in"], _shown_prices()),
    ]
    return "\n\n".join(sections) + "\n"


def total(customer: Customer, results: Mapping[str, Any]) -> float:
    """US dollars a month, without AWS's free tiers."""
    return _total(customer, results["parts"])


def shares(customer: Customer, results: Mapping[str, Any]) -> dict[str, float]:
    """The share of each price in a customer's bill without drills, by the names in PRICES and AT_MOST."""
    counts = _counts(customer, results["parts"])
    each = {name: price.each for name, price in PRICES.items()} | AT_MOST
    whole = sum(_dollars(counts).values()) - counts["drills"]
    return {name: counts[name] * dollars / whole for name, dollars in each.items()}


def _summary(counts: list[dict[str, float]]) -> str:
    small, large, organization = (sum(_dollars(amounts).values()) for amounts in counts)
    return (
        f"About **{small:.0f} dollars a month** for a small team, **{large:.0f}** for an account with 10,000 roles, "
        f"**{organization:.0f}** for [a large organization](scale.md) of a thousand accounts in three regions: "
        f"{100 * organization / CUSTOMERS[-1].accounts:.0f} cents an account. All of it goes to AWS."
    )


def _bill(counts: list[dict[str, float]]) -> list[list[str]]:
    """The table of the bills."""
    bills = [_dollars(amounts) for amounts in counts]
    beyond = [sum(_dollars(_beyond_free(amounts)).values()) for amounts in counts]
    return [
        ["accounts", *(f"{customer.accounts:,}" for customer in CUSTOMERS)],
        ["regions with domains", *(f"{customer.regions}" for customer in CUSTOMERS)],
        ["governed roles", *(f"{customer.accounts * customer.roles:,}" for customer in CUSTOMERS)],
        ["changes of roles and user profiles", *(f"{customer.events:,}" for customer in CUSTOMERS)],
        ["of these, remediated", *(f"{customer.remediations:,}" for customer in CUSTOMERS)],
        *([service, *(f"{bill[service]:,.2f}" for bill in bills)] for service in bills[0]),
        ["**together**", *(f"**{sum(bill.values()):,.2f}**" for bill in bills)],
        ["with AWS's free tiers", *(f"{dollars:,.2f}" for dollars in beyond)],
    ]


def _assumed(parts: Mapping[str, Any]) -> str:
    return (
        f"Calls are those of `bench/results.json`: accounts of {parts['accounts']['measured']}, events of "
        f"{parts['warm']['measured']}, 10,000 roles of {parts['sweep-10000']['measured']}. Assumed, and not "
        "measured: half of the events are about governed roles; in the organization, the function enters the "
        "account again for each of these, because it keeps the sessions of a hundred accounts only; "
        f"{1000 * CALL_SECONDS:.0f} ms of a {MEGABYTES} MB function for each AWS call, "
        f"{1000 * SWEEP_CPU_SECONDS:.0f} ms for each role of a sweep; {PLATFORM_LOG} bytes that Lambda logs for an "
        f"invocation. LookupEvents takes {LOOKUP_SECONDS:g} s, because CloudTrail answers two a second. The page "
        "counts all three requests for a message in a group at the price of fair queues, which is the highest that "
        "AWS can charge.\n\nIAM, STS, SageMaker's lists, StackSets and CloudTrail's event history do not charge "
        "for a call. EventBridge does not charge for what AWS services send inside an account and region."
    )


def _left_out(counts: list[dict[str, float]]) -> str:
    small, large, organization = (f"{math.ceil(_remainder(amounts))}" for amounts in counts)
    return (
        f"The rows are the prices that make up at least {100 * DECISIVE:.0f} % of one of the bills. *Everything "
        "else* is DynamoDB's reads, writes and storage, the surcharge of fair queues, emails, stored logs, and the "
        f"transfer of events between regions. The same run counts them: they stay below {small}, {large} and "
        f"{organization} dollars, and the sum includes these amounts. `bench/cost.py` has their prices. Its prices "
        "for a GB have not been compared with AWS's price list."
    )


def _intervals(parts: Mapping[str, Any]) -> list[list[str]]:
    """The difference that each other sweep interval makes to the bill."""
    changes = {"15m": 4.0 * HOURS, "6h": HOURS / 6, "1d": HOURS / 24}
    return [
        [
            f"`SweepInterval: {interval}`",
            *(
                f"{_total(replace(customer, sweeps=sweeps), parts) - _total(customer, parts):+,.2f}"
                for customer in CUSTOMERS
            ),
        ]
        for interval, sweeps in changes.items()
    ]


def _total(customer: Customer, parts: Mapping[str, Any]) -> float:
    return sum(_dollars(_counts(customer, parts)).values())


def _smaller(parts: Mapping[str, Any], counts: list[dict[str, float]]) -> str:
    fixed = sum(counts[0][name] * PRICES[name].each for name in ("metric", "alarm", "dashboard", "key"))
    polls = len(_sources("SQS")) * POLLS * PRICES["queue request"].each
    organization = CUSTOMERS[-1]
    sweeps = _total(organization, parts) - _total(replace(organization, sweeps=0), parts)
    sweeps -= sum(_drills(organization).values()) - sum(_drills(replace(organization, sweeps=0)).values())
    sent = organization.events * PRICES["event"].each
    return (
        f"In one account, nearly the whole bill is fixed: {fixed:.2f} for metrics, alarms, dashboard and key, and "
        f"{polls:.2f} for the requests with which Lambda polls four queues. In the organization, {sweeps:.2f} is for "
        f"sweeps, and {sent:.2f} for events that accounts send to the central account. Each account pays for its "
        "own events.\n\n"
        "- **Sweep less often** if you trust events: see the table above. A change that produced no event then stays "
        "undetected for up to one interval.\n"
        "- **Use fewer regions**: each region adds two lists, a forwarder and a queue to every sweep.\n"
        "- **Deploy with `Architecture=arm64`**, because Lambda charges less for it. The layer contains "
        "no code that is compiled for a processor, but it is only tested on x86_64.\n"
        "- **Remove the dashboard** from template.yaml if the account has more than three: it costs three dollars."
    )


def _watched(counts: list[dict[str, float]]) -> str:
    alone, told = counts[0]["in CloudTrail"], counts[-1]["in CloudTrail"]
    of_sweeps = counts[-1]["in CloudTrail, of sweeps"]
    second, guard = told * LISTENERS["second trail"].each, told * LISTENERS["watched"].each
    return (
        f"CloudTrail records the calls of Rolewarden: {alone:,.0f} management events a month in the small team's "
        f"account, {told / MILLION:.0f} million in the organization, {100 * of_sweeps / told:.0f} % of them by "
        f"sweeps. The first copy is free. **In the organization a second trail would charge {second:,.0f} dollars a "
        f"month for them, GuardDuty up to {guard:,.0f}.** Nearly all are reads: a second trail that logs only write "
        "events does not charge for them. With sweeps every six hours, the number is "
        f"{100 - 100 * of_sweeps / told * 5 / 6:.0f} % of that."
    )


def _shown_counts(counts: list[dict[str, float]]) -> list[list[str]]:
    names = {
        "calls of events": "AWS calls for events",
        "calls of sweeps": "AWS calls for sweeps and checks of the policies",
        "in CloudTrail": "of all, management events in CloudTrail",
        "request": "Lambda invocations",
        "GB-second": "Lambda GB-seconds",
        "event": "EventBridge events sent",
        "queue request": "SQS requests",
        "log": "GB of logs",
        "metric": "metrics",
        "alarm": "alarms",
    }
    return [
        [shown, *(f"{amounts[name]:,.0f}" if name != "log" else f"{amounts[name]:,.2f}" for amounts in counts)]
        for name, shown in names.items()
    ]


def _shown_prices() -> list[list[str]]:
    return [
        [
            f"[{price.service}]({price.page})",
            f"{price.dollars:g}",
            f"{price.per:,} {price.unit}" if price.per > 1 else price.unit,
            price.found,
        ]
        for price in (*PRICES.values(), *LISTENERS.values())
    ]


def _counts(customer: Customer, parts: Mapping[str, Any]) -> dict[str, float]:
    """The monthly use of a customer, by the names in PRICES and AT_MOST, and figures without a price."""
    events, sweeps = _events(customer, parts), _sweeps(customer, parts)
    invocations = customer.events + customer.remediations + sweeps["invocations"]
    seconds = (events["calls"] + sweeps["calls"] - sweeps["of them LookupEvents"]) * CALL_SECONDS
    seconds += sweeps["of them LookupEvents"] * LOOKUP_SECONDS
    seconds += customer.sweeps * customer.accounts * customer.roles * SWEEP_CPU_SECONDS
    # A sweep reads the whole table twice with consistent reads. An event reads only the index.
    rows = customer.sweeps * customer.accounts * 2 * customer.roles * ROW_BYTES / READ_BYTES
    queues = len(_sources("SQS"))
    grouped = 3 * sweeps["of them by messages"] if customer.is_organization else 0
    logged = (events["logged"] + sweeps["logged"] + invocations * PLATFORM_LOG) / 1e9
    elsewhere = customer.events * (customer.regions - 1) / customer.regions
    is_apart = customer.is_organization or customer.regions > 1
    return {
        "calls of events": events["calls"],
        "calls of sweeps": sweeps["calls"],
        # CloudTrail has all calls of an event except DynamoDB's and those that record a remediation.
        "in CloudTrail, of sweeps": sweeps["of them in CloudTrail"],
        "in CloudTrail": sweeps["of them in CloudTrail"]
        + events["calls"]
        - customer.events
        - 4 * customer.remediations,
        "request": invocations,
        "GB-second": seconds * MEGABYTES / 1024,
        "read": sweeps["of them reads of DynamoDB"] + rows + customer.events / 2,
        "write": sweeps["of them writes of DynamoDB"] + 2 * customer.remediations,
        "queue request": queues * POLLS
        + sweeps["of them SQS"]
        + 2 * sweeps["of them by messages"]
        + 3 * customer.remediations,
        "fair request": grouped,
        "event": sweeps["of them PutEvents"] + customer.remediations + (customer.events if is_apart else 0),
        "metric": SWEEP_METRICS * min(1, customer.sweeps / HOURS) + OTHER_METRICS,
        "alarm": _alarms(),
        "dashboard": 1,
        "log": logged,
        "key": 1,
        "mail": customer.remediations,
        "GB of rows": _rows(customer),
        "GB of kept logs": logged * _default("LogRetentionDays") * 24 / HOURS,
        "drills": sum(_drills(customer).values()),
        "GB between regions": elsewhere * max(path.stat().st_size for path in EVENTS.glob("*.json")) / 1e9,
    }


def _sent(customer: Customer) -> dict[str, float]:
    """The drills of a month by kind: pulses with each sweep, and one full drill a day."""
    pulses = customer.sweeps * customer.accounts
    full = DRILLS_A_DAY * HOURS / 24 * customer.accounts
    return {"role pulse": pulses, "subject pulse": pulses * customer.regions, "full drill": full}


def _drills(customer: Customer) -> dict[str, float]:
    """US dollars of a month's drills by service. The alarms of DrillFunction count with the other alarms."""
    sent = _sent(customer)
    calls = sum(number * (DRILL_CALLS[kind]["sent"] + DRILL_CALLS[kind]["heard"]) for kind, number in sent.items())
    invocations = sum(sent.values()) + sent["role pulse"]
    seconds = calls * CALL_SECONDS * MEGABYTES / 1024
    # A metric costs by the hours in which it has a figure.
    metrics = customer.accounts * (customer.regions + DRILL_METRICS) * DRILLS_A_DAY / 24
    is_apart = customer.is_organization or customer.regions > 1
    events = sum(sent.values()) * (2 if is_apart else 1)
    # At most: every call that is not of IAM, SageMaker or EventBridge counts as a write.
    return {
        "CloudWatch metrics": metrics * PRICES["metric"].each,
        "Lambda": seconds * PRICES["GB-second"].each + invocations * PRICES["request"].each,
        "EventBridge": events * PRICES["event"].each,
        "DynamoDB, at most": calls * AT_MOST["write"],
        "CloudWatch logs": invocations * 4 * PLATFORM_LOG / 1e9 * PRICES["log"].each,
    }


def _drilled() -> str:
    one = CUSTOMERS[0]
    pulse = DRILL_CALLS["role pulse"], DRILL_CALLS["subject pulse"]
    full = DRILL_CALLS["full drill"]
    bill = _drills(one)
    return (
        f"[Drills](drills.md) cost **{sum(bill.values()):.2f} dollars a month** in one account and region. "
        f"{bill['CloudWatch metrics']:.2f} of it are for metrics by account and region, which have a figure once a "
        "day: CloudWatch charges for each hour in which a metric has a figure. The bill above includes these amounts. "
        "The row of alarms includes the two alarms of DrillFunction.\n\n"
        f"A pulse takes {sum(each['sent'] + each['heard'] for each in pulse)} AWS calls in one region, and "
        f"{pulse[1]['sent'] + pulse[1]['heard']} in each further one. A full drill takes "
        f"{full['sent'] + full['heard']}. A test counts these calls on the local AWS. [Drills](drills.md#see-the-"
        "cost-of-drills-for-other-services) has the charges of AWS Config, GuardDuty and others for drills."
    )


def _shown_drills() -> list[list[str]]:
    sent = [_sent(customer) for customer in CUSTOMERS]
    bills = [_drills(customer) for customer in CUSTOMERS]
    recorded = [sum(number * DRILL_CALLS[kind]["in CloudTrail"] for kind, number in each.items()) for each in sent]
    return [
        *([f"{kind}s", *(f"{each[kind]:,.0f}" for each in sent)] for kind in sent[0]),
        ["management events in CloudTrail", *(f"{number:,.0f}" for number in recorded)],
        *([f"US dollars, {service}", *(f"{bill[service]:,.2f}" for bill in bills)] for service in bills[0]),
        ["**US dollars together**", *(f"**{sum(bill.values()):,.2f}**" for bill in bills)],
    ]


def _rows(customer: Customer) -> float:
    """GB in the two tables once the history has reached its maximum length. A history row counts as 1 KB."""
    bindings = customer.accounts * customer.roles * ROW_BYTES
    history = 2 * customer.remediations * 1024 * _default("HistoryDays") * 24 / HOURS
    return (bindings + history) / 1e9


def _remainder(counts: Mapping[str, float]) -> float:
    """US dollars for everything in AT_MOST."""
    return sum(counts[name] * dollars for name, dollars in AT_MOST.items())


def _dollars(counts: Mapping[str, float]) -> dict[str, float]:
    """US dollars by service."""
    names = {
        "CloudWatch metrics, alarms, dashboard": ("metric", "alarm", "dashboard"),
        "KMS key": ("key",),
        "Lambda": ("GB-second", "request"),
        "EventBridge": ("event",),
        "SQS": ("queue request",),
        "CloudWatch logs": ("log",),
    }
    dollars = {service: sum(counts[name] * PRICES[name].each for name in of) for service, of in names.items()}
    return dollars | {"drills": counts["drills"], "everything else, at most": _remainder(counts)}


def _beyond_free(counts: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0, count - FREE.get(name, 0)) for name, count in counts.items()}


def _events(customer: Customer, parts: Mapping[str, Any]) -> dict[str, float]:
    """The calls of a month's events, and the bytes that they log."""

    def of(case: str, figure: str = "calls") -> float:
        return _figure(parts, "accounts", f"{EVENT}: {case}", figure)

    governed = customer.events / 2
    alike = governed - customer.remediations
    compliant, entering = of("a compliant role"), of("a compliant role, entering the account")
    entered = entering if customer.is_organization else compliant
    return {
        "calls": governed * of("a role out of scope")
        + alike * entered
        # Each remediation also has a recheck.
        + customer.remediations * (of("a drifted role") + entered - compliant + entered),
        "logged": governed * of("a role out of scope", "logged")
        + alike * of("a compliant role", "logged")
        + customer.remediations * (of("a drifted role", "logged") + of("a compliant role", "logged")),
    }


def _sweeps(customer: Customer, parts: Mapping[str, Any]) -> dict[str, float]:
    """The totals of a month's sweeps of all accounts, from the figures of the bench."""
    where = "one region" if customer.regions == 1 else "three regions"
    first = f"{CENTRAL if customer.is_organization or customer.regions > 1 else ALONE}, {where}"
    figures = {row["figure"] for row in parts["accounts"]["rows"] if row["case"] == first}
    swept = {figure: _figure(parts, "accounts", first, figure) for figure in figures}
    # If an account has more roles than in that part of the bench, its lists have more pages.
    size = int(customer.sweep.removeprefix("sweep-"))
    pages = _figure(parts, customer.sweep, f"{size:,} roles, steady", "calls")
    more = pages - _figure(parts, "sweep-100", "100 roles, steady", "calls")
    swept["calls"] += more
    swept["of them in CloudTrail"] += more
    if customer.is_organization:
        others = customer.accounts - 1
        for figure in figures:
            swept[figure] += others * _figure(parts, "accounts", f"{MEMBER}, {where}", figure)
        # The central account lists a hundred members with each call, and a batch of messages requests ten sweeps.
        swept["calls"] += others / 100 + others / 10
        swept["of them in CloudTrail"] += others / 100
        swept["of them SQS"] += others / 10
    return {figure: customer.sweeps * number for figure, number in swept.items()}


def _figure(parts: Mapping[str, Any], part: str, case: str, figure: str) -> float:
    rows = (Row.from_dict(row) for row in parts[part]["rows"])
    return next(row.of[OURS].median for row in rows if (row.case, row.figure) == (case, figure))


def _alarms() -> int:
    """The number of alarms of a stack that does not import findings into Security Hub."""
    alarms = [resource for resource in _resources() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    return sum(resource.get("Condition") != "HasSecurityHub" for resource in alarms)


def _sources(kind: str) -> list[Any]:
    """The functions' event sources of one kind."""
    events = (resource["Properties"].get("Events", {}) for resource in _resources() if "Properties" in resource)
    return [source for of in events for source in of.values() if source["Type"] == kind]


def _default(parameter: str) -> int:
    default: int = _template()["Parameters"][parameter]["Default"]
    return default


def _resources() -> list[Any]:
    return list(_template()["Resources"].values())


@cache
def _template() -> Any:
    """template.yaml without its intrinsic functions."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: None)
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader)  # noqa: S506 - it is a SafeLoader
