"""A simulated plant: pumps with correlated channels, daily cycles, load changes, noise, dropouts, faults.

Promise: every value is a function of (seed, pump, time). Any span of time, cut in any way, has the same
values. The demo, the tests, the examples and the documentation use this plant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings

CHANNELS = (
    "flow",  # m3/h
    "pressure",  # bar
    "current",  # A
    "speed",  # 1/min
    "vibration",  # mm/s
    "bearing_temp",  # degrees Celsius
    "inlet_temp",  # degrees Celsius
    "valve",  # % open
)
NOISE = np.array([0.6, 0.04, 0.25, 3.0, 0.05, 0.12, 0.1, 0.4])
"""Standard deviation of each channel's measurement noise, in its unit."""

Kind = Literal["spike", "drift", "stuck", "lost correlation", "oscillation"]
_DAY_SECONDS = 86_400.0
_BLOCK_ROWS = 4_096
_SHIFT_SECONDS = 7.3 * 3600
_DROPPED_ROWS, _DROPPED_CELLS = 0.004, 0.002


@dataclass(frozen=True, slots=True)
class Fault:
    """Describe a fault of one channel of one pump, from start (included) to end (excluded).

    `magnitude` is in the unit of the channel: height of a spike, end of a drift, amplitude of an oscillation.
    A stuck sensor and a lost correlation do not use it.
    """

    kind: Kind
    series: str
    channel: str
    start_ns: int
    end_ns: int
    magnitude: float = 0.0


