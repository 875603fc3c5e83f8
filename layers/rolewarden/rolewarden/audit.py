"""The audit, which compares Rolewarden's own calls to IAM with the history.

If a function ends between a remediation and its record, or never receives IAM's answer, the role is changed and the
history has no row about it. The next attempt then finds nothing to do. CloudTrail still has the call. Each call that
changes IAM has a correlation ID (`Origin.new_correlation_id`), and so has the row that records it. The audit backfills
the calls that no row records. A call of a function's role without a correlation ID is not Rolewarden's: a caller has
the credentials of the function. No rule selects the calls of most of these roles, so the audit reports it as a finding.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rolewarden import MEMBER_ROLES
from rolewarden.calls import ReadsCalls
from rolewarden.canary import is_canary, is_of_drills
from rolewarden.clock import CLOCK_SKEW
from rolewarden.errors import Refused
from rolewarden.events import cause_of, mapping
from rolewarden.history import HistoryKey
from rolewarden.names import among, folded
from rolewarden.origin import SWEEP, Cause, cause_of_correlation_id, is_of_deployment
from rolewarden.own_events import CausedEvent, GuardrailsPublished, PolicyRestored, RoleRemediated, SurplusDetached
from rolewarden.policies import is_boundary
from rolewarden.progress import Progress
from rolewarden.record import PUBLICATIONS, Recorder
from rolewarden.signature import SIGNATURE
from rolewarden.verdicts import CREATED, REPLACED, Remediation

SETTLED = timedelta(minutes=20)
"""The age from which a call is audited. By then CloudTrail's event history has the call, which takes about five minutes
(https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html), and the function that made it
has written its row or has ended."""

OVERLAP = timedelta(minutes=40)
"""The least time of the previous audit that each one covers again: CloudTrail guarantees no time of delivery."""

LATE = timedelta(minutes=5)
"""The time by which a sweep can begin late."""

FIRST = timedelta(hours=6)
"""The time that the first audit of an account covers."""

MOST = timedelta(hours=6)
"""The longest time that one audit covers, because LookupEvents gives fifty calls a page and two pages a second."""

SKEW = timedelta(minutes=5)
"""The largest difference between a row and its call by CloudTrail's clock, and between the calls of one remediation."""

ATTACHED, DETACHED, BOUNDED, UNBOUNDED = "attached", "detached", "boundary", "boundary_removed"

CALLS = {
    "AttachRolePolicy": ATTACHED,
    "DetachRolePolicy": DETACHED,
    "PutRolePermissionsBoundary": BOUNDED,
    "DeleteRolePermissionsBoundary": UNBOUNDED,
    "CreatePolicy": CREATED,
    "CreatePolicyVersion": REPLACED,
    "SetDefaultPolicyVersion": REPLACED,
}
"""The calls that must have a row in the history, each with the word for its effect."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_SIGNED = re.compile(rf"\b{SIGNATURE}([A-Za-z0-9.-]+)")


class Deed(NamedTuple):
    """The effect of one call: a word from CALLS, and the name of the policy, which is empty for UNBOUNDED."""

    what: str
    policy: str

    @property
    def key(self) -> tuple[str, str]:
        """The value that is equal for all spellings of the policy's name."""
        return self.what, folded(self.policy)


@dataclass(frozen=True)
class RecordedCall:
    """A call to IAM with the credentials of a function's role.

    - `correlation_id`: the mark of Rolewarden's calls. Empty if the call has none, so that another caller made it.
    - `about`: the key of the history partition that must record it.
    - `described`: the role, the call and its event ID, for a call without the mark.
    """

    correlation_id: str
    at: datetime
    about: str
    role: str
    deed: Deed
    described: str = ""


