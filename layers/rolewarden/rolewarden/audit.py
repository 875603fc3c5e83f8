"""The audit: what Rolewarden has done to IAM, beside what its history says of that.

A function that is ended between a remedy and its record, or that never hears IAM's answer, has changed a role of which
the history knows nothing, and its next try finds nothing to do. CloudTrail knows: each call that changes IAM carries a
mark (`Cause.mark`), and so does the row that tells of it. What CloudTrail shows and no row tells is recorded late.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rolewarden import MEMBER_ROLES
from rolewarden.aws import SIGNATURE, Aws
from rolewarden.bindings import BindingsTable
from rolewarden.errors import Refused
from rolewarden.events import DEPLOYMENT, Cause, cause_of, mapping
from rolewarden.names import among, folded
from rolewarden.policies import is_boundary
from rolewarden.record import POLICY_RESTORED, ROLE_RELEASED, ROLE_REMEDIED, Recorder
from rolewarden.verdicts import Remedy

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
"""A row may be this much older than the call by CloudTrail's clock, and the calls of one remedy this far apart."""

ATTACHED, RELEASED, BOUNDED, UNBOUNDED = "attached", "released", "boundary", "boundary_removed"
CREATED, REPLACED = "created", "replaced"

CALLS = {
    "AttachRolePolicy": ATTACHED,
    "DetachRolePolicy": RELEASED,
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
class Call:
    """A call of Rolewarden's own to IAM: `about` is the partition of the history that has to tell of it."""

    mark: str
    at: datetime
    about: str
    role: str
    deed: Deed


@dataclass
class Auditor:
    """Audits accounts. `own_roles` are the names of the functions' roles: who else signs as they do is ignored."""

    aws: Aws
    table: BindingsTable
    recorder: Recorder
    own_roles: frozenset[str]

    def run(self, account: str, now: float) -> dict[str, Any]:
        """Audit what has settled since the last time: how many calls there were, and how many rows were written late.

        `now` is in seconds of the epoch; `behind` where there is more than one audit can do. Raises RetryLater. That
        AWS does not show CloudTrail's event history is recorded, and ends the audit.
        """
        settled = datetime.fromtimestamp(now, UTC) - SETTLED
        audited = self.table.audited(account) or settled - FIRST
        since, until = audited - OVERLAP, min(settled, audited + MOST)
        try:
            remedies: dict[tuple[str, str], list[Call]] = defaultdict(list)
            for call in self._calls(account, since, until):
                remedies[folded(call.about), call.mark].append(call)
            late = sum(
                self._record(account, calls)
                for calls in remedies.values()
                # The rest of what was just going on is seen the next time.
                if max(call.at for call in calls) <= until - SKEW
            )
        except Refused as refused:
            self.recorder.unaudited(account, refused)
            return {"refused": str(refused)}
        self.table.audit_ends(account, until)
        return {"calls": sum(map(len, remedies.values())), "late": late, "behind": until < settled}

    def _calls(self, account: str, since: datetime, until: datetime) -> Iterator[Call]:
        names = self.own_roles if self.aws.is_home(account) else MEMBER_ROLES
        for name, what in CALLS.items():
            for record in self.aws.within(account).calls_of(name, since, until):
                issuer = mapping(
                    mapping(mapping(record.get("userIdentity")).get("sessionContext")).get("sessionIssuer")
                )
                own = issuer.get("accountId") == account and among(str(issuer.get("userName", "")), names)
                signed = _SIGNED.search(str(record.get("userAgent", "")))
                if own and signed and not record.get("errorCode") and Cause.of_mark(signed[1]) != DEPLOYMENT:
                    yield _call(account, signed[1], what, record)

    def _record(self, account: str, calls: list[Call]) -> bool:
        """Record what `calls`, all of one remedy, have done and no row tells of; whether there was such a thing."""
        first = min(calls, key=lambda call: call.at)
        after = (first.at - SKEW).isoformat(timespec="milliseconds")
        rows = self.recorder.rows(first.about, after)
        told = {deed.key for row in rows if row.get("mark") == first.mark for deed in _deeds(row)}
        done = {call.deed.key: call.deed for call in calls}
        untold = sorted(deed for key, deed in done.items() if key not in told)
        if not untold:
            return False
        cause = self._cause(account, first.mark)
        kind, detail = _detail(first.role, untold)
        detail = {"account": account, **detail, "mark": first.mark, "cause": cause.as_dict()}
        return self.recorder.late(kind, detail, first.about, first.at)

    def _cause(self, account: str, mark: str) -> Cause:
        """What led to a remedy: the event's record, where IAM's home region has it, else what the mark says."""
        cause = Cause.of_mark(mark)
        record = self.aws.within(account).recorded_call(cause.event_id) if cause.event_id else None
        return cause_of(record) if record else cause


def _call(account: str, mark: str, what: str, record: Mapping[str, Any]) -> Call:
    parameters = mapping(record.get("requestParameters"))
    arn = parameters.get("permissionsBoundary") if what == BOUNDED else parameters.get("policyArn")
    policy = str(parameters.get("policyName") or arn or "").rsplit("/", 1)[-1]
    role = str(parameters.get("roleName", ""))
    about = f"{account}/{role}" if role else f"{account}/policy/{policy}"
    deed = Deed(what, "" if what == UNBOUNDED else policy)
    return Call(mark, datetime.fromisoformat(str(record["eventTime"])), about, role, deed)


def _deeds(row: Mapping[str, Any]) -> Iterator[Deed]:
    """What a row of the history tells of."""
    yield from (Deed(ATTACHED, policy) for policy in row.get("attached", ()))
    for policy in row.get("released", ()):
        yield Deed(UNBOUNDED, "") if is_boundary(policy) else Deed(RELEASED, policy)
    if row.get("remedy") == Remedy.BOUNDED:
        yield Deed(BOUNDED, str(row["boundary"]).rsplit("/", 1)[-1])
    if row.get("boundary_removed"):
        yield Deed(UNBOUNDED, "")
    if row.get("remedy") in {CREATED, REPLACED}:
        yield Deed(row["remedy"], row["policy"])


def _detail(role: str, deeds: Iterable[Deed]) -> tuple[str, dict[str, Any]]:
    """The kind of a late row, and what it tells."""
    by: dict[str, list[str]] = defaultdict(list)
    for deed in deeds:
        by[deed.what].append(deed.policy)
    if not role:
        [(what, [policy])] = by.items()
        return POLICY_RESTORED, {"policy": policy, "remedy": what}
    detail: dict[str, Any] = {
        "role": role,
        **{what: names for what, names in by.items() if what in {ATTACHED, RELEASED}},
    }
    if BOUNDED in by:
        detail |= {"boundary": by[BOUNDED][0]}
    if UNBOUNDED in by:
        detail |= {"boundary_removed": "not known"}
    if RELEASED in by:
        return ROLE_RELEASED, detail
    remedy = Remedy.BOUNDED if BOUNDED in by else Remedy.ATTACHED if ATTACHED in by else Remedy.NONE
    return ROLE_REMEDIED, {**detail, "remedy": remedy.value}
