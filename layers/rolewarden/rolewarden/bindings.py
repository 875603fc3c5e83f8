"""Bindings: which role works for which subject, as a table that can be lost and is found again by a sweep."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from rolewarden.aws import Aws
from rolewarden.guardrails import Subject
from rolewarden.names import folded

BY_ROLE = "by-role"
"""The index that answers which subjects a role works for. It lags behind the table, hence `fresh` below."""

DEFAULT_USER = "default-user"
SHARED_SPACES = "shared-spaces"
USER_PROFILE = "user-profile"
ROLE = "role"

EXECUTION = "execution"
BEDROCK = "bedrock"
EMR = "emr-serverless"
FORECAST = "forecast"
VIAS = (EXECUTION, BEDROCK, EMR, FORECAST)
"""How a subject's settings name a role: as the execution role, or as the one that Canvas uses for another service."""


_MEMBERS = "members"
"""The partition key of the rows that know the other accounts."""

KEPT_SECONDS = 7 * 24 * 3600
"""How long the table remembers a sweep and a finding."""

REPORTING_SECONDS = 50
"""So long somebody has to tell what he has begun to. A function that ends in between comes again after a minute at the
earliest (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html), and tells it then."""

ReportedRow = dict[str, Any]
"""A row of the table that knows what was told."""


class RoleKey(NamedTuple):
    """A role, by the account it lives in and its name, which is unique there in whatever case.

    Two keys are equal if they name the same role; `name` keeps the spelling.
    """

    account: str
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoleKey) and self.path == other.path

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def path(self) -> str:
        """Account and name in one text, the same for every spelling, as the table has it."""
        return about(self.account, self.name)

    @classmethod
    def of_arn(cls, arn: str) -> RoleKey:
        """The role with this ARN, whatever its path."""
        return cls(arn.split(":")[4], arn.rsplit("/", 1)[-1])


class Binding(NamedTuple):
    """One role of one subject.

    `kind` is default-user, shared-spaces or user-profile, or role where `also_govern` names the role itself; `via` is
    one of VIAS. `role` is None for a user profile that runs as its domain's role. `tags` are the subject's own.
    `modified` is SageMaker's LastModifiedTime of what was read, empty where it is not known or was still being changed.
    `deploys` where the subject's own settings let Canvas deploy JumpStart models by itself.
    """

    account: str
    region: str
    domain_id: str
    kind: str
    via: str
    role: RoleKey | None
    domain_name: str = ""
    user_profile: str = ""
    tags: Mapping[str, str] = MappingProxyType({})
    modified: str = ""
    deploys: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The table's partition and sort key: whose it is; where it is, and which subject's which role."""
        name = self.role.name if self.kind == ROLE and self.role else self.user_profile
        return binding_key(self.account, self.region, self.domain_id, self.kind, name, self.via)

    @property
    def label(self) -> str:
        """The subject in words, for people: `research/rosa`, `analytics default-user (bedrock)`."""
        if self.kind == ROLE:
            return "also_govern"
        name = "/".join(filter(None, (self.domain_name or self.domain_id, self.user_profile)))
        kind = "" if self.kind == USER_PROFILE else f" {self.kind}"
        return f"{name}{kind}{'' if self.via == EXECUTION else f' ({self.via})'}"

    @property
    def subject(self) -> Subject:
        """What assignments ask about."""
        return Subject(
            account=self.account,
            role=self.role.name if self.role else "",
            domain_id=self.domain_id,
            domain_name=self.domain_name,
            user_profile=self.user_profile,
            tags=self.tags,
        )

    def as_row(self) -> dict[str, Any]:
        """Plain values, for the table and for messages."""
        partition, sort = self.key
        row: dict[str, Any] = {
            "scope": partition,
            "item": sort,
            "account": self.account,
            "region": self.region,
            "domain_id": self.domain_id,
            "domain_name": self.domain_name,
            "kind": self.kind,
            "via": self.via,
            "user_profile": self.user_profile,
            "tags": dict(self.tags),
            "modified": self.modified,
        }
        # A row without the attribute is not in the index: a profile that inherits puts nothing on its domain's role.
        if self.role:
            row["role"] = self.role.path
            row["role_name"] = self.role.name
        if self.deploys:
            row["deploys"] = True
        return row

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Binding:
        """The inverse. Raises KeyError and TypeError for what is no such row."""
        texts = [row[key] for key in ("account", "region", "domain_id", "kind", "via", "domain_name", "user_profile")]
        texts += [*(row.get(key, "") for key in ("modified", "role", "role_name")), *row["tags"].values()]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a binding's attributes are texts")
        account, name = account_and_name(row.get("role", ""))
        spelled = row.get("role_name", "")
        if folded(spelled) == name:
            name = spelled
        return cls(
            account=row["account"],
            region=row["region"],
            domain_id=row["domain_id"],
            kind=row["kind"],
            via=row["via"],
            role=RoleKey(account, name) if name else None,
            domain_name=row["domain_name"],
            user_profile=row["user_profile"],
            tags=row["tags"],
            modified=row.get("modified", ""),
            deploys=row.get("deploys") is True,
        )


class ReportedKind(StrEnum):
    """What a reported finding is about; it decides which sweep can report the finding as resolved."""

    ROLE = "role"
    """A role lacks guardrails. Each sweep evaluates every role."""

    SHARED_ROLE = "shared role"
    """A user profile runs as its domain's role, so it cannot have its own guardrails. Each sweep finds it again."""

    BOUNDARY = "boundary"
    """Rolewarden cannot remove the fallback boundary of a protected role. No sweep looks for it."""

    UNREAD = "unread"
    """AWS refuses what Rolewarden needs to evaluate a subject or an account. Only a sweep that could read everything
    shows that this is over."""

    CONTESTED = "contested"
    """A caller removes again and again what Rolewarden attaches. It ends by itself."""


