"""The daemon: every part made, joined and taken down again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import closing
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from urllib.parse import urlsplit

import torch

from connectors.cluster import wait_for_broker
from connectors.codec import FieldNames, JsonWideCodec, Limits
from connectors.connection import Connection, ConsumerOptions
from connectors.kafka import KafkaSource
from detector import logs, systemd
from detector.artifact import Artifact
from detector.config import Config
from detector.delivery import choose, create_topics, recovery_of
from detector.engine import Engine, EngineOptions
from detector.errors import ConfigError
from detector.http import HttpServer, Response, Route
from detector.incidents import IncidentRules
from detector.loop import Turn, run
from detector.messages import Encoder, Topics
from detector.metrics import Metrics, Sources
from detector.registry import open_artifact
from detector.sinks import MessageSink
from detector.status import Status

_HUNG_SECONDS = 60.0


def serve(config: Config) -> None:
    """Judge the stream until SIGTERM or SIGINT; the batch in hand is finished, delivered and committed.

    Raises ConfigError, ArtifactError or KafkaError with what to do about it.
    """
    logs.configure(config.log.format, config.log.level)
    torch.set_num_threads(config.service.threads)
    stop = _stop_on_signals()
    artifact = open_artifact(config.model.path)
    connection = connection_of(config)
    systemd.notify(f"STATUS=waiting for Kafka at {', '.join(config.kafka.bootstrap_servers)}")
    wait_for_broker(connection, config.kafka.topic, timeout_seconds=config.kafka.startup_timeout, stop=stop)
    if stop.is_set():
        return
    create_topics(connection, config, Topics.of(config.output.prefix))
    engine = Engine(artifact, engine_options(config))
    source = KafkaSource(connection, _consumer_options(config), codec_of(config, artifact))
    try:
        _judge(config, engine, source, connection, stop)
    finally:
        source.close()
    logs.event("stopped", readings=engine.counters.readings, rows=engine.counters.rows)


def connection_of(config: Config) -> Connection:
    """How to reach the cluster, secrets included."""
    kafka = config.kafka
    return Connection(
        kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
    )


def engine_options(config: Config) -> EngineOptions:
    """What the configuration says of judging."""
    incidents = config.incidents
    stale = config.service.stale_after
    return EngineOptions(
        lateness_ns=round(config.grid.lateness * 1e9),
        stale_after_ns=round(stale * 1e9) if stale is not None else None,
        device=config.service.device,
        rules=IncidentRules(
            for_rows=incidents.for_rows,
            of_rows=incidents.of_rows,
            close_score=incidents.close_score,
            quiet_rows=incidents.quiet_rows,
            critical_score=incidents.critical_score,
        ),
    )


def codec_of(config: Config, artifact: Artifact) -> JsonWideCodec:
    """The decoder for the model's channels."""
    given = config.input
    return JsonWideCodec(
        artifact.spec.channel_names,
        FieldNames(given.series_field, given.timestamp_field, given.values_field),
        Limits(unknown_channels=given.unknown_channels, max_future_ns=round(given.max_future * 1e9)),
    )


def software_version() -> str:
    """The installed distribution's version."""
    try:
        return version("streamgauge")
    except PackageNotFoundError:
        return "unknown"


def _consumer_options(config: Config) -> ConsumerOptions:
    kafka = config.kafka
    return ConsumerOptions(
        kafka.topic,
        kafka.group_id,
        kafka.group_instance_id,
        start=kafka.auto_offset_reset,
        max_poll_records=config.service.max_poll_records,
        session_timeout_seconds=kafka.session_timeout,
        max_poll_interval_seconds=kafka.max_poll_interval,
        check_crcs=kafka.check_crcs,
        awaits_start=config.recovery.max_replay_rows > 0,
    )


def _judge(
    config: Config, engine: Engine, source: KafkaSource, connection: Connection, stop: threading.Event
) -> None:
    artifact = engine.artifact
    topics = Topics.of(config.output.prefix)
    recovery = recovery_of(config, connection, topics)
    metrics = Metrics(
        engine,
        config.metrics.max_series,
        software_version(),
        Sources(
            lambda: source.lag,
            lambda: source.num_rebalances,
            lambda: source.is_assigned and not (recovery and recovery.is_replaying),
        ),
    )
    encoder = Encoder(
        topics,
        artifact.spec.name,
        artifact.version,
        artifact.spec.channel_names,
        config.output.scores,
        config.output.detail,
    )
    pulse = _Pulse(metrics)
    with closing(_http_server(config, metrics, pulse)) as server:
        way = choose(config, connection, source, urlsplit(server.address).port or 0)
        with closing(way.client):
            logs.event(
                "started",
                model=artifact.spec.name,
                version=artifact.version,
                topic=config.kafka.topic,
                group=config.kafka.group_id,
                outputs=f"{config.output.prefix}.*",
                delivery=way.mode,
                reason=way.reason,
                recovery="from saved state" if recovery else "none: windows warm up after a restart",
                http=server.address,
            )
            if recovery is None:
                run(source, engine, MessageSink(encoder, way.delivery), stop.is_set, pulse.turned)
            else:
                sink = MessageSink(encoder, way.delivery, partial(recovery.save, engine))
                prepare = partial(recovery.prepare, source)
                run(source, engine, sink, stop.is_set, pulse.turned, prepare)


class _Pulse:
    """Follows the loop: feeds the metrics, logs incidents, remembers that it turns."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._supervision = systemd.Supervision()
        self._beat = time.monotonic()

    def turned(self, turn: Turn) -> None:
        """Called by the loop after each turn."""
        self._beat = time.monotonic()
        self._metrics.observe(turn)
        self._supervision.turned(self._metrics.sources.ready(), self._status())
        for change in turn.result.incidents:
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


def _http_server(config: Config, metrics: Metrics, pulse: _Pulse) -> HttpServer:
    artifact = metrics.engine.artifact
    status = Status(artifact.spec, artifact.version, metrics)

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
        return HttpServer(config.http.host, config.http.port, routes)
    except OSError as error:
        raise ConfigError(
            f"[http] host, port: cannot bind {config.http.host}:{config.http.port}: {error.strerror};"
            " choose another port, or 0 for any free one"
        ) from error


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
