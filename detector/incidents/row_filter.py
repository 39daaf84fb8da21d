"""Which rows count for incidents: the rules that ask of a row alone, over columns of all series.

A row that a rule holds back keeps its score and state in the verdict; it is counted by reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.incidents.maintenance import in_maintenance
from detector.incidents.rules import ChannelRule, IncidentRules, Suppression
from detector.scoring.verdicts import State, Verdicts

_BAD = (State.ANOMALOUS, State.FLATLINE, State.OUT_OF_RANGE)
_UNKNOWN = (State.WARMING, State.GAP, State.STALE)


@dataclass(frozen=True, slots=True)
class FilteredRows:
    """Rows as the rules of a series see them.

    known  bool [n], the state is known
    bad    bool [n], may open an incident and keeps one open
    held   bool [n], bad, but in maintenance: keeps an incident open, opens and worsens none
    score  float64 [n], 0 where it is unknown or does not matter
    """

    known: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    held: NDArray[np.bool_]
    score: NDArray[np.float64]


class RowFilter:
    """Channel rules, settling after gaps, maintenance. Raises ValueError for rules of unknown channels."""

    def __init__(self, rules: IncidentRules, channels: Sequence[str]) -> None:
        unknown = sorted(set(rules.channels) - set(channels))
        if unknown:
            raise ValueError(f"no such channel: {', '.join(unknown)}; known: {', '.join(channels)}")
        self._rules = rules
        of_channels = [rules.channels.get(name, ChannelRule()) for name in channels]
        self._asks = any(rule.asks_of_deviation for rule in of_channels)
        self._sign = np.array([{"both": 0, "above": 1, "below": -1}[rule.direction] for rule in of_channels])
        self._absolute = np.array([rule.min_absolute for rule in of_channels])
        self._relative = np.array([rule.min_relative for rule in of_channels])

    def admit(
        self, verdicts: Verdicts, since_gap: NDArray[np.int64], suppressed: dict[Suppression, int]
    ) -> FilteredRows:
        """`since_gap`: int64 [n], known rows since the last unknown one, the row itself included."""
        score = np.nan_to_num(verdicts.score, nan=0.0)
        bad = np.isin(verdicts.state, _BAD)
        held = np.zeros(len(bad), np.bool_)
        if self._asks:
            self._ask_channels(verdicts, bad, score, suppressed)
        if self._rules.settle_rows:
            early = (since_gap <= self._rules.settle_rows) & np.isin(
                verdicts.state, (State.OK, State.ANOMALOUS)
            )
            _suppress(early, bad, score, "recovery", suppressed)
        if self._rules.maintenance and bad.any():
            rows = np.flatnonzero(bad)
            held[rows] = in_maintenance(
                self._rules.maintenance, verdicts.names, verdicts.series[rows], verdicts.timestamp_ns[rows]
            )
            suppressed["maintenance"] += int(np.count_nonzero(held))
        return FilteredRows(~np.isin(verdicts.state, _UNKNOWN), bad, held, score)

    def _ask_channels(
        self,
        verdicts: Verdicts,
        bad: NDArray[np.bool_],
        score: NDArray[np.float64],
        suppressed: dict[Suppression, int],
    ) -> None:
        """Rows matter where some channel that is to blame deviates as its rule asks."""
        asked = np.isin(verdicts.state, (State.OK, State.ANOMALOUS)) & (score > self._rules.close_score)
        rows = np.flatnonzero(asked)
        if len(rows) == 0:
            return
        blamed = _to_blame(verdicts.contribution[rows])
        deviation = verdicts.actual[rows] - verdicts.expected[rows]
        known = ~np.isnan(deviation)
        wrong_way = blamed & known & (deviation * self._sign < 0)
        least = np.maximum(self._absolute, self._relative * np.abs(verdicts.expected[rows]))
        too_small = blamed & known & (np.abs(deviation) < least)
        nobody = ~blamed.any(axis=1)
        has_direction = nobody | (blamed & ~wrong_way).any(axis=1)
        matters = nobody | (blamed & ~wrong_way & ~too_small).any(axis=1)
        for mask, reason in ((~has_direction, "direction"), (has_direction & ~matters, "deviation")):
            chosen = np.zeros(len(bad), np.bool_)
            chosen[rows[mask]] = True
            _suppress(chosen, bad, score, reason, suppressed)  # type: ignore[arg-type]  # mypy widens it


def _to_blame(contribution: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The channels with at least an even share of the error, bool [n, C]; none where shares are unknown."""
    known = np.nan_to_num(contribution, nan=0.0)
    share = np.minimum(1.0 / contribution.shape[1], known.max(axis=1, keepdims=True))
    blamed: NDArray[np.bool_] = (known >= share) & (known > 0)
    return blamed


def _suppress(
    rows: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    score: NDArray[np.float64],
    reason: Suppression,
    suppressed: dict[Suppression, int],
) -> None:
    """These rows are quiet; those of them that were bad are counted."""
    suppressed[reason] += int(np.count_nonzero(rows & bad))
    bad[rows] = False
    score[rows] = 0.0
