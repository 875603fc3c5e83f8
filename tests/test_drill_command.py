"""`rolewarden drill`: drills now, a line for each that is heard, the broken link of each that is not."""

import io

import pytest
from rolewarden.canary import DrillKind
from rolewarden.drill import Drill, Heard
from rolewarden.path import PathLink
from rolewarden_cli import console, drill
from rolewarden_cli.commands.drill import moving_timeline
from rolewarden_cli.drill import LINK_RECOMMENDATIONS, Pace, Tally
from rolewarden_local.aws import ACCOUNT_ID

from tests.commands import json_answer, rolewarden
from tests.cuts import CUTS, Place
from tests.drilled import Operated
from tests.drills import AWAY, HOME, Ground, one_account, organization, several_regions
from tests.stacks import MEMBER

pytestmark = pytest.mark.long


@pytest.fixture
def operated(world, monkeypatch):
    return Operated(one_account(world), monkeypatch)


def cut(ground: Ground, name: str, place: Place) -> str:
    """Make a cut by its name, and return the link that a drill names."""
    found = next(cut for cut in CUTS if cut.name == name)
    found.make(ground, place)
    return found.link(place)


def test_drills_that_are_heard_are_shown_with_their_seconds_and_end_with_0(operated):
    result = rolewarden("drill")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"account {ACCOUNT_ID}"
    assert [line.split("  ")[0] for line in lines[1:4]] == [HOME] * 3
    assert all(" heard  20.0 s" in line for line in lines[1:4]), result.stdout
    assert lines[4] == "3 of 3 drills in order"
    assert operated.ground.has_canary_policy()


def test_without_a_terminal_each_drill_that_is_heard_is_one_line_on_standard_error(operated):
    lines = rolewarden("drill").stderr.splitlines()
    assert lines[0] == "sent 3 drills: waiting up to 15 minutes"
    assert sorted(line.partition(":")[0] for line in lines[1:4]) == [
        f"{ACCOUNT_ID} {HOME} {kind}" for kind in ("full drill", "role pulse", "subject pulse")
    ]


def test_json_has_the_figures_of_each_drill_and_nothing_on_standard_error_but_the_place(operated):
    found = {one["drill"]: one for one in json_answer("drill")["drills"]}
    assert {kind: one["state"] for kind, one in found.items()} == dict.fromkeys(found, "heard")
    full = found["full drill"]
    assert (full["account"], full["region"], full["misses"], full["link"]) == (ACCOUNT_ID, HOME, 0, "")
    assert full["seconds"] == pytest.approx(20)
    assert full["remediation"] is not None
    assert found["role pulse"]["remediation"] is None
    assert len(rolewarden("drill", "--json").stderr.splitlines()) == 1


def test_a_missed_drill_names_the_link_and_the_recommended_action_and_ends_with_2(operated):
    link = cut(operated.ground, "disabled rule", Place(ACCOUNT_ID, HOME))
    result = rolewarden("drill")
    assert result.exit_code == 2
    text = " ".join(result.stdout.split())
    assert f"the path is cut at the {link}: " in text
    assert LINK_RECOMMENDATIONS[PathLink(link)] in text
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_moving_timeline_has_a_bar_for_each_drill_in_flight_and_the_seconds_of_each_one_heard():
    sent = [Drill.new(ACCOUNT_ID, "ap-southeast-1", kind, 1_000.0) for kind in DrillKind]
    heard = {sent[0]: None, sent[1]: Heard("1", 20.0, 19.0, 1.0), sent[2]: None}
    heard[sent[2]._replace(refused="access denied")] = heard.pop(sent[2])
    written = io.StringIO()
    out = console.VisibleConsole(file=written, width=80, force_terminal=True, color_system=None)
    out.print(moving_timeline(Tally(heard, 450.0, 900.0)))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "450 s" in lines[0]
    assert "━" in lines[0]
    assert "20.0 s: bus 19.0" in " ".join(lines)
    assert "refused" in lines[-1]


def test_every_link_has_a_recommended_action():
    assert set(LINK_RECOMMENDATIONS) == set(PathLink)


def test_the_command_waits_no_longer_than_the_limit(operated):
    operated.parameters["DrillLimitMinutes"] = "15"
    operated.ground.delay = 24 * 3600
    began = operated.ground.now
    assert rolewarden("drill").exit_code == 2
    assert 900 <= operated.ground.now - began <= 910


def test_a_full_drill_that_is_already_running_is_followed(operated):
    operated.ground.drill()
    first = operated.ground.now
    operated.ground.wait(5)
    found = {one["drill"]: one for one in json_answer("drill")["drills"]}
    assert found["full drill"]["at"] == pytest.approx(first)
    assert found["full drill"]["state"] == "heard"


def test_one_account_of_an_organization_or_all_of_them(company, monkeypatch):
    operated = Operated(organization(company), monkeypatch)

    def accounts(*options: str) -> set[tuple[str, str]]:
        return {(one["account"], one["region"]) for one in json_answer("drill", *options)["drills"]}

    assert accounts() == {(ACCOUNT_ID, HOME), (ACCOUNT_ID, AWAY)}
    assert accounts("--account", MEMBER) == {(MEMBER, HOME), (MEMBER, AWAY)}
    assert len(accounts("--all-accounts")) == 4
    assert all(operated.ground.has_canary_policy(account) for account in operated.ground.accounts)
    known = f"give --account one of {', '.join(sorted((ACCOUNT_ID, MEMBER)))}"
    for options, says in ((["--account", "1"], known), (["--account", MEMBER, "--all-accounts"], "conflict")):
        result = rolewarden("drill", *options)
        assert (result.exit_code, result.stdout) == (1, "")
        assert says in result.stderr


def test_a_cut_in_one_region_leaves_the_others_in_order(world, monkeypatch):
    operated = Operated(several_regions(world), monkeypatch)
    link = cut(operated.ground, "disabled rule", Place(ACCOUNT_ID, AWAY))
    found = json_answer("drill", exit_code=2)["drills"]
    assert {one["region"]: one["link"] for one in found if one["state"] != "heard"} == {AWAY: link}


def test_ctrl_c_leaves_the_canary_to_enforce_function(operated, monkeypatch):
    def press(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drill, "PACE", Pace(lambda: operated.ground.now, press))
    result = rolewarden("drill")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("rolewarden: interrupted: the drills that were sent end without")
    assert not operated.ground.has_canary_policy()
    operated.ground.wait(30)
    assert operated.ground.has_canary_policy()


@pytest.mark.parametrize("name", ["DrillFunction", "SweepFunction"])
def test_a_function_that_cannot_be_invoked_is_one_line_with_the_permission(operated, monkeypatch, name):
    whole = operated.stack
    left = tuple(resource for resource in whole.resources if resource[0] != name)
    monkeypatch.setattr(type(operated), "stack", whole._replace(resources=left))
    result = rolewarden("drill")
    assert result.exit_code == 1
    assert f"the stack has no function {name}: restore the stack" in result.stderr