class ReportedFinding(NamedTuple):
    """A finding that was reported, or that somebody is about to report.

    - `account`, `name`: the role, the domain and user profile, or the part of the account that it is about.
    - `kind`: what it is about in general.
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
        """The key of the thing that it is about."""
        return about(self.account, self.name)

    @property
    def key(self) -> tuple[str, str]:
        """The partition and sort key of its row. Findings about one thing have several rows."""
        ending = f"#{self.kind.value}" if self.kind is ReportedKind.CONTESTED else "#event" if self.by_event else ""
        return _reported_scope(self.account), f"{self.about}{ending}"

    def as_row(self, until: float) -> ReportedRow:
        """The row by which it counts as reported until a time in seconds of the epoch."""
        return {
            **_row_key(self.key),
            "account": self.account,
            "name": self.name,
            "kind": self.kind.value,
            "what": self.what,
            "by_event": self.by_event,
            "expires": int(until),
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> ReportedFinding | None:
        """The inverse; None if the row's kind is not one of this version."""
        if row.get("kind") not in list(ReportedKind):
            return None
        return cls(row["account"], row["name"], ReportedKind(row["kind"]), row["what"], row["by_event"])


def about(account: str, *names: str) -> str:
    """The key of the thing that a finding or a history row is about: an account and folded names."""
    return folded("/".join((account, *names)))


def account_and_name(text: str) -> tuple[str, str]:
    """The account and the rest of a text that `about` made, or of its unfolded form."""
    account, _, name = text.partition("/")
    return account, name


def place(region: str = "", domain_id: str = "") -> str:
    """How the sort keys of everything bound in a domain begin; of roles that `also_govern` covers, with nothing."""
    return f"{region}/{domain_id}/" if domain_id else ""


def binding_key(account: str, region: str, domain_id: str, kind: str, name: str, via: str) -> tuple[str, str]:
    """The partition and sort key of a binding; `name` is a user profile's or role's, empty for other kinds."""
    return account, place(region, domain_id) + "#".join(filter(None, (kind, folded(name), via)))


def sweeps_scope(account: str) -> str:
    """The partition key of the rows that know how far the sweeps of an account are."""
    return f"sweep/{account}"


def tagged(domain_id: str, user_profile: str = "") -> str:
    """The end of a subject's ARN, in lower case: SageMaker writes the names in ARNs so."""
    kind = "user-profile" if user_profile else "domain"
    return "/".join(filter(None, (kind, domain_id, user_profile))).lower()