@dataclass(frozen=True, slots=True)
class Plant:
    """Simulate `num_pumps` pumps that report every `interval_seconds`; `faults` disturb them."""

    num_pumps: int = 8
    interval_seconds: int = 30
    seed: int = 7
    faults: tuple[Fault, ...] = ()

    @property
    def interval_ns(self) -> int:
        """Return the nanoseconds between two readings of a pump."""
        return self.interval_seconds * 1_000_000_000

    @property
    def series(self) -> tuple[str, ...]:
        """Return the names of the pumps.

        >>> Plant(num_pumps=2).series
        ('pump-01', 'pump-02')
        """
        return tuple(f"pump-{number:02d}" for number in range(1, self.num_pumps + 1))

    def readings(self, start_ns: int, end_ns: int) -> Readings:
        """Return the readings of all pumps from start (included) to end (excluded), sorted by time.

        Dropped readings are left out. Times are whole multiples of the interval.

        >>> len(Plant(num_pumps=3).readings(0, 30_000_000_000))
        3
        """
        first, last = -(-start_ns // self.interval_ns), -(-end_ns // self.interval_ns)
        row = np.arange(first, last)
        values = np.stack([self.values(pump, row) for pump in range(self.num_pumps)], axis=1)
        sent = np.stack([self._sent(pump, row) for pump in range(self.num_pumps)], axis=1)
        at, pump = np.nonzero(sent)
        num = len(at)
        return Readings(
            self.series,
            pump.astype(np.int32),
            row[at] * self.interval_ns,
            values[at, pump],
            np.zeros(num, np.int32),
            np.arange(num),
        )

    def values(self, pump: int, row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sensor values of one pump, float64 [n, channels], NaN where a value is lost.

        `row` is int64 [n], the time divided by the interval.
        """
        seconds = row.astype(np.float64) * self.interval_seconds
        values = self._healthy(pump, seconds) + NOISE * self._normal(pump, row, 1, len(CHANNELS))
        for fault in self.faults:
            if fault.series == self.series[pump]:
                self._add_fault(fault, pump, row, values)
        values[self._uniform(pump, row, 2, len(CHANNELS)) < _DROPPED_CELLS] = np.nan
        return values

    def label(self, pump: int, row: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return 1 on the rows of one pump with a fault, else 0, int8 [n]."""
        times = row * self.interval_ns
        label = np.zeros(len(row), np.int8)
        for fault in self.faults:
            if fault.series == self.series[pump]:
                label[(times >= fault.start_ns) & (times < fault.end_ns)] = 1
        return label

    def _healthy(self, pump: int, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rough physics: every channel follows the load, temperatures with a delay."""
        own = np.random.default_rng([self.seed, pump])
        size, wear, phase = own.uniform(0.9, 1.1), own.uniform(0.9, 1.2), own.uniform(-0.6, 0.6)
        load, warm = (self._load(pump, phase, seconds - lag) for lag in (0.0, 900.0))
        outside = (
            14 + 5 * np.sin(2 * np.pi * seconds / _DAY_SECONDS - 2.2) + 2 * self._slow(pump, seconds, 6e4, 3)
        )
        speed = 1450 * (0.62 + 0.38 * load)
        flow = size * 95 * load * (0.75 + 0.25 * speed / 1450)
        pressure = size * (2.2 + 4.1 * (speed / 1450) ** 2 - 0.6 * load)
        current = 6 + 0.052 * flow * pressure / size
        vibration = wear * (1.1 + 0.9 * load + 0.25 * np.sin(2 * np.pi * seconds / 570))
        bearing = outside + 24 + 17 * wear * warm
        return np.column_stack(
            [flow, pressure, current, speed, vibration, bearing, outside + 3, 18 + 74 * load**0.8]
        )

    def _load(self, pump: int, phase: float, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the load, 0.15 to 1: a daily cycle, slow changes, and steps of the process."""
        daily = 0.18 * np.sin(2 * np.pi * seconds / _DAY_SECONDS + phase)
        steps = 0.07 * np.round(1.5 * self._slow(pump, seconds, 7_200, 4))
        return np.clip(0.6 + daily + steps + 0.05 * self._slow(pump, seconds, 5_400, 5), 0.15, 1.0)

    def _add_fault(
        self, fault: Fault, pump: int, row: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        times = row * self.interval_ns
        broken = (times >= fault.start_ns) & (times < fault.end_ns)
        if not broken.any():
            return
        column = values[:, CHANNELS.index(fault.channel)]
        since = (times[broken] - fault.start_ns) / 1e9
        if fault.kind == "spike":
            column[broken] += fault.magnitude
        elif fault.kind == "drift":
            column[broken] += fault.magnitude * since / ((fault.end_ns - fault.start_ns) / 1e9)
        elif fault.kind == "oscillation":
            column[broken] += fault.magnitude * np.sin(2 * np.pi * since / (5 * self.interval_seconds))
        else:
            column[broken] = self._replaced(fault, pump, row[broken])

    def _replaced(self, fault: Fault, pump: int, row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the values of a stuck sensor (constant) or a lost correlation (values of hours before)."""
        if fault.kind == "stuck":
            row = np.full_like(row, fault.start_ns // self.interval_ns)
        else:
            row = row - round(_SHIFT_SECONDS / self.interval_seconds)
        seconds = row.astype(np.float64) * self.interval_seconds
        channel = CHANNELS.index(fault.channel)
        noise = NOISE[channel] * self._normal(pump, row, 1, len(CHANNELS))[:, channel]
        shown: NDArray[np.float64] = self._healthy(pump, seconds)[:, channel] + noise
        return shown

    def _sent(self, pump: int, row: NDArray[np.int64]) -> NDArray[np.bool_]:
        sent: NDArray[np.bool_] = self._uniform(pump, row, 6, 1)[:, 0] >= _DROPPED_ROWS
        return sent

    def _slow(
        self, pump: int, seconds: NDArray[np.float64], period: float, stream: int
    ) -> NDArray[np.float64]:
        """Return smooth noise: standard normal knots every `period` seconds, a cosine between them."""
        position = seconds / period
        knot = np.floor(position).astype(np.int64)
        share = (1 - np.cos(np.pi * (position - knot))) / 2
        before, after = (self._normal(pump, knot + step, stream, 1)[:, 0] for step in (0, 1))
        return before * (1 - share) + after * share

    def _normal(self, pump: int, row: NDArray[np.int64], stream: int, width: int) -> NDArray[np.float64]:
        return self._blocks(pump, row, stream, width, "normal")

    def _uniform(self, pump: int, row: NDArray[np.int64], stream: int, width: int) -> NDArray[np.float64]:
        return self._blocks(pump, row, stream, width, "uniform")

    def _blocks(
        self,
        pump: int,
        row: NDArray[np.int64],
        stream: int,
        width: int,
        kind: Literal["normal", "uniform"],
    ) -> NDArray[np.float64]:
        """Return random numbers that depend on their row only, float64 [n, width], drawn in blocks."""
        result = np.empty((len(row), width))
        block = row // _BLOCK_ROWS
        for number in np.unique(block).tolist():
            rng = np.random.default_rng([self.seed, pump, stream, number + (1 << 40)])
            shape = (_BLOCK_ROWS, width)
            drawn = rng.standard_normal(shape) if kind == "normal" else rng.random(shape)
            mine = block == number
            result[mine] = drawn[row[mine] % _BLOCK_ROWS]
        return result


def faults_of_a_day(plant: Plant, start_ns: int) -> tuple[Fault, ...]:
    """Return two faults of each kind within a day from `start_ns`, on different pumps, hours apart.

    Magnitudes are a few times the noise of the channel, as at the beginning of real faults.
    """
    plan: tuple[tuple[Kind, int, str, float, float, float], ...] = (
        # kind, pump, channel, start and length in hours, magnitude
        ("spike", 0, "pressure", 2.0, 0.03, 1.2),
        ("drift", 4, "bearing_temp", 3.5, 4.0, 9.0),
        ("stuck", 2, "flow", 5.0, 2.5, 0.0),
        ("oscillation", 6, "pressure", 7.5, 1.5, 0.35),
        ("lost correlation", 1, "current", 9.0, 3.0, 0.0),
        ("spike", 5, "vibration", 11.5, 0.03, 2.0),
        ("oscillation", 3, "valve", 13.0, 1.5, 5.0),
        ("drift", 0, "current", 15.0, 3.5, 8.0),
        ("stuck", 7, "bearing_temp", 17.0, 3.0, 0.0),
        ("lost correlation", 4, "valve", 19.0, 3.0, 0.0),
    )
    hour = 3_600_000_000_000
    return tuple(
        Fault(
            kind,
            plant.series[pump % plant.num_pumps],
            channel,
            start_ns + round(start * hour),
            start_ns + round((start + length) * hour),
            magnitude,
        )
        for kind, pump, channel, start, length, magnitude in plan
    )


def history_columns(plant: Plant, start_ns: int, end_ns: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each pump's name and its readings as columns for Parquet: timestamp, channels and label."""
    readings = plant.readings(start_ns, end_ns)
    for pump, name in enumerate(readings.names):
        mine = readings.series == pump
        times = readings.timestamp_ns[mine]
        columns: dict[str, object] = {"timestamp": times}
        columns |= {channel: readings.values[mine, at] for at, channel in enumerate(CHANNELS)}
        columns["label"] = plant.label(pump, times // plant.interval_ns)
        yield name, columns
