"""Describe the incident rules of the configuration; docs/incidents.md explains each key."""

from __future__ import annotations

from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, field_validator, model_validator

from detector.artifact.cold.cold_start import LEAST_WARMUP, MOST_WARMUP
from detector.artifact.season import Like, calendar_of
from detector.config.types import Duration, LocalTime, Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class IncidentsSection(Section):
    """When an incident opens and when it is resolved; rows of unknown state do not count."""

    for_rows: int = Field(
        default=1, ge=1, le=10_000, description="an incident opens after so many bad rows ..."
    )
    of_rows: int = Field(default=1, ge=1, le=10_000, description="... among the last so many rows")
    close_score: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="a row of at most this strength is quiet; strength: score / page level, or cumulative"
        " evidence",
    )
    quiet_rows: int = Field(
        default=8, ge=1, le=1_000_000, description="so many quiet rows in a row resolve it"
    )
    critical_score: float = Field(
        default=2.0, ge=1, description="strength from which it is critical, not a warning"
    )
    min_duration: Duration = Field(
        default=0.0, description="event time that the bad rows must span before it opens"
    )
    cooldown: Duration = Field(
        default=0.0, description="event time after a resolved incident in which its series opens no other"
    )
    flap_incidents: int = Field(
        default=0,
        ge=0,
        le=1_000,
        description="so many incidents of a series within flap_window count as flapping; 0: off",
    )
    flap_window: Duration = Field(
        default=3600.0,
        gt=0,
        description="a flapping incident stays open until its series was quiet for so long",
    )
    settle_rows: int = Field(
        default=0, ge=0, le=1_000_000, description="so many rows after a gap or a warm-up open no incident"
    )
    channel_after: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="rows without a channel, while others go on, until it is missing; 0: never; "
        "default: learnt from the history, at least 30",
    )
    on_lasting: Literal["hold", "offer", "learn"] = Field(
        default="offer",
        description="what follows an incident that lasts; hold: nothing; offer: one event asks to accept it;"
        " learn: it is accepted",
    )
    lasting_after: Duration = Field(
        default=21_600.0, gt=0, description="event time after which an incident lasts"
    )
    unjudged_after: Duration = Field(
        default=600.0,
        gt=0,
        description="an open incident says so if its evidence was not judged for so long, and for quiet_rows",
    )
    clean_windows: bool = Field(
        default=True,
        description="rows of an open incident are no past by which later rows are judged",
    )
    fold_series: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="send one message if so many series alarm within fold_window; 0: off",
    )
    fold_window: Duration = Field(
        default=60.0, gt=0, description="longest event time between the starts of their incidents"
    )

    @model_validator(mode="after")
    def _m_of_n(self) -> IncidentsSection:
        if self.for_rows > self.of_rows:
            raise ValueError(f"for_rows {self.for_rows} must be at most of_rows {self.of_rows}")
        return self

    @field_validator("flap_incidents", "fold_series")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("must be at least 2, or 0 to switch it off")
        return value


class WatchdogSection(Section):
    """Silence, by the clock of this host, that opens an incident (0s: never)."""

    series_after: Duration = Field(default=0.0, description="time without a reading of a series")
    stream_after: Duration = Field(
        default=0.0, description="time without a reading of any series; opens one incident for all of them"
    )


class EvidenceSection(Section):
    """Kinds of evidence beside the score that count (docs/context.md); false: they say nothing."""

    level: bool = Field(
        default=True, description="small departures from what follows from the other channels, added up"
    )
    season: bool = Field(default=True, description="departures from what is usual at this time")
    drift: bool = Field(default=True, description="slow departures from the level of the history")
    modes: bool = Field(default=True, description="departures from what is usual in a mode of operation")


