"""The size and times of the report of 500 profiles and 100 models, and its picture: `make report-picture`.

If the command names a file, this script saves the picture of the generated account's report there. Otherwise it prints
a line of figures. CPU seconds are those of the browser's main thread, so that other work on the machine does not count.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rolewarden_cli.report import render

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.reports import generated

SCROLL = """async () => {
  const area = document.getElementById('matrix-scroll');
  for (let y = 0; y < 6000; y += 200) { area.scrollTop = y; await new Promise(requestAnimationFrame); }
}"""

BORDER = 4
"""Pixels of borders by which the matrix may exceed its area although the picture shows all of it."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        file = Path(folder) / "report.html"
        if len(sys.argv) > 1:
            file.write_text(render(generated(10, 16)), encoding="utf-8")
            page = browser.new_page(
                viewport={"width": 900, "height": 1000}, device_scale_factor=2, color_scheme="light"
            )
            page.goto(file.as_uri())
            picture(page, Path(sys.argv[1]))
        else:
            began = time.process_time()
            file.write_text(render(generated(500, 100)), encoding="utf-8")
            rendered = time.process_time() - began
            figures(page, file, rendered)
        browser.close()


def picture(page: Page, to: Path) -> None:
    """Save a picture of the access matrix with one decision explained, complete and legible at GitHub's width."""
    page.locator("#matrix tbody").nth(3).locator("tr:nth-child(2) td.d").first.evaluate("(cell) => cell.click()")
    page.locator("nav").evaluate("(nav) => { nav.style.display = 'none' }")
    area = page.locator("#matrix-scroll")
    area.evaluate("(area) => { area.style.maxHeight = 'none' }")
    page.wait_for_timeout(500)
    hidden = area.evaluate("(area) => [area.scrollWidth - area.clientWidth, area.scrollHeight - area.clientHeight]")
    if max(hidden) > BORDER:
        sys.exit(
            f"the picture would hide {hidden[0]} x {hidden[1]} pixels of the matrix: take fewer subjects or models"
        )
    page.locator("#access").screenshot(path=str(to))


def figures(page: Page, file: Path, rendered: float) -> None:
    """Measure the size, and the CPU seconds to render the report, to load it, and for thirty steps of scrolling."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        told = session.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in told if metric["name"] == "TaskDuration"))

    before = spent()
    page.goto(file.as_uri())
    loaded = spent()
    page.locator("#access").evaluate("(part) => part.scrollIntoView()")
    page.wait_for_timeout(500)
    ready = spent()
    page.evaluate(SCROLL)
    size = file.stat().st_size / 1e6
    print(f"report of 500 x 100: {size:.1f} MB, rendered in {rendered:.1f} s, loaded in {loaded - before:.2f} s, "
          f"{(spent() - ready) / 30 * 1000:.0f} ms a step of scrolling (CPU)")  # fmt: skip


if __name__ == "__main__":
    main()
