"""Failures of AWS on demand: errors, lost answers, batches that succeed in part, and the end of the caller.

MiniStack and moto answer every call. botocore's Stubber can fail calls, but then no call takes effect, and it covers
only one client of one process.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from xml.sax.saxutils import escape

from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from rolewarden_local.emulated._ministack import cfn_helpers, ec2, iam, sns

Answer = tuple[int, dict[str, str], Any]
Do = Callable[[bytes], Awaitable[Answer]]
"""Carry out a call with this body."""


class Killed(BaseException):
    """The caller has ended, as when Lambda ends a function that has run out of time or memory.

    This class does not derive from `Exception`, so that error handlers do not catch it.
    """


class Loss(StrEnum):
    """The reason why a caller gets no answer."""

    RESET = "reset"
    """The connection is closed: botocore raises ConnectionClosedError."""

    TIMEOUT = "timeout"
    """The answer does not come in time: botocore raises ReadTimeoutError, immediately and not after the time."""

    KILLED = "killed"
    """The caller has ended: see `Killed`."""


@dataclass(frozen=True)
class AnsweredCall:
    """The outcome of a call: its effect in AWS (None if it never arrived), and the answer to its caller."""

    seen: Answer | None
    told: Answer


Befall = Callable[[str, bytes, Do], Awaitable[AnsweredCall]]
"""The behavior of a fault: a function of the call's service, its body, and the function that carries it out."""


@dataclass
class Fault:
    """A fault for calls of `operation`. It skips the first `spared` calls, then affects at most `left` calls."""

    operation: str
    befall: Befall
    left: int
    spared: int = 0
    lethal: bool = False


@dataclass
class Faults:
    """The faults in force."""

    _in_force: list[Fault] = field(default_factory=list)
    _dead: bool = False

    def add(self, fault: Fault) -> None:
        """Add a fault after the existing ones."""
        self._in_force.append(fault)

    def remove(self, fault: Fault) -> None:
        """Remove a fault. If it ended a caller, calls work again."""
        self._in_force = [kept for kept in self._in_force if kept is not fault]
        self._dead = self._dead and not fault.lethal

    def clear(self) -> None:
        """Remove every fault."""
        self._in_force.clear()
        self._dead = False

    async def call(self, operation: str, service: str, body: bytes, do: Do) -> AnsweredCall:
        """Carry out a call of `operation`, or apply the fault that is due."""
        if self._dead:
            return AnsweredCall(None, lost(Loss.KILLED))
        if fault := self._due(operation):
            self._dead = fault.lethal
            return await fault.befall(service, body, do)
        answer = await do(body)
        return AnsweredCall(answer, answer)

    def _due(self, operation: str) -> Fault | None:
        for fault in self._in_force:
            if fault.operation == operation and fault.spared:
                fault.spared -= 1
            elif fault.operation == operation and fault.left:
                fault.left -= 1
                return fault
        return None


def error(code: str, message: str, status: int) -> Befall:
    """A fault that rejects the call."""

    async def befall(service: str, _body: bytes, _do: Do) -> AnsweredCall:
        answer = refusal(service, code, message, status)
        return AnsweredCall(answer, answer)

    return befall


def refusal(service: str, code: str, message: str, status: int) -> Answer:
    """An error in the service's format."""
    if service in {"iam", "sts"}:
        answer: Answer = iam._error(status, code, escape(message), ns=service)
        return answer
    if service == "cloudformation":
        told: Answer = cfn_helpers._error(code, escape(message), status)
        return told
    if service == "ec2":
        of_ec2: Answer = ec2._error(code, escape(message), status)
        return of_ec2
    if service == "sns":
        of_sns: Answer = sns._error(code, message, status)
        return of_sns
    content = json.dumps({"__type": code, "message": message}).encode()
    return status, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}, content


def loss(how: Loss, *, takes_effect: bool) -> Befall:
    """A fault that leaves the caller without an answer. The call takes effect, or never arrives."""

    async def befall(_service: str, body: bytes, do: Do) -> AnsweredCall:
        return AnsweredCall(await do(body) if takes_effect else None, lost(how))

    return befall


