"""The table of docs/explanation/local-aws.md: the modules, the parts of AWS that they supply, and the reasons.

The docstring of each module in `rolewarden_local.emulated` has the texts. Its first paragraph describes the part, and
its second one the reason why MiniStack and moto do not supply it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "local" / "rolewarden_local" / "emulated"
REASONED_WITH = ("MiniStack", "moto", "botocore")


class Row(NamedTuple):
    """A module, the AWS behavior that it supplies, and the reason."""

    module: str
    behavior: str
    reason: str


class NoReasonError(ValueError):
    """The second paragraph of a module's docstring does not name MiniStack, moto or botocore."""


def rows(package: Path = PACKAGE) -> Iterator[Row]:
    """A row for each module of the package. Raises NoReasonError."""
    for path in sorted(package.glob("*.py")):
        if path.stem != "__init__":
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            paragraphs = [" ".join(paragraph.split()) for paragraph in docstring.split("\n\n")]
            if len(paragraphs) < 2 or not any(name in paragraphs[1] for name in REASONED_WITH):
                raise NoReasonError(f"{path.name}: {docstring[:60]}")
            yield Row(path.stem, paragraphs[0], paragraphs[1])


def table() -> str:
    """The rows as a table."""
    heading = ["| module | what it supplies | why MiniStack or moto does not |", "|---|---|---|"]
    return "\n".join([*heading, *(f"| `{row.module}` | {row.behavior} | {row.reason} |" for row in rows())])
