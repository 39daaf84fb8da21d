"""The Isolation Forest of Merlion (https://github.com/salesforce/Merlion) with its default sequence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import protocol
from merlion.models.anomaly.isolation_forest import IsolationForest, IsolationForestConfig
from merlion.utils import TimeSeries


def iforest(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    model = IsolationForest(IsolationForestConfig())
    model.train(_series(train))

    def score(rows: np.ndarray) -> np.ndarray:
        found = model.get_anomaly_score(_series(rows)).to_pd().iloc[:, 0].to_numpy()
        ends = np.full(len(rows), np.nan)
        ends[len(rows) - len(found) :] = found
        return ends

    return score, 1


def _series(rows: np.ndarray) -> TimeSeries:
    index = pd.date_range("2020-01-01", periods=len(rows), freq="min")
    return TimeSeries.from_pd(
        pd.DataFrame(rows, index=index, columns=[f"c{at}" for at in range(rows.shape[1])])
    )


if __name__ == "__main__":
    protocol.main({"merlion-iforest": iforest})
