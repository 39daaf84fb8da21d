"""The incident rules as plain values, validated when they are made. docs/incidents.md explains each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from detector.incidents.filters.maintenance import Maintenance
from detector.scoring.kinds import checked_switches

Direction = Literal["both", "above", "below"]
OnLasting = Literal["hold", "offer", "learn"]
_MOST_CAUTIOUS: tuple[OnLasting, ...] = ("hold", "offer", "learn")
Suppression = Literal[
    "budget", "direction", "deviation", "recovery", "maintenance", "muted", "cooldown", "flapping"
]
SUPPRESSIONS: tuple[Suppression, ...] = (
    *("budget", "direction", "deviation", "recovery", "maintenance", "muted", "cooldown", "flapping"),
)
"""Why a bad row opens nothing, in the order in which the rules are applied."""
RuleT = TypeVar("RuleT")
_HOUR_NS = 3_600_000_000_000
_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """When a channel may raise an alarm. A deviation is actual minus expected value, in physical units.

    direction     the side of the expected value that matters
    min_absolute  deviations below this do not matter
    min_relative  deviations below this share of the expected value do not matter
    valid_min, valid_max  values outside are impossible; None: the bound of the model applies
    channel_after         rows without it after which it is missing; None: as the rules of all channels say
    on_lasting, lasting_after_ns  what follows if a fault in it lasts; None: as the rules of all channels say
    """

    direction: Direction = "both"
    min_absolute: float = 0.0
    min_relative: float = 0.0
    valid_min: float | None = None
    valid_max: float | None = None
    channel_after: int | None = None
    on_lasting: OnLasting | None = None
    lasting_after_ns: int | None = None

    def __post_init__(self) -> None:
        if not (self.min_absolute >= 0 and self.min_relative >= 0):
            raise ValueError("min_absolute and min_relative must be at least 0")
        if self.valid_min is not None and self.valid_max is not None and self.valid_min >= self.valid_max:
            raise ValueError(f"valid_min {self.valid_min:g} must be below valid_max {self.valid_max:g}")

    @property
    def ignores_deviations(self) -> bool:
        """Whether some deviations of the channel do not matter."""
        return self.direction != "both" or self.min_absolute > 0 or self.min_relative > 0


@dataclass(frozen=True, slots=True)
class LevelLimit:
    """Levels of a channel, in its own units, that a drift must not reach; None: none on that side."""

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower {self.lower:g} must be below upper {self.upper:g}")


@dataclass(frozen=True, slots=True)
class WatchdogRules:
    """How long a series, or the whole stream, may send nothing, by the service's clock; 0: for ever."""

    series_after_ns: int = 0
    stream_after_ns: int = 0


@dataclass(frozen=True, slots=True)
class FoldRules:
    """When incidents become one group: at least `num_series` series (0: never) within `window_ns`."""

    num_series: int = 0
    window_ns: int = _MINUTE_NS


