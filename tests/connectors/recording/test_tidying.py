"""Files of a recording are merged and deleted, and readers see every row once at any moment."""

from __future__ import annotations

import os
import shutil
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.parquet.dataset import discover
from connectors.parquet.recorded_names import Stretch, covered_of, stretch_of
from connectors.recording.directory import RecordingDirectory
from connectors.recording.recorder import Recorder
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopic
from connectors.records import Batch
from tests.connectors.test_transfer import CHANNELS, as_rows, history, rows_of

FEW = Tidying(most_small=4, at_least=3, full_rows=10_000)


def recorded(path: Path, num_files: int, rows: int = 10) -> RecordingDirectory:
    """A directory with files of so many rows each, of one partition."""
    directory = RecordingDirectory(path, "t")
    recorder = Recorder({"t": RecordedTopic(directory, CHANNELS, (0, 1))})
    recorder.begin({0: 0})
    for number in range(num_files):
        recorder.add(Batch(history(rows, first=number * rows), position={("t", 0): (number + 1) * rows}))
        recorder.close_files()
    return directory


def test_small_files_are_merged_and_the_rows_stay(tmp_path: Path) -> None:
    directory = recorded(tmp_path, 6)
    FEW.tidy(directory)
    assert len(directory.files()) < 6
    assert rows_of(tmp_path) == as_rows(history(60))
    assert directory.ends() == {0: 60}


def test_the_number_of_files_stays_small_and_rows_are_rewritten_a_few_times(tmp_path: Path) -> None:
    directory = RecordingDirectory(tmp_path, "t")
    recorder = Recorder({"t": RecordedTopic(directory, CHANNELS, (0, 1))})
    recorder.begin({0: 0})
    num_files, rewritten = 64, 0
    for number in range(num_files):
        recorder.add(Batch(history(4, first=number * 4), position={("t", 0): (number + 1) * 4}))
        recorder.close_files()
        before = set(directory.files())
        FEW.tidy(directory)
        new = set(directory.files()) - before
        rewritten += sum(one.next - one.first for one in new)
        assert len(directory.files()) <= 8
    assert rewritten <= 6 * 4 * num_files
    assert rows_of(tmp_path) == as_rows(history(4 * num_files))


def test_a_crash_after_the_merged_file_appeared_doubles_nothing(tmp_path: Path) -> None:
    directory = recorded(tmp_path / "out", 6)
    shutil.copytree(tmp_path / "out", tmp_path / "before")
    FEW.tidy(directory)
    shutil.copytree(tmp_path / "before", tmp_path / "out", dirs_exist_ok=True)  # nothing was deleted
    assert len(list((tmp_path / "out").glob("*.parquet"))) > 6
    assert rows_of(tmp_path / "out") == as_rows(history(60))
    FEW.tidy(directory)
    assert rows_of(tmp_path / "out") == as_rows(history(60))
    assert covered_of((tmp_path / "out").glob("*.parquet")) == []


def test_files_with_other_columns_are_not_merged(tmp_path: Path) -> None:
    directory = recorded(tmp_path, 3)
    other = Recorder({"t": RecordedTopic(directory, ("flow", "speed"), (0, 1))})
    other.begin({0: 30})
    for number in range(3, 6):
        other.add(Batch(history(10, first=number * 10), position={("t", 0): (number + 1) * 10}))
        other.close_files()
    FEW.tidy(directory)
    assert discover(tmp_path).channels == ("flow", "heat", "speed")
    assert discover(tmp_path).num_rows == 60


def test_old_files_are_deleted_but_for_the_newest(tmp_path: Path) -> None:
    directory = recorded(tmp_path, 4)
    paths = list(directory.files().values())
    old = time.time() - 86_400
    for path in paths[:2]:
        os.utime(path, (old, old))
    Tidying(keep_seconds=3_600).tidy(directory)
    assert list(directory.files().values()) == paths[2:]
    for path in paths[2:]:
        os.utime(path, (old, old))
    Tidying(keep_seconds=3_600).tidy(directory)
    assert list(directory.files().values()) == paths[3:]  # it says where to go on
    assert directory.ends() == {0: 40}


def test_a_merged_file_is_as_old_as_its_newest_part_and_spans_a_tenth_of_what_is_kept(tmp_path: Path) -> None:
    directory = recorded(tmp_path, 8)
    paths = list(directory.files().values())
    now = time.time()
    for hours, path in enumerate(reversed(paths)):
        os.utime(path, (now - hours * 3_600, now - hours * 3_600))
    Tidying(keep_seconds=20 * 3_600 + 60, most_small=4, at_least=8).tidy(directory)
    left = [(one.first, one.next) for one in directory.files()]
    assert left[:5] == [(at, at + 10) for at in range(0, 50, 10)]
    assert left[-1][1] == 80
    merged = list(directory.files().values())[-1]
    assert merged.stat().st_mtime == pytest.approx(now, abs=1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_of_any_merges_the_rest_covers_every_offset_once(lengths: list[int], data: st.DataObject) -> None:
    """Some adjacent files were merged, and any number of those that they cover are still there."""
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    files = [Stretch("a-b~2", 3, one, other) for one, other in pairwise(bounds)]
    kept = list(files)
    left: list[Stretch] = []
    while len(kept) > 1 and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(kept) - 2))
        to = data.draw(st.integers(at + 2, len(kept)))
        parts = kept[at:to]
        kept[at:to] = [Stretch("a-b~2", 3, parts[0].first, parts[-1].next)]
        left += data.draw(st.lists(st.sampled_from(parts), unique=True))
    paths = [Path("history") / one.file_name for one in {*kept, *left}]
    assert all(stretch_of(path) is not None for path in paths)
    seen = sorted(stretch_of(path) for path in paths if path not in covered_of(paths))
    assert [(one.first, one.next) for one in seen] == [(one.first, one.next) for one in kept]
    other = Path("elsewhere") / kept[0].file_name
    assert other not in covered_of([*paths, other])
