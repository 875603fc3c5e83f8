"""A bad night and malformed input in small: what `make soak` runs by the thousand."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.soak.fuzz import fuzz
from tests.soak.machine import DONE, Night

pytestmark = pytest.mark.long


def test_after_a_bad_night_every_role_is_guarded_nobody_else_was_touched_and_all_is_told_once(capsys):
    run_state_machine_as_test(
        Night,
        settings=settings(
            max_examples=6,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        print(f"\n{DONE}")  # noqa: T201


def test_malformed_events_and_messages_crash_nothing_are_not_asked_for_again_and_write_nothing():
    assert fuzz(seed=1, times=300).total() == 300
