"""Entries of the history without the people behind them: for a reader, and for good.

A person appears as the caller of a call, as the user or source identity of a session, by an address and a tool, and in
the text of a message. The ID of the event stays, because the audit compares it with CloudTrail.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rolewarden.history import HistoryKey

from rolewarden_cli.connect import Connection
from rolewarden_cli.history import Entry

LEFT_OUT = "(left out)"

_PRINCIPAL = re.compile(
    r"arn:[a-z-]+:(?:iam|sts)::[0-9]*:(?:(?:role|user|assumed-role|federated-user)/[\w+=,.@/-]+|root)"
)
_WORD = re.compile(r"[\w@-]+(?:\.[\w@-]+)*")
_OF_PERSON = ("actor", "person", "source_address", "user_agent")
_TEXTS = ("message", "was", "finding")
"""The attributes of a row whose text can name a caller."""

SETTLED = timedelta(days=2)
"""The age from which a row can be changed: until then, AlertFunction and SecurityHubFunction compare it with its event,
and would report that event as forged."""


def without_principals(text: str, known: Iterable[str] = ()) -> str:
    """A text without the ARNs of roles, users and sessions, and without the `known` names."""
    text = _PRINCIPAL.sub(LEFT_OUT, text)
    for name in sorted(filter(None, known), key=len, reverse=True):
        text = re.sub(rf"(?<![\w@.-]){re.escape(name)}(?![\w@-])", LEFT_OUT, text)
    return text


def without_names(text: str, names: Collection[str]) -> str:
    """A text without these names of user profiles. A longer word that contains a name stays."""
    return _WORD.sub(lambda word: LEFT_OUT if word[0] in names else word[0], text)


def without_actors(entry: Entry) -> Entry:
    """The entry without its caller, and without the callers of a contest."""
    row = _without(entry.row)
    message = str(row.get("message") or row.get("summary", ""))
    return replace(entry, actor="", person="", source_address="", message=message, row=row)


def _without(row: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The row without the caller of this name, or without all callers if it is empty."""
    callers = [caller for caller in _callers(row) if not name or name in _names(caller)]
    found = {**row, "cause": _anonymous(row.get("cause"), callers)}
    if "actors" in row:
        found["actors"] = [_anonymous(caller, callers) for caller in row["actors"]]
    known = {text for caller in callers for text in _names(caller)}
    known |= {str(caller[key]) for caller in callers for key in _OF_PERSON if caller.get(key)}
    return found | {key: without_principals(str(row[key]), known) for key in _TEXTS if row.get(key)}


def _callers(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [caller for caller in (row.get("cause"), *(row.get("actors") or ())) if isinstance(caller, Mapping)]


def _anonymous(caller: Any, erased: Sequence[Any]) -> Any:
    if caller not in erased:
        return caller
    return {key: value for key, value in caller.items() if key not in _OF_PERSON}


def _names(caller: Mapping[str, Any]) -> set[str]:
    """The names of a caller: the ARN or ID, the person, and the name of the session."""
    actor, person = str(caller.get("actor", "")), str(caller.get("person", ""))
    session = actor.rpartition("/")[2] if ":assumed-role/" in actor and actor.count("/") > 1 else ""
    return {actor, person, session} - {""}


def find_person(connection: Connection, name: str, now: datetime) -> tuple[list[dict[str, Any]], int]:
    """The settled rows that name a person, and the number of rows that are too new.

    `name` is the whole ARN of a caller, the name of a session, or a user or source identity. Raises NoConnectionError
    if no stack is deployed, and RetryLater.
    """
    found = connection.aws.scan(connection.recorded().history)
    rows = [row for row in found if any(name in _names(caller) for caller in _callers(row))]
    settled = [row for row in rows if HistoryKey.of(row["at"]).time < now - SETTLED]
    return settled, len(rows) - len(settled)


def erase_person(connection: Connection, name: str, rows: Iterable[Mapping[str, Any]], now: datetime) -> int:
    """Erase a person from these rows, and give their number. Each row gets the day. Raises Refused and RetryLater."""
    erased = [{**_without(row, name), "erased": now.date().isoformat()} for row in rows]
    if erased:
        connection.writer.put_all(connection.recorded().history, erased)
    return len(erased)
