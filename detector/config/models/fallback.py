"""The section [fallback] of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from connectors.formats.codec import plain_fields
from detector.artifact.cold.cold_start import LEAST_WARMUP, MOST_WARMUP
from detector.config.input.section import InputSection, InputsSection, form_of
from detector.config.models.section import ModelsSection
from detector.config.types import Duration, Section


class FallbackSection(Section):
    """Judges series that no model matches by statistics, from their first rows (docs/plant.md)."""

    enabled: bool = Field(
        default=False, description="series that match no model are judged; else they are only counted"
    )
    interval: Duration = Field(
        default=1.0, gt=0, description="shortest row; a series that sends more rarely gets longer rows"
    )
    warmup_rows: int = Field(
        default=256,
        ge=LEAST_WARMUP,
        le=MOST_WARMUP,
        description="normal rows of a series that show its levels and spreads, before its first verdict",
    )
    ready_rows: int = Field(
        default=2_000, ge=1, description="normal rows of a kind after which it is ready to be trained"
    )
    max_kinds: int = Field(default=32, ge=1, description="different sets of channels; further ones wait")
    max_series: int = Field(default=1_000, ge=1, description="series of all kinds; further ones wait")


def with_models(values: Any) -> Any:
    """Return the values of a configuration; with a [model] without a path where others judge in its place.

    Raises:
        ValueError: there are [model] and [[models]].
    """
    if not isinstance(values, dict):
        return values
    has_models, fallback = bool(values.get("models")), values.get("fallback")
    if has_models and "model" in values:
        raise ValueError("[model] and [[models]] exclude each other; keep one of them")
    enabled = fallback.get("enabled", False) if isinstance(fallback, dict) else False
    if "model" not in values and (has_models or str(enabled).lower() == "true"):
        return {"model": {"path": ""}, **values}
    return values


def check_fallback(
    section: FallbackSection,
    model: str,
    models: Sequence[ModelsSection],
    messages: InputSection,
    others: Sequence[InputsSection],
) -> None:
    """Refuse a fallback beside a model of every series, or with messages whose channels it cannot learn.

    Raises:
        ValueError: with the remedy.
    """
    if not section.enabled:
        return
    if model:
        raise ValueError(
            "[fallback] works beside [[models]] or alone, and not beside [model]: write [[models]] in its"
            " place, with the patterns of its series"
        )
    if all_of := [one.path for one in models if not (one.labels or one.own_series)]:
        raise ValueError(
            f"[fallback] judges series that no model matches, and [[models]] {all_of[0]} matches every name:"
            ' give it `series` of its own, such as series = ["pump-*"]'
        )
    if others or plain_fields(form_of(messages)) is None:
        raise ValueError(
            "[fallback] learns channels from wide JSON with plain fields alone; remove the other keys of"
            " [input] and [[inputs]], or set enabled = false"
        )
    if messages.unknown_channels == "reject":
        raise ValueError(
            '[fallback] [input] unknown_channels: every channel is unknown at first; set "ignore"'
        )
