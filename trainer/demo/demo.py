"""The demo: a plant that breaks, and everything of Streamgauge watching it.

past  -> Parquet -> train conv and lstm -> models/
present -> Kafka (embedded broker) -> two daemons -> alerts -> this terminal
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.kafka.topic_tail import TopicTail
from connectors.parquet.writer import TableWriter
from connectors.records import Readings
from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.demo.broker import embedded_broker, free_port
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day, history_columns
from trainer.demo.processes import started
from trainer.demo.report import AlertFeed, summary
from trainer.errors import TrainerError
from trainer.pipeline import fit_source, source_of
from trainer.progress import reporting

FAMILIES = ("conv", "lstm")
TOPIC = "readings"
_DAY_NS = 86_400_000_000_000
_HISTORY_DAYS = 4
_WINDOW = 64
_STREAM_SECONDS = 30.0
_READY_SECONDS, _DRAIN_SECONDS = 60.0, 60.0
_TICK_ROWS = 10
_CONFIG = """\
[model]
path = "{directory}/models/pump-{family}"

[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "{topic}"
group_id = "demo-{family}"

[output]
prefix = "{family}"
[delivery]
mode = "at_least_once"

[incidents]
quiet_rows = 30

[http]
port = {port}
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running detector: the model's family and where it serves HTTP."""

    family: str
    address: str
    log: Path

    def is_ready(self) -> bool:
        return _get(f"{self.address}/readyz") is not None


@dataclass(frozen=True, slots=True)
class Stage:
    """Where readings go in, alerts come out, and what is made of them."""

    producer: Producer
    tail: TopicTail
    watch: AlertFeed
    console: Console

    def tell(self, timeout_seconds: float) -> int:
        """Tell of the alerts that come within about `timeout_seconds`; how many came."""
        messages = self.tail.poll(timeout_seconds)
        for message in messages:
            line = self.watch.take(message.topic.removesuffix(".alerts"), json.loads(message.value))
            if line is not None:
                self.console.print(line, soft_wrap=True)
        return len(messages)


def demo(args: argparse.Namespace) -> int:
    """`streamgauge demo`: train, stream, detect, tell; 0 when all of it worked."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=120)
    directory = _directory(args.out)
    console.print(f"[bold]Streamgauge demo[/bold]: everything stays in {directory}", soft_wrap=True)
    torch.set_num_threads(1)  # small models; the broker and the daemons need the other core
    began = time.monotonic()
    end_ns = time.time_ns() // 60_000_000_000 * 60_000_000_000
    start_ns = end_ns - _DAY_NS
    plant = Plant(seed=args.seed)
    plant = Plant(seed=args.seed, faults=faults_of_a_day(plant, start_ns))
    _write_history(plant, directory / "history", start_ns, console)
    for family in FAMILIES:
        _train(family, directory, args.seed, console)
    with _service(directory, console) as (connection, daemons):
        producer = Producer(connection)
        try:
            watch = AlertFeed(plant, _WINDOW)
            topics = [f"{daemon.family}.alerts" for daemon in daemons]
            with TopicTail(connection, topics) as tail:
                stage = Stage(producer, tail, watch, console)
                sent = _stream(plant, start_ns, args.seconds or _STREAM_SECONDS, stage)
                _drain(daemons, sent, stage)
            summary(watch, FAMILIES, sent, console)
            console.print(
                f"took {time.monotonic() - began:.0f} s; history, models, logs: {directory}", soft_wrap=True
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
    """The healthy past, one file a pump."""
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
        f" for {saved.spec.threshold.alarm_budget} false alarms a pump"
    )


@contextmanager
def _service(directory: Path, console: Console) -> Iterator[tuple[Connection, list[Daemon]]]:
    """Broker and daemons while the context lasts."""
    with ExitStack() as stack:
        bootstrap = stack.enter_context(embedded_broker(directory / "logs" / "broker.log"))
        connection = Connection((bootstrap,))
        ensure_topics(connection, [TopicSpec(TOPIC, 4, 1)])
        daemons = []
        for family in FAMILIES:
            port = free_port()
            config = directory / f"{family}.toml"
            config.write_text(
                _CONFIG.format(
                    directory=directory, family=family, bootstrap=bootstrap, topic=TOPIC, port=port
                )
            )
            log = directory / "logs" / f"detector-{family}.log"
            stack.enter_context(started([sys.executable, "-m", "streamgauge", "run", str(config)], log))
            daemons.append(Daemon(family, f"http://127.0.0.1:{port}", log))
        for daemon in daemons:
            _wait_until(daemon.is_ready, _READY_SECONDS, daemon.log)
        console.print(f"broker at {bootstrap}; " + ", ".join(f"{d.family} at {d.address}" for d in daemons))
        yield connection, daemons


def _stream(plant: Plant, start_ns: int, seconds: float, stage: Stage) -> int:
    """A day of readings through Kafka in `seconds`, telling what is found meanwhile; messages sent."""
    readings = plant.readings(start_ns, start_ns + _DAY_NS)
    tick_ns = _TICK_ROWS * plant.interval_ns
    num_ticks = _DAY_NS // tick_ns
    bounds = np.searchsorted(readings.timestamp_ns, start_ns + np.arange(num_ticks + 1) * tick_ns)
    stage.console.print(f"streaming a day, {len(readings):,} readings, with {len(plant.faults)} faults in it")
    began = time.monotonic()
    with _bar(stage.console) as advance:
        for tick in range(num_ticks):
            part = _slice(readings, int(bounds[tick]), int(bounds[tick + 1]))
            stage.producer.produce(encode(part, CHANNELS, TOPIC))
            due = began + seconds * (tick + 1) / num_ticks
            stage.tell(max(0.0, due - time.monotonic()))
            advance((tick + 1) / num_ticks)
    return len(readings)


def _drain(daemons: list[Daemon], sent: int, stage: Stage) -> None:
    """Wait until every daemon has judged everything, and tell the rest."""

    def all_read() -> bool:
        stage.tell(0.2)
        return all(_readings(daemon) >= sent for daemon in daemons)

    _wait_until(all_read, _DRAIN_SECONDS, daemons[0].log)
    while stage.tell(1.0):
        pass


def _keep_running(
    plant: Plant, from_ns: int, producer: Producer, daemons: list[Daemon], console: Console
) -> None:
    """Stream on in real time until Ctrl-C."""
    for daemon in daemons:
        console.print(f"{daemon.family}: status {daemon.address}/  metrics {daemon.address}/metrics")
    console.print("streaming on in real time; Ctrl-C ends it")
    try:
        while True:
            until_ns = time.time_ns()
            producer.produce(encode(plant.readings(from_ns, until_ns), CHANNELS, TOPIC))
            from_ns = until_ns
            time.sleep(plant.interval_seconds)
    except KeyboardInterrupt:
        console.print("ending")


def _readings(daemon: Daemon) -> int:
    body = _get(f"{daemon.address}/api/status")
    return int(json.loads(body)["readings"]) if body is not None else 0


def _get(url: str) -> bytes | None:
    """The body of a 200 answer, else None."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def _wait_until(condition: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TrainerError(f"the detector did not come so far within {seconds:.0f} s; see {log}")
        time.sleep(0.1)


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
    """A bar below the lines that are told, on a terminal; nothing elsewhere."""
    if not console.is_terminal:
        yield lambda share: None
        return
    columns = (TextColumn("[bold]event time"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("day", total=1.0)

        def advance(share: float) -> None:
            progress.update(task, completed=share)

        yield advance
