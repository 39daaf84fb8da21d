"""The history as figures: everything that the report knows, from one pass over the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.rows.series_arrays import starts_of
from trainer.errors import TooLittleDataError
from trainer.progress import ProgressReport, quiet
from trainer.report.sample import Rows, Sample
from trainer.report.tables import Table
from trainer.report.tally import Tally

_Floats = NDArray[np.float64]
_COMMON = 20
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True, slots=True)
class Profile:
    """Hold the figures of S series and C channels.

    Attributes:
        table: What was read.
        series: Names of the series, sorted.
        tally: Exact counts; the series there have the numbers `order`.
        order: int64 [S], the number of each series in `tally` and `rows`.
        rows: A sample of the rows, sorted by series and time; `share` of all.
        quantiles: float64 [S, C, 5], the `QUANTILES` of the values, NaN without values.
        interval_ns: float64 [S], the median step, NaN without two times.
        irregular: float64 [S], the share of steps that are no multiple of the interval, or the share of the
            time that another common step takes: whichever is more.
        phase_ns: float64 [S], the most common rest of the times divided by the interval.
    """

    table: Table
    series: tuple[str, ...]
    tally: Tally
    order: NDArray[np.int64]
    rows: Rows
    share: float
    quantiles: _Floats
    interval_ns: _Floats
    irregular: _Floats
    phase_ns: _Floats

    @property
    def days(self) -> float:
        """Return the days that the longest series covers."""
        tally, order = self.tally, self.order
        return float((tally.last[order] - tally.first[order]).max()) / 86_400e9

    def missing_share(self) -> _Floats:
        """Return the share of the rows that gaps lack, float64 [S], NaN without an interval."""
        tally, order = self.tally, self.order
        expected = (tally.last[order] - tally.first[order]) / self.interval_ns + 1
        return np.maximum(1 - tally.rows[order] / expected, 0)


def profile_of(table: Table, report: ProgressReport = quiet) -> Profile:
    """Read all rows of a table once. Memory is bounded by the series and the sample.

    Raises:
        ParquetError: A file is damaged, or a time cannot be used.
        TooLittleDataError: There are no rows.
    """
    tally, sample, done = Tally(len(table.channels)), Sample(), 0
    for chunk, codes in table.pieces():
        numbers = tally.numbers_of(chunk)
        tally.add_order(numbers, chunk.timestamp_ns)
        order = np.lexsort((chunk.timestamp_ns, numbers))
        times, values = chunk.timestamp_ns[order], chunk.values[order]
        steps = tally.add(numbers[order], times, values)
        if chunk.infinite is not None:
            tally.infinite += chunk.infinite
        side = [codes[name][order] for name in table.text_columns]
        matrix = np.column_stack(side) if side else np.zeros((len(order), 0), np.int64)
        sample.add(Rows(numbers[order], times, steps, values, matrix))
        done += len(order)
        report(done / max(table.num_rows, 1), f"{done:,} rows checked")
    if not done:
        raise TooLittleDataError("the history has no rows")
    return _profile(table, tally, sample)


def _profile(table: Table, tally: Tally, sample: Sample) -> Profile:
    rows = sample.rows()
    names = tally.names
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    starts = starts_of(rows.number)
    stops = np.append(starts[1:], len(rows))
    num_series, num_channels = len(names), len(table.channels)
    quantiles = np.full((num_series, num_channels, len(QUANTILES)), np.nan)
    interval, irregular, phase = (np.full(num_series, np.nan) for _ in range(3))
    place = np.empty(num_series, np.int64)
    place[order] = np.arange(num_series)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        at = place[rows.number[start]]
        for channel in range(num_channels):
            known = rows.values[start:stop, channel]
            known = known[~np.isnan(known)]
            if len(known):
                quantiles[at, channel] = np.quantile(known, QUANTILES, method="nearest")
        figures = _of_steps(rows.step[start:stop], rows.time[start:stop])
        interval[at], irregular[at], phase[at] = figures
    series = tuple(names[number] for number in order)
    return Profile(table, series, tally, order, rows, sample.share, quantiles, interval, irregular, phase)


def _of_steps(step: _Floats, time: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return the median step, the share of steps that do not fit it, and the phase of the times."""
    step = step[step > 0]
    if len(step) == 0:
        return np.nan, np.nan, np.nan
    interval = float(np.quantile(step, 0.5, method="nearest"))
    quarters, counts = np.unique(np.rint(4 * step / interval), return_counts=True)
    off = counts[~np.isin(quarters % 4, (0, 1, 3)) | (quarters < 3)].sum() / len(step)
    others = (quarters > 5) & (counts >= _COMMON)
    slower = (quarters * counts)[others].max(initial=0) / max((quarters * counts).sum(), 1)
    rest, counts = np.unique(time % int(interval), return_counts=True)
    return interval, float(max(off, slower)), float(rest[counts.argmax()])
