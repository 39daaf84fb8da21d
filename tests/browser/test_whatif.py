"""What if and the model in Chromium: the slider by keys, the result, cancel, copy, the page of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.detector.explore.explored import real_backtest, served

pytestmark = pytest.mark.browser
READY = "body:not([aria-busy])"
LONG = 180_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(real_backtest(tmp_path_factory.mktemp("whatif"))) as address:
        yield address


def ask_by_keys(page: Page, site: str, steps: int) -> None:
    page.goto(f"{site}/series?name=pump-2")
    page.wait_for_selector(READY)
    page.locator("#whatif > summary").press("Enter")
    slider = page.get_by_label("Alarm budget")
    expect(slider).to_be_visible()
    for _ in range(steps):
        slider.press("ArrowRight")


def test_the_slider_by_keys_a_result_and_its_difference(page: Page, site: str) -> None:
    ask_by_keys(page, site, 2)
    expect(page.get_by_label("Alarm budget")).to_have_attribute("aria-valuetext", "1/day; now 1/week")
    expect(page).to_have_url(re.compile("budget=1%2Fday"))
    page.get_by_label("Alarm budget").press("Enter")
    toml = page.get_by_label("Changed settings as TOML")
    expect(toml).to_contain_text('alarm_budget = "1/day"  # was 1/week', timeout=LONG)
    expect(page.locator("#whatif .result")).to_contain_text("it gives the stored incidents")
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#whatif .result [role=status]")).to_have_text(re.compile("copied|selected"))


def test_a_computation_is_cancelled(page: Page, site: str) -> None:
    ask_by_keys(page, site, 3)
    page.get_by_role("button", name="Compute").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#whatif .status")).to_have_text("cancelled", timeout=LONG)
    expect(page.get_by_role("button", name="Compute")).to_be_enabled()


def test_the_page_of_the_model(page: Page, site: str) -> None:
    page.goto(f"{site}/model")
    page.wait_for_selector(READY, timeout=LONG)
    expect(page.locator("#curve")).to_contain_text("in force")
    expect(page.locator("#channels tbody tr")).to_have_count(3)
    expect(page.locator("#used")).to_contain_text("2 alarms")
