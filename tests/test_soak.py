"""A few bad nights and malformed inputs of those that `make soak` runs by the thousand."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.soak.fuzz import fuzz
from tests.soak.machine import DONE, Night

pytestmark = pytest.mark.long


def test_after_many_faults_every_role_is_protected_no_other_is_changed_and_everything_is_reported_once(capsys):
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


def test_malformed_events_and_messages_are_dropped_and_write_nothing():
    assert fuzz(seed=1, times=300).total() == 300
