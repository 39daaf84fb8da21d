"""The simulated plant as it happens: rows to Kafka from a thread, with faults to turn on and off."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.wide_json.encoder import encode
from trainer.demo.plant import CHANNELS, Plant


class Pumps:
    """Sends the plant's rows from `start_ns` on, `pace` rows a second: their time runs faster than ours."""

    def __init__(self, plant: Plant, bootstrap: str, topic: str, start_ns: int) -> None:
        self.faulty: dict[str, str] = {}  # series: channel that swings
        self.pace = 2
        self._plant = plant
        self._topic = topic
        self._row = start_ns // plant.interval_ns
        self._producer = Producer(Connection((bootstrap,)))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, num_rows: int) -> None:
        """Send so many rows at once, then go on."""
        self.send(num_rows)
        self._thread.start()

    def send(self, num_rows: int) -> None:
        """The next rows of all pumps."""
        first, self._row = self._row, self._row + num_rows
        step = self._plant.interval_ns
        readings = self._plant.readings(first * step, self._row * step)
        values = readings.values.copy()
        for series, channel in self.faulty.items():
            mine = readings.series == readings.names.index(series)
            swing = np.where(readings.timestamp_ns[mine] // step % 2, 3.0, -3.0)
            values[mine, CHANNELS.index(channel)] += swing
        self._producer.produce(encode(replace(readings, values=values), CHANNELS, self._topic))

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._producer.close()

    def _run(self) -> None:
        while not self._over.wait(max(0.2, 1 / self.pace)):
            self.send(max(1, self.pace // 5))
