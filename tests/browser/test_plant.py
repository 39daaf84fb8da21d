"""The explorer on a running group of two models in Chromium: a list by model, a page for each, decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.detector.explore.explored import served
from tests.plant.test_plant_kafka import config_of, models, rows
from tests.support.daemon import read_all, running
from tests.test_daemon_kafka import send

__all__ = ["models"]
pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000
READY = "body:not([aria-busy])"


@pytest.fixture
def site(
    models: Path, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> Iterator[tuple[str, str]]:
    """The address of the explorer on a group that has judged 80 rows of each series, and its topic."""
    topic = kafka_topic(2)
    text = config_of(models, kafka_bootstrap, topic).replace("[recovery]", 'detail = "full"\n[recovery]')
    config = tmp_path / "plant.toml"
    config.write_text(text)
    with running(text, tmp_path), served(config) as address:
        send(kafka_bootstrap, rows(topic, 0, 80))
        yield address, topic


def fleet(page: Page, address: str) -> None:
    """Open the fleet, and wait until it has all series of both models."""
    page.goto(f"{address}/?sort=series")
    expect(page.locator("#fleet tbody tr")).to_have_count(6, timeout=PATIENCE_MS)


def grave(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")
    ]


def test_series_are_listed_by_model_and_incidents_decided(
    page: Page, site: tuple[str, str], kafka_bootstrap: str
) -> None:
    address, topic = site
    fleet(page, address)
    expect(page.locator("#fleet td.kind")).to_have_text(["press"] * 3 + ["pump"] * 3)
    expect(page.locator("#about")).to_contain_text("live by 2 models, 6 series")
    page.locator("#model").select_option("pump")
    expect(page.locator("#fleet tbody a[data-key]")).to_have_text(["pump-0", "pump-1", "pump-2"])
    expect(page).to_have_url(f"{address}/?sort=series&model=pump")
    page.locator("#fleet td.kind a").first.click()
    expect(page.locator("h1")).to_have_text("Model pump", timeout=PATIENCE_MS)
    expect(page.locator("#channels tbody th")).to_have_text(["flow", "pressure"])
    page.get_by_role("link", name="Model", exact=True).click()
    expect(page.locator("h1")).to_have_text("Models")
    expect(page.locator("#models tbody th")).to_have_text(["pump", "press"])
    expect(page.locator("#one")).to_be_hidden()
    page.locator("#models").get_by_role("link", name="3 series").last.click()
    expect(page.locator("#fleet td.kind")).to_have_text(["press"] * 3)
    page.locator("#incidents a").first.click()
    expect(page.locator("#facts")).to_contain_text("Model")
    page.get_by_role("button", name="Real", exact=True).click()
    page.locator("#ask-why").fill("seen on site")
    page.locator("#ask button[type=submit]").click()
    expect(page.locator("#decided")).to_contain_text("seen on site", timeout=PATIENCE_MS)
    told = read_all(kafka_bootstrap, f"out-{topic}.decisions")
    assert any(b"seen on site" in one.value for one in told)
    page.goto("about:blank")  # a page whose server stops writes to the console


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_on_the_pages_of_several_models(
    browser: Browser, site: tuple[str, str], width: int, scheme: str, tmp_path: Path
) -> None:
    address, _ = site
    context = browser.new_context(
        bypass_csp=True, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    fleet(page, address)
    for name, path in (("fleet", "/"), ("models", "/model"), ("model", "/model?model=press")):
        page.goto(address + path)
        page.wait_for_selector(READY, timeout=PATIENCE_MS)
        assert grave(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
    context.close()
