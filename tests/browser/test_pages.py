"""The pages in Chromium: they render from a real backtest, obey the policy, and work with keys alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from detector.explore.display import Display
from detector.explore.source import source_of
from detector.explore.web.serve import opened
from tests.detector.explore.explored import (
    ADA,
    START_NS,
    incident,
    real_backtest,
    scores_of,
    served,
    serving,
    write_backtest,
)

pytestmark = pytest.mark.browser
READY = "body:not([aria-busy])"
FAULTY = "pump-2"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(real_backtest(tmp_path_factory.mktemp("explored"))) as address:
        yield address


def go(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(READY)


def ready(page: Page) -> None:
    page.wait_for_selector(READY)


def incident_of(page: Page, site: str) -> str:
    go(page, f"{site}/series?name={FAULTY}")
    href = page.locator("#incidents a").first.get_attribute("href")
    assert href is not None
    return f"{site}{href}"


def test_the_fleet_shows_every_series_with_its_lane(page: Page, site: str) -> None:
    go(page, site)
    expect(page.locator("#fleet tbody tr")).to_have_count(3)
    expect(page.locator("#fleet tbody tr").first.locator("canvas")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("3 series found")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#incidents li").first).to_contain_text("expected")


def test_a_series_shows_score_and_channels(page: Page, site: str) -> None:
    go(page, f"{site}/series?name={FAULTY}")
    expect(page.locator("h1")).to_have_text(FAULTY)
    expect(page.locator(".chart canvas")).to_have_count(4)  # the score and three channels
    expect(page.locator(".chart h3").nth(1)).to_contain_text("flow")  # the faulty channel comes first
    expect(page.locator("#detail")).to_contain_text("900 rows, each one shown")


def test_an_incident_shows_evidence_window_and_rows(page: Page, site: str) -> None:
    go(page, incident_of(page, site))
    expect(page.locator("h1")).to_contain_text(f"{FAULTY}: flow")
    expect(page.locator("#ranked tbody tr").first).to_contain_text("flow")
    expect(page.locator(".chart canvas")).to_have_count(4)
    page.locator("#rows summary").click()
    assert page.locator("#rows tbody tr").count() > 60


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_a_wide_screen_in_both_schemes(
    browser: Browser, site: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    for address in (site, f"{site}/series?name={FAULTY}", incident_of(page, site)):
        go(page, address)
        assert page.locator("html").evaluate("page => page.scrollWidth") <= width
        colours = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        brightness = sum(map(int, re.findall(r"\d+", colours)[:3]))
        assert (brightness > 600) == (scheme == "light")
    context.close()


def test_the_filters_are_in_the_address_and_survive_a_reload(page: Page, site: str) -> None:
    go(page, site)
    page.locator("#search").fill("north")
    expect(page.locator("#fleet tbody tr")).to_have_count(1)
    page.locator("#sort").select_option("series")
    expect(page).to_have_url(re.compile(r"search=north.*sort=series"))
    ready(page)
    page.reload()
    ready(page)
    expect(page.locator("#search")).to_have_value("north")
    expect(page.locator("#sort")).to_have_value("series")
    expect(page.locator("#fleet tbody tr")).to_have_count(1)


def test_zoom_and_channels_are_in_the_address_and_survive_reload_and_back(page: Page, site: str) -> None:
    go(page, f"{site}/series?name={FAULTY}")
    whole = page.locator("#range span").inner_text()
    page.get_by_role("button", name="Zoom in").click()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    expect(page.locator("#range span")).not_to_have_text(whole)
    page.get_by_label("speed", exact=True).uncheck()
    expect(page.locator(".chart canvas")).to_have_count(3)
    shown = page.locator("#range span").inner_text()
    ready(page)
    page.reload()
    ready(page)
    expect(page.locator("#range span")).to_have_text(shown)
    expect(page.locator(".chart canvas")).to_have_count(3)
    page.go_back()
    page.go_back()
    expect(page.locator("#range span")).to_have_text(whole)


def test_dragging_across_a_chart_zooms_into_it(page: Page, site: str) -> None:
    go(page, f"{site}/series?name={FAULTY}")
    box = page.locator(".u-over").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found is not None
    assert int(found[2]) - int(found[1]) == pytest.approx(0.2 * 900_000, rel=0.1)


def test_the_keys_alone_lead_from_the_fleet_to_a_cell_of_a_series(page: Page, site: str) -> None:
    go(page, site)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator("canvas:focus").count():
            break
    lane = page.locator("canvas:focus")
    expect(lane).to_have_attribute("role", "slider")
    page.keyboard.press("Home")
    first = lane.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert lane.get_attribute("aria-valuetext") != first
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/series\?name=.*from=\d+"))
    ready(page)
    shown = page.locator("#range span").inner_text()
    page.keyboard.press("-")
    expect(page.locator("#range span")).not_to_have_text(shown)
    page.keyboard.press("0")
    expect(page).not_to_have_url(re.compile("from="))


def test_every_control_has_a_name_for_screen_readers(page: Page, site: str) -> None:
    for address in (site, f"{site}/series?name={FAULTY}"):
        go(page, address)
        for control in page.locator("input, select, button, a, canvas[tabindex]").all():
            name = control.evaluate(
                "one => one.getAttribute('aria-label') || one.textContent.trim()"
                " || (one.labels?.[0]?.textContent ?? '').trim()"
            )
            assert name, control.evaluate("one => one.outerHTML")


def test_the_policy_refuses_a_script_in_the_page(browser: Browser, site: str) -> None:
    page = browser.new_page()
    go(page, site)
    ran = page.locator("body").evaluate(
        """body => { const one = document.createElement("script"); one.textContent = "window.ran = true";
           return new Promise(done => { document.addEventListener("securitypolicyviolation", event => done(
             [window.ran ?? false, event.effectiveDirective])); body.append(one); }); }"""
    )
    assert ran == [False, "script-src-elem"]
    page.close()


def test_what_does_not_exist_is_said_in_words(browser: Browser, site: str) -> None:
    page = browser.new_page()
    go(page, f"{site}/series?name=nobody")
    expect(page.locator("#problem")).to_contain_text("there is no series 'nobody'")
    page.close()


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two lines of a plant with many pumps, modes of operation, and a series alone."""
    names = [f"plant/line-{at % 2}/pump-{at:02d}" for at in range(60)] + ["alone"]
    series = np.repeat(np.array(names, dtype=object), 30)
    scores = scores_of(series, np.tile(START_NS + np.arange(30) * 60_000_000_000, len(names)), 3, 0.0)
    scores = scores.assign(mode=np.where(np.arange(len(series)) % 30 < 15, "rest", "run"))
    told = [incident("aa11", names[1], "2026-01-01T00:10:00Z", None, severity="critical")]
    out = write_backtest(tmp_path_factory.mktemp("grouped") / "out", scores, told)
    shown = opened(source_of(str(out)), ADA, display=Display(runbooks="https://wiki.example/"))
    with serving(shown) as address:
        yield address


