"""Make a store of the directory that a backtest wrote.

The live source will append segments of the same columns; queries read any number of segments a day.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detector.explore.store.database import Database, name, text
from detector.explore.store.layout import (
    DAY_NS,
    Description,
    ExploreError,
    description_of,
    is_archive,
    read_manifest,
    write_manifest,
)
from detector.explore.store.tables import (
    GROUP_ROWS,
    SPANS,
    as_time,
    date_of,
    ns_of,
    number,
    summary,
    verdict_columns,
)
from detector.offline.backtest_record import RECORD

_SCORES, _INCIDENTS = "scores.parquet", "incidents.json"


def store_of(source: Path, store: Path) -> Description:
    """Return the description of the store of a backtest. It is made first if it is missing or older.

    Promise: the store is whole, or is not there.

    Args:
        source: the directory that `streamgauge backtest --out` wrote.
        store: the directory of the store.

    Raises:
        ExploreError: the source is no backtest, or the store cannot be written.
    """
    stamps = _stamps(source)
    if is_archive(store):
        raise ExploreError(f"{store}: holds the archive of a running group; name another place with --store")
    found = read_manifest(store)
    if found is not None and found[1] == stamps:
        return found[0]
    if store.exists() and any(store.iterdir()) and not (store / "verdicts").is_dir():
        raise ExploreError(f"{store}: holds other files; name another place with --store")
    scratch = store.with_name(f".{store.name}.part")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        description = _build(source, scratch)
        write_manifest(scratch, description, stamps)
        shutil.rmtree(store, ignore_errors=True)
        scratch.replace(store)
    except OSError as error:
        raise ExploreError(
            f"{store}: the store cannot be written: {error.strerror}; name another place with --store"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return description


def _stamps(source: Path) -> dict[str, list[int]]:
    """Return size and time of each file of the backtest. Raises ExploreError if one is missing."""
    found = {}
    for file in (_SCORES, _INCIDENTS, RECORD):
        try:
            stat = (source / file).stat()
        except OSError as error:
            raise ExploreError(
                f"{source / file}: {error.strerror}; open a directory that"
                f" `streamgauge backtest MODEL DATA --out {source}` of this release wrote"
            ) from error
        found[file] = [stat.st_size, stat.st_mtime_ns]
    return found


def _build(source: Path, scratch: Path) -> Description:
    description = description_of(_json(source / RECORD))
    database = Database([scratch, source])
    try:
        database.execute(
            f"CREATE VIEW scores AS SELECT *, epoch_ns(timestamp) AS ns"
            f" FROM read_parquet({text(str((source / _SCORES).resolve()))})"
        )
        builder = _Builder(database, scratch, description)
        builder.verdicts()
        builder.incidents(_json(source / _INCIDENTS).get("incidents", []))
        builder.decisions(_json(source / RECORD).get("decisions", []))
        return builder.described()
    finally:
        database.close()


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise ExploreError(f"{path}: is not JSON: {error}; run the backtest again") from error
    return found


@dataclass(frozen=True, slots=True)
class _Builder:
    database: Database
    store: Path
    description: Description

    def described(self) -> Description:
        rows, series, first, last = self.database.execute(
            "SELECT count(*), count(DISTINCT series), min(ns), max(ns) FROM scores"
        )[0]
        last += self.description.interval_ns
        return replace(self.description, rows=rows, series=series, first_ns=first, last_ns=last)

    def verdicts(self) -> None:
        """Write the verdicts of each day, and both summaries of them."""
        days = self.database.execute(f"SELECT DISTINCT ns // {DAY_NS} FROM scores ORDER BY 1")
        if not days:
            raise ExploreError("the backtest scored no row: there is nothing to show")
        for (day,) in days:
            within = f"ns >= {day * DAY_NS} AND ns < {(day + 1) * DAY_NS}"
            columns = ", ".join(self._columns())
            query = f"SELECT {columns} FROM scores WHERE {within} ORDER BY series, ns"
            segment = self._write("verdicts", day, query)
            for table, span in SPANS.items():
                self._write(table, day, summary(segment, span))

    def incidents(self, incidents: list[dict[str, Any]]) -> None:
        """Write the incidents; times that are open are NULL."""
        self.database.execute(
            "CREATE TABLE incident (day BIGINT, id VARCHAR, series VARCHAR, state VARCHAR,"
            " reason VARCHAR, severity VARCHAR, start BIGINT, opened BIGINT, ended BIGINT, peak BIGINT,"
            " peak_score DOUBLE, channel VARCHAR, body VARCHAR)"
        )
        rows = []
        for one in incidents:
            start, opened, ended, peak = (ns_of(one[key]) for key in ("start", "opened", "end", "peak"))
            plain = (one[key] for key in ("id", "series", "state", "reason", "severity"))
            channel = one["channels"][0]["name"] if one["channels"] else None
            found = (start, opened, ended, peak, one["peak_score"], channel, json.dumps(one))
            rows.append(((start or 0) // DAY_NS, *plain, *found))
        self.database.insert("incident", rows)
        times = ", ".join(
            f"{as_time(name(one))} AS {name(one)}" for one in ("start", "opened", "ended", "peak")
        )
        columns = f"id, series, state, reason, severity, {times}, peak_score, channel, body"
        self._by_day("incidents", "incident", f"{columns}", "start, id")

    def decisions(self, decisions: list[dict[str, Any]]) -> None:
        """Write what people decided."""
        self.database.execute(
            "CREATE TABLE decision (day BIGINT, id VARCHAR, action VARCHAR, series VARCHAR,"
            " incident VARCHAR, who VARCHAR, why VARCHAR, since BIGINT, until BIGINT, outcome VARCHAR)"
        )
        rows = []
        for one in decisions:
            at, until = ns_of(one["at"]), ns_of(one["until"])
            plain = (one[key] for key in ("id", "action", "series", "incident", "who", "why"))
            rows.append(((at or 0) // DAY_NS, *plain, at, until, one.get("outcome")))
        self.database.insert("decision", rows)
        times = ", ".join(f"{as_time(name(one))} AS {name(one)}" for one in ("since", "until"))
        columns = f"id, action, series, incident, who, why, {times}, outcome"
        self._by_day("decisions", "decision", columns, "since, id")

    def _by_day(self, table: str, kept: str, columns: str, order: str) -> None:
        """Write the rows of a table in memory; an empty table becomes one empty segment."""
        days = self.database.execute(f"SELECT DISTINCT day FROM {kept} ORDER BY 1") or [(0,)]
        for (day,) in days:
            self._write(table, day, f"SELECT {columns} FROM {kept} WHERE day = {day} ORDER BY {order}")

    def _columns(self) -> list[str]:
        """Return SQL for the columns of the verdicts."""
        level = f"{number('threshold')} ** {self.description.sharpness!r}"
        ratio = f"({number('error')} / {number('threshold')}) ** {self.description.sharpness!r}"
        strength = f"greatest({ratio}, {number('cumulative')})"
        return verdict_columns(self.description.channels, level, strength, self._mode())

    def _mode(self) -> str:
        """Return SQL for the mode of a row: NULL where the model knows no modes."""
        names = self.database.execute("SELECT column_name FROM (DESCRIBE scores)")
        return "nullif(mode, '')" if ("mode",) in names else "NULL"

    def _write(self, table: str, day: int, query: str) -> str:
        """Write a segment and return SQL that reads it; it appears when it is complete."""
        folder = self.store / table / f"day={date_of(day)}"
        folder.mkdir(parents=True, exist_ok=True)
        path, scratch = folder / "segment-0.parquet", folder / ".segment-0.part"
        self.database.execute(
            f"COPY ({query}) TO {text(str(scratch.resolve()))}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS})"
        )
        scratch.replace(path)
        return f"read_parquet({text(str(path.resolve()))})"
