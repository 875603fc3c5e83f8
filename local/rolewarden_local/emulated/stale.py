"""Stale reads of IAM: answers from snapshots of its stores, with a virtual clock.

MiniStack and moto are strongly consistent. IAM is eventually consistent:
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html (changes that are not always immediately visible).

The test chooses the age of a read. Writes act on the current state.
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

from rolewarden_local.emulated._ministack import iam

IamHandler = Callable[[Any], tuple[int, dict[str, str], bytes]]
Snapshot = tuple[dict[Any, Any], ...]

READS: Final = (
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "ListAttachedRolePolicies",
    "ListEntitiesForPolicy",
    "ListPolicies",
    "ListPolicyVersions",
    "ListRoles",
)
_READING: Final = ("Get", "List", "Simulate")
_STORES: Final = (iam._roles, iam._users, iam._groups, iam._policies, iam._aws_managed_attachment_counts)


class Past:
    """Past states of IAM, up to `within` seconds of `clock` old. `age` gives the age of an operation's read."""

    def __init__(self, within: float, clock: Callable[[], float], age: Callable[[str], float]) -> None:
        self._within, self._clock, self._age = within, clock, age
        self._times, self._snapshots = [float("-inf")], [_snapshot(())]

    def keep(self) -> None:
        """Save the current state of IAM, and delete states that are too old for any read."""
        now = self._clock()
        self._times.append(now)
        self._snapshots.append(_snapshot(self._snapshots[-1]))
        unseen = self._newest(now - self._within)
        del self._times[:unseen], self._snapshots[:unseen]

    @contextlib.contextmanager
    def shown(self, operation: str) -> Iterator[None]:
        """Replace IAM's state with the state that a read of this operation returns, while the block runs."""
        age = min(max(self._age(operation), 0.0), self._within)
        present = tuple(store._data for store in _STORES)
        _put(self._snapshots[self._newest(self._clock() - age)])
        try:
            yield
        finally:
            _put(present)

    def _newest(self, until: float) -> int:
        return max(0, bisect.bisect_right(self._times, until) - 1)


_past: Past | None = None


def install_stale() -> None:
    """Make MiniStack's handlers answer from past states. Call this after every function that replaces a handler."""
    for operation, handler in iam._IAM_HANDLERS.items():
        if operation in READS:
            iam._IAM_HANDLERS[operation] = _shown(operation, handler)
        elif not operation.startswith(_READING):
            iam._IAM_HANDLERS[operation] = _kept(handler)


@contextlib.contextmanager
def seen(past: Callable[[], Past]) -> Iterator[None]:
    """Answer reads from past states, the oldest from the start of the block. See `LocalAws.stale`."""
    global _past  # noqa: PLW0603 - MiniStack's stores are globals too
    before, _past = _past, past()
    try:
        yield
    finally:
        _past = before


def _shown(operation: str, handler: IamHandler) -> IamHandler:
    @functools.wraps(handler)
    def read(params: Any) -> Any:
        if _past is None:
            return handler(params)
        with _past.shown(operation):
            return handler(params)

    return read


def _kept(handler: IamHandler) -> IamHandler:
    @functools.wraps(handler)
    def write(params: Any) -> Any:
        answer = handler(params)
        if _past is not None:
            _past.keep()
        return answer

    return write


def _snapshot(last: Snapshot) -> Snapshot:
    """A copy of the stores. Unchanged parts are shared with `last`."""
    copies = last or tuple({} for _ in _STORES)
    return tuple(_copy(store._data, copied) for store, copied in zip(_STORES, copies, strict=True))


def _copy(store: dict[Any, Any], last: dict[Any, Any]) -> dict[Any, Any]:
    return {
        key: last[key] if key in last and last[key] == entity else copy.deepcopy(entity)
        for key, entity in store.items()
    }


def _put(snapshot: Snapshot) -> None:
    for store, data in zip(_STORES, snapshot, strict=True):
        store._data = data
