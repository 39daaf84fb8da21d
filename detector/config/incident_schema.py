"""What the incident rules can be told: docs/incidents.md explains each key."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, field_validator, model_validator

from detector.config.types import Duration, LocalTime, Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class IncidentsSection(Section):
    """When an incident opens and when it is over (rows whose state is known)."""

    for_rows: int = Field(default=1, ge=1, le=10_000, description="rows that must be bad ...")
    of_rows: int = Field(
        default=1, ge=1, le=10_000, description="... of the last so many, to open an incident"
    )
    close_score: float = Field(default=0.8, gt=0, le=1, description="rows up to this score are quiet")
    quiet_rows: int = Field(default=8, ge=1, le=1_000_000, description="quiet rows in a row that resolve it")
    critical_score: float = Field(default=2.0, ge=1, description="peak score from which it is critical")
    min_duration: Duration = Field(default=0.0, description="event time that bad rows must last to open one")
    cooldown: Duration = Field(
        default=0.0, description="event time after one is resolved in which its series opens no other"
    )
    flap_incidents: int = Field(
        default=0,
        ge=0,
        le=1_000,
        description="incidents of a series within flap_window that make the last ...",
    )
    flap_window: Duration = Field(
        default=3600.0, gt=0, description="... stay open until it was quiet as long; 0 incidents: never"
    )
    settle_rows: int = Field(
        default=0, ge=0, le=1_000_000, description="rows after a gap or warming whose scores open nothing"
    )
    fold_series: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="series that turn within fold_window to be told as one; 0: off",
    )
    fold_window: Duration = Field(default=60.0, gt=0, description="event time between their starts at most")

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
    """Silence, by the service's clock, that opens an incident (0s: never)."""

    series_after: Duration = Field(default=0.0, description="nothing from a series")
    stream_after: Duration = Field(
        default=0.0, description="nothing from any series: one incident instead of one a series"
    )


class ChannelSection(Section):
    """What a channel must do to raise an alarm; a table [channels.NAME] each."""

    direction: Literal["both", "above", "below"] = Field(
        default="both", description="side of the expected value that matters"
    )
    min_absolute: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="least deviation, in the channel's unit"
    )
    min_relative: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="least deviation, as a share of the expected value",
    )
    valid_min: float | None = Field(
        default=None, allow_inf_nan=False, description="values below are impossible; default: the model's"
    )
    valid_max: float | None = Field(default=None, allow_inf_nan=False, description="the same above")

    @model_validator(mode="after")
    def _ordered(self) -> ChannelSection:
        if self.valid_min is not None and self.valid_max is not None and self.valid_min >= self.valid_max:
            raise ValueError(f"valid_min {self.valid_min:g} must be below valid_max {self.valid_max:g}")
        return self


class MaintenanceSection(Section):
    """Times in which series may be bad without an incident; a [[maintenance]] each, with start and end for
    one time, or time and duration (and weekdays) for a recurring one."""

    name: str = Field(default="", description="for people")
    series: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="names, or patterns with * ? [abc]"
    )
    start: datetime | None = Field(default=None, description="once: from ...")
    end: datetime | None = Field(default=None, description="... until; without an offset in the zone below")
    weekdays: tuple[Weekday, ...] = Field(
        default=WEEKDAYS, min_length=1, description="recurring: on these days ..."
    )
    time: LocalTime | None = Field(default=None, description="... at this time ...")
    duration: Duration | None = Field(default=None, gt=0, le=604_800, description="... for so long, up to 7d")
    zone: str = Field(default="UTC", description="IANA time zone, as Europe/Berlin")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            near = get_close_matches(value, available_timezones(), n=1)
            raise ValueError(
                f"is no IANA time zone{f'; did you mean `{near[0]}`?' if near else ', such as Europe/Berlin'}"
            ) from error
        return value

    @model_validator(mode="after")
    def _once_or_recurring(self) -> MaintenanceSection:
        once, recurring = (self.start, self.end), (self.time, self.duration)
        if None in once and None in recurring:
            raise ValueError("needs start and end, or time and duration")
        if any(once) and any(one is not None for one in recurring):
            raise ValueError("has both start or end and time or duration; make it two windows")
        if (
            self.start is not None
            and self.end is not None
            and self.instant(self.start) >= self.instant(self.end)
        ):
            raise ValueError("end must be after start")
        return self

    def instant(self, when: datetime) -> datetime:
        """In UTC; a time without an offset is one of the zone."""
        return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)


CHANNEL_EXAMPLE = """\
# What a channel must do to raise an alarm; a table for each channel that is to have rules:
#[channels.pressure]
#direction = "above"  # side of the expected value that matters: both | above | below
#min_absolute = 0.5  # least deviation, in the channel's unit
#min_relative = 0.02  # least deviation, as a share of the expected value
#valid_min = 0.0  # values below are impossible; default: what the model was told
#valid_max = 16.0  # the same above"""
MAINTENANCE_EXAMPLE = """\
# Times in which series may be bad without an incident; any number of tables, once or recurring:
#[[maintenance]]
#name = "overhaul of line 2"
#series = ["line-2-*"]  # names, or patterns with * ? [abc]; default: all
#start = 2026-10-01T06:00:00Z  # without an offset: in `zone`
#end = 2026-10-01T14:00:00Z
#
#[[maintenance]]
#name = "weekly backup"
#weekdays = ["sat", "sun"]  # default: every day
#time = "02:00"
#duration = "90m"  # up to 7d
#zone = "Europe/Berlin"  # IANA; default: UTC"""
