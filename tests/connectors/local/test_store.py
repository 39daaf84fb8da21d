"""The local store: one transaction, one owner, the alerts of the notifiers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from connectors.errors import StateError
from connectors.local.store import Length, LocalStore, Segment, Step
from connectors.records import Message


def state(key: bytes, value: bytes | None) -> Message:
    return Message("state", key, value, (), 0)


def test_everything_of_a_step_is_there_after_a_restart(tmp_path: Path) -> None:
    step = Step(
        7, [state(b"pump", b"1")], {"out.jsonl": Length(5, 100)}, [Segment(0, 7, "a", "i", 0, 70)], 0, [b"x"]
    )
    with LocalStore(tmp_path / "state", "files") as store:
        store.commit(step)
    with LocalStore(tmp_path / "state", "files") as store:
        assert store.position == 7
        assert store.read_state([0, 1]) == {0: {b"pump": b"1"}, 1: {}}
        assert store.lengths == {"out.jsonl": Length(5, 100)}
        assert store.segments() == list(step.segments)
        assert [alert.value for alert in store.alerts(0, 10)] == [b"x"]


def test_the_newest_snapshot_counts_and_a_tombstone_deletes_it(tmp_path: Path) -> None:
    with LocalStore(None) as store:
        store.commit(Step(1, [state(b"pump", b"1"), state(b"fan", b"2")]))
        store.commit(Step(2, [state(b"pump", b"3"), state(b"fan", None)]))
        assert store.read_state([0]) == {0: {b"pump": b"3"}}


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    with LocalStore(tmp_path / "state") as store:
        store.commit(Step(1, [state(b"pump", b"1")]))
        broken = Step(2, [state(b"pump", b"2")], segments=[Segment(0, 1, "a", object(), 0, 1)])  # type: ignore[arg-type]
        with pytest.raises(StateError, match="cannot write"):
            store.commit(broken)
        assert (store.position, store.read_state([0])) == (1, {0: {b"pump": b"1"}})
        store.commit(Step(3))
        assert store.position == 3


def test_a_directory_belongs_to_one_process_and_one_input(tmp_path: Path) -> None:
    with LocalStore(tmp_path, "files"), pytest.raises(StateError, match="another process uses"):
        LocalStore(tmp_path, "files")
    with pytest.raises(StateError, match="has the state of files, and stdin is read now"):
        LocalStore(tmp_path, "stdin")
    with LocalStore(tmp_path, "files") as store:
        assert store.position is None


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 40, None])
def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    place = tmp_path / "state"
    if content is None:
        place.write_bytes(b"a file")
    else:
        place.mkdir()
        (place / "state.sqlite").write_bytes(content)
    with pytest.raises(StateError, match=str(place)):
        LocalStore(place)


def test_the_state_of_another_version_is_refused(tmp_path: Path) -> None:
    LocalStore(tmp_path).close()
    database = sqlite3.connect(tmp_path / "state.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateError, match="another version"):
        LocalStore(tmp_path)


def test_old_segments_go_but_the_last_one_of_each_file_stays() -> None:
    segments = [
        Segment(0, 5, "a", "1", 0, 50),
        Segment(5, 5, "b", "2", 0, 50),
        Segment(10, 5, "a", "1", 50, 99),
    ]
    with LocalStore(None) as store:
        store.commit(Step(15, segments=segments, oldest=12))
        assert store.segments() == segments[1:]


def test_a_new_notifier_begins_now_and_a_known_one_where_it_stood() -> None:
    with LocalStore(None) as store:
        store.commit(Step(1, alerts=[b"before"]))
        assert store.notified("pager") == 2
        store.commit(Step(2, alerts=[b"a", b"b"]))
        assert [one.value for one in store.alerts(store.notified("pager"), 10)] == [b"a", b"b"]
        store.note_notified("pager", 3)
        assert (store.notified("pager"), store.next_alert()) == (3, 4)
        store.forget_notifiers(["other"])
        assert store.notified("pager") == 4
