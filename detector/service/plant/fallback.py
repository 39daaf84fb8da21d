"""The fallback of a running daemon: it makes the models of unknown kinds, and follows how far they are."""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace

from detector import logs
from detector.artifact.fallback.statistical import statistical_model
from detector.config.engine_options import engine_options
from detector.config.load import Config
from detector.config.models.entries import config_of
from detector.config.models.section import ModelsSection
from detector.delivery.routing.fallback_view import FallbackView, KindView
from detector.engine.engine import Engine
from detector.engine.group.fallback import FallbackKinds, Kind, KindLimits
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import Member
from detector.metrics.plant.recorder import GroupMetrics
from detector.metrics.recorder import Metrics
from detector.metrics.sources import Sources
from detector.scoring.cold.learnt_scales import ColdOptions
from detector.service.encoders import encoder_of
from detector.service.plant.group_sink import GroupSink

_LOOK_NS = 10**9
_NAMED = 5


class ViewHolder:
    """Holds what other threads read of the fallback."""

    def __init__(self) -> None:
        self.view = FallbackView()


class RunningFallback:
    """Judges series that no model matches. Lives on the loop's thread.

    Args:
        config: the whole configuration; the fallback is enabled there.
        group: receives the models.
        sink: receives their encoders.
        metrics: exports each of them.
        figures: of the service, for their metrics.
        holder: receives how far the kinds are.
    """

    def __init__(
        self,
        config: Config,
        group: EngineGroup,
        sink: GroupSink,
        metrics: GroupMetrics,
        figures: Sources,
        holder: ViewHolder,
    ) -> None:
        self._config, self._group, self._sink = config, group, sink
        self._metrics, self._figures, self._holder = metrics, figures, holder
        given = config.fallback
        self.kinds = FallbackKinds(
            group, self._make, KindLimits(given.max_kinds, given.max_series), self._drop
        )
        self._looked_ns = 0
        self._ready: set[str] = set()
        self._num_left = 0

    def on_turn(self, now_ns: int | None) -> None:
        """Look about once a second which kinds are ready to be trained; say so once of each."""
        if now_ns is not None and abs(now_ns - self._looked_ns) < _LOOK_NS:
            return
        self._looked_ns = now_ns or 0
        self._warn_of_left()
        found = tuple(self._view_of(kind) for kind in self.kinds.all())
        self._holder.view = FallbackView(found, training_command(self._config))
        for kind in found:
            if kind.is_ready and kind.model not in self._ready:
                self._ready.add(kind.model)
                logs.event(
                    "kind is ready to be trained",
                    model=kind.model,
                    channels=list(kind.channels),
                    series=list(kind.names),
                    rows=kind.rows,
                    remedy=self._holder.view.command,
                )

    def _warn_of_left(self) -> None:
        """Log series that stay unassigned because a model that is not in use has saved states of them."""
        left = self._group.owners.left
        if len(left) > self._num_left:
            logs.event(
                "fallback leaves series alone: a model that is not in use has their saved states",
                logging.WARNING,
                num_series=len(left),
                series=sorted(left)[:_NAMED],
                remedy="add [[models]] for them, or delete their records from the state topic and restart",
            )
        self._num_left = len(left)

    def use_settings(self, config: Config) -> None:
        """Put the rules of a configuration in force."""
        self._config = config
        for member in self._group.members:
            if member.is_fallback:
                rules = engine_options(_config_of(config, member.channels), member.channels).rules
                if rules != member.engine.options.rules:
                    member.engine.use_rules(rules)
                encoder = self._sink.encoders[member.name]
                output = config.output
                self._sink.encoders[member.name] = replace(
                    encoder, scores=output.scores, detail=output.detail
                )

    def _make(self, channels: tuple[str, ...]) -> Member:
        """Return the member of series with these channels, whose results are delivered and exported."""
        config, given = self._config, self._config.fallback
        artifact = statistical_model(channels, round(given.interval * 1e9), given.warmup_rows)
        options = replace(
            engine_options(_config_of(config, channels), channels),
            device="cpu",
            threads=1,
            cold=ColdOptions(enabled=True, warmup_rows=given.warmup_rows),
        )
        member = Member(Engine(artifact, options), is_fallback=True)
        self._sink.encoders[member.name] = encoder_of(config, artifact)
        of = config.metrics
        self._metrics.add(
            member.name,
            Metrics(member.engine, of.max_series, None, self._figures, of.max_channel_series, of.series),
        )
        logs.event("fallback judges a new kind", model=member.name, channels=list(channels))
        return member

    def _drop(self, member: Member) -> None:
        """Take in that a kind has no series any more, and made room for another one."""
        del self._sink.encoders[member.name]
        self._metrics.remove(member.name)
        self._ready.discard(member.name)
        logs.event("fallback has no series of a kind any more", model=member.name)

    def _view_of(self, kind: Kind) -> KindView:
        is_ready = kind.rows >= self._config.fallback.ready_rows
        return KindView(
            kind.model, kind.channels, len(kind.series), kind.series[:_NAMED], kind.rows, is_ready
        )


def training_command(config: Config) -> str:
    """Return what to type to train models of the series that the fallback judges."""
    kafka = config.kafka
    servers = shlex.quote(",".join(kafka.bootstrap_servers))
    place = f"--bootstrap-servers {servers} --topic {shlex.quote(kafka.topic)}"
    if kafka.topics:
        place = "--config FILE"  # only the configuration names several
    record = f"streamgauge record {place} --out history"
    train = "streamgauge train history --group-by auto --out models"
    if config.source.kind != "kafka":
        return train
    return f"{record} && {train}"


def _config_of(config: Config, channels: tuple[str, ...]) -> Config:
    """Return the configuration of the fallback of a kind, with the tables of its channels."""
    return config_of(config, ModelsSection(path=""), channels)