_LOST: Final = "x-local-aws-lost"


def lost(how: Loss) -> Answer:
    """A placeholder for no answer. `raise_if_lost` turns it into an error. A client over HTTP receives status 503."""
    return 503, {"Content-Type": "text/plain", _LOST: how}, b""


def raise_if_lost(headers: Mapping[str, str], url: str) -> None:
    """Raise the caller's error if this answer is such a placeholder."""
    how = headers.get(_LOST)
    if how == Loss.RESET:
        raise ConnectionClosedError(endpoint_url=url)
    if how == Loss.TIMEOUT:
        raise ReadTimeoutError(endpoint_url=url)
    if how == Loss.KILLED:
        raise Killed(url)


def partly(operation: str, entries: int, code: str) -> Befall:
    """Make a fault in which the last `entries` of a batch fail and the others succeed.

    Raises:
        ValueError: `operation` does not have batches.
    """
    if operation not in _BATCHES:
        raise ValueError(f"{operation} takes no batch; those that do: {', '.join(_BATCHES)}")
    split, join = _BATCHES[operation]

    async def befall(_service: str, body: bytes, do: Do) -> AnsweredCall:
        request = json.loads(body)
        done, failed = split(request, entries)
        status, headers, content = await do(json.dumps(done).encode()) if _asks(done) else _NOTHING_DONE
        if status < 300:
            content = json.dumps(join(json.loads(content), failed, code)).encode()
            headers = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONTENT}
        return AnsweredCall((status, headers, content), (status, headers, content))

    return befall


_NOTHING_DONE: Final[Answer] = (200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}")
_OF_THE_CONTENT: Final = frozenset({"content-length", "x-amz-crc32"})
_WORDS: Final = "fails on demand"


def _asks(request: Mapping[str, Any]) -> bool:
    return bool(request.get("Entries") or request.get("RequestItems"))


def _split_entries(request: dict[str, Any], entries: int) -> tuple[dict[str, Any], list[Any]]:
    all_of_them = request["Entries"]
    kept = max(0, len(all_of_them) - entries)
    return {**request, "Entries": all_of_them[:kept]}, all_of_them[kept:]


def _join_events(answer: dict[str, Any], failed: Iterable[Any], code: str) -> dict[str, Any]:
    told = [{"ErrorCode": code, "ErrorMessage": _WORDS} for _ in failed]
    failures = answer.get("FailedEntryCount", 0) + len(told)
    return {**answer, "FailedEntryCount": failures, "Entries": answer.get("Entries", []) + told}


def _join_messages(answer: dict[str, Any], failed: Iterable[Any], code: str) -> dict[str, Any]:
    told = [{"Id": entry["Id"], "SenderFault": False, "Code": code, "Message": _WORDS} for entry in failed]
    return {"Successful": [], **answer, "Failed": answer.get("Failed", []) + told}


def _split_items(request: dict[str, Any], entries: int) -> tuple[dict[str, Any], list[Any]]:
    done = copy.deepcopy(request)
    failed: list[Any] = []
    for table in reversed(done["RequestItems"]):
        items = done["RequestItems"][table]
        while items and len(failed) < entries:
            failed.insert(0, (table, items.pop()))
    done["RequestItems"] = {table: items for table, items in done["RequestItems"].items() if items}
    return done, failed


def _join_items(answer: dict[str, Any], failed: Iterable[Any], _code: str) -> dict[str, Any]:
    left = copy.deepcopy(answer.get("UnprocessedItems", {}))
    for table, item in failed:
        left.setdefault(table, []).append(item)
    return {**answer, "UnprocessedItems": left}


_Split = Callable[[dict[str, Any], int], tuple[dict[str, Any], list[Any]]]
_Join = Callable[[dict[str, Any], Iterable[Any], str], dict[str, Any]]
_BATCHES: Final[Mapping[str, tuple[_Split, _Join]]] = {
    "PutEvents": (_split_entries, _join_events),
    "SendMessageBatch": (_split_entries, _join_messages),
    "BatchWriteItem": (_split_items, _join_items),
}
