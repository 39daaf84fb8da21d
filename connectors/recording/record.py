"""Records Kafka topics as Parquet files: every reading in exactly one file, whatever happens.

1. Files appear whole: they are written under a hidden name, synced and renamed.
2. Their names have the offsets. A partition is read from the end of its newest file, also where the offsets
   behind that file were not committed because the process was killed.
3. Offsets are committed after the file is on disk, so that a lag of the group is what is not recorded yet.
4. The channels of a topic that comes later are learnt with its first messages, which are then read again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from connectors.recording.directory import RecordingDirectory
from connectors.recording.recorder import Recorded, Recorder, Rolling
from connectors.recording.tidying import Tidying
from connectors.recording.topics import RecordedTopics
from connectors.records import Batch, Codec, Position

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

    def use_codec(self, codec: Codec) -> None:
        """Decode with another codec from the next `poll` on."""

    def start_over(self) -> None:
        """Report every partition as lost and assigned again."""

    @property
    def has_lost(self) -> bool:
        """Whether the next batch will report lost partitions, or partitions that start over."""

    @property
    def is_assigned(self) -> bool:
        """Whether the partitions are assigned and read."""

    def identity_of(self, partition: int) -> str:
        """Return what differs between the topic and a later one of the same name; empty where unknown."""


class Recording:
    """One process that records topics into a directory, which it holds alone."""

    def __init__(
        self,
        source: RecordableSource,
        topics: RecordedTopics,
        codec_of: Callable[[tuple[str, ...]], Codec],
        tidying: Tidying,
        rolling: Rolling | None = None,
    ) -> None:
        """Prepare to record.

        Args:
            source: reads the topics, and decodes the channels that `topics` has now.
            topics: what is recorded.
            codec_of: returns the codec of messages for these channels.
            tidying: when files are merged and deleted.
            rolling: when files are complete.
        """
        self._source, self._topics, self._codec_of = source, topics, codec_of
        self._recorder, self._tidying = Recorder(topics.known, rolling, topics.numbers), tidying
        self._met: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._starts_anew: set[str] = set()

    def run(
        self,
        stop: threading.Event,
        *,
        until_end: bool = False,
        report: Callable[[Recorded], None] = lambda recorded: None,
    ) -> Recorded:
        """Record until `stop` is set, or up to the ends that the topics had at the beginning.

        Args:
            stop: ends the recording; the open files are completed.
            until_end: also stop at the ends that the topics had at the beginning.
            report: called after each poll with the counts so far, once a reading has arrived.

        Returns:
            The final counts and files.
        """
        end: Position | None = None
        self._tidy()
        while not stop.is_set():
            self._turn()
            if self._recorder.recorded.num_rows:
                report(self._recorder.recorded)
            if until_end and self._source.is_assigned and not self._source.has_lost:
                end = self._source.end() if end is None else end
                if self._source.has_reached(end):
                    break
        self._complete()
        return self._recorder.recorded

    def _turn(self) -> None:
        batch = self._source.poll(_POLL_SECONDS)
        numbers = self._topics.numbers
        for number in batch.assigned:
            self._met[numbers.topic_of(number)] = number
        for topic, directory in self._topics.directories.items():
            if topic in self._met:
                self._meet(topic, directory)
        self._recorder.add(batch)
        if batch.assigned:
            starts = self._starts(batch.assigned)
            self._source.read_from(starts)
            self._recorder.begin(starts)
        self._unknown |= {topic for topic, _ in batch.position or {}} - self._topics.known.keys()
        if self._topics.learn_more(self._unknown):
            self._unknown -= self._topics.known.keys()
            self._complete()
            self._source.use_codec(self._codec_of(self._topics.channels))
            self._source.start_over()
        elif self._recorder.is_full:
            self._complete()

    def _meet(self, topic: str, directory: RecordingDirectory) -> None:
        """Note the id of a topic. What is held of the one before is completed first, under its own label."""
        identity = self._source.identity_of(self._met[topic])
        if directory.is_another(identity):
            self._recorder.close_files(topic)
            self._starts_anew.add(topic)
        directory.meet(identity)

    def _complete(self) -> None:
        """Complete all files, commit what is in them, and tidy."""
        self._source.commit(self._recorder.close_files())
        self._tidy()

    def _tidy(self) -> None:
        for directory in self._topics.directories.values():
            self._tidying.tidy(directory)

    def _starts(self, partitions: Collection[int]) -> dict[int, int]:
        """Return where to read each partition: behind its files, or where its commit says, or at its oldest.

        A committed offset may be ahead of the files, behind messages that gave no reading. That of a topic
        which was deleted means nothing.
        """
        earliest = self._source.earliest(partitions)
        committed = self._source.committed(partitions)
        starts = {}
        for number in partitions:
            topic, partition = self._topics.numbers.place(number)
            at = 0 if topic in self._starts_anew else committed.get(number) or 0
            directory = self._topics.directories.get(topic)  # None: another process records it
            on_disk = 0 if directory is None else directory.ends().get(partition, 0)
            starts[number] = max(earliest.get(number, 0), at, on_disk)
        self._starts_anew -= {self._topics.numbers.topic_of(number) for number in partitions}
        return starts
