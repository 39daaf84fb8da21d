"""Describe what is usual at each time of day and week: the season that a history showed.

A profile has curves of one day each, of `slots` numbers at the middle of each slot. Between them values are
interpolated, in the local time of the calendar's zone.

Letters: C channels, S slots a day, D curves of a channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from detector.artifact.sum_limits import SumLimits, check_sum_limits, sum_limits_from

DAY_SECONDS = 86_400
SUNDAY = 6
MUTED = -1
"""The weekday of a day on which nothing is compared with a profile."""
Like = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "muted"]
_LIKE: dict[str, int] = {name: at for at, name in enumerate(get_args(Like)[:-1])} | {"muted": MUTED}
LEAST_DAYS, LEAST_WEEKS = 4, 3
"""A history with fewer whole days has no season; with fewer weeks, weekdays have no curves of their own."""
UNSEEN = -1
"""The curve of a weekday that the history does not have."""
MOST_FACTOR = 100.0
"""What is usual raises the threshold at most so many times: beyond it errors are told."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hold the zone whose clock the plant follows, and days that are not as their weekday.

    zone  IANA name
    days  ISO date -> the weekday that it is like, 0 (Monday) to 6, or -1: nothing is compared on it
    """

    zone: str = "UTC"
    days: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """Hold the season of one channel, in the units of the model; all empty where it has none.

    curve_of  for each weekday the number of its curve, -1 where the history has no such day; 7 numbers
    level     D curves of S numbers
    spread    the usual difference to the level, D curves of S numbers
    explains  share of the variation of left-out days that the level explains
    """

    curve_of: tuple[int, ...] = ()
    level: tuple[tuple[float, ...], ...] = ()
    spread: tuple[tuple[float, ...], ...] = ()
    explains: float = 0.0

    @property
    def period(self) -> str:
        """What repeats: "day", "week" (with Saturdays and Sundays, or all weekdays), or "" without season."""
        return "" if not self.level else "day" if len(self.level) == 1 else "week"


@dataclass(frozen=True, slots=True)
class UsualError:
    """Hold the times of the week at which the error is usually high, as at a shift change.

    slots    number of the slot of the week (Monday 00:00 is 0) at which it is
    factors  by how much the threshold is higher there
    """

    slots: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """Hold a short event that recurs at a fixed time of the week, such as a job of ten minutes.

    It is looked for in its slot and in the ones before and after it. They lie within one day.

    series   whose event it is
    weekday  0 (Monday) to 6
    slot     of the day
    channel  number of the channel that shows it
    limit    a smaller range of the channel in these slots, in units of the model, says that it did not come
    """

    series: str
    weekday: int
    slot: int
    channel: int
    limit: float


@dataclass(frozen=True, slots=True)
class Season:
    """Hold the seasons of all channels.

    calendar      zone and special days
    slot_seconds  length of a slot; it divides a day
    profiles      one for each channel; none where no channel has a season
    baseline      mean departure of each channel from its level; empty without profiles
    baselines     series -> its own
    sums          how departures add up; None without profiles
    usual_error   recurring errors
    """

    calendar: Calendar
    slot_seconds: int
    profiles: tuple[Profile, ...] = ()
    baseline: tuple[float, ...] = ()
    baselines: dict[str, tuple[float, ...]] = field(default_factory=dict)
    sums: SumLimits | None = None
    usual_error: UsualError = UsualError()
    jobs: tuple[Job, ...] = ()

    def __repr__(self) -> str:
        found = sum(1 for one in self.profiles if one.level)
        return f"Season({found} channels, {len(self.usual_error.slots)} times of usual errors)"

    @property
    def slots(self) -> int:
        """How many slots a day has."""
        return DAY_SECONDS // self.slot_seconds


def calendar_of(
    zone: str, holidays: Iterable[date], on_holidays: str, special: Mapping[date, Like]
) -> Calendar:
    """Return the calendar that options describe.

    Args:
        zone: IANA name.
        holidays: Days that are like a Sunday, or muted.
        on_holidays: "sunday" or "muted".
        special: Further days, and what each is like.
    """
    like = SUNDAY if on_holidays == "sunday" else MUTED
    days = dict.fromkeys(holidays, like) | {day: _LIKE[name] for day, name in special.items()}
    return Calendar(zone, {day.isoformat(): number for day, number in days.items()})


def season_from(raw: Mapping[str, Any] | None) -> Season | None:
    """Return the season of plain values, or None where an artifact has none."""
    if raw is None:
        return None
    return Season(
        calendar=Calendar(raw["calendar"]["zone"], dict(raw["calendar"]["days"])),
        slot_seconds=int(raw["slot_seconds"]),
        profiles=tuple(_profile_from(one) for one in raw["profiles"]),
        baseline=tuple(raw["baseline"]),
        baselines={series: tuple(values) for series, values in dict(raw["baselines"]).items()},
        sums=None if raw["sums"] is None else sum_limits_from(raw["sums"]),
        usual_error=UsualError(*(tuple(raw["usual_error"][name]) for name in ("slots", "factors"))),
        jobs=tuple(Job(**one) for one in raw.get("jobs", ())),
    )


def _profile_from(raw: Mapping[str, Any]) -> Profile:
    tables = {name: tuple(map(tuple, raw[name])) for name in ("level", "spread")}
    return Profile(tuple(raw["curve_of"]), **tables, explains=float(raw["explains"]))


def check_season(season: Mapping[str, Any], num_channels: int) -> None:
    """Refuse a season whose numbers do not fit the channels and slots, or a zone that nobody knows.

    Args:
        season: A `Season` as plain values.
        num_channels: C.

    Raises:
        ValueError: The message names what is wrong.
    """
    check_calendar(season["calendar"]["zone"], season["calendar"]["days"])
    length = season["slot_seconds"]
    if not 60 <= length <= DAY_SECONDS or DAY_SECONDS % length:
        raise ValueError(f"season.slot_seconds is {length}; it must divide a day and be at least 60")
    profiles = season["profiles"]
    if len(profiles) not in (0, num_channels):
        raise ValueError(f"season has {len(profiles)} profiles, needed {num_channels}")
    for one in profiles:
        _check_profile(one, DAY_SECONDS // length)
    if profiles:
        for values in (season["baseline"], *season["baselines"].values()):
            if len(values) != num_channels or not all(map(math.isfinite, values)):
                raise ValueError(f"a season's baseline must have {num_channels} finite numbers")
        if season["sums"] is None:
            raise ValueError("a season with profiles needs sums")
        check_sum_limits(season["sums"], num_channels, "season.sums")
    usual, most = season["usual_error"], 7 * DAY_SECONDS // length
    if len(usual["slots"]) != len(usual["factors"]) or not all(0 <= at < most for at in usual["slots"]):
        raise ValueError("season.usual_error needs one factor for each slot of the week")
    if not all(1 <= factor <= 1e9 for factor in usual["factors"]):
        raise ValueError("season.usual_error.factors must be at least 1")
    _check_jobs(season["jobs"], DAY_SECONDS // length, num_channels)


def _check_jobs(jobs: Iterable[Mapping[str, Any]], slots: int, num_channels: int) -> None:
    """Refuse a job that lies outside of a day or the channels, or whose limit is no positive number."""
    for one in jobs:
        in_day = 0 <= one["weekday"] <= SUNDAY and 1 <= one["slot"] < slots - 2
        if not (in_day and 0 <= one["channel"] < num_channels and 0 < one["limit"] < math.inf):
            raise ValueError(f"season.jobs has one that lies outside of a day or the channels: {one!r:.120}")


def check_calendar(zone: str, days: Mapping[str, int]) -> None:
    """Raise ValueError for a zone that nobody knows, or a day that is no date or like no weekday."""
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"{zone!r:.80} is not an IANA time zone, such as Europe/Berlin") from error
    for day, like in days.items():
        date.fromisoformat(day)
        if not MUTED <= like <= SUNDAY:
            raise ValueError(f"{day} is like weekday {like}; it must be -1 to 6")


def _check_profile(profile: Mapping[str, Any], slots: int) -> None:
    num = len(profile["level"])
    if num == 0:
        return
    if len(profile["spread"]) != num or len(profile["curve_of"]) != 7:
        raise ValueError("a profile needs as many curves of spread as of level, and seven weekdays")
    if not all(UNSEEN <= at < num for at in profile["curve_of"]):
        raise ValueError(f"a profile of {num} curves names another one")
    for curve in (*profile["level"], *profile["spread"]):
        if len(curve) != slots or not all(map(math.isfinite, curve)):
            raise ValueError(f"a curve of a profile must have {slots} finite numbers")
    if not all(number > 0 for curve in profile["spread"] for number in curve):
        raise ValueError("the spread of a profile must be positive")
