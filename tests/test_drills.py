"""Drills: Rolewarden's own calls travel the event path, and a cut is reported with the link at which it is."""

from __future__ import annotations

import pytest
from rolewarden.work import HEARTBEAT
from rolewarden_local.aws import ACCOUNT_ID

from tests.cuts import CUTS, FULL, ROLES, SUBJECTS, Cut, Place
from tests.drills import AWAY, HOME, Ground, one_account, organization, several_regions
from tests.stacks import MEMBER
from tests.volume import volume

pytestmark = pytest.mark.long

HEARD_AT_HOME = {(ROLES, HOME): "heard", (SUBJECTS, HOME): "heard", (FULL, HOME): "heard"}
HEARD_EVERYWHERE = {**HEARD_AT_HOME, (SUBJECTS, AWAY): "heard"}
QUARTER = 16 * 60.0
HOUR = 3600.0


def test_a_full_drill_is_heard_and_the_canary_is_restored(world):
    ground = one_account(world)
    ground.drill()
    assert not ground.has_canary_policy()
    assert set(ground.states().values()) == {"waiting"}
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


TOPOLOGIES = {"one account": one_account, "several regions": several_regions, "organization": organization}
PLACES = {
    "one account": [Place(ACCOUNT_ID, HOME)],
    "several regions": [Place(ACCOUNT_ID, HOME), Place(ACCOUNT_ID, AWAY)],
    "organization": [Place(account, region) for account in (ACCOUNT_ID, MEMBER) for region in (HOME, AWAY)],
}


def cases():
    """Each cut at a place of a topology: in `make soak` at every place, otherwise at one."""
    every = [
        (cut, name, place)
        for cut in CUTS
        for name, places in PLACES.items()
        for place in places
        if cut.link(place) and not (cut.reach == "members" and place.account == ACCOUNT_ID)
        if not (cut.name == "forwarding not allowed" and name == "organization" and place.account == ACCOUNT_ID)
    ]
    return volume([next(case for case in every if case[0] is cut) for cut in CUTS], every)


def concerned(cut: Cut, ground: Ground, place: Place, account: str) -> set[tuple[str, str]]:
    """The kinds and regions of an account that a cut at a place concerns."""
    found = set()
    for region in ground.regions:
        here = Place(account, region)
        reached = {
            "place": here == place,
            "account": account == place.account,
            "region": region == place.region,
            "forwarded": not here.is_central,
            "members": account != ACCOUNT_ID,
            "all": True,
        }[cut.reach]
        if reached:
            kinds = cut.kinds if region == HOME else cut.kinds & {SUBJECTS}
            found |= {(kind, region) for kind in kinds}
    return found


def drilled(ground: Ground, seconds: float = QUARTER) -> None:
    """Send a pulse and a full drill in every account, and let the limit pass."""
    for account in ground.accounts:
        ground.drill(account)
    ground.wait(seconds)


def ground_of(name, request) -> Ground:
    return TOPOLOGIES[name](request.getfixturevalue("company" if name == "organization" else "world"))


@pytest.mark.volume
@pytest.mark.parametrize(("cut", "name", "place"), cases(), ids=str)
def test_a_cut_is_late_then_cut_and_names_its_link(request, cut, name, place):
    ground = ground_of(name, request)
    cut.make(ground, place)
    link = cut.link(place)
    first = "cut" if link == "dead-letter queue" else "late"
    for state in (first, "cut"):
        drilled(ground)
        for account in ground.accounts:
            heard = HEARD_EVERYWHERE if AWAY in ground.regions else HEARD_AT_HOME
            expected = dict.fromkeys(concerned(cut, ground, place, account), f"{state}: {link}")
            assert ground.states(account) == {**heard, **expected}, account
        for account in ground.accounts:
            ground.judge(account)
        ground.wait(HOUR)
    cut_accounts = {account for account in ground.accounts if concerned(cut, ground, place, account)}
    cut_off = set(ground.world.sweeper.handle_event({"step": HEARTBEAT})["cut_off"])
    assert cut_off == (set() if link == "dead-letter queue" else cut_accounts)
