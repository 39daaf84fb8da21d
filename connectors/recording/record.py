"""Records a Kafka topic as Parquet files: every reading in exactly one file, whatever happens.

1. Files appear whole: they are written under a hidden name, synced and renamed.
2. Their names have the offsets. A partition is read from the end of its newest file, also where the offsets
   behind that file were not committed because the process was killed.
3. Offsets are committed after the file is on disk, so that a lag of the group is what is not recorded yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from connectors.recording.directory import RecordingDirectory
from connectors.recording.recorder import Recorded, Recorder
from connectors.recording.tidying import Tidying
from connectors.records import Batch, Position

_POLL_SECONDS = 0.5


class RecordableSource(Protocol):
    """A source that begins where `read_from` says, and whose present end is known."""

    def poll(self, timeout_seconds: float) -> Batch:
        """Return what has arrived, after at most about `timeout_seconds`."""

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Start reading the partitions of the last `Batch.assigned` at these offsets."""

    def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the committed offset of each partition, None if nothing was ever committed."""

    def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the oldest offset that each partition still holds."""

    def commit(self, position: Position) -> None:
        """Commit these offsets: reading resumes there after a restart."""

    def end(self) -> Position:
        """Return the present end of each assigned partition."""

    def has_reached(self, position: Position) -> bool:
        """Whether everything before `position` was read, of the assigned partitions."""

    @property
    def is_assigned(self) -> bool:
        """Whether the partitions are assigned and read."""

    def identity_of(self, partition: int) -> str:
        """Return what differs between the topic and a later one of the same name; empty where unknown."""


class Recording:
    """One process that records a topic. The caller holds the directory (`RecordingDirectory.held`)."""

    def __init__(
        self, source: RecordableSource, directory: RecordingDirectory, recorder: Recorder, tidying: Tidying
    ) -> None:
        self._source, self._directory = source, directory
        self._recorder, self._tidying = recorder, tidying
        self._starts_anew = False

    def run(
        self,
        stop: threading.Event,
        *,
        until_end: bool = False,
        report: Callable[[Recorded], None] = lambda recorded: None,
    ) -> Recorded:
        """Record until `stop` is set, or up to the end that the topic had at the beginning.

        Args:
            stop: ends the recording; the open files are completed.
            until_end: also stop at the end that the topic had at the beginning.
            report: called after each poll with the counts so far, once a reading has arrived.

        Returns:
            The final counts and files.
        """
        end: Position | None = None
        self._tidying.tidy(self._directory)
        while not stop.is_set():
            self._turn()
            if self._recorder.recorded.num_rows:
                report(self._recorder.recorded)
            if until_end and self._source.is_assigned:
                end = self._source.end() if end is None else end
                if self._source.has_reached(end):
                    break
        self._source.commit(self._recorder.close_files())
        self._tidying.tidy(self._directory)
        return self._recorder.recorded

    def _turn(self) -> None:
        batch = self._source.poll(_POLL_SECONDS)
        if self._directory.meet(self._source.identity_of(0)):  # what is held came from the topic before
            self._recorder.close_files()
            self._starts_anew = True
        self._recorder.add(batch)
        if batch.assigned:
            starts = self._starts(batch.assigned)
            self._source.read_from(starts)
            self._recorder.begin(starts)
        if self._recorder.is_full:
            self._source.commit(self._recorder.close_files())
            self._tidying.tidy(self._directory)

    def _starts(self, partitions: Collection[int]) -> dict[int, int]:
        """Return where to read each partition: behind its files, or where its commit says, or at its oldest.

        A committed offset may be ahead of the files, behind messages that gave no reading. That of a topic
        which was deleted means nothing.
        """
        earliest = self._source.earliest(partitions)
        committed = {} if self._starts_anew else self._source.committed(partitions)
        ends, self._starts_anew = self._directory.ends(), False
        return {
            number: max(earliest.get(number, 0), committed.get(number) or 0, ends.get(number, 0))
            for number in partitions
        }
