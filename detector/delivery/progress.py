"""Track how far every partition was read, and separate readings to replay from live ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Position, Readings
from detector import logs
from detector.delivery.marks import Resume


@dataclass(slots=True)
class _Replay:
    """Describe a partition that is read again up to `until`.

    holds     series -> offset up to which its restored snapshot contains its readings
    started   time.monotonic at its assignment
    readings  readings replayed so far
    """

    until: int
    started: float
    holds: Mapping[str, int] = field(default_factory=dict)
    readings: int = 0


class Progress:
    """Track positions and replays of the partitions that this process reads. Not thread-safe.

    `position` and `previous` map a partition to the offset to read next, now and one batch earlier.
    `replayed` counts readings of all replays. `num_replaying` may be read from any thread.

    Args:
        numbers: of the partitions, as readings have them.
    """

    def __init__(self, numbers: PartitionNumbers) -> None:
        self._numbers = numbers
        self.position: dict[int, int] = {}
        self.previous: dict[int, int] = {}
        self.replayed = 0
        self._replays: dict[int, _Replay] = {}

    @property
    def num_replaying(self) -> int:
        """The number of partitions that are being replayed."""
        return len(self._replays)

    def replayed_until(self) -> dict[int, int]:
        """Return partition -> the offset at which its replay ends."""
        return {number: replay.until for number, replay in self._replays.items()}

    def live(self) -> dict[int, int]:
        """Return partition -> the offset to read next, without partitions that are being replayed."""
        return {number: at for number, at in self.position.items() if number not in self._replays}

    def begin(self, partition: int, resume: Resume, started: float) -> None:
        """Begin a partition: with a replay where `resume` has one, else live at once."""
        if resume.read_from < resume.publish_from:
            self._replays[partition] = _Replay(resume.publish_from, started, resume.holds)
        else:
            self.position[partition] = resume.read_from

    def forget(self, partition: int) -> None:
        """Forget a partition that was lost."""
        for known in (self._replays, self.position, self.previous):
            known.pop(partition, None)

    def split(self, batch: Batch) -> tuple[Readings | None, Batch]:
        """Separate a batch into readings to replay silently (None: none) and the live rest.

        1. Mark readings before the end of their partition's replay.
        2. Of these, leave out what the restored snapshot of their series contains already.
        3. Leave out rejected messages of the replay: they were published before.
        4. End the replays that this batch completes, and move the positions of live partitions.
        """
        if not self._replays:
            self._move(batch.position or {})
            return None, batch
        readings = batch.readings
        old = self._is_old(readings)  # 1
        silent = readings.take(old & ~self._is_held(readings, old))  # 2
        rejects = tuple(
            one
            for one in batch.rejects
            if one.partition not in self._replays or one.offset >= self._replays[one.partition].until
        )  # 3
        position = {
            key: at
            for key, at in (batch.position or {}).items()
            if self._is_live(self._numbers.number(*key), at, silent)
        }  # 4
        self._move(position)
        self.replayed += len(silent)
        return silent, replace(batch, readings=readings.take(~old), rejects=rejects, position=position)

    def _move(self, position: Position) -> None:
        for partition, at in self._numbers.of(position).items():
            self.previous[partition] = self.position.get(partition, at)
            self.position[partition] = at

    def _is_old(self, readings: Readings) -> NDArray[np.bool_]:
        """Return which readings lie before the end of their partition's replay."""
        until = np.zeros(1 + max(self._replays), np.int64)
        for partition, replay in self._replays.items():
            until[partition] = replay.until
        number = readings.partition
        is_old: NDArray[np.bool_] = readings.offset < until[np.minimum(number, len(until) - 1)] * (
            number < len(until)
        )
        return is_old

    def _is_held(self, readings: Readings, old: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which readings a restored snapshot contains already, where some are `old`."""
        if not old.any():
            return old
        partition_of = np.zeros(len(readings.names), np.int64)
        partition_of[readings.series] = readings.partition
        holds = [
            self._replays[partition].holds.get(name, 0) if partition in self._replays else 0
            for name, partition in zip(readings.names, partition_of.tolist(), strict=True)
        ]
        held: NDArray[np.bool_] = readings.offset < np.array(holds, np.int64)[readings.series]
        return held

    def _is_live(self, partition: int, at: int, silent: Readings) -> bool:
        """Return whether the batch reaches past the partition's replay; ends the replay there."""
        replay = self._replays.get(partition)
        if replay is None:
            return True
        replay.readings += int((silent.partition == partition).sum())
        if at < replay.until:
            return False
        del self._replays[partition]
        self.position[partition] = replay.until
        logs.event(
            "partition caught up",
            **self._numbers.words(partition),
            replayed=replay.readings,
            seconds=round(time.monotonic() - replay.started, 3),
        )
        return at > replay.until
