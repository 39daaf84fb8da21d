"""Hypothesis strategies: readings of several series with disorder, duplicates, gaps and missing values."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from connectors.records import Readings
from detector.incidents.filters.maintenance import Maintenance, OneOff
from detector.incidents.rules import ChannelRule, IncidentRules

INTERVAL_NS = 10
EVERY_RULE = IncidentRules(
    for_rows=2,
    of_rows=3,
    quiet_rows=1,
    min_duration_ns=20,
    cooldown_ns=60,
    flap_incidents=2,
    flap_window_ns=150,
    settle_rows=2,
    channels={"flow": ChannelRule("above", 0.5, 0.05), "pressure": ChannelRule(valid_max=2.5)},
    maintenance=tuple(Maintenance(OneOff(at, at + 40), ("pump-[12]",)) for at in range(1_200, 9_000, 170)),
)
"""Every rule that needs no clock, at the pace of `streams`."""
NAMES = ("pump-1", "pump-2", "pump-3")


def readings_of(series: np.ndarray, timestamp_ns: np.ndarray, values: np.ndarray) -> Readings:
    """Columns as readings of `NAMES`, partition = series; only series that occur are named."""
    present, codes = np.unique(series, return_inverse=True)
    return Readings(
        tuple(NAMES[one] for one in present),
        codes.astype(np.int32),
        timestamp_ns.astype(np.int64),
        values.astype(np.float64),
        series.astype(np.int32),
        np.arange(len(series)),
    )


def part(readings: Readings, start: int, stop: int) -> Readings:
    """Some of the readings, in their order."""
    return reordered(readings, np.arange(start, stop))


def reordered(readings: Readings, order: np.ndarray) -> Readings:
    """The readings `order`, in that order of arrival."""
    return readings_of(readings.partition[order], readings.timestamp_ns[order], readings.values[order])


@st.composite
def streams(draw: st.DrawFn, max_rows: int = 120, num_channels: int = 2) -> Readings:
    """Readings in arrival order: mostly forward in time, with jumps, disorder, duplicates and NaN."""
    num = draw(st.integers(0, max_rows))
    seed = draw(st.integers(0, 2**32 - 1))
    disorder = draw(st.sampled_from([0, 5, 40]))
    jump = draw(st.sampled_from([0.0, 0.05, 0.2]))
    missing = draw(st.sampled_from([0.0, 0.1, 0.6]))
    rng = np.random.default_rng(seed)
    steps = rng.choice([0, 3, 10, 10, 10, 12], num) + (rng.random(num) < jump) * rng.integers(20, 90, num)
    timestamp_ns = 1_000 + np.cumsum(steps) - rng.integers(0, disorder + 1, num)
    values = rng.integers(-3, 4, (num, num_channels)).astype(float)
    values[rng.random((num, num_channels)) < missing] = np.nan
    return readings_of(rng.integers(0, len(NAMES), num), timestamp_ns, values)


def restless(num: int = 3000) -> Readings:
    """Three series that turn bad and good again, for spells of any length, mostly upwards."""
    rng = np.random.default_rng(3)
    series = np.arange(num) % 3
    turns = rng.random(num) < 0.05
    is_bad = np.column_stack([np.cumsum(turns[at::3]) % 2 for at in range(3)]).ravel()
    sign = rng.choice([-1.0, 1.0], num, p=[0.1, 0.9])
    values = rng.normal(0, 0.3, (num, 2)) + (is_bad * 2.2 * sign)[:, None]
    steps = np.arange(num) // 3 + 8 * (np.arange(num) // 300)
    return readings_of(series, 1_000 + steps * INTERVAL_NS, values)


def cuts_of(num_rows: int) -> st.SearchStrategy[list[int]]:
    """Bounds of consecutive batches, the first 0 and the last `num_rows`."""
    inner = st.lists(st.integers(0, num_rows), max_size=12)
    return inner.map(lambda cuts: [0, *sorted(cuts), num_rows])


def order_within(readings: Readings, lateness_ns: int, seed: int) -> np.ndarray:
    """A random order of arrival in which no reading is late and equal timestamps keep their order.

    Sorting by (timestamp + a delay below the lateness) never lets a reading be overtaken by one that is
    `lateness` newer; the delay is the same for equal (series, timestamp).
    """
    rng = np.random.default_rng(seed)
    keys = readings.partition.astype(np.int64) * 10**9 + readings.timestamp_ns
    _, group = np.unique(keys, return_inverse=True)
    delay = rng.integers(0, max(lateness_ns, 1), group.max(initial=0) + 1)[group]
    return np.argsort(readings.timestamp_ns + delay, kind="stable")