def test_groups_open_and_close_with_keys_alone_and_stay_in_the_address(page: Page, grouped: str) -> None:
    go(page, grouped)
    page.locator("#show").focus()
    page.keyboard.press("ArrowDown")
    opener = page.get_by_role("button", name="plant/line-1", exact=True)
    expect(opener).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#fleet tbody tr")).to_have_count(3)
    expect(page.locator("#summary")).to_contain_text("3 groups of 61 series found")
    expect(page.locator("#fleet tbody tr").first).to_contain_text("critical, 1 in 1 series, 1 open")
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(opener).to_be_focused()  # the table was filled again, and the focus is where it was
    expect(page.locator("#fleet tbody tr.member")).to_have_count(26)
    expect(page).to_have_url(re.compile(r"show=groups&group=plant%2Fline-1"))
    page.reload()
    ready(page)
    expect(page.locator("#fleet tbody tr.member")).to_have_count(26)
    page.get_by_role("link", name="All 30 series of plant/line-1").press("Enter")
    ready(page)
    expect(page.locator("#group")).to_contain_text("Only group plant/line-1")
    expect(page.locator("#summary")).to_contain_text("30 series found")
    page.get_by_role("button", name="Show all series").press("Enter")
    expect(page.locator("#summary")).to_contain_text("61 series found")
    page.go_back()
    expect(page.locator("#summary")).to_contain_text("30 series found")


def test_the_mode_is_a_column_and_stands_on_the_pages_of_series_and_incidents(
    page: Page, grouped: str, site: str
) -> None:
    go(page, f"{grouped}/?search=alone")
    expect(page.locator("#fleet tbody td.mode")).to_have_text("run")
    go(page, f"{grouped}/series?name=alone")
    expect(page.locator("#summary")).to_contain_text("Mode of operation at the end: run.")
    go(page, f"{grouped}/incident?id=aa11")
    expect(page.locator("#facts")).to_contain_text("rest (5 rows), then run (15 rows)")
    book = page.locator("#facts a", has_text="StreamgaugeAnomaly")
    expect(book).to_have_attribute("href", "https://wiki.example/StreamgaugeAnomaly.md")
    go(page, site)  # its model has no modes
    expect(page.locator("#fleet th.mode")).to_be_hidden()


def test_a_chosen_cell_of_a_lane_stays_chosen_when_new_rows_come(page: Page, grouped: str) -> None:
    go(page, f"{grouped}/?show=groups&search=line-1")
    lane = page.locator("#fleet tbody canvas").first
    lane.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    chosen = lane.get_attribute("aria-valuetext")
    page.evaluate("dispatchEvent(new Event('view'))")
    ready(page)
    expect(lane).to_be_focused()
    expect(lane).to_have_attribute("aria-valuetext", chosen or "")


def test_the_model_page_says_what_is_found_and_where_levels_are(page: Page, site: str) -> None:
    page.goto(f"{site}/model")
    expect(page.locator("#finds")).to_contain_text("a shift of", timeout=180_000)  # it reads the model first
    expect(page.locator("#finds tbody tr")).to_have_count(3)
    expect(page.locator("#finds thead")).to_contain_text("a shift in 10 rows")
    expect(page.locator("#drift")).to_contain_text("The history is too short")
