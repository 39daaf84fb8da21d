"""Describe which series a model knows, and how many rows show the scales of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST_WARMUP, MOST_WARMUP = 64, 1_000_000
"""Rows from which the scales of a series may be learnt."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Hold what an engine needs to begin with a series that the history did not have.

    series  the series of the history
    warmup  rows of a series of the history that show its centres and scales
    """

    series: tuple[str, ...]
    warmup: int

    def __repr__(self) -> str:
        return f"ColdStart({len(self.series)} series, warmup={self.warmup})"


def cold_from(raw: Mapping[str, Any] | None) -> ColdStart | None:
    """Return the cold start of plain values, or None where an older artifact has none."""
    return None if raw is None else ColdStart(tuple(raw["series"]), int(raw["warmup"]))


def cold_section(cold: ColdStart | None, interval_seconds: float) -> str:
    """Return the section of the model card on series that the history did not have, in Markdown."""
    if cold is None:
        return ""
    hours = cold.warmup * interval_seconds / 3600
    return (
        "## New series\n\nWith `[cold] enabled = true`, a series that the history lacks is judged after"
        f" {cold.warmup} rows ({hours:.3g} h), and at most 95 more. Until then it learns its own centres"
        " and scales.\n\n"
    )


def check_cold(cold: Mapping[str, Any], num_channels: int) -> None:
    """Refuse a cold start without series, or with a number of rows that nothing can be learnt from.

    Raises:
        ValueError: A value is not allowed.
    """
    if not cold["series"]:
        raise ValueError("cold.series must name the series of the history")
    if not LEAST_WARMUP <= cold["warmup"] <= MOST_WARMUP:
        raise ValueError(
            f"cold.warmup is {cold['warmup']!r:.40}; it must be {LEAST_WARMUP} to {MOST_WARMUP:,} rows"
        )
