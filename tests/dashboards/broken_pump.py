"""A plant of pumps, a model trained on its past, and its present with a pump whose pressure oscillates."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from connectors.kafka.connection import Connection
from connectors.kafka.producer import Producer
from connectors.parquet.writer import TableWriter
from connectors.records import Message
from connectors.wide_json.encoder import encode
from trainer import fit
from trainer.config import ModelOptions, ModeOptions, TrainConfig
from trainer.demo.plant import CHANNELS, Fault, Plant, history_columns

HOUR_NS = 3_600_000_000_000
HISTORY_HOURS, PRESENT_HOURS, LATE_HOURS = 60, 6, 2  # 2,880 rows of the present: enough for a figure of drift
BROKEN, BLAMED = "pump-02", "pressure"
HEALTHY = Plant(num_pumps=4)


def train(directory: Path) -> Path:
    """A linear model of the healthy past, with a mode that always holds, and a candidate; their entry."""
    end_ns = _present_ns()
    for name, columns in history_columns(HEALTHY, end_ns - HISTORY_HOURS * HOUR_NS, end_ns):
        columns.pop("label")
        path = directory / "history" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        with TableWriter(path, {}) as writer:
            writer.write({"series": [name] * len(columns["timestamp"]), **columns})
    for window in (16, 12):
        config = TrainConfig(
            model=ModelOptions(family="linear", window=window),
            modes=(ModeOptions(name="pumping", when={"flow": (0.0, None)}),),
        )
        fit(directory / "history", config=config, out=directory / "models" / "plant")
    return directory / "models" / "plant"


@contextmanager
def streaming(bootstrap: str, topic: str) -> Iterator[None]:
    """Six hours at once, something that is no message, and then half a minute every two seconds.

    From an hour before the end of those hours the pressure of one pump oscillates, for as long as it goes on.
    """
    live_ns = _present_ns() + PRESENT_HOURS * HOUR_NS
    begin_ns = live_ns - HOUR_NS
    fault = Fault("oscillation", BROKEN, BLAMED, begin_ns, begin_ns + 12 * HOUR_NS, 2.0)
    plant = replace(HEALTHY, faults=(fault,))
    stop = threading.Event()

    def messages(start_ns: int, end_ns: int) -> list[Message]:
        return encode(plant.readings(start_ns, end_ns), CHANNELS, topic)

    def go_on() -> None:
        producer, at = Producer(Connection((bootstrap,))), live_ns
        while not stop.wait(2.0):
            producer.produce(messages(at, at + plant.interval_ns))
            at += plant.interval_ns
        producer.close()

    first = Producer(Connection((bootstrap,)))
    first.produce([*messages(_present_ns(), live_ns), Message(topic, BROKEN.encode(), b"{oops")])
    first.close()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60)


def _present_ns() -> int:
    """Where the past ends: some hours ago, on a full hour, and the same within a test."""
    return _STARTED_NS - _STARTED_NS % HOUR_NS - (PRESENT_HOURS + LATE_HOURS) * HOUR_NS


_STARTED_NS = time.time_ns()
