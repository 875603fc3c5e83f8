"""Random days in an account under all service control policies, and the escapes that each statement closes."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.admission import APPROVE, APPROVE_USER, BATCH, CHAT
from tests.soak import admitted
from tests.soak.admitted import (
    CANVAS,
    NOVA,
    STRICT,
    THERE,
    TITAN,
    TO_ALL,
    TO_SERVICES,
    TOOL,
    VISITOR,
    Account,
    Day,
    sids,
)
from tests.volume import some, volume


@contextlib.contextmanager
def account(left_out: str = "", *, is_checked: bool = True) -> Iterator[Account]:
    """An account under the SCPs without a statement. Every invariant counts, whatever AWS checks (`is_checked`)."""
    admitted.saved_account()
    aws = admitted.local_aws()
    try:
        with aws.connected(), aws.authorizing(updates_pass_roles=is_checked):
            yield Account(left_out)
    finally:
        aws.reset()


def live(machine: type[Day], runs: int, *, is_repeatable: bool) -> None:
    chosen = settings(
        max_examples=runs,
        stateful_step_count=50,
        deadline=None,
        database=None,
        derandomize=is_repeatable,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        # Without the last argument, some runs end before the last step.
        run_state_machine_as_test(machine, settings=chosen, _min_steps=50)
    finally:
        admitted.local_aws().reset()


@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize("is_checked", [True, False])
def test_after_each_step_nobody_is_wider_than_an_approver_made_them(capsys, monkeypatch, is_checked) -> None:
    figures = admitted.Figures()
    monkeypatch.setattr(admitted, "FIGURES", figures)
    monkeypatch.setattr(Day, "is_checked", is_checked)
    live(Day, volume(4, 1000), is_repeatable=volume(True, False))
    with capsys.disabled():
        sys.stdout.write(f"\nadmitted, PassRole {'checked' if is_checked else 'not checked'} on updates: {figures}\n")
    assert figures.calls["done"] > figures.runs
    assert figures.calls["denied by an SCP"] > figures.runs


def by_mallory(a: Account, domain: str, role: str) -> None:
    a.create_profile(a.callers[0], a.domains[domain], "eve", role)


def by_etl(a: Account, role: str) -> None:
    [etl] = [one for one in a.callers if one.person == "etl"]
    a.create_profile(etl, a.domains["plain"], "eve", role)


def passed_to(service: str, a: Account) -> None:
    a.work(a.callers[0], service, NOVA)


def changed_user(user: str, what: str, a: Account) -> None:
    a.change_user(a.callers[2], user, what)


def updated_domain(setting: str, a: Account) -> None:
    a.update_domain(a.callers[1], a.domains["plain"], NOVA, setting)


def from_canvas(a: Account) -> None:
    session = a.canvas("alice")
    assert session
    a.open_profile(session, a.domains["research"], "rita")


ESCAPES: dict[str, list[Callable[[Account], object]]] = {
    "WiderRoles": [
        lambda a: a.create_role(a.callers[0], TITAN, TO_ALL),
        lambda a: a.create_role(a.callers[5], THERE, TO_ALL),
        lambda a: a.update_trust(a.callers[2], NOVA, TO_ALL),
        lambda a: a.acquire_role(a.callers[3], TITAN),
        lambda a: a.stack(a.callers[2], TITAN, TO_ALL),
        lambda a: a.stack(a.callers[0], TITAN, TO_ALL, TOOL),
    ],
    "PassWiderRoles1": [lambda a: by_mallory(a, "plain", CHAT), lambda a: a.work(a.callers[0], "glue", CHAT)],
    "PassWiderRoles2": [
        lambda a: by_mallory(a, "plain", NOVA),
        lambda a: a.create_domain(a.callers[1], "third", NOVA),
        *[partial(passed_to, service) for service in admitted.WORKS],
    ],
    "PassWiderRoles3": [lambda a: by_mallory(a, "research", VISITOR), lambda a: a.work(a.callers[4], "ec2", VISITOR)],
    "WiderUsers": [
        partial(changed_user, BATCH, what)
        for what in ("create_access_key", "create_login_profile", "create_service_specific_credential")
    ],
    "Approvers": [
        *[
            partial(changed_user, APPROVE_USER, what)
            for what in ("create_access_key", "create_login_profile", "create_service_specific_credential")
        ],
        lambda a: a.update_trust(a.callers[2], APPROVE, TO_SERVICES),
        lambda a: a.assume(a.callers[0], APPROVE, "me", is_tagged=False),
        lambda a: a.work(a.callers[0], "lambda", APPROVE),
        lambda a: a.change_provider(a.callers[2], "update_saml_provider"),
        lambda a: a.change_provider(a.callers[2], "create_open_id_connect_provider"),
    ],
    "DomainsByWiderRoles": [lambda a: by_etl(a, NOVA), lambda a: by_etl(a, TITAN.replace("Titan", "More"))],
    "DomainsBySessions": [from_canvas],
}  # fmt: skip
"""Ways to wider access by the only statement of admission that closes them. Each is one call of a caller."""


def moved(left_out: str, move: Callable[[Account], object]) -> list[str]:
    """The violations after one move under the SCPs without a statement."""
    with account(left_out) as found:
        if move is ESCAPES["DomainsByWiderRoles"][1]:
            found.create_role(found.approver, TITAN.replace("Titan", "More"), TO_SERVICES)
        assert list(found.violations()) == []
        move(found)
        return list(found.violations())


@pytest.mark.long
@pytest.mark.parametrize("sid", ESCAPES)
def test_each_statement_of_admission_left_out_alone_lets_a_caller_escape(sid) -> None:
    assert list(ESCAPES) == sids("admission")
    for number, move in enumerate(ESCAPES[sid]):
        assert moved("", move) == [], number
        assert moved(sid, move) != [], number


@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize("sid", some(3, sids("models")))
def test_each_statement_about_models_left_out_alone_lets_a_principal_escape(sid) -> None:
    with account(sid) as found:
        assert next(found.violations(), "") != ""


@pytest.mark.long
@pytest.mark.volume
@pytest.mark.parametrize("sid", volume(sids("admission")[:1], sids("admission")))
def test_a_random_day_finds_the_escape_that_a_statement_closes(sid, monkeypatch) -> None:
    monkeypatch.setattr(Day, "left_out", sid)
    with pytest.raises(AssertionError):
        live(Day, 500, is_repeatable=False)


UPDATES: list[Callable[[Account], object]] = [
    lambda a: a.update_profile(a.callers[1], a.domains["plain"], "alice", NOVA),
    *[partial(updated_domain, setting) for setting in admitted.SETTINGS],
]


@pytest.mark.long
@pytest.mark.parametrize("update", UPDATES)
def test_without_a_check_of_pass_role_one_update_gives_a_wider_role(update) -> None:
    for is_checked in (True, False):
        with account(is_checked=is_checked) as found:
            update(found)
            assert bool(list(found.violations())) is not is_checked


def test_a_role_that_is_created_again_is_another_role() -> None:
    with account() as found:
        old = found.service("etl", NOVA, "lambda")
        found.delete_role(found.callers[0], NOVA)
        found.create_role(found.callers[0], NOVA, TO_SERVICES)
        assert found.entity(NOVA) is None
        found.create_role(found.approver, NOVA, TO_SERVICES)
        assert found.entity(NOVA) is not None
        assert found.call(old, "sagemaker", "list_domains") is None
        assert list(found.violations()) == []


@pytest.mark.parametrize("tool", ["cloudformation", "terraform"])
@pytest.mark.parametrize(("who", "arn", "works"), [
    (0, CANVAS, True), (0, STRICT, True), (4, CANVAS, True), (0, TITAN, False), (4, TITAN, False),
    (7, TITAN, True), (8, TITAN, True), (7, CANVAS, True),
])  # fmt: skip
def test_an_approver_deploys_wider_roles_and_everybody_ordinary_ones(tool, who, arn, works) -> None:
    arn = arn.replace("Strict", "New").replace("service-role/Canvas", "service-role/New")
    with account() as found:
        caller = found.callers[who]
        if tool == "cloudformation":
            found.stack(caller, arn, TO_SERVICES)
        else:
            found.create_role(caller, arn, TO_SERVICES)
            for change in admitted.CHANGES if works else ():
                found.change_role(caller, arn, change)
            found.update_trust(caller, arn, TO_ALL)
        role = found.entity(arn)
        assert bool(role) is works
        if role and tool == "terraform":
            assert role["AssumeRolePolicyDocument"] == TO_ALL
            found.delete_role(caller, arn)
            assert found.entity(arn) is None
        assert list(found.violations()) == []
