"""The rows of a stretch as readings, from the store: what the engine reads again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from connectors.records import Readings
from detector.explore.queries.lanes import between
from detector.explore.store.database import Database, name
from detector.explore.store.layout import DAY_NS, HOUR_NS, ExploreError
from detector.explore.whatif.question import Question

MOST_ROWS = 1_000_000
MOST_CELLS = 20_000_000
_BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Stretch:
    """Hold what is replayed.

    begin_ns  first time that is read; before the stretch, to warm up
    end_ns    the end of what is read; after the stretch, so that its last rows are judged as in the stream
    is_whole  whether nothing of the series is before `begin_ns`
    rows      how many rows are read
    judged    rows of the stretch itself, by series
    """

    begin_ns: int
    end_ns: int
    is_whole: bool
    rows: int
    judged: dict[str, int]


def stretch_of(
    database: Database, question: Question, window_rows: int, after_ns: int, num_channels: int
) -> Stretch:
    """Return from where on to read, so that as much as possible comes before the stretch.

    Args:
        database: the store.
        question: the stretch.
        window_rows: rows that a series needs before the stretch.
        after_ns: how much to read after it.
        num_channels: of the model.

    Raises:
        ExploreError: there are no rows, or too many.
    """
    where, values = _of_series(question)
    end_ns = question.to_ns + after_ns
    hours = database.execute(
        f"SELECT epoch_ns(start), sum(num_rows) FROM hours WHERE {between(0, end_ns, 'start')}{where}"
        " GROUP BY start ORDER BY start DESC",
        values,
    )
    most = min(MOST_ROWS, MOST_CELLS // num_channels)
    rows, begin_ns = 0, end_ns
    for hour, num in hours:
        if rows + num > most:
            break
        rows, begin_ns = rows + int(num), hour
    is_whole = bool(hours) and begin_ns <= hours[-1][0]
    inside = f"{between(question.from_ns, question.to_ns)}{where}"
    judged = dict(
        database.execute(f"SELECT series, count(*) FROM verdicts WHERE {inside} GROUP BY series", values)
    )
    if not judged:
        raise ExploreError("there are no rows in this stretch; choose another range")
    if not is_whole and begin_ns > question.from_ns - HOUR_NS:
        raise ExploreError(
            f"the stretch and the rows before it are more than {most:,} rows; choose a shorter range or one"
            " series"
        )
    if not is_whole:
        _check_warm_up(database, question, begin_ns, 2 * window_rows, len(judged))
    return Stretch(begin_ns, end_ns, is_whole, rows, judged)


def _check_warm_up(
    database: Database, question: Question, begin_ns: int, num_rows: int, num_series: int
) -> None:
    """Raise ExploreError if fewer rows of each series than `num_rows` come before the stretch."""
    where, values = _of_series(question)
    before = database.execute(
        f"SELECT count(*) FROM verdicts WHERE {between(begin_ns, question.from_ns)}{where}", values
    )
    warm_up = int(before[0][0])
    if warm_up < num_rows * num_series:
        raise ExploreError(
            f"only {warm_up:,} rows fit before the stretch, and the model needs {num_rows:,} of each"
            " series; choose a shorter range or one series"
        )


def readings_of(
    database: Database, question: Question, stretch: Stretch, channels: Sequence[str]
) -> Iterator[Readings]:
    """Yield the rows in the order of time, as the stream would bring them; a row is one reading.

    Rows without any value are left out: they stood for readings that never came.
    """
    where, values = _of_series(question)
    columns = ", ".join(name(f"actual_{one}") for one in channels)
    for day in range(stretch.begin_ns // DAY_NS, -(-stretch.end_ns // DAY_NS)):
        begin, end = max(stretch.begin_ns, day * DAY_NS), min(stretch.end_ns, (day + 1) * DAY_NS)
        found = database.columns(
            f"SELECT series, epoch_ns(timestamp) AS ns, {columns} FROM verdicts"
            f" WHERE {between(begin, end)}{where} ORDER BY ns, series",
            values,
        )
        numbers = np.stack([found[f"actual_{one}"].astype(np.float64) for one in channels], axis=1)
        known = ~np.isnan(numbers).all(axis=1)
        series, ns, numbers = found["series"][known], found["ns"][known].astype(np.int64), numbers[known]
        for at in range(0, len(ns), _BATCH_ROWS):
            part = slice(at, at + _BATCH_ROWS)
            names, codes = np.unique(series[part].astype(object), return_inverse=True)
            num = len(codes)
            yield Readings(
                tuple(map(str, names)),
                codes.astype(np.int32),
                ns[part],
                numbers[part],
                np.zeros(num, np.int32),
                np.arange(num, dtype=np.int64),
            )


def _of_series(question: Question) -> tuple[str, list[object]]:
    """Return SQL that keeps the series of a question, and its values."""
    return (" AND series = ?", [question.series]) if question.series else ("", [])
