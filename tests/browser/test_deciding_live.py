"""The buttons on the pages of a running group in Chromium, through to what the daemon does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from tests.detector.explore.explored import served
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.support.strategies import readings_of
from tests.test_daemon_kafka import CHANNELS, configuration, send

pytestmark = pytest.mark.browser
PATIENCE_MS = 120_000
JUDGED = 'judged_by_people_incidents{opinion="false-alarm"} 1.0'


def rows(first_ns: int, shifted_from: tuple[int, int, int]) -> Any:
    """100 rows of three series, one a second; `flow` is 5 higher from a row on, of each series its own."""
    values = np.random.default_rng(2).normal(0, 0.3, (300, 2)).round(6)
    row, series = np.repeat(np.arange(100), 3), np.tile(np.arange(3), 100)
    values[row >= np.array(shifted_from)[series], 0] += 5.0
    return readings_of(series, first_ns + row * 10**9, values)


def now_ns() -> int:
    return time.time_ns() // 10**9 * 10**9


def test_accept_makes_the_level_normal_and_a_mute_stops_the_alert(
    page: Page, kafka_bootstrap: str, kafka_topic: Callable[..., str], tmp_path: Path
) -> None:
    artifact = make_artifact()
    with torch.no_grad():
        for weights in artifact.module.parameters():
            weights.zero_()
    publish(artifact, tmp_path / "models" / "pump")
    topic = kafka_topic()
    text = configuration(tmp_path / "models" / "pump", kafka_bootstrap, topic) + 'detail = "full"\n'
    config = tmp_path / "group.toml"
    config.write_text(text)

    def of(event: str, series: str) -> list[dict[str, Any]]:
        found = [json.loads(one.value) for one in read_all(kafka_bootstrap, f"out-{topic}.alerts")]
        return [one for one in found if (one["event"], one["series"]) == (event, series)]

    def decide(button: str, why: str) -> None:
        page.get_by_role("button", name=button, exact=True).click()
        page.locator("#ask-why").fill(why)
        page.locator("#ask button[type=submit]").click()
        expect(page.locator("#ask")).to_be_hidden(timeout=PATIENCE_MS)

    with running(text, tmp_path) as daemon, served(config) as site:
        wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
        send(kafka_bootstrap, encode(rows(now_ns() - 100 * 10**9, (60, 100, 100)), CHANNELS, topic))
        page.goto(site)
        page.locator("#incidents a").first.click(timeout=PATIENCE_MS)
        decide("Accept", "new pump")
        decided = page.locator("#decided tbody tr").last
        expect(decided).to_contain_text("pending until the next row of the series", timeout=PATIENCE_MS)
        decide("False alarm", "it was known")
        accepted_at = page.url
        page.goto(f"{site}/series?name=pump-3")
        decide("Mute series", "filter is changed")
        send(kafka_bootstrap, encode(rows(now_ns() + 10**9, (0, 60, 60)), CHANNELS, topic))
        wait_for(lambda: len(of("opened", "pump-2")) == 1, f"the fault of pump-2; see {daemon.log}")
        wait_for(lambda: daemon.readings() >= 600, f"all readings; see {daemon.log}")
        expect(decided).to_contain_text("in effect from the row of", timeout=PATIENCE_MS)
        page.goto(accepted_at)
        expect(page.locator("#decided tbody tr").last).to_contain_text("in effect from", timeout=PATIENCE_MS)
        expect(page.locator("#summary")).to_contain_text("people say: false alarm", timeout=PATIENCE_MS)
        wait_for(lambda: JUDGED in daemon.get("/metrics")[1], f"the opinion; see {daemon.log}")
        page.goto("about:blank")  # a page whose server stops writes to the console
        assert daemon.terminate() == 0
    assert of("accepted", "pump-1")[0]["decision"]["why"] == "new pump"
    assert len(of("opened", "pump-1")) == 1, "the accepted level is normal"
    assert (len(of("muted", "pump-3")), of("opened", "pump-3")) == (1, [])
