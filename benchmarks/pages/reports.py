"""The report of a backtest: its size, and the seconds until Chromium shows it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.measurement import Measurement
from connectors.parquet.writer import TableWriter
from detector.explore.deciding.writing import Writing
from detector.explore.source import source_of
from detector.explore.storage.place import Place
from detector.explore.web.serve import opened
from detector.offline.backtest_record import FORMAT, RECORD
from detector.reports.answers import held_of
from detector.reports.page import write_page
from detector.reports.scores import distribution

_START_NS = 1_767_225_600_000_000_000
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
    """Write what a backtest would have written."""
    rng = np.random.default_rng(11)
    incidents = []
    out.mkdir(parents=True)
    with TableWriter(out / "scores.parquet") as writer:
        for number in range(num_series):
            name, error = f"series-{number:03d}", rng.standard_exponential(num_rows) / 6
            error[num_rows // 2 : num_rows // 2 + 60] += 2
            columns = {
                "series": np.full(num_rows, name, dtype=object),
                "timestamp": _START_NS + _STEP_NS * np.arange(num_rows),
                "score": error,
                "p_value": np.exp(-error),
                "error": error,
                "threshold": np.ones(num_rows),
                "cumulative": error / 2,
                "evidence": np.full(num_rows, "window", dtype=object),
                "paged": error > 1,
                "state": np.where(error > 1, "anomalous", "ok").astype(object),
            }
            for channel in _CHANNELS:
                actual = 100 + rng.normal(size=num_rows).cumsum()
                columns |= {
                    f"actual_{channel}": actual,
                    f"expected_{channel}": actual + rng.normal(size=num_rows),
                    f"contribution_{channel}": rng.random(num_rows) / len(_CHANNELS),
                }
            writer.write(columns)
            incidents.append(_incident(name, num_rows))
    (out / "incidents.json").write_text(json.dumps({"incidents": incidents}))
    (out / RECORD).write_text(json.dumps(_record()))


def _incident(series: str, num_rows: int) -> dict[str, object]:
    start, end = (
        str(np.datetime64(_START_NS + _STEP_NS * at, "ns")) + "Z"
        for at in (num_rows // 2, num_rows // 2 + 60)
    )
    channel = {"name": "flow", "contribution": 0.7, "actual": 9.0, "expected": 5.0}
    channel |= {"lower": 3.0, "upper": 7.0, "clipped": False}
    named = {"id": f"incident-{series}", "series": series, "model": "benchmark", "version": "0"}
    said = {"state": "resolved", "reason": "score", "evidence": "window", "severity": "warning"}
    when = {"start": start, "opened": start, "end": end, "peak": start, "peak_score": 3.0}
    rest = {"flapping": False, "held_by": [], "lasting_since": None, "ending": None, "decision": None}
    return named | said | when | rest | {"passage": None, "channels": [channel], "at_start": [], "newest": []}


def _record() -> dict[str, object]:
    return {
        "format": FORMAT,
        "command": "benchmark",
        "model": "benchmark",
        "version": "0",
        "family": "linear",
        "window": 32,
        "interval_ns": _STEP_NS,
        "sharpness": 1.0,
        "alarm_budget": "1/week",
        "channels": [{"name": name, "band": 1.0} for name in _CHANNELS],
        "own_bands": {},
        "decisions": [],
        "card": "",
    }
