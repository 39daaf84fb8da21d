"""Half-space trees of river (https://riverml.xyz), which learn from every row that they score.

Tan, Ting and Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011.
"""

from __future__ import annotations

import numpy as np
import protocol
from river import anomaly


def half_space_trees(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    low, high = train.min(axis=0), train.max(axis=0)
    margin = 0.5 * (high - low) + 1e-6
    limits = {at: (float(low[at] - margin[at]), float(high[at] + margin[at])) for at in range(train.shape[1])}

    def score(rows: np.ndarray) -> np.ndarray:
        model = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, limits=limits, seed=0)
        for row in train.tolist():
            model.learn_one(dict(enumerate(row)))
        found = np.empty(len(rows))
        for at, row in enumerate(rows.tolist()):
            values = dict(enumerate(row))
            found[at] = model.score_one(values)
            model.learn_one(values)
        return found

    return score, 1


if __name__ == "__main__":
    protocol.main({"half-space-trees": half_space_trees})
