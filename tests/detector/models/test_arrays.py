"""The families in NumPy: what they return is what torch returns, to a few units of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from detector.artifact.modules import build_members, network_of, shapes_of
from detector.artifact.spec import Level, Member
from detector.errors import ConfigError
from detector.models import families as models
from detector.models.arrays.families import ARRAY_FAMILIES
from detector.models.arrays.layers import ACTIVATIONS, gelu
from detector.models.configs.checks import ACTIVATIONS as KNOWN_ACTIVATIONS
from detector.models.configs.checks import LOSSES
from detector.models.configs.vae import BACKBONES, SCORES
from detector.models.execution import choice
from detector.models.execution.network import Outputs

activations = st.sampled_from(KNOWN_ACTIVATIONS)
layers = st.integers(1, 3)
nodes = st.integers(1, 40)
latent = st.none() | st.integers(1, 9)
HYPERPARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "linear": {"latent": latent},
    "mlp": {"latent": latent, "activation": activations, "output": activations},
    "deep": {
        "latent": latent,
        "layers": layers,
        "nodes": nodes,
        "activation": activations,
        "output": activations,
    },
    "conv": {
        "latent": latent,
        "layers": layers,
        "nodes": nodes,
        "activation": activations,
        "kernel": st.sampled_from([3, 5, 7]),
        "causal": st.booleans(),
    },
    "lstm": {
        "latent": latent,
        "layers": layers,
        "nodes": nodes,
        "activation": activations,
        "patch": st.none() | st.integers(1, 5),
    },
    "vae": {
        "latent": latent,
        "layers": layers,
        "nodes": nodes,
        "activation": activations,
        "backbone": st.sampled_from(BACKBONES),
        "score": st.sampled_from(SCORES),
        "draws": st.sampled_from([2, 6]),
    },
    "memory": {"nodes": st.integers(1, 60)},
}
HYPERPARAMETERS["gru"] = HYPERPARAMETERS["lstm"]
every_family = pytest.mark.parametrize("family", ARRAY_FAMILIES)


def member_of(family: str, window: int, num_channels: int, **given: object) -> Member:
    hyperparameters = models.resolve(family, given, window, num_channels)
    levels = (Level(),) * (1 if num_channels == 1 else 2)
    return Member(family, hyperparameters, window, levels, levels)


def weights_of(
    members: list[Member], num_channels: int, seed: int, still: bool = False
) -> tuple[Any, dict[str, np.ndarray]]:
    """A network of torch with random weights and random matrices that whiten, and its weights.

    With `still`, the last of several channels stood still in the history: its own matrix is 0.
    """
    torch.manual_seed(seed)
    network = build_members(members, num_channels).eval()
    for name, values in network.state_dict().items():
        if ".whitening." in name and values.numel() and not name.endswith("scale"):
            values.add_(0.3 * torch.randn(values.shape) / values.shape[-1] ** 0.5)
        elif name.endswith("scale"):
            values.copy_(0.5 + torch.rand(values.shape))
        if still and name.endswith("whitening.alone") and len(values) > 1:
            values[-1] = 0.0
    return network, network.weights()


def windows(seed: int, num: int, window: int, num_channels: int, *, holes: bool) -> tuple[Any, Any]:
    """Random windows, and which of their cells are known; long holes too, and whole windows."""
    random = np.random.default_rng(seed)
    x_BWC = random.normal(size=(num, window, num_channels)).astype(np.float32)
    if not holes:
        return x_BWC, None
    known = random.random(x_BWC.shape) > 0.15
    known[0] = True
    known[1, : window // 2, 0] = False
    return np.where(known, x_BWC, np.float32(0.0)), known


def assert_equal_to_rounding(found: Outputs, expected: Outputs) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_every_family_can_run_without_torch() -> None:
    assert (
        list(ARRAY_FAMILIES)
        == list(models.FAMILIES)
        == sorted(HYPERPARAMETERS, key=list(models.FAMILIES).index)
    )
    assert set(ACTIVATIONS) == set(KNOWN_ACTIVATIONS)
    assert {name: ARRAY_FAMILIES[name].config for name in ARRAY_FAMILIES} == {
        name: family.config for name, family in models.FAMILIES.items()
    }


@every_family
@settings(max_examples=15, deadline=None)
@given(data=st.data(), window=st.integers(2, 40), num_channels=st.integers(1, 4), seed=st.integers(0, 99))
def test_numpy_returns_what_torch_returns(
    family: str, data: st.DataObject, window: int, num_channels: int, seed: int
) -> None:
    given_ = data.draw(st.fixed_dictionaries(HYPERPARAMETERS[family]))
    members = [member_of(family, window, num_channels, **given_)]
    network, weights = weights_of(members, num_channels, seed, data.draw(st.booleans()))
    shapes = shapes_of(members, num_channels, "numpy")
    assert list(shapes.items()) == [(name, one.shape) for name, one in weights.items()]
    assert shapes == shapes_of(members, num_channels, "torch")
    other = network_of(members, num_channels, "numpy", weights)
    run, expected = other[0].on("cpu"), network[0].on("cpu")
    x_BWC, known = windows(seed, 6, window, num_channels, holes=data.draw(st.booleans()))
    span = data.draw(st.integers(0, window))
    assert_equal_to_rounding(run(x_BWC, known, span), expected(x_BWC, known, span))
    z_BL = expected.encode(x_BWC)
    np.testing.assert_allclose(run.encode(x_BWC), z_BL, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run.decode(z_BL, window), expected.decode(z_BL, window), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run.reconstruct(x_BWC), expected.reconstruct(x_BWC), rtol=1e-5, atol=1e-5)


@every_family
@pytest.mark.parametrize("executor", choice.EXECUTORS)
@pytest.mark.parametrize("size", [16, 100, 256])
def test_a_window_has_the_same_bits_wherever_it_stands_and_whatever_else_is_there(
    family: str, executor: str, size: int
) -> None:
    members = [member_of(family, 20, 3)]
    _, weights = weights_of(members, 3, 5)
    run = network_of(members, 3, executor, weights)[0].on("cpu")
    for holes in (False, True):
        x_BWC, known = windows(1, size, 20, 3, holes=holes)
        order = np.random.default_rng(2).permutation(size)
        order[size // 2 :] = order[0]  # the others are replaced too
        whole = run(x_BWC, known, 4)
        moved = run(x_BWC[order], None if known is None else known[order], 4)
        for one, other in zip(whole, moved, strict=True):
            np.testing.assert_array_equal(one[order], other)


@every_family
def test_one_window_that_is_not_whole_changes_no_bit_of_the_others(family: str) -> None:
    """A batch without holes runs once, one with holes several times."""
    members = [member_of(family, 20, 3)]
    _, weights = weights_of(members, 3, 5)
    run = network_of(members, 3, "numpy", weights)[0].on("cpu")
    x_BWC, _ = windows(1, 16, 20, 3, holes=False)
    known = np.ones_like(x_BWC, np.bool_)
    known[7, 3:17, 1] = False
    for one, other in zip(run(x_BWC, None, 4), run(x_BWC, known, 4), strict=True):
        np.testing.assert_array_equal(np.delete(one, 7, axis=0), np.delete(other, 7, axis=0))


def test_gelu_is_that_of_the_normal_distribution() -> None:
    x = np.linspace(-30.0, 30.0, 600_001, dtype=np.float32)
    expected = x.astype(np.float64) * ndtr(x.astype(np.float64))
    np.testing.assert_allclose(gelu(x.copy()), expected, rtol=3e-7, atol=2e-7)


@pytest.mark.parametrize("name", KNOWN_ACTIVATIONS)
def test_activations_are_those_of_torch(name: str) -> None:
    from detector.models.blocks import ACTIVATIONS as MODULES

    x = np.concatenate([np.linspace(-90.0, 90.0, 10_001), [-1e4, 1e4, 0.0]]).astype(np.float32)
    expected = MODULES[name]()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](x.copy()), expected, rtol=1e-6, atol=1e-6)


def test_the_losses_of_the_descriptions_are_those_of_torch() -> None:
    from detector.models.blocks import LOSSES as FUNCTIONS

    assert tuple(FUNCTIONS) == LOSSES


def test_huge_readings_give_infinite_distances_as_in_torch() -> None:
    members = [member_of("linear", 8, 2)]
    network, weights = weights_of(members, 2, 1)
    x_BWC = np.full((4, 8, 2), 1e30, np.float32)
    found, expected = (
        one[0].on("cpu")(x_BWC, None, 1)[1] for one in (network_of(members, 2, "numpy", weights), network)
    )
    np.testing.assert_array_equal(found, expected)
    assert np.isinf(found[:, 0]).all()


def test_cuda_is_refused_with_the_remedy() -> None:
    members = [member_of("linear", 8, 2)]
    network = network_of(members, 2, "numpy", weights_of(members, 2, 1)[1])
    assert network[0].on("auto") is network[0]
    with pytest.raises(ConfigError, match=r"needs PyTorch.*streamgauge\[train\]"):
        network[0].on("cuda")


def test_a_family_that_numpy_does_not_know_is_refused_with_the_remedy() -> None:
    member = Member("tied", {}, 8, (Level(),), (Level(),))
    with pytest.raises(ValueError, match=r"not 'tied'.*streamgauge\[train\]"):
        shapes_of([member], 1, "numpy")
