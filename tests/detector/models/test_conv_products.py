"""The convolutional autoencoder by products of matrices gives what its module gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.models.blocks import ACTIVATIONS
from detector.models.execution.conv_products import LEAST_WINDOWS, POSITIONS, ConvProducts
from detector.models.families import build

HYPERPARAMETERS = st.fixed_dictionaries(
    {
        "latent": st.none() | st.integers(1, 9),
        "layers": st.integers(1, 4),
        "nodes": st.integers(1, 40),
        "activation": st.sampled_from(list(ACTIVATIONS)),
        "kernel": st.sampled_from([1, 3, 5, 7, 9]),
    }
)


def assert_alike(hyperparameters: dict, shape: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    module = build("conv", hyperparameters, *shape[1:]).eval()
    x_BWC = torch.randn(*shape)
    with torch.inference_mode():
        found, expected = ConvProducts(module)(x_BWC), module(x_BWC)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@settings(max_examples=120, deadline=None)
@given(HYPERPARAMETERS, st.integers(1, 5), st.integers(1, 70), st.integers(1, 5), st.integers(0, 99))
def test_windows_of_any_length_are_reconstructed_as_by_the_module(
    hyperparameters: dict, num: int, window: int, num_channels: int, seed: int
) -> None:
    assert_alike(hyperparameters, (num, window, num_channels), seed)


@pytest.mark.parametrize("num", [LEAST_WINDOWS, 2 * LEAST_WINDOWS, 2 * LEAST_WINDOWS + 1])
def test_large_batches_of_long_windows_are_reconstructed_alike(num: int) -> None:
    window = POSITIONS // LEAST_WINDOWS + 6
    assert_alike({}, (num, window, 2), 0)


@pytest.mark.parametrize(("num", "window"), [(16, 20), (100, 64), (256, 64), (256, 90)])
def test_a_window_has_the_same_bits_wherever_it_stands(num: int, window: int) -> None:
    torch.manual_seed(0)
    run = ConvProducts(build("conv", {}, window, 3).eval())
    x_BWC = torch.randn(num, window, 3)
    order = torch.randperm(num)
    order[num // 2 :] = order[0]
    with torch.inference_mode():
        assert torch.equal(run(x_BWC)[order], run(x_BWC[order]))