@dataclass(frozen=True, slots=True)
class IncidentRules:
    """When an incident opens, how severe it is, and when it is over. Only rows of known state count.

    flap_incidents  openings within `flap_window_ns` that make a series flapping; 0: never
    settle_rows     rows after a gap or after warming whose scores open nothing
    channel_after   rows without a channel, while others go on, after which it is missing; 0: never; None:
                    as the model has learnt it
    channels        rules of channels, by name or by a pattern with * ? [abc]; see `of_channel`
    on_lasting      what follows if an incident lasts for `lasting_after_ns` of event time
    without         kinds of evidence that say nothing, keys of `detector.scoring.kinds.SWITCHES`
    special_days    ISO date and the weekday that it is like; they come before those of the model's calendar
    unjudged_after_ns  event time after which an open incident says that its evidence is not judged
    clean_windows   rows of an open incident are no past by which later rows are judged
    limits          levels that a drift must not reach, by channel or by a pattern; see `limits_of`
    """

    for_rows: int = 1
    of_rows: int = 1
    close_score: float = 0.8
    quiet_rows: int = 8
    critical_score: float = 2.0
    top_channels: int = 3
    min_duration_ns: int = 0
    cooldown_ns: int = 0
    flap_incidents: int = 0
    flap_window_ns: int = _HOUR_NS
    settle_rows: int = 0
    channel_after: int | None = None
    channels: Mapping[str, ChannelRule] = field(default_factory=dict)
    on_lasting: OnLasting = "offer"
    lasting_after_ns: int = 6 * _HOUR_NS
    unjudged_after_ns: int = 10 * _MINUTE_NS
    clean_windows: bool = True
    maintenance: tuple[Maintenance, ...] = ()
    watchdog: WatchdogRules = WatchdogRules()
    fold: FoldRules = FoldRules()
    without: tuple[str, ...] = ()
    special_days: tuple[tuple[str, int], ...] = ()
    limits: Mapping[str, LevelLimit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.for_rows <= self.of_rows:
            raise ValueError(f"for_rows {self.for_rows} must lie between 1 and of_rows {self.of_rows}")
        if self.quiet_rows < 1 or not 0 < self.close_score <= 1:
            raise ValueError("quiet_rows must be at least 1 and close_score within (0, 1]")
        if self.flap_incidents == 1:
            raise ValueError("flap_incidents must be 0 (off) or at least 2: one incident is no flapping")
        checked_switches(self.without)

    def of_channel(self, name: str) -> ChannelRule:
        """Return the rule of a channel: that of its own name, else that of the first pattern that matches.

        >>> IncidentRules(channels={"temp_*": ChannelRule(direction="above")}).of_channel("temp_1").direction
        'above'
        """
        return _of_name(self.channels, name) or ChannelRule()

    def limits_of(self, name: str) -> tuple[float | None, float | None]:
        """Return the lower and upper level that a drift of a channel must not reach.

        >>> IncidentRules(limits={"vibration*": LevelLimit(upper=7.1)}).limits_of("vibration_1")
        (None, 7.1)
        """
        limit = _of_name(self.limits, name) or LevelLimit()
        return limit.lower, limit.upper

    def unmatched(self, names: Iterable[str]) -> list[str]:
        """Return the keys of `channels` that are neither one of `names` nor a pattern of one."""
        known = list(names)
        return [
            key
            for key in self.channels
            if key not in known and not any(fnmatchcase(name, key) for name in known)
        ]

    @property
    def may_learn(self) -> bool:
        """Whether a lasting incident of some channel is accepted by itself."""
        return "learn" in {self.on_lasting, *(rule.on_lasting for rule in self.channels.values())}

    @property
    def least_lasting_ns(self) -> int:
        """The shortest time after which an incident of some channel is lasting."""
        stated = [rule.lasting_after_ns for rule in self.channels.values()]
        return min([self.lasting_after_ns, *(one for one in stated if one is not None)])

    def lasting_of(self, channels: Iterable[str]) -> tuple[OnLasting, int]:
        """Return what follows a lasting incident that blames `channels`, and after how many nanoseconds.

        Of several channels the most cautious policy counts (hold before offer before learn), and the longest
        time.
        """
        rules = [self.of_channel(name) for name in channels] or [ChannelRule()]
        policies = [self.on_lasting if one.on_lasting is None else one.on_lasting for one in rules]
        times = [
            self.lasting_after_ns if one.lasting_after_ns is None else one.lasting_after_ns for one in rules
        ]
        return min(policies, key=_MOST_CAUTIOUS.index), max(times)


def _of_name(table: Mapping[str, RuleT], name: str) -> RuleT | None:
    """Return the entry of this name, else of the first pattern that matches it; None if there is none."""
    if name in table:
        return table[name]
    return next((one for pattern, one in table.items() if fnmatchcase(name, pattern)), None)
