"""What a training can be told; every value has a default that works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from detector.threshold import parse_budget
from trainer.errors import TrainerError

Share = Annotated[float, Field(gt=0, lt=0.5)]
Positive = Annotated[int, Field(ge=1)]


class ModelOptions(BaseModel):
    """The model and its hyperparameters; None is the family's own default (docs/models.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "conv"
    window: Positive | None = None
    stride: Positive = 1
    latent: Positive | None = None
    activation: str | None = None
    layers: Positive | None = None
    nodes: Positive | None = None
    loss: str | None = None
    patch: Positive | None = None
    kernel: Positive | None = None

    def hyperparameters(self) -> dict[str, Any]:
        """What was given, by name."""
        names = ("latent", "activation", "layers", "nodes", "loss", "patch", "kernel")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class DataOptions(BaseModel):
    """How history becomes rows. `interval_seconds` None: the most common step of the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval_seconds: Annotated[float, Field(gt=0)] | None = None
    max_gap: Annotated[int, Field(ge=0)] = 5
    channels: tuple[str, ...] | None = None
    validation_share: Share = 0.15
    calibration_share: Share = 0.2
    valid_range: dict[str, tuple[float, float]] = {}


class FitOptions(BaseModel):
    """The training loop. `threads`: processor threads; one is best for small models, and on a busy
    machine more than the free cores are slower by far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: Positive = 60
    patience: Positive = 8
    batch_size: Positive = 128
    windows_per_epoch: Positive = 40_000
    min_steps_per_epoch: Positive = 20
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive = 1


class ScoringOptions(BaseModel):
    """How residuals become scores, and the threshold.

    smooth  rows whose errors are averaged; None: an eighth of the window
    plain   every channel's residual counts as it is, not in units of its held-out residuals
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    alarm_budget: str = "1/week"
    delay: Annotated[int, Field(ge=0)] = 0
    smooth: Positive | None = None
    plain: bool = False
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
    def _delay_within_window(self) -> TrainConfig:
        window = self.model.window
        if window is not None and self.scoring.delay >= window:
            raise ValueError(f"scoring.delay {self.scoring.delay} must be less than model.window {window}")
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
