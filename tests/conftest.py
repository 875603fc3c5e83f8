"""What every test shares: the project's root and the sample events."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

TODAY = date(2027, 1, 15)
"""The tests' day: the exemption in guardrails.yaml is in force, whatever the calendar says."""


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def sample(name: str) -> dict[str, Any]:
    """The sample event events/NAME.json."""
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


@pytest.fixture(scope="session")
def aws():
    """The local AWS, in process."""
    from rolewarden_local.aws import LocalAws

    local = LocalAws.start()
    with local.connected():
        yield local


@pytest.fixture(scope="session")
def template():
    from rolewarden_local.aws import ACCOUNT_ID, REGION
    from rolewarden_local.template import Template

    return Template(ROOT / "template.yaml", region=REGION, account=ACCOUNT_ID)


@pytest.fixture
def world(aws, template):
    """A seeded account, bound and published, its roles bare."""
    from tests.world import World

    return World(aws, template)


@pytest.fixture
def world_with(aws, template, tmp_path):
    """As `world`, with another guardrails.yaml."""
    from tests.world import World

    def make(text: str) -> World:
        path = tmp_path / "guardrails.yaml"
        path.write_text(text)
        return World(aws, template, path)

    return make
