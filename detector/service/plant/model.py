"""One of the models of the running daemon: what follows it, and what takes over another version of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from connectors.records import Batch, Readings
from detector.artifact.spec import Artifact
from detector.config.engine_options import rules_of
from detector.config.load import Config
from detector.config.models.budget import with_budget
from detector.config.models.entries import config_of
from detector.config.models.section import ModelsSection
from detector.engine.engine import Engine, StepResult
from detector.engine.group.member import GroupResult, Part
from detector.engine.loop import TurnOf
from detector.incidents.rules import IncidentRules
from detector.metrics.recorder import Metrics
from detector.scoring.verdicts import Verdicts
from detector.service.candidates.shadow import Shadow
from detector.service.clients import codec_of
from detector.service.encoders import encoder_of
from detector.service.figures import ServiceFigures
from detector.service.plant.group_sink import GroupDecoding, GroupSink, MemberSink
from detector.service.plant.loading import Loaded
from detector.service.plant.observer import GroupObserver
from detector.service.reload.model_reload import Candidate, ModelReloader, Running
from detector.service.reload.model_watcher import ModelWatcher
from detector.service.reload.reload_counts import ReloadCounts
from detector.service.self_checks import SelfChecks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the models of a daemon share."""

    config: Config
    sink: GroupSink
    decoding: GroupDecoding
    observer: GroupObserver
    figures: ServiceFigures


class RunningModel:
    """A model of the group with its metrics, self-checks and reload. Lives on the loop's thread."""

    def __init__(self, loaded: Loaded, shared: Surroundings) -> None:
        entry, member = loaded.entry, loaded.member
        self.entry, self.member, self._shared = entry, member, shared
        counts = ReloadCounts()
        self.self_checks = SelfChecks(member.engine, shared.config.service.self_check_every)
        self.shadow = Shadow(
            entry.path if entry.shadow else "",
            entry.reload_every,
            entry.name,
            prepare=lambda artifact: with_budget(artifact, entry),
        )
        figures = replace(
            shared.figures,
            models=counts,
            settings=ReloadCounts(),
            self_checks_of=self.self_checks,
            beside=self.shadow,
        )
        section = shared.config.metrics
        self.metrics = Metrics(
            member.engine, section.max_series, None, figures, section.max_channel_series, section.series
        )
        shared.sink.encoders[member.name] = encoder_of(shared.config, member.engine.artifact)
        running = Running(
            member.engine,
            shared.decoding,
            MemberSink(shared.sink, member),
            shared.figures.recovery,
            self._observe,
        )
        self.watcher = ModelWatcher(
            entry.path, entry.reload_every, member.engine.artifact, self._candidate, counts, entry.name
        )
        self._reloader = ModelReloader(running, self.watcher, counts)

    def start(self) -> None:
        """Watch for other versions, and judge with a candidate if the entry asks for it."""
        self.watcher.start()
        self.shadow.start()

    def close(self) -> None:
        """Stop what `start` began."""
        self.watcher.close()
        self.shadow.close()

    def rules(self, config: Config, entry: ModelsSection) -> IncidentRules:
        """Return its incident rules by a configuration and its entry there. Raises ConfigError."""
        channels = self.member.channels
        return rules_of(config_of(config, entry, channels), channels)

    def use_settings(self, config: Config, entry: ModelsSection) -> None:
        """Put the keys of a configuration in force that may change in a running daemon."""
        rules, sink, name = self.rules(config, entry), self._shared.sink, self.member.name
        self.entry = entry
        if rules != self.member.engine.options.rules:
            self.member.engine.use_rules(rules)
        sink.encoders[name] = replace(
            sink.encoders[name], scores=config.output.scores, detail=config.output.detail
        )

    def on_turn(self) -> None:
        """Take over another version of the model if one is ready."""
        if self._reloader.on_turn():
            self.metrics.follow(self.member.engine)
            self.self_checks.follow()

    def show_shadow(self, turn: TurnOf[GroupResult]) -> None:
        """Give the candidate what this model got in a turn. Partitions that went concern it in any turn."""
        num = len(self.member.channels)
        nothing = Part(
            self.member, Readings.empty(num), StepResult(Verdicts.empty(num), (), Verdicts.empty(num))
        )
        part = next((one for one in turn.result if one.member is self.member), nothing)
        if part is not nothing or turn.batch.lost:
            own = replace(turn.batch, readings=part.readings)
            own_turn = TurnOf(own, part.result, 0.0, 0.0, 0.0, 0.0)  # a shadow asks for no times
            self.shadow.on_turn(own_turn, self.member.engine)

    def _candidate(self, artifact: Artifact) -> Candidate:
        """Make what a new version needs; called in the watcher's thread."""
        artifact = with_budget(artifact, self.entry)
        engine = Engine(artifact, self.member.engine.options)
        return Candidate(engine, codec_of(self._shared.config, artifact.spec.channel_names))

    def _observe(self, result: StepResult) -> None:
        """Take in the last results of a version that is replaced; they belong to no batch."""
        nothing = Readings.empty(len(self.member.channels))
        part = Part(self.member, nothing, result)
        self._shared.observer.on_turn(TurnOf(Batch(nothing), (part,), 0.0, 0.0, 0.0, 0.0))
