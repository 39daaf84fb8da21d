"""Pumps that start and stop, with heat that follows the hour; each live pump has a fault of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import CalendarOptions, DataOptions, FitOptions, ModelOptions, ModeOptions, TrainConfig

CHANNELS = ("speed", "flow", "heat")
SPEED, FLOW, HEAT = range(3)
PUMPS = ("pump-1", "pump-2", "pump-3")
STEP, DAY_ROWS, HISTORY_DAYS, LIVE_DAYS = 600, 144, 28, 9
START = 1_790_812_800 - HISTORY_DAYS * 86_400  # midnight
RAMP, SLOW = (3, 5), 18
WRONG = (2 * DAY_ROWS + 120, 36)
"""The first live row of the first pump whose hour is wrong, and how many follow."""
SLOW_RUN, LEAKING_RUN, LEAK_ROWS = 4, 6, 8
"""Runs of the second pump: one that starts slowly, and one that leaks at its end, before the pump is off."""

Runs = list[tuple[int, int, int]]
"""The first row of the start, its rows, and the first row of the stop, of every run."""


def _runs(rng: np.random.Generator, num: int) -> Runs:
    at, found = int(rng.integers(5, 20)), Runs()
    while at < num:
        ramp = int(rng.integers(*RAMP, endpoint=True))
        stop = at + ramp + int(rng.integers(40, 90))
        found.append((at, ramp, stop))
        at = stop + int(rng.integers(25, 60))
    return found


def values_of(pump: int, days: int, live: bool) -> tuple[NDArray[np.float64], Runs]:
    """Healthy rows of a pump, or those of its live days with their fault, and its runs."""
    num, rng = days * DAY_ROWS, np.random.default_rng([5, pump, live])
    runs, level = _runs(rng, num), np.zeros(num)
    for at, (start, ramp, stop) in enumerate(runs):
        rows = SLOW if live and pump == 1 and at == SLOW_RUN else ramp
        level[start:stop] = 1.0
        level[start : start + rows] = np.linspace(0.2, 0.8, rows)[: max(0, num - start)]
    hour = np.arange(num) / (DAY_ROWS / 24) % 24
    if live and pump == 0:
        hour[WRONG[0] : sum(WRONG)] += 12
    noise = rng.normal(size=(num, 3))
    load = 1 + 0.03 * noise[:, 0]
    heat = 20 + 5 * np.sin(2 * np.pi * (hour - 8) / 24) + 0.5 * noise[:, 2]
    if live and pump == 2:
        heat += np.maximum(0, np.arange(num) - DAY_ROWS) / DAY_ROWS * 0.5
    flow = 60 * level * load + 0.3 * noise[:, 1]
    if live and pump == 1:
        stop = runs[LEAKING_RUN][2]
        flow[stop - LEAK_ROWS : stop] -= 30
    columns = [1500 * level, flow, heat]
    return np.stack(columns, axis=1).round(4), runs


def model() -> Artifact:
    """The linear model of the history: with season, drift, modes and a reference."""
    frames = []
    for pump, name in enumerate(PUMPS):
        values, _ = values_of(pump, HISTORY_DAYS, live=False)
        times = pd.to_datetime(START + np.arange(len(values)) * STEP, unit="s", utc=True)
        frames.append(pd.DataFrame(values, times.rename("timestamp"), list(CHANNELS)).assign(series=name))
    config = TrainConfig(
        model=ModelOptions(family="linear", window=16),
        data=DataOptions(interval_seconds=STEP),
        fit=FitOptions(refit=False),
        calendar=CalendarOptions(zone="UTC"),
        modes=(
            ModeOptions(name="off", when={"speed": (None, 30.0)}, judge=("heat",)),
            ModeOptions(name="running", when={"speed": (1_300.0, None)}),
        ),
    )
    return fit(pd.concat(frames), config=config)


def live() -> tuple[Readings, list[Runs]]:
    """The live readings in order of time, and the runs of each pump."""
    found = [values_of(pump, LIVE_DAYS, live=True) for pump in range(len(PUMPS))]
    values = np.stack([one for one, _ in found], axis=1).reshape(-1, 3)
    num = LIVE_DAYS * DAY_ROWS
    times = np.repeat(START + HISTORY_DAYS * 86_400 + np.arange(num) * STEP, len(PUMPS)) * 10**9
    series = np.tile(np.arange(len(PUMPS), dtype=np.int32), num)
    return Readings(PUMPS, series, times, values, series * 0, np.arange(len(times))), [
        runs for _, runs in found
    ]
