"""The formats of `--format`, which other programs read: CSV, OCSF and SARIF. All are made from the same results.

JSON has every key of a result and stays `--json`, which nearly all commands have. A format of this module has a part of
a result, and few commands have it: findings as CSV and OCSF, access as CSV, and results of pipelines as SARIF.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any

from rolewarden.plaintext import visible

from rolewarden_cli.answers import as_json


class Format(StrEnum):
    """A format of `--format`."""

    CSV = "csv"
    OCSF = "ocsf"
    SARIF = "sarif"


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of a cell that a spreadsheet takes for a formula:
https://owasp.org/www-community/attacks/CSV_Injection."""


def csv_text(cls: type, rows: Iterable[Any]) -> str:
    """Instances of the dataclass `cls` as CSV: a column for each field, with its name in the first line.

    A list is one cell, with a semicolon between its values. A cell that a spreadsheet would take for a formula begins
    with an apostrophe, because AWS accepts names of roles such as `=1+1`.
    """
    names = [field.name for field in fields(cls)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(as_json(getattr(row, name))) for name in names] for row in rows)
    return out.getvalue().rstrip("\n")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _safe("; ".join(map(str, value)))
    return _safe("" if value is None else str(value))


def _safe(text: str) -> str:
    text = visible(text)
    return f"'{text}" if text.startswith(FORMULA) else text
