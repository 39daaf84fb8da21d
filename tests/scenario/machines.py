"""Machines of five kinds, and their rows as messages of three forms.

A row is a minute. A machine has a load with two periods of its own. Every channel follows it, so one that
leaves it shows in each model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

START_S = 1_767_225_600  # midnight
STEP_S = 60

CHANNELS = {
    "pump": ("flow", "pressure", "motor_A"),
    "conveyor": ("belt_speed", "motor_A"),
    "mixer": ("torque", "speed", "motor_A", "level"),
    "fan": ("speed", "vibration"),
    "oven": ("zone_1", "zone_2", "power"),
}
JSON_KINDS, LINE_KINDS, MQTT_KINDS = ("pump", "conveyor"), ("mixer", "fan"), ("oven",)


@dataclass(frozen=True)
class Machine:
    """One machine; its first channel is lower by `leak` from row `leaks_from` to `leaks_until`."""

    kind: str
    number: int
    leaks_from: int = 0
    leaks_until: int = 0
    leak: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:03}"

    def values(self, first: int, num: int) -> NDArray[np.float64]:
        """Rows `first` to `first + num`, [num, C]; the same whatever the cut."""
        channels = CHANNELS[self.kind]
        rows = np.arange(first, first + num)
        phase = crc32(self.name.encode()) % 628 / 100
        load = 1 + 0.3 * np.sin(rows / 37 + phase) + 0.2 * np.sin(rows / 11 + 2 * phase)
        # A generator for each row: no cut into calls changes a value.
        noise = np.array([np.random.default_rng([row, int(phase * 100)]).normal(size=8) for row in rows])
        found = np.empty((num, len(channels)))
        for at in range(len(channels)):
            found[:, at] = 10 * (at + 1) * (load + 0.02 * noise[:, at])
        found[:, 0] -= self.leak * ((rows >= self.leaks_from) & (rows < self.leaks_until))
        return found.round(3)


def plant(of_a_kind: int) -> list[Machine]:
    return [Machine(kind, number) for kind in CHANNELS for number in range(1, of_a_kind + 1)]


def time_s(row: int) -> int:
    return START_S + STEP_S * row


def rows_of(
    machines: Iterable[Machine], first: int, num: int
) -> list[tuple[int, Machine, NDArray[np.float64]]]:
    """(row, machine, values), in order of time."""
    values = [(machine, machine.values(first, num)) for machine in machines]
    return [(first + at, machine, block[at]) for at in range(num) for machine, block in values]


def as_json(row: int, machine: Machine, values: NDArray[np.float64]) -> bytes:
    names = dict(zip(CHANNELS[machine.kind], values.tolist(), strict=True))
    return json.dumps({"series": machine.name, "timestamp": 1_000 * time_s(row), "values": names}).encode()


def as_line(row: int, machine: Machine, values: NDArray[np.float64]) -> bytes:
    fields = ",".join(
        f"{name}={value}" for name, value in zip(CHANNELS[machine.kind], values.tolist(), strict=True)
    )
    return f"{machine.kind},machine={machine.name} {fields} {time_s(row)}000000000".encode()


def as_table(machines: Sequence[Machine], first: int, num: int) -> pd.DataFrame:
    """A history of machines of one kind, as a historian exports it."""
    frames = []
    for machine in machines:
        frame = pd.DataFrame(machine.values(first, num), columns=list(CHANNELS[machine.kind]))
        frame.insert(0, "timestamp", pd.to_datetime(START_S + STEP_S * (first + np.arange(num)), unit="s"))
        frame.insert(1, "series", machine.name)
        frames.append(frame)
    return pd.concat(frames)
