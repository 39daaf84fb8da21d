"""Reports in Chromium without a network: they draw, link to their own pages, and log nothing."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from streamgauge import main
from tests.detector.reports.reported import JUMP, answers_of, report_of_backtest
from tests.support.sines import frame_of, write
from tests.trainer.evaluation.test_report import labelled

pytestmark = pytest.mark.browser
READY = "body:not([aria-busy])"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("reported")
    page, _ = report_of_backtest(directory, "--compare", str(directory / "models" / "calm"))
    return page.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network. The test fails if it asks for an address or writes to the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda one: None if one.url.startswith("file:") else problems.append(one.url))
    yield opened
    context.close()
    assert problems == []


def go(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(READY)


def test_the_first_page_has_words_lanes_incidents_labels_and_scores(page: Page, report: str) -> None:
    go(page, report)
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#summary")).to_contain_text("2 incidents in 2 of 3 series")
    expect(page.locator("#fleet tbody tr")).to_have_count(3)
    expect(page.locator("#fleet canvas").first).to_be_visible()
    expect(page.locator("#cards details.incident")).to_have_count(2)
    expect(page.locator("#cards .chart canvas").first).to_be_visible()
    expect(page.locator("#events tbody tr")).to_have_count(3)
    expect(page.locator("#events .bad")).to_have_text("missed")
    expect(page.locator("#scores canvas")).to_be_visible()
    expect(page.locator("#made")).to_contain_text("streamgauge")


def test_series_beside_their_peers_have_a_section_where_there_are_some(
    page: Page, report: str, tmp_path: Path
) -> None:
    go(page, report)
    expect(page.locator("#peers")).to_be_hidden()
    made = Path(report.removeprefix("file://"))
    answers = answers_of(made)
    answers["report"]["apart"] = [
        ["pump-3: <b>flow</b> is 2.25 below that of its peers", "from then to then"]
    ]
    packed = base64.b64encode(gzip.compress(json.dumps(answers).encode())).decode()
    text = re.sub(r'(id="data">\s*)\S+', lambda found: found[1] + packed, made.read_text(), count=1)
    (tmp_path / "apart.html").write_text(text)
    go(page, (tmp_path / "apart.html").as_uri())
    expect(page.get_by_role("heading", name="Series beside their peers")).to_be_visible()
    expect(page.locator("#apart th")).to_have_text("pump-3: <b>flow</b> is 2.25 below that of its peers")
    expect(page.locator("#apart td")).to_have_text("from then to then")


def test_the_slider_shows_the_incidents_of_each_budget(page: Page, report: str) -> None:
    go(page, report)
    slider = page.locator("#budget")
    expect(page.locator("#budget-words")).to_contain_text("in force")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "1/quarter")
    expect(page.locator("#budget-words")).to_contain_text("1/quarter")
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "1/day")


def test_a_series_opens_and_zooms_inside_the_file(page: Page, report: str) -> None:
    go(page, report)
    page.locator("#fleet a", has_text=JUMP).click()
    page.wait_for_url(re.compile("show=series"))
    page.wait_for_selector(READY)
    expect(page.locator("h1")).to_have_text(JUMP)
    expect(page.get_by_role("heading", name="Decide")).to_be_hidden()
    expect(page.locator("#whatif")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#detail")).to_contain_text("900 rows, each one shown")
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator("#detail")).to_contain_text(re.compile("45[01] rows"))
    page.get_by_label("speed", exact=True).uncheck()
    expect(page.locator(".chart canvas")).to_have_count(3)
    page.locator(".home").click()
    expect(page.locator("#summary")).to_contain_text("2 incidents")


def test_an_incident_opens_with_all_of_its_evidence(page: Page, report: str) -> None:
    go(page, report)
    page.locator("#cards a").first.click()
    page.wait_for_url(re.compile("show=incident"))
    page.wait_for_selector(READY)
    expect(page.locator("#ranked tbody tr")).to_have_count(3)
    expect(page.get_by_role("heading", name="Decide")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator(".chart canvas")).to_have_count(4)


def test_two_models_stand_side_by_side(page: Page, report: str) -> None:
    go(page, report)
    expect(page.locator("#comparison")).to_contain_text("Both raised")
    expect(page.locator("#comparison tbody tr")).to_have_count(2)
    expect(page.locator("#comparison .chart canvas")).to_have_count(3)
    expect(page.locator("#card-differences")).to_contain_text("another card")


def test_what_the_file_lacks_is_said_in_words(page: Page, report: str) -> None:
    go(page, f"{report}?show=series&name=nobody")
    expect(page.locator("#problem")).to_contain_text("not in this report")


def test_the_report_of_a_training_draws(page: Page, tmp_path: Path) -> None:
    history = write(tmp_path / "history.parquet", frame_of(1200))
    assert main(["train", str(history), "--out", str(tmp_path / "pump"), "--model", "linear"]) == 0
    (report,) = (tmp_path / "pump").glob("*/report.html")
    go(page, report.as_uri())
    expect(page.locator("#losses")).to_contain_text("without epochs")
    expect(page.locator("#residuals tbody tr")).to_have_count(3)
    expect(page.locator("#worst canvas")).to_have_count(9)
    expect(page.locator("#latent canvas")).to_be_visible()
    expect(page.locator("#budget canvas")).to_be_visible()


def test_the_table_of_an_evaluation_sorts_by_any_column(page: Page, tmp_path: Path) -> None:
    directory, report = labelled(tmp_path / "data"), tmp_path / "evaluation.html"
    command = ["evaluate", str(directory), "--model", "linear", "--window", "16", "--jobs", "1"]
    assert main([*command, "--report", str(report)]) == 0
    go(page, report.as_uri())
    first = page.locator("#files tbody tr th").first
    expect(first).to_have_text("file-0.parquet")
    page.get_by_role("button", name="VUS-PR", exact=True).click()
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    expect(first).to_have_text("file-1.parquet")
    expect(page.locator("svg.spark")).to_have_count(2)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_wide_screen(browser: Browser, report: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    go(page, report)
    page.locator("#cards .chart canvas").first.wait_for()
    assert page.locator("html").evaluate("page => page.scrollWidth") <= width
    context.close()


def test_the_policy_refuses_a_script_that_was_added(browser: Browser, report: str, tmp_path: Path) -> None:
    path = Path(report.removeprefix("file://"))
    changed = tmp_path / "changed.html"
    changed.write_text(path.read_text().replace("</body>", "<script>window.ran = true;</script></body>"))
    page = browser.new_page()
    go(page, changed.as_uri())
    assert page.evaluate("window.ran ?? false") is False
    page.close()
