"""The messages of the sweep queue. Each names a sweep and its next step, and may name user profiles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rolewarden.events import ACCOUNT, DOMAIN_ID, PROFILE_NAME, mapping, matched

LIST, DESCRIBE, COMPARE, AUDIT, REGIONS = "list", "describe", "compare", "audit", "regions"
"""The steps after BEGIN."""

CHUNK = 100
"""The greatest number of user profiles in one message, and the number that the list step can describe itself."""


SWEEP_BEGAN = re.compile(r"[0-9]{1,12}\.[0-9]{3}", re.ASCII)
"""The form of the start of a sweep, which is the sort key of its row."""


def sweeps_scope(account: str) -> str:
    """The partition key of the rows that record the progress of an account's sweeps."""
    return f"sweep/{account}"


@dataclass(frozen=True)
class Sweep:
    """One sweep of an account. `began`, in seconds of the epoch, identifies it."""

    account: str
    began: float

    @property
    def row(self) -> tuple[str, str]:
        """The partition and sort key of the row that records its progress."""
        return sweeps_scope(self.account), f"{self.began:.3f}"

    def message(self, step: str, **more: Any) -> dict[str, Any]:
        """A message that continues this sweep with `step`; `more` are further fields."""
        return {"account": self.account, "began": f"{self.began:.3f}", "step": step, **more}

    @classmethod
    def of(cls, body: Any) -> Sweep | None:
        """The sweep that a message continues; None if `body` is not such a message."""
        fields = mapping(body)
        account, began = matched(ACCOUNT, fields.get("account")), matched(SWEEP_BEGAN, fields.get("began"))
        return cls(account, float(began)) if account and began else None


def chunk_of(body: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """The ID of the domain, and the names of the user profiles, that a message names; None if it is not valid."""
    domain_id, profiles = matched(DOMAIN_ID, body.get("domain")), body.get("profiles")
    if not domain_id or not isinstance(profiles, list) or not 1 <= len(profiles) <= CHUNK:
        return None
    return (domain_id, profiles) if all(matched(PROFILE_NAME, name) for name in profiles) else None


def chunk_id(domain_id: str, profiles: Iterable[str]) -> str:
    """The ID of the chunk that consists of these user profiles of a domain."""
    return f"{domain_id}/{next(iter(profiles))}"
