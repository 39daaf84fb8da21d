"""Measure which faults a model finds: the smallest shift of each channel, by bisection over its size.

All channels and kinds of one step of the bisection are series of one engine, so that its batches are full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Detectable, Spec
from detector.selfcheck.faults import (
    LEVEL_ROWS,
    LONG_ROWS,
    Fault,
    Kind,
    inject,
    injected_rows,
    stretch_rows,
)
from detector.selfcheck.scratch import Scratch

NUM_STRETCHES = 4
MARGIN = 3.0
"""A promised fault is so many times larger than the smallest one that was found.

Windows differ, and the threshold follows the stream: a healthy detector must always find it."""
_SMALLEST, _LARGEST = -8.0, 8.0
"""Sizes that are tried, as powers of two of the scale of the channel; their last step is a fifth."""
_STEPS = 6
_MANY_CHANNELS, _MOST_CHANNELS = 32, 128
_LONG_FAULTS: tuple[Kind, ...] = ("drift", "noise")
_LONG_FACTORS = (1.5, 4.5)


@dataclass(frozen=True, slots=True)
class _Calm:
    """A stretch of normal rows, float64 [L, C], with the threshold to exceed and the name of its series."""

    rows: NDArray[np.float64]
    level: float
    series: str


def with_detectability(
    artifact: Artifact, stretches: Sequence[NDArray[np.float64]], series: Sequence[str] = ()
) -> Artifact:
    """Return the artifact with the table of faults that it finds, and the rows that this was measured on.

    Args:
        artifact: A model with its threshold.
        stretches: Normal rows that trained no weights, float64 [L, C] each, missing values as NaN. Those
            shorter than `stretch_rows` are left out. Without any the table is empty.
        series: The series of each stretch; empty where no series has its own scales.
    """
    named = zip(stretches, series or [""] * len(stretches), strict=True)
    spec = artifact.spec
    calm = _calmest(artifact, [one for one in named if len(one[0]) >= stretch_rows(spec)])
    table = _Measured(spec, Scratch(artifact), calm).table() if calm else ()
    sampled = tuple(one.series for one in calm) if spec.own_scales else ()
    return replace(
        artifact,
        spec=replace(spec, detectable=tuple(table), sampled=sampled),
        sample=tuple(one.rows for one in calm),
        version="unsaved",
    )


def measured_again(artifact: Artifact) -> Artifact:
    """Return the artifact with a new table on the rows that it keeps: its threshold has changed."""
    return with_detectability(artifact, artifact.sample, artifact.spec.sampled)


def largest_size(spec: Spec, channel: int) -> float:
    """Return the largest shift that is tried in a channel, in its unit and for its common scale."""
    return float(spec.channels[channel].scale * 2**_LARGEST)


def _calmest(artifact: Artifact, stretches: Sequence[tuple[NDArray[np.float64], str]]) -> list[_Calm]:
    """Return stretches without an alarm, spread over those given, each with its series.

    If too few are without an alarm, the calmest others are added. A fault in them must exceed what they
    reach without it.
    """
    wanted = NUM_STRETCHES if len(artifact.spec.channels) <= _MANY_CHANNELS else NUM_STRETCHES // 2
    peaks = Scratch(artifact).peaks([rows for rows, _ in stretches], [series for _, series in stretches])
    level = np.array([np.inf if peak.flagged else max(1.0, peak.score) for peak in peaks])
    level = np.where(np.isnan(level), 1.0, level)
    usable = np.flatnonzero(np.isfinite(level))
    calm = usable[level[usable] <= 1.0]
    if len(calm) >= wanted:
        chosen = calm[np.linspace(0, len(calm) - 1, wanted).round().astype(int)]
    else:
        chosen = usable[np.argsort(level[usable], kind="stable")][:wanted]
    return [_Calm(stretches[at][0], float(level[at]), stretches[at][1]) for at in np.sort(chosen).tolist()]


@dataclass(frozen=True, slots=True)
class _Measured:
    """Measures one model on a few stretches of normal rows, each with the threshold to exceed."""

    spec: Spec
    scratch: Scratch
    calm: list[_Calm]

    def table(self) -> list[Detectable]:
        """Return one entry for each channel, kind and length."""
        spec, channels = self.spec, self._channels()
        shifts: list[tuple[Kind, int]] = [("spike", 1), ("level", LEVEL_ROWS), ("level", LONG_ROWS)]
        sizes_of_shifts = self._bisect(shifts)
        long = injected_rows(spec, LONG_ROWS)
        lasting: list[tuple[Kind, int]] = [(kind, long) for kind in _LONG_FAULTS]
        sizes_of_lasting = self._multiples(lasting, sizes_of_shifts[-1])
        found = list(zip([*shifts, *lasting], [*sizes_of_shifts, *sizes_of_lasting], strict=True))
        entries = [
            Detectable(spec.channels[channel].name, kind, rows, _known(sizes[at]), _known(MARGIN * sizes[at]))
            for at, channel in enumerate(channels)
            for (kind, rows), sizes in found
        ]
        return [*entries, *self._stuck(channels)]

    def _channels(self) -> list[int]:
        return list(range(min(len(self.spec.channels), _MOST_CHANNELS)))

    def _bisect(self, kinds: list[tuple[Kind, int]]) -> NDArray[np.float64]:
        """Return the smallest size that is found in every stretch, float64 [kinds, C]; NaN: not found.

        Args:
            kinds: Kinds and rows of the faults. All of them are searched together.
        """
        channels = self._channels()
        unit = self.spec.column("scale")[channels]
        low = np.full((len(kinds), len(channels)), _SMALLEST)
        high = np.full(low.shape, _LARGEST)

        def are_found(power: NDArray[np.float64]) -> NDArray[np.bool_]:
            sizes = unit * 2**power
            faults = [
                Fault(kind, channel, rows, size)
                for (kind, rows), sizes_of_kind in zip(kinds, sizes.tolist(), strict=True)
                for channel, size in zip(channels, sizes_of_kind, strict=True)
            ]
            return self._found(faults).reshape(low.shape)

        hopeless = ~are_found(high)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            found = are_found(middle)
            high, low = np.where(found, middle, high), np.where(found, low, middle)
        return np.where(hopeless, np.nan, unit * 2**high)

    def _multiples(self, kinds: list[tuple[Kind, int]], shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the first multiple of each channel's smallest shift that is found, float64 [kinds, C].

        Args:
            kinds: Kinds and rows of the faults.
            shift: The smallest shift of each channel, float64 [C]; NaN: none is found.
        """
        channels = self._channels()
        sizes = np.full((len(kinds), len(shift)), np.nan)
        for factor in _LONG_FACTORS:
            open_cells = np.argwhere(np.isnan(sizes) & np.isfinite(shift)).tolist()
            faults = [
                Fault(kinds[of][0], channels[at], kinds[of][1], factor * shift[at]) for of, at in open_cells
            ]
            for (of, at), is_found in zip(open_cells, self._found(faults).tolist(), strict=True):
                if is_found:
                    sizes[of, at] = factor * shift[at]
        return sizes

    def _stuck(self, channels: list[int]) -> list[Detectable]:
        """Return an entry for each channel in which a stuck sensor can be injected and is found."""
        longest = stretch_rows(self.spec)
        limits = [(channel, self.spec.channels[channel].flatline_rows) for channel in channels]
        possible = [(channel, limit) for channel, limit in limits if 0 < limit <= longest]
        found = self._found([Fault("stuck", channel, limit, 0.0) for channel, limit in possible]).tolist()
        return [
            Detectable(self.spec.channels[channel].name, "stuck", limit, 0.0, 0.0)
            for (channel, limit), is_found in zip(possible, found, strict=True)
            if is_found
        ]

    def _found(self, faults: list[Fault]) -> NDArray[np.bool_]:
        """Return for each fault whether it is found in every stretch, bool [n]; signs alternate."""
        shares = [self.spec.share_of_common(one.series) for one in self.calm]
        copies = []
        for fault in faults:
            for number, one in enumerate(self.calm):
                size = fault.size * float(shares[number][fault.channel]) * (-1) ** number
                copies.append(inject(one.rows, replace(fault, size=size), self.spec))
        peaks = self.scratch.peaks(copies, [one.series for one in self.calm] * len(faults))
        limits = [one.level for one in self.calm] * len(faults)
        exceeded = [peak.exceeds(limit) for peak, limit in zip(peaks, limits, strict=True)]
        of_fault = np.reshape(np.array(exceeded, np.bool_), (len(faults), len(self.calm)))
        found: NDArray[np.bool_] = np.all(of_fault, axis=1)
        return found


def _known(size: float) -> float | None:
    return None if np.isnan(size) else float(size)
