"""A plant: lines of machines of one kind each, their history, what comes after it, and its faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.plants.draws import Draws, Rows, Values
from benchmarks.plants.faults import FAULTS, Part
from benchmarks.plants.machines import KINDS
from benchmarks.plants.schedule import Schedule, lost
from trainer.evaluation.operator_measures import Event

EPOCH_NS = 1_767_571_200_000_000_000  # Monday, 2026-01-05, 0:00 UTC
_PAD = 12 * 60  # rows before the first one: what filters remember
_WEEK_SECONDS = 7 * 86_400
_HEALTHY = 1 / 3
_STEADY = 18  # rows that a machine runs from the start of a fault on
USUAL = Schedule()


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """What a plant is made of.

    seed           of every value
    kinds          one line of machines for each kind
    machines       machines of a line; the first third of them has no fault
    history_weeks  before the live part
    live_weeks     with faults
    sizes          of the faults in spreads of their channel, in turn
    schedule       working hours and interval
    """

    seed: int
    kinds: tuple[str, ...]
    machines: int = 3
    history_weeks: int = 4
    live_weeks: int = 4
    sizes: tuple[float, ...] = (1.0, 2.0, 4.0)
    schedule: Schedule = USUAL

    @property
    def interval_ns(self) -> int:
        return self.schedule.interval_seconds * 1_000_000_000

    @property
    def weeks_rows(self) -> int:
        return _WEEK_SECONDS // self.schedule.interval_seconds


@dataclass(frozen=True, slots=True)
class Line:
    """Machines of one kind. Frames have a DatetimeIndex, a column `series` and one column a channel."""

    name: str
    interval_ns: int
    history: pd.DataFrame
    live: pd.DataFrame
    events: tuple[Event, ...]


def line_of(options: PlantOptions, kind: str) -> Line:
    """Return the line of one kind of machines of a plant."""
    number = options.kinds.index(kind)
    begin = options.history_weeks * options.weeks_rows
    rows = np.arange(begin + options.live_weeks * options.weeks_rows)
    history, live, events = [], [], []
    for at in range(options.machines):
        machine = Machine(options, kind, f"{kind}-{at + 1}")
        values = machine.values(rows)
        faulty = at >= max(1, round(options.machines * _HEALTHY))
        found = machine.with_faults(values, rows, begin, number + at) if faulty else []
        events += found
        frame = machine.frame(values, rows)
        split = pd.Timestamp(EPOCH_NS + begin * options.interval_ns, unit="ns", tz="UTC")
        history.append(frame[frame.index < split])
        live.append(frame[frame.index >= split])
    name = f"{kind}-{options.seed}"
    return Line(name, options.interval_ns, pd.concat(history), pd.concat(live), tuple(events))


class Machine:
    """One machine of a plant."""

    def __init__(self, options: PlantOptions, kind: str, name: str) -> None:
        self._options = options
        self._kind = kind
        self._name = name
        self._draws = Draws(options.seed, name)

    def values(self, rows: Rows) -> dict[str, Values]:
        """Return the channels of a healthy machine at rows without holes, float64 [n] each."""
        padded = np.arange(int(rows[0]) - _PAD, int(rows[-1]) + 1)
        load = self._options.schedule.ramped(self._draws, padded)
        channels = KINDS[self._kind](self._draws, padded, load)
        return {name: values[_PAD:].copy() for name, values in channels.items()}

    def frame(self, values: dict[str, Values], rows: Rows) -> pd.DataFrame:
        """Return the rows that arrive, with missing cells."""
        kept = ~lost(self._draws, rows, self._options.schedule.interval_seconds)
        times = pd.DatetimeIndex((EPOCH_NS + rows[kept] * self._options.interval_ns).view("M8[ns]"))
        frame = pd.DataFrame({"series": self._name}, index=times.tz_localize("UTC").rename("timestamp"))
        for name, column in values.items():
            hidden = self._draws.uniform(f"{name}/hidden", rows) < 0.002
            frame[name] = np.where(hidden, np.nan, column)[kept]
        return frame

    def with_faults(self, values: dict[str, Values], rows: Rows, begin: int, turn: int) -> list[Event]:
        """Change the channels in place by one fault in about five days, from row `begin` on; return them."""
        day = self._options.weeks_rows // 7
        on = self._options.schedule.running(self._draws, rows)
        spread = {name: _spread(column[:begin][on[:begin]]) for name, column in values.items()}
        channels = [name for name, column in values.items() if len(np.unique(column)) > 2]
        events: list[Event] = []
        at = begin + day
        for count in range(len(rows)):
            at = int(at + day * self._draws.uniform("fault/at", np.array([count]))[0])
            fault, size = self._fault(count, turn)
            length = self._length(fault, count)
            at = _while_on(on, at, day, self._drawn("fault/hour", count))
            if at + length + day > len(rows):
                break
            channel = channels[int(self._drawn("fault/channel", count) * len(channels))]
            where = slice(at, at + length)
            other = values[channel][at - 7 * day + 9 : at - 7 * day + 9 + length]
            part = Part(values[channel][where].copy(), spread[channel], size, other.copy())
            acts = _acts(fault, on[where])
            values[channel][where] = np.where(acts, FAULTS[fault].change(part), values[channel][where])
            events.append(self._event(where, (channel, fault, abs(size)), on[where]))
            at += length + 2 * day
        return events

    def _fault(self, count: int, turn: int) -> tuple[str, float]:
        """Return the kind of a fault and its size: kinds take turns over all machines, sizes are drawn."""
        kinds, sizes = list(FAULTS), self._options.sizes
        number = count * self._options.machines + turn + self._options.seed
        size = sizes[int(self._drawn("fault/size", count) * len(sizes))]
        return kinds[number % len(kinds)], size if self._drawn("fault/sign", count) < 0.5 else -size

    def _length(self, fault: str, count: int) -> int:
        least, most = FAULTS[fault].hours
        hours = least + (most - least) * self._drawn("fault/hours", count)
        return max(1, round(hours * 3600 / self._options.schedule.interval_seconds))

    def _drawn(self, stream: str, count: int) -> float:
        return float(self._draws.uniform(stream, np.array([count]))[0])

    def _event(self, where: slice, fault: tuple[str, str, float], on: NDArray[np.bool_]) -> Event:
        """Return the event at these rows: channel, kind and size; it shows while the machine is on."""
        channel, kind, size = fault
        step = self._options.interval_ns
        edges = np.flatnonzero(np.diff(np.concatenate([[0], on, [0]]))) + where.start
        times = [EPOCH_NS + int(at) * step for at in (where.start, where.stop, *edges)]
        active = tuple(zip(times[2::2], times[3::2], strict=True))
        size = size if FAULTS[kind].sized else float("nan")
        return Event(self._name, times[0], times[1], channel, kind, size, active)


def _while_on(on: NDArray[np.bool_], at: int, day: int, drawn: float) -> int:
    """Return a row from `at` on at which the machine stays on; the number of rows if there is none.

    If it is off at `at`, the row is drawn from the next day with such rows. Else the start of a shift would
    have most faults.
    """
    if len(on) - at < _STEADY:
        return len(on)
    steady = np.lib.stride_tricks.sliding_window_view(on[at:], _STEADY).all(axis=1)
    left = np.flatnonzero(steady)
    if steady[0] or len(left) == 0:
        return at if steady[0] else len(on)
    left = left[left < left[0] + day]
    return at + int(left[int(drawn * len(left))])


def _acts(fault: str, on: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where a fault acts, bool [n]: a machine that stands still has only the faults of its sensors."""
    return on if fault in {"slip", "leak", "oscillation", "wear"} else np.ones(len(on), np.bool_)


def _spread(values: Values) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float((high - low) / 1.349)


CHOOSING = tuple(PlantOptions(seed, ("pump", "conveyor", "exchanger")) for seed in (1, 2))
"""The plants by which defaults are chosen."""
CONFIRMING = tuple(PlantOptions(seed, ("compressor", "tank", "fan", "pump")) for seed in (101, 102))
"""Plants of other seeds and kinds. No default is chosen on them: they confirm it."""


def events_frame(events: Sequence[Event], interval_ns: int) -> pd.DataFrame:
    """Return one row an event: series, channel, start and end (last row), kind, size."""
    times = {
        "start": [event.start_ns for event in events],
        "end": [event.end_ns - interval_ns for event in events],
    }
    return pd.DataFrame(
        {
            "series": [event.series for event in events],
            "channel": [event.channel for event in events],
            **{name: pd.to_datetime(column, unit="ns", utc=True) for name, column in times.items()},
            "kind": [event.kind for event in events],
            "size": [event.size for event in events],
        }
    )
