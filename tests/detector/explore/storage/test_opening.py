"""An archive opens without a list of all objects beside it, and the terminal shows what is fetched."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest

from connectors.objects.objects import Objects
from detector.commands.opening import opening
from detector.explore.storage.cache import SegmentCache
from detector.explore.storage.object_storage import ObjectStorage
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
    assert [cache.path(name).read_text() for name in names] == names


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
