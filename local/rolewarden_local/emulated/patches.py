"""Patches of libraries: every replaced attribute of MiniStack, moto or botocore, with the reason.

MiniStack and moto offer no other way to change the behavior of their functions. MiniStack's tables of handlers are an
interface, so the modules of this package add their handlers to these tables directly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

PATCHED: Final[dict[str, str]] = {}
"""The reason for each attribute that this process has replaced, by the attribute's full name."""


class Patch(NamedTuple):
    """An attribute `name` of a module or class `owner`, its new `value`, and the reason to replace it.

    With `may_be_new`, the library does not need to have the attribute.
    """

    owner: Any
    name: str
    value: Any
    why: str
    may_be_new: bool = False

    def install(self) -> None:
        """Replace the attribute for the rest of the process. Raises AttributeError if the library no longer has it."""
        if not self.may_be_new:
            getattr(self.owner, self.name)
        owner = self.owner.__name__
        module = getattr(self.owner, "__module__", None)
        PATCHED[".".join(filter(None, (module, owner, self.name)))] = self.why
        setattr(self.owner, self.name, self.value)


@contextmanager
def patched(*patches: Patch) -> Iterator[None]:
    """Replace attributes while the block runs."""
    with ExitStack() as undo:
        for patch in patches:
            undo.callback(setattr, patch.owner, patch.name, getattr(patch.owner, patch.name))
            patch.install()
        yield


@contextmanager
def environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
