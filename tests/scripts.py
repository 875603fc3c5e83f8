"""Modules of folders that are no packages: scripts in bench/ and docs/, which import each other by their bare names."""

import importlib
import sys
from types import ModuleType

from tests.conftest import ROOT


def scripts(folder: str, *names: str) -> list[ModuleType]:
    """The modules with these names in a folder of the project."""
    path = str(ROOT / folder)
    sys.path.insert(0, path)
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(path)
