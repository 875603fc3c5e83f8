"""The pages cost.md and benchmarks.md repeat the results of the bench; scale.md and README agree with them."""

import json
import re
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.scripts import scripts


@pytest.fixture(scope="module")
def bench():
    """The bench's modules, which import each other without a prefix, and its results."""
    cost, page = scripts("bench", "cost", "page")
    results = json.loads((ROOT / "bench" / "results.json").read_text())
    return cost, page, results


def told(name):
    return (ROOT / name).read_text(encoding="utf-8")


AGAIN = "the page is stale: run `make pages`"


def test_the_cost_page_has_the_counted_figures(bench):
    cost, _, results = bench
    assert told("docs/explanation/cost.md") == cost.whole(results), AGAIN


def test_the_benchmark_page_has_the_measured_figures(bench):
    _, page, results = bench
    assert told("docs/explanation/benchmarks.md") == page.whole(results), AGAIN


def test_every_price_has_its_page_and_its_source(bench):
    cost, _, _ = bench
    page = told("docs/explanation/cost.md")
    for price in (*cost.PRICES.values(), *cost.LISTENERS.values()):
        [row] = [line for line in page.splitlines() if line.endswith(f" {price.unit} | {price.found} |")]
        assert row.startswith(f"| [{price.service}](https://aws.amazon.com/")
        assert price.found


def test_the_bill_shows_the_prices_that_decide_it_and_sums_up_the_others(bench):
    cost, _, results = bench
    shares = [cost.shares(customer, results) for customer in cost.CUSTOMERS]
    decisive = {name for name in shares[0] if max(share[name] for share in shares) >= cost.DECISIVE}
    assert decisive == cost.PRICES.keys()
    for share in shares:
        assert sum(share.values()) == pytest.approx(1)


def test_the_bill_counts_the_alarms_of_a_stack(bench, template):
    cost, _, _ = bench
    assert cost._alarms() == len(template.resources("AWS::CloudWatch::Alarm"))


@pytest.mark.parametrize(
    ("line", "case"),
    [
        ("an event on a role that is out of scope", "an event in a member: a role out of scope"),
        ("an event on a compliant role", "an event in a member: a compliant role"),
        ("an event on a drifted role", "an event in a member: a drifted role"),
        ("a steady sweep of a member, 1 region", "a member, one region"),
        ("a steady sweep of a member, 3 regions", "a member, three regions"),
        ("a steady sweep of the central account, 3 regions", "the central account, three regions"),
    ],
)
def test_the_calls_of_a_large_organization_are_those_that_the_bench_counted(bench, line, case):
    cost, _, results = bench
    [calls] = re.findall(rf"^\| {re.escape(line)} \| (\d+)", told("docs/explanation/scale.md"), re.MULTILINE)
    assert int(calls) == cost._figure(results["parts"], "accounts", case, "calls")


def test_the_page_about_alternatives_has_the_calls_that_the_bench_counted(bench):
    _, _, results = bench
    [of] = [
        row["of"]
        for row in results["parts"]["sweep-10000"]["rows"]
        if (row["case"], row["figure"]) == ("10,000 roles, steady", "calls")
    ]
    page = told("docs/explanation/alternatives.md")
    assert f"[{of['custodian']['median']:,} calls for 10,000 roles]" in page
    assert f"Rolewarden makes {of['rolewarden']['median']:,}" in page


def test_the_dollars_of_other_pages_are_those_of_the_cost_page(bench):
    cost, _, results = bench
    small, _, organization = (f"{cost.total(customer, results):.0f} dollars" for customer in cost.CUSTOMERS)
    assert f"about {small} a month" in " ".join(told("README.md").split())
    assert f"About {organization}" in told("docs/explanation/scale.md")


def test_sweeping_less_often_costs_less_and_more_regions_cost_more(bench):
    cost, _, results = bench
    for customer in cost.CUSTOMERS:
        dollars = cost.total(customer, results)
        assert cost.total(replace(customer, sweeps=customer.sweeps / 6), results) < dollars
        assert cost.total(replace(customer, regions=3), results) >= dollars
