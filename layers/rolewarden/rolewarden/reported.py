"""Reported findings: rows of the bindings table because of which Rolewarden does not report a finding twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from rolewarden.bindings import row_key
from rolewarden.calls import WritesItems
from rolewarden.clock import CLOCK_SKEW
from rolewarden.names import about

KEPT_SECONDS = 7 * 24 * 3600
"""Seconds for which a finding of a sweep counts as reported."""

REPORTING_SECONDS = 50
"""Seconds for which a function's claim to report a finding lasts. If that function ends before the report, Lambda
retries after a minute at the earliest
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html), and the retry reports the finding.
"""

ReportedRow = dict[str, Any]
"""A row of the table about a finding that was reported."""


class ReportedKind(StrEnum):
    """The kind of a reported finding, which decides which sweep can report the finding as resolved."""

    ROLE = "role"
    """A role lacks guardrails. Each sweep evaluates every role."""

    OTHER_ACCOUNT = "other account"
    """A role belongs to an account that the stack does not cover. Each sweep of the central account reads whether a
    subject still needs guardrails on the role, and whether the stack covers the account by now."""

    SHARED_ROLE = "shared role"
    """A user profile uses its domain's role, so it cannot have its own guardrails. Each sweep finds it again."""

    BOUNDARY = "boundary"
    """Rolewarden cannot remove the fallback boundary of a protected role. No sweep resolves it."""

    UNREAD = "unread"
    """AWS refuses a call that Rolewarden needs for the evaluation of a subject or an account. Only a sweep that could
    read everything shows that the finding is resolved."""

    OUTSIDE = "outside"
    """Domains exist in a region that the stack does not cover. Only the reading of all regions resolves it.
    """

    PREVENTION = "prevention"
    """Service control policies are not in effect in an account. The step of a sweep that tests them resolves it."""

    EXEMPTION = "exemption"
    """AWS contradicts an exemption, or its role may have a new user. Each sweep compares every exemption with AWS
    again."""

    REPLACEMENT = "replacement"
    """A deployment confirmed another exempt role than before. It is about that deployment, so no sweep resolves it."""

    PUBLICATION = "publication"
    """PublishFunction could not write the policy of a guardrail. A sweep resolves it when the policy in IAM has the
    text of the rules."""

    FIRST_USE = "first use"
    """A role that may belong to another team got its first guardrail. It is about an event, so no sweep resolves it."""

    UNSIGNED = "unsigned call"
    """A call of a function's role is not Rolewarden's. It is about that call, so no sweep resolves it."""

    TAGS = "tags"
    """Another caller than a trusted tagger set or removed a tag. It is about an event, so no sweep resolves it."""

    DRILL = "drill"
    """Drills show that a region's events do not arrive. The step of a sweep that judges drills resolves it."""

    CANARY = "canary"
    """A caller changed the canary. It is about an event, so no sweep resolves it."""

    CONTESTED = "contested"
    """A caller repeatedly removes the policies that Rolewarden attaches. The finding ends by itself."""


class ReportedFinding(NamedTuple):
    """A finding that was reported, or that a function is about to report.

    - `account`, `name`: the role, the domain and user profile, or the part of the account that it concerns.
    - `kind`: the kind of the finding.
    - `what`: the finding in words. Another text about the same thing is another finding.
    - `by_event`: whether an event led to it. A sweep reports the same finding again.
    """

    account: str
    name: str
    kind: ReportedKind
    what: str
    by_event: bool = False

    @property
    def about(self) -> str:
        """The key of the thing that it concerns."""
        return about(self.account, self.name)

    @property
    def key(self) -> tuple[str, str]:
        """The partition and sort key of its row. Findings about one thing have several rows."""
        ending = f"#{self.kind.value}" if self.kind is ReportedKind.CONTESTED else "#event" if self.by_event else ""
        # No sweep reads the findings of an account that is not covered.
        scope = _UNCOVERED if self.kind is ReportedKind.OTHER_ACCOUNT else self.account
        return _reported_scope(scope), f"{self.about}{ending}"

    def as_row(self, until: float) -> ReportedRow:
        """The row by which it counts as reported until a time in seconds of the epoch."""
        return {
            **row_key(self.key),
            "account": self.account,
            "name": self.name,
            "kind": self.kind.value,
            "what": self.what,
            "by_event": self.by_event,
            "expires": int(until),
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> ReportedFinding | None:
        """The finding of a row, the inverse of `as_row`; None if this version writes no such row."""
        texts = [row.get(name) for name in ("account", "name", "kind", "what")]
        if not all(isinstance(text, str) for text in texts) or row["kind"] not in list(ReportedKind):
            return None
        found = cls(row["account"], row["name"], ReportedKind(row["kind"]), row["what"], row.get("by_event") is True)
        return found if found.key == (row.get("scope"), row.get("item")) else None


class ReportedFindings:
    """The reported findings of a deployed stack. Methods raise RetryLater."""

    def __init__(self, aws: WritesItems, table: str) -> None:
        self.aws = aws
        self._table = table

    def of_account(self, account: str) -> list[ReportedFinding]:
        """The reported findings about an account, its roles and its subjects, except those of the kind CONTESTED."""
        found = map(ReportedFinding.of_row, self.aws.query(self._table, {"scope": _reported_scope(account)}))
        return [finding for finding in found if finding and finding.kind is not ReportedKind.CONTESTED]

    def of_uncovered_accounts(self) -> list[ReportedFinding]:
        """The reported findings of the kind OTHER_ACCOUNT, about the roles of all accounts."""
        return self.of_account(_UNCOVERED)

    def forget(self, findings: Iterable[ReportedFinding], now: float) -> None:
        """Delete the rows of findings that are resolved. A row that was written after `now` stays."""
        keys = dict.fromkeys(finding.key for finding in findings)
        self.aws.write_newer(self._table, (), map(row_key, keys), at=now)

    def claim(
        self, finding: ReportedFinding, now: float, *, keeps: float, latest: float = KEPT_SECONDS
    ) -> ReportedRow | None:
        """Claim the report of `finding`. Gives the row for `mark`, or None if it is already reported or claimed.

        The claim ends after `REPORTING_SECONDS`. After `mark` writes the row, the finding counts as reported for
        `keeps` seconds from `now`. A row that counts for longer than `latest` seconds from `now` does not count at all.
        """
        begun = self.aws.put_unless(
            self._table,
            finding.as_row(now + REPORTING_SECONDS),
            "what = :what AND expires > :now AND expires <= :latest",
            {":what": finding.what, ":now": int(now), ":latest": int(now + latest + CLOCK_SKEW)},
        )
        return finding.as_row(now + keeps) if begun else None

    def mark(self, rows: Sequence[ReportedRow]) -> None:
        """Record that these findings are reported."""
        for row in rows:
            # The functions have no permission for BatchWriteItem on this table.
            self.aws.put(self._table, row)

    def extend(self, finding: ReportedFinding, now: float, *, keeps: float) -> bool:
        """Extend the report of `finding` to `keeps` seconds (more than a minute) from `now`.

        Gives whether the finding counts as reported. If it does not, nothing is written.
        """
        return self.aws.put_unless(
            self._table,
            finding.as_row(now + keeps),
            "attribute_not_exists(what) OR what <> :what OR expires <= :soon",
            {":what": finding.what, ":soon": int(now + REPORTING_SECONDS)},
        )


_UNCOVERED = "other accounts"


def _reported_scope(account: str) -> str:
    return f"reported/{account}"
