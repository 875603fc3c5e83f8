"""The cost of drills: the calls of each kind of drill as the cost page has them, and a bill under one dollar."""

import pytest
from rolewarden.canary import DrillKind
from rolewarden_local.aws import ACCOUNT_ID

from tests.drills import AWAY, DAY, one_account, several_regions
from tests.scripts import scripts

[cost] = scripts("bench", "cost")

NOT_IN_CLOUDTRAIL = {"PutItem", "Query", "PutEvents"}


def counted(ground, *steps):
    """The calls to send and to hear the drills of `steps`, by warm functions."""
    ground.drill()
    ground.wait(DAY)
    found = {"sent": 0, "heard": 0, "in CloudTrail": 0, "PutEvents": 0}
    for step in steps:
        for what, act in (("sent", lambda step=step: step(ground)), ("heard", lambda: ground.wait(30))):
            mark = ground.aws.mark()
            act()
            calls = [call.operation for call in ground.aws.calls(mark)]
            found[what] += len(calls)
            found["PutEvents"] += calls.count("PutEvents")
            found["in CloudTrail"] += sum(call not in NOT_IN_CLOUDTRAIL for call in calls)
    return found


def pulse(ground):
    ground.pulse()


def full(ground):
    with ground.late():
        ground.driller.drill(ACCOUNT_ID)


def total(*kinds):
    rows = [cost.DRILL_CALLS[kind.value] for kind in kinds]
    return {what: sum(row[what] for row in rows) for what in rows[0]}


def requested(*kinds):
    """The calls of a pulse that an operator requests. It begins with a query, and one after a sweep does not."""
    made = total(*kinds)
    return {**made, "sent": made["sent"] + 1}


@pytest.mark.long
def test_the_cost_page_has_the_calls_of_each_kind_of_drill(world):
    ground = one_account(world)
    assert counted(ground, pulse) == requested(DrillKind.ROLES, DrillKind.SUBJECTS)
    assert counted(ground, full) == total(DrillKind.FULL)


@pytest.mark.long
def test_each_further_region_adds_the_calls_of_one_subject_pulse(world):
    ground = several_regions(world)
    assert AWAY in ground.regions
    assert counted(ground, pulse) == requested(DrillKind.ROLES, DrillKind.SUBJECTS, DrillKind.SUBJECTS)


def test_drills_cost_less_than_one_dollar_a_month_in_one_account():
    for customer in cost.CUSTOMERS:
        if not customer.is_organization:
            # The two alarms of DrillFunction count with the other alarms of the page.
            assert sum(cost._drills(customer).values()) + 2 * cost.PRICES["alarm"].each < 1
