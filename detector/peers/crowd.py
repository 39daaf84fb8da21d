"""Which series have left the others of their kind: blocks of all series at the same time, compared.

This follows verdicts and changes none. What it says depends on all series that it sees, and no process of a
group sees all of them. So it is no part of what is replayed
(docs/decisions/0059-peers-outside-of-what-is-replayed.md).

Letters: n rows, C channels, F features (2 C: levels, then residuals), S series.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.artifact.peers.peers import Peers
from detector.artifact.spec import Spec
from detector.peers.blocks import Block, Blocks
from detector.peers.distance import differences, distances, features, lasting
from detector.peers.runs import Run, Runs
from detector.scoring.verdicts import State, Verdicts

_PATIENCE, _FOREMOST = 2, 0.9
"""A block waits so many blocks for series that are behind this quantile of all.

The median would stand still where most series have stopped.
"""
_OLD = 8
"""What a series showed so many blocks ago says nothing of it now."""
_STAYS = 0.7
"""A series that is away stays so until three blocks are below this part of the limit."""
SeriesBlocks = dict[str, dict[int, Block]]
"""The blocks of each series, by number."""
_NOT_JUDGED = (int(State.TRANSITION), int(State.IDLE))


@dataclass(frozen=True, slots=True)
class Apart:
    """Hold that a series is away from its peers, from the first block of it to the newest.

    series      name of the series
    channel     name of the channel that is farthest away
    what        whether its level or its residual is
    start_ns    start of the first block beyond the limit
    found_ns    end of the block in which it became evidence
    until_ns    end of the newest block in which it was away
    strength    largest distance that lasted, in units of the limit: above 1
    difference  newest difference to the others, in the units of the channel
    """

    series: str
    channel: str
    what: Literal["level", "residual"]
    start_ns: int
    found_ns: int
    until_ns: int
    strength: float
    difference: float


@dataclass(frozen=True, slots=True)
class CrowdView:
    """Hold what the newest compared blocks show.

    known     series whose usual distances the model knows
    compared  series that were compared in the newest block
    apart     those that are away from their peers, the farthest first
    """

    known: int = 0
    compared: int = 0
    apart: tuple[Apart, ...] = ()


class Crowd:
    """Compare the series of one model. Not thread-safe.

    Args:
        spec: The model; its scales, intervals and modes are used.
        peers: How far its series usually are from each other.
    """

    def __init__(self, spec: Spec, peers: Peers) -> None:
        self._spec, self._peers = spec, peers
        self._done: int | None = None
        self._runs = Runs(len(peers.limits), _OLD)
        self._apart: dict[str, Apart] = {}
        self._compared = 0
        self._common = spec.column("center"), spec.column("scale")
        self._scales: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._unjudged = unjudged_cells(spec)
        self._blocks = Blocks(peers.block_ns, len(spec.channels))
        self._weights = np.array(peers.weights)
        self._place_of = {name: at for at, name in enumerate(peers.levels)}
        self._usual, self._units = (
            np.array([of[name] for name in peers.levels]) for of in (peers.levels, peers.units)
        )
        self._rows = np.array([peers.block_ns / spec.interval_of(name) for name in peers.levels])
        limits = np.array(peers.limits)
        self._limits = np.where(limits > 0, limits, np.inf)

    def view(self) -> CrowdView:
        """Return what the newest compared blocks show."""
        apart = sorted(self._apart.values(), key=lambda one: (-one.strength, one.series))
        return CrowdView(len(self._peers.levels), self._compared, tuple(apart))

    def add(self, verdicts: Verdicts) -> None:
        """Add final verdicts; series that the model does not know are left out."""
        if len(verdicts) == 0:
            return
        known = np.array([name in self._peers.levels for name in verdicts.names], np.bool_)
        if not known.all():
            names = tuple(name for name, is_known in zip(verdicts.names, known, strict=True) if is_known)
            number = (np.cumsum(known) - 1).astype(np.int32)
            verdicts = verdicts.take(known[verdicts.series])
            verdicts = replace(verdicts, names=names, series=number[verdicts.series])
        center, scale = self._common
        if self._spec.own_scales:
            scales = [self._scales_of(name) for name in verdicts.names]
            center, scale = (np.array([one[part] for one in scales])[verdicts.series] for part in (0, 1))
        scaled = (verdicts.actual - center) / scale
        scaled[np.isin(verdicts.state, _NOT_JUDGED)] = np.nan
        if self._unjudged is not None:
            scaled[self._unjudged[verdicts.mode]] = np.nan
        self._blocks.add(verdicts.names, verdicts.series, verdicts.timestamp_ns, scaled)

    def compare(self) -> list[Apart]:
        """Compare the blocks that all series have passed; return what has ended.

        A series that is more than two blocks behind the foremost tenth is not waited for.
        """
        begun = self._blocks.begun()
        if len(begun) == 0:
            return []
        foremost = int(np.quantile(begun, _FOREMOST, method="lower"))
        passed = int(begun[begun >= foremost - _PATIENCE].min())
        is_done = self._done is not None and passed <= self._done
        ended = [] if is_done else self._compare_until(passed)
        self._blocks.trim(_OLD)
        return ended

    def finish(self) -> list[Apart]:
        """Compare all blocks that are left, the begun ones too; return everything that was not over yet.

        Promise: where `compare` was never called, the answer depends on the rows alone, in any order.
        """
        self._blocks.finish()
        ended = self._compare_until(None)
        return sorted([*ended, *self._apart.values()], key=lambda one: (one.found_ns, one.series))

    def take_blocks(self) -> SeriesBlocks:
        """End all blocks and return them; another crowd can be given them."""
        self._blocks.finish()
        return self._blocks.ended

    def give_blocks(self, blocks: SeriesBlocks) -> None:
        """Add ended blocks of series that have none here yet."""
        self._blocks.ended |= {name: dict(own) for name, own in blocks.items()}

    def drop(self, names: Collection[str]) -> None:
        """Forget these series."""
        self._blocks.drop(names)
        self._runs.drop(names)
        for name in names:
            self._apart.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget all other series: they went to another process."""
        self.drop([*{*self._blocks.names} - {*names}])

    def _scales_of(self, series: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if series not in self._scales:
            self._scales[series] = self._spec.scales_of(series)
        return self._scales[series]

    def _compare_until(self, passed: int | None) -> list[Apart]:
        """Compare the ended blocks before this number in ascending order, all of them for None."""
        by_number: dict[int, list[str]] = {}
        for series, own in self._blocks.ended.items():
            for number in [one for one in own if passed is None or one < passed]:
                by_number.setdefault(number, []).append(series)
        ended: list[Apart] = []
        for number in sorted(by_number):
            blocks = {name: self._blocks.ended[name].pop(number) for name in sorted(by_number[number])}
            if self._done is None or number >= self._done:
                ended += self._compare_block(number, blocks)
                self._done = number + 1
        if passed is not None:
            self._done = passed
        return ended

    def _compare_block(self, number: int, blocks: dict[str, Block]) -> list[Apart]:
        """Compare the series of one block; return what has ended."""
        names = list(blocks)
        place = np.array([self._place_of[name] for name in names])
        difference = differences(self._centred(blocks, place))
        distance = distances(difference, self._units[place])
        self._compared = int((~np.isnan(distance)).any(axis=1).sum())
        run = self._runs.add(names, number, distance)
        strengths = np.abs(np.nan_to_num(lasting(run.distance.swapaxes(0, 1)), nan=0.0)) / self._limits
        strengths[~run.known.all(axis=1)] = 0.0
        is_touched = strengths.max(axis=1) > 1.0
        if self._apart:
            is_touched |= np.array([name in self._apart for name in names])
        ended: list[Apart] = []
        for at in np.flatnonzero(is_touched).tolist():
            one = slice(at, at + 1)
            own = Run(run.number[one], run.distance[one], run.known[one])
            ended += self._judge(names[at], own, strengths[at], difference[at])
        for name in [one for one in self._apart if one not in blocks]:
            if self._runs.is_over(name, number):
                ended.append(self._apart.pop(name))
        return ended

    def _centred(self, blocks: dict[str, Block], place: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the features of a block of each series, less those of its history, float64 [S, F]."""
        level, num = (np.array([getattr(one, part) for one in blocks.values()]) for part in ("mean", "num"))
        level[num < least_rows(self._rows[place], self._peers.share)] = np.nan
        usual, num_channels = self._usual[place], level.shape[1]
        found = features(level - usual[:, :num_channels], self._weights)
        found[:, num_channels:] -= usual[:, num_channels:]
        return found

    def _judge(
        self, name: str, run: Run, strengths: NDArray[np.float64], difference: NDArray[np.float64]
    ) -> list[Apart]:
        """Take in the newest block of a series that is away, or was; return what has ended.

        Args:
            name: The series.
            run: Its newest blocks, S is 1.
            strengths: Least distances that lasted, in units of the limits, float64 [F].
            difference: Newest differences, float64 [F].
        """
        before, block_ns = self._apart.get(name), self._peers.block_ns
        at, until_ns = int(np.argmax(strengths)), (int(run.number[0, -1]) + 1) * block_ns
        strength = float(strengths[at])
        if strength <= 1.0 and before is not None:
            away = self._still_away(before, run.distance[run.known])
            if away.any():
                self._apart[name] = replace(before, until_ns=until_ns) if away[-1] else before
                return []
        if strength <= 1.0:
            return [] if before is None else [self._apart.pop(name)]
        channel, is_residual = at % len(self._spec.channels), at >= len(self._spec.channels)
        now = Apart(
            name,
            self._spec.channels[channel].name,
            "residual" if is_residual else "level",
            int(run.number[0, 0]) * block_ns,
            until_ns,
            until_ns,
            strength,
            float(difference[at] * self._scales_of(name)[1][channel]),
        )
        if before is not None:
            strength = max(strength, before.strength)
            now = replace(now, start_ns=before.start_ns, found_ns=before.found_ns, strength=strength)
        self._apart[name] = now
        return []

    def _still_away(self, before: Apart, distance: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return in which of the newest blocks, float64 [blocks, F], the series is away as it was."""
        at = self._spec.channel_names.index(before.channel)
        at += len(self._spec.channels) if before.what == "residual" else 0
        side = np.sign(before.difference) * distance[:, at]
        away: NDArray[np.bool_] = np.nan_to_num(side, nan=0.0) > _STAYS * self._limits[at]
        return away


def least_rows(rows: NDArray[np.float64], share: Sequence[float]) -> NDArray[np.float64]:
    """Return how many values a block of each series and channel needs, float64 [S, C].

    Args:
        rows: Rows of a whole block of each series, float64 [S].
        share: Share of them that each channel needs.
    """
    least: NDArray[np.float64] = np.maximum(1.0, np.array(share) * rows[:, None])
    return least


def unjudged_cells(spec: Spec) -> NDArray[np.bool_] | None:
    """Return which channels are not judged in each mode, bool [modes + 1, C]; None where there are no modes.

    The last line is for rows whose mode is unknown.
    """
    if spec.modes is None:
        return None
    names = spec.channel_names
    return np.array([[not mode.judges(name) for name in names] for mode in spec.modes.all])


def backtested(spec: Spec, verdicts: Sequence[Verdicts]) -> tuple[Apart, ...]:
    """Return which series left their peers, and when, of all verdicts of a replay.

    The result depends on the verdicts alone, not on their order between series, nor on how they are cut.
    """
    return compared(spec, [blocks_of(spec, verdicts)])


def blocks_of(spec: Spec, verdicts: Sequence[Verdicts]) -> SeriesBlocks:
    """Return the blocks of each series of a replay, by number; none where the model has no peers."""
    if spec.peers is None:
        return {}
    crowd = Crowd(spec, spec.peers)
    for one in verdicts:
        crowd.add(one)
    return crowd.take_blocks()


def compared(spec: Spec, parts: Sequence[SeriesBlocks]) -> tuple[Apart, ...]:
    """Return what `backtested` does, from the blocks of parts of a replay without a common series."""
    if spec.peers is None:
        return ()
    crowd = Crowd(spec, spec.peers)
    for part in parts:
        crowd.give_blocks(part)
    return tuple(crowd.finish())


def words(one: Apart) -> str:
    """Return a sentence without its end: which series is how far from its peers, and in what."""
    side = "above" if one.difference > 0 else "below"
    what = one.channel if one.what == "level" else f"{one.channel}, given its other channels,"
    return f"{one.series}: {what} is {abs(one.difference):.3g} {side} that of its peers"
