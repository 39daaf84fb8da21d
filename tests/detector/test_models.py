"""Contract checks that every model family passes; a new one is checked as soon as it is listed."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from detector.models import FAMILIES, build, resolve
from detector.models.options import ACTIVATIONS, LOSSES, masked_loss

SHARED = {"latent", "activation", "layers", "nodes", "loss"}
DEEP = [family for family in FAMILIES if family != "linear"]
every_family = pytest.mark.parametrize("family", FAMILIES)


def module_of(family: str, window: int, channels: int, **hyperparameters: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(family, hyperparameters, window, channels).eval()


def windows(num: int, window: int, channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, window, channels, generator=torch.Generator().manual_seed(seed))


def waves(num: int, window: int, channels: int) -> torch.Tensor:
    """Sines of any phase: what an autoencoder can learn at once."""
    phase = torch.rand(num, 1, 1, generator=torch.Generator().manual_seed(1)) * 6.28
    return torch.sin(torch.arange(window)[None, :, None] * 0.4 + phase + torch.arange(channels) * 0.5)


@every_family
@settings(max_examples=25)
@given(window=st.integers(1, 100), channels=st.integers(1, 9), num=st.integers(1, 5))
def test_windows_of_any_size_come_back_in_their_shape(
    family: str, window: int, channels: int, num: int
) -> None:
    x_BWC = windows(num, window, channels)
    with torch.inference_mode():
        y_BWC = module_of(family, window, channels)(x_BWC)
    assert y_BWC.shape == x_BWC.shape
    assert y_BWC.dtype == torch.float32
    assert torch.isfinite(y_BWC).all()


@every_family
@pytest.mark.parametrize(("window", "channels"), [(4, 1), (16, 1), (64, 1), (64, 8), (64, 38), (200, 3)])
def test_the_defaults_have_a_bottleneck(family: str, window: int, channels: int) -> None:
    """The code of a window is smaller than the window, so that not everything can be copied."""
    hyperparameters = resolve(family, {}, window, channels)
    codes = -(-window // 2 ** hyperparameters["layers"]) if family == "conv" else 1
    assert hyperparameters["latent"] * codes < window * channels


@every_family
def test_what_is_resolved_holds_no_none_and_builds_the_same_again(family: str) -> None:
    hyperparameters = resolve(family, {"latent": None}, 20, 3)
    assert None not in hyperparameters.values()
    assert resolve(family, hyperparameters, 20, 3) == hyperparameters
    first, second = (module_of(family, 20, 3, **given) for given in ({}, hyperparameters))
    assert {k: v.shape for k, v in first.state_dict().items()} == {
        k: v.shape for k, v in second.state_dict().items()
    }


@every_family
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(family: str) -> None:
    first, same = (module_of(family, 16, 2).state_dict() for _ in range(2))
    torch.manual_seed(1)
    other = build(family, {}, 16, 2).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_family
def test_a_window_is_reconstructed_alike_wherever_in_the_batch_it_stands(family: str) -> None:
    module, x_BWC = module_of(family, 24, 3), windows(16, 24, 3)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(module(x_BWC)[order], module(x_BWC[order]))
        torch.testing.assert_close(module(x_BWC)[3:4], module(x_BWC[3:4]), rtol=1e-4, atol=1e-5)


@every_family
def test_weights_survive_a_file(family: str) -> None:
    module, x_BWC = module_of(family, 12, 2), windows(4, 12, 2)
    torch.manual_seed(99)
    restored = build(family, {}, 12, 2)
    restored.load_state_dict(load(save(module.state_dict())))
    with torch.inference_mode():
        assert torch.equal(module(x_BWC), restored.eval()(x_BWC))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("family", DEEP)
def test_training_lowers_the_loss(family: str, loss: str) -> None:
    module, x_BWC = module_of(family, 32, 2, loss=loss).train(), waves(64, 32, 2)
    mask = torch.ones_like(x_BWC, dtype=torch.bool)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        value = masked_loss(loss, module(x_BWC), x_BWC, mask)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", DEEP)
def test_every_activation_can_be_learnt_with(family: str, activation: str) -> None:
    module = module_of(family, 16, 2, activation=activation).train()
    x_BWC = windows(4, 16, 2)
    masked_loss("mse", module(x_BWC), x_BWC, torch.ones_like(x_BWC, dtype=torch.bool)).backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@every_family
def test_every_family_has_the_five_hyperparameters_in_a_frozen_config(family: str) -> None:
    config = FAMILIES[family].config()
    assert {field.name for field in fields(config)} >= SHARED
    with pytest.raises(FrozenInstanceError):
        config.layers = 9


@pytest.mark.parametrize("family", DEEP)
def test_more_layers_and_nodes_make_a_larger_model(family: str) -> None:
    def size(**given: int) -> int:
        return sum(parameter.numel() for parameter in module_of(family, 32, 2, **given).parameters())

    assert size(layers=3, nodes=32) > size(layers=2, nodes=32) > size(layers=2, nodes=16)


@pytest.mark.parametrize("patch", [1, 3, 8, 40])
def test_lstm_takes_patches_of_any_length(patch: int) -> None:
    with torch.inference_mode():
        assert module_of("lstm", 20, 2, patch=patch)(windows(3, 20, 2)).shape == (3, 20, 2)


# Losses


@pytest.mark.parametrize("loss", LOSSES)
def test_masked_cells_do_not_count(loss: str) -> None:
    target, output = windows(2, 4, 3), windows(2, 4, 3, seed=1)
    mask = torch.ones_like(target, dtype=torch.bool)
    whole = masked_loss(loss, output, target, mask)
    torch.testing.assert_close(whole, LOSSES[loss](output, target))
    torch.testing.assert_close(whole, masked_loss(loss, output, target, None))
    mask[0, 0] = False
    wild = output.clone()
    wild[0, 0] = 1e6
    part = masked_loss(loss, wild, target, mask)
    torch.testing.assert_close(part, masked_loss(loss, output, target, mask))
    assert masked_loss(loss, output, target, torch.zeros_like(mask)) == 0


# What is refused, and the words


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("convv", {}, "unknown model family 'convv'; known: conv, lstm, linear"),
        ("conv", {"latent": 0}, "latent is 0; it must be at least 1"),
        ("lstm", {"layers": -1}, "layers is -1; it must be at least 1"),
        ("conv", {"nodes": 0}, "nodes is 0; it must be at least 1"),
        ("conv", {"kernel": 4}, "kernel is 4; it must be odd and at least 1"),
        ("lstm", {"patch": 0}, "patch is 0; it must be at least 1"),
        ("conv", {"loss": "rmse"}, "loss is 'rmse'; it must be one of mse, mae, huber"),
        (
            "linear",
            {"loss": "mae"},
            "linear has one layer, no activation and squared error; use another family",
        ),
        (
            "conv",
            {"patch": 2},
            "conv has no hyperparameter 'patch'; it has activation, kernel, latent, layers, loss, nodes",
        ),
        (
            "lstm",
            {"activation": "swish"},
            f"activation is 'swish'; it must be one of {', '.join(ACTIVATIONS)}",
        ),
    ],
)
def test_wrong_hyperparameters_are_refused_with_what_is_allowed(
    family: str, given: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        resolve(family, given, 16, 2)
