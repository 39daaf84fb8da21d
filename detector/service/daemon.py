"""The daemon: every part made, joined and taken down again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from urllib.parse import urlsplit

import torch

from connectors.kafka.cluster import wait_for_broker
from connectors.kafka.connection import Connection
from connectors.kafka.source import KafkaSource
from connectors.records import Batch, Readings
from detector import logs
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact
from detector.config.engine_options import engine_options, rules_of
from detector.config.load import Config
from detector.delivery.deleted_input import Deletions
from detector.delivery.guarantee import ChosenGuarantee, choose, create_topics, recovery_of
from detector.delivery.messages import MessageEncoder, Topics
from detector.delivery.recovery import Recovery
from detector.delivery.sink import MessageSink
from detector.engine.engine import Engine, StepResult
from detector.engine.loop import Turn, run
from detector.errors import ConfigError
from detector.http.access import warn_of_exposure
from detector.http.server import HttpServer, Protection, Response, Route
from detector.http.status_page import Status
from detector.incidents.grouping import Grouping
from detector.metrics.recorder import Metrics, Sources
from detector.notify.notifiers import Notifiers
from detector.service import systemd
from detector.service.clients import codec_of, connection_of, consumer_options
from detector.service.incident_log import log_group
from detector.service.model_reload import Candidate, Reloader, Running, Settings, use_settings
from detector.service.model_watcher import ModelWatcher

_HUNG_SECONDS = 60.0


def serve(config: Config, read: Callable[[], Config] | None = None) -> None:
    """Judge the stream until SIGTERM or SIGINT; the batch in hand is finished, delivered and committed.

    On SIGHUP the model is looked for at once and the configuration is read again by `read`.
    Raises ConfigError, ArtifactError or KafkaError with what to do about it.
    """
    logs.configure(config.log.format, config.log.level)
    torch.set_num_threads(1)  # `service.threads` are ours: see `detector.scoring.inference`
    stop = _stop_on_signals()
    hang_up = _HangUp()
    artifact = open_artifact(config.model.path)
    options = engine_options(config, artifact.spec.channel_names)
    connection = connection_of(config.kafka)
    notifiers = Notifiers(config, connection)
    systemd.notify(f"STATUS=waiting for Kafka at {', '.join(config.kafka.bootstrap_servers)}")
    wait_for_broker(connection, config.kafka.topic, timeout_seconds=config.kafka.startup_timeout, stop=stop)
    if stop.is_set():
        return
    create_topics(connection, config, Topics.of(config.output.prefix))
    engine = Engine(artifact, options)
    source = KafkaSource(connection, consumer_options(config), codec_of(config, artifact))
    try:
        notifiers.start()
        signals = Signals(stop, hang_up, read or (lambda: config))
        _judge(config, engine, source, connection, signals, notifiers)
    finally:
        source.close()
        notifiers.close()
    logs.event("stopped", readings=engine.counters.readings, rows=engine.counters.rows)


def software_version() -> str:
    """The installed distribution's version."""
    try:
        return version("streamgauge")
    except PackageNotFoundError:
        return "unknown"


def _judge(
    config: Config,
    engine: Engine,
    source: KafkaSource,
    connection: Connection,
    signals: Signals,
    notifiers: Notifiers,
) -> None:
    topics = Topics.of(config.output.prefix)
    deletions = Deletions()
    recovery = recovery_of(config, connection, topics, deletions)
    sources = Sources(
        lambda: source.lag,
        lambda: source.num_rebalances,
        lambda: source.is_assigned and not (recovery and recovery.is_replaying),
        lambda: source.lag_seconds,
        lambda: recovery.num_replaying if recovery else 0,
        lambda: recovery.replayed if recovery else 0,
        notifiers.stats,
        deleted=lambda: deletions.messages,
    )
    metrics = Metrics(
        engine,
        config.metrics.max_series,
        software_version(),
        sources,
        config.metrics.max_channel_series,
        config.metrics.series,
    )
    pulse = TurnObserver(metrics)
    with closing(_http_server(config, metrics, pulse)) as server:
        way = choose(config, connection, source, urlsplit(server.address).port or 0, metrics.transaction)
        with closing(way.client):
            _log_start(config, engine, way, recovery is not None, server.address)
            sink = _sink_of(config, engine, way, recovery)
            running = Running(engine, source, sink, recovery, pulse.heard)
            with closing(_watch_of(config, engine)) as watch:
                reloader, settings = Reloader(running, watch), _settings_of(config, running, signals.read)
                sources.reloads, sources.config_reloads = (
                    lambda: reloader.counts,
                    lambda: settings.counts,
                )
                signals.hang_up.call(settings.ask, watch.ask)
                watch.start()

                def turned(turn: Turn) -> None:
                    pulse.turned(turn)
                    if settings.is_asked:
                        pulse.reload(settings)
                    if reloader.turned():
                        metrics.follow(engine)

                prepare = partial(recovery.prepare, source) if recovery else deletions.prepare
                run(source, engine, sink, signals.stop.is_set, turned, prepare)


def _sink_of(config: Config, engine: Engine, way: ChosenGuarantee, recovery: Recovery | None) -> MessageSink:
    artifact = engine.artifact
    encoder = MessageEncoder(
        Topics.of(config.output.prefix),
        artifact.spec.name,
        artifact.version,
        artifact.spec.channel_names,
        config.output.scores,
        config.output.detail,
    )
    if recovery is None:
        return MessageSink(encoder, way.delivery)
    return MessageSink(encoder, way.delivery, partial(recovery.save, engine), recovery.standing)


