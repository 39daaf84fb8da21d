"""What the replay of some series found, so that the finds of several parts make those of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detector.delivery.routing.tally import REASONS, Unassigned
from detector.engine.values import Counters
from detector.incidents.decision import Applied
from detector.incidents.incident import Incident
from detector.offline.measuring.backtest_measures import JudgedRows, LabelledSeries
from detector.offline.measuring.coverage import Coverage
from detector.peers.crowd import SeriesBlocks

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what the replay of some series found. Parts have no series in common.

    incidents   the last state of each, in the order of opening
    coverage    how much was judged, and why the rest was not
    applied     what people decided and took effect, or was ignored
    counters    what the engine counted
    cumulative_channels  in how many channels small departures added up, and how many there are
    unassigned  series that the model must not judge, and their rows
    judged      rows by series, and with labels their scores
    labels      of the series that the engine knows, sorted by name; None where there are none
    blocks      of each series, for the comparison with its peers
    end_ns      time of the last row; 0 without rows
    """

    incidents: tuple[Incident, ...]
    coverage: Coverage
    applied: tuple[Applied, ...]
    counters: Counters
    cumulative_channels: tuple[int, int]
    unassigned: Unassigned
    judged: JudgedRows
    labels: dict[str, LabelledSeries] | None
    blocks: SeriesBlocks
    end_ns: int


@dataclass(frozen=True, slots=True)
class FailedPart:
    """Hold series that could not be judged, and the reason."""

    series: tuple[str, ...]
    reason: str


def together(parts: Sequence[Found]) -> Found:
    """Return what the parts found as one replay of all their series would have found it."""
    counters = Counters()
    for part in parts:
        counters.add(part.counters)
    labels = {name: one for part in parts for name, one in (part.labels or {}).items()}
    incidents = [one for part in parts for one in part.incidents]
    counting, known = zip(*(part.cumulative_channels for part in parts), strict=True)
    return Found(
        tuple(sorted(incidents, key=lambda one: (one.opened_ns, one.series))),
        Coverage.pooled([part.coverage for part in parts]),
        tuple(sorted((one for part in parts for one in part.applied), key=lambda one: one.order)),
        counters,
        (sum(counting), sum(known)),
        _all_unassigned([part.unassigned for part in parts]),
        JudgedRows(
            {name: num for part in parts for name, num in part.judged.num.items()},
            {name: one for part in parts for name, one in part.judged.scores.items()},
        ),
        {name: labels[name] for name in sorted(labels)} or None,
        {name: own for part in parts for name, own in part.blocks.items()},
        max(part.end_ns for part in parts),
    )


def _all_unassigned(parts: Sequence[Unassigned]) -> Unassigned:
    most = sorted((one for part in parts for one in part.most), key=lambda one: (-one.messages, one.name))
    return Unassigned(
        {reason: sum(part.series[reason] for part in parts) for reason in REASONS},
        {reason: sum(part.messages[reason] for part in parts) for reason in REASONS},
        tuple(most[:_MOST_NAMED]),
    )


def counted_of(counters: Counters) -> dict[str, int]:
    """Return what an engine counted of the quality of its data, by name.

    They are `readings`; `rows`; `gap_rows`, without any value; `cells`, values expected; `empty_cells`,
    those without a number; `duplicate_cells`, values sent again for the same time; `overwritten_cells`,
    values that a newer reading of the same row replaced; `out_of_order`, `late` and `wrong_clock` readings;
    `clock_restarts`, times that a clock went back.
    """
    grid = counters.grid
    return {
        "readings": counters.readings,
        "rows": counters.rows,
        "gap_rows": counters.gap_rows,
        "cells": counters.cells,
        "empty_cells": counters.nan_cells,
        "duplicate_cells": grid.duplicate,
        "overwritten_cells": grid.overwritten,
        "out_of_order": grid.out_of_order,
        "late": grid.late,
        "wrong_clock": grid.suspect_dropped,
        "clock_restarts": grid.clock_restarts,
    }
