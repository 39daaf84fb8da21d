"""Writes what a backtest would have written, of any size, without running one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.parquet.writer import TableWriter
from detector.offline.backtest_record import FORMAT, RECORD

START_NS = 1_767_225_600_000_000_000
"""2026-01-01, UTC."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Verdicts of n rows.

    series    their names, object [n]
    time_ns   int64 [n]
    error     of each, in units of the threshold, float64 [n]
    channels  by name: actual, expected and contribution, float64 [n] each
    """

    series: NDArray[np.object_]
    time_ns: NDArray[np.int64]
    error: NDArray[np.float64]
    channels: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]

    def columns(self) -> dict[str, Any]:
        """Return them as the columns of `scores.parquet`."""
        unusual = self.error > 1
        found: dict[str, Any] = {
            "series": self.series,
            "timestamp": self.time_ns,
            "score": self.error,
            "p_value": np.exp(-self.error),
            "error": self.error,
            "threshold": np.ones(len(self.error)),
            "cumulative": self.error / 2,
            "evidence": np.full(len(self.error), "window", dtype=object),
            "paged": unusual,
            "state": np.where(unusual, "anomalous", "ok").astype(object),
        }
        for name, values in self.channels.items():
            kinds = zip(("actual", "expected", "contribution"), values, strict=True)
            found |= {f"{kind}_{name}": one for kind, one in kinds}
        return found


def noisy_rows(
    name: str, num_rows: int, step_ns: int, channels: Sequence[str], rng: np.random.Generator
) -> Rows:
    """Return rows of one series whose channels wander, with 60 unusual rows in the middle."""
    error = rng.standard_exponential(num_rows) / 6
    error[num_rows // 2 : num_rows // 2 + 60] += 2
    values = {}
    for channel in channels:
        actual = 100 + rng.normal(size=num_rows).cumsum()
        values[channel] = (actual, actual + rng.normal(size=num_rows), rng.random(num_rows) / len(channels))
    times = START_NS + step_ns * np.arange(num_rows)
    return Rows(np.full(num_rows, name, dtype=object), times, error, values)


def write_backtest(
    out: Path, parts: Iterable[Rows], channels: Sequence[str], step_ns: int, incidents: Sequence[object] = ()
) -> int:
    """Write the three files of a backtest and return its rows.

    Args:
        out: the directory; it is made if it is missing.
        parts: the rows; each part is a row group.
        channels: their names.
        step_ns: from one row of a series to the next.
        incidents: as `incidents.json` has them.
    """
    out.mkdir(parents=True, exist_ok=True)
    num_rows = 0
    with TableWriter(out / "scores.parquet") as writer:
        for part in parts:
            writer.write(part.columns())
            num_rows += len(part.error)
    (out / "incidents.json").write_text(json.dumps({"incidents": list(incidents)}))
    record = {
        "format": FORMAT,
        "command": "benchmark",
        "model": "benchmark",
        "version": "0",
        "family": "linear",
        "window": 32,
        "interval_ns": step_ns,
        "sharpness": 1.0,
        "alarm_budget": "1/week",
        "channels": [{"name": name, "band": 1.0} for name in channels],
        "own_bands": {},
        "decisions": [],
        "card": "",
    }
    (out / RECORD).write_text(json.dumps(record))
    return num_rows
