"""Rules for the structure of the code: unique names, verbs for functions that act, and allowed dependencies."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT


def imported(file: Path) -> set[str]:
    """The modules from which a file imports, and the full names of the imported objects."""
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


PACKAGES = {
    name: ROOT / folder / name
    for folder, name in (("layers/rolewarden", "rolewarden"), ("cli", "rolewarden_cli"), ("local", "rolewarden_local"))
}

VERBS = frozenset(
    """
    add announce answer ask attach audit backfill beat begin bind bring build check claim clear collect compare
    compile complete confirm connect create delete deny deploy describe detach do drop emit enable end
    enforce enter evaluate expect
    extend fail fill finish fix follow forget format forward give ignore import install invoke keep kill leave lend
    let limit list
    log make mark move name need note notify observe open order organize pass play prepare press print publish
    put raise read record refresh refuse register remake remediate remember remove rename replace report require
    reset resolve restart restore retire run say schedule send serve set show sign start stop sum swap sweep
    take terminate translate trigger undo validate verify wait warn write
    """.split()  # noqa: SIM905 - a list with a line for each verb would be a page
)
"""The verbs in names of functions that act. Add a verb if none of these describes a new function."""

RECORD = frozenset(
    ["alert", "audit", "contest", "events", "history", "origin", "record", "rules_log", "verdicts", "work"]
)
"""Modules that write, read, send or show the cause of something for the record."""


def public(module: ast.Module) -> Iterator[str]:
    """The public names that a module defines itself."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_defined_twice_in_a_package(package):
    defined = defaultdict(list)
    for file in sorted(PACKAGES[package].rglob("*.py")):
        for name in public(ast.parse(file.read_text(encoding="utf-8"))):
            defined[name].append(file.name)
    assert len(defined) > 50
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}


def test_no_class_name_has_two_meanings_in_the_packages():
    defined = defaultdict(list)
    for package in PACKAGES.values():
        for file in sorted(package.rglob("*.py")):
            classes = (
                node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
            )
            for node in classes:
                defined[node.name.strip("_")].append(f"{package.name}/{file.name}")
    assert len(defined) > 100
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}


NAMED_BY_OTHERS = (".setter", ".command", ".callback")
"""Decorators of functions with a fixed name: users type the name of a command."""


def procedures(module: ast.Module) -> Iterator[str]:
    """The names of the functions that return nothing, so that callers use only their effect."""
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("__"):
            continue
        decorators = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
        gives_nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
        if gives_nothing and node.name != "main" and not any(text.endswith(NAMED_BY_OTHERS) for text in decorators):
            yield node.name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_function_that_returns_nothing_is_named_by_a_verb(package):
    found = set()
    for file in sorted(PACKAGES[package].rglob("*.py")):
        for name in procedures(ast.parse(file.read_text(encoding="utf-8"))):
            if name.strip("_").split("_")[0] not in VERBS:
                found.add(f"{file.name}: {name}")
    assert found == set()


WRITES = frozenset(
    """
    attach create_policy delete_policy detach import_finding mark notify put put_all put_events put_once
    put_unless remove_boundary replace_policy send set_audited set_boundary set_covered set_health set_member_swept
    write write_newer
    """.split()  # noqa: SIM905 - as above
)
"""The methods that write to AWS or to Rolewarden's own tables."""


def writers(module: ast.Module) -> Iterator[str]:
    """The names of the functions that write, regardless of their results."""
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("__"):
            continue
        calls = [each.func for each in ast.walk(node) if isinstance(each, ast.Call)]
        if any(isinstance(call, ast.Attribute) and call.attr in WRITES for call in calls):
            yield node.name


def test_a_function_that_writes_is_named_by_a_verb():
    files = sorted(PACKAGES["rolewarden"].rglob("*.py"))
    names = {(file.name, name) for file in files for name in writers(ast.parse(file.read_text(encoding="utf-8")))}
    assert len(names) > 30
    assert {(file, name) for file, name in names if name.strip("_").split("_")[0] not in VERBS} == set()


def decisions(module: ast.Module) -> Iterator[ast.expr]:
    """Every expression of a condition in a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node.test
        elif isinstance(node, ast.Compare | ast.BoolOp):
            yield node
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            yield node.subject


def test_no_code_outside_of_the_record_decides_by_a_cause():
    found = []
    for file in sorted(PACKAGES["rolewarden"].rglob("*.py")):
        if file.stem in RECORD:
            continue
        for test in decisions(ast.parse(file.read_text(encoding="utf-8"))):
            names = {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}
            names |= {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
            if names & {"cause", "event_name", "Cause"}:
                found.append(f"{file.name}:{test.lineno}: {ast.unparse(test)}")
    assert found == []


MOST_LINES = 1000


def test_no_module_is_longer_than_a_thousand_lines():
    files = [file for folder in (*PACKAGES.values(), ROOT / "tests", ROOT / "bench") for file in folder.rglob("*.py")]
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_through_others(package):
    """Imports in functions and for type checking count, too, because they only hide a cycle."""
    folder = PACKAGES[package]
    modules = {".".join(file.relative_to(folder.parent).with_suffix("").parts): file for file in folder.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): file for name, file in modules.items()}
    needs = {name: imported(file) & modules.keys() - {name} for name, file in modules.items()}
    left = dict(needs)
    # The package itself has only constants, and every module can import them.
    while free := {name for name, found in left.items() if not found & left.keys()}:
        left = {name: found for name, found in left.items() if name not in free}
    assert left == {}


PRODUCTION = ("cli", "functions", "layers", "local")


def test_production_code_has_seams_and_needs_no_mock():
    files = [file for folder in PRODUCTION for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert {str(file.relative_to(ROOT)) for file in files if any("mock" in name for name in imported(file))} == set()


def test_results_of_commands_use_the_common_json_writer():
    files = sorted(PACKAGES["rolewarden_cli"].rglob("*.py"))
    modules = {file.name: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    names = {(file, node.name) for file, module in modules.items() for node in ast.walk(module)
             if isinstance(node, ast.FunctionDef)}  # fmt: skip
    assert ("answers.py", "as_json") in names
    assert {file for file, name in names if name in {"as_dict", "to_dict", "as_json", "to_json"}} == {"answers.py"}
    printed = ("print_document(json.dumps(", "print_line(json.dumps(", "json_lines(")
    users = {file.name for file in files if any(call in file.read_text(encoding="utf-8") for call in printed)}
    assert users == {"answers.py"}


def test_the_resources_of_a_stack_are_read_from_every_page():
    """The stack has more than 100 resources, and one call gives at most 100: the rest would not be tested."""
    files = [file for folder in ("cli", "layers", "local", "tests", "bench") for file in (ROOT / folder).rglob("*.py")]
    call = ".list_stack_" + "resources("
    assert [str(file.relative_to(ROOT)) for file in files if call in file.read_text(encoding="utf-8")] == []
