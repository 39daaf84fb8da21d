"""The models of a daemon as a verification needs them: [model], or each of [[models]]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from connectors.partition_numbers import PartitionNumbers
from detector.artifact.fallback.statistical import is_fallback
from detector.config.load import Config
from detector.config.models.entries import config_of
from detector.config.models.section import ModelSection, ModelsSection
from detector.delivery.messages import iso
from detector.delivery.unassigned import Admission
from detector.engine.engine import Engine
from detector.engine.group.member import Member
from detector.errors import ConfigError
from detector.verify.comparing import Uncompared
from detector.verify.receipt import VersionUsed
from detector.verify.rescoring import Decisions, Judging
from detector.verify.routing import ForOne, ForSeveral, Routes
from detector.verify.rows import Published, Row
from detector.verify.versions import Versions

_MS = 1_000_000


class Models:
    """All models of a configuration, and what their versions need to judge again.

    `prepare` comes before `routes`, `channels` and `settle_rows_of`.
    """

    def __init__(self, config: Config, numbers: PartitionNumbers) -> None:
        """Load the versions that are in use now.

        Raises:
            ArtifactError: One of them cannot be loaded.
            ConfigError: The daemon has no model.
        """
        if not (config.models or config.model.path):
            raise ConfigError(
                "[fallback]: there is no model, and the fallback is not scored again; add [[models]]"
            )
        self._config, self._numbers = config, numbers
        entries = config.models or (config.model,)
        self._versions = [Versions(config, entry) for entry in entries]
        self._patterns = [(entry, self._own_series(entry)) for entry in entries]
        self._judging: list[Judging] = []
        self._members: list[Member] = []
        self.channels: tuple[str, ...] = ()
        """The columns of the input: the channels of all versions of all models."""
        self.settle_rows_of: Mapping[str, int] = {}
        """Model -> after so many rows of a series, nothing depends on rows before them."""

    @property
    def names(self) -> list[str]:
        """The names of the models in messages, in the order of the configuration."""
        return [one.name for one in self._versions]

    @property
    def settle_rows(self) -> int:
        """The rows of a series whose times are kept apart."""
        return max(one.current.settle_rows for one in self._versions)

    @property
    def interval_ns(self) -> int:
        """The longest interval of a model, nanoseconds."""
        return max(one.current.artifact.spec.interval_ns for one in self._versions)

    def never_judge(self, series: str, topic: str, is_begun: bool) -> bool:
        """Return whether a series has no row, given that no model gets its readings of a topic.

        Args:
            series: its name.
            topic: where the input has readings of it.
            is_begun: the input begins with the first messages. If not, an earlier one may have had enough
                channels of a model, or another topic may have had it.
        """
        entries = [entry for entry, patterns in self._patterns if _matches(series, patterns)]
        if not entries or not is_begun:
            return not entries
        return any(not isinstance(one, ModelsSection) or _matches(topic, one.topics) for one in entries)

    def left_out(self, published: Published, from_ms: int, to_ms: int) -> dict[str, Uncompared]:
        """Return the series that cannot be compared, since others than these models judged them.

        What another model judged after the stretch changes nothing in it.

        Raises:
            ConfigError: Such a model judged rows of the stretch, and it is no fallback.
        """
        found: dict[str, Uncompared] = {}
        for name, judged in published.models.items():
            if name in self.names:
                continue
            if self._config.fallback.enabled and is_fallback(name):
                found |= dict.fromkeys(judged.series, "fallback")
                continue
            times = {series: list(published.times_of(series, name)) for series in judged.series}
            _check_outside(name, [at for some in times.values() for at in some], from_ms, to_ms)
            earlier = (series for series, some in times.items() if min(some) < from_ms)
            found |= dict.fromkeys(earlier, "other model")
        return found

    def prepare(self, published: Published, decisions: Decisions) -> None:
        """Load the versions that judged."""
        settle = {}
        for one in self._versions:
            versions = sorted(published.versions_of(one.name))
            used = [model for version in versions if (model := one.of(version)) is not None]
            first = one.current
            if one.name in published.models:
                first = one.of(published.models[one.name].oldest[1]) or first
            used = used or [first]
            channels = _union([model.channels for model in used])
            self._judging.append(Judging(one.name, first, one.of, channels, published, decisions))
            settle[one.name] = max(model.settle_rows for model in used)
        self.settle_rows_of = settle
        self.channels = _union([one.channels for one in self._judging])
        if self._config.models:
            pairs = zip(self._config.models, self._judging, strict=True)
            self._members = [self._member(entry, judging) for entry, judging in pairs]

    def routes(self) -> Routes:
        """Return what gives the readings of a partition to fresh engines of the models."""
        if self._config.models:
            models = list(zip(self._members, self._judging, strict=True))
            return ForSeveral(models, self.channels, self._numbers)
        section = self._config.model
        return ForOne(self._judging[0], Admission(section.own_series, section.least_channels))

    def used(self, rows: Sequence[Row]) -> Iterator[VersionUsed]:
        """Yield the versions of all models that judged some of these rows."""
        for one in self._versions:
            yield from one.used(rows)

    def _member(self, entry: ModelsSection, judging: Judging) -> Member:
        """Return what a router asks of a model; its engine judges nothing."""
        engine = Engine(judging.first.artifact, judging.first.options)
        return Member(engine, self._own_series(entry), entry.least_channels, entry.topics)

    def _own_series(self, entry: ModelSection) -> tuple[str, ...]:
        config = config_of(self._config, entry) if isinstance(entry, ModelsSection) else self._config
        return config.model.own_series


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _union(channels: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in channels for name in one))


def _check_outside(name: str, times: Sequence[int], from_ms: int, to_ms: int) -> None:
    """Raise ConfigError if a model that is not configured judged rows of the stretch."""
    inside = [at for at in times if from_ms <= at <= to_ms]
    if inside:
        raise ConfigError(
            f"model {name} judged rows from {iso(min(inside) * _MS)} to {iso(max(inside) * _MS)}, and the"
            " configuration has no such model: use the configuration of that time, or choose another stretch"
            " with --from and --to"
        )
