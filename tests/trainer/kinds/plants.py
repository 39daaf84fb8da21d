"""Tables of a small plant: series of several kinds with a row a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def machine(
    name: str, channels: tuple[str, ...], seed: int, num_rows: int = 1_000, turned: bool = False
) -> pd.DataFrame:
    """The rows of one series, whose channels follow one hidden course; `turned`: the first one opposes it."""
    rng = np.random.default_rng(seed)
    at = np.arange(num_rows)
    course = np.sin(at * 0.1) + 0.5 * np.sin(at * 0.026 + seed)
    frame = pd.DataFrame({"timestamp": pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC")})
    frame["series"] = name
    for number, channel in enumerate(channels, 1):
        sign = -1.0 if turned and number == 1 else 1.0
        frame[channel] = 10.0 * number + sign * number * course + rng.normal(0, 0.1, num_rows)
    return frame


PUMP, CONVEYOR = ("flow", "pressure", "motor_A"), ("speed", "motor_A")


def plant(num_rows: int = 1_000) -> pd.DataFrame:
    """Three pumps and two conveyors in one table, mixed row by row; both have a channel `motor_A`."""
    pumps = [machine(f"pump-{at}", PUMP, at, num_rows).assign(kind="pump") for at in (1, 2, 3)]
    conveyors = [machine(f"conveyor-{at}", CONVEYOR, at, num_rows).assign(kind="conveyor") for at in (1, 2)]
    return pd.concat([*pumps, *conveyors]).sort_values(["timestamp", "series"], kind="stable")


def write(path: Path, frame: pd.DataFrame) -> Path:
    """Write a table as Parquet and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path
