"""What each kind of evidence finds in rows, and which of them speaks loudest.

Letters: n rows, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.scoring.kinds import Kind


@dataclass(frozen=True, slots=True)
class ScaledRows:
    """Hold n final rows, sorted by slot and row, as evidence sees them.

    slot      int32 [n], the series
    row       int64 [n], row numbers
    start_ns  int64 [n], start of each row
    scaled    float32 [n, C], in the units of the model, NaN where no credible value came
    alarm     bool [n], the row alarms by its score
    """

    slot: NDArray[np.int32]
    row: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    scaled: NDArray[np.float32]
    alarm: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spoken:
    """Hold what one kind of evidence finds in n rows.

    kind        whose evidence it is
    cumulative  float64 [n], 1 is the threshold; NaN where unknown
    paged       bool [n], it counts for incidents
    blame       float64 [n, C], how much each channel is to blame; None, and rows of NaN: others say it
    expected    float64 [n, C], what each channel should be, in the units of the model, NaN where this kind
                of evidence does not know it; None: it never does
    needs_score  it says nothing of a row without a score
    lines       object [n], the lines along which channels drift (`Lines`), None where nothing drifts; None:
                this kind knows none
    """

    kind: Kind
    cumulative: NDArray[np.float64]
    paged: NDArray[np.bool_]
    blame: NDArray[np.float64] | None = None
    expected: NDArray[np.float64] | None = None
    needs_score: bool = True
    lines: NDArray[np.object_] | None = None


@dataclass(frozen=True, slots=True)
class Loudest:
    """Hold what all kinds together find in n rows.

    cumulative  float64 [n], the largest of them in units of its threshold; NaN where all are unknown
    paged       bool [n], one of them counts for incidents
    kind        uint8 [n], a `Kind`
    """

    cumulative: NDArray[np.float64]
    paged: NDArray[np.bool_]
    kind: NDArray[np.uint8]


def loudest(score: NDArray[np.float64], threshold: NDArray[np.float64], spoken: Sequence[Spoken]) -> Loudest:
    """Return which evidence speaks loudest in each row.

    The window speaks where the score is above its page level. Else what counts for incidents comes first,
    then what is above its threshold. Among equals the larger one speaks.

    Args:
        score: float64 [n], NaN where unknown; then only evidence speaks that needs none.
        threshold: the page level of the score, float64 [n].
        spoken: what each other kind finds.
    """
    num = len(score)
    kind = np.full(num, int(Kind.WINDOW), np.uint8)
    cumulative, paged = np.full(num, np.nan), score > threshold
    loudness = np.where(paged, np.inf, 0.0)
    known = ~np.isnan(score)
    for one in spoken:
        heard = known if one.needs_score else np.ones(num, np.bool_)
        value = np.where(heard, one.cumulative, np.nan)
        cumulative = np.fmax(cumulative, value)
        counts = one.paged & heard
        paged = paged | counts
        height = np.nan_to_num(value, nan=0.0)
        first = 2e6 if one.kind == Kind.DRIFT else 1e6  # what is slow explains what is small
        speaks = np.where(counts, first + height, np.where(height > 1.0, height, 0.0))
        kind[speaks > loudness] = int(one.kind)
        loudness = np.maximum(loudness, speaks)
    return Loudest(cumulative, paged, kind)
