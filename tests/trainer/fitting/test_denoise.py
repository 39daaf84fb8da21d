"""Corrupted input, clean target: what is corrupted, and that models learn to undo it; trimmed losses."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import streamgauge
from connectors.parquet.reader import Chunk
from detector.artifact.spec import Member
from detector.models import families as models
from trainer.commands import _train_config
from trainer.config import FitOptions, ModelOptions, TrainConfig, override
from trainer.data.history import History, Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TrainerError
from trainer.fitting.denoise import corrupted
from trainer.fitting.gradient import TrainingAndValidation, fit_module
from trainer.progress import quiet

WINDOW, CHANNELS = 16, 2
OPTIONS = FitOptions(
    max_epochs=30, patience=30, min_steps_per_epoch=20, batch_size=64, learning_rate=1e-2, device="cpu"
)


def waves(num_rows: int, seed: int = 0) -> np.ndarray:
    """Two sines of one period, whose strength wanders, float64 [rows, 2]."""
    rng = np.random.default_rng(seed)
    strength = 1.2 + 0.4 * np.sin(np.arange(num_rows) / 37 + rng.uniform(0, 6))
    angle = np.arange(num_rows) * 0.5 + rng.uniform(0, 6)
    return strength[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def history_of(values: np.ndarray) -> History:
    chunk = Chunk(np.arange(len(values)), ("s",), np.zeros(len(values), np.int32), values, None, None)
    return build_history(lambda: iter([chunk]), tuple("ab"), 1, 5)


def windows_of(values: np.ndarray) -> torch.Tensor:
    """All windows of a series, float32 [n, W, C]."""
    rolled = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), WINDOW, axis=0)
    return torch.from_numpy(rolled.transpose(0, 2, 1).copy())


def trained(family: str, history: History, options: FitOptions, **given: object) -> torch.nn.Module:
    split = TrainingAndValidation(
        *(
            TrainingWindows(history, history.part(name, Shares(0.2, 0.2)), np.zeros(2), np.ones(2), WINDOW)
            for name in ("train", "validation", "train")
        )
    )
    torch.manual_seed(0)
    hyperparameters = models.resolve(family, given, WINDOW, CHANNELS)
    module = models.build(family, hyperparameters, WINDOW, CHANNELS)
    fit_module(module, Member(family, hyperparameters, WINDOW), split, options, quiet)
    return module


def error(module: torch.nn.Module, x_BWC: torch.Tensor, target_BWC: torch.Tensor) -> float:
    """Root mean square error."""
    with torch.inference_mode():
        return (module(x_BWC) - target_BWC).square().mean().sqrt().item()


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    with history_of(waves(900)) as history:
        yield history


# What is corrupted


def test_without_noise_and_mask_windows_are_filled_and_nothing_else() -> None:
    x_BWC = windows_of(waves(40)).numpy()
    x_BWC[0, 3, 1] = np.nan
    found = corrupted(x_BWC, 0.0, 0.0, np.random.default_rng(0))
    assert found[0, 3, 1] == pytest.approx((x_BWC[0, 2, 1] + x_BWC[0, 4, 1]) / 2)
    known = ~np.isnan(x_BWC)
    assert np.array_equal(found[known], x_BWC[known])


def test_noise_has_the_standard_deviation_asked_for_and_the_windows_stay() -> None:
    x_BWC = windows_of(waves(2000)).numpy()
    before = x_BWC.copy()
    added = corrupted(x_BWC, 0.3, 0.0, np.random.default_rng(0)) - x_BWC
    assert added.dtype == np.float32
    assert added.mean() == pytest.approx(0.0, abs=0.01)
    assert added.std() == pytest.approx(0.3, rel=0.02)
    assert np.array_equal(x_BWC, before)


def test_masked_cells_are_filled_from_their_neighbours_as_in_scoring() -> None:
    x_BWC = np.random.default_rng(3).uniform(1, 2, (100, 20, 2)).astype(np.float32)
    found = corrupted(x_BWC, 0.0, 0.25, np.random.default_rng(0))
    lost = found != x_BWC
    assert lost.mean() == pytest.approx(0.25, abs=0.03)
    for window, channel in np.ndindex(100, 2):
        known = np.flatnonzero(~lost[window, :, channel])
        expected = np.interp(np.arange(20), known, x_BWC[window, known, channel])
        np.testing.assert_allclose(found[window, :, channel], expected, rtol=1e-5)


# That it is undone


@pytest.mark.parametrize("family", models.FAMILIES)
def test_denoising_reconstructs_a_noised_series_better_than_the_noisy_input(
    family: str, history: History
) -> None:
    clean = windows_of(waves(400, seed=5))
    noisy = torch.from_numpy(corrupted(clean.numpy(), 0.4, 0.0, np.random.default_rng(1)))
    module = trained(family, history, OPTIONS.model_copy(update={"noise": 0.4, "max_epochs": 12}))
    assert error(module, noisy, clean) < 0.6 * (noisy - clean).square().mean().sqrt().item()


@pytest.mark.parametrize("family", ["linear", "deep"])
def test_masking_teaches_to_fill_what_is_missing(family: str, history: History) -> None:
    """Better than their neighbours, and better than a model that never saw a hole."""
    clean = windows_of(waves(400, seed=5))
    holed = torch.from_numpy(corrupted(clean.numpy(), 0.0, 0.4, np.random.default_rng(1)))
    plain = trained(family, history, OPTIONS)
    masked = trained(family, history, OPTIONS.model_copy(update={"mask": 0.4}))
    assert error(masked, holed, clean) < 0.5 * (holed - clean).square().mean().sqrt().item()
    assert error(masked, holed, clean) < error(plain, holed, clean)


def test_the_same_seed_gives_the_same_corruption(history: History) -> None:
    options = OPTIONS.model_copy(update={"max_epochs": 2, "noise": 0.3, "mask": 0.2})
    first, same = (trained("deep", history, options).state_dict() for _ in range(2))
    other = trained("deep", history, options.model_copy(update={"noise": 0.31})).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# Trimmed losses


@pytest.mark.parametrize(("family", "given"), [("linear", {"latent": 2}), ("deep", {"latent": 2})])
def test_a_trimmed_fit_learns_what_is_normal_from_contaminated_history(family: str, given: dict) -> None:
    """An eighth of the rows holds another pattern: without trimming the model learns it too."""
    square = 4.0 * np.sign(np.sin(np.arange(2400) * 1.7))[:, None].repeat(2, axis=1)
    strange = (np.arange(2400) // 60) % 8 == 3
    values = np.where(strange[:, None], square, waves(2400))
    clean, anomalous = windows_of(waves(400, seed=5)), windows_of(square[:400])
    with history_of(values) as history:
        plain, trimmed = (
            trained(family, history, OPTIONS.model_copy(update={"trim": share}), **given)
            for share in (0.0, 0.3)
        )
    assert error(trimmed, clean, clean) < 0.8 * error(plain, clean, clean)
    assert error(trimmed, anomalous, anomalous) > 1.2 * error(plain, anomalous, anomalous)


# What is refused


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("fit", "noise", -1.0, r"fit\.noise.*greater than or equal to 0"),
        ("fit", "mask", 1.0, r"fit\.mask.*less than 1"),
        ("fit", "trim", 0.5, r"fit\.trim.*less than 0\.5"),
    ],
)
def test_shares_out_of_range_are_refused_by_name(section: str, name: str, value: float, message: str) -> None:
    with pytest.raises(TrainerError, match=message):
        override(TrainConfig(), None, {section: {name: value}})


def test_options_reach_their_family_by_name() -> None:
    options = ModelOptions(family="vae", window=16, stride=2, beta=0.0, backbone="conv", draws=4)
    assert options.hyperparameters() == {"beta": 0.0, "backbone": "conv", "draws": 4}


def test_flags_reach_the_training() -> None:
    line = "train h --out m --model vae --beta 0.5 --backbone conv --noise 0.1 --mask 0.2 --trim 0.3"
    config = _train_config(streamgauge._parse(shlex.split(line)))
    assert config.model.hyperparameters() == {"beta": 0.5, "backbone": "conv"}
    assert (config.fit.noise, config.fit.mask, config.fit.trim) == (0.1, 0.2, 0.3)
