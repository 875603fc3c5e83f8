"""The audit: what Rolewarden has done to IAM, beside what its history says of that.

If a function ends between a remediation and its record, or never receives IAM's answer, the role is changed and the
history does not say so; the next attempt finds nothing to do. CloudTrail has the call: each call that changes IAM has a
correlation ID (`Origin.new_correlation_id`), and so has the row that records it. The audit backfills calls that no row
records.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rolewarden import MEMBER_ROLES
from rolewarden.aws import SIGNATURE
from rolewarden.calls import ReadsCalls
from rolewarden.errors import Refused
from rolewarden.events import cause_of, mapping
from rolewarden.names import among, folded
from rolewarden.origin import Cause, cause_of_correlation_id, is_of_deployment
from rolewarden.own_events import CausedEvent, PolicyRestored, RoleRemediated, SurplusDetached
from rolewarden.policies import is_boundary
from rolewarden.progress import Progress
from rolewarden.record import Recorder
from rolewarden.verdicts import CREATED, REPLACED, Remediation

SETTLED = timedelta(minutes=20)
"""After so long a call is in CloudTrail's event history, which has it within about five minutes
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html), and no function that made it
is still about to write its row."""

OVERLAP = timedelta(minutes=40)
"""So much of what was audited last is audited again: CloudTrail promises no time."""

FIRST = timedelta(hours=6)
"""How far an audit goes back where the table does not know of one."""

MOST = timedelta(hours=6)
"""No more than this is audited at a time: LookupEvents gives fifty calls a page and two pages a second."""

SKEW = timedelta(minutes=5)
"""A row may be this much older than the call by CloudTrail's clock, and the calls of one remediation this far apart."""

ATTACHED, DETACHED, BOUNDED, UNBOUNDED = "attached", "detached", "boundary", "boundary_removed"

CALLS = {
    "AttachRolePolicy": ATTACHED,
    "DetachRolePolicy": DETACHED,
    "PutRolePermissionsBoundary": BOUNDED,
    "DeleteRolePermissionsBoundary": UNBOUNDED,
    "CreatePolicy": CREATED,
    "CreatePolicyVersion": REPLACED,
}
"""The calls that leave a row in the history, and what they do."""

_SIGNED = re.compile(rf"\b{SIGNATURE}([A-Za-z0-9.-]+)")


class Deed(NamedTuple):
    """One thing that was done: one of CALLS' words, and the policy it was done with (by name, empty for UNBOUNDED)."""

    what: str
    policy: str

    @property
    def key(self) -> tuple[str, str]:
        """The same for every spelling of the policy's name."""
        return self.what, folded(self.policy)


@dataclass(frozen=True)
class RecordedCall:
    """A call of Rolewarden's own to IAM: `about` is the partition of the history that has to tell of it."""

    correlation_id: str
    at: datetime
    about: str
    role: str
    deed: Deed


