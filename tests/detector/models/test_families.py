"""Contract checks that every model family passes; a new one is checked as soon as it is listed."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from detector.models.blocks import ACTIVATIONS, LOSSES, masked_loss, mean_of_cells
from detector.models.families import FAMILIES, build, reconstruct, resolve, training_loss

SHARED = {"latent", "activation", "layers", "nodes", "loss"}
NONLINEAR = [family for family in FAMILIES if family not in ("linear", "memory")]
LAYERED = [family for family in NONLINEAR if family != "mlp"]
every_family = pytest.mark.parametrize("family", FAMILIES)


def module_of(family: str, window: int, channels: int, **hyperparameters: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(family, hyperparameters, window, channels).eval()


def windows(num: int, window: int, channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, window, channels, generator=torch.Generator().manual_seed(seed))


def waves(num: int, window: int, channels: int) -> torch.Tensor:
    """Return sines of random phase, which an autoencoder learns quickly."""
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
@settings(max_examples=10)
@given(window=st.integers(1, 70), channels=st.integers(1, 5), num=st.integers(1, 4))
def test_a_window_comes_back_through_its_flat_code(family: str, window: int, channels: int, num: int) -> None:
    module, x_BWC = module_of(family, window, channels), windows(num, window, channels)
    with torch.inference_mode():
        z_BL = module.encode(x_BWC)
        assert z_BL.ndim == 2
        assert len(z_BL) == num
        assert z_BL.dtype == torch.float32
        assert torch.equal(module.decode(z_BL, window), module(x_BWC))


@every_family
def test_windows_with_one_code_come_back_alike(family: str) -> None:
    """The output depends on the input only through the code."""
    module, x_BWC = module_of(family, 16, 2), windows(2, 16, 2)
    with torch.inference_mode():
        first, second = module.decode(module.encode(x_BWC[:1]).repeat(2, 1), 16)
    torch.testing.assert_close(first, second)


@every_family
def test_residuals_have_the_sign_and_the_shape_of_what_is_missed(family: str) -> None:
    module, x_BWC = module_of(family, 16, 2), windows(4, 16, 2)
    with torch.inference_mode():
        y_BWC, r_BWC = reconstruct(module, x_BWC)
    assert y_BWC.shape == r_BWC.shape == x_BWC.shape
    if family == "vae":
        assert torch.equal(r_BWC.sign(), (x_BWC - y_BWC).sign())
    else:
        with torch.inference_mode():
            assert torch.equal(y_BWC, module(x_BWC))
        assert torch.equal(r_BWC, x_BWC - y_BWC)


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


@pytest.mark.parametrize(
    ("family", "loss"),
    [(family, loss) for family in NONLINEAR for loss in LOSSES if family != "vae" or loss == "mse"],
)
def test_training_lowers_the_loss(family: str, loss: str) -> None:
    module, x_BWC = module_of(family, 32, 2, loss=loss).train(), waves(64, 32, 2)
    before = masked_loss(loss, module(x_BWC), x_BWC, None).item()
    learn(module, x_BWC, steps=60, loss=loss)
    with torch.inference_mode():
        assert masked_loss(loss, module(x_BWC), x_BWC, None).item() < before / 2


def learn(module: torch.nn.Module, x_BWC: torch.Tensor, steps: int, loss: str = "mse") -> None:
    """Train by full-batch Adam with a learning rate that falls to 0."""
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        value = training_loss(module, loss, x_BWC, x_BWC, None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    module.eval()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", NONLINEAR)
def test_every_activation_can_be_learnt_with(family: str, activation: str) -> None:
    module = module_of(family, 16, 2, activation=activation).train()
    x_BWC = windows(4, 16, 2)
    training_loss(module, "mse", x_BWC, x_BWC, torch.ones_like(x_BWC, dtype=torch.bool)).backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@every_family
def test_every_family_has_the_five_hyperparameters_in_a_frozen_config(family: str) -> None:
    config = FAMILIES[family].config()
    assert {field.name for field in fields(config)} >= SHARED
    with pytest.raises(FrozenInstanceError):
        config.layers = 9


def size_of(family: str, window: int = 32, channels: int = 2, **given: int) -> int:
    return sum(parameter.numel() for parameter in module_of(family, window, channels, **given).parameters())


@pytest.mark.parametrize("family", LAYERED)
def test_more_layers_and_nodes_make_a_larger_model(family: str) -> None:
    sizes = [size_of(family, layers=layers, nodes=nodes) for layers, nodes in ((2, 16), (2, 32), (3, 32))]
    assert sizes == sorted(set(sizes))


@every_family
def test_the_documented_number_of_parameters_is_the_true_one(family: str) -> None:
    text = (Path(__file__).parents[3] / "docs/models.md").read_text(encoding="utf-8")
    documented = re.search(rf"^\| `{family}` \|.*\| ([\d,]+) \|", text, re.MULTILINE)
    assert documented
    assert int(documented[1].replace(",", "")) == size_of(family, 64, 8)


@pytest.mark.parametrize("patch", [1, 3, 8, 40])
@pytest.mark.parametrize("family", ["lstm", "gru"])
def test_recurrent_families_take_patches_of_any_length(family: str, patch: int) -> None:
    with torch.inference_mode():
        assert module_of(family, 20, 2, patch=patch)(windows(3, 20, 2)).shape == (3, 20, 2)


def test_a_gru_has_three_quarters_of_the_weights_of_an_lstm_in_its_cells() -> None:
    gru, lstm = (
        sum(
            value.numel() for name, value in module_of(family, 32, 2).state_dict().items() if "coder." in name
        )
        for family in ("gru", "lstm")
    )
    assert gru * 4 == lstm * 3


def test_an_lstm_has_the_weights_it_has_in_artifacts_that_exist() -> None:
    shapes = {
        name: tuple(value.shape) for name, value in module_of("lstm", 20, 2, patch=2).state_dict().items()
    }
    assert shapes["start.weight"] == (2 * 48, 5)
    assert {name.partition(".")[0] for name in shapes} == {
        *("embed", "encoder", "code", "start", "decoder", "write"),
    }
    assert shapes["embed.0.weight"] == (48, 4)
    assert shapes["encoder.weight_ih_l0"] == (4 * 48, 48)


# The dense families


def test_mlp_is_one_sigmoid_layer_each_way() -> None:
    module = module_of("mlp", 6, 2, latent=3, activation="sigmoid", output="sigmoid")
    x_BWC = windows(5, 6, 2)
    (into, b), (out, c) = ((layer[0].weight, layer[0].bias) for layer in (module.encoder, module.decoder))
    with torch.inference_mode():
        z_BL = torch.sigmoid(x_BWC.reshape(5, 12) @ into.T + b)
        y_BWC = torch.sigmoid(z_BL @ out.T + c).reshape(5, 6, 2)
        torch.testing.assert_close(module.encode(x_BWC), z_BL)
        torch.testing.assert_close(module(x_BWC), y_BWC)


@pytest.mark.parametrize("family", ["mlp", "deep"])
def test_the_output_is_linear_by_default(family: str) -> None:
    x_BWC = 50 * windows(200, 6, 2)
    with torch.inference_mode():
        z_BL = 100 * torch.ones_like(module_of(family, 6, 2).encode(x_BWC))
        assert module_of(family, 6, 2).decode(z_BL, 6).abs().max() > 1
        bounded = module_of(family, 6, 2, output="sigmoid").decode(z_BL, 6)
    assert bounded.min() >= 0
    assert bounded.max() <= 1


def bumps(num: int, seed: int) -> torch.Tensor:
    """Return bumps of random place and width, [num, 24, 1]: a curved surface of two dimensions."""
    u, v = torch.rand(2, num, 1, generator=torch.Generator().manual_seed(seed))
    place, width = 4 + 16 * u, 1.5 + 2 * v
    return torch.exp(-(((torch.arange(24) - place) / width) ** 2))[..., None]


def test_deep_beats_mlp_on_a_nonlinear_manifold() -> None:
    """Compare the mean held-out error over seeds, both with a code of two numbers."""
    errors: dict[str, float] = {}
    for family in ("mlp", "deep"):
        for seed in (1, 2):
            torch.manual_seed(seed)
            module = build(family, {"latent": 2}, 24, 1)
            learn(module, bumps(400, seed), steps=400)
            held_out = bumps(400, seed + 100)
            with torch.inference_mode():
                error = torch.nn.functional.mse_loss(module(held_out), held_out).item()
            errors[family] = errors.get(family, 0.0) + error / 2
    assert errors["deep"] < errors["mlp"] / 3


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


@pytest.mark.parametrize("loss", LOSSES)
def test_the_mean_of_cells_is_the_masked_loss(loss: str) -> None:
    target, output = windows(4, 4, 3), windows(4, 4, 3, seed=1)
    mask = torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(2)) < 0.7
    cells = LOSSES[loss](output, target, reduction="none")
    torch.testing.assert_close(mean_of_cells(cells, mask), masked_loss(loss, output, target, mask))
    torch.testing.assert_close(mean_of_cells(cells, None), masked_loss(loss, output, target, None))


def test_trimming_leaves_out_the_worst_windows_and_their_gradient() -> None:
    cells = torch.tensor([1.0, 9.0, 2.0, 8.0, 3.0]).reshape(5, 1, 1).expand(5, 4, 2).clone().requires_grad_()
    assert mean_of_cells(cells, None, trim=0.4).item() == pytest.approx(2.0)
    assert mean_of_cells(cells, None, trim=0.39).item() == pytest.approx(3.5)
    mean_of_cells(cells, None, trim=0.4).backward()
    assert cells.grad is not None
    assert [bool(gradient.any()) for gradient in cells.grad] == [True, False, True, False, True]


def test_a_window_is_trimmed_by_its_known_cells_alone() -> None:
    cells = torch.tensor([[100.0, 1.0], [2.0, 2.0]]).reshape(2, 2, 1)
    mask = torch.tensor([[False, True], [True, True]]).reshape(2, 2, 1)
    assert mean_of_cells(cells, mask, trim=0.49).item() == pytest.approx(5 / 3)
    three = torch.cat([cells, cells[1:]]), torch.cat([mask, mask[1:]])
    assert mean_of_cells(*three, trim=0.34).item() == pytest.approx(5 / 3)


# Refused hyperparameters and their messages


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("convv", {}, "unknown model family 'convv'; known: linear, mlp, deep, conv, lstm, gru, vae, memory"),
        ("conv", {"latent": 0}, "latent is 0; it must be at least 1"),
        ("lstm", {"layers": -1}, "layers is -1; it must be at least 1"),
        ("conv", {"nodes": 0}, "nodes is 0; it must be at least 1"),
        ("conv", {"kernel": 4}, "kernel is 4; it must be odd and at least 1"),
        ("lstm", {"patch": 0}, "patch is 0; it must be at least 1"),
        ("conv", {"loss": "rmse"}, "loss is 'rmse'; it must be one of mse, mae, huber"),
        (
            "linear",
            {"loss": "mae"},
            "loss is 'mae'; the closed form needs mse: set fit = \"gradient\"",
        ),
        ("linear", {"nodes": 8}, "linear has one layer without nodes or activation; use another family"),
        ("linear", {"fit": "exact"}, "fit is 'exact'; it must be one of closed, gradient"),
        ("mlp", {"layers": 2}, "mlp has one layer, whose nodes are its code: set latent, or use deep"),
        ("deep", {"output": "swish"}, f"output is 'swish'; it must be one of {', '.join(ACTIVATIONS)}"),
        ("gru", {"patch": -1}, "patch is -1; it must be at least 1"),
        ("vae", {"loss": "mae"}, "loss is 'mae'; the decoder of vae is Gaussian, so it must be mse"),
        ("vae", {"backbone": "lstm"}, "backbone is 'lstm'; it must be one of dense, conv"),
        ("vae", {"score": "best"}, "score is 'best'; it must be one of expected, probability, mean"),
        ("vae", {"beta": -1.0}, "beta is -1.0; it must be at least 0"),
        ("vae", {"draws": 3}, "draws is 3; it must be even and at least 2"),
        (
            "deep",
            {"beta": 1.0},
            "deep has no hyperparameter 'beta'; it has activation, latent, layers, loss, nodes, output",
        ),
        (
            "conv",
            {"patch": 2},
            (
                "conv has no hyperparameter 'patch'; it has activation, causal, kernel, latent, layers,"
                " loss, nodes"
            ),
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
