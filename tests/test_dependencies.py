"""The wheel requires the packages that the code imports, and the code imports the local AWS only on demand."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ALWAYS = PROJECT["dependencies"]
LOCAL = PROJECT["optional-dependencies"]["local"]
OWN = ("rolewarden", "rolewarden_cli", "rolewarden_local")
OF_SAM = {"quick_sam.py"}
"""Modules that the Python of SAM CLI runs, with its packages."""

PACKAGES = {"layers/rolewarden/rolewarden": ALWAYS, "functions": ALWAYS, "cli/rolewarden_cli": ALWAYS,
            "local/rolewarden_local": ALWAYS + LOCAL}  # fmt: skip
"""Each folder with code, and the requirements that its import needs."""


def only_for_types(tree):
    """All nodes in blocks that only a type checker reads."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {id(inner) for block in blocks for inner in ast.walk(block)}


def imports(text, *, nested=True):
    """The modules that code imports. Without `nested`, only those that an import of the code imports."""
    tree = ast.parse(text)
    types = only_for_types(tree)
    lazy = set()
    if not nested:
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lazy = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in types | lazy:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(requirement):
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", requirement)[0]).lower()


DISTRIBUTIONS = packages_distributions()


def distribution(module):
    top = module.partition(".")[0]
    return name(DISTRIBUTIONS.get(top, [top])[0])


@pytest.mark.parametrize("folder", PACKAGES)
def test_everything_that_the_code_imports_is_declared(folder):
    declared = {name(requirement) for requirement in PACKAGES[folder]}
    missing = {
        (path.name, module)
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in OF_SAM
        for module in imports(path.read_text())
        if module.partition(".")[0] not in sys.stdlib_module_names | {*OWN} and distribution(module) not in declared
    }
    assert not missing


def test_everything_that_is_declared_is_imported():
    imported = {
        distribution(module)
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*.py")
        for module in imports(path.read_text())
    } | {distribution("ministack")}  # Code imports these under computed names.
    assert {name(requirement) for requirement in ALWAYS + LOCAL} <= imported


def test_each_requirement_has_a_lower_bound_and_no_address():
    for requirement in ALWAYS + LOCAL:
        assert re.fullmatch(r"[\w-]+(>=|~=)[\d.]+", requirement), requirement


@pytest.mark.parametrize("folder", ["layers/rolewarden/rolewarden", "functions", "cli/rolewarden_cli"])
def test_nothing_imports_the_local_aws_before_it_is_needed(folder):
    eager = {
        path.name
        for path in (ROOT / folder).rglob("*.py")
        if any(module.partition(".")[0] == "rolewarden_local" for module in imports(path.read_text(), nested=False))
    }
    assert not eager


def test_an_import_outside_of_functions_is_eager_and_one_in_a_function_is_not():
    text = "import a\nclass C:\n    import b\ndef f():\n    import c\nif TYPE_CHECKING:\n    import d"
    assert set(imports(text)) == {"a", "b", "c"}
    assert set(imports(text, nested=False)) == {"a", "b"}


def test_one_module_imports_ministack():
    local = ROOT / "local" / "rolewarden_local"
    found = {
        path.name for path in local.rglob("*.py") if any(m.startswith("ministack") for m in imports(path.read_text()))
    }
    assert not found - {"_ministack.py"}
