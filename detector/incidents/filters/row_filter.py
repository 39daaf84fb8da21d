"""Which rows count for incidents: the rules that look at one row at a time, over columns of all series.

A row that a rule suppresses keeps its score and state in the verdict. It is counted by the rule's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.incidents.filters.maintenance import in_maintenance
from detector.incidents.filters.mutes import Mutes
from detector.incidents.filters.rows_since_gap import RowsSinceGap
from detector.incidents.rules import IncidentRules, Suppression
from detector.rows.series_arrays import SeriesArray
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State, Verdicts

_BAD = (State.FLATLINE, State.OUT_OF_RANGE)
_UNKNOWN = (State.WARMING, State.GAP, State.STALE, State.TRANSITION, State.IDLE)
_SCORED = (State.OK, State.ANOMALOUS, State.MISSING)


@dataclass(frozen=True, slots=True)
class FilteredRows:
    """Rows as the incident rules of a series use them.

    known     bool [n], the state is known
    bad       bool [n], the row may open an incident and keeps one open
    held      bool [n], bad, but in maintenance: keeps an incident open, opens and worsens none
    score     float64 [n], 0 where it is unknown or does not matter
    strength  float64 [n], the score in units of the page level, or the cumulative evidence if that is more
    muted     bool [n], somebody muted the series at this row; bad rows are then held
    """

    known: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    held: NDArray[np.bool_]
    score: NDArray[np.float64]
    strength: NDArray[np.float64]
    muted: NDArray[np.bool_]


class RowFilter:
    """Applies, in order: page level, channel rules, wait after a gap, maintenance windows and mutes.

    Args:
        rules: the incident rules.
        channels: names of the model's channels.
        suppressed: the counts by rule; they are increased in place.

    Raises:
        ValueError: a rule names a channel that the model does not know.
    """

    def __init__(
        self, rules: IncidentRules, channels: Sequence[str], suppressed: dict[Suppression, int]
    ) -> None:
        self._channels = tuple(channels)
        self._suppressed = suppressed
        self._rows_since_gap = RowsSinceGap()
        self.mutes = Mutes()
        self.use_rules(rules)

    def use_rules(self, rules: IncidentRules) -> None:
        """Apply other rules from the next row on. The counts since the last gap continue.

        Raises:
            ValueError: a rule names a channel that the model does not know. The old rules stay in force.
        """
        unknown = sorted(rules.unmatched(self._channels))
        if unknown:
            raise ValueError(f"no such channel: {', '.join(unknown)}; known: {', '.join(self._channels)}")
        self._rules = rules
        of_channels = [rules.of_channel(name) for name in self._channels]
        self._has_channel_rules = any(rule.ignores_deviations for rule in of_channels)
        self._sign = np.array([{"both": 0, "above": 1, "below": -1}[rule.direction] for rule in of_channels])
        self._absolute = np.array([rule.min_absolute for rule in of_channels])
        self._relative = np.array([rule.min_relative for rule in of_channels])

    def apply(self, verdicts: Verdicts, slots: NDArray[np.int32]) -> FilteredRows:
        """Return which of the next rows count.

        Args:
            verdicts: the next rows of some series, sorted by series and time.
            slots: the number of each series in `verdicts.names`, int32 [len(names)].
        """
        since_gap = self._rows_since_gap.count(verdicts, slots)
        score = np.nan_to_num(verdicts.score, nan=0.0)
        bad = verdicts.paged | np.isin(verdicts.state, _BAD)
        self._suppressed["budget"] += int(np.count_nonzero((verdicts.state == State.ANOMALOUS) & ~bad))
        held = np.zeros(len(bad), np.bool_)
        if self._has_channel_rules:
            self._apply_channel_rules(verdicts, bad, score)
        if self._rules.settle_rows:
            early = (since_gap <= self._rules.settle_rows) & np.isin(verdicts.state, _SCORED)
            self._suppress(early, bad, score, "recovery")
        if self._rules.maintenance and bad.any():
            rows = np.flatnonzero(bad)
            held[rows] = in_maintenance(
                self._rules.maintenance, verdicts.names, verdicts.series[rows], verdicts.timestamp_ns[rows]
            )
            self._suppressed["maintenance"] += int(np.count_nonzero(held))
        muted = self.mutes.at(slots[verdicts.series], verdicts.timestamp_ns)
        self._suppressed["muted"] += int(np.count_nonzero(muted & bad & ~held))
        held |= muted & bad
        unjudged = (verdicts.state == State.MISSING) & np.isnan(verdicts.score)
        counts = (score > 0) | (bad & (verdicts.kind == Kind.MODE))
        lasting = np.where(counts, np.nan_to_num(verdicts.cumulative, nan=0.0), 0.0)
        strength = np.maximum(score / np.nan_to_num(verdicts.threshold, nan=1.0), lasting)
        known = ~np.isin(verdicts.state, _UNKNOWN) & ~unjudged
        return FilteredRows(known, bad, held, score, strength, muted)

    def drop(self, slots: NDArray[np.int32]) -> None:
        """Forget these series."""
        self._rows_since_gap.drop(slots)
        self.mutes.drop(slots)

    def arrays(self) -> list[SeriesArray]:
        """Return every array over series that rows change; `mutes` has those that people change."""
        return self._rows_since_gap.arrays()

    def _apply_channel_rules(
        self, verdicts: Verdicts, bad: NDArray[np.bool_], score: NDArray[np.float64]
    ) -> None:
        """Suppress rows in which no channel to blame deviates as its rule requires; edits `bad`, `score`."""
        near = (score > self._rules.close_score * verdicts.threshold) | verdicts.paged
        checked = np.isin(verdicts.state, _SCORED) & near
        rows = np.flatnonzero(checked)
        if len(rows) == 0:
            return
        blamed = _to_blame(verdicts.contribution[rows])
        deviation = verdicts.actual[rows] - verdicts.expected[rows]
        known = ~np.isnan(deviation)
        wrong_way = blamed & known & (deviation * self._sign < 0)
        least = np.maximum(self._absolute, self._relative * np.abs(verdicts.expected[rows]))
        too_small = blamed & known & (np.abs(deviation) < least)
        is_unblamed = ~blamed.any(axis=1)
        has_direction = is_unblamed | (blamed & ~wrong_way).any(axis=1)
        matters = is_unblamed | (blamed & ~wrong_way & ~too_small).any(axis=1)
        reasons: tuple[Suppression, Suppression] = ("direction", "deviation")
        for mask, reason in zip((~has_direction, has_direction & ~matters), reasons, strict=True):
            chosen = np.zeros(len(bad), np.bool_)
            chosen[rows[mask]] = True
            self._suppress(chosen, bad, score, reason)

    def _suppress(
        self,
        rows: NDArray[np.bool_],
        bad: NDArray[np.bool_],
        score: NDArray[np.float64],
        reason: Suppression,
    ) -> None:
        """Make these rows quiet, in `bad` and `score`; count those that were bad."""
        self._suppressed[reason] += int(np.count_nonzero(rows & bad))
        bad[rows] = False
        score[rows] = 0.0


def _to_blame(contribution: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the channels with at least an even share of the error, bool [n, C]; none if unknown."""
    known = np.nan_to_num(contribution, nan=0.0)
    share = np.minimum(1.0 / contribution.shape[1], known.max(axis=1, keepdims=True))
    blamed: NDArray[np.bool_] = (known >= share) & (known > 0)
    return blamed
