"""What a training can be told; every value has a default that works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from detector.calibration.alarm_budget import parse_budget
from trainer.errors import TrainerError

Share = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[int, Field(ge=1)]


class ModelOptions(BaseModel):
    """The model and its hyperparameters; None is the family's own default (docs/models.md).

    window   None or "auto": about 256 cells, 16 to 256 rows (`trainer.fitting.members.default_window`)
    members  of an ensemble: families, each with its window where it is not the common one, as "conv" or
             "linear:16"; None: linear, conv and lstm, and linear over a short window
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "ensemble"
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

    def hyperparameters(self) -> dict[str, Any]:
        """What was given, by name."""
        return self.model_dump(exclude={"family", "members", "window", "stride"}, exclude_none=True)


class DataOptions(BaseModel):
    """How history becomes rows.

    interval_seconds  None: the most common step of the data
    max_gap           missing rows that a window may bridge; None: half a window
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_seconds: Annotated[float, Field(gt=0)] | None = None
    max_gap: Annotated[int, Field(ge=0)] | None = None
    channels: tuple[str, ...] | None = None
    validation_share: Share = 0.05
    calibration_share: Share = 0.2
    valid_range: dict[str, tuple[float, float]] = {}


class FitOptions(BaseModel):
    """The training loop.

    noise    standard deviation, in scaled units, of the noise added to what the model sees in training
    mask     share of the cells that the model sees as missing in training
    trim     share of the windows of a batch, those it reconstructs worst, that teach it nothing
    refit    once the threshold is learnt, let the model learn from the calibration rows too
    threads  processor threads; one is best for small models, and on a busy machine more than the free
             cores are slower by far
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


class ScoringOptions(BaseModel):
    """How residuals become scores, and the threshold.

    delay     rows that a final verdict may wait for later windows; more than the window's is cut to it
    whiten    residuals are measured by the covariance of normal ones (`detector.models.whitening`); False: every
              cell's squared residual counts alike
    adaptive  the threshold follows the stream, so that alarms keep to the budget; False: it stays
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm_budget: str = "1/week"
    delay: Annotated[int, Field(ge=0)] = 0
    whiten: bool = True
    adaptive: bool = True
    batch_size: Positive = 256

    @field_validator("alarm_budget")
    @classmethod
    def _known_budget(cls, text: str) -> str:
        parse_budget(text)
        return text


class TrainConfig(BaseModel):
    """Everything a training can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = None
    model: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    fit: FitOptions = FitOptions()
    scoring: ScoringOptions = ScoringOptions()

    @model_validator(mode="after")
    def _stride_within_window(self) -> TrainConfig:
        window = self.model.window
        if window is not None and self.model.stride > window:
            raise ValueError(f"model.stride {self.model.stride} must be at most model.window {window}")
        return self


def override(config: TrainConfig, name: str | None, changes: Mapping[str, Mapping[str, Any]]) -> TrainConfig:
    """`config` with some values of its sections replaced; None replaces nothing.

    Raises TrainerError that names each wrong value and what is wrong with it.
    """
    values = config.model_dump()
    if name is not None:
        values["name"] = name
    for section, given in changes.items():
        values[section] = {**values[section], **{k: v for k, v in given.items() if v is not None}}
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise TrainerError(
            f"training options: {'; '.join(_problem(one) for one in error.errors())}"
        ) from error


def _problem(error: Any) -> str:
    """One of pydantic's errors in a line."""
    message = str(error["msg"]).removeprefix("Value error, ")
    place = ".".join(str(part) for part in error["loc"])
    if not place or isinstance(error["input"], dict):
        return message
    return f"{place}: {message}, found {error['input']!r}"
