"""Run the daemon with several models in one process.

The parts are those of `detector.service.daemon`. Between them stand a router, which decides which model
judges each series, and a group of engines. All models share the loop, the consumer and the transactions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from urllib.parse import urlsplit

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch
from detector import logs
from detector.artifact.fallback.statistical import statistical_model
from detector.artifact.spec import Artifact
from detector.config.engine_options import rules_of
from detector.config.load import Config
from detector.delivery.decisions.opinions import Opinions
from detector.delivery.deleted_input import Deletions
from detector.delivery.missing_rights import MissingRights
from detector.delivery.routing.fallback import FallbackRouter
from detector.delivery.routing.router import Router
from detector.delivery.series_partitions import SeriesPartitions
from detector.delivery.sink import MessageSink
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import GroupResult
from detector.engine.loop import TurnOf, run
from detector.metrics.plant.recorder import GroupMetrics
from detector.service.candidates.shadow import Shadow
from detector.service.clients import Clients
from detector.service.encoders import encoder_of
from detector.service.figures import ServiceFigures
from detector.service.plant.fallback import RunningFallback, ViewHolder
from detector.service.plant.group_sink import GroupDecoding, GroupSink
from detector.service.plant.last_save import save_at_stop
from detector.service.plant.loading import Loaded
from detector.service.plant.model import Surroundings
from detector.service.plant.observer import GroupObserver
from detector.service.plant.roster import Roster, restore_model
from detector.service.reload.config_reload import LIVE, ConfigReloader
from detector.service.reload.reload_counts import ReloadCounts
from detector.service.routes import Routes, open_server
from detector.service.self_checks import NoSelfChecks
from detector.service.signals import Signals
from detector.service.version import software_version


class GroupDaemon:
    """Holds every part of a daemon with several models. `resources` closes what is opened here."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        loaded: tuple[Loaded, ...],
        group: EngineGroup,
        clients: Clients,
        resources: ExitStack,
    ) -> None:
        self._config, self._group, self._source, self._clients = config, group, clients.source, clients
        self._topics, self._decisions = clients.topics, clients.decisions
        self._deletions, self._opinions = Deletions(clients.numbers), Opinions()
        self._unknown = ViewHolder()
        self._decoding = GroupDecoding(config, self._source, group)
        self._models_router = Router(group, numbers=clients.numbers)
        self._router: Router | FallbackRouter = self._models_router
        self._recovery = clients.recovery(self._deletions)
        self._partitions = _partitions_of(config, group, clients.numbers)
        self._rights = MissingRights(clients.source)
        config_reloads = ReloadCounts()
        figures = self._figures(clients, config_reloads)
        self._metrics = GroupMetrics(figures, software_version(), config.metrics.max_series)
        self._observer = GroupObserver(self._metrics, group, rules_of(config).fold)
        address = self._serve(loaded, resources)
        self._guarantee = clients.guarantee(urlsplit(address).port or 0, self._metrics.transaction)
        resources.enter_context(closing(self._guarantee.client))
        self._sink = self._make_sink(loaded)
        self._fallback = self._open_fallback(figures)
        shared = Surroundings(config, self._sink, self._decoding, self._observer, figures)
        self._roster = Roster(loaded, shared, group, self._metrics, resources)
        self._read_state = clients.read_state
        self._now_ns: int | None = None
        self._config_reloader = ConfigReloader(
            config,
            lambda: self._roster.prepare(read()),
            self._use_settings,
            config_reloads,
            LIVE | {"models"},
        )
        self._log_start(address)

    def _open_fallback(self, figures: ServiceFigures) -> RunningFallback | None:
        """Let a fallback judge what no model matches, if it is enabled."""
        if not self._config.fallback.enabled:
            return None
        group = self._group
        fallback = RunningFallback(self._config, group, self._sink, self._metrics, figures, self._unknown)
        self._router = FallbackRouter(
            group,
            fallback.kinds,
            self._models_router,
            lambda: self._decoding.columns,
            self._decoding.is_cut,
        )
        self._decoding.renew()
        return fallback

    def run(self, signals: Signals) -> None:
        """Drive the loop until a signal stops it, then save all series."""
        signals.on_hang_up(self._config_reloader.ask, self._roster.ask)
        self._roster.start()

        def should_stop() -> bool:
            return signals.stop.is_set() or self._clients.has_ended()

        turns = partial(run, self._source, self._group, self._sink, should_stop, self._on_turn, self._prepare)
        self._rights.keep(turns, signals.stop, self._observer.loop.on_wait)
        if self._recovery is not None and signals.stop.is_set() and not self._source.has_lost:
            save_at_stop(self._group, self._recovery, self._sink)

    def _prepare(self, group: EngineGroup, batch: Batch) -> Batch:
        """Make topics and engines ready for a batch; return its live part."""
        self._topics.prepare(batch)
        if self._topics.has_new_state_topic():
            group.save_all_soon()
        batch = self._router.route(batch)
        if self._recovery is None:
            live = self._deletions.prepare(group, batch)
        else:
            live = self._recovery.prepare(self._source, group, batch)
        self._partitions.notice(live)
        if self._clients.received is not None:
            engines = {member.name: member.engine for member in group.members}
            self._clients.received.follow(live, engines, partial(_model_of, group))
        number, decided = self._decisions.take()
        self._opinions.take_in(decided, number)
        group.decide(decided, number)
        for model in self._roster.models:
            model.shadow.decide(decided, number)
        return live

    def _on_turn(self, turn: TurnOf[GroupResult]) -> None:
        """Follow a turn, then reload what is to be reloaded. One model goes on with its self-check."""
        self._rights.on_turn(turn)
        self._partitions.forget([one.name for part in turn.result for one in part.result.forgotten])
        self._observer.on_turn(turn)
        by_member = {model.member: model for model in self._roster.models}
        for model in self._roster.models:
            model.show_shadow(turn)
        for part in turn.result:
            if part.member in by_member:
                by_member[part.member].self_checks.take(part.result.verdicts)
        self._now_ns = turn.batch.tick_ns
        is_replaying = self._recovery is not None and self._recovery.is_replaying
        if self._config_reloader.is_asked and not (is_replaying or self._source.has_lost):
            self._observer.loop.around_reload(self._config_reloader.on_turn)
        for model in self._roster.models:
            model.on_turn()
        if self._fallback is not None:
            self._fallback.on_turn(turn.batch.tick_ns)
        due = next((model for model in self._roster.models if model.self_checks.is_due), None)
        if due is not None:
            due.self_checks.advance()

    def _figures(self, clients: Clients, config_reloads: ReloadCounts) -> ServiceFigures:
        """Return the figures of the service; those of single models are replaced for each."""
        return ServiceFigures(
            source=self._source,
            recovery=self._recovery,
            deletions=self._deletions,
            partitions=self._partitions,
            admission=self._models_router,
            unknown=lambda: self._unknown.view,
            rights=self._rights,
            alerting=clients.notifiers,
            models=ReloadCounts(),
            settings=config_reloads,
            self_checks_of=NoSelfChecks(),
            decisions=self._decisions,
            registry=self._config.schema_registry,
            said=self._opinions,
            beside=Shadow("", 0.0),
            numbers=clients.numbers,
        )

    def _serve(self, loaded: tuple[Loaded, ...], resources: ExitStack) -> str:
        """Open the HTTP server; return its address."""
        config = self._config
        places = {one.member.name: one.entry.path for one in loaded}
        routes = Routes(self._metrics, self._observer, config.units, config.http.explorer, places=places)
        server = open_server(config.http, routes)
        resources.enter_context(closing(server))
        return server.address

    def _make_sink(self, loaded: tuple[Loaded, ...]) -> GroupSink:
        encoders = {one.member.name: encoder_of(self._config, one.member.engine.artifact) for one in loaded}
        first = next(iter(encoders.values()), None) or encoder_of(self._config, _nothing(self._config))
        delivery = self._guarantee.delivery
        if self._recovery is None:
            return GroupSink(MessageSink(first, delivery), encoders)
        save = partial(self._recovery.save, self._group)
        return GroupSink(MessageSink(first, delivery, save, self._recovery.standing), encoders)

    def _use_settings(self, config: Config) -> None:
        """Put the keys of a configuration in force that may change in a running daemon."""
        logs.configure(config.log.format, config.log.level)
        self._roster.apply(config, self._join)
        if self._fallback is not None:
            self._fallback.use_settings(config)
        self._observer.fold = rules_of(config).fold

    def _join(self, loaded: Loaded) -> None:
        """Continue the series of a model that comes."""
        if self._recovery is not None:
            standing = self._recovery.standing()
            numbers = self._clients.numbers
            restore_model(self._group, loaded, self._read_state, standing, numbers, self._now_ns)

    def _log_start(self, http: str) -> None:
        logs.event(
            "started",
            models={model.member.name: model.member.engine.artifact.version for model in self._roster.models},
            **self._clients.place,
            delivery=self._guarantee.mode,
            reason=self._guarantee.reason,
            recovery="from saved state" if self._recovery else "none: windows warm up after a restart",
            http=http,
        )


def _partitions_of(config: Config, group: EngineGroup, numbers: PartitionNumbers) -> SeriesPartitions:
    """Return what watches the partitions of all series, with the slack of the model of the longest rows."""
    engines = [member.engine for member in group.members]
    interval = max([engine.artifact.spec.interval_ns for engine in engines] or [0])
    if config.fallback.enabled:
        interval = max(interval, round(config.fallback.interval * 1e9))
    lateness = max([engine.options.lateness_ns for engine in engines] or [round(config.grid.lateness * 1e9)])
    return SeriesPartitions(lateness + interval, interval, numbers)


def _model_of(group: EngineGroup, series: str) -> str:
    """Return the name of the model that judges a series; empty where there is none."""
    home = group.home_of(series)
    return "" if home is None else home.name


def _nothing(config: Config) -> Artifact:
    """Return a model for the encoder of dead letters where a fallback judges alone: these name no model."""
    return statistical_model(("value",), round(config.fallback.interval * 1e9), config.fallback.warmup_rows)
