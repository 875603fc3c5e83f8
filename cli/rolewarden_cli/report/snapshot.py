"""The data of a report within its page: how it is written, and how it is read from the file of an earlier report.

The page has it as JSON in an element that a browser neither runs nor shows. It has no callers.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rolewarden.bindings import USER_PROFILE
from rolewarden.errors import RolewardenError

from rolewarden_cli.report.comparison import (
    AccountSeen,
    Comparison,
    ExemptionSeen,
    PersonSeen,
    Snapshot,
    compare_snapshots,
)
from rolewarden_cli.report.model import AccountReport, Report

DATA_ID, DATA_TYPE = "report-data", "application/json"
"""The ID and the type of the element with the data."""

_DATA = re.compile(rf'<script type="{DATA_TYPE}" id="{DATA_ID}">([^<]*)</script>')
"""The element in a page. No other text of a page can have its form, because the page escapes every other text."""

DATA_FORMAT = 1
"""The version of the data. It rises if a key is removed or gets another meaning."""


class UnreadableReportError(RolewardenError):
    """A file is not a report that this version can compare; the message says what to give instead."""


def snapshot_of(report: Report) -> Snapshot:
    """The data of a report."""
    has_actors = report.provenance.has_actors
    return Snapshot(
        report.at,
        report.provenance.version,
        report.provenance.digest,
        report.provenance.rules_digest,
        {name: guardrail.mode.value for name, guardrail in sorted(report.rules.guardrails.items())},
        tuple(
            ExemptionSeen(
                one.account, one.role, str(one.until), one.reason, one.ticket, one.approved_by if has_actors else ""
            )
            for one in report.rules.exemptions
        ),
        tuple(_account_of(account, with_people=report.provenance.has_people) for account in report.accounts),
        tuple(one.account for one in report.unreached),
        has_actors,
        report.provenance.has_people,
    )


def _account_of(account: AccountReport, *, with_people: bool) -> AccountSeen:
    access, reached = account.access, {}
    people = []
    for row in access.rows:
        if row.kind != USER_PROFILE or not with_people:
            continue
        roles = tuple(filter(None, (row.session, row.bedrock_role)))
        if roles not in reached:
            reached[roles] = frozenset(
                model.id for model, cell in zip(access.models, access.cells(row), strict=True) if cell.allowed
            )
        people.append(PersonSeen(row.region, row.domain_name or row.domain_id, row.user_profile, roles, reached[roles]))
    verdicts = {role: verdict.value for role, verdict in sorted(account.verdicts.items())}
    return AccountSeen(
        access.account, access.regions, tuple(model.id for model in access.models), tuple(people), verdicts
    )


def embedded(snapshot: Snapshot) -> str:
    """The data as JSON for a page: in ASCII, and without a character that could end its element."""
    text = json.dumps(_as_data(snapshot), separators=(",", ":"), sort_keys=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _as_data(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "format": DATA_FORMAT,
        "at": snapshot.at.isoformat(),
        "version": snapshot.version,
        "file_digest": snapshot.file_digest,
        "rules_digest": snapshot.rules_digest,
        "modes": dict(snapshot.modes),
        "exemptions": [vars(one) for one in snapshot.exemptions],
        "accounts": [_account_as_data(one) for one in snapshot.accounts],
        "unreached": list(snapshot.unreached),
        "names_approvers": snapshot.names_approvers,
        "names_profiles": snapshot.names_profiles,
    }


def _account_as_data(account: AccountSeen) -> dict[str, Any]:
    """An account. A person has the number of a set of models, because most people have the same set."""
    places = {model: place for place, model in enumerate(account.models)}
    sets = {models: number for number, models in enumerate(dict.fromkeys(one.models for one in account.people))}
    return {
        "account": account.account,
        "regions": list(account.regions),
        "models": list(account.models),
        "sets": [sorted(places[model] for model in models) for models in sets],
        "people": [[one.region, one.domain, one.name, list(one.roles), sets[one.models]] for one in account.people],
        "verdicts": dict(account.verdicts),
    }


class EarlierReport(NamedTuple):
    """An earlier report: the name and the SHA-256 of its file, and its data."""

    file: str
    digest: str
    snapshot: Snapshot

    def compare(self, report: Report) -> Comparison:
        """Compare a report with this one."""
        now = snapshot_of(report)
        has_people = self.snapshot.names_profiles and now.names_profiles
        changes = compare_snapshots(self.snapshot, now)
        return Comparison(self.file, self.digest, self.snapshot.at, changes, has_people)


def read_earlier(path: Path) -> EarlierReport:
    """Read the report in a file. Raises UnreadableReportError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableReportError(
            f"{path}: cannot be read: {error.strerror}: name the file of an earlier report with --since-report"
        ) from None
    earlier = snapshot_in(path.name, content.decode("utf-8", "replace"))
    return EarlierReport(path.name, hashlib.sha256(content).hexdigest(), earlier)


def snapshot_in(name: str, html: str) -> Snapshot:
    """The data of the report in a page. Raises UnreadableReportError."""
    found = _DATA.search(html)
    try:
        return _snapshot(json.loads(found[1] if found else ""))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UnreadableReportError(
            f"{name}: has no data of a report that this version can compare: name a file that `rolewarden report` of "
            "this or an earlier version has written"
        ) from None


def _snapshot(data: dict[str, Any]) -> Snapshot:
    """The snapshot of data that anybody can have written. Raises a standard error if its form is wrong."""
    if data["format"] != DATA_FORMAT:
        raise ValueError
    at = datetime.fromisoformat(data["at"])
    if at.tzinfo is None:
        raise ValueError
    return Snapshot(
        at,
        _text(data["version"]),
        _text(data["file_digest"]),
        _text(data["rules_digest"]),
        {_text(name): _text(mode) for name, mode in data["modes"].items()},
        tuple(ExemptionSeen(**{_text(key): _text(value) for key, value in one.items()}) for one in data["exemptions"]),
        tuple(map(_account, data["accounts"])),
        _texts(data["unreached"]),
        bool(data["names_approvers"]),
        bool(data["names_profiles"]),
    )


def _account(data: dict[str, Any]) -> AccountSeen:
    models = _texts(data["models"])
    sets = [frozenset(models[place] for place in places) for places in data["sets"]]
    people = tuple(
        PersonSeen(_text(region), _text(domain), _text(name), _texts(roles), sets[number])
        for region, domain, name, roles, number in data["people"]
    )
    verdicts = {_text(role): _text(verdict) for role, verdict in data["verdicts"].items()}
    return AccountSeen(_text(data["account"]), _texts(data["regions"]), models, people, verdicts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError
    return tuple(map(_text, values))
