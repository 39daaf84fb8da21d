"""Compares rows that were scored again with those that the service published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from connectors.parquet.recorded_names import topic_of
from connectors.records import Readings
from detector.verify.inputs import PartitionInput
from detector.verify.rows import Published, Row

Fault: TypeAlias = Literal["differs", "missing", "extra", "twice"]
FAULTS: dict[Fault, str] = {
    "differs": "differ",
    "missing": "are missing in the topic",
    "extra": "were published, and the input does not give them",
    "twice": "were published twice",
}
Uncompared: TypeAlias = Literal[
    "settling", "retention", "pending", "no input", "several partitions", "other model", "fallback"
]
UNCOMPARED: dict[Uncompared, str] = {
    "settling": "among the first rows of a series, whose windows began before the input",
    "retention": "before the oldest row of their series that the topic has",
    "pending": "not processed by the service when this began",
    "no input": "published, and outside the input",
    "several partitions": "of series that came from several partitions, in an order that nobody knows",
    "other model": "of series that a model judged earlier which is not in the configuration",
    "fallback": "of series that the fallback judged, which is not scored again",
}
NOTHING: Mapping[str, Uncompared] = MappingProxyType({})
_MOST_EXAMPLES = 10
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """One row that is wrong: what was published, and what the input gives; None where there is none."""

    fault: Fault
    published: Row | None
    rescored: Row | None


@dataclass(slots=True)
class Comparison:
    """What a comparison found.

    equal       rows with equal bits in all columns
    in_score    rows of equal model, version, score and state, in series whose earlier rows are unknown
    faults      rows that are wrong, by fault
    uncompared  rows that cannot be compared, by reason
    examples    the first wrong rows
    series      series with a compared row
    published   rows of the topic that were compared
    """

    equal: int = 0
    in_score: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    uncompared: Counter[Uncompared] = field(default_factory=Counter)
    examples: list[Found] = field(default_factory=list)
    series: set[str] = field(default_factory=set)
    published: list[Row] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """The number of rows that were compared."""
        return self.equal + self.in_score + self.faults["differs"]

    def add(self, fault: Fault, published: Row | None, rescored: Row | None) -> None:
        """Count a row that is wrong."""
        self.faults[fault] += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(Found(fault, published, rescored))

    def take_in(self, other: Comparison) -> None:
        """Add what was found of another series."""
        self.equal += other.equal
        self.in_score += other.in_score
        self.faults += other.faults
        self.uncompared += other.uncompared
        self.examples = [*self.examples, *other.examples][:_MOST_EXAMPLES]
        self.series |= other.series
        self.published += other.published

    def leave_out(self, reason: Uncompared) -> Comparison:
        """Return that no row of this comparison counts, for one reason."""
        num = self.equal + self.in_score + self.faults.total() + self.uncompared.total()
        return Comparison(uncompared=Counter({reason: num}))


class Comparing:
    """Compares row by row. Rows outside the stretch are matched, and not counted.

    Each series is compared by itself, since it may turn out late that it came from several partitions.
    """

    def __init__(
        self,
        published: Published,
        stretch_ms: tuple[int, int],
        settle_rows: Mapping[str, int],
        left_out: Mapping[str, Uncompared] = NOTHING,
    ) -> None:
        """Prepare for the rows of a stretch.

        Args:
            published: what the service published; it is used up.
            stretch_ms: the first and the last time that count, epoch milliseconds.
            settle_rows: model -> after so many rows of a series, its windows hold no row from before the
                input.
            left_out: series that cannot be compared, with the reason.
        """
        self._published, self._left_out = published, left_out
        self._from_ms, self._to_ms = stretch_ms
        self._settle_rows = settle_rows
        self._spans: dict[str, tuple[int, int]] = {}
        self._unjudged: dict[str, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()
        self._began_later: set[str] = set()
        self._places: dict[str, dict[str, int]] = {}
        self._in_several: set[str] = set()
        self._of: dict[str, Comparison] = {}

    def meet(self, part: PartitionInput, names: Iterable[str]) -> None:
        """Note that series come from a partition. A topic that was created again is another one."""
        for name in names:
            places = self._places.setdefault(name, {})
            number = places.setdefault(part.label, part.partition)
            if number != part.partition or any(topic_of(one) != part.topic for one in places):
                self._in_several.add(name)

    def see(self, readings: Readings, is_unjudged: Callable[[str], bool], interval_ns: int) -> None:
        """Note the input before models get their share: where it has a series of none, no row is right.

        Args:
            readings: all that a batch has.
            is_unjudged: whether a series that no model gets can have no row.
            interval_ns: of the models. A row of the last interval may follow from readings after the input.
        """
        num = len(readings.names)
        first = np.full(num, np.iinfo(np.int64).max)
        last = np.zeros(num, np.int64)
        np.minimum.at(first, readings.series, readings.timestamp_ns)
        np.maximum.at(last, readings.series, readings.timestamp_ns)
        for name, one, other in zip(readings.names, first.tolist(), last.tolist(), strict=True):
            if name not in self._places and is_unjudged(name):
                begin, end = one // _MS, (other - interval_ns) // _MS
                before = self._unjudged.get(name, (begin, end))
                self._unjudged[name] = (min(before[0], begin), max(before[1], end))

    def add(self, part: PartitionInput, rows: Sequence[Row]) -> None:
        """Compare the next rows of a partition."""
        for row in rows:
            if row.series in self._left_out:
                continue
            self._note(row)
            published = self._published.take(row.series, row.time_ms)
            if published is not None:
                again = self._published.next_of(row.series, row.time_ms)
                if again is not None and again.digest == published.digest and self._counts_at(row):
                    self._published.take(row.series, row.time_ms)
                    self._found(row.series).add("twice", again, row)
            if self._counts_at(row):
                self._compare(part, row, published)

    def finish(self) -> Comparison:
        """Look at the published rows that nothing matched; return what was found."""
        for row in self._published.left():
            if not self._counts_at(row):
                continue
            if row.series in self._left_out:
                self._found(row.series).uncompared[self._left_out[row.series]] += 1
            elif self._is_in_input(row):
                self._found(row.series).add("extra", row, None)
            else:
                self._found(row.series).uncompared["no input"] += 1
        found = Comparison()
        for name, one in self._of.items():
            found.take_in(one.leave_out("several partitions") if name in self._in_several else one)
        return found

    def _found(self, series: str) -> Comparison:
        return self._of.setdefault(series, Comparison())

    def _is_in_input(self, row: Row) -> bool:
        spans = self._spans if row.series in self._places else self._unjudged
        first, last = spans.get(row.series, (0, -1))
        return first <= row.time_ms <= last

    def _note(self, row: Row) -> None:
        first, last = self._spans.get(row.series, (row.time_ms, row.time_ms))
        self._spans[row.series] = (min(first, row.time_ms), max(last, row.time_ms))
        self._counts[row.series] += 1

    def _counts_at(self, row: Row) -> bool:
        return self._from_ms <= row.time_ms <= self._to_ms

    def _compare(self, part: PartitionInput, row: Row, published: Row | None) -> None:
        found = self._found(row.series)
        if published is None:
            self._absent(part, row)
            return
        found.series.add(row.series)
        found.published.append(published)
        if published.digest == row.digest:
            found.equal += 1
        elif self._is_settling(part, row):
            found.uncompared["settling"] += 1
        elif self._is_unknown_before(part, row) and published.verdict == row.verdict:
            found.in_score += 1
        else:
            found.add("differs", published, row)

    def _absent(self, part: PartitionInput, row: Row) -> None:
        firsts = self._published.firsts.get(row.series)
        if firsts and row.time_ms < firsts[0]:
            self._began_later.add(row.series)
            self._found(row.series).uncompared["retention"] += 1
        elif not part.is_published and row.time_ms > self._published.lasts.get(row.series, -1):
            self._found(row.series).uncompared["pending"] += 1
        else:
            self._found(row.series).add("missing", None, row)

    def _is_settling(self, part: PartitionInput, row: Row) -> bool:
        """Whether the windows of the row here, or those of the service, lacked rows that the other had."""
        settles = self._settle_rows.get(row.model, 0)
        began_later = self._is_unknown_before(part, row) and self._counts[row.series] <= settles
        if began_later or row.series not in self._began_later:
            return began_later
        return row.time_ms in self._published.firsts[row.series][:settles]

    def _is_unknown_before(self, part: PartitionInput, row: Row) -> bool:
        return not part.has_beginning or row.series in self._began_later
