"""The demo: a simulated plant with faults, and all parts of Streamgauge that watch it.

history -> Parquet -> train conv and lstm -> models/
live readings -> Kafka (embedded broker) -> two daemons -> alerts -> this terminal
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from connectors.kafka.producer import Producer
from connectors.kafka.topic_tail import TopicTail
from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.demo.daemons import TOPIC, Daemon, broker_and_daemons, wait_until
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day, history_columns
from trainer.demo.report import AlertFeed, print_summary
from trainer.errors import TrainerError
from trainer.pipeline import fit_source, source_of
from trainer.progress import reporting

FAMILIES = ("conv", "lstm")
_DAY_NS = 86_400_000_000_000
_HISTORY_DAYS = 4
_WINDOW = 64
_STREAM_SECONDS = 30.0
_DRAIN_SECONDS = 60.0
_TICK_ROWS = 10


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold the way in for readings, the way out of alerts, and the console that shows them."""

    producer: Producer
    tail: TopicTail
    feed: AlertFeed
    console: Console

    def print_alerts(self, timeout_seconds: float) -> int:
        """Print the alerts that arrive within about `timeout_seconds`; return their number."""
        messages = self.tail.poll(timeout_seconds)
        for message in messages:
            line = self.feed.match(message.topic.removesuffix(".alerts"), json.loads(message.value or b"{}"))
            if line is not None:
                self.console.print(line, soft_wrap=True)
        return len(messages)


def demo(args: argparse.Namespace) -> int:
    """Train, stream a day with faults, detect them and print the outcome; return 0."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=120)
    directory = _directory(args.out)
    console.print(f"[bold]Streamgauge demo[/bold]: everything stays in {directory}", soft_wrap=True)
    torch.set_num_threads(1)  # the broker and the daemons need the other cores
    began = time.monotonic()
    end_ns = time.time_ns() // 60_000_000_000 * 60_000_000_000
    start_ns = end_ns - _DAY_NS
    plant = Plant(seed=args.seed)
    plant = Plant(seed=args.seed, faults=faults_of_a_day(plant, start_ns))
    _write_history(plant, directory / "history", start_ns, console)
    for family in FAMILIES:
        _train(family, directory, args.seed, console)
    with broker_and_daemons(directory, FAMILIES) as (connection, daemons):
        addresses = ", ".join(f"{daemon.family} at {daemon.address}" for daemon in daemons)
        console.print(f"broker at {connection.servers}; {addresses}")
        producer = Producer(connection)
        try:
            feed = AlertFeed(plant, _WINDOW)
            topics = [f"{daemon.family}.alerts" for daemon in daemons]
            with TopicTail(connection, topics) as tail:
                stage = Stage(producer, tail, feed, console)
                sent = _stream(plant, start_ns, args.seconds or _STREAM_SECONDS, stage)
                _drain(daemons, sent, stage)
            print_summary(feed, {daemon.family: daemon.judged() for daemon in daemons}, console)
            console.print(
                f"took {time.monotonic() - began:.0f} s; history, models and logs are in {directory}",
                soft_wrap=True,
            )
            if args.keep_running:
                _keep_running(plant, end_ns, producer, daemons, console)
        finally:
            producer.close()
    return 0


def _directory(out: str | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="streamgauge-demo-"))
    path = Path(out).resolve()
    if path.exists() and any(path.iterdir()):
        raise TrainerError(f"{path}: not empty; name a new directory")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _write_history(plant: Plant, directory: Path, end_ns: int, console: Console) -> None:
    """Write the healthy history, one file per pump."""
    for name, columns in history_columns(plant, end_ns - _HISTORY_DAYS * _DAY_NS, end_ns):
        with TableWriter(
            directory / f"{name}.parquet", {"interval_s": str(plant.interval_seconds)}
        ) as writer:
            writer.write(columns)
    console.print(
        f"{plant.num_pumps} pumps, {len(CHANNELS)} channels, a reading every {plant.interval_seconds} s:"
        f" {_HISTORY_DAYS} days of history as Parquet"
    )


def _train(family: str, directory: Path, seed: int, console: Console) -> None:
    config = TrainConfig(
        name=f"pump-{family}",
        model=ModelOptions(family=family, window=_WINDOW),
        fit=FitOptions(seed=seed, max_epochs=16, windows_per_epoch=12_000, patience=4),
    )
    began = time.monotonic()
    with reporting(f"training {family}") as report:
        artifact = fit_source(source_of(directory / "history"), config, report)
    saved = publish(artifact, directory / "models" / f"pump-{family}")
    training = saved.spec.training
    console.print(
        f"trained {family} in {time.monotonic() - began:.0f} s: {training['epochs']} epochs, validation loss"
        f" {training['validation_loss']:.4f}, threshold {saved.spec.threshold.value:.2f}"
        f" for {saved.spec.threshold.alarm_budget} false alarms per pump"
    )


def _stream(plant: Plant, start_ns: int, seconds: float, stage: Stage) -> int:
    """Send a day of readings in `seconds` and print alerts meanwhile; return the number of readings."""
    readings = plant.readings(start_ns, start_ns + _DAY_NS)
    tick_ns = _TICK_ROWS * plant.interval_ns
    num_ticks = _DAY_NS // tick_ns
    bounds = np.searchsorted(readings.timestamp_ns, start_ns + np.arange(num_ticks + 1) * tick_ns)
    stage.console.print(f"streaming one day: {len(readings):,} readings with {len(plant.faults)} faults")
    began = time.monotonic()
    with _bar(stage.console) as advance:
        for tick in range(num_ticks):
            part = _slice(readings, int(bounds[tick]), int(bounds[tick + 1]))
            stage.producer.produce(encode(part, CHANNELS, TOPIC))
            due = began + seconds * (tick + 1) / num_ticks
            stage.print_alerts(max(0.0, due - time.monotonic()))
            advance((tick + 1) / num_ticks)
    return len(readings)


def _drain(daemons: list[Daemon], sent: int, stage: Stage) -> None:
    """Wait until every daemon has scored all readings, and print the remaining alerts."""

    def all_read() -> bool:
        stage.print_alerts(0.2)
        return all(daemon.num_readings() >= sent for daemon in daemons)

    wait_until(all_read, "scoring the readings", _DRAIN_SECONDS, daemons[0].log)
    while stage.print_alerts(1.0):
        pass


def _keep_running(
    plant: Plant, from_ns: int, producer: Producer, daemons: list[Daemon], console: Console
) -> None:
    """Send readings in real time until Ctrl-C."""
    for daemon in daemons:
        console.print(f"{daemon.family}: status {daemon.address}/  metrics {daemon.address}/metrics")
    console.print("streaming in real time; stop with Ctrl-C")
    try:
        while True:
            until_ns = time.time_ns()
            producer.produce(encode(plant.readings(from_ns, until_ns), CHANNELS, TOPIC))
            from_ns = until_ns
            time.sleep(plant.interval_seconds)
    except KeyboardInterrupt:
        console.print("stopping")


def _slice(readings: Readings, start: int, stop: int) -> Readings:
    rows = slice(start, stop)
    return Readings(
        readings.names,
        readings.series[rows],
        readings.timestamp_ns[rows],
        readings.values[rows],
        readings.partition[rows],
        readings.offset[rows],
    )


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[float], None]]:
    """Show a bar below the printed lines on a terminal; show nothing elsewhere."""
    if not console.is_terminal:
        yield lambda share: None
        return
    columns = (TextColumn("[bold]event time"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("day", total=1.0)

        def advance(share: float) -> None:
            progress.update(task, completed=share)

        yield advance
