"""Directories such as a backtest writes: random ones for properties, and a small real one with a fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from connectors.parquet.writer import TableWriter
from detector.artifact.registry import publish
from detector.explore.deciding.writing import Writing
from detector.explore.source import source_of
from detector.explore.store.layout import STATES
from detector.explore.web.opened import Opened
from detector.explore.web.serve import Explorer, listen, opened, protected
from detector.login import Login
from streamgauge import main
from tests.support.sines import frame_of, linear_artifact, write

START_NS = 1_767_225_600_000_000_000  # 2026-01-01
CHANNELS = ("flow", 'the "hot" side')
SHARPNESS = 2.0
ADA = Writing("ada")


def record(**more: Any) -> dict[str, Any]:
    """A record of a backtest."""
    return {
        "format": 1,
        "command": "streamgauge backtest models/pump data --out here",
        "model": "pump",
        "version": "0123456789ab",
        "family": "linear",
        "window": 8,
        "interval_ns": 60_000_000_000,
        "sharpness": SHARPNESS,
        "alarm_budget": "1/week",
        "channels": [{"name": CHANNELS[0], "band": 2.0}, {"name": CHANNELS[1], "band": 0.5}],
        "own_bands": {"b": [20.0, 5.0]},
        "decisions": [],
        "card": "# pump",
        **more,
    }


def scores_of(series: np.ndarray, time_ns: np.ndarray, seed: int, share_unknown: float) -> pd.DataFrame:
    """Random verdicts: some numbers are NaN, some scores enormous or infinite."""
    rng = np.random.default_rng(seed)
    num = len(series)

    def numbers(scale: float) -> np.ndarray:
        values = scale * rng.standard_exponential(num)
        return np.where(rng.random(num) < share_unknown, np.nan, values)

    error = numbers(0.7)
    error[rng.random(num) < 0.02] = np.inf
    frame = {"series": series, "timestamp": time_ns, "score": error**SHARPNESS, "p_value": numbers(0.1)}
    frame |= {"error": error, "threshold": np.where(np.isnan(error), np.nan, 1 + rng.random(num))}
    frame |= {"cumulative": numbers(0.5), "evidence": rng.choice(["window", "level"], num)}
    frame |= {"paged": rng.random(num) < 0.1, "state": rng.choice(STATES, num)}
    for channel in CHANNELS:
        for kind in ("actual", "expected", "contribution"):
            frame[f"{kind}_{channel}"] = numbers(10.0)
    return pd.DataFrame(frame)


def incident(name: str, series: str, start: str, end: str | None, **more: Any) -> dict[str, Any]:
    """An incident as `incidents.json` has it."""
    channel = {"name": "flow", "contribution": 0.7, "actual": 9.0, "expected": 5.0}
    channel |= {"lower": 3.0, "upper": 7.0, "clipped": False}
    return {
        "id": name,
        "series": series,
        "model": "pump",
        "version": "0123456789ab",
        "state": "firing" if end is None else "resolved",
        "reason": "score",
        "evidence": "window",
        "severity": "warning",
        "flapping": False,
        "held_by": [],
        "start": start,
        "opened": start,
        "end": end,
        "peak_score": 4.0,
        "peak": start,
        "lasting_since": None,
        "ending": None,
        "decision": None,
        "passage": None,
        "channels": [channel],
        "at_start": [],
        "newest": [],
        **more,
    }


def write_backtest(out: Path, scores: pd.DataFrame, incidents: list[dict[str, Any]], **more: Any) -> Path:
    """The three files of a backtest."""
    out.mkdir(parents=True, exist_ok=True)
    with TableWriter(out / "scores.parquet") as writer:
        writer.write({name: scores[name].to_numpy() for name in scores.columns})
    (out / "incidents.json").write_text(json.dumps({"incidents": incidents}))
    (out / "backtest.json").write_text(json.dumps(record(**more)))
    return out


def real_backtest(directory: Path) -> Path:
    """Three pumps of noisy sines through the command `backtest`; channels of two of them jump."""
    publish(linear_artifact(), directory / "models" / "pump")
    frames = []
    for seed, series in enumerate(("pump-1", "pump-2", "north/pump 3")):
        frame = frame_of(900, seed + 5, 1200).assign(series=series)
        frames.append(frame)
    frames[1].iloc[400:460, 0] += 9.0
    frames[2].iloc[420:450, 2] -= 150.0
    data = write(directory / "data.parquet", pd.concat(frames))
    out = directory / "out"
    words = ["backtest", str(directory / "models" / "pump"), str(data), "--out", str(out)]
    with mock.patch.object(sys, "argv", ["streamgauge", *words]):  # it is kept in the record
        assert main(words) == 0
    return out


@contextmanager
def served(source: Path, writing: Writing = ADA, login: Login | None = None) -> Iterator[str]:
    """The address of a server that shows a backtest, without a slash at its end."""
    with serving(opened(source_of(str(source)), writing), login) as found:
        yield found


@contextmanager
def serving(shown: Opened, login: Login | None = None) -> Iterator[str]:
    """The address of a server that shows what is open, and closes it."""
    with closing(Explorer(shown, listen("127.0.0.1", 0), protected(login))) as explorer:
        yield explorer.address.rstrip("/")
