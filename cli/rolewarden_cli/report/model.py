"""What the report shows, as plain frozen values; every figure on the page is counted from these and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden.verdicts import Verdict


IN_FORCE = "in force"


class Decision(StrEnum):
    """What IAM says of a role and a model."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_ALLOWED = "not allowed"
    UNKNOWN = "not known"


class Cell(NamedTuple):
    """One decision; `by` is the policy statement that made it, empty where none did."""

    decision: Decision
    by: str = ""


@dataclass(frozen=True)
class Model:
    """A column: a model's id, and its family: bedrock or jumpstart."""

    id: str
    family: str


@dataclass(frozen=True)
class Row:
    """A subject and one role of it: `subject` in words, as `rosa` or `default-user (bedrock)`."""

    domain: str
    subject: str
    role: str
    verdict: Verdict


@dataclass(frozen=True)
class Matrix:
    """Who reaches what. `cells` has a role's decisions in the order of `models`; a role is judged once."""

    models: tuple[Model, ...] = ()
    rows: tuple[Row, ...] = ()
    cells: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)

    def of(self, role: str) -> tuple[Cell, ...]:
        """The decisions for a role; not known where it was not judged."""
        return self.cells.get(role) or (Cell(Decision.UNKNOWN),) * len(self.models)


@dataclass(frozen=True)
class Finding:
    """Something that a person has to see to: what is wrong with whom, and the cure."""

    about: str
    verdict: Verdict
    reason: str
    cure: str
    message: str = ""
    missing: tuple[str, ...] = ()
    since: datetime | None = None
    actor: str = ""


@dataclass(frozen=True)
class Happening:
    """A row of the history: `kind` is the event's detail type, `about` a role or policy, `what` was done."""

    at: datetime
    kind: str
    about: str
    what: str
    event_name: str = ""
    actor: str = ""


@dataclass(frozen=True)
class PolicyState:
    """A guardrail's policy: its document, whether IAM has it so, and how many roles carry it."""

    name: str
    state: str
    carried_by: int
    document: Mapping[str, Any]

    @property
    def in_force(self) -> bool:
        """Whether IAM has it as guardrails.yaml says."""
        return self.state == IN_FORCE


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from. `digest` is SHA-256 over guardrails.yaml as it was read."""

    account: str
    region: str
    generated: datetime
    caller: str
    version: str
    stack: str
    guardrails_file: str
    digest: str
    models_from: str
    judged_by: str
    history_since: datetime | None = None
    last_sweep: datetime | None = None


@dataclass(frozen=True)
class Report:
    """All of it. `roles` has the verdict on each role that was looked at."""

    provenance: Provenance
    roles: Mapping[str, Verdict] = field(default_factory=dict)
    matrix: Matrix = Matrix()
    findings: tuple[Finding, ...] = ()
    happenings: tuple[Happening, ...] = ()
    policies: tuple[PolicyState, ...] = ()
