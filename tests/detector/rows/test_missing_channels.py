"""A channel that stops sending while others go on is missing after its limit, however the rows are cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.rows.grid import Rows
from detector.rows.missing_channels import MissingChannels
from detector.rows.windows import GapFiller

CHANNELS = 3


def expected_mask(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The definition, row by row."""
    mask, absent = np.zeros(values.shape, bool), np.zeros(values.shape[1], int)
    for at, row in enumerate(values):
        if np.isnan(row).all():
            continue
        absent = np.where(np.isnan(row), absent + 1, 0)
        mask[at] = (limits > 0) & (absent >= limits)
    return mask


@given(
    known=st.lists(st.lists(st.booleans(), min_size=CHANNELS, max_size=CHANNELS), min_size=1, max_size=60),
    limits=st.lists(st.integers(0, 6), min_size=CHANNELS, max_size=CHANNELS),
    cuts=st.sets(st.integers(1, 59)),
    num_series=st.integers(1, 3),
)
def test_missing_follows_its_definition_for_any_cut(
    known: list[list[bool]], limits: list[int], cuts: set[int], num_series: int
) -> None:
    values = np.where(np.array(known), 1.0, np.nan)
    limit = np.array(limits)
    filler, watch = GapFiller(max_gap=0), MissingChannels(CHANNELS)
    watch.use_limits(limit)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(values)), len(values)]
    found = []
    for start, stop in pairwise(bounds):
        slot = np.repeat(np.arange(num_series, dtype=np.int32), stop - start)
        row = np.tile(np.arange(start, stop), num_series)
        mask = watch.missing(filler.extend(Rows(slot, row, np.tile(values[start:stop], (num_series, 1)))))
        found.append(mask.reshape(num_series, stop - start, CHANNELS))
    actual = np.concatenate(found, axis=1)
    for one in actual:
        np.testing.assert_array_equal(one, expected_mask(values, limit))


def test_a_channel_that_its_series_never_had_is_missed_once_it_has_sent_something() -> None:
    filler, watch = GapFiller(max_gap=0), MissingChannels(2)
    watch.use_limits(np.array([2, 2]))
    watch.never_had(0, [1])

    def step(start: int, values: list[list[float]]) -> list[bool]:
        rows = Rows(np.zeros(len(values), np.int32), start + np.arange(len(values)), np.array(values))
        return watch.missing(filler.extend(rows))[:, 1].tolist()

    nan = np.nan
    assert step(0, [[1.0, nan]] * 5) == [False] * 5
    assert step(5, [[1.0, 1.0], [1.0, nan], [1.0, nan]]) == [False, False, True]
