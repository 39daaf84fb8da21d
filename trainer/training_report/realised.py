"""Budget against realised false alarms: thresholds set on some held-out blocks, alarms counted on others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import rows_per_event
from detector.calibration.peaks_over_threshold import decluster, estimated_quantile

_BLOCKS = 4
_EVENTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_RUN_ROWS = 8
"""Rows that end an event, as in the calibration."""
_LEAST_ROWS = 200


def budget_curve(artifact: Artifact) -> dict[str, Any]:
    """Return how many events were budgeted on the held-out rows and how many came, for several budgets.

    The held-out rows are cut into four blocks of time. For each block, a threshold is estimated on the other
    three, as the calibration estimates it, and its events are counted. `budgeted` and `realised` are sums
    over the blocks.
    """
    kept, segment = (artifact.held_out.get(name, np.empty(0)) for name in ("error", "segment"))
    finite = np.isfinite(kept)
    errors, segments = kept[finite], segment[finite].astype(np.int64)
    if len(errors) < _LEAST_ROWS:
        words = f"None: {len(errors):,} held-out rows are too few to set a threshold on some of them."
        return {"budgeted": [], "realised": [], "words": words}
    spec = artifact.spec
    allowed = len(errors) / rows_per_event(spec.threshold.alarm_budget, spec.interval_ns)
    words = (
        f"Thresholds are set on three of four blocks of {len(errors):,} held-out rows."
        f" Events are counted on the fourth. The budget in force, {spec.threshold.alarm_budget}, allows"
        f" {allowed:.3g} in these rows."
    )
    realised = [realised_events(errors, segments, events / len(errors)) for events in _EVENTS]
    return {"budgeted": list(_EVENTS), "realised": realised, "words": words}


def realised_events(errors: NDArray[np.float64], segments: NDArray[np.int64], events_a_row: float) -> int:
    """Return the events over all blocks, each judged by a threshold that the other blocks set.

    Args:
        errors: finite errors in the order of time, float64 [n].
        segments: number of the uninterrupted segment of each row, int64 [n].
        events_a_row: events a row that are allowed.
    """
    block = np.arange(len(errors)) * _BLOCKS // len(errors)
    found = 0
    for number in range(_BLOCKS):
        mine = block == number
        value = estimated_quantile(errors[~mine], segments[~mine], events_a_row).value
        found += len(decluster(errors[mine], segments[mine], value, _RUN_ROWS))
    return found
