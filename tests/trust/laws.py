"""The laws of the machines of the trust suite: rows as a function of (seed, machine, row)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.plants.draws import Draws, Rows, Values, lagged

PUMP = ("flow", "pressure", "power", "vibration", "belt_speed", "bearing")
FLOW, PRESSURE, POWER, VIBRATION, BELT, BEARING = range(len(PUMP))
WHITE = ("a", "b", "c")
SWITCHES = tuple(f"switch-{at}" for at in range(8))
WIDE_12, WIDE_30 = (tuple(f"channel-{at}" for at in range(num)) for num in (12, 30))
LIVELY = 250
_PAD = 200


@dataclass(frozen=True, slots=True)
class Law:
    """What the rows of machines follow.

    rows      (seed, rows an hour, machine, row numbers without holes) to float64 [n, channels]
    machines  with a history of `history_rows` rows each
    interval_seconds, window  None: they follow from the seed
    """

    rows: Callable[[int, int, str, Rows], Values]
    channels: tuple[str, ...]
    machines: int = 2
    history_rows: int = 2_600
    interval_seconds: int | None = None
    window: int | None = None


def _noise(seed: int, draws: Draws, name: str, at: Rows) -> Values:
    """Return white noise, or with odd seeds noise with a memory of a few rows in two channels; spread 1."""
    if name in ("vibration", "bearing") and seed % 2:
        return draws.smooth(name, at, 3)
    return draws.white(name, at)


def _pump(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return a pump with a belt: channels that depend on its load, some of them not linearly."""
    draws, constant = Draws(seed, machine), Draws(seed, "all machines").constant
    at = np.arange(int(rows[0]) - _PAD, int(rows[-1]) + 1)
    load = 0.62 + 0.3 * draws.uniform("order", at // max(8, 2 * hour)) + 0.02 * draws.smooth("load", at, 10)
    load = lagged(load + 0.05 * np.sin(2 * np.pi * at / (24 * hour)), 2.0)
    noise = {name: _noise(seed, draws, name, at) for name in PUMP}
    supply = 0.2 * draws.smooth("supply", at, 40)
    power = constant("idle", 18.0, 0.1) + constant("slope", 24.0, 0.1) * load + 2.4 * noise["power"]
    columns = [
        constant("flow", 44.0, 0.2) * load + 0.8 * noise["flow"],
        constant("head", 5.1, 0.03) - 1.1 * load**2 + 0.05 * noise["pressure"] + supply,
        power,
        1.8 * (0.8 + 0.25 * load) * np.exp(0.05 * noise["vibration"]),
        1.6 + 0.055 * noise["belt_speed"],
        24.0 + 1.1 * lagged(power, 8.0) + 0.5 * noise["bearing"],
    ]
    return np.stack(columns, axis=1)[_PAD:]


def _white(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return channels of white noise around constants."""
    draws = Draws(seed, machine)
    return np.stack([5.0 + draws.white(name, rows) for name in WHITE], axis=1)


def _fleet(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return two channels of one law in all machines; by seed with memory, or with heavier tails."""
    draws, day = Draws(seed, machine), 2 * np.pi * rows / (24 * hour)
    noise = [draws.white("x", rows), draws.white("y", rows)]
    if seed % 3 == 1:
        noise[1] = draws.smooth("y", rows, 4)
    if seed % 3 == 2:
        noise[0] = noise[0] * np.exp(0.3 * draws.white("tail", rows))
    phase = 6.0 * draws.uniform("phase", np.zeros(1, np.int64))[0]
    return np.stack([10 + 2 * np.sin(day + phase) + noise[0], 4 + np.cos(day + phase) + 0.5 * noise[1]], 1)


def _switches(seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return channels of the values 0 and 1 that are lively at first, and 0 from row `LIVELY` on."""
    draws = Draws(seed, machine)
    drawn = [draws.uniform(name, rows // (5 + seed % 7)) < 0.4 for name in SWITCHES]
    lively: NDArray[np.bool_] = rows < LIVELY
    return np.stack([one & lively for one in drawn], axis=1).astype(np.float64)


def _wide(num: int, seed: int, hour: int, machine: str, rows: Rows) -> Values:
    """Return many channels that follow three loads with a memory; the noise has a spread of 1."""
    draws, every = Draws(seed, machine), Draws(seed, "all machines")
    loads = np.stack([draws.smooth(f"load-{at}", rows, hour) for at in range(3)], axis=1)
    weights = np.array(
        [[every.constant(f"weight-{at}-{of}", 3.0, 0.5) for at in range(num)] for of in range(3)]
    )
    weights[1] *= np.where(np.arange(num) % 2, 1.0, -1.0)
    noise = np.stack([draws.white(f"noise-{at}", rows) for at in range(num)], axis=1)
    return 20.0 + loads @ weights + 0.5 * loads[:, :1] ** 2 * (np.arange(num) % 3 == 0) + noise


LAWS = {
    "pump": Law(_pump, PUMP),
    "white": Law(_white, WHITE),
    "fleet": Law(_fleet, ("x", "y"), 40, 400, 1_800, 6),
    "wide-12": Law(partial(_wide, 12), WIDE_12, 1, 3_000, window=8),
    "wide-30": Law(partial(_wide, 30), WIDE_30, 1, 3_000, window=8),
    "switches": Law(_switches, SWITCHES, 1, 1_000, 60, 16),
}
