"""Writes what was read as new files of an archive: rows with their summaries, incidents, decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.explore.archive.manifest import Segment
from detector.explore.archive.schema import columns_mark, columns_of
from detector.explore.archive.segments import Segments
from detector.explore.storage.storage import SegmentKey
from detector.explore.store.database import Columns, Database, name
from detector.explore.store.layout import DAY_NS, Description
from detector.explore.store.tables import SPANS, as_time, date_of, number, summary, verdict_columns

Files = dict[str, dict[str, tuple[Segment, ...]]]
"""The files of an archive by table and day."""
RAW, NEW = "raw_rows", "new_rows"
_TIMES = ("start", "opened", "ended", "peak", "since", "until")
_NEVER = -(1 << 62)


class Adding:
    """Adds files to `files` under one name. Nothing else is changed.

    Args:
        database, segments: of the archive.
        files: what the archive holds; it is changed.
        file: the name of the new files.
    """

    def __init__(self, database: Database, segments: Segments, files: Files, file: str) -> None:
        self._database, self._segments = database, segments
        self._files, self._file = files, file

    def verdicts(
        self, columns: Columns, newest: Mapping[str, int], known: str, about: Description
    ) -> Description:
        """Add the rows that the archive lacks, by day; of equal rows the first counts.

        Args:
            columns: the columns of `VerdictRows`.
            newest: the newest row of each series in the archive, nanoseconds.
            known: SQL that reads the rows of the archive; "" if it has none.
            about: the description before.

        Returns:
            The description with the new rows.
        """
        before = np.array([newest.get(one, _NEVER) for one in columns["series"]], np.int64)
        is_old = columns["ns"] <= before
        self._load(columns, is_old)
        self._database.execute(f"CREATE OR REPLACE TABLE {NEW} AS {_unknown(columns['ns'], is_old, known)}")
        days = self._database.execute(
            f"SELECT ns // {DAY_NS} AS day, count(*), min(ns), max(ns) FROM {NEW} GROUP BY 1 ORDER BY 1"
        )
        wanted = ", ".join(_columns(about.channels))
        for day, *_ in days:
            within = f"ns // {DAY_NS} = {day}"
            segment = self._add(
                "verdicts",
                day,
                f"SELECT {wanted} FROM {NEW} WHERE {within} ORDER BY series, ns",
                columns_mark(about.channels),
            )
            rows = self._segments.reading("verdicts", date_of(day), [segment])
            for table, span in SPANS.items():
                self._add(table, day, summary(rows, span))
        if not days:
            return about
        fresh = sum(one not in newest for one in set(columns["series"].tolist()))
        first, last = min(row[2] for row in days), max(row[3] for row in days) + about.interval_ns
        return replace(
            about,
            rows=about.rows + sum(row[1] for row in days),
            series=about.series + fresh,
            first_ns=min(first, about.first_ns) if about.rows else first,
            last_ns=max(last, about.last_ns),
        )

    def events(self, table: str, rows: Sequence[tuple[Any, ...]], first: int) -> None:
        """Add rows of incidents or decisions, numbered from `first`, by the day of their first time."""
        if not rows:
            return
        kinds = {one.strip('"'): kind for one, kind in columns_of(table, ()).items()}
        raw = {one: "BIGINT" if one in _TIMES else kind for one, kind in kinds.items()}
        numbered = zip(*((*row, at) for at, row in enumerate(rows, first)), strict=True)
        self._database.load(
            RAW, {one: np.array(column, object) for one, column in zip(raw, numbered, strict=True)}, raw
        )
        wanted = ", ".join(
            f"{as_time(name(one))} AS {name(one)}" if one in _TIMES else name(one) for one in raw
        )
        day_of = f"coalesce({'start' if table == 'incidents' else 'since'}, 0) // {DAY_NS}"
        for (day,) in self._database.execute(f"SELECT DISTINCT {day_of} FROM {RAW} ORDER BY 1"):
            self._add(table, day, f"SELECT {wanted} FROM {RAW} WHERE {day_of} = {day} ORDER BY number")

    def homes(self, homes: Mapping[str, str], number: int) -> None:
        """Add which model judges each series from now on; the highest `number` of a series counts."""
        if not homes:
            return
        columns = {"series": np.array(list(homes), object), "model": np.array(list(homes.values()), object)}
        self._database.load(RAW, columns, {"series": "VARCHAR", "model": "VARCHAR"})
        self._add("homes", 0, f"SELECT *, {number}::BIGINT AS number FROM {RAW} ORDER BY series")

    def _load(self, columns: Columns, is_old: NDArray[np.bool_]) -> None:
        kinds = {"O": "VARCHAR", "i": "BIGINT", "f": "DOUBLE"}
        types = {one: kinds[column.dtype.kind] for one, column in columns.items()}
        types |= {"paged": "BOOLEAN", "is_old": "BOOLEAN", "place": "BIGINT"}
        self._database.load(RAW, {**columns, "is_old": is_old, "place": np.arange(len(is_old))}, types)

    def _add(self, table: str, day: int, query: str, columns: str = "") -> Segment:
        date = date_of(day)
        made = self._segments.write(SegmentKey(table, date, self._file), query, columns)
        days = self._files.setdefault(table, {})
        days[date] = (*days.get(date, ()), made)
        return made


def _columns(channels: Sequence[str]) -> list[str]:
    """Return SQL for the columns of verdicts. Without its page level the strength of a row is its score."""
    level = number("page_level")
    strength = f"greatest({number('score')} / greatest(coalesce({level}, 1), 1), {number('cumulative')})"
    return verdict_columns(channels, level, strength)


def _unknown(ns: NDArray[np.int64], is_old: NDArray[np.bool_], known: str) -> str:
    """Return the query for raw rows that the archive lacks; of equal ones the first counts."""
    time = as_time("ns")
    once = "QUALIFY row_number() OVER (PARTITION BY series, ns ORDER BY place) = 1"
    raw = f"SELECT *, {time} AS timestamp FROM {RAW}"
    if not is_old.any() or not known:
        return f"{raw} {once}"
    first, last = (date_of(int(one) // DAY_NS) for one in (ns[is_old].min(), ns[is_old].max()))
    there = (
        f"SELECT series, timestamp FROM {known} WHERE day BETWEEN DATE '{first}' AND DATE '{last}'"
        f" AND series IN (SELECT series FROM {RAW} WHERE is_old)"
    )
    return (
        f"WITH there AS ({there}) {raw} WHERE NOT is_old OR NOT EXISTS (SELECT 1 FROM there"
        f" WHERE there.series = {RAW}.series AND there.timestamp = {time}) {once}"
    )
