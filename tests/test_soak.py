"""A bad night in small: what `make soak` runs by the thousand."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.soak.machine import Night


def test_after_a_bad_night_every_role_is_guarded_nobody_else_was_touched_and_all_is_told():
    run_state_machine_as_test(
        Night,
        settings=settings(
            max_examples=6,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
