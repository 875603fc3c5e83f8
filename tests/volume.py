"""The amount of work of a test: little in `make test`, much in `make soak`."""

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def volume(few: T, many: T) -> T:
    """`many` in `make soak`, otherwise `few`.

    A test that calls it is marked `volume`, because `make soak` runs only the tests with that mark.
    """
    return many if os.environ.get("ROLEWARDEN_SOAK") else few


def some(few: int, variants: Iterable[T]) -> list[T]:
    """All variants in `make soak`, otherwise `few` of them at even distances, with the first and the last one."""
    every = list(variants)
    return volume([every[round(place * (len(every) - 1) / (few - 1))] for place in range(few)], every)
