"""The archive of a running group: appends rows, merges files, deletes what is too old or too much."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec.structs import replace as replaced

from detector import logs
from detector.explore.archive.adding import Adding, Files
from detector.explore.archive.manifest import Manifest, Place
from detector.explore.archive.schema import newest
from detector.explore.archive.segments import Segments
from detector.explore.archive.tidying import days_to_drop, mergeable
from detector.explore.storage.storage import SegmentKey, Storage
from detector.explore.store.database import Columns, text
from detector.explore.store.layout import DAY_NS, Description, as_values
from detector.explore.store.tables import date_of, ns_of

_REST_SECONDS = 300.0
"""A day is over so long after its last rows came, once a newer day has begun."""
_MEMORY = "512MB"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive keeps. Whole days are deleted, the oldest first, never the newest.

    keep_ns    the time before the newest row
    max_bytes  the size of the verdicts
    """

    keep_ns: int = 30 * DAY_NS
    max_bytes: int = 10 * 10**9


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read since the last batch, and how far.

    verdicts   columns of `VerdictRows`
    incidents  rows of incidents as they were after each event, in order
    decisions  rows of decisions, in order
    topics     how far each topic is read after this batch
    homes      the newest model of each series of the verdicts
    """

    verdicts: Columns
    incidents: Sequence[tuple[Any, ...]]
    decisions: Sequence[tuple[Any, ...]]
    topics: Mapping[str, Place]
    homes: Mapping[str, str] = field(default_factory=dict)


class Archive:
    """The archive in a storage. Belongs to one thread of the process that owns the storage.

    Promise: after `append` the batch is in the archive, whole and durable. A process that is killed before
    has changed nothing. A row that comes twice is kept once, as it came first.

    Args:
        storage: where it is.
        manifest: what it holds, as the storage has it.
        limits: how much it keeps.
    """

    def __init__(self, storage: Storage, manifest: Manifest, limits: Limits) -> None:
        self._storage, self._limits = storage, limits
        self.manifest = manifest
        self._database = storage.database(_MEMORY)
        self._segments = Segments(storage, self._database)
        self._segments.remove_strangers(manifest)
        self._written: dict[str, float] = {}
        self._newest = self._newest_rows()
        self._homes = self._known_homes()

    def close(self) -> None:
        """Release the files."""
        self._database.close()

    def append(self, batch: Batch) -> None:
        """Add a batch. Raises ExploreError, ObjectsError or OSError, and has then changed nothing."""
        now = self.manifest
        files: Files = {table: dict(days) for table, days in now.segments.items()}
        adding = Adding(self._database, self._segments, files, self._storage.segment_name(now.next))
        about = now.description
        if len(batch.verdicts["ns"]):
            known = self._all("verdicts")
            about = adding.verdicts(batch.verdicts, self._newest, known, about)
        adding.events("incidents", batch.incidents, now.events)
        adding.events("decisions", batch.decisions, now.events + len(batch.incidents))
        num_events = len(batch.incidents) + len(batch.decisions)
        moved = self._moved(batch.homes)
        adding.homes(moved, now.next)
        self._commit(
            replaced(
                now,
                about=as_values(about),
                topics={**now.topics, **batch.topics},
                segments=files,
                next=now.next + 1,
                events=now.events + num_events,
            )
        )
        self._homes |= moved
        for series, ns in zip(batch.verdicts["series"].tolist(), batch.verdicts["ns"].tolist(), strict=True):
            if ns > self._newest.get(series, -1):
                self._newest[series] = ns

    def describe(self, about: Description) -> None:
        """Take the description of another model. Raises OSError."""
        now = self.manifest.description
        counts = {one: getattr(now, one) for one in ("first_ns", "last_ns", "rows", "series")}
        self._commit(replaced(self.manifest, about=as_values(replace(about, **counts))))

    def tidy(self) -> None:
        """Merge small files, delete old days, and files that nobody reads any more. Raises as `append`."""
        self._segments.sweep()
        self._drop()
        for table, days in list(self.manifest.segments.items()):
            for day in list(days):
                self._merge(table, day)

    def _commit(self, manifest: Manifest) -> None:
        self._storage.write(manifest)
        before, self.manifest = self.manifest, manifest
        for table, days in manifest.segments.items():
            for day, segments in days.items():
                if segments != before.segments.get(table, {}).get(day):
                    self._written[f"{table} {day}"] = time.monotonic()

    def _merge(self, table: str, day: str) -> None:
        """Merge files of a day until there is nothing to merge."""
        today = date_of(max(0, self.manifest.description.last_ns - 1) // DAY_NS)
        rested = time.monotonic() - self._written.get(f"{table} {day}", -_REST_SECONDS) >= _REST_SECONDS
        while merged := mergeable(self.manifest.segments[table][day], day < today and rested):
            name = self._storage.segment_name(self.manifest.next)
            made = self._segments.merge(SegmentKey(table, day, name), merged)
            files: Files = {one: dict(days) for one, days in self.manifest.segments.items()}
            files[table][day] = (*(one for one in files[table][day] if one not in merged), made)
            self._commit(replaced(self.manifest, segments=files, next=self.manifest.next + 1))
            self._segments.doom(table, day, merged)

    def _drop(self) -> None:
        """Delete the days that are too old, or too much."""
        days = days_to_drop(self.manifest, self._limits.keep_ns, self._limits.max_bytes)
        if not days:
            return
        dropped = {table: set(days) for table in ("verdicts", "hours", "days")}
        dropped |= {table: self._finished(table, days[-1]) for table in ("incidents", "decisions")}
        before = self.manifest
        files = {
            table: {day: found for day, found in kept.items() if day not in dropped.get(table, ())}
            for table, kept in before.segments.items()
        }
        self._commit(replaced(before, segments=files, dropped=max(days[-1], before.dropped)))
        self._newest = self._newest_rows()
        rows = self._database.execute(f"SELECT sum(num_rows) FROM {self._all('days')}")[0][0]
        about = self.manifest.description
        first = max(about.first_ns, (ns_of(days[-1]) or 0) + DAY_NS)
        about = replace(about, rows=int(rows), series=len(self._newest), first_ns=first)
        self._commit(replaced(self.manifest, about=as_values(about)))
        for table, kept in before.segments.items():
            for day in dropped.get(table, set()) & kept.keys():
                self._segments.doom(table, day, kept[day])
        logs.event(
            "days of the archive deleted",
            logging.WARNING,
            first=days[0],
            last=days[-1],
            remedy="keep more with --keep or --max-size",
            days=len(days),
        )

    def _finished(self, table: str, last: str) -> set[str]:
        """Return the days up to `last` without an open incident."""
        days = {day for day in self.manifest.segments.get(table, {}) if day <= last}
        if table == "incidents" and days:
            now = newest(table, self._all(table))
            rows = self._database.execute(f"SELECT DISTINCT day::VARCHAR FROM ({now}) WHERE state = 'firing'")
            days -= {day for (day,) in rows}
        return days

    def _moved(self, homes: Mapping[str, str]) -> dict[str, str]:
        """Return the series with another model than the archive knows; none where there is one model."""
        if not self.manifest.description.models:
            return {}
        return {series: model for series, model in homes.items() if self._homes.get(series) != model}

    def _known_homes(self) -> dict[str, str]:
        """Return the model of each series."""
        files = self._all("homes")
        query = f"SELECT series, model FROM ({newest('homes', files)})"
        return dict(self._database.execute(query)) if files else {}

    def _newest_rows(self) -> dict[str, int]:
        """Return each series with its newest row, nanoseconds."""
        files = self._all("days")
        query = f"SELECT series, epoch_ns(max(last)) FROM {files} GROUP BY series"
        return dict(self._database.execute(query)) if files else {}

    def _all(self, table: str) -> str:
        """Return SQL that reads all files of a table; "" if there is none."""
        keys = (SegmentKey(table, day, one.name) for day, one in self.manifest.of_table(table))
        listed = ", ".join(text(self._storage.url(one)) for one in keys)
        return f"read_parquet([{listed}], hive_partitioning = true, union_by_name = true)" if listed else ""
