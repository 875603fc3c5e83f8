"""Drills: Rolewarden's own calls travel the event path, and a cut is reported with the link at which it is."""

import pytest
from rolewarden_local.aws import ACCOUNT_ID

from tests.drills import AWAY, HOME, one_account, organization, several_regions
from tests.stacks import MEMBER

pytestmark = pytest.mark.long

ROLES, SUBJECTS, FULL = "role pulse", "subject pulse", "full drill"
HEARD_AT_HOME = {(ROLES, HOME): "heard", (SUBJECTS, HOME): "heard", (FULL, HOME): "heard"}
HEARD_EVERYWHERE = {**HEARD_AT_HOME, (SUBJECTS, AWAY): "heard"}


def test_a_full_drill_is_heard_and_the_canary_is_restored(world):
    ground = one_account(world)
    ground.drill()
    assert not ground.has_canary_policy()
    ground.wait(30)
    assert ground.has_canary_policy()
    assert ground.states() == HEARD_AT_HOME


def test_every_region_is_drilled(world):
    ground = several_regions(world)
    ground.drill()
    ground.wait(30)
    assert ground.states() == HEARD_EVERYWHERE


def test_every_account_is_drilled(company):
    ground = organization(company)
    for account in ground.accounts:
        ground.drill(account)
    ground.wait(30)
    for account in (ACCOUNT_ID, MEMBER):
        assert ground.states(account) == HEARD_EVERYWHERE
        assert ground.has_canary_policy(account)
