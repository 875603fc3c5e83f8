"""Modules of bench/ and docs/. These folders are no packages: their scripts import each other without a prefix."""

import importlib
import sys
from types import ModuleType

from tests.conftest import ROOT


def scripts(folder: str, *names: str) -> list[ModuleType]:
    """Import the modules with these names from a folder of the project."""
    path = str(ROOT / folder)
    sys.path.insert(0, path)
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(path)
