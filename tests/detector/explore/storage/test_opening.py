"""An archive opens without a list of all objects beside it, and the terminal shows what is fetched."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest

from connectors.objects.objects import Objects
from detector.commands.opening import opening
from detector.explore.storage.cache import SegmentCache
from detector.explore.storage.object_storage import ObjectStorage
from detector.explore.storage.opened_segments import OpenedSegments
from tests.detector.explore.archive.written import empty
from tests.support.daemon import wait_for


def written(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def test_only_the_archive_s_own_folder_is_listed_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Through the file system of this machine, which pyarrow reads as it reads a bucket."""
    root = written(tmp_path / "bucket", "photos/2026/a.jpg", "photos/2026/b.jpg", "note.txt", "hours/x")
    storage = ObjectStorage(root.as_uri(), tmp_path / "cache", 10**9)
    with mock.patch.object(Objects, "list", autospec=True, side_effect=Objects.list) as listed:
        assert storage.strangers() == ["note.txt", "photos"]
        written(root, "archive/00000001-1f2e3d4c.sign")
        assert storage.strangers() == []
    assert [call.args[1] for call in listed.call_args_list] == ["archive", "archive"]


@pytest.mark.objects
@pytest.mark.parametrize("server", ["object_store", "gcs_store"])
def test_what_is_beside_an_archive_on_object_storage_is_seen(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uri = request.getfixturevalue(server).uri(uuid4().hex)
    Objects(uri).write("photos/2026/a.jpg", b"x")
    storage = ObjectStorage(uri, tmp_path / "cache", 10**9)
    assert storage.strangers() == ["photos"]
    assert storage.claim() is None
    empty(storage)
    assert storage.strangers() == []
    storage.release()


def test_what_is_fetched_is_followed_and_what_is_here_is_not(tmp_path: Path) -> None:
    def fetch(name: str, file: Path) -> None:
        file.write_text(name)

    cache = SegmentCache(tmp_path, 10**9, fetch)
    told: list[tuple[int, int]] = []
    names = [f"hours/day=2026-01-0{day}/x.parquet" for day in range(1, 4)]
    for _ in range(2):
        cache.fetch_all(names, lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [read(cache, name) for name in names] == names


def read(cache: SegmentCache, name: str) -> str:
    with os.fdopen(cache.open(name)) as copy:
        return copy.read()


def test_readers_and_other_processes_that_make_room_never_take_a_copy_from_one_who_opens_it(
    tmp_path: Path,
) -> None:
    """A bound of one copy, eight threads, and another process that deletes whatever it finds."""
    fetched: Counter[str] = Counter()

    def fetch(name: str, file: Path) -> None:
        fetched[name] += 1
        file.write_text(name)

    cache = SegmentCache(tmp_path, 1, fetch)
    names = [f"verdicts/day=2026-01-0{day}/x.parquet" for day in range(1, 7)]
    files = OpenedSegments(cache)
    is_done = threading.Event()

    def delete() -> None:
        while not is_done.is_set():
            for one in tmp_path.rglob("*.parquet"):
                one.unlink(missing_ok=True)

    def read_all(_: int) -> None:
        for name in names * 40:
            assert read(cache, name) == name
            assert files.info(f"segments://{name}")["size"] == len(name)

    other = threading.Thread(target=delete)
    other.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(read_all, range(8))) == [None] * 8
    finally:
        is_done.set()
        other.join()
    assert min(fetched.values()) > 1  # copies were taken away while others read


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_says_what_is_opened_and_how_far_it_is(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with opening("s3://bucket/plant", quiet_seconds=1e6) as on_fetch:
        assert "opening" not in capsys.readouterr().err
        on_fetch(0, 520)
        on_fetch(37, 520)
    told = capsys.readouterr().err
    assert told.count("opening s3://bucket/plant\n") == 1
    assert ("37/520" in told) == is_terminal


def test_what_takes_long_is_said_without_files_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    told = ""
    with opening("report/", quiet_seconds=0.0):
        wait_for(lambda: "opening report/\n" in capsys.readouterr().err, "the word on the terminal")
    with opening("report/", quiet_seconds=1e6):
        told = capsys.readouterr().err
    assert told == ""
