"""Hooks of mkdocs that warn about everything that the site would load from another host."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.hooks.offline")
"""A logger below `mkdocs`: a warning here ends `mkdocs build --strict` with an error."""

LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
"""The attributes with URLs that a browser loads, by element."""

FOREIGN = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s;]+)", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "style":
                self.foreign += loaded_by_style(value or "")
            elif name == "srcset":
                self.foreign += [part.strip() for part in (value or "").split(",") if FOREIGN.match(part)]
            elif name in LOADED.get(tag, ()) and FOREIGN.match(value or ""):
                self.foreign.append(value or "")


def loaded_by_page(html: str) -> list[str]:
    """The URLs on other hosts that a browser loads to show the page. Links do not count."""
    page = _Page()
    page.feed(html)
    return page.foreign + [found for style in re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL) for found in
                           loaded_by_style(style)]  # fmt: skip


def loaded_by_style(css: str) -> list[str]:
    """The URLs on other hosts that a style sheet loads."""
    return IN_STYLE.findall(css)


def _loaded(site: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".svg"}:
            found = loaded_by_page(path.read_text(encoding="utf-8"))
        elif path.suffix == ".css":
            found = loaded_by_style(path.read_text(encoding="utf-8"))
        else:
            continue
        yield from ((path, address) for address in found)


def on_post_build(*, config: Mapping[str, Any]) -> None:
    """Warn about each URL on another host that a file of the built site loads."""
    for path, address in _loaded(Path(config["site_dir"])):
        LOG.warning("%s loads %s from another host", path.name, address)
