"""A parser for the report's page, and the parts of the page that several test modules read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser

from rolewarden_cli.report import Report, render

VOID = {"wbr", "meta", "input", "br", "col"}
"""Elements without an end tag."""


class Element:
    """An element of a page, with its attributes, children and text."""

    def __init__(self, tag: str, attributes: list[tuple[str, str | None]], parent: Element | None) -> None:
        self.tag, self.parent = tag, parent
        self.attributes = {name: value or "" for name, value in attributes}
        self.children: list[Element] = []
        self.texts: list[str | Element] = []

    @cached_property
    def ids(self) -> dict[str, Element]:
        return {element.attributes["id"]: element for element in self.all() if "id" in element.attributes}

    def all(self, tag: str | None = None, **attributes: str) -> Iterator[Element]:
        """The elements in it with this tag and these attributes. `class_` means `class`, `data_by` means `data-by`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for child in self.children:
            if tag in {None, child.tag} and all(child.attributes.get(n) == v for n, v in wanted.items()):
                yield child
            yield from child.all(tag, **attributes)

    def one(self, tag: str | None = None, **attributes: str) -> Element:
        [found] = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        return "".join(t if isinstance(t, str) else t.text for t in self.texts)


class Page(HTMLParser):
    """A strict parser for a page: an element without an end tag or a repeated attribute is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("", [], None)
        self.feed(html)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, attrs, self.here)
        self.here.children.append(element)
        self.here.texts.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.texts.append(data)


def page(report: Report) -> Element:
    """The parsed page of a report."""
    return Page(render(report)).root


def figure(root: Element, name: str) -> str:
    """One of the figures at the top of the page."""
    return root.ids[f"figure-{name}"].text.replace(",", "")


def rows(root: Element) -> dict[tuple[str, str], tuple[str, str, list[Element]]]:
    """Rows of the access matrix by domain and subject: role, verdict and the cells."""
    found = {}
    for body in root.ids["matrix"].all("tbody"):
        head, *rest = body.children
        domain = next(head.all("span")).text
        for row in rest:
            subject, role, verdict, *cells = row.children
            found[domain, subject.text] = (role.text, verdict.text, cells)
    return found


def findings(root: Element) -> list[list[str]]:
    """The rows of the lists of findings, with the text of each cell."""
    lines = [line for body in root.ids["findings"].all("tbody") for line in body.all("tr")]
    return [[cell.text.strip() for cell in line.children] for line in lines]


def rows_of_table(root: Element, name: str) -> list[dict[str, str]]:
    """The rows of the table with this ID: the text of each cell by the head of its column. Empty without the table."""
    table = root.ids[name]
    if table.tag != "table":
        return []
    heads = [head.text for head in table.one("thead").all("th", scope="col")]
    return [
        dict(zip(heads, (" ".join(cell.text.split()) for cell in line.children), strict=True))
        for line in table.one("tbody").all("tr")
    ]
