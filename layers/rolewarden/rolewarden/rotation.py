"""Rotation: the share of unchanged subjects that each sweep reads again, so that all are read within a day.

The sweep skips a subject if the bindings table has the LastModifiedTime that SageMaker lists. A caller who can write to
the table can therefore change the role in a row, and no list shows it. The rotation bounds the time for which such a
row counts. It follows from the subject's name in SageMaker's list and from the time, and from nothing in the table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DAY_SECONDS = 24 * 3600

SLACK_SECONDS = 600.0
"""Seconds by which a sweep can begin late, for example because messages wait in a queue."""


@dataclass(frozen=True)
class Rotation:
    """The rotation for sweeps that begin `interval` seconds after each other."""

    interval: float

    def is_due(self, subject: str, began: float) -> bool:
        """Whether the sweep that began at `began` (seconds of the epoch) reads an unchanged subject again.

        `subject` is a text that identifies the subject at each sweep.

        Each subject has its own moment in a period, and the first sweep after that moment reads it. The period is so
        much shorter than a day that two readings of a subject are never more than a day apart. If the interval is half
        a day or longer, each sweep reads every subject.
        """
        window = self.interval + SLACK_SECONDS
        period = DAY_SECONDS - window
        if period <= window:
            return True
        digest = hashlib.sha256(subject.encode()).digest()
        moment = int.from_bytes(digest[:8], "big") / 2**64 * period
        return (began - moment) % period < window
