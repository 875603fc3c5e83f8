"""`rolewarden sweep` requests a sweep from the deployed stack, and prints one line."""

import pytest

from tests.commands import rolewarden
from tests.stacks import deploy


@pytest.fixture
def world(world, template, monkeypatch):
    deploy(template, monkeypatch)
    return world


def test_a_sweep_is_requested_on_the_bus_of_the_sweep_function(world, template):
    listening = [rule.function for rule in template.rules() if "Sweep Requested" in rule.pattern.get("detail-type", ())]
    assert listening == ["SweepFunction"]
    heard = world.listening({"detail-type": ["Sweep Requested"]})
    result = rolewarden("sweep")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert result.stdout.startswith("requested a sweep in us-east-1")
    assert [event["detail-type"] for event in heard()] == ["Sweep Requested"]


def test_a_request_that_aws_rejects_is_an_error_with_its_reason(world):
    with world.aws.failing("PutEvents", "AccessDeniedException", "not allowed to PutEvents"):
        result = rolewarden("sweep")
    assert result.exit_code == 1
    assert "not allowed to PutEvents" in result.stderr


def test_sweep_without_a_stack_is_an_error(aws):
    aws.reset()
    result = rolewarden("sweep")
    assert result.exit_code == 1
    assert "stack `rolewarden` does not exist in us-east-1" in result.stderr
