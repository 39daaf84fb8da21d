"""How much of the alarm budget was used in the last budget period, in event time.

The account is that of one process: the alarms that it opened, and those that the budget allows for the rows
that it judged. Both are sums, so that the accounts of several processes add up, however the series are spread
over them. The budget is for false alarms, and a person may say that an alarm was real. So the ids of the
newest alarms are kept too.

The account is kept in memory, in a fixed number of parts of the period. After a restart it begins again and
covers less time until a period has passed; alarms and allowance then cover the same time. The counters
`alarms_total` and `budgeted_alarms_total` are the ones to alert on, since Prometheus adds up across restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.calibration.alarm_budget import AlarmBudget, read_budget, rows_per_event, use_in_words
from detector.incidents.incident import MODEL_REASONS, IncidentEvent
from detector.scoring.verdicts import State, Verdicts

_PARTS = 64
_LEAST_SECONDS = 86_400
"""A period is at least a day, so that all hours of the day are in it."""
_MANY_MORE = 1.5
_MOST_IDS = 10_000
"""Alarms whose ids are kept; older ones cannot be told from false ones."""


@dataclass(frozen=True, slots=True)
class BudgetView:
    """The account of the last budget period.

    budget           the alarm budget
    alarms           incidents opened by a score or by cumulative evidence
    allowed          incidents that the budget allows for the rows that were judged
    covered_seconds  event time that the account covers, at most the period; 0 before the first judged row
    num_series       known series
    ids              of the newest alarms, at most 10,000
    """

    budget: AlarmBudget
    alarms: int
    allowed: float
    covered_seconds: float
    num_series: int
    ids: tuple[str, ...] = ()

    @property
    def used(self) -> float:
        """Alarms divided by those allowed; NaN before the first judged row."""
        return self.alarms / self.allowed if self.allowed else float("nan")

    def num_real(self, called_real: Set[str]) -> int:
        """Return how many of the alarms people called real, from the ids of all such incidents."""
        return sum(one in called_real for one in self.ids) if called_real else 0

    def words(self, num_real: int = 0) -> str:
        """Return what the budget allows and how much of it was used, as the end of a sentence."""
        return use_in_words(self.alarms - num_real, self.allowed, self.budget)

    @property
    def is_shared_by_many_more(self) -> bool:
        """Whether a budget in all is shared by over 1.5 times the series that it was calibrated for."""
        shared_by = self.budget.num_series
        return shared_by is not None and self.num_series > _MANY_MORE * shared_by


class BudgetUsed:
    """Keeps the account. Not thread-safe; `view` returns a value that any thread may read.

    The account is cut into 64 parts of the period. Its end follows the median of the newest times of all
    series that send, so that a few wrong clocks do not move it.

    Args:
        spec: The model whose budget is used.
    """

    def __init__(self, spec: Spec) -> None:
        self._alarms, self._allowed = np.zeros(_PARTS, np.int64), np.zeros(_PARTS)
        self._num_series, self._part_ns = 0, 0
        self.follow(spec)

    def follow(self, spec: Spec) -> None:
        """Use the budget of another model. The account goes on if the length of the period stays."""
        self._budget = read_budget(spec.threshold.alarm_budget)
        self.alarms_a_row = 1 / rows_per_event(spec.threshold.alarm_budget, spec.interval_ns)
        part_ns = max(self._budget.unit_seconds, _LEAST_SECONDS) * 10**9 // _PARTS
        if part_ns != self._part_ns:
            self._part_ns = part_ns
            self._begin(-1)

    def add(
        self,
        verdicts: Verdicts,
        events: Iterable[IncidentEvent],
        newest_ns: NDArray[np.int64],
        state: NDArray[np.uint8],
    ) -> None:
        """Count what a turn judged and opened.

        Args:
            verdicts: Final verdicts of the turn.
            events: What changed among incidents.
            newest_ns: Time of the newest verdict of every series after the turn, int64 [series]; -1: none.
            state: State of that verdict, uint8 [series].
        """
        self._num_series = len(newest_ns)
        sending = newest_ns[(state != State.STALE) & (newest_ns >= 0)]
        if len(sending):
            self._advance(int(np.median(sending)) // self._part_ns)
        if self._end < 0:
            return
        known = verdicts.timestamp_ns[~np.isnan(verdicts.score)]
        self._allowed += self.alarms_a_row * self._counted(known)
        opened = [one for one in events if one.kind == "opened" and one.incident.reason in MODEL_REASONS]
        self._alarms += self._counted(np.array([one.at_ns for one in opened], np.int64))
        self._remember(opened)

    def view(self) -> BudgetView:
        """Return the account as it is now."""
        covered = min(_PARTS, self._end - self._first + 1) if self._end >= 0 else 0
        return BudgetView(
            self._budget,
            int(self._alarms.sum()),
            float(self._allowed.sum()),
            covered * self._part_ns / 1e9,
            self._num_series,
            self._view_ids,
        )

    def _begin(self, part: int) -> None:
        self._alarms.fill(0)
        self._allowed.fill(0)
        self._ids: dict[str, int] = {}
        self._view_ids: tuple[str, ...] = ()
        self._first = self._end = part

    def _remember(self, opened: Sequence[IncidentEvent]) -> None:
        """Keep the ids of new alarms with their parts, and forget those that left the period."""
        begin = self._end - _PARTS
        is_over = any(part <= begin for part in islice(self._ids.values(), 1))
        if not opened and not is_over:
            return
        parts = {one.incident.id: min(one.at_ns // self._part_ns, self._end) for one in opened}
        found = [(name, part) for name, part in {**self._ids, **parts}.items() if part > begin]
        self._ids = dict(sorted(found, key=itemgetter(1))[-_MOST_IDS:])
        self._view_ids = tuple(self._ids)

    def _advance(self, part: int) -> None:
        """Let the period end with this part. A time before the whole period begins another account."""
        if self._end < 0 or part <= self._end - _PARTS or part >= self._end + _PARTS:
            self._begin(part)
        for gone in range(self._end + 1, part + 1):
            self._alarms[gone % _PARTS] = self._allowed[gone % _PARTS] = 0
        self._end = max(self._end, part)

    def _counted(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many times lie in each part, int64 [64]; those after the period are in its last part."""
        parts = np.minimum(times_ns // self._part_ns, self._end)
        parts = parts[parts > self._end - _PARTS]
        if len(parts):
            self._first = min(self._first, int(parts.min()))
        return np.bincount(parts % _PARTS, minlength=_PARTS)
