"""Findings about channels and series: ranges, sentinels, constants, counters, intervals, gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import starts_of
from trainer.data.impossible_cells import code_of
from trainer.data.series_scales import are_unlike, robust_statistics
from trainer.report.findings import Finding, listed
from trainer.report.profile import Profile

_FAR = 30.0
_FARTHER = 100.0
_HUGE = 1e30
_RISING_STEPS = 50
_MIXED = 1.5
_IRREGULAR = 0.3
_LONG_GAP = 10
_FEW_ROWS = 16
_MUCH_MISSING = 0.05
_BLOCKS = 8
_BLOCK_VALUES = 8
_OTHER_UNIT = 10.0


@dataclass(frozen=True, slots=True)
class FarValue:
    """A value far from the others of a channel, and how many rows have it."""

    value: float
    count: int


def far_values(
    values: NDArray[np.float64], counts: NDArray[np.int64], quartiles: NDArray[np.float64]
) -> list[FarValue]:
    """Return the values that lie far from the middle half of a channel.

    A repeated value is far at 30 interquartile ranges, a single one at 100. If all values here are far, they
    are the tail of the channel. In a tail, and where the middle half is constant, only the usual codes for
    missing values count, such as -9999.

    Args:
        values: float64 [k], the extreme values of one side, NaN where there are fewer.
        counts: int64 [k], how many rows have them.
        quartiles: float64 [3]: lower quartile, median, upper quartile.
    """
    lower, median, upper = quartiles
    with np.errstate(over="ignore"):
        spread, distance = upper - lower, np.abs(values - median)
    is_code = (code_of(values) >= 0) | (np.abs(values) >= _HUGE)
    limit = np.where((counts > 1) | is_code, _FAR, _FARTHER)
    far = (distance > limit * spread) if spread > 0 else is_code & (distance > abs(median))
    far &= counts > 0
    if far.sum() == len(values):
        far &= is_code
    return [FarValue(float(values[at]), int(counts[at])) for at in np.flatnonzero(far)]


def channel_findings(profile: Profile) -> Iterator[Finding]:
    """Yield what the values of the channels show."""
    yield from _far(profile)
    yield from _by_channel(profile)
    yield from _unlike(profile)
    yield from _unit_changes(profile)


def series_findings(profile: Profile) -> Iterator[Finding]:
    """Yield what the times of the series show."""
    interval, series = profile.interval_ns, profile.series
    known = np.flatnonzero(~np.isnan(interval))
    if len(known) and interval[known].max() > _MIXED * interval[known].min():
        slow, fast = (known[at(interval[known])] for at in (np.argmax, np.argmin))
        yield Finding(
            "mixed_rates",
            f"{series[slow]!r} has a row every {interval[slow] / 1e9:g} s,"
            f" {series[fast]!r} every {interval[fast] / 1e9:g} s",
        )
    odd = [series[at] for at in known if profile.irregular[at] > _IRREGULAR]
    if odd:
        yield Finding("irregular_interval", f"the steps of {listed(odd)} vary, or change for a long time")
    rows = profile.tally.rows[profile.order]
    short = [series[at] for at in np.flatnonzero(rows < _FEW_ROWS)]
    if short:
        yield Finding("short_series", f"fewer than {_FEW_ROWS} rows in {listed(short)}")
    longest = profile.tally.longest_step[profile.order] / interval
    gaps = np.flatnonzero((longest > _LONG_GAP) | (profile.missing_share() > _MUCH_MISSING))
    if len(gaps):
        worst = gaps[np.argmax(longest[gaps])]
        yield Finding(
            "gaps",
            f"rows are missing in {listed([series[at] for at in gaps])};"
            f" the longest gap is {longest[worst]:,.0f} intervals in {series[worst]!r}",
        )


def _far(profile: Profile) -> Iterator[Finding]:
    tally = profile.tally
    found: dict[str, list[str]] = {"sentinel": [], "far_value": []}
    for place, number in enumerate(profile.order.tolist()):
        for at, name in enumerate(profile.table.channels):
            quartiles = profile.quantiles[place, at, 1:4]
            low, high = (side.values[number, at] for side in (tally.lowest, tally.highest))
            num_low, num_high = (side.counts[number, at] for side in (tally.lowest, tally.highest))
            for far in far_values(low, num_low, quartiles) + far_values(-high, num_high, quartiles):
                kind = "sentinel" if far.count > 1 else "far_value"
                rows = "1 row" if far.count == 1 else f"{far.count:,} rows"
                found[kind].append(f"{name} = {far.value:g} in {rows} of {profile.series[place]}")
    for kind, places in found.items():
        if places:
            yield Finding(kind, f"far from all other values: {listed(places)}")


def channels_by_kind(profile: Profile) -> dict[str, list[str]]:
    """Return the channels without values, of one value, that only rise, and with infinite values."""
    tally, order, channels = profile.tally, profile.order, profile.table.channels
    known = tally.known[order].sum(axis=0)
    rises, falls = tally.rises[order].sum(axis=0), tally.falls[order].sum(axis=0)
    constant = ((rises + falls) == 0) & (known > 1)
    counter = (rises >= _RISING_STEPS) & (falls <= 0.01 * rises) & (rises + falls >= 0.3 * known)
    kinds = {
        "no_values": known == 0,
        "constant": constant,
        "counter": counter,
        "infinite": tally.infinite > 0,
    }
    return {kind: [channels[at] for at in np.flatnonzero(which)] for kind, which in kinds.items()}


def _by_channel(profile: Profile) -> Iterator[Finding]:
    words = {
        "no_values": "no value in",
        "constant": "one value only in",
        "counter": "values only rise in",
        "infinite": f"{int(profile.tally.infinite.sum()):,} infinite values in",
    }
    for kind, found in channels_by_kind(profile).items():
        if found:
            yield Finding(kind, f"{words[kind]} {listed(found)}")
    if profile.table.partial:
        lacking = [f"{name} in {num} files" for name, num in profile.table.partial.items()]
        yield Finding("partial_channel", f"of {profile.table.num_files} files some lack {listed(lacking)}")


def _unlike(profile: Profile) -> Iterator[Finding]:
    """Find channels whose series are too unlike for a common scale, as training does."""
    rows = profile.rows
    starts = starts_of(rows.number)
    parts = np.split(rows.values, starts[1:])
    if len(parts) < 2:
        return
    statistics = [robust_statistics(values, rare_share=0.0) for values in parts]
    center, spread = (np.stack([one[at] for one in statistics]) for at in (0, 1))
    names = [profile.tally.names[number] for number in rows.number[starts].tolist()]
    found = []
    for at in np.flatnonzero(are_unlike(center, spread)).tolist():
        varies = np.flatnonzero(spread[:, at] > 0)
        about = f"centres from {np.nanmin(center[:, at]):.4g} to {np.nanmax(center[:, at]):.4g}"
        if len(varies):
            least, most = (int(varies[pick(spread[varies, at])]) for pick in (np.argmin, np.argmax))
            about += (
                f", scales from {spread[least, at]:.4g} ({names[least]}) to {spread[most, at]:.4g}"
                f" ({names[most]})"
            )
        found.append(f"{profile.table.channels[at]}: {about}")
    if found:
        yield Finding("unlike_series", f"one scale does not fit all series: {listed(found)}")


def _unit_changes(profile: Profile) -> Iterator[Finding]:
    """Find channels of a series whose values become many times larger or smaller for good."""
    rows = profile.rows
    bounds = [*starts_of(rows.number).tolist(), len(rows)]
    found = []
    for start, stop in pairwise(bounds):
        series = profile.tally.names[int(rows.number[start])]
        for at, name in enumerate(profile.table.channels):
            known = np.flatnonzero(~np.isnan(rows.values[start:stop, at])) + start
            change = unit_change(rows.values[known, at])
            if change is not None:
                place, factor = change
                when = np.datetime64(int(rows.time[known[place]]), "ns").astype("datetime64[s]")
                found.append(f"{name} of {series}: {factor:.3g} times as large from about {when} on")
    if found:
        yield Finding("unit_change", f"level and spread change as by another unit: {listed(found)}")


def unit_change(values: NDArray[np.float64]) -> tuple[int, float] | None:
    """Return where level and spread change by a large factor for good, and the factor; None if nowhere.

    Eight blocks of the values are compared. The largest level and spread on one side of the change must be
    ten times below the smallest of the other side. In a cycle some block would lie between.

    Args:
        values: Values of one channel of one series in order of time, float64 [n], without NaN.
    """
    if len(values) < _BLOCKS * _BLOCK_VALUES:
        return None
    blocks = np.array_split(values, _BLOCKS)
    level = np.array([np.median(np.abs(block)) for block in blocks])
    spread = np.array([np.subtract(*np.quantile(block, (0.75, 0.25))) for block in blocks])
    if min(level.min(), spread.min()) <= 0:
        return None
    for cut in range(1, _BLOCKS - 1):
        # The block with the change has values of both kinds.
        parts = [(one[:cut], one[cut + 1 :]) for one in (level, spread)]
        if all(after.min() >= _OTHER_UNIT * before.max() for before, after in parts) or all(
            before.min() >= _OTHER_UNIT * after.max() for before, after in parts
        ):
            factor = float(np.median(level[cut + 1 :]) / np.median(level[:cut]))
            return len(values) * cut // _BLOCKS, factor
    return None
