"""Keeps the files of a recording few: small ones are merged, old ones are deleted.

A merged file appears whole before those that it covers are deleted. A process that is killed in between
leaves both; readers and the next tidying know the covered ones by their names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from connectors.parquet.merging import has_columns_of, merge_files, metadata_of, rows_of
from connectors.parquet.recorded_names import Stretch, covered_of
from connectors.recording.directory import RecordingDirectory
from connectors.recording.recorder import RECORDED_FROM

logger = logging.getLogger(__name__)

_SPANS = 10
"""A merged file spans at most this part of the time that files are kept, so that it goes in time."""


@dataclass(frozen=True, slots=True)
class _File:
    """A complete file: its offsets, its rows, and from when to when it was recorded (seconds, epoch)."""

    path: Path
    stretch: Stretch
    rows: int
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Tidying:
    """When files are merged and deleted.

    keep_seconds  files recorded longer ago are deleted, except the newest of a partition; None: all are kept
    most_small    small files of a partition, above which the newest ones are merged
    at_least      files that are merged at once, and those before them that are not larger than these together
    full_rows     rows of a file that is merged no more
    """

    keep_seconds: float | None = None
    most_small: int = 32
    at_least: int = 16
    full_rows: int = 1_000_000

    def tidy(self, directory: RecordingDirectory) -> None:
        """Merge and delete what is due. The caller holds the directory.

        Raises:
            ParquetError: A file is damaged, or a merged one cannot be written.
        """
        files = directory.files()
        for path in covered_of(files.values()):
            path.unlink(missing_ok=True)
        for _, group in groupby(directory.files().items(), lambda one: (one[0].topic, one[0].partition)):
            found = [_facts(stretch, path) for stretch, path in group]
            self._merge(self._delete(found))

    def _delete(self, files: list[_File]) -> list[_File]:
        """Delete the old files of a partition; the newest one says where to go on. Return the others."""
        if self.keep_seconds is None:
            return files
        oldest = time.time() - self.keep_seconds
        gone = [one for one in files[:-1] if one.until < oldest]
        for one in gone:
            one.path.unlink(missing_ok=True)
            logger.info("deleted %s by age", one.path)
        return [one for one in files if one not in gone]

    def _merge(self, files: list[_File]) -> None:
        """Merge the newest files of a partition if there are too many small ones.

        Each reading is rewritten a few times at most: files are merged with those that are not larger than
        what came after them.
        """
        small = [one for one in files if one.rows < self.full_rows]
        if len(small) <= self.most_small:
            return
        chosen: list[_File] = []
        rows = 0
        for one in reversed(files):
            is_in = len(chosen) < self.at_least or one.rows <= rows
            if not is_in or rows + one.rows > self.full_rows or not self._fit(one, chosen):
                break
            chosen.insert(0, one)
            rows += one.rows
        if len(chosen) > 1:
            _write(chosen)

    def _fit(self, file: _File, later: Sequence[_File]) -> bool:
        """Return whether a file can be merged with those after it."""
        if not later:
            return True
        span = later[-1].until - file.since
        is_short = self.keep_seconds is None or span <= self.keep_seconds / _SPANS
        return is_short and has_columns_of(file.path, later[0].path)


def _facts(stretch: Stretch, path: Path) -> _File:
    until = path.stat().st_mtime
    stated = metadata_of(path).get(RECORDED_FROM, "")
    since = min(until, float(stated)) if stated.isdecimal() else until
    return _File(path, stretch, rows_of(path), since, until)


def _write(files: Sequence[_File]) -> None:
    """Write the merged file; then delete those that it covers."""
    first, last = files[0], files[-1]
    stretch = Stretch(first.stretch.topic, first.stretch.partition, first.stretch.first, last.stretch.next)
    path = first.path.with_name(stretch.file_name)
    merge_files([one.path for one in files], path, {RECORDED_FROM: f"{first.since:.0f}"})
    os.utime(path, (last.until, last.until))  # its age is that of its newest part
    for one in files:
        one.path.unlink(missing_ok=True)
    logger.info("merged %d files into %s", len(files), path)
