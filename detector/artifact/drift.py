"""Describe the slow level of every channel in the history: what wear departs from.

Letters: C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detector.artifact.sum_limits import SumLimits, check_sum_limits, sum_limits_from

BLOCK_NS = 6 * 3_600 * 10**9
"""A block is a quarter of a day of epoch time."""
QUARTERS = 4
LEAST_BLOCKS = 28
"""Blocks of a series from which its slow level is known: a week."""
LEAST_SHARE = 0.5
"""A block needs so much of the rows that a block usually has."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Hold the means of blocks of a quarter of a day, in the units of the model, without the season.

    usual    by the quarter of the day, what a block of each channel has beyond the mean of its series
    unit     how much the mean of a block wanders, of each channel
    limits   how departures, in these units, add up over blocks
    levels   series -> the mean of each channel over its blocks; None where the series hardly sent it
    share    share of its rows that a block of each channel needs; empty: half of them
    """

    usual: tuple[tuple[float, ...], ...]
    unit: tuple[float, ...]
    limits: SumLimits
    levels: dict[str, tuple[float | None, ...]] = field(default_factory=dict)
    share: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"Drift({len(self.unit)} channels, {len(self.levels)} series)"


def drift_from(raw: Mapping[str, Any] | None) -> Drift | None:
    """Return the drift of plain values, or None where the artifact has none."""
    if raw is None:
        return None
    levels = {series: tuple(values) for series, values in dict(raw["levels"]).items()}
    usual = tuple(map(tuple, raw["usual"]))
    return Drift(usual, tuple(raw["unit"]), sum_limits_from(raw["limits"]), levels, tuple(raw["share"]))


def check_drift(drift: Mapping[str, Any], num_channels: int) -> None:
    """Refuse a drift whose numbers do not fit the channels or are not finite.

    Raises:
        ValueError: A list has another length, or a number is not allowed.
    """
    if len(drift["usual"]) != QUARTERS:
        raise ValueError(f"drift.usual has {len(drift['usual'])} lists, needed {QUARTERS}")
    known = [[number for number in one if number is not None] for one in drift["levels"].values()]
    if not all(len(one) == num_channels for one in drift["levels"].values()):
        raise ValueError(f"drift.levels must have {num_channels} numbers for each series")
    if not all(math.isfinite(number) for one in known for number in one):
        raise ValueError("drift.levels must have finite numbers")
    lists = [*drift["usual"], drift["unit"]]
    for one in lists:
        if len(one) != num_channels or not all(math.isfinite(number) for number in one):
            raise ValueError(f"drift must have lists of {num_channels} finite numbers, has {one!r:.40}")
    if not all(number > 0 for number in drift["unit"]):
        raise ValueError("drift.unit must be positive")
    if len(drift["share"]) not in (0, num_channels) or not all(0 < one <= 1 for one in drift["share"]):
        raise ValueError(f"drift.share must have {num_channels} numbers above 0 and at most 1")
    check_sum_limits(drift["limits"], num_channels, "drift.limits")


def drift_section(drift: Drift | None, names: tuple[str, ...]) -> str:
    """Return the section of the model card on wear, in Markdown."""
    if drift is None:
        words = "No slow drift is watched: no series of the history has 28 blocks of a quarter of a day."
    else:
        watched = [name for name, most in zip(names, drift.limits.threshold, strict=True) if most]
        left = [name for name in names if name not in watched]
        words = f"Slow drift is watched in {len(watched)} channels of {len(drift.levels)} series."
        words += f" Not in {', '.join(left[:10])}." if left else ""
        rare = [
            f"{name} of {series}"
            for series, levels in drift.levels.items()
            for name, level in zip(names, levels, strict=True)
            if level is None and name in watched
        ]
        words += f" Not in {', '.join(rare[:10])}: too few values." if rare else ""
        words += " A series that is not in the history is watched after a week of its own."
    return f"## Wear\n\n{words}\n\n"