class ColdSection(Section):
    """How a series begins that the history of the model does not have (docs/plant.md)."""

    enabled: bool = Field(
        default=False, description="it learns its own scales first; else those of the others hold at once"
    )
    warmup: Duration | None = Field(
        default=None, description="time of rows that show its scales; none: as in `warmup_rows`"
    )
    warmup_rows: int | None = Field(
        default=None,
        ge=LEAST_WARMUP,
        le=MOST_WARMUP,
        description="the same as a number of rows; none: the number of the model",
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> ColdSection:
        if self.warmup is not None and self.warmup_rows is not None:
            raise ValueError("set `warmup` or `warmup_rows`, not both")
        return self


class LimitSection(Section):
    """Levels of a channel that a drift must not reach, in its own units."""

    lower: float | None = Field(default=None, allow_inf_nan=False, description="a drift downwards ends here")
    upper: float | None = Field(default=None, allow_inf_nan=False, description="a drift upwards ends here")

    @model_validator(mode="before")
    @classmethod
    def _number_is_upper(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"upper": value}
        if not isinstance(value, dict):
            raise ValueError("write a number, such as 7.1, or { lower = 2.0 }, { lower = 2.0, upper = 9.0 }")
        if unknown := sorted(set(value) - {"lower", "upper"}):
            raise ValueError(f"unknown key `{unknown[0]}`; known: lower, upper")
        return value

    @model_validator(mode="after")
    def _some_and_ordered(self) -> LimitSection:
        if self.lower is None and self.upper is None:
            raise ValueError("has neither lower nor upper; write one of them, or leave the channel out")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower {self.lower:g} must be below upper {self.upper:g}")
        return self


class DriftSection(Section):
    """What incidents of slow drift state (docs/context.md)."""

    limits: dict[str, LimitSection] = Field(
        default_factory=dict, description="levels that a drift must not reach, by channel or pattern"
    )

    @field_validator("limits", mode="before")
    @classmethod
    def _is_table(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError("write [drift.limits] and below it a line for each channel, such as flow = 7.1")
        return value


class CalendarSection(Section):
    """Days that are not as their weekday, beside those that the model knows (docs/context.md)."""

    holidays: tuple[date, ...] = Field(default=(), description='such as ["2026-12-25"]')
    on_holidays: Literal["sunday", "muted"] = Field(
        default="sunday", description="a holiday is like a Sunday, or is not compared with the season"
    )
    saturdays: tuple[date, ...] = Field(
        default=(), description='days like a Saturday, such as ["2026-12-24"]'
    )
    workdays: tuple[date, ...] = Field(
        default=(), description='days like a Wednesday, such as ["2026-05-02"]'
    )

    def special_days(self) -> tuple[tuple[str, int], ...]:
        """Return each special day and the weekday that it is like; -1: it is not compared."""
        saturday: Like = "sat"
        workday: Like = "wed"
        special: dict[date, Like] = dict.fromkeys(self.saturdays, saturday)
        special |= dict.fromkeys(self.workdays, workday)
        return tuple(sorted(calendar_of("UTC", self.holidays, self.on_holidays, special).days.items()))


class ChannelSection(Section):
    """What must be true of a channel before it raises an alarm; one table [channels.NAME] for each.

    NAME is a channel, or a pattern with * ? [abc]. A channel has the table of its own name, else that of the
    first pattern that matches.
    """

    direction: Literal["both", "above", "below"] = Field(
        default="both", description="side of the expected value on which deviations count"
    )
    min_absolute: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="smallest deviation that counts, in the unit of the channel",
    )
    min_relative: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="smallest deviation that counts, as a share of the expected value",
    )
    valid_min: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="lower values are impossible; default: the limit in the model",
    )
    valid_max: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="higher values are impossible; default: the limit in the model",
    )
    channel_after: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="rows without the channel until it is missing; default: that of [incidents]",
    )
    on_lasting: Literal["hold", "offer", "learn"] | None = Field(
        default=None, description="what follows a lasting fault in the channel; default: that of [incidents]"
    )
    lasting_after: Duration | None = Field(
        default=None, gt=0, description="event time after which it lasts; default: that of [incidents]"
    )

    @model_validator(mode="after")
    def _ordered(self) -> ChannelSection:
        if self.valid_min is not None and self.valid_max is not None and self.valid_min >= self.valid_max:
            raise ValueError(f"valid_min {self.valid_min:g} must be below valid_max {self.valid_max:g}")
        return self


