"""The sections [model] and [[models]] of the configuration."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from detector.config.incident_schema import IncidentsSection
from detector.config.types import Duration, Section


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
    topics: tuple[str, ...] = Field(
        default=(), description="names and patterns of topics of its series, such as plant-*; none: every one"
    )
    incidents: dict[str, Any] = Field(
        default_factory=dict, description="keys of [incidents] that differ for this model"
    )

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
