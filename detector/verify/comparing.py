"""Compares rows that were scored again with those that the service published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from detector.verify.inputs import PartitionInput
from detector.verify.rows import Published, Row

Fault: TypeAlias = Literal["differs", "missing", "extra", "twice"]
FAULTS: dict[Fault, str] = {
    "differs": "differ",
    "missing": "are missing in the topic",
    "extra": "were published, and the input does not give them",
    "twice": "were published twice",
}
Uncompared: TypeAlias = Literal["settling", "retention", "pending", "no input"]
UNCOMPARED: dict[Uncompared, str] = {
    "settling": "among the first rows of a series, whose windows began before the input",
    "retention": "before the oldest row of their series that the topic has",
    "pending": "not processed by the service when this began",
    "no input": "published, and outside the input",
}
_MOST_EXAMPLES = 10


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
    in_score    rows of equal version, score and state, in series whose earlier rows are unknown
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


class Comparing:
    """Compares row by row. Rows outside the stretch are matched, and not counted."""

    def __init__(self, published: Published, from_ms: int, to_ms: int, settle_rows: int) -> None:
        """Prepare for rows from `from_ms` to `to_ms`.

        Args:
            published: what the service published; it is used up.
            from_ms: the first time that counts, epoch milliseconds.
            to_ms: the last one.
            settle_rows: after so many rows of a series, its windows hold no row from before the input.
        """
        self._published, self._from_ms, self._to_ms = published, from_ms, to_ms
        self._settle_rows = settle_rows
        self._spans: dict[str, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()
        self._began_later: set[str] = set()
        self.comparison = Comparison()

    def add(self, part: PartitionInput, rows: Sequence[Row]) -> None:
        """Compare the next rows of a partition."""
        for row in rows:
            self._note(row)
            published = self._published.take(row.series, row.time_ms)
            if published is not None:
                again = self._published.next_of(row.series, row.time_ms)
                if again is not None and again.digest == published.digest and self._counts_at(row):
                    self._published.take(row.series, row.time_ms)
                    self.comparison.add("twice", again, row)
            if self._counts_at(row):
                self._compare(part, row, published)

    def finish(self) -> Comparison:
        """Look at the published rows that nothing matched; return what was found."""
        for row in self._published.left():
            if not self._counts_at(row):
                continue
            first, last = self._spans.get(row.series, (0, -1))
            if first <= row.time_ms <= last:
                self.comparison.add("extra", row, None)
            else:
                self.comparison.uncompared["no input"] += 1
        return self.comparison

    def _note(self, row: Row) -> None:
        first, last = self._spans.get(row.series, (row.time_ms, row.time_ms))
        self._spans[row.series] = (min(first, row.time_ms), max(last, row.time_ms))
        self._counts[row.series] += 1

    def _counts_at(self, row: Row) -> bool:
        return self._from_ms <= row.time_ms <= self._to_ms

    def _compare(self, part: PartitionInput, row: Row, published: Row | None) -> None:
        found = self.comparison
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
            self.comparison.uncompared["retention"] += 1
        elif not part.is_published and row.time_ms > self._published.lasts.get(row.series, -1):
            self.comparison.uncompared["pending"] += 1
        else:
            self.comparison.add("missing", None, row)

    def _is_settling(self, part: PartitionInput, row: Row) -> bool:
        """Whether the windows of the row here, or those of the service, lacked rows that the other had."""
        began_later = self._is_unknown_before(part, row) and self._counts[row.series] <= self._settle_rows
        service_did = row.series in self._began_later and row.time_ms in self._published.firsts[row.series]
        return began_later or service_did

    def _is_unknown_before(self, part: PartitionInput, row: Row) -> bool:
        return not part.has_beginning or row.series in self._began_later