class MaintenanceSection(Section):
    """A time in which series open no incident.

    It has start and end if it happens once, time and duration (and weekdays) if it recurs.
    """

    name: str = Field(default="", description="name shown to people")
    series: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="names, or patterns with * ? [abc]"
    )
    start: datetime | None = Field(default=None, description="if it happens once: from ...")
    end: datetime | None = Field(default=None, description="... until; a time without an offset is in `zone`")
    weekdays: tuple[Weekday, ...] = Field(
        default=WEEKDAYS, min_length=1, description="if it recurs: on these days ..."
    )
    time: LocalTime | None = Field(default=None, description="... at this time ...")
    duration: Duration | None = Field(
        default=None, gt=0, le=604_800, description="... for so long, at most 7d"
    )
    zone: str = Field(default="UTC", description="IANA time zone, such as Europe/Berlin")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            near = get_close_matches(value, available_timezones(), n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ", such as Europe/Berlin"
            raise ValueError(f"is not an IANA time zone{hint}") from error
        return value

    @model_validator(mode="after")
    def _once_or_recurring(self) -> MaintenanceSection:
        once, recurring = (self.start, self.end), (self.time, self.duration)
        if None in once and None in recurring:
            raise ValueError("needs start and end, or time and duration")
        if any(once) and any(one is not None for one in recurring):
            raise ValueError("has start or end, and also time or duration; write two tables")
        if (
            self.start is not None
            and self.end is not None
            and self.instant(self.start) >= self.instant(self.end)
        ):
            raise ValueError("end must be after start")
        return self

    def instant(self, when: datetime) -> datetime:
        """Return the time in UTC; one without an offset is in the zone of this table."""
        return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)


CHANNEL_EXAMPLE = """\
# What must be true of a channel before it raises an alarm; one table for each channel with rules:
#[channels.pressure]
#direction = "above"  # side of the expected value on which deviations count: both | above | below
#min_absolute = 0.5  # smallest deviation that counts, in the unit of the channel
#min_relative = 0.02  # smallest deviation that counts, as a share of the expected value
#valid_min = 0.0  # lower values are impossible; default: the limit in the model
#valid_max = 16.0  # higher values are impossible; default: the limit in the model
#channel_after = 600  # rows without the channel until it is missing; default: that of [incidents]
#on_lasting = "hold"  # what follows a lasting fault: hold | offer | learn; default: that of [incidents]
#lasting_after = "12h"  # event time after which it lasts; default: that of [incidents]
#
#[channels."cpu_*"]  # a pattern with * ? [abc], for channels without a table of their own
#on_lasting = "learn"  # as IT metrics may want"""
DRIFT_EXAMPLE = """\
[drift]  # What incidents of slow drift state (docs/context.md).
# limits = {}  # levels that a drift must not reach, by channel or pattern; or as a table of its own:
#[drift.limits]  # a channel, or a pattern with * ? [abc]; in the unit of the channel
#vibration = 7.1  # an upper limit
#pressure = { lower = 2.0 }  # a lower limit, or both: { lower = 2.0, upper = 9.0 }
#"temp_*" = 90.0"""
UNITS_EXAMPLE = """\
# Units of channels, for the sentences about incidents:
#[units]
#pressure = "bar"
#"temp_*" = "C"  # a pattern with * ? [abc]"""
MAINTENANCE_EXAMPLE = """\
# Times in which series open no incident; any number of tables, for one time or a recurring one:
#[[maintenance]]
#name = "overhaul of line 2"
#series = ["line-2-*"]  # names, or patterns with * ? [abc]; default: all
#start = 2026-10-01T06:00:00Z  # a time without an offset is in `zone`
#end = 2026-10-01T14:00:00Z
#
#[[maintenance]]
#name = "weekly backup"
#weekdays = ["sat", "sun"]  # default: every day
#time = "02:00"
#duration = "90m"  # at most 7d
#zone = "Europe/Berlin"  # IANA; default: UTC"""
