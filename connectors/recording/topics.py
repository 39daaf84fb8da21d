"""The topics of a recording: where their files are, and which channels these have.

The channels of a topic are learnt once, from its oldest messages. A topic without any channel yet is not
recorded, and none of its offsets is committed. So nothing of it is lost once the first number comes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from connectors.errors import ConnectorError
from connectors.names import columns_fault
from connectors.partition_numbers import PartitionNumbers
from connectors.recording.directory import RecordingDirectory
from connectors.records import Readings

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RecordedTopic:
    """One topic whose channels are known.

    directory  its files
    channels   the columns of its files
    columns    where these are in readings

    Raises ConnectorError for channels that no table can have.
    """

    directory: RecordingDirectory
    channels: tuple[str, ...]
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        fault = columns_fault(self.channels)
        if fault is not None:
            raise ConnectorError(f"{self.directory.path}: {fault}: --channels names those to record")

    def own(self, readings: Readings) -> Readings:
        """Return readings of this topic with its channels.

        One that has values of channels of other topics alone is left out, as without these topics.
        """
        if self.columns == tuple(range(readings.values.shape[1])):
            return readings
        values = readings.values[:, self.columns]
        is_strange = np.isnan(values).all(axis=1) & ~np.isnan(readings.values).all(axis=1)
        return replace(readings, values=values).take(np.asarray(~is_strange))


class RecordedTopics:
    """All topics of one recording, which become more while it runs. Used as a context manager.

    Args:
        path: the directory.
        learn: returns the channels of a topic, none while it has no message with a number.
        numbers: of the partitions.
    """

    def __init__(
        self, path: Path, learn: Callable[[str], tuple[str, ...]], numbers: PartitionNumbers
    ) -> None:
        self._path, self._learn, self.numbers = path, learn, numbers
        self._held = ExitStack()
        self._told: dict[str, str] = {}
        self._looked: dict[str, float] = {}
        self.directories: dict[str, RecordingDirectory] = {}
        self.known: dict[str, RecordedTopic] = {}
        """The topics whose channels are known."""
        self.channels: tuple[str, ...] = ()
        """The columns of readings: those of all topics. New ones come at the end."""

    def meet(self, topic: str) -> RecordingDirectory:
        """Return the files of a topic, which no other process may write from now on.

        Raises:
            ConnectorError: Another process records it into the same directory.
        """
        if topic not in self.directories:
            directory = RecordingDirectory(self._path, topic)
            self._held.enter_context(directory.held())
            self.directories[topic] = directory
        return self.directories[topic]

    def learn(self, topic: str) -> bool:
        """Look for the channels of a topic; return whether it has some.

        Raises:
            ConnectorError: Another process records it, it cannot be read, or no table can have its channels.
        """
        directory, names = self.meet(topic), self._learn(topic)
        if names:
            channels = tuple(dict.fromkeys((*self.channels, *names)))
            at = {name: number for number, name in enumerate(channels)}
            self.known[topic] = RecordedTopic(directory, names, tuple(at[name] for name in names))
            self.channels = channels
        return bool(names)

    def learn_more(self, topics: Iterable[str]) -> bool:
        """Look for the channels of topics that have none yet; return whether some were found.

        A topic that cannot be recorded is passed over with a warning, and stops no other. From the second
        look on, a topic is looked at once in ten seconds.
        """
        before, now = len(self.known), time.monotonic()
        for topic in topics:
            if topic in self.known or now - self._looked.get(topic, -_LOOK_SECONDS) < _LOOK_SECONDS:
                continue
            try:
                fault = "" if self.learn(topic) else "it has no message with numbers yet"
            except ConnectorError as error:
                fault = str(error)
            if fault and topic in self._told:
                self._looked[topic] = now
            if fault and self._told.get(topic) != fault:
                logger.warning("topic %s is not recorded so far: %s", topic, fault)
                self._told[topic] = fault
        return len(self.known) > before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
