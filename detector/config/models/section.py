"""The sections [model] and [[models]] of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from connectors.formats.places import Path
from connectors.objects.names import without_secrets
from detector.calibration.alarm_budget import read_budget
from detector.config.incident_schema import IncidentsSection
from detector.config.models.labels import check_places, patterns_of
from detector.config.types import Duration, Section

Values = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
]


class ModelSection(Section):
    """The model that scores the stream."""

    path: str = Field(
        description="registry entry such as models/pump, one version of it, or the URI of either"
    )
    reload_every: Duration = Field(
        default=5.0, description="time between two looks for a new version; 0: only on SIGHUP"
    )
    series: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="patterns of the series that this model judges; others are unassigned and only counted",
    )
    least_channels: int = Field(
        default=1,
        ge=1,
        description="channels of the model that a message of a new series must have, else it is unassigned",
    )

    shadow: bool = Field(
        default=False,
        description="the newest candidate judges beside the version in use; its alarms are counted, not sent",
    )

    @property
    def own_series(self) -> tuple[str, ...]:
        """The patterns; none where one of them matches every name."""
        return () if "*" in self.series else self.series


class ModelsSection(ModelSection):
    """One of several models; each judges its own series."""

    name: str | None = Field(
        default=None, min_length=1, description="name in messages, metrics and states; default: the model's"
    )
    labels: dict[str, Values] = Field(
        default_factory=dict,
        description="part of [input] series -> patterns of its value, instead of `series`",
    )
    alarm_budget: str | None = Field(
        default=None, description="alarm budget of this model, such as 1/week; default: the model's own"
    )
    topics: tuple[str, ...] = Field(
        default=(), description="names and patterns of topics of its series, such as plant-*; none: every one"
    )
    incidents: dict[str, Any] = Field(
        default_factory=dict, description="keys of [incidents] that differ for this model"
    )

    @field_validator("alarm_budget")
    @classmethod
    def _is_budget(cls, text: str | None) -> str | None:
        if text is not None:
            read_budget(text)
        return text

    @model_validator(mode="after")
    def _chooses_once(self) -> ModelsSection:
        if self.labels and "series" in self.model_fields_set:
            raise ValueError("`series` and `labels` both choose series; keep one of them")
        return self

    def rules(self, common: IncidentsSection) -> IncidentsSection:
        """Return the section [incidents] of this model.

        Raises:
            ValueError: a key is unknown, or a value is wrong; one line names each.
        """
        try:
            return IncidentsSection.model_validate(common.model_dump() | self.incidents)
        except ValidationError as error:
            found = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
            lines = [f"incidents {name}: {words}" if name else f"incidents: {words}" for name, words in found]
            raise ValueError("; ".join(lines).replace("Value error, ", "")) from None


def check_entries(
    entries: Sequence[ModelsSection],
    common: IncidentsSection,
    places: Sequence[str | Path],
    others: Sequence[Sequence[str | Path]] = (),
) -> None:
    """Check [[models]] as a whole.

    Args:
        entries: its entries.
        common: the section [incidents], which each may change.
        places: where the parts of a series are in a message.
        others: the same of each [[inputs]]. Labels need the same parts everywhere.

    Raises:
        ValueError: two entries have one name or path, or one of them is wrong; the message names it.
    """
    for what, found in (
        ("name", [one.name for one in entries if one.name]),
        ("path", [one.path for one in entries]),
    ):
        if twice := sorted({one for one in found if found.count(one) > 1}):
            raise ValueError(f"[[models]] {what} `{without_secrets(twice[0])}` is used twice")
    for one in entries:
        try:
            one.rules(common)
            patterns_of(one.labels, places)
            check_places(one.labels, places, others)
        except ValueError as error:
            raise ValueError(f"[[models]] {without_secrets(one.path)}: {error}") from None
