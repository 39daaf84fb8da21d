"""The cores of a memory: means of groups of similar windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from connectors.parquet.reader import Chunk
from detector.models.families import build
from detector.models.memory import MemoryAutoencoder
from trainer.data.history import Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.fitting.cores import fit_cores

WINDOW = 8


@contextmanager
def windows_of(values: np.ndarray) -> Iterator[TrainingWindows]:
    """All windows of one series, in the units of the values, float64 [rows, channels]."""
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    with build_history(lambda: iter([chunk]), tuple("ab"[: values.shape[1]]), 1, 5) as history:
        segments = history.part("fit", Shares(0.01, 0.01))
        num_channels = values.shape[1]
        yield TrainingWindows(history, segments, np.zeros(num_channels), np.ones(num_channels), WINDOW)


def fitted(values: np.ndarray, num_cores: int, seed: int = 0) -> MemoryAutoencoder:
    torch.manual_seed(1)
    module = build("memory", {"nodes": num_cores}, WINDOW, values.shape[1])
    assert isinstance(module, MemoryAutoencoder)
    with windows_of(values) as windows:
        fit_cores(module, windows, seed)
    return module


def beats(num: int, noise: float = 0.0) -> np.ndarray:
    """One beat of 8 rows again and again, float64 [rows, 1]."""
    beat = np.array([0.0, 0.0, 3.0, -1.0, 0.0, 0.5, 0.0, 0.0])
    return (np.tile(beat, num) + np.random.default_rng(0).normal(0, noise, num * 8))[:, None]


def test_the_phases_of_one_beat_become_its_cores() -> None:
    values = beats(60)
    cores = fitted(values, 40).cores.detach().numpy()
    phases = np.stack([values[at : at + WINDOW, 0] for at in range(8)])
    phases -= phases.mean(axis=1, keepdims=True)
    nearest = np.abs(phases[:, None] - cores[None]).max(axis=2).min(axis=1)
    assert nearest.max() < 1e-5


def test_each_core_is_the_mean_of_the_windows_nearest_to_it() -> None:
    values = beats(400, noise=0.3)
    module = fitted(values, 4)
    with windows_of(values) as windows:
        x_NWC = torch.from_numpy(windows.spread(8_192))
    x_ND = (x_NWC - x_NWC.mean(1, keepdim=True)).flatten(1)
    with torch.inference_mode():
        number_N = module.encode(x_NWC)[:, 0].long()
    for number in number_N.unique().tolist():
        mean_D = x_ND[number_N == number].mean(0)
        torch.testing.assert_close(module.cores[number], mean_D, atol=0.1, rtol=0.1)


def test_an_odd_beat_is_further_from_the_cores_than_any_usual_one() -> None:
    values = beats(200, noise=0.05)
    module = fitted(values, 64)
    odd = beats(12, noise=0.05)
    odd[42, 0] = -1.0  # the peak of one beat is missing
    views = np.lib.stride_tricks.sliding_window_view(odd, WINDOW, axis=0)
    x_BWC = torch.from_numpy(views.astype(np.float32))
    x_BWC = x_BWC.transpose(1, 2)
    with torch.inference_mode():
        distance = (x_BWC - module(x_BWC)).square().mean((1, 2)).numpy()
    touched = np.arange(42 - WINDOW + 1, 43)
    assert distance[touched].min() > 3 * np.delete(distance, touched).max()


def test_few_windows_give_fewer_groups_and_the_cores_repeat() -> None:
    cores = fitted(beats(6, noise=0.1), 16).cores.detach()
    assert 1 <= len(cores.unique(dim=0)) <= 6
    assert torch.isfinite(cores).all()


def test_the_same_seed_gives_the_same_cores() -> None:
    values = beats(100, noise=0.3)
    first, same, other = (fitted(values, 8, seed).cores for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_missing_values_are_filled_before_the_cores_are_found() -> None:
    values = np.hstack([beats(100, noise=0.1), beats(100, noise=0.1)])
    values[np.random.default_rng(3).random(values.shape) < 0.1] = np.nan
    assert torch.isfinite(fitted(values, 8).cores).all()
