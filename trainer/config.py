"""Options of a training; every option has a default that works."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connectors.names import ColumnNames
from detector.artifact.modes import OTHER
from detector.artifact.season import Calendar, Like, calendar_of, check_calendar
from detector.artifact.spec import Combine
from detector.calibration.alarm_budget import read_budget
from detector.config.types import Duration, parse_duration
from trainer.errors import TrainerError

ENSEMBLE = "ensemble"
"""The family that stands for several autoencoders together."""
Share = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[int, Field(ge=1)]


class ModelOptions(BaseModel):
    """Choose the model and its hyperparameters; None is the default of the family (docs/models.md).

    Attributes:
        family: "ensemble" or one family.
        members: Families of an ensemble, such as "conv", or "linear:16" with its own window; None: linear,
            conv and lstm, linear over a short window, and a memory (`trainer.fitting.members`).
        window: Rows of a window; None or "auto": about 256 cells, 16 to 256 rows
            (`trainer.fitting.members.default_window`).
        stride: Rows from one window to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = ENSEMBLE
    members: tuple[str, ...] | None = None
    window: Positive | None = None
    stride: Positive = 1
    latent: Positive | None = None
    activation: str | None = None
    layers: Positive | None = None
    nodes: Positive | None = None
    loss: str | None = None
    patch: Positive | None = None
    kernel: Positive | None = None
    output: str | None = None
    fit: str | None = None
    backbone: str | None = None
    beta: float | None = None
    score: str | None = None
    draws: Positive | None = None

    @field_validator("window", mode="before")
    @classmethod
    def _automatic(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("window")
    @classmethod
    def _several_rows(cls, window: int | None) -> int | None:
        if window == 1:
            raise ValueError("a window of one row shows no course in time; use 2 rows or more")
        return window

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyperparameters that were given, by name.

        >>> ModelOptions(family="conv", latent=4).hyperparameters()
        {'latent': 4}
        """
        return self.model_dump(exclude={"family", "members", "window", "stride"}, exclude_none=True)


class DataOptions(BaseModel):
    """Choose how history becomes rows.

    Attributes:
        time: Column of the times, in tables without a column `timestamp`; None: found in CSV.
        series: Column that names the series, in tables without a column `series`.
        interval_seconds: Seconds between two rows; None: the most common step of the data.
        max_gap: Consecutive missing rows that a window may bridge; None: half a window.
        channels: Columns to use; None: all numeric columns.
        validation_share, calibration_share: Shares of the rows that train no weights.
        valid_range: Possible values [min, max] by channel; other values are masked.
        hold: How long a slow channel keeps its last value, by its name, such as "10min".
        suspicious: What to do with runs of rows unlike the rest of the history: leave them out, use them all
            the same, or refuse to train. Each of them is reported.
        exclude: Stretches [from, to] of time to leave out.
        normal: Stretches [from, to] of time that are never suspicious, and whose far values are real.
        incidents: File of incidents, as `streamgauge backtest --out` writes it; their times are left out.
        accept: Findings of the data report that do not stop the training, such as "looks_like_time".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: str | None = None
    series: str | None = None
    interval_seconds: Annotated[float, Field(gt=0)] | None = None
    max_gap: Annotated[int, Field(ge=0)] | None = None
    channels: tuple[str, ...] | None = None
    validation_share: Share = 0.05
    calibration_share: Share = 0.2
    valid_range: dict[str, tuple[float, float]] = {}
    hold: dict[str, Annotated[Duration, Field(gt=0)]] = {}
    suspicious: Literal["exclude", "keep", "fail"] = "exclude"
    exclude: tuple[tuple[datetime, datetime], ...] = ()
    normal: tuple[tuple[datetime, datetime], ...] = ()
    incidents: str | None = None

    @field_validator("exclude", "normal")
    @classmethod
    def _in_order(
        cls, stretches: tuple[tuple[datetime, datetime], ...]
    ) -> tuple[tuple[datetime, datetime], ...]:
        aware = tuple((_aware(start), _aware(end)) for start, end in stretches)
        for start, end in aware:
            if start > end:
                raise ValueError(f"{start.isoformat()} is after {end.isoformat()}")
        return aware

    accept: tuple[str, ...] = ()

    def holds(self) -> dict[str, int]:
        """Return `hold` in nanoseconds."""
        return {name: round(seconds * 1e9) for name, seconds in self.hold.items()}

    def names(self) -> ColumnNames:
        """Return the names of the columns of times and series."""
        return ColumnNames(self.time, self.series)


class FitOptions(BaseModel):
    """Choose how the weights are trained.

    Attributes:
        max_epochs: Upper limit of epochs.
        patience: Epochs without a gain after which the training stops.
        noise: Standard deviation of the noise added to the training input, in scaled units.
        mask: Share of the cells hidden from the model in training.
        trim: Share of the windows of a batch to ignore: those with the largest loss.
        refit: Train on the calibration rows too, once the threshold is known.
        seed: The same seed, data and options give the same model.
        threads: Processor threads. One is best for small models; more than the free cores are much slower.
        precision: Arithmetic of the gradients; weights, validation and scores are float32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: Positive = 12
    patience: Positive = 6
    batch_size: Positive = 64
    windows_per_epoch: Positive | None = None
    min_steps_per_epoch: Positive = 40
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    mask: Annotated[float, Field(ge=0, lt=1)] = 0.0
    trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    refit: bool = True
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive = 1
    precision: Literal["float32", "bfloat16"] = "float32"


class ScoringOptions(BaseModel):
    """Choose how residuals become scores, and how the threshold is set.

    Attributes:
        alarm_budget: False alarms allowed: "1/week" for each series, "3/day in all" for all together.
        delay: How long a final verdict waits for later windows, in rows, or as a time such as "5min"; at most
            the rows of a window less one.
        whiten: Measure residuals by the covariance of normal ones (`detector.models.whitening`); False: the
            squared residual of every cell counts equally.
        combine: Which error counts where several kinds of evidence say different things: their mean, or the
            worst of them (`detector.scoring.ensemble_error`). None or "auto": the mean for one channel if
            `delay` is a whole window, else the worst.
        adaptive: Let many small alarms of a series raise its page level, so that they keep to the budget.
        batch_size: Windows that the detector scores at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm_budget: str = "1/week"
    delay: Annotated[int, Field(ge=0)] | str = 0
    whiten: bool = True
    combine: Combine | None = None
    adaptive: bool = True
    batch_size: Positive = 256

    @field_validator("combine", mode="before")
    @classmethod
    def _automatic(cls, value: object) -> object:
        return None if value == "auto" else value

    @field_validator("delay")
    @classmethod
    def _known_delay(cls, value: int | str) -> int | str:
        if isinstance(value, str):
            if value.isdecimal():
                return int(value)
            parse_duration(value)
        return value

    def delay_rows(self, interval_ns: int) -> int:
        """Return the delay in rows of this interval in nanoseconds, so that no verdict waits longer.

        Raises:
            TrainerError: The delay is a time that is shorter than a row.
        """
        if isinstance(self.delay, int):
            return self.delay
        seconds = parse_duration(self.delay)
        rows = math.floor(seconds * 1e9 / interval_ns + 1e-9)
        if seconds > 0 and rows == 0:
            raise TrainerError(
                f"scoring.delay {self.delay!r} is shorter than a row of {interval_ns / 1e9:g} s;"
                " give at least that, or 0"
            )
        return rows

    @field_validator("alarm_budget")
    @classmethod
    def _known_budget(cls, text: str) -> str:
        read_budget(text)
        return text


class CalendarOptions(BaseModel):
    """Name the clock that the plant follows, and the days that are not as their weekday.

    Attributes:
        zone: IANA time zone, such as "Europe/Berlin"; days and weeks of the season follow its clock.
        holidays: Dates such as 2026-12-25.
        on_holidays: A holiday is like a Sunday, or nothing is compared with the season on it.
        special: Further dates, each with the weekday that it is like, such as "sat", or "muted".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: str = "UTC"
    holidays: tuple[date, ...] = ()
    on_holidays: Literal["sunday", "muted"] = "sunday"
    special: dict[date, Like] = {}

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        check_calendar(zone, {})
        return zone

    def calendar(self) -> Calendar:
        """Return the calendar as the artifact keeps it.

        >>> CalendarOptions(holidays=("2026-12-25",), special={"2026-12-24": "sat"}).calendar().days
        {'2026-12-25': 6, '2026-12-24': 5}
        """
        return calendar_of(self.zone, self.holidays, self.on_holidays, self.special)


class ModeOptions(BaseModel):
    """Describe a mode of operation of the machines (docs/context.md).

    Attributes:
        name: Name of the mode.
        when: Values [least, greatest] by channel; all must hold. "-inf" and "inf" stand for no bound.
        settle: Time after each change into the mode in which nothing is judged; None: learnt.
        judge: Channels that are judged in the mode, by name or pattern.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    when: Annotated[dict[str, tuple[float | None, float | None]], Field(min_length=1)]
    settle: Duration | None = None
    judge: tuple[str, ...] = ("*",)

    @field_validator("name")
    @classmethod
    def _own_name(cls, name: str) -> str:
        if name == OTHER:
            raise ValueError(f"{OTHER!r} is the mode of rows to which no other mode applies")
        return name

    @field_validator("when")
    @classmethod
    def _bounds(
        cls, when: dict[str, tuple[float | None, float | None]]
    ) -> dict[str, tuple[float | None, float | None]]:
        known = {channel: (_finite(low), _finite(high)) for channel, (low, high) in when.items()}
        for channel, (low, high) in known.items():
            if low is None and high is None:
                raise ValueError(f"{channel} needs a least or a greatest value")
            if low is not None and high is not None and low > high:
                raise ValueError(f"{channel}: {low:g} is above {high:g}")
        return known


class TrainConfig(BaseModel):
    """Hold all options of a training.

    `modes` are the modes of operation; "auto" takes those that the history shows, "off" has none.

    >>> TrainConfig(model=ModelOptions(family="conv"), fit=FitOptions(max_epochs=5)).scoring.alarm_budget
    '1/week'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    model: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    fit: FitOptions = FitOptions()
    scoring: ScoringOptions = ScoringOptions()
    calendar: CalendarOptions = CalendarOptions()
    modes: Literal["off", "auto"] | tuple[ModeOptions, ...] = "off"

    @field_validator("modes")
    @classmethod
    def _different_names(
        cls, modes: Literal["off", "auto"] | tuple[ModeOptions, ...]
    ) -> Literal["off", "auto"] | tuple[ModeOptions, ...]:
        if not isinstance(modes, str) and len({mode.name for mode in modes}) < len(modes):
            raise ValueError("every mode needs a name of its own")
        return modes or "off"

    @model_validator(mode="after")
    def _stride_within_window(self) -> TrainConfig:
        window = self.model.window
        if window is not None and self.model.stride > window:
            raise ValueError(f"model.stride {self.model.stride} must be at most model.window {window}")
        return self


def override(config: TrainConfig, name: str | None, changes: Mapping[str, Mapping[str, Any]]) -> TrainConfig:
    """Return `config` with some values of its sections replaced.

    Args:
        config: The configuration to start from.
        name: New name of the model; None keeps the name.
        changes: New values by section and key; None keeps a value.

    Raises:
        TrainerError: Values are wrong; the message names each of them with its fault.

    >>> override(TrainConfig(), "pump", {"model": {"window": 32, "latent": None}}).model.window
    32
    """
    values = config.model_dump() | ({} if name is None else {"name": name})
    for section, given in changes.items():
        values[section] = {**values[section], **{k: v for k, v in given.items() if v is not None}}
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise TrainerError(
            f"training options: {'; '.join(_problem(one) for one in error.errors())}"
        ) from error


def _finite(bound: float | None) -> float | None:
    """Return a bound; None where it is infinite. Raises ValueError for NaN."""
    if bound is not None and math.isnan(bound):
        raise ValueError("nan is no bound")
    return None if bound is None or math.isinf(bound) else bound


def _aware(time: datetime) -> datetime:
    """Return the time with its zone; without one it is UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _problem(error: Any) -> str:
    """Return one of pydantic's errors as a line."""
    message = str(error["msg"]).removeprefix("Value error, ")
    place = ".".join(str(part) for part in error["loc"])
    if not place or isinstance(error["input"], dict):
        return message
    return f"{place}: {message}, found {error['input']!r}"


def config_of(training: Mapping[str, Any]) -> TrainConfig:
    """Return the options that the record of a training states.

    Raises:
        TrainerError: It states none, or those of another release.
    """
    try:
        return TrainConfig.model_validate(training.get("config"))
    except ValidationError as error:
        raise TrainerError(
            "the model does not state the options of its training as this release reads them; give them with"
            f" --config: {error.error_count()} problems"
        ) from error
