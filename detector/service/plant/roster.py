"""The models of a running daemon; they come and go between two turns of the loop, when [[models]] changes.

A model that goes has its states saved first. A model that comes reads the states that its name has in the
state topic. The other models keep everything; the loop waits while a new model is read.

Why new series of a model that came are saved with each batch. After a restart, a replay may begin before the
model came, and would find readings that it never judged. A saved series leaves them out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from connectors.objects.names import without_secrets
from connectors.partition_numbers import PartitionNumbers
from connectors.records import Position
from detector import logs
from detector.config.load import Config
from detector.config.models.entries import check_tables
from detector.config.models.section import ModelsSection
from detector.delivery.marks import MARK
from detector.delivery.saved.state_topic import StateTopic
from detector.engine.group.columns import Columns
from detector.engine.group.group import EngineGroup
from detector.engine.snapshot import SeriesState, decode_state
from detector.errors import ConfigError
from detector.metrics.plant.recorder import GroupMetrics
from detector.service.plant.loading import Loaded, load_model
from detector.service.plant.model import RunningModel, Surroundings

ReadState = Callable[[Iterable[int]], Mapping[int, Mapping[bytes, bytes]]]


class Roster:
    """Holds the running models, in the order of the configuration. Lives on the loop's thread.

    Args:
        loaded: the models at the start.
        shared: what they share.
        group: their engines.
        metrics: exports each of them.
        resources: closes what is opened here.
    """

    def __init__(
        self,
        loaded: tuple[Loaded, ...],
        shared: Surroundings,
        group: EngineGroup,
        metrics: GroupMetrics,
        resources: ExitStack,
    ) -> None:
        self._shared, self._group, self._metrics = shared, group, metrics
        self._prepared: dict[tuple[object, ...], Loaded] = {}
        self.models: tuple[RunningModel, ...] = ()
        resources.callback(self.close)
        for one in loaded:
            self._begin(one)

    def start(self) -> None:
        """Watch for other versions of all models."""
        for model in self.models:
            model.start()

    def ask(self) -> None:
        """Look for other versions at once."""
        for model in self.models:
            model.watcher.ask()

    def close(self) -> None:
        """Stop watching."""
        for model in self.models:
            model.close()

    def prepare(self, config: Config) -> Config:
        """Load the models that a configuration adds, and check its rules against all of its models.

        Raises:
            ConfigError, ArtifactError: the configuration is to be refused.
        """
        if not config.models and not config.fallback.enabled:
            raise ConfigError("[model] instead of [[models]]: restart the daemon to use it")
        kept = {id_of(model.entry): model for model in self.models}
        self._prepared = {
            id_of(entry): load_model(config, entry) for entry in config.models if id_of(entry) not in kept
        }
        members = [
            kept[id_of(entry)].member if id_of(entry) in kept else self._prepared[id_of(entry)].member
            for entry in config.models
        ]
        EngineGroup(members)  # refuses two models of one name
        if not config.fallback.enabled:  # else a table may be of a channel that is to come
            check_tables(config, Columns.of([member.channels for member in members]).names)
        for entry in config.models:
            if id_of(entry) in kept:
                kept[id_of(entry)].rules(config, entry)
        return config

    def apply(self, config: Config, join: Callable[[Loaded], None]) -> None:
        """Put a prepared configuration in force.

        1. Save the states of models that go, and take them out.
        2. Take in new models; `join` restores what was saved of their series.
        3. Ask the models in the order of the configuration from now on.
        4. Put the rules and the other keys of all models in force.
        """
        wanted = {id_of(entry) for entry in config.models}
        gone = [model for model in self.models if id_of(model.entry) not in wanted]
        for model in gone:  # 1
            model.member.engine.save_all_soon()
        if gone:
            self._shared.sink.commit(None)
        for model in gone:
            self._end(model)
        for loaded in self._prepared.values():  # 2
            self._group.add(loaded.member, self._shared.config.recovery.max_replay_rows)
            self._begin(loaded).start()
            join(loaded)
            logs.event("model added", model=loaded.member.name, path=without_secrets(loaded.entry.path))
        if gone or self._prepared:
            order = {id_of(entry): at for at, entry in enumerate(config.models)}
            self.models = tuple(sorted(self.models, key=lambda one: order[id_of(one.entry)]))  # 3
            self._group.arrange([model.member for model in self.models])
            self._metrics.arrange([member.name for member in self._group.members])
            self._shared.decoding.renew()
        self._prepared = {}
        entries = {id_of(entry): entry for entry in config.models}
        for model in self.models:  # 4
            model.use_settings(config, entries[id_of(model.entry)])

    def _begin(self, loaded: Loaded) -> RunningModel:
        model = RunningModel(loaded, self._shared)
        self.models = (*self.models, model)
        self._metrics.add(model.member.name, model.metrics)
        return model

    def _end(self, model: RunningModel) -> None:
        name = model.member.name
        self.models = tuple(one for one in self.models if one is not model)
        self._group.remove(model.member)
        self._metrics.remove(name)
        del self._shared.sink.encoders[name]
        model.close()
        logs.event("model removed: its states stay, its series are unassigned", model=name)


def id_of(entry: ModelsSection) -> tuple[object, ...]:
    """Return what makes an entry another one: all of it but its incident rules."""
    place = (entry.path, entry.name, entry.series, tuple(sorted(entry.labels.items())), entry.topics)
    return (*place, entry.least_channels, entry.reload_every, entry.alarm_budget, entry.shadow)


def restore_model(
    group: EngineGroup,
    loaded: Loaded,
    read: ReadState,
    standing: Position,
    numbers: PartitionNumbers,
    now_ns: int | None,
) -> None:
    """Continue the series of a model that comes, from the states that it left.

    Args:
        group: the engines; the model is one of them.
        loaded: the model.
        read: reads partitions of the state topic.
        standing: the position of every live partition.
        numbers: of the partitions.
        now_ns: the service's time, from which silence is measured.
    """
    found: list[tuple[SeriesState, int]] = []
    state_topic = StateTopic("", numbers)
    saved = read({partition for _, partition in standing})
    for number in numbers.of(standing):
        records = state_topic.records(number, saved, "").own
        named = ((key.decode(errors="replace"), value) for key, value in records.items() if key != MARK)
        decoded = (decode_state(name, value) for name, value in named)
        found += [(one[0], number) for one in decoded if one is not None]
    for state, partition in sorted(found, key=lambda one: -one[0].watermark_ns):
        if group.owner_of(state) is loaded.member and group.home_of(state.name) is None:
            try:
                group.restore([state], partition, now_ns)
            except ValueError as error:
                logs.event(
                    "saved state does not fit: its series starts without it",
                    logging.WARNING,
                    series=state.name,
                    error=str(error),
                )
    loaded.member.engine.save_all_soon()
