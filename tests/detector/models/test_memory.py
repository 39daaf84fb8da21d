"""The memory: the nearest of its cores, at the level of the window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.models.families import build, resolve
from detector.models.memory import MemoryAutoencoder

WINDOW, CHANNELS, CORES = 12, 2, 20


def module_of(seed: int = 0) -> MemoryAutoencoder:
    torch.manual_seed(seed)
    module = build("memory", {"nodes": CORES}, WINDOW, CHANNELS).eval()
    assert isinstance(module, MemoryAutoencoder)
    return module


def windows(num: int, seed: int) -> torch.Tensor:
    return torch.randn(num, WINDOW, CHANNELS, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_window_becomes_the_core_that_a_search_through_all_finds(seed: int) -> None:
    module, x_BWC = module_of(seed), windows(8, seed)
    with torch.inference_mode():
        y_BWC = module(x_BWC).numpy()
    cores = module.cores.detach().numpy().astype(np.float64).reshape(CORES, WINDOW, CHANNELS)
    for x, y in zip(x_BWC.numpy().astype(np.float64), y_BWC, strict=True):
        level = x.mean(axis=0)
        distances = [((x - level - core) ** 2).sum() for core in cores]
        assert y == pytest.approx(cores[int(np.argmin(distances))] + level, abs=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), level=st.floats(-50, 50))
def test_the_level_of_a_channel_moves_with_the_window_and_leaves_the_residual(
    seed: int, level: float
) -> None:
    module, x_BWC = module_of(), windows(4, seed)
    moved_BWC = x_BWC + torch.tensor([level, 0.0])
    with torch.inference_mode():
        torch.testing.assert_close(moved_BWC - module(moved_BWC), x_BWC - module(x_BWC), atol=1e-3, rtol=1e-3)


def test_a_core_at_any_level_comes_back_exactly() -> None:
    module = module_of()
    cores = module.cores.detach().reshape(CORES, WINDOW, CHANNELS)
    cores = cores - cores.mean(1, keepdim=True)
    with torch.no_grad():
        module.cores.copy_(cores.flatten(1))
        torch.testing.assert_close(module(cores + 3.0), cores + 3.0)
        assert module.encode(cores)[:, 0].tolist() == list(range(CORES))


def test_a_number_that_no_core_has_means_the_first_or_the_last() -> None:
    module = module_of()
    with torch.inference_mode():
        far = module.decode(torch.tensor([[-7.0, 0.0, 0.0], [1e9, 0.0, 0.0], [3.4, 0.0, 0.0]]), WINDOW)
        near = module.decode(torch.tensor([[0.0, 0, 0], [CORES - 1.0, 0, 0], [3.0, 0, 0]]), WINDOW)
    assert torch.equal(far, near)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": 2}, "set nodes alone"),
        ({"activation": "relu"}, "set nodes alone"),
        ({"loss": "mae"}, "set nodes alone"),
        ({"latent": 7}, "latent is 7; a memory of 2 channels has 3"),
        ({"nodes": 0}, "nodes is 0; it must be at least 1"),
    ],
)
def test_what_a_memory_does_not_have_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("memory", given, WINDOW, CHANNELS)
