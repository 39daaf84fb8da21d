"""The demo: a simulated plant with faults, and all parts of Streamgauge that watch it.

history -> Parquet -> train linear, and lstm beside it -> models/

live readings -> Kafka (embedded broker) -> a detector of each model -> this terminal, the explorer
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from connectors.kafka.producer import Producer
from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import open_artifact
from detector.errors import DetectorError
from trainer.demo.daemons import TOPIC, Daemon, Detectors, broker_with_topic, wait_until
from trainer.demo.explorer import explorer, has_browser, missing_packages, open_browser, reserved
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day, history_columns
from trainer.demo.report import AlertFeed, print_summary
from trainer.demo.training import WINDOW, model_path, train, trained_words
from trainer.errors import TrainerError
from trainer.progress import reporting

FIRST, SECOND = "linear", "lstm"
"""The first is trained in seconds and shown live; the second is trained beside it, and catches up."""
_DAY_NS = 86_400_000_000_000
_HISTORY_DAYS = 3
_STREAM_SECONDS = 30.0
_DRAIN_SECONDS = 120.0
_TICK_ROWS = 10


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold the way in for readings, the way out of alerts, and the console that shows them."""

    producer: Producer
    detectors: Detectors
    feed: AlertFeed
    console: Console

    def print_alerts(self, timeout_seconds: float) -> int:
        """Print the alerts that arrive within about `timeout_seconds`; return their number."""
        alerts = self.detectors.alerts(timeout_seconds)
        for family, alert in alerts:
            line = self.feed.match(family, alert)
            if line is not None:
                self.console.print(line, soft_wrap=True)
        return len(alerts)


def demo(args: argparse.Namespace) -> int:
    """Train, stream a day with faults, detect them, show them live, print the outcome; return 0."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=120)
    directory = _directory(args.out)
    console.print(f"[bold]Streamgauge demo[/bold]: everything stays in {directory}", soft_wrap=True)
    torch.set_num_threads(1)  # the second training, the broker and the detectors need the other cores
    began = time.monotonic()
    end_ns = time.time_ns() // 60_000_000_000 * 60_000_000_000
    start_ns = end_ns - _DAY_NS
    plant = Plant(seed=args.seed)
    plant = Plant(seed=args.seed, faults=faults_of_a_day(plant, start_ns))
    _write_history(plant, directory / "history", start_ns, console)
    with ExitStack() as stack:
        connection = stack.enter_context(broker_with_topic(directory))
        detectors = Detectors(directory, connection, stack, console)
        detectors.train_beside(SECOND, args.seed)
        _train(FIRST, directory, args.seed, console)
        producer = Producer(connection)
        stack.callback(producer.close)
        stage = Stage(producer, detectors, AlertFeed(plant, WINDOW), console)
        listening = _listening(detectors, stack, console)
        first = detectors.start(FIRST)
        detectors.wait(first)  # before, its topics do not exist, and the explorer would say so
        address = _explored(first, listening, stack, console)
        _show(address, args, console)
        sent = _stream(plant, start_ns, args.seconds or _STREAM_SECONDS, stage)
        _drain(sent, stage)
        print_summary(stage.feed, {one.family: one.judged() for one in detectors.ready}, console)
        console.print(
            f"took {time.monotonic() - began:.0f} s; history, models and logs are in {directory}",
            soft_wrap=True,
        )
        if args.keep_running or _is_watched(args):
            _keep_running(plant, end_ns, address, stage)
    return 0


def _is_watched(args: argparse.Namespace) -> bool:
    """Return whether somebody looks: a person at a terminal, who wants pages."""
    return sys.stdout.isatty() and not args.no_browser


def _listening(detectors: Detectors, stack: ExitStack, console: Console) -> socket.socket | None:
    """Return a socket for the explorer, to which the detectors link; None if packages are missing."""
    if missing := missing_packages():
        console.print(
            f"no explorer: {', '.join(missing)} is not installed; run: pip install 'streamgauge\\[explore]'"
        )
        return None
    listening, detectors.explorer = reserved()
    return stack.enter_context(listening)


def _explored(
    daemon: Daemon, listening: socket.socket | None, stack: ExitStack, console: Console
) -> str | None:
    """Open the explorer and return its address; print why if it cannot be opened."""
    if listening is None:
        return None
    try:
        return stack.enter_context(explorer(daemon.config, listening))
    except DetectorError as error:
        console.print(f"no explorer: {error}", soft_wrap=True, markup=False)
        return None


def _show(address: str | None, args: argparse.Namespace, console: Console) -> None:
    """Open the explorer in a browser where there is one; print the address in any case."""
    if address is None:
        return
    is_opened = _is_watched(args) and has_browser()
    how = "opened in your browser" if is_opened else "open it in a browser"
    console.print(f"[bold]explorer: {address}[/bold]  live, with the faults as they are found; {how}")
    if is_opened:
        open_browser(address)


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
    """Train a model in this process, with a bar."""
    began = time.monotonic()
    with reporting(f"training {family}") as report:
        train(family, directory, seed, report)
    spec = open_artifact(str(model_path(directory, family))).spec
    console.print(f"trained {family} in {time.monotonic() - began:.0f} s: {trained_words(spec)}")


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
            stage.detectors.look()
            stage.print_alerts(max(0.0, due - time.monotonic()))
            advance((tick + 1) / num_ticks)
    return len(readings)


def _drain(sent: int, stage: Stage) -> None:
    """Wait until every detector has scored all readings, and print the remaining alerts."""
    detectors = stage.detectors
    if not detectors.are_all_ready:
        stage.console.print(f"all readings are sent; the detector of {SECOND} comes and catches up")
    detectors.wait_for_all(lambda: stage.print_alerts(0.2))

    def all_read() -> bool:
        stage.print_alerts(0.2)
        return all(daemon.num_readings() >= sent for daemon in detectors.ready)

    wait_until(all_read, "scoring the readings", _DRAIN_SECONDS, detectors.ready[0].log)
    while stage.print_alerts(1.0):
        pass


def _keep_running(plant: Plant, from_ns: int, address: str | None, stage: Stage) -> None:
    """Send readings in real time, and print alerts, until Ctrl-C."""
    console = stage.console
    for daemon in stage.detectors.ready:
        console.print(f"{daemon.family}: status {daemon.address}/  metrics {daemon.address}/metrics")
    if address is not None:
        console.print(f"[bold]explorer: {address}[/bold]", soft_wrap=True)
        for daemon in stage.detectors.ready[1:]:
            console.print(
                f"the pages of {daemon.family}: streamgauge explore {daemon.config}", soft_wrap=True
            )
    console.print("[bold]streaming in real time; stop with Ctrl-C[/bold]")
    try:
        while True:
            until_ns = time.time_ns()
            stage.producer.produce(encode(plant.readings(from_ns, until_ns), CHANNELS, TOPIC))
            from_ns = until_ns
            stage.print_alerts(plant.interval_seconds)
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
