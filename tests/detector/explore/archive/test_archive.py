"""The archive: rows once, summaries as brute force has them, merged and deleted files, open incidents."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.explore.archive.archive import Limits
from detector.explore.archive.live_store import LiveStore
from detector.explore.archive.messages import NotOursError, VerdictRows, decision_row, incident_row
from detector.explore.queries.fleet import FleetQuery, fleet
from detector.explore.queries.incidents import decisions, incidents
from detector.explore.storage.directory import DirectoryStorage
from detector.explore.store.layout import DAY_NS, ExploreError
from tests.detector.explore.archive.written import (
    MINUTE_NS,
    alert,
    archive_in,
    batch,
    held,
    is_clean,
    minutes_of,
    mute,
    rows_of,
    scores_message,
    storage_of,
)
from tests.detector.explore.explored import CHANNELS, START_NS

DAY = 1440
PARTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 4 * DAY), min_size=1, max_size=12, unique=True)),
    min_size=1,
    max_size=14,
)


@given(PARTS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_is_kept_once_and_summaries_are_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, list[int]]]
) -> None:
    """Rows come late, twice, in any order and over days; files are merged between them; it opens again."""
    store = tmp_path_factory.mktemp("archive")
    archive = archive_in(store)
    for at, (series, minutes) in enumerate(parts):
        archive.append(batch([scores_message(series, minutes, detail=at % 3 > 0)]))
        archive.tidy()
        if at == len(parts) // 2:
            archive.close()
            archive = archive_in(store)
    archive.close()
    expected = {(series, minute) for series, minutes in parts for minute in minutes}
    assert minutes_of(store) == sorted(expected)
    shown = LiveStore(DirectoryStorage(store), 0)
    assert (shown.description.rows, shown.description.series) == (
        len(expected),
        len({s for s, _ in expected}),
    )
    last = max(minute for _, minute in expected)
    assert shown.description.last_ns == START_NS + (last + 1) * MINUTE_NS
    for table, span in (("hours", 60), ("days", DAY)):
        found = shown.database.execute(
            f"SELECT series, (epoch_ns(start) - {START_NS}) // {MINUTE_NS} // {span}, sum(num_rows),"
            f" max(score), epoch_ns(max(last)) FROM {table} GROUP BY 1, 2 ORDER BY 1, 2"
        )
        wanted: dict[tuple[str, int], list[int]] = {}
        for series, minute in expected:
            wanted.setdefault((series, minute // span), []).append(minute)
        assert found == [
            (series, one, len(inside), max(inside), START_NS + max(inside) * MINUTE_NS)
            for (series, one), inside in sorted(wanted.items())
        ]
    shown.close()


def test_the_first_of_equal_rows_counts_also_after_a_restart(tmp_path: Path) -> None:
    archive = archive_in(tmp_path)
    archive.append(batch([scores_message("a", [1, 2])]))
    archive.close()
    archive = archive_in(tmp_path)
    archive.append(batch([scores_message("a", [2, 3], state=["late", "late"])]))
    archive.close()
    assert [state for _, state in rows_of(tmp_path, "verdicts", "timestamp, state")] == ["ok", "ok", "late"]


def test_what_a_reduced_message_lacks_is_null_and_its_strength_is_its_score(tmp_path: Path) -> None:
    archive = archive_in(tmp_path)
    archive.append(batch([scores_message("a", [3], detail=False), scores_message("b", [3])]))
    archive.close()
    columns = "series, score, strength, page_level, paged, actual_flow, expected_flow, contribution_flow"
    assert rows_of(tmp_path, "verdicts", columns) == [
        ("a", 3.0, 3.0, None, None, None, None, None),
        ("b", 3.0, 1.5, 2.0, True, 1.0, None, 0.5),
    ]


def test_small_files_are_merged_and_removed_when_no_query_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_in(tmp_path)
    for minute in range(66):
        archive.append(batch([scores_message("a", [minute])]))
        archive.tidy()
    files = archive.manifest.segments["verdicts"]["2026-01-01"]
    assert len(files) <= 14
    assert max(one.level for one in files) == 2
    assert len(list(tmp_path.glob("verdicts/*/*"))) > len(files)  # a query may still read the others
    later = time.monotonic() + 1_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    archive.tidy()
    assert is_clean(tmp_path)
    assert minutes_of(tmp_path) == [("a", minute) for minute in range(66)]
    archive.close()


def test_a_day_that_is_over_becomes_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = archive_in(tmp_path)
    for minute in (1, 2, DAY + 1, DAY + 2):
        archive.append(batch([scores_message("a", [minute])], [alert("opened", f"i{minute}", "a", minute)]))
    archive.tidy()
    assert {day: len(found) for day, found in archive.manifest.segments["days"].items()} == {
        "2026-01-01": 2,  # late rows may come
        "2026-01-02": 2,
    }
    later = time.monotonic() + 600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    archive.tidy()
    for table in ("verdicts", "hours", "days", "incidents"):
        assert [len(found) for found in archive.manifest.segments[table].values()] == [1, 2], table
    assert rows_of(tmp_path, "days", "num_rows, last_state")[-1] == (2, "ok")
    archive.close()


def test_old_days_are_deleted_but_no_open_incident(tmp_path: Path) -> None:
    archive = archive_in(tmp_path, Limits(keep_ns=2 * DAY_NS))
    events = [alert("opened", "old", "a", 5), alert("opened", "open", "a", DAY + 5)]
    archive.append(batch([scores_message("a", [5, DAY + 5]), scores_message("gone", [6])], events))
    archive.append(batch([], [alert("resolved", "old", "a", 5, 9)]))
    archive.append(batch([scores_message("a", [4 * DAY])]))
    archive.tidy()
    assert set(archive.manifest.segments["verdicts"]) == {"2026-01-05"}
    assert set(archive.manifest.segments["incidents"]) == {"2026-01-02"}
    about = archive.manifest.description
    assert (about.rows, about.series, archive.manifest.dropped) == (1, 1, "2026-01-02")
    assert about.first_ns == START_NS + 2 * DAY_NS
    archive.close()


def test_too_many_bytes_delete_the_oldest_days_and_never_the_newest(tmp_path: Path) -> None:
    archive = archive_in(tmp_path, Limits(max_bytes=1))
    archive.append(batch([scores_message("a", [5, DAY + 5, 2 * DAY + 5])]))
    archive.tidy()
    assert set(archive.manifest.segments["verdicts"]) == {"2026-01-03"}
    archive.close()


def test_files_that_a_killed_process_left_are_removed_and_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_in(tmp_path)
    archive.append(batch([scores_message("a", [1])]))
    before = held(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DirectoryStorage, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        archive.append(batch([scores_message("a", [2])]))
    archive.close()
    monkeypatch.undo()
    assert (held(tmp_path), is_clean(tmp_path)) == (before, False)
    again = archive_in(tmp_path)
    assert is_clean(tmp_path)
    again.append(batch([scores_message("a", [2])]))
    again.close()
    assert minutes_of(tmp_path) == [("a", 1), ("a", 2)]


def test_an_incident_is_shown_as_it_is_now_and_a_decision_with_its_outcome(tmp_path: Path) -> None:
    archive = archive_in(tmp_path)
    archive.append(
        batch([scores_message("a", range(20))], [alert("opened", "i1", "a", 5), mute("m", "a", 3)])
    )
    shown = LiveStore(DirectoryStorage(tmp_path), 0)
    everything = (START_NS, START_NS + DAY_NS)
    assert incidents(shown.database, everything)["incidents"][0]["state"] == "firing"
    archive.append(
        batch([], [mute("m", "a", 4, applied=True), alert("escalated", "i1", "a", 5, severity="critical")])
    )
    archive.append(batch([], [alert("resolved", "i1", "a", 5, 9)]))
    assert shown.refresh()
    assert not shown.refresh()
    (one,) = incidents(shown.database, everything)["incidents"]
    assert (one["state"], one["end"]) == ("resolved", (START_NS + 9 * MINUTE_NS) / 1e6)
    (decided,) = decisions(shown.database, "a", everything)
    assert decided["since"] == (START_NS + 4 * MINUTE_NS) / 1e6
    found = fleet(shown.database, FleetQuery(*everything))
    assert [(one["series"], one["rows"], one["incidents"], one["firing"]) for one in found["series"]] == [
        ("a", 20, 1, False)
    ]
    shown.close()
    archive.close()


def test_an_archive_without_rows_can_be_asked(tmp_path: Path) -> None:
    archive_in(tmp_path).close()
    shown = LiveStore(DirectoryStorage(tmp_path), START_NS)
    assert fleet(shown.database, FleetQuery(START_NS - DAY_NS, START_NS))["total"] == 0
    assert incidents(shown.database, (0, START_NS))["total"] == 0
    assert shown.description.first_ns < shown.description.last_ns == START_NS
    shown.close()


def test_an_archive_of_another_format_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "archive.json").write_text('{"about": {}, "group": "x", "format": 99}')
    with pytest.raises(ExploreError, match=r"has format 99.*--store"):
        held(tmp_path)
    (tmp_path / "archive.json").write_text("{")
    with pytest.raises(ExploreError, match="cannot be read"):
        held(tmp_path)


def test_the_files_are_plain_parquet_for_any_tool(tmp_path: Path) -> None:
    archive = archive_in(tmp_path)
    archive.append(batch([scores_message("a", [1, 2])]))
    archive.close()
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/verdicts/*/*.parquet'").fetchall() == [(2,)]


WRONG = [
    b"",
    b"[]",
    b"{",
    b'{"series": "a"}',
    b'{"series": "a", "timestamp": [1], "score": [], "state": ["ok"]}',
]


@pytest.mark.parametrize("value", WRONG)
def test_what_no_daemon_writes_is_refused_and_changes_nothing(value: bytes) -> None:
    rows = VerdictRows(CHANNELS)
    with pytest.raises(NotOursError):
        rows.add(value)
    assert len(rows) == 0
    with pytest.raises(NotOursError):
        incident_row(value)
    with pytest.raises(NotOursError):
        decision_row(value)


def test_the_mode_of_the_newest_row_is_that_of_the_series_also_after_merging(tmp_path: Path) -> None:
    """Parts come out of order. The newest row of `b` has no known mode, whatever an older part says."""
    archive = archive_in(tmp_path)
    for minute in (5, 9, 1, 3, 7, 0, 2, 4):
        modes = {"a": f"m{minute}", "b": None if minute == 9 else "run"}
        archive.append(batch(scores_message(one, [minute], mode=[mode]) for one, mode in modes.items()))
    archive.append(batch([scores_message("c", [1], detail=False)]))
    archive.tidy()
    archive.close()
    manifest = storage_of(tmp_path).look()[0]
    assert manifest is not None
    assert sum(1 for _ in manifest.of_table("days")) < 9
    shown = LiveStore(DirectoryStorage(tmp_path), 0)
    query = FleetQuery(shown.description.first_ns, shown.description.last_ns, sort="series")
    found = fleet(shown.database, query)
    assert {one["series"]: one["mode"] for one in found["series"]} == {"a": "m9", "b": None, "c": None}
    rows = shown.database.execute("SELECT mode FROM verdicts WHERE series = 'a' ORDER BY timestamp")
    assert [mode for (mode,) in rows] == ["m0", "m1", "m2", "m3", "m4", "m5", "m7", "m9"]
    shown.close()
