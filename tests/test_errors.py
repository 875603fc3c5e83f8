"""The errors of all packages are one tree, so that a caller can catch every intended error of Rolewarden."""

import ast
import builtins
import re
from collections.abc import Iterator
from typing import NamedTuple

from rolewarden import errors

from tests.conftest import ROOT

PACKAGES = ("layers/rolewarden/rolewarden", "cli/rolewarden_cli", "local/rolewarden_local")

OUTSIDE = {"Killed"}
"""Classes outside of the tree. Killed represents the end of a process, and error handlers must not catch it."""


class ErrorClass(NamedTuple):
    """An exception class as the source declares it; `module` is the path of its file."""

    name: str
    module: str
    bases: tuple[str, ...]


def classes() -> Iterator[ErrorClass]:
    """Every class of the packages with the names of its bases, without their modules."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                    yield ErrorClass(node.name, str(file.relative_to(ROOT)), bases)


def is_exception(name: str, known: set[str]) -> bool:
    """Whether a base of this name makes an exception: a built-in, a class in `known`, or a library's by its name."""
    builtin = getattr(builtins, name, None)
    is_builtin = isinstance(builtin, type) and issubclass(builtin, BaseException)
    return is_builtin or name in known or name.endswith(("Error", "Exception"))


def error_classes() -> list[ErrorClass]:
    declared, found = list(classes()), set[str]()
    while True:
        more = {each.name for each in declared if any(is_exception(base, found) for base in each.bases)}
        if more == found:
            return [each for each in declared if each.name in found]
        found = more


def in_tree(found: list[ErrorClass]) -> set[str]:
    """The names of the classes that descend from RolewardenError, and its own."""
    names: set[str] = set()
    more = {"RolewardenError"}
    while more - names:
        names |= more
        more = {each.name for each in found if names & set(each.bases)}
    return names


def test_every_exception_class_descends_from_rolewarden_error():
    found = error_classes()
    assert len(found) > 20
    public = {each for each in found if not each.name.startswith("_")}
    assert {each for each in public if each.name not in in_tree(found) | OUTSIDE} == set()


def test_a_private_exception_class_stays_in_its_module():
    files = {str(file.relative_to(ROOT)): file for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    private = [each for each in error_classes() if each.name.startswith("_")]
    assert private
    for each in private:
        others = {
            name for name, file in files.items() if name != each.module and each.name in names_in(file.read_text())
        }
        assert others <= {other.module for other in private if other.name == each.name}, each


def names_in(source: str) -> set[str]:
    return set(re.findall(r"\w+", source))


def test_the_page_of_the_tree_shows_every_error_of_the_layer_under_its_parent():
    shown: dict[str, str] = {}
    branch = ["RolewardenError"]
    for indent, name in re.findall(r"^([│ ]*)[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE):
        branch[len(indent) // 4 + 1 :] = [name]
        shown[name] = branch[-2]
    layer = [each for each in error_classes() if each.module.startswith(PACKAGES[0]) and not each.name.startswith("_")]
    assert shown == {each.name: each.bases[0] for each in layer if each.name != "RolewardenError"}
