"""The report in a browser, with a user's actions. These tests need Chromium (Debian: chromium)."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
from playwright.sync_api import expect, sync_playwright
from rolewarden.verdicts import Verdict
from rolewarden_cli.report import render
from rolewarden_cli.report.model import WORST

from tests.reports import changed, example, generated, of_several, planned

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Many tests share a small machine.
expect.set_options(timeout=30_000)

pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # As root, for example in a container, Chromium starts only without its sandbox. The page is our own.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report():
    return generated(500, 100)


@pytest.fixture(scope="module")
def file(report, tmp_path_factory):
    written = tmp_path_factory.mktemp("report") / "report.html"
    written.write_text(render(report), encoding="utf-8")
    return written


@pytest.fixture(scope="module")
def shared(browser, file):
    """One page for all tests that do not change it. It records its console messages and network requests."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(file.as_uri())
    return page


@pytest.fixture
def page(shared):
    yield shared
    shared.locator("button[type=reset]").click()
    shared.locator("#theme").select_option("")


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a report in a page of its own, with options of the browser."""
    pages = []

    def open_report(report, **options):
        file = tmp_path / "report.html"
        file.write_text(render(report), encoding="utf-8")
        pages.append(browser.new_page(**options))
        pages[-1].goto(file.as_uri())
        return pages[-1]

    yield open_report
    for page in pages:
        page.close()


def shown(page):
    return page.locator("#matrix tbody tr:not(.domain)").locator("visible=true").count()


def cell(page, row, model):
    """The cell of a subject and a model by their names, scrolled into view."""
    place = page.evaluate(
        "(model) => [...document.querySelectorAll('#matrix tr:last-child > th[scope=col]')]"
        ".findIndex((one) => one.title === model)",
        model,
    )
    line = page.locator("#matrix tbody tr").filter(has=page.locator("th", has_text=re.compile(f"^{row}$")))
    found = line.locator(f":nth-child({place + 1})")
    found.evaluate("(cell) => cell.scrollIntoView({ block: 'center', inline: 'center' })")
    return found


def test_the_page_loads_only_itself_and_logs_nothing(page, file):
    page.locator("#filter-row").fill("research")
    page.locator("#filter-model").fill("nova")
    expect(page.locator("#shown")).to_contain_text("100 of 500 rows, 14 of 100")
    assert page.asked == [file.as_uri()]
    assert page.said == []


def test_a_script_that_got_into_the_page_would_not_run(browser, file):
    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    smuggled = file.with_name("smuggled.html")
    text = file.read_text(encoding="utf-8")
    smuggled.write_text(
        text.replace(
            "<main>", "<main><script>document.title = 'taken'</script><img src=x onerror=document.title='taken'>"
        )
    )
    page.goto(smuggled.as_uri())
    assert page.title().startswith("Rolewarden")
    assert any("Content Security Policy" in line for line in said)
    page.close()


def test_a_filter_leaves_the_rows_and_models_that_it_names(page):
    page.locator("#filter-row").fill("finance user-1")
    page.locator("#filter-family").select_option("jumpstart")
    expect(page.locator("#shown")).to_contain_text("20 of 500 rows, 30 of 100")
    assert shown(page) == 20
    assert page.locator("#matrix thead th.model").locator("visible=true").count() == 30
    assert page.locator("#matrix tbody").locator("visible=true").count() == 1
    page.locator("button[type=reset]").click()
    expect(page.locator("#shown")).to_contain_text("500 of 500 rows, 100 of 100")
    assert shown(page) == 500


def test_subjects_with_problems_can_be_filtered(page, report):
    page.locator("#filter-verdict").select_option("drifted")
    drifted = sum(report.accounts[0].verdict(row) == "drifted" for row in report.accounts[0].access.rows)
    expect(page.locator("#shown")).to_contain_text(f"{drifted} of 500 rows")


def test_rows_can_be_sorted_within_their_domain(page):
    def roles():
        return page.locator("#matrix tbody").first.locator("tr:not(.domain) td:nth-child(2)").all_text_contents()

    before = roles()
    page.locator("#sort").select_option("role")
    assert roles() == sorted(before) != before
    page.locator("#sort").select_option("subject")
    assert roles() == before


def test_rows_sorted_by_verdict_begin_with_the_worst_in_the_order_of_the_report(opened):
    whole = generated(5, 4)
    rows = tuple(replace(row, domain_id="d-one", domain_name="one") for row in whole.accounts[0].access.rows)
    roles = [row.role for row in rows]
    verdicts = dict(zip(roles, WORST, strict=True))
    plan = replace(whole.accounts[0].plan, roles=tuple(planned(role, verdicts[role]) for role in roles))
    access = replace(whole.accounts[0].access, rows=rows)
    page = opened(changed(whole, access=access, plan=plan), viewport={"width": 1280, "height": 900})
    page.locator("#sort").select_option("verdict")
    shown = page.locator("#matrix tbody tr:not(.domain) td:nth-child(3)").all_text_contents()
    assert [one.strip() for one in shown] == [verdict.value for verdict in reversed(WORST)]


OVER = """() => {
  const heads = [...document.querySelectorAll('#matrix .family')].filter((one) => one.getClientRects().length);
  const names = heads.map((one) => one.querySelector('span'));
  const over = names.filter((one, n) => one.getBoundingClientRect().right > heads[n].getBoundingClientRect().right + 1);
  const edge = document.querySelector('.matrix').getBoundingClientRect().right;
  const domains = [...document.querySelectorAll('#matrix tr.domain th')];
  const right = (one) => one.getBoundingClientRect().right;
  const cut = domains.filter((one) => right(one) > edge + 1 || one.scrollWidth > one.clientWidth);
  return [...over, ...cut].map((one) => one.textContent);
}"""
"""The heads of families that cover the next one, and the names of domains that go on outside of the matrix."""


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_stay_within_the_heads_of_the_matrix(opened, width):
    whole = generated(8, 3)
    rows = tuple(replace(row, domain_name="d" * 63) for row in whole.accounts[0].access.rows)
    report = changed(whole, access=replace(whole.accounts[0].access, rows=rows))
    page = opened(report, viewport={"width": width, "height": 844})
    assert page.evaluate(OVER) == []


def test_a_cell_shows_its_decision_with_the_statement(page, report):
    cell(page, "user-008", "mistral.mistral-1-v1:0").click()
    [row] = [row for row in report.accounts[0].access.rows if row.user_profile == "user-008"]
    expect(page.locator("#cell")).to_have_text(
        "mistral.mistral-1-v1:0: denied by only-nova-and-sonnet:BedrockUnlistedModels. "
        f"research, user-008, role {row.role} (compliant)"
    )


def test_the_arrow_keys_go_from_cell_to_cell_over_hidden_ones(page):
    cell(page, "user-001", "amazon.nova-1-v1:0").click()
    page.locator("#filter-model").fill("nova-1")
    expect(page.locator("#shown")).to_contain_text("6 of 100")
    cell(page, "user-001", "amazon.nova-1-v1:0").focus()
    for key, told in (
        ("ArrowRight", "amazon.nova-10-v1:0"),
        ("End", "amazon.nova-14-v1:0"),
        ("Home", "amazon.nova-1-v1:0"),
        ("ArrowDown", "finance, user-006"),
        ("ArrowUp", "finance, user-001"),
    ):
        page.keyboard.press(key)
        expect(page.locator("#cell")).to_contain_text(told)


def test_one_cell_of_the_matrix_takes_part_in_the_tab_order(page):
    cell(page, "user-003", "amazon.nova-2-v1:0").click()
    assert page.locator("#matrix td[tabindex='0']").count() == 1


def test_the_header_and_first_column_stay_visible(page):
    area = page.locator("#matrix-scroll")
    area.evaluate("(area) => area.scrollTo(900, 6000)")
    box = area.bounding_box()
    head = page.locator("#matrix thead tr:last-child th").first.bounding_box()
    families = page.locator("#matrix thead .families").bounding_box()
    assert abs(families["y"] - box["y"]) < 3
    assert abs(head["y"] - families["y"] - families["height"]) < 3
    assert abs(head["x"] - box["x"]) < 3
    heads = page.locator("#matrix tbody th[scope=row]").evaluate_all(
        "(heads) => heads.map((head) => head.getBoundingClientRect()).map(({ left, top }) => ({ left, top }))"
    )
    seen = [at for at in heads if box["y"] + 300 < at["top"] < box["y"] + box["height"]]
    assert len(seen) > 3
    assert all(abs(at["left"] - box["x"]) < 3 for at in seen)
    area.evaluate("(area) => area.scrollTo(0, 0)")


def test_the_domain_of_the_topmost_rows_stays_visible(page):
    area = page.locator("#matrix-scroll")
    area.evaluate("(area) => area.scrollTo(900, 3200)")  # This position is between the headers of two domains.
    below = page.locator("#matrix thead").bounding_box()
    tops = page.locator("#matrix .domain > th").evaluate_all("(all) => all.map((th) => th.getBoundingClientRect().top)")
    assert min(abs(top - below["y"] - below["height"]) for top in tops) < 3
    area.evaluate("(area) => area.scrollTo(0, 0)")


def test_the_theme_follows_the_system_until_it_is_chosen(page):
    def back():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = back()
    page.locator("#theme").select_option("dark")
    dark = back()
    assert dark != light
    page.locator("#theme").select_option("")
    page.emulate_media(color_scheme="dark")
    assert back() == dark
    page.emulate_media(color_scheme="light")
    assert back() == light


def test_screen_readers_get_rows_and_cells_with_their_decision(opened):
    page = opened(generated(6, 6))
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = [(node.get("role", {}).get("value"), node.get("name", {}).get("value", "")) for node in nodes]
    cells = [name for role, name in roles if role in {"cell", "gridcell"}]
    assert sum(name.startswith(("allowed", "denied", "not allowed")) for name in cells) == 36
    assert ("rowheader", "user-000") in roles
    assert ("columnheader", "amazon.nova-1-v1:0") in roles


def test_the_page_is_complete_without_its_script(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("#matrix tbody tr:not(.domain)").count() == 500
    assert not page.locator("#filters").is_visible()
    assert page.locator("#reasons li").count() > 1
    context.close()


def test_the_page_fits_a_phone(browser, file):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_models_are_visible_next_to_their_subject_on_a_phone(browser, file):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(file.as_uri())
    cells = "[...document.querySelector('#matrix tbody tr:nth-child(2)').querySelectorAll('td.a, td.d, td.n')]"
    assert page.evaluate(f"{cells}.filter((cell) => cell.getBoundingClientRect().right < 390).length") >= 8
    page.close()


@pytest.mark.parametrize("media", ["screen", "print"])
def test_a_long_role_and_the_longest_verdict_are_not_cut(opened, media):
    whole = generated(8, 8)
    role = "CanvasAnalytics-with-Bedrock-and-more"
    rows = tuple(replace(row, role=role) for row in whole.accounts[0].access.rows)
    access = replace(
        whole.accounts[0].access, rows=rows, decisions={role: next(iter(whole.accounts[0].access.decisions.values()))}
    )
    plan = replace(whole.accounts[0].plan, roles=(planned(role, Verdict.UNENFORCEABLE),))
    page = opened(changed(whole, access=access, plan=plan), viewport={"width": 1280, "height": 900})
    page.emulate_media(media=media)
    cut = "[...document.querySelectorAll('#matrix tbody td:not([class])')].filter((c) => c.scrollWidth > c.clientWidth)"
    assert page.evaluate(f"{cut}.length") == 0


CUT = """() => [...document.querySelectorAll('main :is(p, li, dd, .list th, .list td)')]
  .filter((one) => one.getClientRects().length && !one.closest('.matrix, thead, .unseen'))
  .filter((one) => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > innerWidth)
  .map((one) => one.textContent.trim().slice(0, 60))"""
"""The texts that are wider than their element or than the page."""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_text_and_no_column_of_a_table_is_cut(opened, width):
    page = opened(example(), viewport={"width": width, "height": 844})
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []


def test_on_a_phone_each_cell_has_the_head_of_its_column(opened):
    page = opened(example(), viewport={"width": 390, "height": 844})
    cell = page.locator("#exceptions-table td[data-head='Approved by']").first
    assert cell.evaluate("(one) => getComputedStyle(one, '::before').content") == '"Approved by" / ""'
    assert cell.bounding_box()["x"] < 30


def test_touching_the_head_of_a_column_shows_its_whole_name(page):
    page.locator("#matrix thead th.model").nth(3).evaluate("(head) => head.click()")
    expect(page.locator("#cell")).to_have_text("Column 4: amazon.nova-4-v1:0")


def test_the_heads_of_the_families_cover_the_columns_that_are_shown(page):
    def width(family):
        return page.locator(f"#matrix .family[data-family={family}]").evaluate(
            "(head) => head.getBoundingClientRect().width"
        )

    def columns(family):
        heads = page.locator(f"#matrix th.model[data-family={family}]").evaluate_all(
            "(heads) => heads.map((head) => head.getBoundingClientRect().width)"
        )
        return sum(heads)

    assert columns("bedrock") > 0
    assert width("bedrock") == pytest.approx(columns("bedrock"), abs=1)
    page.locator("#filter-model").fill("nova-1")
    expect(page.locator("#shown")).to_contain_text("6 of 100")
    assert columns("bedrock") > 0
    assert width("bedrock") == pytest.approx(columns("bedrock"), abs=1)
    assert width("jumpstart") == 0


def test_a_question_leads_to_its_place_with_the_keyboard(opened):
    page = opened(example(), viewport={"width": 1280, "height": 900})
    row = page.get_by_role("row", name="Who tampered with guardrails or with Rolewarden?")
    row.get_by_role("link", name="Tampering").press("Enter")
    heading = page.get_by_role("heading", name="Tampering")
    expect(heading).to_be_in_viewport()
    assert heading.bounding_box()["y"] > page.locator("nav").bounding_box()["height"] - 1


def test_several_accounts_can_be_told_apart_and_filtered(opened):
    page = opened(of_several(), viewport={"width": 1280, "height": 900})
    page.locator("#filter-row").fill("222233334444")
    expect(page.locator("#shown")).to_contain_text("12 of 36 rows")
    assert page.locator("#matrix tbody").locator("visible=true").count() == 5


def test_the_printed_page_has_everything_that_is_folded_on_the_screen(opened):
    page = opened(example())
    page.emulate_media(media="print")
    parts = page.locator("details").evaluate_all(
        "(all) => all.map((part) => [part.firstElementChild.textContent, part.lastElementChild.checkVisibility("
        "{ contentVisibilityAuto: true }) && part.lastElementChild.getBoundingClientRect().height > 8])"
    )
    assert len(parts) > 8
    assert [name for name, is_shown in parts if not is_shown] == []
    for text in ("Role Remediated", "BedrockUnlistedModels", "huggingface-llm-example-4b-instruct"):
        assert page.get_by_text(text).last.is_visible()


def test_the_printed_page_is_light_and_complete_without_controls(opened):
    page = opened(generated(40, 20), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not page.locator("#filters").is_visible()
    assert not page.locator("nav").is_visible()
    area = page.locator("#matrix-scroll")
    assert area.evaluate("(area) => area.scrollHeight <= area.clientHeight + 1")
    assert page.evaluate("getComputedStyle(document.querySelector('#matrix thead')).display") == "table-header-group"
    assert page.locator("#reasons li").first.is_visible()
    number = page.locator("#matrix td[data-by]").first
    assert (
        number.evaluate("(cell) => getComputedStyle(cell, '::after').content") == f'"{number.get_attribute("data-by")}"'
    )
