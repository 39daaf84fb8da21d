"""Blocks of columns become row groups of a good size, and no row is lost or moved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.offline.output_files import Columns, gathered


def blocks(num: int, rows: int) -> Iterator[Columns]:
    for at in range(num):
        yield {"row": np.arange(at * rows, (at + 1) * rows), "half": np.full(rows, 0.5)}


def test_small_blocks_are_gathered_in_order() -> None:
    found = list(gathered(blocks(200, 1500)))
    assert [len(columns["row"]) for columns in found] == [88 * 1500, 88 * 1500, 24 * 1500]
    np.testing.assert_array_equal(np.concatenate([columns["row"] for columns in found]), np.arange(300_000))


def test_nothing_gathers_to_nothing() -> None:
    assert list(gathered(blocks(0, 10))) == []