class BindingsTable:
    """The table, by role and by domain; it also keeps how far sweep and audit are, and which findings are told."""

    def __init__(self, aws: Aws, table: str) -> None:
        self._aws = aws
        self._table = table

    def of_role(self, role: RoleKey, fresh: Iterable[Binding] = ()) -> tuple[Binding, ...]:
        """What `role` works for.

        `fresh` is what the caller has just read from SageMaker and written here: the index may not show it yet, and
        it stands above what the index says.
        """
        found = {
            binding.key: binding
            for binding in map(Binding.of_row, self._aws.query(self._table, {"role": role.path}, index=BY_ROLE))
        }
        found.update({binding.key: binding for binding in fresh})
        return tuple(sorted((b for b in found.values() if b.role == role), key=lambda binding: binding.key))

    def of_domain(self, account: str, region: str, domain_id: str) -> tuple[Binding, ...]:
        """Everything bound in a domain."""
        return self._beginning(account, place(region, domain_id))

    def of_region(self, account: str, region: str) -> tuple[Binding, ...]:
        """Everything bound in a region, domain by domain."""
        return self._beginning(account, f"{region}/")

    def also_governed(self, account: str) -> tuple[Binding, ...]:
        """What `also_govern` has bound."""
        return self._beginning(account, f"{ROLE}#")

    def of_account(self, account: str) -> tuple[Binding, ...]:
        """Everything bound in an account."""
        return self._beginning(account, "")

    def findings(self, account: str) -> list[ReportedFinding]:
        """What was told of an account, its roles and its subjects, and counts as told."""
        found = map(ReportedFinding.of_row, self._aws.query(self._table, {"scope": _reported_scope(account)}))
        return [finding for finding in found if finding and finding.kind is not ReportedKind.CONTESTED]

    def forget_findings(self, told: Iterable[ReportedFinding]) -> None:
        """These findings are not the case any more."""
        self.write((), (finding.key for finding in told))

    def all(self) -> Iterator[Binding]:
        """Every binding there is."""
        return (Binding.of_row(row) for row in self._aws.scan(self._table) if "via" in row)

    def _beginning(self, account: str, subject: str) -> tuple[Binding, ...]:
        rows = self._aws.query(self._table, {"scope": account}, begins=("item", subject))
        return tuple(map(Binding.of_row, rows))

    def write(
        self, bindings: Iterable[Binding], gone: Iterable[tuple[str, str]] = (), *, at: float | None = None
    ) -> None:
        """Put `bindings`, take out what has one of the keys `gone`.

        `at` (seconds of the epoch) is when they were read, now where it is not given. What was read later and is there
        already stays: two who read at once leave what is true.
        """
        kept = {binding.key: binding for binding in bindings}
        self._aws.write_newer(
            self._table,
            (binding.as_row() for binding in kept.values()),
            (_row_key(key) for key in dict.fromkeys(gone) if key not in kept),
            at=time.time() if at is None else at,
        )

    def sweep_begins(self, row: tuple[str, str], now: float, rules: str) -> None:
        """Create the row that records the progress of a sweep by `rules` (a fingerprint). The row expires."""
        self._aws.put(self._table, {**_row_key(row), "expires": int(now) + KEPT_SECONDS, "rules": rules})

    def sweep_waits(self, row: tuple[str, str], chunks: set[str]) -> None:
        """These chunks of a sweep are out."""
        self._aws.update(self._table, _row_key(row), "ADD pending :chunks", {":chunks": chunks})

    def sweep_done(self, row: tuple[str, str], chunk: str) -> bool:
        """One chunk is done; whether it was the last of a sweep that has listed everything."""
        after = self._aws.update(self._table, _row_key(row), "DELETE pending :chunk", {":chunk": {chunk}})
        return bool(after.get("listed")) and not after.get("pending")

    def sweep_listed(self, row: tuple[str, str]) -> bool:
        """Everything is listed; whether no chunk is out any more."""
        after = self._aws.update(self._table, _row_key(row), "SET listed = :yes", {":yes": True})
        return not after.get("pending")

    def sweep_missed(self, row: tuple[str, str]) -> None:
        """Something could not be read: what the sweep knows is not the whole."""
        self._aws.update(self._table, _row_key(row), "SET missed = :yes", {":yes": True})

    def sweep_is_whole(self, row: tuple[str, str]) -> bool:
        """Whether everything that the sweep asked for could be read."""
        rows = self._aws.query(self._table, {"scope": row[0]})
        return any(found["item"] == row[1] and not found.get("missed") for found in rows)

    def sweep_completed(
        self, row: tuple[str, str], counts: Mapping[str, int], surplus: Mapping[str, Sequence[str]]
    ) -> None:
        """The sweep is at its end; `counts` by name are what it has seen.

        `surplus` has the first "roles" with a policy that they do not need, and the first unused "policies".
        """
        values = {":counts": dict(counts), ":surplus": {what: list(names) for what, names in surplus.items()}}
        self._aws.update(self._table, _row_key(row), "SET completed = :counts, surplus = :surplus", values)

    def sweeps(self, account: str) -> list[dict[str, Any]]:
        """The sweeps of the last days, oldest first: `subject` is when one began, `completed` its counts."""
        return self._aws.query(self._table, {"scope": sweeps_scope(account)})

    def rules_of_last_sweep(self, account: str) -> str:
        """The fingerprint of the rules by which the account was swept last; empty if it was never swept."""
        rows = self._aws.newest(self._table, {"scope": sweeps_scope(account)}, 1)
        return str(rows[0].get("rules", "")) if rows else ""

    def member_accounts(self) -> dict[str, float]:
        """The other accounts that are swept, each with when (seconds of the epoch) it was last swept to the end."""
        rows = self._aws.query(self._table, {"scope": _MEMBERS})
        return {row["item"]: float(row["swept"]) for row in rows}

    def set_member_swept(self, account: str, at: float) -> None:
        """Another account was swept to the end, or is known from now on."""
        self._aws.put(self._table, {"scope": _MEMBERS, "item": account, "swept": int(at)})

    def forget_account(self, account: str) -> None:
        """Everything that is kept of an account that is no longer swept."""
        self.write((), [binding.key for binding in self.of_account(account)])
        self._aws.write_newer(self._table, (), [{"scope": _MEMBERS, "item": account}], at=time.time())

    def audited(self, account: str) -> datetime | None:
        """Until when an account's calls have been audited; None where that is not known."""
        rows = self._aws.query(self._table, {"scope": _audit(account)["scope"]})
        return datetime.fromisoformat(rows[0]["until"]) if rows else None

    def set_audited(self, account: str, until: datetime) -> None:
        """What an account did before `until` is audited."""
        self._aws.put(self._table, {**_audit(account), "until": until.isoformat()})

    def claim_report(self, finding: ReportedFinding, now: float, *, keeps: float) -> ReportedRow | None:
        """Claim the report of `finding`. Gives the row for `mark_reported`, or None if it is reported or claimed.

        The claim ends after `REPORTING_SECONDS`. Once the row is written, the finding counts as reported for `keeps`
        seconds.
        """
        begun = self._aws.put_unless(
            self._table,
            finding.as_row(now + REPORTING_SECONDS),
            "what = :what AND expires > :now",
            {":what": finding.what, ":now": int(now)},
        )
        return finding.as_row(now + keeps) if begun else None

    def mark_reported(self, rows: Sequence[ReportedRow]) -> None:
        """Write that these findings are reported. Raises RetryLater."""
        self._aws.put_all(self._table, rows)

    def extend_report(self, finding: ReportedFinding, now: float, *, keeps: float) -> bool:
        """Whether `finding` counts as reported; it then does for `keeps` seconds (more than a minute) from now."""
        return self._aws.put_unless(
            self._table,
            finding.as_row(now + keeps),
            "attribute_not_exists(what) OR what <> :what OR expires <= :soon",
            {":what": finding.what, ":soon": int(now + REPORTING_SECONDS)},
        )


def _row_key(key: tuple[str, str]) -> dict[str, str]:
    partition, sort = key
    return {"scope": partition, "item": sort}


def _audit(account: str) -> dict[str, str]:
    return {"scope": f"audit/{account}", "item": "until"}


def _reported_scope(account: str) -> str:
    return f"reported/{account}"
