"""The documents of IAM policies: how to read them, and whether two of them mean the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_canonical = json.JSONEncoder(sort_keys=True).encode
"""`json.dumps` would make a new encoder for each item of each list."""


def digest(document: Mapping[str, Any] | str) -> str:
    """A hash that two documents share exactly if they have the same meaning in the same statements.

    `document` can also be JSON, and percent-encoded as IAM returns it (GetPolicyVersion). The order of keys and lists,
    white space, and a string instead of a list of one do not change the hash. The result for a text that is not JSON is
    "unreadable", which differs from the hash of every document.
    """
    if isinstance(document, str):
        try:
            document = parsed(document)
        except ValueError:
            return "unreadable"
    return hashlib.sha256(_canonical(_normal(document)).encode()).hexdigest()


def parsed(text: str) -> Any:
    """The JSON of a policy document, also if it is percent-encoded as IAM returns it. Raises ValueError."""
    return json.loads(text if text.lstrip().startswith("{") else unquote(text))


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_normal(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=_canonical)
    return value
