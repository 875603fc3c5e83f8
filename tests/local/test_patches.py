"""The local AWS replaces attributes of libraries in one place, with reasons and without unittest.mock."""

import ast
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from rolewarden_local.emulated.patches import PATCHED, Patch, environment_variables, patched

from tests.conftest import ROOT

LIBRARIES = ("botocore", "boto3", "moto", "ministack", "samtranslator", "rolewarden_local.emulated._ministack")
OWN_DATA = ("domain",)
"""Variables that are an entry of a store and not a module or class of a library."""

PACKAGE = ROOT / "local" / "rolewarden_local"


def faults(path: Path, text: str) -> list[str]:
    """Lines that import unittest.mock, or that assign an attribute of a library."""
    tree = ast.parse(text)
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (getattr(node, "module", None) or alias.name).startswith(LIBRARIES)
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("unittest"):
                found.append(node.lineno)
            case ast.Import(names=names) if any(alias.name.startswith("unittest") for alias in names):
                found.append(node.lineno)
            case ast.Assign(targets=targets):
                assigned = [target for target in targets if isinstance(target, ast.Attribute)]
                roots = {ast.unparse(target).split(".")[0] for target in assigned}
                found += [node.lineno] if roots & imported else []
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, *_]) if ast.unparse(owner) not in OWN_DATA:
                found.append(node.lineno)
    return [f"{path}:{line}" for line in found]


@pytest.mark.parametrize(
    "text",
    [
        "from unittest import mock",
        "import unittest.mock",
        "from rolewarden_local.emulated._ministack import app\napp._dispatch = None",
        "import botocore.endpoint\nbotocore.endpoint.time = None",
        "setattr(thing, 'name', 1)",
    ],
)
def test_every_kind_of_hidden_patch_is_found(text):
    assert faults(Path("module.py"), text)


def test_only_the_registry_replaces_attributes_of_libraries():
    found = [
        fault
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "patches.py"
        for fault in faults(path.relative_to(ROOT), path.read_text())
    ]
    assert not found


def test_each_replaced_attribute_has_a_reason(aws):
    with aws.connected():
        assert "botocore.endpoint.Endpoint._send" in PATCHED
    assert "ministack.app._dispatch_service_request" in PATCHED
    assert all(why.endswith(".") for why in PATCHED.values())


def test_a_patch_ends_with_its_block_also_if_the_block_fails():
    owner = SimpleNamespace(__name__="owner", value=1)

    def fail():
        with patched(Patch(owner, "value", 2, "A reason.")):
            raise RuntimeError(owner.value)

    with pytest.raises(RuntimeError, match="2"):
        fail()
    assert owner.value == 1


def test_a_patch_of_an_attribute_that_the_library_no_longer_has_fails():
    with pytest.raises(AttributeError):
        Patch(SimpleNamespace(__name__="owner"), "gone", 2, "A reason.").install()


def test_environment_variables_are_restored(monkeypatch):
    monkeypatch.setenv("ROLEWARDEN_SET", "before")
    monkeypatch.delenv("ROLEWARDEN_UNSET", raising=False)
    with environment_variables({"ROLEWARDEN_SET": "within", "ROLEWARDEN_UNSET": "within"}):
        assert os.environ["ROLEWARDEN_SET"] == os.environ["ROLEWARDEN_UNSET"] == "within"
    assert os.environ["ROLEWARDEN_SET"] == "before"
    assert "ROLEWARDEN_UNSET" not in os.environ
