"""The local AWS in this process. It needs the extra `local`, and only commands that use it import it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rolewarden import __version__
from rolewarden.errors import RolewardenError

from rolewarden_cli import shipped

if TYPE_CHECKING:
    from rolewarden_local.scenes.stage import StagedAccount


class MissingExtraError(RolewardenError):
    """The packages of the extra `local` are not installed."""


@contextmanager
def needs_extra() -> Iterator[None]:
    """Raise MissingExtraError if a module that the block imports is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name.startswith("rolewarden"):
            raise
        raise MissingExtraError(
            f"the local AWS needs the extra `local`, and `{name}` is missing: run "
            f"`pipx install --force './rolewarden-{__version__}-py3-none-any.whl[local]'`"
        ) from None


@contextmanager
def staged_account() -> Iterator[StagedAccount]:
    """Seed an account in the state before the first sweep, for as long as the block runs. Raises MissingExtraError."""
    with needs_extra():
        from rolewarden_local.scenes import stage
    with stage.staged_account(shipped.ROOT) as staged:
        yield staged