@dataclass
class Auditor:
    """Audits accounts. `own_roles` are the names of the functions' roles: who else signs as they do is ignored."""

    aws: ReadsCalls
    progress: Progress
    recorder: Recorder
    own_roles: frozenset[str]

    def run(self, account: str, now: float) -> dict[str, Any]:
        """Audit what has settled since the last time: how many calls there were, and how many rows were written late.

        `now` is in seconds of the epoch; `behind` where there is more than one audit can do. Raises RetryLater. That
        AWS does not show CloudTrail's event history is recorded, and ends the audit.
        """
        settled = datetime.fromtimestamp(now, UTC) - SETTLED
        audited = self.progress.audited(account) or settled - FIRST
        since, until = audited - OVERLAP, min(settled, audited + MOST)
        try:
            remediations: dict[tuple[str, str], list[RecordedCall]] = defaultdict(list)
            for call in self._calls(account, since, until):
                remediations[folded(call.about), call.correlation_id].append(call)
            backfilled = sum(
                self._record(account, calls)
                for calls in remediations.values()
                # The rest of what was just going on is seen the next time.
                if max(call.at for call in calls) <= until - SKEW
            )
        except Refused as refused:
            self.recorder.record_failed_audit(account, refused)
            return {"refused": str(refused)}
        self.progress.set_audited(account, until)
        return {"calls": sum(map(len, remediations.values())), "backfilled": backfilled, "behind": until < settled}

    def _calls(self, account: str, since: datetime, until: datetime) -> Iterator[RecordedCall]:
        names = self.own_roles if self.aws.is_home(account) else MEMBER_ROLES
        for name, what in CALLS.items():
            for record in self.aws.within(account).calls_of(name, since, until):
                issuer = mapping(
                    mapping(mapping(record.get("userIdentity")).get("sessionContext")).get("sessionIssuer")
                )
                own = issuer.get("accountId") == account and among(str(issuer.get("userName", "")), names)
                signed = _SIGNED.search(str(record.get("userAgent", "")))
                if own and signed and not record.get("errorCode") and not is_of_deployment(signed[1]):
                    yield _call(account, signed[1], what, record)

    def _record(self, account: str, calls: list[RecordedCall]) -> bool:
        """Record those of `calls`, all of one remediation, that no row records. Gives whether there were any."""
        first = min(calls, key=lambda call: call.at)
        rows = self.recorder.rows(first.about, first.at - SKEW)
        told = {deed.key for row in rows if row.get("correlation_id") == first.correlation_id for deed in _deeds(row)}
        done = {call.deed.key: call.deed for call in calls}
        untold = sorted(deed for key, deed in done.items() if key not in told)
        if not untold:
            return False
        cause = self._cause(account, first.correlation_id)
        event = _event(account, first.role, untold, cause, first.correlation_id)
        return self.recorder.backfill(event, first.about, first.at)

    def _cause(self, account: str, correlation_id: str) -> Cause:
        """The cause of a remediation: the event's record if IAM's home region has it, otherwise what the ID says."""
        cause = cause_of_correlation_id(correlation_id)
        record = self.aws.within(account).recorded_call(cause.event_id) if cause.event_id else None
        return cause_of(record) if record else cause


def _call(account: str, correlation_id: str, what: str, record: Mapping[str, Any]) -> RecordedCall:
    parameters = mapping(record.get("requestParameters"))
    arn = parameters.get("permissionsBoundary") if what == BOUNDED else parameters.get("policyArn")
    policy = str(parameters.get("policyName") or arn or "").rsplit("/", 1)[-1]
    role = str(parameters.get("roleName", ""))
    about = f"{account}/{role}" if role else f"{account}/policy/{policy}"
    deed = Deed(what, "" if what == UNBOUNDED else policy)
    return RecordedCall(correlation_id, datetime.fromisoformat(str(record["eventTime"])), about, role, deed)


def _deeds(row: Mapping[str, Any]) -> Iterator[Deed]:
    """What a row of the history tells of."""
    yield from (Deed(ATTACHED, policy) for policy in row.get("attached", ()))
    for policy in row.get("detached", ()):
        yield Deed(UNBOUNDED, "") if is_boundary(policy) else Deed(DETACHED, policy)
    if row.get("remediation") == Remediation.BOUNDED:
        yield Deed(BOUNDED, str(row["boundary"]).rsplit("/", 1)[-1])
    if row.get("boundary_removed"):
        yield Deed(UNBOUNDED, "")
    if row.get("remediation") in {CREATED, REPLACED}:
        yield Deed(row["remediation"], row["policy"])


def _event(account: str, role: str, deeds: Iterable[Deed], cause: Cause, correlation_id: str) -> CausedEvent:
    """The backfilled event about `deeds`. An empty `role` means that they concern a policy."""
    by: dict[str, list[str]] = defaultdict(list)
    for deed in deeds:
        by[deed.what].append(deed.policy)
    if not role:
        [(what, [policy])] = by.items()
        return PolicyRestored(
            account=account,
            policy=policy,
            remediation=what,
            cause=cause,
            correlation_id=correlation_id,
            backfilled=True,
        )
    boundary_removed = "not known" if UNBOUNDED in by else ""
    if DETACHED in by:
        return SurplusDetached(
            account=account,
            role=role,
            detached=tuple(by[DETACHED]),
            boundary_removed=boundary_removed,
            cause=cause,
            correlation_id=correlation_id,
            backfilled=True,
        )
    remediation = Remediation.BOUNDED if BOUNDED in by else Remediation.ATTACHED if ATTACHED in by else Remediation.NONE
    return RoleRemediated(
        account=account,
        role=role,
        before=None,
        verdict=None,
        remediation=remediation,
        attached=tuple(by[ATTACHED]),
        boundary=by[BOUNDED][0] if BOUNDED in by else "",
        boundary_removed=boundary_removed,
        cause=cause,
        correlation_id=correlation_id,
        backfilled=True,
    )
