"""axe-core finds nothing serious on any page of the explorer: on a desktop, on a phone, and in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from detector.explore.web.pages import PAGES
from tests.detector.explore.explored import real_backtest, served

pytestmark = pytest.mark.browser
CHROMIUM = "/usr/bin/chromium"
READY = "body:not([aria-busy])"
SERIES = "pump-2"
NEEDED = {"/series": f"?name={SERIES}", "/incident": "?id={incident}"}
"""What a page needs in its address."""
DEVICES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "desktop dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "phone dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(real_backtest(tmp_path_factory.mktemp("explored"))) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def grave(page: Page) -> list[str]:
    """Return what axe-core finds that is serious or critical: rule, impact and the first place."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['impact']}: {one['id']}: {len(one['nodes'])} of {one['nodes'][0]['html']}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("path", [*PAGES, "/?show=groups&group=north"])
def test_axe_finds_nothing_serious(browser: Browser, site: str, path: str, device: str) -> None:
    # The policy of the pages refuses scripts from elsewhere; axe-core needs a context without it.
    context = browser.new_context(bypass_csp=True, **DEVICES[device])
    page = context.new_page()
    page.goto(f"{site}/series?name={SERIES}")
    page.wait_for_selector(READY)
    link = page.locator("#incidents a").first.get_attribute("href") or ""
    (incident,) = re.findall(r"id=([^&]+)", link)
    page.goto(f"{site}{path}{NEEDED.get(path, '').format(incident=incident)}")
    page.wait_for_selector(READY)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true;")
    page.wait_for_selector(READY)
    assert grave(page) == []
    context.close()
