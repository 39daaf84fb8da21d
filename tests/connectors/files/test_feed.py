"""Lines of files: every line once and in order, whatever grows, is renamed, or restarts."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import FilesError
from connectors.files.feed import FileFeed
from connectors.files.lines import MAX_LINE_BYTES
from connectors.files.pipe import PipeFeed
from connectors.local.store import LocalStore, Step


def drained(feed: FileFeed | PipeFeed, first: int, limit: int = 100) -> list[bytes | None]:
    """Everything that can be read now; numbers must follow each other."""
    found: list[bytes | None] = []
    while messages := feed.fetch(first + len(found), limit, 0.0):
        assert [one.offset for one in messages] == [first + len(found) + at for at in range(len(messages))]
        assert len(messages) <= limit
        found += [one.value for one in messages]
    return found


def test_files_are_read_by_name_and_empty_lines_are_no_messages(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"3\n\n4")
    (tmp_path / "a.jsonl").write_bytes(b"1\r\n\n2\n")
    (tmp_path / "c.jsonl").write_bytes(b"")
    feed = FileFeed(str(tmp_path), is_followed=False)
    found = feed.fetch(0, 10, 0.0)
    assert found is not None
    assert [(one.topic, one.value) for one in found] == [("a", b"1"), ("a", b"2")]
    assert drained(feed, 2) == [b"3", b"4"]
    assert feed.fetch(4, 10, 0.0) is None


def test_nothing_to_read_is_an_error_unless_it_may_come(tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="no such file"):
        FileFeed(str(tmp_path / "none.jsonl"), is_followed=False)
    feed = FileFeed(str(tmp_path / "none.jsonl"), is_followed=True)
    assert feed.fetch(0, 10, 0.0) == []


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EMFILE, "raise LimitNOFILE"), (errno.EACCES, "must be able to read it")]
)
def test_a_file_that_cannot_be_opened_has_the_remedy_of_its_reason(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    feed = FileFeed(str(tmp_path), is_followed=True)

    def refuse(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("connectors.files.tail.os.open", refuse)
    with pytest.raises(FilesError, match=f"a.jsonl: .*{remedy}"):
        feed.fetch(0, 10, 0.0)


def test_a_line_without_an_end_waits_when_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntw")
    feed = FileFeed(str(path), is_followed=True)
    assert drained(feed, 0) == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\n")
    assert drained(feed, 1) == [b"two"]
    feed.close()


@pytest.mark.parametrize("before", [b"one\n", b""])
def test_a_line_without_an_end_is_left_for_the_next_run_where_there_is_one(
    before: bytes, tmp_path: Path
) -> None:
    path, last = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(before + b"tw")
    last.write_bytes(b"three\n")
    first = FileFeed(str(tmp_path), False, num_kept=10, is_continued=True)
    found = drained(first, 0)
    assert found == [*before.split(), b"three"]
    with path.open("ab") as file:
        file.write(b"o\n")
    second = FileFeed(str(tmp_path), False, first.take_segments(), 10, is_continued=True)
    assert second.seek(len(found)) == len(found)
    assert drained(second, len(found)) == [b"two"]


def test_a_line_that_is_too_long_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\nnext\n")
    found = drained(FileFeed(str(path), is_followed=False), 0)
    assert [len(one or b"") for one in found] == [MAX_LINE_BYTES, 4]


def test_a_renamed_file_is_read_to_its_end_and_its_successor_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.files.feed._LOOK_SECONDS", 0.0)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"1\n2\n")
    feed = FileFeed(str(path), is_followed=True)
    assert drained(feed, 0, limit=1) == [b"1", b"2"]
    with path.open("ab") as file:
        file.write(b"3\n")
    path.rename(tmp_path / "log.jsonl.1")
    path.write_bytes(b"4\n")
    assert drained(feed, 2) == [b"3", b"4"]
    feed.close()


def test_a_file_that_gets_shorter_is_read_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.files.feed._LOOK_SECONDS", 0.0)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    feed = FileFeed(str(path), is_followed=True)
    assert drained(feed, 0) == [b"1", b"2", b"3"]
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(b"4\n")
    found = feed.fetch(3, 10, 0.0) or []  # notices it
    assert [one.value for one in found] + drained(feed, 3 + len(found)) == [b"4"]
    feed.close()


def test_a_restart_does_not_read_a_deleted_file_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_bytes(f"{name}1\n{name}2\n".encode())
    first = FileFeed(str(tmp_path), is_followed=False)
    assert len(drained(first, 0)) == 4
    segments = first.take_segments()
    (tmp_path / "a.jsonl").unlink()
    again = FileFeed(str(tmp_path), False, segments, 100)
    assert again.earliest(4) == 0
    assert again.seek(1) == 2, "a2 is lost, and b1 comes next"
    assert drained(again, 2) == [b"b1", b"b2"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.sampled_from("ab"), st.binary(max_size=12)),
            st.just("restart"),
            st.just("commit"),
        ),
        max_size=30,
    ),
    limit=st.integers(1, 4),
)
def test_every_line_comes_once_behind_the_commits_of_any_restarts(
    events: list[object], limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was committed never comes again; what was not comes again with the same offsets."""
    directory = tmp_path_factory.mktemp("feed")
    files = {name: directory / f"{name}.jsonl" for name in "ab"}
    for name, path in files.items():
        path.write_bytes(name.encode() + b"\n")  # the first line stays the same
    store, seen = LocalStore(None), dict[int, bytes | None]()
    position, written = 0, {name: name.encode() + b"\n" for name in files}
    feed = FileFeed(str(directory), True, store.segments(), 1000)
    feed._looked_at = -10.0
    for event in [*events, "restart"]:
        for message in feed.fetch(position, limit, 0.0) or []:
            assert seen.get(message.offset, message.value) == message.value
            seen[message.offset] = message.value
            position = message.offset + 1
        if event == "commit":
            store.commit(Step(position, segments=feed.take_segments()))
        elif event == "restart":
            feed.close()
            position = store.position or 0
            seen = {offset: value for offset, value in seen.items() if offset < position}
            feed = FileFeed(str(directory), True, store.segments(), 1000)
            assert feed.seek(position) == position
            feed._looked_at = -10.0
        elif isinstance(event, tuple):
            name, data = event
            written[name] += data
            with files[name].open("ab") as file:
                file.write(data)
    for value in drained(feed, position, limit):
        seen[position] = value
        position += 1
    complete = [data.rpartition(b"\n")[0].split(b"\n") for data in written.values()]
    expected = [line.removesuffix(b"\r") for lines in complete for line in lines]
    assert sorted(value or b"" for value in seen.values()) == sorted(line for line in expected if line)
    feed.close()


def test_a_pipe_gives_again_what_was_not_committed_and_ends() -> None:
    reading, writing = os.pipe()
    feed = PipeFeed(reading)
    os.write(writing, b"1\n2\n3\n4")
    assert drained(feed, 0, limit=2) == [b"1", b"2", b"3"]
    feed.committed(1)
    assert feed.seek(1) == 1
    assert drained(feed, 1, limit=1) == [b"2", b"3"]
    os.close(writing)
    assert drained(feed, 3) == [b"4"], "the last line needs no end"
    assert feed.fetch(4, 10, 0.0) is None
    assert feed.seek(9) == 9
    os.close(reading)


def test_a_pipe_bounds_what_it_keeps_of_a_long_line() -> None:
    reading, writing = os.pipe()
    feed = PipeFeed(reading)
    found: list[bytes | None] = []
    for _ in range(3 * MAX_LINE_BYTES // 32_768):
        os.write(writing, b"x" * 32_768)
        found += drained(feed, len(found))
    os.write(writing, b"\nnext\n")
    assert [len(one or b"") for one in drained(feed, 0)] == [MAX_LINE_BYTES, 4]
    assert found == []
    os.close(reading)
    os.close(writing)
