"""Test modules take what they share from helper modules, so that each can be read, moved or deleted alone."""

import ast
from pathlib import Path

from tests.conftest import ROOT


def imported(file: Path) -> set[str]:
    """The modules from which a file imports, and the full names of what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write `from {'.' * node.level}{node.module or ''}` with its full name"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_test_module(name: str) -> bool:
    folder, *parts = name.split(".")
    return folder == "tests" and any(part.startswith("test_") for part in parts)


def test_no_module_imports_from_a_test_module():
    files = [file for folder in ("tests", "bench") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    names = {str(file.relative_to(ROOT)): sorted(filter(is_test_module, imported(file))) for file in files}
    assert {file: found for file, found in names.items() if found} == {}
