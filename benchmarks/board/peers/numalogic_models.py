"""Autoencoders of numalogic (https://github.com/numaproj/numalogic) with their defaults."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import protocol
import torch
from numalogic.models.autoencoder import TimeseriesTrainer
from numalogic.models.autoencoder.variants import LSTMAE, Conv1dAE
from torch.utils.data import DataLoader

_WINDOW = 48
"""A multiple of 4, which the convolutions need."""


def lstm(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    length = _length(train)
    return _fitted(LSTMAE(seq_len=length, no_features=train.shape[1], embedding_dim=16), train, length)


def conv(train: np.ndarray, window: int) -> tuple[protocol.Score, int]:
    length = _length(train)
    return _fitted(Conv1dAE(seq_len=length, in_channels=train.shape[1]), train, length)


def _length(train: np.ndarray) -> int:
    return max(8, min(_WINDOW, len(train) // 20 * 4))


def _fitted(model: torch.nn.Module, train: np.ndarray, length: int) -> tuple[protocol.Score, int]:
    views = _windows(train, length)
    trainer = TimeseriesTrainer(max_epochs=20, logger=False, accelerator="cpu", devices=1)
    trainer.fit(model, train_dataloaders=DataLoader(views, batch_size=64, shuffle=True))
    model.eval()

    def score(rows: np.ndarray) -> np.ndarray:
        found = []
        with torch.no_grad():
            for batch in DataLoader(_windows(rows, length), batch_size=512):
                _, out = model(batch)
                found.append(((out - batch) ** 2).mean(dim=(1, 2)).numpy())
        return protocol.at_ends(np.concatenate(found), length, len(rows))

    return score, length


def _windows(rows: np.ndarray, length: int) -> torch.Tensor:
    return torch.from_numpy(protocol.windows(rows, length).reshape(-1, length, rows.shape[1]))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    protocol.main({"numalogic-lstm": lstm, "numalogic-conv": conv})
