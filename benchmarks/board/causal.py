"""Make the scores of any method causal: a score uses rows up to its own plus the delay, and no later one.

A method gives one number for each window, known when the window's last row has come. Methods that predict a
row from earlier ones have windows of one row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def at_delay(ends: NDArray[np.float64], reach: int, delay: int | None) -> NDArray[np.float64]:
    """Return the score of each row: the mean over the windows that contain it and end within the delay.

    Args:
        ends: float64 [n], the number of the window that ends at each row; NaN where it is unknown.
        reach: Rows of a window, at least 1.
        delay: Rows after a row that its score may use; None: all windows that contain the row.

    Returns:
        float64 [n]. A row without a known window has the least score of all.
    """
    later = reach - 1 if delay is None else min(delay, reach - 1)
    known = ~np.isnan(ends)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, ends, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    first = np.arange(len(ends))
    last = np.minimum(first + later + 1, len(ends))
    num = count[last] - count[first]
    mean = np.where(num > 0, (total[last] - total[first]) / np.maximum(num, 1), np.nan)
    least = np.nanmin(mean) if known.any() else 0.0
    return np.where(np.isnan(mean), least, mean)
