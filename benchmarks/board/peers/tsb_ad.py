"""Methods of TSB-AD (https://github.com/TheDatumOrg/TSB-AD), with the hyperparameters that its authors tuned.

TSB-AD fits Sub-PCA and KMeansAD on the series that it scores. Here they are fitted on the training rows.
Scores that it puts at the middle of a window stand at the window's end. The forecasters need no change.
"""

from __future__ import annotations

import math

import numpy as np
import protocol
import torch
from sklearn.base import BaseEstimator
from TSB_AD.models.CNN import CNN
from TSB_AD.models.KMeansAD import KMeansAD
from TSB_AD.models.LSTMAD import LSTMAD
from TSB_AD.models.PCA import PCA
from TSB_AD.models.USAD import USAD

_MAX_CELLS = 40_000_000
"""Windows beyond this many cells are thinned for fitting, so that a long series fits into memory."""


class TaggedPCA(PCA, BaseEstimator):
    """PCA of TSB-AD with the tags that later versions of scikit-learn ask for."""


def sub_pca(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    channels = train.shape[1]
    window = _shorter(window if channels == 1 else max(4, 400 // channels), train)
    model = TaggedPCA(slidingWindow=window, n_components=None if channels == 1 else 0.25, zero_pruning=False)
    model.fit(_at_most(train, window))
    return lambda rows: _uncentred(model.decision_function(rows), window), window


def kmeans_ad(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    window = _shorter(window if train.shape[1] == 1 else 40, train)
    model = KMeansAD(k=10, window_size=window, stride=1)
    model.model.random_state = 0
    model.fit(_at_most(train, window))

    def score(rows: np.ndarray) -> np.ndarray:
        slides = np.nan_to_num(model._preprocess_data(rows))
        centres = model.model.cluster_centers_[model.model.predict(slides)]
        return protocol.at_ends(np.linalg.norm(slides - centres, axis=1), window, len(rows))

    return score, window


def cnn(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    window = _shorter(50, train)
    model = CNN(window_size=window, num_channel=[32, 32, 40], feats=train.shape[1], lr=0.0008, batch_size=128)
    model.fit(train)
    return lambda rows: _from_row(model.decision_function(rows), window), 1


def lstm_ad(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    window = _shorter(100 if train.shape[1] == 1 else 150, train)
    model = LSTMAD(window_size=window, pred_len=1, lr=0.0008, feats=train.shape[1], batch_size=128)
    model.fit(train)
    return lambda rows: _from_row(model.decision_function(rows), window), 1


def usad(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    window = _shorter(100, train)
    model = USAD(win_size=window, feats=train.shape[1], lr=0.001)
    model.fit(train)

    def score(rows: np.ndarray) -> np.ndarray:
        found = np.asarray(model.decision_function(rows))
        if train.shape[1] == 1:
            return _uncentred(found, window)
        return protocol.at_ends(found[: len(rows) - window + 1], window, len(rows))

    return score, window


def _shorter(window: int, train: np.ndarray) -> int:
    """Return the window, or a fifth of the training rows if that is shorter."""
    return max(4, min(window, len(train) // 5))


def _at_most(train: np.ndarray, window: int) -> np.ndarray:
    return train[-max(window * 2, _MAX_CELLS // (window * train.shape[1])) :]


def _uncentred(scores: np.ndarray, window: int) -> np.ndarray:
    """Return scores that TSB-AD put at the middle of their windows at the end of them."""
    front = math.ceil((window - 1) / 2)
    return protocol.at_ends(scores[front : front + len(scores) - window + 1], window, len(scores))


def _from_row(scores: np.ndarray, first: int) -> np.ndarray:
    found = np.array(scores, np.float64)
    found[:first] = np.nan
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002 - the generator that TSB-AD draws from
    protocol.main({"sub-pca": sub_pca, "kmeans-ad": kmeans_ad, "cnn": cnn, "lstm-ad": lstm_ad, "usad": usad})
