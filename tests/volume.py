"""The amount of work of a test: little in `make test`, much in `make soak`."""

import os
from typing import TypeVar

T = TypeVar("T")


def volume(few: T, many: T) -> T:
    """`many` in `make soak`, otherwise `few`.

    A test that calls it is marked `volume`, because `make soak` runs only the tests with that mark.
    """
    return many if os.environ.get("ROLEWARDEN_SOAK") else few
