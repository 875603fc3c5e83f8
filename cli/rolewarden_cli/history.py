"""`rolewarden history` and `rolewarden status`: what the deployed stack has recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A row of the history: a remedy or a finding.

    `about` names the role, policy or subject without its account; `kind` is the detail type of the event that told of
    it (`rolewarden.record`). `row` is all of it.
    """

    at: datetime
    kind: str
    account: str
    about: str
    verdict: str
    remedy: str
    policies: tuple[str, ...]
    reason: str
    message: str
    cure: str
    event: str
    actor: str
    source_address: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class SweepSeen:
    """A sweep that the table remembers; `completed` is empty while it runs, and where it did not come to its end."""

    began: datetime
    completed: Mapping[str, int]
    missed: bool


@dataclass(frozen=True)
class Status:
    """How the deployed stack is doing.

    `last_sweep` is the newest that was completed, `running` one that began after it. `governed` roles and those that
    were `lacking` something or `exempt` are that sweep's. `contested` and `unenforceable` are the newest findings of
    roles and subjects that nothing newer has settled.
    """

    account: str
    region: str
    at: datetime
    last_sweep: SweepSeen | None
    running: SweepSeen | None
    governed: int
    lacking: int
    exempt: int
    contested: tuple[Entry, ...]
    unenforceable: tuple[Entry, ...]
    remedies_last_day: int
