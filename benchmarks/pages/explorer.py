"""The explorer with many series: seconds until the first view, and until any later one."""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np
import urllib3

from benchmarks.measurement import Measurement
from connectors.parquet.writer import TableWriter
from detector.explore.deciding.writing import Writing
from detector.explore.source import source_of
from detector.explore.web.serve import Explorer, listen, opened, protected
from detector.offline.backtest_record import FORMAT, RECORD

_START_NS = 1_767_225_600_000_000_000
_STEP_NS = 1_800_000_000_000
_CHANNELS = ("flow", "pressure")
_DAYS = 2


def measure(quick: bool) -> list[Measurement]:
    """Measure the first view of the fleet, and the slowest of some later ones, over HTTP."""
    num_series = 500 if quick else 100_000
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory)
        rows = _write(source, num_series)
        begun = time.perf_counter()
        shown = opened(source_of(str(source)), Writing("bench"))
        built = time.perf_counter() - begun
        with closing(Explorer(shown, listen("127.0.0.1", 0), protected())) as explorer:
            first, later = _views(explorer.address)
    detail: dict[str, float | int | str] = {
        "series": num_series,
        "rows": rows,
        "store_seconds": round(built, 1),
    }
    slowest = max(later, key=later.__getitem__)
    return [
        Measurement("explorer, first view", first, "s", ceiling=1.0, detail=detail),
        Measurement(
            "explorer, slowest later view", later[slowest], "s", ceiling=1.0, detail={"view": slowest}
        ),
    ]


def _views(site: str) -> tuple[float, dict[str, float]]:
    """Return the seconds of the first view, and the median seconds of each later one."""
    http = urllib3.PoolManager(retries=10)

    def seconds(path: str) -> float:
        begun = time.perf_counter()
        answer = http.request("GET", f"{site}api/v1/{path}")
        assert answer.status == 200, answer.data
        return time.perf_counter() - begun

    http.request("GET", site)  # until the server listens, without a query
    first = seconds("fleet?cells=84")
    day = f"from={_START_NS // 1_000_000}&to={_START_NS // 1_000_000 + 86_400_000}"
    paths = {
        "search": "fleet?search=999&cells=84",
        "one day": f"fleet?{day}&cells=84",
        "last page": "fleet?page=10&sort=series&order=asc&cells=84",
        "series": "series?name=series-000499",
    }
    return first, {name: median(seconds(path) for _ in range(5)) for name, path in paths.items()}


def _write(out: Path, num_series: int) -> int:
    """Write what a backtest of two days, a row every half an hour, would have written. Return its rows."""
    rng = np.random.default_rng(7)
    names = np.array([f"series-{number:06d}" for number in range(num_series)], dtype=object)
    num_rows = _DAYS * 86_400_000_000_000 // _STEP_NS
    with TableWriter(out / "scores.parquet") as writer:
        for row in range(num_rows):
            error = rng.standard_exponential(num_series) / 4
            columns = {
                "series": names,
                "timestamp": np.full(num_series, _START_NS + row * _STEP_NS),
                "score": error,
                "p_value": np.exp(-error),
                "error": error,
                "threshold": np.ones(num_series),
                "cumulative": error / 2,
                "evidence": np.full(num_series, "window", dtype=object),
                "paged": error > 1,
                "state": np.where(error > 1, "anomalous", "ok").astype(object),
            }
            for name in _CHANNELS:
                columns |= {f"{kind}_{name}": error for kind in ("actual", "expected", "contribution")}
            writer.write(columns)
    (out / "incidents.json").write_text(json.dumps({"incidents": []}))
    (out / RECORD).write_text(json.dumps(_record()))
    return num_series * num_rows


def _record() -> dict[str, object]:
    return {
        "format": FORMAT,
        "command": "benchmark",
        "model": "benchmark",
        "version": "0",
        "family": "linear",
        "window": 8,
        "interval_ns": _STEP_NS,
        "sharpness": 1.0,
        "alarm_budget": "1/week",
        "channels": [{"name": name, "band": 1.0} for name in _CHANNELS],
        "own_bands": {},
        "decisions": [],
        "card": "",
    }
