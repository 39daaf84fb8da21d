"""A running group in Chromium: the page moves on without a reload, says what is wrong, and recovers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.detector.explore.explored import served
from tests.support.daemon import running
from tests.support.sines import CHANNELS, frame_of, linear_artifact
from tests.support.strategies import readings_of

pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000
SAME_CHARTS = "[...document.querySelectorAll('.chart canvas')].map((one, at) => one === window.kept[at])"


def send(bootstrap: str, topic: str, first: int, num: int) -> None:
    """Rows of one series; a channel jumps in the last ones. The verdict of a row comes with the next one."""
    frame = frame_of(num, first, first)
    values = frame.to_numpy().copy()
    values[num - 10 :, 0] += 30.0
    readings = readings_of(np.zeros(num, np.int64), frame.index.as_unit("ns").asi8, values)
    producer = Producer(Connection((bootstrap,)))
    producer.produce(encode(readings, CHANNELS, topic))
    producer.close()


def readouts(page: Page) -> list[str]:
    """What each chart says of the row under the cursor: its time, and the values."""
    return page.locator(".chart h3 span").all_inner_texts()


def hover(page: Page) -> list[str]:
    """Move the pointer into a chart, so that all charts say something of one row; return what."""
    page.locator(".u-over").nth(1).hover(position={"x": 300, "y": 60})
    expect(page.locator(".chart h3 span").nth(1)).to_contain_text("2026-01-01 00:0")
    found = readouts(page)
    assert len({one.partition(": ")[0] for one in found}) == 1
    return found


def charts_keep_the_cursor_when_rows_come(page: Page, send_more: Callable[[], None]) -> None:
    """The pointer rests in a chart of 199 rows; a hundred more come, so that its place is another time."""
    page.evaluate("window.kept = [...document.querySelectorAll('.chart canvas')]")
    hovered = hover(page)
    expect(page.locator("#detail")).to_contain_text("199 rows")
    send_more()
    expect(page.locator("#live")).to_contain_text("00:04:58", timeout=PATIENCE_MS)
    expect(page.locator("#detail")).to_contain_text("299 rows", timeout=PATIENCE_MS)
    assert readouts(page) == hovered  # the same time and values, though the range is longer now
    assert page.evaluate(SAME_CHARTS) == [True] * 4  # they live on
    page.mouse.move(5, 5)
    expect(page.locator(".chart h3 span").nth(1)).to_contain_text("the shade is what is expected")


def test_a_page_moves_on_says_that_the_daemon_is_gone_and_recovers(
    browser: Browser, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    publish(linear_artifact(), tmp_path / "models" / "pump")
    topic = kafka_topic(2)
    text = (
        f'[model]\npath = "{tmp_path}/models/pump"\n[kafka]\nbootstrap_servers = ["{kafka_bootstrap}"]\n'
        f'topic = "{topic}"\ngroup_id = "{topic}"\n[output]\nprefix = "{topic}"\ndetail = "full"\n'
    )
    config = tmp_path / "plant.toml"
    config.write_text(text)
    with served(config) as site:
        page = browser.new_page()
        page.goto(site)
        stale = page.locator("#stale")
        expect(stale).to_contain_text(f"No process of group {topic} runs", timeout=PATIENCE_MS)
        page.evaluate("window.kept = true")
        with running(text, tmp_path) as daemon:
            send(kafka_bootstrap, topic, 0, 200)
            expect(page.locator("#fleet tbody a")).to_have_text("pump-1", timeout=PATIENCE_MS)
            expect(page.locator("#incidents a")).to_contain_text("flow", timeout=PATIENCE_MS)
            expect(stale).to_be_hidden(timeout=PATIENCE_MS)
            assert page.evaluate("window.kept") is True  # nothing was loaded again
            page.goto(f"{site}/series?name=pump-1")
            page.wait_for_selector("body:not([aria-busy])")
            expect(page.locator("#live")).to_contain_text("live, newest row 2026-01-01 00:03:18")
            charts_keep_the_cursor_when_rows_come(page, lambda: send(kafka_bootstrap, topic, 200, 100))
            assert daemon.terminate() == 0
            expect(stale).to_contain_text("No process of group", timeout=PATIENCE_MS)
            expect(stale).to_contain_text("Since 2")
            expect(page.locator("#live")).to_have_text("not live")
        with running(text, tmp_path):
            send(kafka_bootstrap, topic, 300, 50)
            expect(page.locator("#detail")).to_contain_text("349 rows", timeout=PATIENCE_MS)
            expect(stale).to_be_hidden(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Earlier").click()
        expect(page.locator("#range span")).to_contain_text("stands still")
        page.get_by_role("button", name="Follow").click()
        expect(page.locator("#range span")).to_contain_text("goes on")
        page.close()
