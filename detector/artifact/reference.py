"""Describe what each channel should be, given the other channels: the frozen reference of a model.

Letters: C channels, F features of a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGE_DEPARTURES = (1.0, 3.0)
"""By so many spreads more than its allowance a departure is large, or very large.

From each of these on it adds up on its own, whatever its sign."""
CROSSED_CHANNELS = 12
"""Up to so many channels, the products of two channels are features as well."""
_LEAST_HISTORY = 1_500
_TABLES = ("tails", "large_tails", "change_knots", "change_factors")
"""Lists of lists that older artifacts do not have."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Hold a ridge regression of each channel on the others, and what its residuals usually are.

    All numbers are in the units of the model; "spread" is the usual size of a channel's residual.

    weights    F + 1 lists of one number for each channel: the constant, then one list for each feature
               (`detector.scoring.lasting.reference`); a channel has weight 0 for its own features
    spread     of the residual of each channel
    baseline   mean residual of each channel
    baselines  series -> its own mean residuals
    allowance  departure of each channel, in spreads, that does not add up
    unknown    what is added to the allowance in a series without an own baseline
    threshold  sum of departures, in spreads, where the evidence is 1; 0: the channel wanders too
               much for it and is left out
    influence  C lists of C numbers: change of the residual of each channel (of the inner list), in its
               spreads, where the channel of the outer list is missing
    lowest, highest   range of each channel in the history
    tails      what the thresholds are calibrated from: six lists of one number for each channel
               (`detector.calibration.cumulative_threshold.SumTail`); none or five in older artifacts
    proof_rows rows in a row with low sums after which a channel counts in a series
    change_usual, change_knots, change_factors   how much larger a residual is while other channels change
               (`detector.scoring.lasting.changes`); none in older artifacts
    large_threshold, large_tails   as `threshold` and `tails`, of the sums of large departures: the numbers of
               all channels for each of `LARGE_DEPARTURES`, one after the other; none in older artifacts
    """

    weights: tuple[tuple[float, ...], ...]
    spread: tuple[float, ...]
    baseline: tuple[float, ...]
    allowance: tuple[float, ...]
    unknown: tuple[float, ...]
    threshold: tuple[float, ...]
    influence: tuple[tuple[float, ...], ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    baselines: dict[str, tuple[float, ...]] = field(default_factory=dict)
    proof_rows: int = 256
    tails: tuple[tuple[float, ...], ...] = ()
    change_usual: tuple[float, ...] = ()
    change_knots: tuple[tuple[float, ...], ...] = ()
    change_factors: tuple[tuple[float, ...], ...] = ()
    large_threshold: tuple[float, ...] = ()
    large_tails: tuple[tuple[float, ...], ...] = ()

    def __repr__(self) -> str:
        return f"Reference({len(self.spread)} channels, {len(self.weights) - 1} features)"


def num_features(num_channels: int) -> int:
    """Return how many features a row has.

    >>> num_features(3), num_features(38)
    (15, 152)
    """
    crossed = num_channels * (num_channels - 1) // 2 if num_channels <= CROSSED_CHANNELS else 0
    return 4 * num_channels + crossed


def reference_from(raw: Mapping[str, Any] | None) -> Reference | None:
    """Return the reference of plain values, or None where an older artifact has none."""
    if raw is None:
        return None
    names = ("weights", "influence", *_TABLES)
    tables = {name: tuple(map(tuple, raw[name])) for name in names if name in raw}
    baselines = {series: tuple(values) for series, values in dict(raw["baselines"]).items()}
    rest: dict[str, Any] = {
        name: tuple(values)
        for name, values in raw.items()
        if name not in (*tables, "baselines", "proof_rows")
    }
    proof_rows = int(raw.get("proof_rows", Reference.__dataclass_fields__["proof_rows"].default))
    return Reference(**rest | tables, baselines=baselines, proof_rows=proof_rows)


def least_history(num_channels: int) -> int:
    """Return how many usable rows the history needs for a reference.

    >>> least_history(3), least_history(100)
    (1500, 1600)
    """
    return max(_LEAST_HISTORY, 4 * num_features(num_channels))


def check_reference(reference: Mapping[str, Any], num_channels: int) -> None:
    """Refuse a reference whose numbers do not fit the channels or are not finite.

    Raises:
        ValueError: A list has another length, or a number is not allowed.
    """
    wide = {
        "weights": num_features(num_channels) + 1,
        "influence": num_channels,
    }
    for name in ("tails", "large_tails"):
        if reference.get(name):
            wide[name] = min(max(len(reference[name]), 5), 6)
    knots = len(reference.get("change_knots", ()))
    wide |= {name: knots for name in ("change_knots", "change_factors") if reference.get("change_usual")}
    for name, height in wide.items():
        if len(reference[name]) != height:
            raise ValueError(f"reference.{name} has {len(reference[name])} lists, needed {height}")
    lists = [(name, one) for name in wide for one in reference[name]]
    long = {"large_threshold": len(LARGE_DEPARTURES), "large_tails": len(LARGE_DEPARTURES)}
    others = {*wide, *_TABLES, "baselines", "proof_rows"}
    others |= {name for name in ("large_threshold", "change_usual") if not reference.get(name)}
    lists += [(name, one) for name, one in reference.items() if name not in others]
    lists += [("baselines", one) for one in reference["baselines"].values()]
    for name, one in lists:
        needed = num_channels * long.get(name, 1)
        if len(one) != needed or not all(math.isfinite(number) for number in one):
            raise ValueError(f"reference.{name} must have {needed} finite numbers, has {one!r:.40}")
    if not 1 <= reference.get("proof_rows", 1) <= 1_000_000:
        raise ValueError("reference.proof_rows must lie between 1 and 1,000,000")
    if not all(number > 0 for number in reference["spread"]):
        raise ValueError("reference.spread must be positive")
