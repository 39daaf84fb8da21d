"""What a replay judged and what it did not, in rows and in series, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.scoring.verdicts import State, Verdicts

_FIRST = 5


@dataclass(frozen=True, slots=True)
class Coverage:
    """Hold how much was judged. A row is judged if it has a score, or a fault that needs none.

    rows, judged_rows      rows with a verdict, and those that were judged
    series, judged_series  series with a verdict, and those with a judged row
    unjudged               (rows, series) of each reason, by the label of the state: warming, gap, missing
    masked                 (rows, series) of rows judged without one of their values
    dropped_readings          readings dropped for their time: late, or by a wrong clock
    never_judged           the state of most of its rows, by series without a judged row
    """

    rows: int
    judged_rows: int
    series: int
    judged_series: int
    unjudged: Mapping[str, tuple[int, int]]
    masked: tuple[int, int]
    dropped_readings: int
    never_judged: Mapping[str, str]

    @classmethod
    def of(cls, verdicts: Iterable[Verdicts], dropped_readings: int) -> Coverage:
        """Return the coverage of final verdicts, given part by part."""
        judged: dict[str, int] = {}
        masked: dict[str, int] = {}
        states: dict[str, NDArray[np.int64]] = {}
        for part in verdicts:
            is_judged, is_masked = part.is_judged, part.is_masked
            num = len(part.names)
            cell = part.series[~is_judged].astype(np.int64) * len(State) + part.state[~is_judged]
            seen = np.bincount(cell, minlength=num * len(State)).reshape(num, len(State))
            counts = [
                np.bincount(part.series[rows], minlength=num).tolist() for rows in (is_judged, is_masked)
            ]
            for name, one, other, by_state in zip(part.names, *counts, seen, strict=True):
                judged[name] = judged.get(name, 0) + one
                masked[name] = masked.get(name, 0) + other
                states[name] = states.get(name, 0) + by_state
        unjudged = np.array(list(states.values()), np.int64).reshape(-1, len(State))
        return cls(
            rows=sum(judged.values()) + int(unjudged.sum()),
            judged_rows=sum(judged.values()),
            series=len(judged),
            judged_series=sum(num > 0 for num in judged.values()),
            unjudged={
                state.label: (int(unjudged[:, state].sum()), int(np.count_nonzero(unjudged[:, state])))
                for state in State
                if unjudged[:, state].any()
            },
            masked=(sum(masked.values()), sum(num > 0 for num in masked.values())),
            dropped_readings=dropped_readings,
            never_judged={
                name: State(int(states[name].argmax())).label for name, num in judged.items() if num == 0
            },
        )

    @classmethod
    def pooled(cls, parts: Sequence[Coverage]) -> Coverage:
        """Return the coverage of several replays together, which have no series in common."""
        unjudged: dict[str, tuple[int, int]] = {}
        for part in parts:
            for name, (rows, series) in part.unjudged.items():
                before = unjudged.get(name, (0, 0))
                unjudged[name] = (before[0] + rows, before[1] + series)
        return cls(
            rows=sum(part.rows for part in parts),
            judged_rows=sum(part.judged_rows for part in parts),
            series=sum(part.series for part in parts),
            judged_series=sum(part.judged_series for part in parts),
            unjudged={state.label: unjudged[state.label] for state in State if state.label in unjudged},
            masked=(sum(part.masked[0] for part in parts), sum(part.masked[1] for part in parts)),
            dropped_readings=sum(part.dropped_readings for part in parts),
            never_judged={name: state for part in parts for name, state in part.never_judged.items()},
        )

    @property
    def share(self) -> float:
        """The share of the rows that was judged, dropped readings included; NaN if there is no row."""
        given = self.rows + self.dropped_readings
        return self.judged_rows / given if given else float("nan")

    @property
    def summary(self) -> str:
        """How much was judged, in the words that follow a number of incidents.

        >>> Coverage(10, 8, 3, 2, {}, (0, 0), 0, {}).summary
        'of 8 rows judged in 2 of 3 series'
        """
        return f"of {self.judged_rows:,} rows judged in {self.judged_series:,} of {self.series:,} series"

    def lines(self) -> Iterator[str]:
        """Yield what was not judged, and why; nothing if all was."""
        for name, (rows, series) in self.unjudged.items():
            yield f"not judged, {name}: {rows:,} rows in {series:,} series"
        if self.masked[0]:
            yield f"judged without some of their values: {self.masked[0]:,} rows in {self.masked[1]:,} series"
        if self.dropped_readings:
            yield f"readings dropped, late or by a wrong clock: {self.dropped_readings:,}"
        if self.never_judged:
            shown = [f"{name} ({state})" for name, state in list(self.never_judged.items())[:_FIRST]]
            more = len(self.never_judged) - len(shown)
            yield f"series never judged: {', '.join(shown)}" + (f" and {more:,} more" if more else "")

    def as_json(self) -> dict[str, object]:
        """Return everything as plain values."""
        found = {name: {"rows": rows, "series": series} for name, (rows, series) in self.unjudged.items()}
        return {
            "rows": self.rows,
            "series": self.series,
            "judged": {"rows": self.judged_rows, "series": self.judged_series},
            **found,
            "masked": {"rows": self.masked[0], "series": self.masked[1]},
            "dropped_readings": self.dropped_readings,
            "never_judged": dict(self.never_judged),
        }
