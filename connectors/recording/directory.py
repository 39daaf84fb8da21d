"""The directory of a recording: who writes there, and how far each partition is on disk.

    .TOPIC.group        the consumer group of the recording
    .TOPIC.identities   the broker's ids of the topic, one a line: a topic created again has another one
    .TOPIC.lock         held while a process records

Offsets of a topic that was created again begin again at 0. Its files have another label: `TOPIC~2`.
A process that records several topics has a group of its own, and holds `.~topics.lock` too.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.durable import make_durable
from connectors.errors import ConnectorError
from connectors.parquet.recorded_names import Stretch, label_of, stretch_of, topic_of


class RecordingDirectory:
    """Hold what a directory knows of the recording of one topic. One process at a time may write."""

    def __init__(self, path: Path, topic: str) -> None:
        """Create the directory and the name of its group if they are missing."""
        self.path, self.topic = path, topic
        path.mkdir(parents=True, exist_ok=True)
        self._identities = path / f".{topic}.identities"
        self._known = self._identities.read_text().split() if self._identities.exists() else []
        self.group = group_in(path, topic)

    @property
    def label(self) -> str:
        """How the files name the topic: its name, and a number from its second creation on."""
        return label_of(self.topic, len(self._known))

    def is_another(self, identity: str) -> bool:
        """Return whether this is the id of a topic that was created after the one noted last.

        Args:
            identity: the broker's id of the topic; empty where the broker has none, which says nothing.
        """
        return bool(identity and self._known) and identity != self._known[-1]

    def meet(self, identity: str) -> None:
        """Note the broker's id of the topic. Another one than before changes the label of its files.

        Args:
            identity: the id; empty where the broker has none, which changes nothing.
        """
        if not identity or identity in self._known[-1:]:
            return
        known = [*self._known, identity]
        _write_whole(self._identities, "".join(f"{one}\n" for one in known))
        self._known = known

    def files(self) -> dict[Stretch, Path]:
        """Return the complete files of this topic and its predecessors, by label, partition and offset."""
        found = {stretch: path for path in self.path.glob("*.parquet") if (stretch := stretch_of(path))}
        return {one: found[one] for one in sorted(found) if topic_of(one.topic) == self.topic}

    def ends(self) -> dict[int, int]:
        """Return partition -> the offset behind everything that complete files of the present topic have."""
        ends: dict[int, int] = {}
        for stretch in self.files():
            if stretch.topic == self.label:
                ends[stretch.partition] = max(stretch.next, ends.get(stretch.partition, 0))
        return ends

    def scratch(self, partition: int) -> Path:
        """Return the name under which the open file of a partition is written."""
        return self.path / f"{self.label}-{partition}.parquet"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write alone while the context lasts; first remove what a killed process left unfinished.

        Raises:
            ConnectorError: Another process records this topic into this directory.
        """
        with locked(self.path, self.topic, self.topic):
            unfinished = re.compile(rf"\.{re.escape(self.topic)}(~\d+)?-\d+\.parquet\.part")
            for left in self.path.glob(".*.parquet.part"):
                if unfinished.fullmatch(left.name):
                    left.unlink(missing_ok=True)
            yield


def group_in(path: Path, name: str) -> str:
    """Return the consumer group that a directory has under a name; it is made at the first call."""
    marker = path / f".{name}.group"
    found = marker.read_text().strip() if marker.exists() else ""
    if not found:
        found = f"streamgauge-record-{uuid.uuid4().hex}"
        _write_whole(marker, f"{found}\n")
    return found


@contextmanager
def locked(path: Path, name: str, what: str) -> Iterator[None]:
    """Be the only process that holds a name of a directory, while the context lasts.

    Args:
        path: the directory.
        name: the name.
        what: what is recorded, for the message.

    Raises:
        ConnectorError: Another process holds it.
    """
    descriptor = os.open(path / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConnectorError(
                f"{path}: another process records {what} into this directory; stop it, or name another"
                " directory with --out"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it has all of the text, or what it had before, whatever happens."""
    scratch = path.with_name(f"{path.name}.part")
    scratch.write_text(text)
    make_durable(scratch)
    scratch.replace(path)
    make_durable(path.parent)
