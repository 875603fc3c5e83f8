"""The files that commands write."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rolewarden.errors import RolewardenError

from rolewarden_cli.lines import print_line


class UnwritableError(RolewardenError):
    """A file or folder cannot be written; the message has the reason and the correction."""


def need_writable(out: Path | None) -> None:
    """Raise UnwritableError if the file `out` cannot be written; None means no file.

    A command calls this before it reads an account, so that no long work is lost. The file keeps its content, and a
    file that does not exist is not created.
    """
    if out is None:
        return
    if out.is_dir():
        raise UnwritableError(f"{out} is a folder: give a file with --out")
    if not out.parent.is_dir():
        raise UnwritableError(f"{out}: the folder {out.parent} is missing: make it, or give another file with --out")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UnwritableError(f"{out}: you have no permission to write it: give another file with --out")


def need_folder(out: Path | None) -> None:
    """As `need_writable`, for a folder that the command makes if it does not exist."""
    if out is not None and out.exists() and not out.is_dir():
        raise UnwritableError(f"{out} is a file: give a folder with --out")


def write_file(out: Path, text: str) -> None:
    """Write a file, and print its name. Raises UnwritableError."""
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnwritableError(f"{out}: cannot be written: {error.strerror}: give another file with --out") from None
    print_line(out)


def write_all(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write each text to `folder` as `<name of the policy>.json`, and give the files. Raises UnwritableError."""
    written = [folder / f"{name}.json" for name in texts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for text, target in zip(texts.values(), written, strict=True):
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnwritableError(
            f"{error.filename or folder}: cannot be written: {error.strerror}: give another folder with --out"
        ) from None
    return written
