"""The documentation site loads nothing from elsewhere, its generated pages are complete, and its source is rendered.

`make docs` checks the links and anchors between the pages of the site.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from rolewarden.alert import anchor
from rolewarden.reported import ReportedKind
from rolewarden.verdicts import Reason
from rolewarden_cli.report.model import FindingKind

from tests.conftest import ROOT
from tests.scripts import scripts

PAGES = sorted((ROOT / "docs").rglob("*.md"))
hooks, template_pages = scripts("docs", "hooks", "template_pages")


@pytest.mark.parametrize(
    "html",
    [
        '<link rel="stylesheet" href="https://fonts.googleapis.com/css?family=Roboto">',
        '<script src="//unpkg.com/mermaid.js"></script>',
        '<img alt="" src="HTTP://example.com/picture.png">',
        '<img src="picture.png" srcset="small.png 1x, https://example.com/large.png 2x">',
        '<div style="background: url(https://example.com/back.png)"></div>',
        "<style>@import 'https://example.com/site.css';</style>",
        '<iframe src="https://example.com"></iframe>',
    ],
)
def test_a_page_that_loads_something_from_another_host_is_found(html):
    assert len(hooks.loaded_by_page(f"<html><body>{html}</body></html>")) == 1


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://docs.aws.amazon.com/">a link to follow</a>',
        '<script src="../assets/bundle.js"></script>',
        '<img alt="" src="images/report.png">',
        '<style>p { background: url("data:image/png;base64,AAAA") }</style>',
        "<code>curl https://example.com</code>",
    ],
)
def test_a_page_that_loads_only_its_own_files_is_accepted(html):
    assert hooks.loaded_by_page(html) == []


def test_the_hook_warns_about_a_file_of_the_site(tmp_path, caplog):
    (tmp_path / "good.html").write_text('<img alt="" src="picture.png">')
    (tmp_path / "site.css").write_text("p { background: url(https://example.com/back.png) }")
    hooks.on_post_build(config={"site_dir": str(tmp_path)})
    assert [record.getMessage() for record in caplog.records] == [
        "site.css loads https://example.com/back.png from another host"
    ]


def test_the_readme_has_at_most_160_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_an_alert_links_a_heading_of_the_runbook_as_github_and_the_site_do():
    runbook = ROOT / "docs" / "how-to" / "runbook.md"
    headings = re.findall(r"^#+ (.+)$", runbook.read_text(encoding="utf-8"), re.MULTILINE)
    assert {anchor(heading) for heading in headings} == anchors(runbook)
    # For a repeated heading, both add a number. For spaces or hyphens in a row, they differ.
    assert len(set(headings)) == len(headings)
    assert not [heading for heading in headings if re.search(r"[- ]{2}", heading)]


MADE_BY_DOCS = frozenset(re.findall(r"^\t.* (docs/\S+\.html)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
"""The files of the site that `make docs` makes and Git ignores."""


def broken_links(page: Path) -> list[str]:
    """The broken links of a page to a file of the project, or to a heading in one."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = []
    for target, heading in re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", text):
        if re.match(r"\w+:", target):
            continue
        file = (page.parent / target) if target else page
        if file.resolve() in {ROOT / made for made in MADE_BY_DOCS}:
            continue
        if not file.exists() or (heading and heading not in anchors(file)):
            found.append(f"{target}#{heading}")
    return found


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda page: page.name)
def test_every_link_to_a_file_or_heading_of_the_project_works(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n\n[a](#a-title) [b](#nowhere) [c](nowhere.md) [d](https://example.com/#e)\n")
    assert broken_links(page) == ["#nowhere", "nowhere.md#"]


def test_the_files_that_make_docs_makes_are_ignored_and_linked():
    assert {"docs/example-report.html"} == MADE_BY_DOCS
    assert (ROOT / ".gitignore").read_text().splitlines().count("docs/example-report.html") == 1
    assert "](../example-report.html)" in (ROOT / "docs/how-to/command-line.md").read_text(encoding="utf-8")


def without_blank_line(text: str) -> list[str]:
    """The lines that begin a list or a table right below a paragraph: mkdocs renders them as a part of it."""
    found, fenced, before = [], False, ""
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        begins = re.match(r"(?:[-*+]|\d+\.) |\|", line)
        continues = not before or re.match(r"(?:[-*+]|\d+\.) |\||\s", before)
        if begins and not continues and not fenced:
            found.append(line)
        before = line
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_list_and_table_begins_after_a_blank_line(page):
    assert without_blank_line(page.read_text(encoding="utf-8")) == []


def test_a_list_that_mkdocs_does_not_render_is_found():
    assert without_blank_line("A paragraph:\n- not a list\n\n- a list\n- goes on\n  here\n- and here\n") == [
        "- not a list"
    ]


def columns_without_header(text: str) -> list[str]:
    """The header rows of tables in which a column has no header."""
    lines = text.splitlines()
    headers = [line for line, below in pairwise(lines) if re.fullmatch(r"\|[\s|:-]*-[\s|:-]*\|", below)]
    return [line for line in headers if not all(cell.strip() for cell in line.strip().strip("|").split("|"))]


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda page: page.name)
def test_every_column_of_a_table_has_a_header(page):
    assert columns_without_header(page.read_text(encoding="utf-8")) == []


def test_a_column_without_a_header_is_found():
    assert columns_without_header("| a | |\n|---|---|\n| 1 | 2 |\n\n| b | c |\n|---|---|\n") == ["| a | |"]


def rows_outside_of_a_table(text: str) -> list[str]:
    """The first line of each block of table rows without a header. Markdown shows such rows as text."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE)
    separator = re.compile(r" *\|[\s|:-]*-[\s|:-]*\|")
    return [block.splitlines()[0] for block in blocks if not separator.fullmatch([*block.splitlines(), ""][1])]


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda page: page.name)
def test_every_row_belongs_to_a_table_with_a_header(page):
    assert rows_outside_of_a_table(page.read_text(encoding="utf-8")) == []


def test_a_row_after_a_blank_line_is_found():
    assert rows_outside_of_a_table("| a |\n|---|\n| 1 |\n\n| 2 |\n") == ["| 2 |"]
    assert rows_outside_of_a_table("| a |\n|---|\n| 1 |\n") == []


def test_every_metric_that_the_code_records_has_a_meaning_and_every_meaning_a_metric():
    assert template_pages.recorded_metrics().keys() == template_pages.METRICS.keys()


def rows(page: str, heading: str) -> set[str]:
    """The first cells of the table under a heading, links replaced by their texts."""
    text = "\n" + (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell) for cell in cells}


def test_the_readme_links_every_page_of_the_site():
    pages = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(pages) > 30
    assert [page for page in pages if f"(docs/{page}" not in readme] == ["index.md"]


def test_each_reason_that_leads_to_the_runbook_has_a_row_there():
    findings = (ROOT / "docs" / "reference" / "findings.md").read_text(encoding="utf-8")
    runbook = (ROOT / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")
    entry = runbook.partition("### Account Finding\n")[2].partition("\n### ")[0]
    described = set(re.findall(r"^\| \*([^*]+)\*", entry, re.MULTILINE))
    reasons = findings.partition("## Reasons")[2].partition("\n## ")[0]
    leading = {line.split(" | ")[0].removeprefix("| ") for line in reasons.splitlines() if "#account-finding)" in line}
    assert len(leading) > 15
    assert leading - described == set()


def test_every_kind_of_finding_and_every_reason_has_a_row(template):
    patterns = [
        rule["EventPattern"] for rule in template.resources("AWS::Events::Rule").values() if "EventPattern" in rule
    ]
    [alerted] = [pattern["$or"] for pattern in patterns if pattern.get("source") == ["rolewarden"] and "$or" in pattern]
    kinds = {kind for pattern in alerted for kind in pattern["detail-type"]}
    assert kinds <= rows("reference/findings.md", "# Findings")
    assert set(Reason) <= rows("reference/findings.md", "## Reasons")
    assert set(ReportedKind) <= rows("reference/findings.md", "## How a finding ends")
    assert set(FindingKind) <= rows("reference/findings.md", "## Findings in the report")
