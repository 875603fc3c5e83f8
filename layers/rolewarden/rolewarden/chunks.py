"""Lists in parts, because each call to AWS takes a limited number of items and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def chunks(
    items: list[_T],
    size: int,
    *,
    most: float = float("inf"),
    weigh: Callable[[_T], int] = len,  # type: ignore[assignment]
) -> Iterator[list[_T]]:
    """`items` in lists of at most `size` items, and at most `most` by weight.

    An item that is heavier than `most` is a list of its own.
    """
    chunk: list[_T] = []
    weight = 0
    for item in items:
        if chunk and (len(chunk) == size or weight + weigh(item) > most):
            yield chunk
            chunk, weight = [], 0
        chunk.append(item)
        weight += weigh(item)
    if chunk:
        yield chunk
