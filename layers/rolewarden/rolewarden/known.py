"""The model IDs that were known when this version was made.

Guardrails apply to newer models, too. The list serves warnings, the columns of commands, and the models that a rule
change gains and loses.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class KnownModels(NamedTuple):
    """The model IDs known on the day `as_of`."""

    as_of: str
    bedrock: tuple[str, ...]
    jumpstart: tuple[str, ...]


@cache
def known_models() -> KnownModels:
    """The list that ships with Rolewarden."""
    data = json.loads((files("rolewarden") / "models.json").read_text(encoding="utf-8"))
    return KnownModels(data["as_of"], tuple(data["bedrock"]), tuple(data["jumpstart"]))