def _watch_of(config: Config, engine: Engine) -> ModelWatcher[Candidate]:
    def make(artifact: Artifact) -> Candidate:
        return Candidate(Engine(artifact, engine.options), codec_of(config, artifact))

    return ModelWatcher(config.model.path, config.model.reload_every, engine.artifact, make)


def _settings_of(config: Config, running: Running, read: Callable[[], Config]) -> Settings:
    def checked() -> Config:
        found = read()
        rules_of(found, running.engine.artifact.spec.channel_names)
        return found

    return Settings(config, checked, lambda found: use_settings(found, running, rules_of(found)))


def _log_start(config: Config, engine: Engine, way: ChosenGuarantee, has_recovery: bool, http: str) -> None:
    logs.event(
        "started",
        model=engine.artifact.spec.name,
        version=engine.artifact.version,
        topic=config.kafka.topic,
        group=config.kafka.group_id,
        outputs=f"{config.output.prefix}.*",
        delivery=way.mode,
        reason=way.reason,
        recovery="from saved state" if has_recovery else "none: windows warm up after a restart",
        http=http,
    )


class TurnObserver:
    """Follows the loop: feeds the metrics, logs incidents, remembers that it turns."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._folding = Grouping(metrics.engine.options.rules.fold)
        self._supervision = systemd.Supervision()
        self._beat = time.monotonic()

    def turned(self, turn: Turn) -> None:
        """Called by the loop after each turn."""
        self._beat = time.monotonic()
        self._metrics.observe(turn)
        self._supervision.turned(self._metrics.sources.ready(), self._status())
        self._log(turn.result)

    def reload(self, settings: Settings) -> None:
        """Read the configuration again, and tell systemd when that begins and ends."""
        systemd.reloading()
        settings.turned()
        self._supervision.reloaded()

    def heard(self, result: StepResult) -> None:
        """Results of no batch: the last ones of a model."""
        no_readings = Batch(Readings.empty(0))
        self.turned(Turn(no_readings, result, 0.0, 0.0, 0.0, 0.0))

    def _log(self, result: StepResult) -> None:
        self._folding.rules = self._metrics.engine.options.rules.fold
        single, folds = self._folding.take(result.incidents)
        for fold in folds:
            log_group(fold)
        for change in single:
            incident = change.incident
            logs.event(
                f"incident {change.kind}",
                logging.INFO if change.kind == "resolved" else logging.WARNING,
                series=incident.series,
                id=incident.id,
                severity=incident.severity,
                reason=incident.reason,
                peak_score=round(incident.peak_score, 2),
                channels=",".join(channel.name for channel in incident.channels),
            )

    def _status(self) -> str:
        if not self._metrics.sources.ready():
            return "waiting for partitions and their state"
        snapshot = self._metrics.snapshot
        num_open = sum(snapshot.open_by_severity.values())
        return f"{snapshot.totals['readings']:,} readings judged, {num_open} incidents open"

    @property
    def is_alive(self) -> bool:
        """Whether the loop has turned of late."""
        return time.monotonic() - self._beat < _HUNG_SECONDS


def _http_server(config: Config, metrics: Metrics, pulse: TurnObserver) -> HttpServer:
    status = Status(metrics)

    def scrape(accept: str) -> Response:
        body, content_type = metrics.exposition(accept)
        return Response(200, content_type, body)

    def healthz(accept: str) -> Response:
        alive = pulse.is_alive
        return Response.text(
            200 if alive else 503, "alive" if alive else "the loop has not turned for a minute"
        )

    def readyz(accept: str) -> Response:
        ready = metrics.sources.ready()
        return Response.text(200 if ready else 503, "ready" if ready else "waiting for partitions")

    routes: dict[str, Route] = {
        "/metrics": scrape,
        "/healthz": healthz,
        "/readyz": readyz,
        "/api/status": lambda accept: Response.json(status.json()),
        "/": lambda accept: Response(200, "text/html; charset=utf-8", status.page().encode()),
    }
    try:
        server = HttpServer(config.http.host, config.http.port, routes, Protection.of(config.http))
    except OSError as error:
        raise ConfigError(
            f"[http] host, port: cannot bind {config.http.host}:{config.http.port}: {error.strerror};"
            " choose another port, or 0 for any free one"
        ) from error
    warn_of_exposure(config.http, server.host)
    return server


class _HangUp:
    """SIGHUP, from the very start: it must not end the process before there is something to reload."""

    def __init__(self) -> None:
        self._wanted: tuple[Callable[[], None], ...] = ()
        self._came_early = False
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._handle)

    def call(self, *wanted: Callable[[], None]) -> None:
        """Whom to tell of it; at once where it came before."""
        self._wanted = wanted
        if self._came_early:
            self._handle(0, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._came_early = not self._wanted
        for each in self._wanted:
            each()


@dataclass(frozen=True, slots=True)
class Signals:
    """What people may tell a running daemon; `read` gives the configuration as it is now."""

    stop: threading.Event
    hang_up: _HangUp
    read: Callable[[], Config]


def _stop_on_signals() -> threading.Event:
    """Set by SIGTERM or SIGINT; a second one of them ends the process at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        logs.event("stopping", signal=signal.Signals(number).name)
        systemd.stopping()
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, handle)
    return stop
