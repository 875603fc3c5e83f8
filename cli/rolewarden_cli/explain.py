"""`rolewarden explain ROLE MODEL`: one decision in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden_cli.access import Statement


@dataclass(frozen=True)
class ExplainedRoute:
    """One way to the model, whether it is open, and the statements that say so."""

    route: str
    allowed: bool
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Reason:
    """A statement that decided, with all that is known about it.

    `document` is the statement as IAM has it. `guardrail` is empty where the policy is none of Rolewarden's.
    `assignments` tell in words which assignments of guardrails.yaml ask for it on this role. `attached_at`, `caused_by`
    and `actor` are of the newest row of the history that tells of its attachment; empty where none does.
    """

    statement: Statement
    policy_arn: str
    document: Mapping[str, Any]
    guardrail: str
    assignments: tuple[str, ...]
    attached_at: str
    caused_by: str
    actor: str


@dataclass(frozen=True)
class Explanation:
    """Why a role may or may not use a model."""

    account: str
    role: str
    model: str
    allowed: bool
    subjects: tuple[str, ...]
    verdict: str
    routes: tuple[ExplainedRoute, ...]
    reasons: tuple[Reason, ...]
