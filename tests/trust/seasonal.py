"""A plant that follows the clock of a zone: days, weekends, a weekly job.

Letters: n rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from detector.artifact.spec import Artifact
from detector.engine.engine import Engine
from detector.incidents.incident import Incident
from detector.offline.backtest import replay
from detector.offline.frames import FrameSource, chunk_of_frame
from trainer import fit
from trainer.config import CalendarOptions, DataOptions, FitOptions, ModelOptions, TrainConfig

_DAY = 86_400
_WINDOW = 16
_JOB_DAY, _JOB_HOUR, _JOB_SECONDS = 2, 3.0, 600


@dataclass(frozen=True, slots=True)
class Plant:
    """A plant of two channels. The history ends a few days before a change of the clocks in its zone.

    zone      its clock
    sampling  seconds between two rows
    days      length of the history
    noise     size of the noise, of the daily swing
    weekend   whether Saturdays and Sundays have half of the swing
    job       whether a job of ten minutes runs on Wednesdays at 03:00
    jobs      whether a job of ten minutes or so runs daily at 02:00, some minutes early or late, of any size
    shifts    whether the shift changes at 06:00 and 22:00, some minutes early or late
    """

    seed: int
    zone: str = "UTC"
    sampling: int = 600
    days: int = 28
    noise: float = 0.06
    weekend: bool = True
    job: bool = False
    jobs: bool = False
    shifts: bool = False

    @property
    def first(self) -> int:
        """The first second of the history; the clocks change within the live days."""
        change = ("2026-03-29", "2026-10-25")[self.seed % 2]
        at = datetime.fromisoformat(change).replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
        return round(at.timestamp()) // 3600 * 3600 - (self.days + 3) * _DAY

    def seconds(self, start_day: float, days: float) -> NDArray[np.int64]:
        """Return times from a day of the history on, in seconds of UTC, int64 [n]."""
        num = round(days * _DAY / self.sampling)
        return self.first + round(start_day * _DAY) + np.arange(num) * self.sampling

    def values(self, seconds: NDArray[np.int64], stream: int) -> NDArray[np.float64]:
        """Return healthy rows at these times, float64 [n, 2]."""
        rng = np.random.default_rng([self.seed, stream])
        hour, weekday = self._clock(seconds)
        swing = np.where((weekday >= 5) & self.weekend, 0.5, 1.0)
        wave = swing * (np.sin(2 * np.pi * (hour - 8) / 24) + 0.3 * np.sin(4 * np.pi * (hour - 2) / 24))
        steps, noise = rng.normal(size=(len(seconds), 2)), np.zeros((len(seconds), 2))
        keep = 0.5 ** (self.sampling / 1800)
        noise[1:] = lfilter([np.sqrt(1 - keep**2)], [1.0, -keep], steps[1:], axis=0)
        own = 0.3 * rng.normal(size=(len(seconds), 2))
        values = np.stack([20 + 5 * wave, 60 - 9 * wave], axis=1) + (noise + own) * self.noise * [5, 9]
        if self.job:
            values[self.is_job(seconds * 10**9)] += [4.0, -7.0]
        if self.jobs:
            values += self._daily_jobs(seconds, rng)
        if self.shifts:
            values += self._changes(seconds, rng)
        return np.asarray(values, np.float64)

    def _daily_jobs(self, seconds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a job at 02:00 of each day, float64 [n, 2]."""
        hour, _ = self._clock(seconds)
        found = np.zeros((len(seconds), 2))
        first = np.flatnonzero(np.diff(hour >= 2.0, prepend=True) & (hour >= 2.0))
        for start in seconds[first] + 120.0 * np.clip(rng.normal(size=len(first)), -2.0, 2.0):
            inside = (seconds >= start) & (seconds < start + rng.uniform(480, 900))
            found[inside] += rng.uniform(0.8, 1.4) * np.array([4.0, -7.0])
        return found

    def _changes(self, seconds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a quarter of an hour of disorder at each change, each of its own size, float64 [n, 2]."""
        hour, _ = self._clock(seconds)
        found = np.zeros((len(seconds), 2))
        for at in (6.0, 22.0):
            first = np.flatnonzero(np.diff(hour >= at, prepend=True) & (hour >= at))
            for start in seconds[first] + 240.0 * rng.normal(size=len(first)):
                inside = (seconds >= start) & (seconds < start + 900)
                found[inside] += rng.uniform(0.3, 1.6) * np.array([4.0, 7.0])
        return found

    def is_change(self, time_ns: int) -> bool:
        """Return whether a time lies around a change of the shift, or soon after."""
        hour, _ = self._clock(np.asarray(time_ns) // 10**9)
        return bool(((hour >= 5.7) & (hour < 7.5)) | ((hour >= 21.7) & (hour < 23.5)))

    def live(self, days: float) -> NDArray[np.float64]:
        """Return the healthy days after the history, float64 [n, 2]."""
        return self.values(self.seconds(self.days, days), 1)

    def is_job(self, time_ns: NDArray[np.int64] | int) -> NDArray[np.bool_]:
        """Return which times lie in the weekly job, or so near that its windows hold it."""
        hour, weekday = self._clock(np.asarray(time_ns) // 10**9)
        return np.asarray(
            (weekday == _JOB_DAY) & (hour >= _JOB_HOUR) & (hour < _JOB_HOUR + _JOB_SECONDS / 3600)
        )

    def without_job(self, values: NDArray[np.float64], day: int) -> NDArray[np.float64]:
        """Return live rows in which the daily job of a local day does not run: a line is in its place.

        Args:
            values: Live rows, float64 [n, 2].
            day: Which 02:00 of the live rows it is, from 0 on.
        """
        hour, _ = self._clock(self.seconds(self.days, len(values) * self.sampling / _DAY))
        first = np.flatnonzero(np.diff(hour >= 2.0, prepend=True) & (hour >= 2.0))[day]
        begin, end = first - 600 // self.sampling, first + 1_800 // self.sampling
        left = values.copy()
        for channel in range(2):
            steps = np.random.default_rng(self.seed).normal(size=end - begin) * 0.3 * self.noise
            line = np.interp(np.arange(begin, end), [begin - 1, end], values[[begin - 1, end], channel])
            left[begin:end, channel] = line + steps * (5, 9)[channel]
        return left

    def row_of(self, time_ns: int) -> int:
        """Return the live row at a time."""
        return (time_ns // 10**9 - self.first - self.days * _DAY) // self.sampling

    def frame(self, seconds: NDArray[np.int64], values: NDArray[np.float64], series: str) -> pd.DataFrame:
        """Return rows as a frame."""
        times = pd.DatetimeIndex((seconds * 10**9).view("M8[ns]")).tz_localize("UTC").rename("timestamp")
        return pd.DataFrame(values, times, ["heat", "flow"]).assign(series=series)

    def _clock(self, seconds: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the hour and weekday of the zone's clock, by pandas."""
        utc = pd.to_datetime(np.atleast_1d(seconds), unit="s", utc=True).tz_convert(self.zone)
        shape = np.shape(seconds)
        hour = np.asarray(utc.hour + utc.minute / 60 + utc.second / 3600, np.float64)
        return hour.reshape(shape), np.asarray(utc.day_of_week, np.int64).reshape(shape)


@cache
def model_of_plant(plant: Plant) -> Artifact:
    """Return the linear model of a plant's history; it is trained once."""
    return fitted_plant(plant)


def fitted_plant(plant: Plant, stride: int = 1) -> Artifact:
    """Return the linear model of a plant's history, with a window every so many rows."""
    seconds = plant.seconds(0, plant.days)
    config = TrainConfig(
        model=ModelOptions(family="linear", window=_WINDOW, stride=stride),
        data=DataOptions(interval_seconds=plant.sampling),
        fit=FitOptions(refit=False),
        calendar=CalendarOptions(zone=plant.zone),
    )
    return fit(plant.frame(seconds, plant.values(seconds, 0), "a"), config=config)


def incidents_of(
    plant: Plant, artifact: Artifact, live: Mapping[str, NDArray[np.float64]]
) -> list[list[Incident]]:
    """Return the incidents of each stretch of live rows; each is the series of the history."""
    found = []
    for values in live.values():
        seconds = plant.seconds(plant.days, len(values) * plant.sampling / _DAY)
        frame = plant.frame(seconds, values, "a")
        chunk = chunk_of_frame(frame, artifact.spec.channel_names)
        found.append(list(replay(FrameSource(chunk), Engine(artifact)).incidents))
    return found
