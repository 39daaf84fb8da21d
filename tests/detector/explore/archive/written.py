"""Archives for tests: messages such as a daemon writes, and what an archive holds, read by brute force."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detector.delivery.messages import iso
from detector.explore.archive.archive import Archive, Batch, Limits
from detector.explore.archive.manifest import Manifest
from detector.explore.archive.messages import VerdictRows, decision_row, incident_row
from detector.explore.storage.directory import DirectoryStorage
from detector.explore.storage.storage import SegmentKey, Storage
from detector.explore.store.layout import Description, as_values, description_of
from tests.detector.explore.explored import CHANNELS, START_NS, incident, record

MINUTE_NS = 60_000_000_000
GROUP = "plant"


def scores_message(series: str, minutes: Iterable[int], detail: bool = True, **more: Any) -> bytes:
    """Verdicts of minutes after START_NS; the score of a row is its minute."""
    times = [(START_NS + minute * MINUTE_NS) // 1_000_000 for minute in minutes]
    scores = [float(time * 1_000_000 - START_NS) / MINUTE_NS for time in times]
    num = len(times)
    body: dict[str, Any] = {"series": series, "model": "pump", "version": "0123456789ab"}
    body |= {"timestamp": times, "score": scores, "state": ["ok"] * num}
    if detail:
        body |= {"p_value": [0.5] * num, "cumulative": [None] * num, "evidence": ["window"] * num}
        body |= {"page_level": [2.0] * num, "paged": [score > 2 for score in scores]}
        plain = {"actual": [1.0] * num, "expected": [None] * num, "contribution": [0.5] * num}
        body["channels"] = dict.fromkeys(CHANNELS, plain)
    return json.dumps(body | more).encode()


def alert(event: str, name: str, series: str, minute: int, end: int | None = None, **more: Any) -> bytes:
    """An event of an incident that began at a minute."""
    start = iso(START_NS + minute * MINUTE_NS)
    ended = None if end is None else iso(START_NS + end * MINUTE_NS)
    return json.dumps({"event": event, "at": start, **incident(name, series, start, ended, **more)}).encode()


def mute(name: str, series: str, minute: int, applied: bool = False) -> bytes:
    """A mute of an hour, as it was decided or as it was applied."""
    at, until = (iso(START_NS + one * MINUTE_NS) for one in (minute, minute + 60))
    body = {"id": name, "action": "mute", "series": series, "incident": None, "channels": []}
    body |= {"at": at, "until": until, "who": "ann", "why": "works", "decided_at": at}
    if not applied:
        return json.dumps(body).encode()
    decision = {**body, "by": "person", "outcome": "applied", "reason": None, "learnt": []}
    return json.dumps({"event": "muted", "id": name, "series": series, "decision": decision}).encode()


def empty(store: Path | Storage) -> Manifest:
    """The manifest of a new archive, which is written."""
    about: Description = description_of(record())
    manifest = Manifest(as_values(about), GROUP)
    if isinstance(store, Path):
        store.mkdir(parents=True, exist_ok=True)
    storage_of(store).write(manifest)
    return manifest


def storage_of(store: Path | Storage) -> Storage:
    """The storage of a directory, or the one that is given."""
    return DirectoryStorage(store) if isinstance(store, Path) else store


def held(store: Path | Storage) -> Manifest | None:
    """What the archive holds; None if there is none."""
    return storage_of(store).look()[0]


def archive_in(store: Path | Storage, limits: Limits | None = None) -> Archive:
    """The archive of a storage that is owned; a new one if there is none."""
    return Archive(storage_of(store), held(store) or empty(store), limits or Limits())


def batch(verdicts: Iterable[bytes] = (), events: Iterable[bytes] = ()) -> Batch:
    """What an archiver makes of messages."""
    rows = VerdictRows(CHANNELS)
    for message in verdicts:
        rows.add(message)
    events = list(events)
    incidents = [row for one in events if b'"channels": [{' in one and (row := incident_row(one))]
    decisions = [row for one in events if (row := decision_row(one))]
    return Batch(rows.take(), incidents, decisions, {})


def rows_of(store: Path | Storage, table: str, columns: str) -> list[tuple[Any, ...]]:
    """Columns of all rows of a table that count, sorted."""
    storage, manifest = storage_of(store), held(store)
    assert manifest is not None
    files = [storage.url(SegmentKey(table, day, one.name)) for day, one in manifest.of_table(table)]
    if not files:
        return []
    database = storage.database()
    rows = database.execute(f"SELECT {columns} FROM read_parquet({files!r}, union_by_name = true)")
    database.close()
    return sorted(rows)


def minutes_of(store: Path | Storage) -> list[tuple[str, int]]:
    """Series and minute of every row of the archive, those that are there twice twice."""
    minute = f"(epoch_ns(timestamp) - {START_NS}) // {MINUTE_NS}"
    return rows_of(store, "verdicts", f"series, {minute}")


def is_clean(store: Path | Storage) -> bool:
    """Whether the storage holds no file that the archive does not name."""
    manifest = held(store)
    assert manifest is not None
    named = {
        SegmentKey(table, day, one.name)
        for table in manifest.segments
        for day, one in manifest.of_table(table)
    }
    return set(storage_of(store).segments()) == named
