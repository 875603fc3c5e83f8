"""Every resource as it was: kept once, and brought back as often as a test asks.

MiniStack and moto can only forget everything. To make an account anew takes hundreds of milliseconds, and to bring it
back takes a few.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

from rolewarden_local.emulated import sagemaker
from rolewarden_local.emulated._ministack import app, responses

_SCOPED = (responses.AccountScopedDict, responses.AccountRegionScopedDict)


def reset_all() -> None:
    """Wipe every resource of every account."""
    app._reset_all_state()
    sagemaker.reset_sagemaker()


def saved() -> Callable[[], None]:
    """Keep every resource of every account; calling what this gives brings them back. STS sessions are not kept."""
    stores = _stores()
    # In one go, so that what two stores share is shared by their copies.
    kept = copy.deepcopy(([store._data for store in stores], sagemaker.state()))

    def restore() -> None:
        reset_all()
        contents, of_sagemaker = copy.deepcopy(kept)
        for store, content in zip(stores, contents, strict=True):
            store._data = content
        sagemaker.restore(of_sagemaker)

    return restore


def _stores() -> list[Any]:
    """The dictionaries in which MiniStack keeps all that it keeps, of the services in use: what is empty is reset."""
    found = {
        id(value): value
        for name, module in sorted(sys.modules.items())
        if name.startswith("ministack.services.")
        for value in list(vars(module).values())
        if isinstance(value, _SCOPED) and value._data
    }
    return list(found.values())
