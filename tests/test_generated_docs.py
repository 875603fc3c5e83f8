"""The parts of docs/ that docs/generate.py writes are up to date, and every description exists."""

import re

import pytest
from rolewarden.own_events import SweepRequested

from tests.conftest import ROOT
from tests.scripts import scripts

AGAIN = "a generated part of docs/ is stale or was edited by hand: run `make pages`, and change the source instead"


@pytest.fixture(scope="module")
def generate():
    [module] = scripts("docs", "generate")
    return module


def test_the_schema_and_the_tables_of_the_pages_are_generated_from_the_code(generate):
    for path, text in generate.generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: {AGAIN}"


def test_every_generated_block_stands_once_in_a_page(generate):
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in generate.PAGES)
    assert sorted(found["name"] for found in generate.BLOCK.finditer(pages)) == sorted(generate.BLOCKS)


def test_a_field_without_a_description_is_an_error(generate, monkeypatch):
    monkeypatch.setattr(generate, "texts", lambda _: {})
    with pytest.raises(KeyError, match="by"):
        list(generate.fields(SweepRequested))


def test_each_emulated_module_has_a_row_and_each_row_has_a_module():
    modules = {path.stem for path in (ROOT / "local/rolewarden_local/emulated").glob("*.py")} - {"__init__"}
    page = (ROOT / "docs/explanation/local-aws.md").read_text(encoding="utf-8")
    assert len(modules) > 15
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(modules)


@pytest.mark.parametrize("docstring", ["", "What it does.", "What it does.\n\nSomething else."])
def test_a_module_that_does_not_say_why_it_is_needed_is_an_error(docstring, tmp_path):
    [local_pages] = scripts("docs", "local_pages")
    (tmp_path / "new.py").write_text(f'"""{docstring}"""')
    with pytest.raises(local_pages.NoReasonError, match=r"new\.py"):
        list(local_pages.rows(tmp_path))
