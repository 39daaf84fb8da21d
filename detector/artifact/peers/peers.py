"""Describe how far the series of a kind usually are from each other.

Letters: C channels. A *feature* is the level of a channel, or its residual: 2 C of them, levels first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEAST_OTHERS = 3
"""A series is compared with at least so many others, so a crowd has four."""
LEAST_BLOCKS = 28
"""Blocks of the history from which the usual distances are known."""
RUN = 3
"""So many blocks in sequence must be beyond the limit."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Hold what the blocks of the history show of each series beside the others, in the units of the model.

    The mean of a block of a channel is its level. Its residual is the level, less what the levels of the
    other channels say it should be.

    block_ns  length of a block of epoch time in nanoseconds
    share     share of its rows that a block of each channel needs
    weights   C lists of C numbers: what each channel (of the outer list) gives to each residual
    limits    distance of each feature, in units, that is beyond the usual; 0: the feature is not compared
    levels    series -> its median of each feature
    units     series -> how much each feature usually differs from the others
    """

    block_ns: int
    share: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    limits: tuple[float, ...]
    levels: dict[str, tuple[float, ...]] = field(default_factory=dict)
    units: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Peers({len(self.levels)} series, blocks of {self.block_ns / 1e9:.12g} s)"


def peers_from(raw: Mapping[str, Any] | None) -> Peers | None:
    """Return the peers of plain values, or None where the artifact has none."""
    if raw is None:
        return None
    levels, units = (
        {series: tuple(values) for series, values in dict(raw[name]).items()} for name in ("levels", "units")
    )
    weights = tuple(map(tuple, raw["weights"]))
    return Peers(raw["block_ns"], tuple(raw["share"]), weights, tuple(raw["limits"]), levels, units)


def check_peers(peers: Mapping[str, Any], num_channels: int) -> None:
    """Refuse peers whose numbers do not fit the channels or are not finite.

    Raises:
        ValueError: A list has another length, or a number is not allowed.
    """
    if not 0 < peers["block_ns"] <= 10**18:
        raise ValueError(f"peers.block_ns is {peers['block_ns']!r:.40}; it must be 1 to 1e18")
    if set(peers["levels"]) != set(peers["units"]):
        raise ValueError("peers.levels and peers.units must have the same series")
    if len(peers["weights"]) != num_channels:
        raise ValueError(f"peers.weights has {len(peers['weights'])} lists, needed {num_channels}")
    lists = [(one, num_channels) for one in (peers["share"], *peers["weights"])]
    by_series = (*peers["levels"].values(), *peers["units"].values())
    lists += [(one, 2 * num_channels) for one in (peers["limits"], *by_series)]
    for one, length in lists:
        if len(one) != length or not all(math.isfinite(number) for number in one):
            raise ValueError(f"peers must have lists of {length} finite numbers, has {one!r:.40}")
    if not all(number > 0 for one in peers["units"].values() for number in one):
        raise ValueError("peers.units must be positive")
    if not all(0 < one <= 1 for one in peers["share"]) or min(peers["limits"]) < 0:
        raise ValueError("peers.share must be above 0 and at most 1, and peers.limits not below 0")


def peers_section(peers: Peers | None, names: tuple[str, ...], num_series: int | None) -> str:
    """Return the section of the model card on peers, in Markdown; empty where there is one series."""
    if (num_series or 1) == 1:
        return ""
    if peers is None:
        words = (
            f"Series are not compared with each other: that needs {LEAST_OTHERS + 1} series with"
            f" {LEAST_BLOCKS} blocks at the same time."
        )
    else:
        used = [max(peers.limits[at], peers.limits[at + len(names)]) > 0 for at in range(len(names))]
        left = [name for name, is_used in zip(names, used, strict=True) if not is_used]
        words = (
            f"{len(peers.levels)} series are compared with each other, in blocks of"
            f" {peers.block_ns / 3.6e12:.3g} h. {RUN} blocks beyond the usual distance are evidence."
        )
        words += f" Not in {', '.join(left[:10])}." if left else ""
    return f"## Peers\n\n{words}\n\n"
