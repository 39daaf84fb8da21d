"""The page of the daemon in Chromium: what it shows, follows and links to, its policy, and axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from connectors.records import Batch
from detector.engine.engine import Engine
from detector.engine.loop import Turn
from detector.http.server import HttpServer, listen
from detector.metrics.recorder import Metrics
from detector.service.routes import Routes
from detector.service.turn_observer import TurnObserver
from tests.browser.test_accessibility import DEVICES, READY
from tests.support.artifacts import make_artifact
from tests.support.sources import FixedSources
from tests.support.strategies import NAMES, readings_of

pytestmark = pytest.mark.browser
EXPLORER = "https://gauge.example.org/"


class Daemon:
    """The routes of a daemon that has judged some rows, and its figures, which a test changes."""

    def __init__(self, explorer: str | None = None) -> None:
        self.sources = FixedSources(lag={0: 4}, lag_seconds={0: 7.25}, ready=True)
        engine = Engine(make_artifact(threshold=1e-9))
        metrics = Metrics(engine, 10, "1", self.sources)
        values = np.random.default_rng(0).random((30, 2))
        readings = readings_of(np.repeat(np.arange(2), 15), np.tile(np.arange(15), 2) * 10**9, values)
        metrics.observe(Turn(Batch(readings), engine.step(readings), 0.0, 0.0, 0.0, 0.0))
        site = Routes(metrics, TurnObserver(metrics), explorer=explorer).site()
        self.version = engine.artifact.version
        self.server = HttpServer(listen("127.0.0.1", 0), site)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    with closing(made.server):
        yield made


def go(page: Page, daemon: Daemon) -> None:
    page.goto(daemon.server.address)
    page.wait_for_selector(READY)


def figure(page: Page, name: str) -> str:
    return page.locator(f"dt:text-is('{name}') + dd").inner_text()


def test_it_shows_state_lag_version_incidents_and_what_was_judged(page: Page, daemon: Daemon) -> None:
    go(page, daemon)
    expect(page.locator("#state")).to_have_text("Ready: it judges what arrives.")
    expect(page.locator("h1")).to_contain_text(daemon.version)
    assert figure(page, "Behind") == "4 messages, 7.2 s"
    assert figure(page, "Open incidents").startswith("2 ")
    assert "rows judged in 2 of 2 series since this process started" in figure(page, "Rows judged")
    assert "alarms in the last" in figure(page, "Alarm budget")
    expect(page.locator("#problems")).to_be_hidden()
    expect(page).to_have_title(f"{page.locator('#model').inner_text()}: ready - Streamgauge")


def test_it_follows_the_daemon_and_says_why_it_is_not_ready(page: Page, daemon: Daemon) -> None:
    go(page, daemon)
    name = f"<img src=x onerror=alert(1)>{NAMES[0]}"
    other = FixedSources(replaying=2, decisions_readable=False, missing_rights=(("READ", name),))
    vars(daemon.sources).clear()
    vars(daemon.sources).update(vars(other))
    expect(page.locator("#state")).to_have_text(f"Not ready: waiting for a right in Kafka: READ on {name}.")
    expect(page.locator("#problems li")).to_have_count(2)
    expect(page.locator("#problems img")).to_have_count(0)


def test_it_links_to_the_explorer_or_says_how_to_start_it(page: Page, daemon: Daemon) -> None:
    go(page, daemon)
    expect(page.locator("#none")).to_contain_text("streamgauge explore streamgauge.toml")
    expect(page.locator("#link")).to_be_hidden()
    with closing((linked := Daemon(EXPLORER)).server):
        go(page, linked)
        link = page.get_by_role("link", name="Open the explorer")
        expect(link).to_have_attribute("href", EXPLORER)
        expect(page.locator("#none")).to_be_hidden()


def test_it_says_that_the_daemon_does_not_answer(browser: Browser, daemon: Daemon) -> None:
    page = browser.new_page()  # Chromium writes refused connections to the console
    go(page, daemon)
    daemon.server.close()
    expect(page.get_by_role("alert")).to_contain_text("The daemon does not answer. The figures are of ")
    page.close()


def test_the_policy_refuses_a_script_in_the_page(browser: Browser, daemon: Daemon) -> None:
    page = browser.new_page()
    go(page, daemon)
    ran = page.locator("body").evaluate(
        """body => { const one = document.createElement("script"); one.textContent = "window.ran = true";
           return new Promise(done => { document.addEventListener("securitypolicyviolation", event => done(
             [window.ran ?? false, event.effectiveDirective])); body.append(one); }); }"""
    )
    assert ran == [False, "script-src-elem"]
    page.close()


@pytest.mark.parametrize("device", DEVICES)
def test_axe_finds_nothing_serious_and_it_fits(browser: Browser, daemon: Daemon, device: str) -> None:
    # The policy refuses scripts from elsewhere; axe-core needs a context without it.
    context = browser.new_context(bypass_csp=True, **DEVICES[device])
    page = context.new_page()
    vars(daemon.sources).update(vars(FixedSources(decisions_readable=False)))
    go(page, daemon)
    assert Axe().run(page).response["violations"] == []
    width = DEVICES[device]["viewport"]["width"]
    assert page.locator("html").evaluate("page => page.scrollWidth") <= width
    context.close()
