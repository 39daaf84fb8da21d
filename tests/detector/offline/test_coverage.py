"""A replay says how many rows and series it judged, and names those that it never judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from detector import Detector
from tests.support.sines import WINDOW, frame_of, linear_artifact


def test_rows_and_series_are_judged_or_counted_with_a_reason() -> None:
    whole, short = frame_of(100, 1), frame_of(WINDOW - 4, 2)
    holed = frame_of(100, 3)
    holed.iloc[60:63, 1] = np.nan
    holed = holed.drop(holed.index[80:82])
    named = {"pump-1": whole, "pump-2": short, "pump-3": holed}
    rows = pd.concat([frame.assign(series=name) for name, frame in named.items()])
    coverage = Detector(linear_artifact()).replay(rows).coverage
    judged = 2 * (100 - WINDOW + 1) - 2
    assert coverage.summary == f"of {judged} rows judged in 2 of 3 series"
    assert coverage.unjudged == {"warming": (2 * (WINDOW - 1) + WINDOW - 4, 3), "gap": (2, 1)}
    assert coverage.masked == (3, 1)
    assert coverage.rows == judged + sum(num for num, _ in coverage.unjudged.values())
    assert coverage.never_judged == {"pump-2": "warming"}
    assert list(coverage.lines())[-1] == "series never judged: pump-2 (warming)"


@pytest.mark.parametrize("num", [5, 8])
def test_only_the_first_series_never_judged_are_named(num: int) -> None:
    frame = frame_of(3)
    rows = pd.concat([frame.assign(series=f"pump-{at}") for at in range(num)])
    coverage = Detector(linear_artifact()).replay(rows).coverage
    assert coverage.summary == f"of 0 rows judged in 0 of {num} series"
    line = list(coverage.lines())[-1]
    assert line.count("pump-") == 5
    assert line.endswith(f" and {num - 5} more") == (num > 5)
