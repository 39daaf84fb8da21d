"""The incident rules as plain values, validated when they are made. docs/incidents.md explains each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detector.incidents.maintenance import Maintenance

Direction = Literal["both", "above", "below"]
Suppression = Literal["budget", "direction", "deviation", "recovery", "maintenance", "cooldown", "flapping"]
SUPPRESSIONS: tuple[Suppression, ...] = (
    *("budget", "direction", "deviation", "recovery", "maintenance", "cooldown", "flapping"),
)
"""Why a bad row opens nothing, in the order in which the rules are applied."""
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
    """

    direction: Direction = "both"
    min_absolute: float = 0.0
    min_relative: float = 0.0
    valid_min: float | None = None
    valid_max: float | None = None
    channel_after: int | None = None

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
    channels        rules of channels, by name; a channel without a rule may always raise an alarm
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
    maintenance: tuple[Maintenance, ...] = ()
    watchdog: WatchdogRules = WatchdogRules()
    fold: FoldRules = FoldRules()

    def __post_init__(self) -> None:
        if not 1 <= self.for_rows <= self.of_rows:
            raise ValueError(f"for_rows {self.for_rows} must lie between 1 and of_rows {self.of_rows}")
        if self.quiet_rows < 1 or not 0 < self.close_score <= 1:
            raise ValueError("quiet_rows must be at least 1 and close_score within (0, 1]")
        if self.flap_incidents == 1:
            raise ValueError("flap_incidents must be 0 (off) or at least 2: one incident is no flapping")
