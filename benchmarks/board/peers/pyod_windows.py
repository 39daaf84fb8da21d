"""The Isolation Forest of pyod (https://github.com/yzhao062/pyod) on windows of rows."""

from __future__ import annotations

import numpy as np
import protocol
from pyod.models.iforest import IForest


def iforest(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    window = max(4, min(window, len(train) // 5, 100 if train.shape[1] == 1 else 10))
    model = IForest(n_estimators=100, random_state=0)
    model.fit(protocol.windows(train, window)[:: max(1, len(train) // 50_000)])

    def score(rows: np.ndarray) -> np.ndarray:
        return protocol.at_ends(model.decision_function(protocol.windows(rows, window)), window, len(rows))

    return score, window


if __name__ == "__main__":
    protocol.main({"iforest": iforest})
