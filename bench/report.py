"""The size and times of the report of 500 profiles and 100 models, and its picture: `make report-picture`.

If the command names a file, this script saves the picture of the example report's headline there. Otherwise it prints
a line of figures for one account, and one for the same number of profiles in three accounts. CPU seconds are those of
this process and of the browser's main thread, so that other work on the machine does not count.
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

from tests.reports import example, generated, of_several

SCROLL = """async () => {
  const area = document.getElementById('matrix-scroll');
  for (let y = 0; y < 6000; y += 200) { area.scrollTop = y; await new Promise(requestAnimationFrame); }
}"""

PROFILES, MODELS = 500, 100


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        file = Path(folder) / "report.html"
        if len(sys.argv) > 1:
            file.write_text(render(example()), encoding="utf-8")
            page = browser.new_page(
                viewport={"width": 1000, "height": 1000}, device_scale_factor=2, color_scheme="light"
            )
            page.goto(file.as_uri())
            page.locator("nav").evaluate("(nav) => { nav.style.display = 'none' }")
            page.locator("#answer").screenshot(path=sys.argv[1])
        else:
            for name, report in (
                ("1 account", generated(PROFILES, MODELS)),
                ("3 accounts", of_several(-(-PROFILES // 3), MODELS)),
            ):
                began = time.process_time()
                file.write_text(render(report), encoding="utf-8")
                rendered = time.process_time() - began
                page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
                figures(page, file, rendered, name)
        browser.close()


def figures(page: Page, file: Path, rendered: float, name: str) -> None:
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
    elements = int(page.evaluate("document.querySelectorAll('*').length"))
    print(
        f"report of {PROFILES} x {MODELS} in {name}: {size:.1f} MB, "
        f"{elements / PROFILES / MODELS:.2f} elements a cell, rendered in {rendered:.2f} s, "
        f"loaded in {loaded - before:.2f} s, {(spent() - ready) / 30 * 1000:.0f} ms a step of scrolling (CPU)"
    )


if __name__ == "__main__":
    main()