@dataclass
class Auditor:
    """Audits accounts.

    - `own_roles`: the names of the functions' roles. Calls of other roles are ignored.
    - `interval`: the time from one scheduled sweep to the next. Each audit covers the time of the previous one again,
      because a caller who can write to the table could claim a later audit than the last one.
    """

    aws: ReadsCalls
    progress: Progress
    recorder: Recorder
    own_roles: frozenset[str]
    interval: timedelta

    def run(self, account: str, now: float) -> dict[str, Any]:
        """Audit the calls since the previous audit that are old enough, and return the numbers of calls and backfills.

        `now` is in seconds since the epoch. `behind` in the result is true if the rest takes another audit. If AWS
        refuses access to CloudTrail's event history, record that and return the refusal. Raises RetryLater.
        """
        settled = datetime.fromtimestamp(now, UTC) - SETTLED
        audited = self.progress.audited(account, settled.timestamp()) or settled - FIRST
        since, until = audited - max(OVERLAP, self.interval + LATE), min(settled, audited + MOST)
        try:
            remediations: dict[tuple[str, str], list[RecordedCall]] = defaultdict(list)
            for call in self._calls(account, since, until):
                if call.correlation_id:
                    remediations[folded(call.about), call.correlation_id].append(call)
                else:
                    self.recorder.record_unsigned(account, call.described, SWEEP)
            backfilled = sum(
                self._record(account, calls)
                for calls in remediations.values()
                # If the latest call is that recent, other calls of the same remediation may follow: the next audit
                # covers them together.
                if max(call.at for call in calls) <= until - SKEW
            )
        except Refused as refused:
            self.recorder.record_failed_audit(account, refused)
            return {"refused": str(refused)}
        self.progress.set_audited(account, until)
        return {"calls": sum(map(len, remediations.values())), "backfilled": backfilled, "behind": until < settled}

    def retrusted(self, account: str, roles: Collection[str], since: float, now: float) -> dict[str, float]:
        """Those of `roles` whose trust policy a caller changed since `since`, each with the time of the last change.

        The times are in seconds of the epoch. Empty if AWS refuses access to CloudTrail's event history, which `run`
        reports. Raises RetryLater.
        """
        spelled, found = {folded(role): role for role in roles}, dict[str, float]()
        try:
            # CloudTrail records whole seconds.
            begin, end = datetime.fromtimestamp(int(since), UTC), datetime.fromtimestamp(now, UTC)
            for record in self.aws.within(account).calls_of("UpdateAssumeRolePolicy", begin, end):
                role = spelled.get(folded(str(mapping(record.get("requestParameters")).get("roleName", ""))))
                at = datetime.fromisoformat(str(record["eventTime"])).timestamp()
                if role and not record.get("errorCode") and at >= int(since):
                    found[role] = max(at, found.get(role, at))
        except Refused:
            return {}
        return found

    def _calls(self, account: str, since: datetime, until: datetime) -> Iterator[RecordedCall]:
        names = self.own_roles if self.aws.is_home(account) else MEMBER_ROLES
        for name, what in CALLS.items():
            for record in self.aws.within(account).calls_of(name, since, until):
                issuer = mapping(
                    mapping(mapping(record.get("userIdentity")).get("sessionContext")).get("sessionIssuer")
                )
                own = issuer.get("accountId") == account and among(str(issuer.get("userName", "")), names)
                signed = _SIGNED.search(str(record.get("userAgent", "")))
                if own and not record.get("errorCode"):
                    call = _call(account, signed[1] if signed else "", what, record)
                    if not signed:
                        user = f"{issuer.get('userName')}, {record.get('eventID')}"
                        about = call.role or call.deed.policy
                        call = replace(
                            call, described=f"{name} by {user}: {call.deed.what} {call.deed.policy} on {about}"
                        )
                    # Drills are no remediations. The history has rows of other kinds about them.
                    if not (is_canary(call.role) and is_of_drills(call.deed.policy)):
                        yield call

    def _record(self, account: str, calls: list[RecordedCall]) -> bool:
        """Record the calls that have no row, and return whether that wrote one. All calls belong to one remediation."""
        first = min(calls, key=lambda call: call.at)
        rows = self.recorder.rows(first.about, first.at - SKEW)
        if is_of_deployment(first.correlation_id):
            # A deployment has one row for all the policies that it wrote.
            rows += self.recorder.rows(f"{account}/{PUBLICATIONS}", first.at - SKEW)
        told: dict[tuple[str, str], datetime] = {}
        for row in rows:
            if row.get("correlation_id") == first.correlation_id:
                until = _counts_until(row)
                told.update((deed.key, max(until, told.get(deed.key, until))) for deed in _deeds(row))
        # A function writes a row after its calls, so a later call with the same correlation ID is another caller's.
        done = {call.deed.key: call.deed for call in calls if call.at > told.get(call.deed.key, _NEVER)}
        untold = sorted(done.values())
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
    """Yield the effects that a row of the history records."""
    yield from (Deed(ATTACHED, policy) for policy in row.get("attached", ()))
    for policy in row.get("detached", ()):
        yield Deed(UNBOUNDED, "") if is_boundary(policy) else Deed(DETACHED, policy)
    if row.get("remediation") == Remediation.BOUNDED:
        yield Deed(BOUNDED, str(row["boundary"]).rsplit("/", 1)[-1])
    if row.get("boundary_removed"):
        yield Deed(UNBOUNDED, "")
    if row.get("remediation") in {CREATED, REPLACED}:
        yield Deed(row["remediation"], row["policy"])
    if row.get("kind") == GuardrailsPublished.detail_type:
        # A deployment can create a policy, and replace or restore it in a later step.
        yield from (Deed(what, policy) for policy in mapping(row.get("policies")) for what in (CREATED, REPLACED))


def _counts_until(row: Mapping[str, Any]) -> datetime:
    """The time until which a row of the history counts for calls; _NEVER if the row has another form.

    A function writes a row after the calls. A backfilled row has the time of the first of them.
    """
    later = SKEW if row.get("backfilled") else timedelta(seconds=CLOCK_SKEW)
    try:
        return HistoryKey.of(str(row.get("at"))).time.astimezone(UTC) + later
    except (ValueError, OverflowError):
        return _NEVER


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
