"""The report of a backtest: its size, and the seconds until Chromium shows it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.measurement import Measurement
from benchmarks.pages.backtest_files import START_NS, noisy_rows, write_backtest
from detector.explore.deciding.writing import Writing
from detector.explore.source import source_of
from detector.explore.storage.place import Place
from detector.explore.web.serve import opened
from detector.reports.answers import held_of
from detector.reports.page import write_page
from detector.reports.scores import distribution

_STEP_NS = 60_000_000_000
_CHANNELS = ("flow", "pressure", "current", "speed")
_CHROMIUM = "/usr/bin/chromium"
_MB = 1e6


def measure(quick: bool) -> list[Measurement]:
    """Measure a report of 20,000 rows and one of a million."""
    small, large = ((2, 10_000), (10, 5_000 if quick else 100_000))
    with tempfile.TemporaryDirectory() as directory:
        sizes = {}
        for number, (series, rows) in enumerate((small, large)):
            folder = Path(directory) / str(number)
            sizes[series * rows] = _report(folder, series, rows), folder / "report.html"
        (few, first), (many, second) = sizes.items()
        seconds = {rows: _opens(path) for rows, (_, path) in ((few, first), (many, second))}
    return [
        Measurement("report of 20,000 rows, size", first[0] / _MB, "MB", ceiling=2.0, detail={"rows": few}),
        Measurement("report of 20,000 rows, opens in", seconds[few], "s", ceiling=2.0),
        Measurement(
            "report of a million rows, opens in",
            seconds[many],
            "s",
            ceiling=2.0,
            detail={"rows": many, "megabytes": round(second[0] / _MB, 2)},
        ),
    ]


def _opens(page: Path) -> float:
    """Return the median seconds from the address to the drawn first page."""
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        for _ in range(3):
            opened = browser.new_page()
            begun = time.perf_counter()
            opened.goto(page.as_uri())
            opened.wait_for_selector("body:not([aria-busy])")
            found.append(time.perf_counter() - begun)
            opened.close()
        browser.close()
    return median(found)


def _report(folder: Path, num_series: int, num_rows: int) -> int:
    """Write a report of noisy values with an incident in each series; return its bytes."""
    _write(folder, num_series, num_rows)
    shown = opened(
        source_of(str(folder), Place(str(folder / "store"))),
        Writing("", refused="a report takes no decisions"),
    )
    try:
        held = held_of(shown)
        report = {
            "title": "Benchmark",
            "words": ["Noise."],
            "labels": None,
            "scores": distribution(shown.database),
            "quality": [],
            "made": [],
            "budgets": {"budgets": None, "words": "None."},
            "held": {"series": held.series, "incidents": held.incidents},
            "left_out": held.left_out,
        }
    finally:
        shown.close()
    return write_page(folder / "report.html", "Benchmark", "backtest", held.answers | {"report": report})


def _write(out: Path, num_series: int, num_rows: int) -> None:
    rng = np.random.default_rng(11)
    names = [f"series-{number:03d}" for number in range(num_series)]
    parts = (noisy_rows(name, num_rows, _STEP_NS, _CHANNELS, rng) for name in names)
    write_backtest(out, parts, _CHANNELS, _STEP_NS, [_incident(name, num_rows) for name in names])


def _incident(series: str, num_rows: int) -> dict[str, object]:
    start, end = (
        str(np.datetime64(START_NS + _STEP_NS * at, "ns")) + "Z" for at in (num_rows // 2, num_rows // 2 + 60)
    )
    channel = {"name": "flow", "contribution": 0.7, "actual": 9.0, "expected": 5.0}
    channel |= {"lower": 3.0, "upper": 7.0, "clipped": False}
    named = {"id": f"incident-{series}", "series": series, "model": "benchmark", "version": "0"}
    said = {"state": "resolved", "reason": "score", "evidence": "window", "severity": "warning"}
    when = {"start": start, "opened": start, "end": end, "peak": start, "peak_score": 3.0}
    rest = {"flapping": False, "held_by": [], "lasting_since": None, "ending": None, "decision": None}
    return named | said | when | rest | {"passage": None, "channels": [channel], "at_start": [], "newest": []}
