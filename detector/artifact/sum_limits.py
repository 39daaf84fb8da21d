"""Describe how departures of one kind add up: allowances, thresholds, and what they are calibrated from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_LISTS = ("threshold", "allowance", "unknown")


class HasSums(Protocol):
    """What sums of departures need to know; each tuple but the large ones has one number for each channel."""

    @property
    def threshold(self) -> tuple[float, ...]:
        """Sum of departures, in spreads, where the evidence is 1; 0: the channel is left out."""

    @property
    def allowance(self) -> tuple[float, ...]:
        """Departure in spreads that does not add up."""

    @property
    def unknown(self) -> tuple[float, ...]:
        """What is added to the allowance in a series without a baseline of its own."""

    @property
    def tails(self) -> tuple[tuple[float, ...], ...]:
        """Five lists, `detector.calibration.cumulative_threshold.SumTail`; none in older artifacts."""

    @property
    def large_threshold(self) -> tuple[float, ...]:
        """As `threshold`, of the sums of large departures; none where they do not add up on their own.

        The numbers of all channels come for each of `detector.artifact.reference.LARGE_DEPARTURES`.
        """

    @property
    def proof_rows(self) -> int:
        """Rows in a row with low sums after which a channel counts in a series."""


@dataclass(frozen=True, slots=True)
class SumLimits:
    """Hold the limits of the sums of one kind of evidence; see `HasSums`."""

    threshold: tuple[float, ...]
    allowance: tuple[float, ...]
    unknown: tuple[float, ...]
    tails: tuple[tuple[float, ...], ...]
    proof_rows: int = 256
    large_threshold: tuple[float, ...] = ()


def sum_limits_from(raw: Mapping[str, Any]) -> SumLimits:
    """Return the limits of plain values. Raises KeyError or TypeError where one is missing or wrong."""
    lists = {name: tuple(raw[name]) for name in _LISTS}
    return SumLimits(**lists, tails=tuple(map(tuple, raw["tails"])), proof_rows=int(raw["proof_rows"]))


def check_sum_limits(limits: Mapping[str, Any], num_channels: int, place: str) -> None:
    """Refuse limits whose numbers do not fit the channels or are not finite and at least 0.

    Args:
        limits: A `SumLimits` as plain values.
        num_channels: How many numbers each list has.
        place: Where the limits stand, for the message.

    Raises:
        ValueError: A list has another length, or a number is not allowed.
    """
    if len(limits["tails"]) not in (5, 6):
        raise ValueError(f"{place}.tails has {len(limits['tails'])} lists, needed 6")
    lists = [*((name, limits[name]) for name in _LISTS), *(("tails", one) for one in limits["tails"])]
    for name, one in lists:
        if len(one) != num_channels or not all(math.isfinite(number) and number >= 0 for number in one):
            raise ValueError(
                f"{place}.{name} must have {num_channels} numbers of at least 0, has {one!r:.40}"
            )
    if not 1 <= limits["proof_rows"] <= 1_000_000:
        raise ValueError(f"{place}.proof_rows must lie between 1 and 1,000,000")
