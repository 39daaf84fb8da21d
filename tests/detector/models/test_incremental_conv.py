"""Row by row, a causal network gives the same outputs as over whole windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from detector.models.conv import ConvAutoencoder
from detector.models.families import build
from detector.models.incremental_conv import Incremental

Rows = NDArray[np.float32]
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def causal(window: int, channels: int, **hyperparameters: object) -> ConvAutoencoder:
    torch.manual_seed(0)
    module = build("conv", {"causal": True, "nodes": 6, **hyperparameters}, window, channels).eval()
    assert isinstance(module, ConvAutoencoder)
    return module


def lively(window: int, channels: int, **hyperparameters: object) -> ConvAutoencoder:
    """Return a module with large weights, so that every row influences the output measurably."""
    module = causal(window, channels, **hyperparameters)
    with torch.no_grad():
        for weights in module.parameters():
            weights.mul_(2)
    return module


def receptive_field(module: ConvAutoencoder) -> int:
    assert module.receptive_field is not None
    return module.receptive_field


def noise(*shape: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def of_windows(module: ConvAutoencoder, x_TC: Rows, window: int) -> Rows:
    """Return the outputs of the module for every full window of the series, [n, window, C]."""
    windows = np.lib.stride_tricks.sliding_window_view(x_TC, window, axis=0).transpose(0, 2, 1)
    with torch.inference_mode():
        outputs: Rows = module(torch.from_numpy(windows.copy())).numpy()
    return outputs


def of_one(incremental: Incremental, x_TC: Rows, series: int = 0) -> Rows:
    return incremental.extend(np.full(len(x_TC), series), x_TC)


def in_calls(incremental: Incremental, x_RTC: Rows, lengths: list[int], order: list[int]) -> Rows:
    """Add rows of all series in turns: `length` more rows of every series at each, in the order given."""
    outputs: list[list[Rows]] = [[] for _ in x_RTC]
    at = 0
    for length in lengths:
        part = x_RTC[order, at : at + length]
        found = incremental.extend(np.repeat(order, part.shape[1]), part.reshape(-1, x_RTC.shape[2]))
        for series, rows in zip(order, found.reshape(*part.shape[:2], -1, x_RTC.shape[2]), strict=True):
            outputs[series].append(rows)
        at += length
    return np.stack([np.concatenate(rows) for rows in outputs])


@settings(max_examples=40)
@given(data=st.data())
def test_incremental_equals_window_by_window(data: st.DataObject) -> None:
    channels, layers = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    hyperparameters = {
        "layers": layers,
        "kernel": data.draw(st.sampled_from([3, 5])),
        "latent": data.draw(st.integers(1, 3)),
        "activation": data.draw(st.sampled_from(["gelu", "tanh", "leaky_relu"])),
    }
    module = lively(64, channels, **hyperparameters)
    span = data.draw(st.integers(1, 2**layers))
    window = max(receptive_field(module), span) + data.draw(st.integers(0, 40))
    lengths = [*data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=8)), window]
    order = data.draw(st.permutations(range(data.draw(st.integers(1, 3)))))
    x_RTC = noise(len(order), sum(lengths), channels, seed=data.draw(st.integers(0, 99)))

    batch_size = data.draw(st.sampled_from([16, 64]))
    incremental = Incremental(module, span=span, batch_size=batch_size)
    outputs = in_calls(incremental, x_RTC, lengths, order)

    for series, x_TC in enumerate(x_RTC):
        expected = of_windows(module, x_TC, window)[:, -span:]
        np.testing.assert_allclose(outputs[series, window - 1 :], expected, **TOLERANCE)


@settings(max_examples=15)
@given(window=st.integers(1, 90), layers=st.integers(1, 3))
def test_any_window_length(window: int, layers: int) -> None:
    """This holds for windows shorter than the receptive field too, if they hold all rows of the series."""
    module = lively(window, 2, layers=layers)
    x_TC = noise(window, 2)
    outputs = of_one(Incremental(module), x_TC)
    np.testing.assert_allclose(outputs[-1], of_windows(module, x_TC, window)[0, -1:], **TOLERANCE)
    assert torch.isfinite(module(torch.from_numpy(x_TC)[None])).all()


def test_a_window_shorter_than_the_receptive_field_is_judged_as_if_its_first_row_had_always_been() -> None:
    module = lively(64, 2)
    x_TC = noise(10, 2)
    longer = np.concatenate([np.repeat(x_TC[:1], 54, axis=0), x_TC])
    np.testing.assert_allclose(
        of_windows(module, x_TC, 10)[0, -8:], of_windows(module, longer, 64)[0, -8:], **TOLERANCE
    )
    other = of_windows(module, np.concatenate([noise(54, 2, seed=1), x_TC]), 64)[0, -1]
    assert np.abs(of_windows(module, x_TC, 10)[0, -1] - other).max() > 0.01


@settings(max_examples=15)
@given(changed=st.integers(1, 79), layers=st.integers(1, 3))
def test_the_causal_form_does_not_look_ahead(changed: int, layers: int) -> None:
    """A later row changes no earlier output; within a window, none before its own step of the code."""
    module = lively(80, 2, layers=layers)
    before = noise(80, 2)
    after = before.copy()
    after[changed] += 10
    first, second = (of_one(Incremental(module), x_TC) for x_TC in (before, after))
    assert np.array_equal(first[:changed], second[:changed])
    assert not np.allclose(first[changed], second[changed])
    step = changed - changed % 2**layers
    first, second = (of_windows(module, x_TC, 80)[0] for x_TC in (before, after))
    np.testing.assert_allclose(first[:step], second[:step], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("layers", "kernel"), [(1, 3), (2, 5), (3, 5), (3, 9)])
def test_the_newest_row_depends_on_the_rows_of_the_receptive_field_and_no_other(
    layers: int, kernel: int
) -> None:
    module = causal(100, 1, layers=layers, kernel=kernel, activation="tanh")
    x_BWC = torch.from_numpy(noise(1, 100, 1)).requires_grad_()
    module(x_BWC)[0, -1].sum().backward()
    assert x_BWC.grad is not None
    reached = x_BWC.grad[0, :, 0] != 0
    assert reached[-receptive_field(module) :].all()
    assert not reached[: -receptive_field(module)].any()


def work_of(incremental: Incremental, num_rows: int) -> tuple[int, int]:
    """Return the multiply-adds of one more row after `num_rows` rows, and the bytes of the state then."""
    of_one(incremental, noise(num_rows, 2))
    with FlopCounterMode(display=False) as counter:
        of_one(incremental, noise(1, 2))
    kept = sum(layer._ring_ZTI.nbytes for layer in incremental._layers)
    return counter.get_total_flops(), kept


def test_cost_of_a_row_does_not_depend_on_the_window() -> None:
    modules = {window: causal(window, 2) for window in (32, 64, 1024)}
    works = {work_of(Incremental(module, 1), num) for num, module in modules.items()}
    assert len(works) == 1
    assert min(works)[0] > 0
    of_window = {}
    for window, module in modules.items():
        with FlopCounterMode(display=False) as counter:
            of_windows(module, noise(window, 2), window)
        of_window[window] = counter.get_total_flops()
    assert of_window[1024] > 10 * of_window[64] > 10 * of_window[32]


def test_a_row_costs_the_multiplications_of_one_tap_of_the_strided_network() -> None:
    """A row costs each encoder layer once, and in the decoder the pair of rows that holds the newest."""
    module = causal(64, 8, nodes=24)
    incremental = Incremental(module, 1, batch_size=1)
    with FlopCounterMode(display=False) as counter:
        of_one(incremental, noise(1, 8))
    weights = sum(value.numel() for name, value in module.named_parameters() if name.endswith("weight"))
    assert counter.get_total_flops() == 2 * weights


@pytest.mark.parametrize("batch_size", [32, 256])
def test_a_result_is_the_same_to_the_last_bit_however_the_rows_are_cut(batch_size: int) -> None:
    module, x_RTC = causal(64, 8, nodes=24), noise(3, 600, 8)
    whole = in_calls(Incremental(module, batch_size=batch_size), x_RTC, [600], [0, 1, 2])
    cut = in_calls(Incremental(module, batch_size=batch_size), x_RTC, [1, 2, 300, 1, 1, 295], [2, 0, 1])
    assert np.array_equal(whole, cut)


def test_a_series_that_is_reset_begins_anew_and_no_other_does() -> None:
    module, x_TC = causal(64, 2), noise(60, 2)
    incremental = Incremental(module)
    begun = of_one(incremental, x_TC[:40], series=3)
    of_one(incremental, x_TC[:40], series=1)
    incremental.reset(np.array([3]))
    again = of_one(incremental, x_TC, series=3)
    assert np.array_equal(begun, again[:40])
    assert np.array_equal(of_one(incremental, x_TC[40:], series=1), again[40:])


def test_series_that_come_later_leave_those_that_are_there_as_they_are() -> None:
    module, x_TC = causal(64, 2), noise(60, 2)
    incremental = Incremental(module, num_series=1)
    of_one(incremental, x_TC[:40])
    of_one(incremental, noise(9, 2), series=57)
    assert np.array_equal(of_one(incremental, x_TC[40:]), of_one(Incremental(module), x_TC)[40:])


def test_no_rows_are_no_rows() -> None:
    incremental = Incremental(causal(64, 2), span=4)
    assert incremental.extend(np.empty(0, np.int32), np.empty((0, 2), np.float32)).shape == (0, 4, 2)


def test_a_trained_network_does_not_copy_the_newest_row() -> None:
    """Train with a code as wide as a row; it then holds a step, and does not reconstruct a spike."""
    random = np.random.default_rng(0)
    phase = random.uniform(0, 6.28, (64, 1, 1))
    x_BWC = np.sin(np.arange(48)[None, :, None] * 0.4 + phase + np.arange(8) * 0.5).astype(np.float32)
    module = causal(48, 8, nodes=24).train()
    learn(module, torch.from_numpy(x_BWC))
    spiked = x_BWC[0].copy()
    spiked[-1, 2] += 3
    usual, unusual = (x_TC[-1] - of_one(Incremental(module), x_TC)[-1, 0] for x_TC in (x_BWC[0], spiked))
    assert np.abs(usual).max() < 0.5
    assert unusual[2] > 2


def learn(module: ConvAutoencoder, x_BWC: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for _ in range(200):
        loss = torch.nn.functional.mse_loss(module(x_BWC), x_BWC)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()


def test_what_cannot_be_scored_row_by_row_is_refused() -> None:
    for family in ("conv", "deep"):
        with pytest.raises(ValueError, match="only conv with causal = true can score row by row"):
            Incremental(build(family, {}, 16, 2))
    for span in (0, 9):
        with pytest.raises(ValueError, match=f"span is {span}; it must be 1 to 8"):
            Incremental(causal(16, 2), span=span)
    with pytest.raises(ValueError, match="rows of a series must stand together"):
        Incremental(causal(16, 2)).extend(np.array([0, 1, 0]), noise(3, 2))
    with pytest.raises(ValueError, match="kernel is 1; with causal it must be at least 3"):
        causal(16, 2, kernel=1)
