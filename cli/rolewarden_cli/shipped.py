"""The files of the project that commands read: template, functions, rules and sample events.

A checkout has them in its tree. A wheel has the same tree in the folder `project` of this package.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from rolewarden.errors import RolewardenError

from rolewarden_cli.notes import note

_PACKAGED: Final = Path(str(files("rolewarden_cli"))) / "project"

IS_CHECKOUT: Final = not _PACKAGED.is_dir()
"""Whether this is a checkout of the project, and not an installed wheel."""

ROOT: Final = Path(__file__).resolve().parents[2] if IS_CHECKOUT else _PACKAGED
"""The folder that these files are in."""

START_LOCAL: Final = "start one with `make local`" + " in a checkout of the project" * (not IS_CHECKOUT)
"""The recommended action if no local AWS runs. A wheel has no Makefile."""


class NoCheckoutError(RolewardenError):
    """The command needs a checkout of the project, and this is an installed wheel."""


def checkout(need: str) -> Path:
    """The folder of the checkout. Raises NoCheckoutError, which names the `need`."""
    if not IS_CHECKOUT:
        raise NoCheckoutError(f"{need} needs a checkout of the project: run `make install` in one, and run it there")
    return ROOT


def here_or_shipped(path: Path) -> Path:
    """`path`, or the project's file of that path if the current folder does not have it; a note then names it."""
    if path.exists() or path.is_absolute() or not (ROOT / path).is_file():
        return path
    note(f"{path} does not exist in this folder: using the file that ships with Rolewarden, {ROOT / path}")
    return ROOT / path
