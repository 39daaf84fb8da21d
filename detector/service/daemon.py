"""Run the daemon: make every part, join the parts, drive the loop, close everything again.

source -> recovery -> engine -> sink -> delivery    the loop (`detector.engine.loop`), in one thread
observer, figures -> metrics -> HTTP routes         follow each turn; read from other threads
model watcher -> model reloader; config reloader    act between two turns
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from urllib.parse import urlsplit

from connectors.records import Batch
from detector import logs
from detector.artifact.registry import open_artifact
from detector.artifact.spec import Artifact
from detector.config.engine_options import engine_options, rules_of
from detector.config.load import Config
from detector.delivery.decisions.opinions import Opinions
from detector.delivery.deleted_input import Deletions
from detector.delivery.missing_rights import MissingRights
from detector.delivery.series_partitions import SeriesPartitions
from detector.delivery.sink import MessageSink
from detector.delivery.unassigned import Admission
from detector.engine.engine import Engine, knows
from detector.engine.group.group import EngineGroup
from detector.engine.loop import Turn, run
from detector.incidents.rules import IncidentRules
from detector.metrics.recorder import Metrics
from detector.models.execution.threads import use_one_thread
from detector.service.candidates.shadow import Shadow
from detector.service.clients import Clients, codec_of, open_kafka
from detector.service.encoders import encoder_of
from detector.service.figures import ServiceFigures
from detector.service.local.ways import open_local
from detector.service.plant.daemon import GroupDaemon
from detector.service.plant.loading import group_of, load_models
from detector.service.reload.config_reload import ConfigReloader, use_settings
from detector.service.reload.model_reload import Candidate, ModelReloader, Running
from detector.service.reload.model_watcher import ModelWatcher
from detector.service.reload.reload_counts import ReloadCounts
from detector.service.routes import Routes, open_server
from detector.service.self_checks import SelfChecks
from detector.service.signals import Signals
from detector.service.turn_observer import TurnObserver
from detector.service.version import software_version


def serve(config: Config, read: Callable[[], Config] | None = None) -> None:
    """Score the stream until SIGTERM or SIGINT. The batch in progress is finished and committed first.

    Args:
        config: the configuration at the start.
        read: returns the configuration as it is now, for SIGHUP; None keeps the first one.

    Raises:
        ConfigError, ArtifactError, KafkaError: with the remedy.
    """
    logs.configure(config.log.format, config.log.level)
    signals = Signals()
    use_one_thread()  # `service.threads` are threads of ours: see `detector.scoring.inference`
    loaded = load_models(config) if config.models else ()
    judge = group_of(loaded) if loaded or config.fallback.enabled else _engine_of(config)
    channels = judge.columns.names if isinstance(judge, EngineGroup) else judge.artifact.spec.channel_names
    channels = channels or ("value",)  # of a fallback alone: it learns them before the first message
    opens = open_kafka if config.source.kind == "kafka" else open_local
    read = read or (lambda: config)
    with ExitStack() as resources:
        clients = opens(config, channels, signals.stop, resources)
        if clients is None:
            return
        if isinstance(judge, EngineGroup):
            GroupDaemon(config, read, loaded, judge, clients, resources).run(signals)
        else:
            Daemon(config, read, judge, clients, resources).run(signals)
    engines = [one.engine for one in judge.members] if isinstance(judge, EngineGroup) else [judge]
    readings, rows = (sum(getattr(one.counters, what) for one in engines) for what in ("readings", "rows"))
    logs.event("stopped", readings=readings, rows=rows)


def _engine_of(config: Config) -> Engine:
    """Return the engine of [model]. Raises ArtifactError, ConfigError."""
    artifact = open_artifact(config.model.path)
    return Engine(artifact, engine_options(config, artifact.spec.channel_names))


class Daemon:
    """Hold every part of the daemon by name. `resources` closes what is opened here."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        engine: Engine,
        clients: Clients,
        resources: ExitStack,
    ) -> None:
        self._config, self._engine, self._source, self._clients = config, engine, clients.source, clients
        self._topics, self._decisions = clients.topics, clients.decisions
        self._deletions, self._opinions = Deletions(clients.numbers), Opinions()
        self._shadow = Shadow(config.model.path if config.model.shadow else "", config.model.reload_every)
        self._admission = Admission(config.model.own_series, config.model.least_channels)
        self._recovery = clients.recovery(self._deletions)
        interval = engine.artifact.spec.interval_ns
        slack = engine.options.lateness_ns + interval
        self._partitions = SeriesPartitions(slack, interval, clients.numbers)
        model_reloads, config_reloads = ReloadCounts(), ReloadCounts()
        self._self_checks = SelfChecks(engine, config.service.self_check_every)
        self._rights = MissingRights(clients.source)
        self._metrics = self._make_metrics(clients, model_reloads, config_reloads)
        self._observer = TurnObserver(self._metrics)
        routes = Routes(self._metrics, self._observer, config.units, config.http.explorer, config.model.path)
        server = open_server(config.http, routes)
        resources.enter_context(closing(server))
        port = urlsplit(server.address).port or 0
        self._guarantee = clients.guarantee(port, self._metrics.transaction)
        resources.enter_context(closing(self._guarantee.client))
        self._sink = self._make_sink()
        running = Running(engine, self._source, self._sink, self._recovery, self._observer.on_results)
        self._watcher = ModelWatcher(
            config.model.path, config.model.reload_every, engine.artifact, self._candidate, model_reloads
        )
        resources.enter_context(closing(self._watcher))
        resources.enter_context(closing(self._shadow))
        self._model_reloader = ModelReloader(running, self._watcher, model_reloads)
        self._config_reloader = ConfigReloader(
            config,
            lambda: self._checked(read()),
            lambda found: use_settings(found, running, self._rules(found)),
            config_reloads,
        )
        self._log_start(server.address)

    def run(self, signals: Signals) -> None:
        """Drive the loop until a signal stops it."""
        signals.on_hang_up(self._config_reloader.ask, self._watcher.ask)
        self._watcher.start()
        self._shadow.start()

        def should_stop() -> bool:
            return signals.stop.is_set() or self._clients.has_ended()

        turns = partial(
            run, self._source, self._engine, self._sink, should_stop, self._on_turn, self._prepare
        )
        self._rights.keep(turns, signals.stop, self._observer.loop.on_wait)

    def _prepare(self, engine: Engine, batch: Batch) -> Batch:
        """Make topics and engine ready for a batch; return its live part."""
        self._topics.prepare(batch)
        if self._topics.has_new_state_topic():
            engine.save_all_soon()
        batch = self._admission.admit(batch, partial(knows, engine))
        if self._recovery is None:
            live = self._deletions.prepare(engine, batch)
        else:
            live = self._recovery.prepare(self._source, engine, batch)
        self._partitions.notice(live)
        if self._clients.received is not None:
            model = engine.artifact.spec.name
            self._clients.received.follow(live, {model: engine}, lambda _: model)
        number, decided = self._decisions.take()
        self._opinions.take_in(decided, number)
        engine.decide(decided, number)
        self._shadow.decide(decided, number)
        return live

    def _on_turn(self, turn: Turn) -> None:
        """Follow a turn, then reload what is to be reloaded: nothing is in progress now. Check ourselves."""
        self._rights.on_turn(turn)
        self._partitions.forget([one.name for one in turn.result.forgotten])
        self._observer.on_turn(turn)
        self._shadow.on_turn(turn, self._engine)
        if self._config_reloader.is_asked:
            self._observer.loop.around_reload(self._config_reloader.on_turn)
        if self._model_reloader.on_turn():
            self._metrics.follow(self._engine)
            self._self_checks.follow()
        self._self_checks.on_turn(turn.result.verdicts)

    def _make_metrics(
        self, clients: Clients, model_reloads: ReloadCounts, config_reloads: ReloadCounts
    ) -> Metrics:
        section = self._config.metrics
        figures = ServiceFigures(
            source=self._source,
            recovery=self._recovery,
            deletions=self._deletions,
            partitions=self._partitions,
            admission=self._admission,
            rights=self._rights,
            alerting=clients.notifiers,
            models=model_reloads,
            settings=config_reloads,
            self_checks_of=self._self_checks,
            decisions=self._decisions,
            registry=self._config.schema_registry,
            said=self._opinions,
            beside=self._shadow,
            numbers=clients.numbers,
        )
        return Metrics(
            self._engine,
            section.max_series,
            software_version(),
            figures,
            section.max_channel_series,
            section.series,
        )

    def _make_sink(self) -> MessageSink:
        encoder = encoder_of(self._config, self._engine.artifact)
        if self._recovery is None:
            return MessageSink(encoder, self._guarantee.delivery)
        save = partial(self._recovery.save, self._engine)
        return MessageSink(encoder, self._guarantee.delivery, save, self._recovery.standing)

    def _candidate(self, artifact: Artifact) -> Candidate:
        """Make what a new model needs; called in the watcher's thread."""
        return Candidate(
            Engine(artifact, self._engine.options), codec_of(self._config, artifact.spec.channel_names)
        )

    def _checked(self, config: Config) -> Config:
        """Return a configuration whose rules fit the channels of the model. Raises ConfigError."""
        self._rules(config)
        return config

    def _rules(self, config: Config) -> IncidentRules:
        return rules_of(config, self._engine.artifact.spec.channel_names)

    def _log_start(self, http: str) -> None:
        artifact = self._engine.artifact
        logs.event(
            "started",
            model=artifact.spec.name,
            version=artifact.version,
            **self._clients.place,
            delivery=self._guarantee.mode,
            reason=self._guarantee.reason,
            recovery="from saved state" if self._recovery else "none: windows warm up after a restart",
            http=http,
        )
