"""The name that a user probably meant, if none exists that is spelled so."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from rolewarden.names import folded

SIMILAR = 0.6
"""The similarity from which a name that exists is suggested, from 0 to 1 (`difflib`)."""


def nearest(pattern: str, names: Iterable[str]) -> str:
    """The name that is most similar to a pattern, whatever its case; empty if none is similar."""
    spelled = {folded(name): name for name in names}
    found = get_close_matches(folded(pattern).strip("*?"), spelled, 1, SIMILAR)
    return spelled[found[0]] if found else ""


def no_such_role(account: str, role: str, names: Iterable[str]) -> str:
    """The begin of an error about a role that an account does not have. `names` are the roles that it has."""
    near = nearest(role, names)
    return f"account {account} has no role `{role}`" + (f" (did you mean `{near}`?)" if near else "")
