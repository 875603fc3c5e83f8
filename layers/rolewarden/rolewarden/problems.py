"""Problems of guardrails.yaml, each with its place in the file and the correction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rolewarden.plaintext import visible

if TYPE_CHECKING:
    from rolewarden.known import KnownModels
    from rolewarden.model_ids import ModelNames

Path_ = tuple[str | int, ...]


class Problem(NamedTuple):
    """One problem of a file, with its place and the correction."""

    file: str
    line: int
    where: str
    message: str

    @property
    def text(self) -> str:
        """The value that is wrong, what is wrong with it, and the correction."""
        return f"{self.where}: {self.message}" if self.where else self.message

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return visible(f"{place}: {self.text}")


class Problems:
    """The problems of one file, and the known lines of its values, by their path."""

    def __init__(self, file: str, lines: Mapping[Path_, int], known: KnownModels | None = None) -> None:
        self.file = file
        self.lines = lines
        self.known = known
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    @cached_property
    def names(self) -> ModelNames:
        """The corrections of model IDs, from the known models."""
        # A function reads a file without mistakes, so it does not load the names.
        from rolewarden.model_ids import ModelNames

        return ModelNames(self.known)

    def add_error(self, path: Path_, message: str) -> None:
        """Add the error `message` of the value at `path`."""
        self.errors.append(problem_at(self.file, self.lines, path, message))

    def add_warning(self, path: Path_, message: str) -> None:
        """Add the warning `message` of the value at `path`."""
        self.warnings.append(problem_at(self.file, self.lines, path, message))


def problem_at(file: str, lines: Mapping[Path_, int], path: Path_, message: str) -> Problem:
    """The problem `message` of the value at `path`, with the nearest of the known `lines`."""
    known = path
    while known and known not in lines:
        known = known[:-1]
    return Problem(file, lines.get(known, 0), where_of(path), message)


def where_of(path: Iterable[str | int]) -> str:
    """A path in the form in which people read it, for example `assignments[2].roles[1]`."""
    text = ""
    for part in path:
        name = f"[{part + 1}]" if isinstance(part, int) else part or '""'
        text += f".{name}" if text and isinstance(part, str) else name
    return text
