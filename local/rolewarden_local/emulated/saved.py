"""A saved copy of every resource, which a test can restore any number of times.

MiniStack and moto can only delete everything. Making an account again takes hundreds of milliseconds, and restoring it
takes a few.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from rolewarden_local.emulated import organization, sagemaker, stacksets
from rolewarden_local.emulated._ministack import app, responses

_SCOPED = (responses.AccountScopedDict, responses.AccountRegionScopedDict)


def reset_all() -> None:
    """Delete every resource of every account, the organization and its StackSets."""
    app._reset_all_state()
    organization.reset_organization()
    stacksets.reset_stacksets()
    sagemaker.reset_sagemaker()


def saved() -> Callable[[], None]:
    """Save every resource of every account, except STS sessions, the organization and its StackSets.

    Return a function that restores them.
    """
    stores = _stores()
    # One call copies all stores, so that an object that two stores share is also shared by their copies. Pickle does it
    # in a fifth of the time of a deep copy.
    kept = pickle.dumps(
        ([store._data for store in stores], sagemaker.state(), vars(organization.ORGANIZATION), stacksets.EXISTING),
        pickle.HIGHEST_PROTOCOL,
    )

    def restore() -> None:
        reset_all()
        contents, of_sagemaker, made, stack_sets = pickle.loads(kept)  # noqa: S301
        for store, content in zip(stores, contents, strict=True):
            store._data = content
        sagemaker.restore(of_sagemaker)
        vars(organization.ORGANIZATION).update(made)
        stacksets.EXISTING.update(stack_sets)

    return restore


def _stores() -> list[Any]:
    """MiniStack's dictionaries of the services in use. They hold its whole state, and empty ones need no copy."""
    found = {
        id(value): value
        for name, module in sorted(sys.modules.items())
        if name.startswith("ministack.services.")
        for value in list(vars(module).values())
        if isinstance(value, _SCOPED) and value._data
    }
    return list(found.values())
