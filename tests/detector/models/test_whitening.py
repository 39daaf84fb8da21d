"""Distances of windows: equal to reference values, over known cells only, robust to one channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detector.models.configs.whitening import MOST_JOINT_CELLS, MOST_JOINT_ROWS
from detector.models.whitening import LEAST_CELLS_IN_BLOCKS, Distances, Whitening

GENERATOR = torch.Generator().manual_seed(0)


def windows(num: int = 5, window: int = 6, channels: int = 3) -> torch.Tensor:
    return torch.randn(num, window, channels, generator=GENERATOR)


def test_a_new_whitening_is_the_plain_mean_of_squares() -> None:
    x, residual = windows(), windows()
    statistics, contribution = Distances(Whitening(6, 3))(x, residual, None)
    torch.testing.assert_close(statistics[:, 0], residual.square().mean(dim=(1, 2)))
    torch.testing.assert_close(statistics[:, 1], x.square().mean(dim=1).log1p().mean(dim=1))
    torch.testing.assert_close(contribution, residual.square().mean(dim=1))


def test_one_channel_has_one_statistic() -> None:
    statistics, _ = Distances(Whitening(6, 1))(windows(channels=1), windows(channels=1), None)
    assert statistics.shape == (5, 1)


def test_unknown_cells_do_not_count() -> None:
    x, residual = windows(), windows()
    known = torch.ones_like(x, dtype=torch.bool)
    known[:, 2:4, 1] = False
    wild = torch.where(known, residual, 1e6)
    statistics, contribution = Distances(Whitening(6, 3))(torch.where(known, x, -1e6), wild, known)
    square = torch.where(known, residual, 0.0).square()
    torch.testing.assert_close(statistics[:, 0], square.sum(dim=(1, 2)) / 16)
    torch.testing.assert_close(contribution, square.sum(dim=1) / torch.tensor([6.0, 4.0, 6.0]))
    known[:, :, 1] = False
    statistics, contribution = Distances(Whitening(6, 3))(x, wild, known)
    assert torch.isfinite(statistics).all()
    assert (contribution[:, 1] == 0).all()


def test_one_heavy_tailed_channel_does_not_dominate_the_tamed_distance() -> None:
    x, wild = windows(1), windows(1)
    wild[:, :, 0] *= 1e3
    both = Distances(Whitening(6, 3))(torch.cat([x, wild]), torch.cat([x, wild]), None)[0]
    assert both[1, 0] / both[0, 0] > 1e4
    assert both[1, 1] / both[0, 1] < 20


def test_the_joint_distance_is_mahalanobis() -> None:
    whitening = Whitening(6, 3)
    factor = torch.randn(18, 18, generator=GENERATOR)
    covariance = factor @ factor.T + torch.eye(18)
    values, vectors = torch.linalg.eigh(covariance)
    whitening.joint.copy_(vectors / values.sqrt())
    residual = windows()
    flat = residual.flatten(1).double().numpy()
    expected = np.einsum("nd,de,ne->n", flat, np.linalg.inv(covariance.double().numpy()), flat) / 18
    found = Distances(whitening)(windows(), residual, None)[0][:, 0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def root_of(covariance: np.ndarray) -> torch.Tensor:
    """Return A with A A' = the inverse of the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return torch.tensor(vectors / np.sqrt(values), dtype=torch.float32)


def covariance_of(size: int, seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return factor @ factor.T / size + np.eye(size)


def test_factors_give_the_mahalanobis_distance_of_the_kronecker_product() -> None:
    window, channels = MOST_JOINT_ROWS + 1, 2
    across_rows, across_channels = covariance_of(window, 1), covariance_of(channels, 2)
    whitening = Whitening(window, channels)
    whitening.rows.copy_(root_of(across_rows))
    whitening.channels.copy_(root_of(across_channels))
    residual = windows(4, window, channels)
    flat = residual.flatten(1).double().numpy()
    inverse = np.linalg.inv(np.kron(across_rows, across_channels))
    expected = np.einsum("nd,de,ne->n", flat, inverse, flat) / flat.shape[1]
    found = Distances(whitening)(residual, residual, None)[0][:, 0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_the_tamed_distance_is_of_each_channels_own_rows_as_they_came() -> None:
    whitening = Whitening(6, 3)
    covariances = [covariance_of(6, seed) for seed in range(3)]
    whitening.alone.copy_(torch.stack([root_of(one) for one in covariances]))
    x = windows()
    rows = x.double().numpy().transpose(2, 0, 1)
    each = [
        np.einsum("nd,de,ne->n", one, np.linalg.inv(covariance), one) / 6
        for one, covariance in zip(rows, covariances, strict=True)
    ]
    found = Distances(whitening)(x, windows(), None)[0][:, 1]
    np.testing.assert_allclose(found.numpy(), np.log1p(each).mean(axis=0), rtol=1e-4)


def test_contributions_are_in_units_of_a_channels_normal_residual() -> None:
    whitening = Whitening(6, 3)
    whitening.scale.copy_(torch.tensor([1.0, 10.0, 0.5]))
    residual = windows()
    _, contribution = Distances(whitening)(windows(), residual, None)
    torch.testing.assert_close(contribution, (residual / whitening.scale).square().mean(dim=1))


@pytest.mark.parametrize(
    ("window", "channels", "is_factored"),
    [(MOST_JOINT_ROWS, 2, False), (MOST_JOINT_ROWS + 1, 2, True), (8, 200, True), (500, 1, False)],
)
def test_long_windows_of_several_channels_and_many_cells_are_factored(
    window: int, channels: int, is_factored: bool
) -> None:
    assert Whitening(window, channels).is_factored is is_factored


def test_of_many_cells_the_covariance_is_a_product_of_two() -> None:
    window, channels = 40, 30
    assert window * channels > MOST_JOINT_CELLS
    whitening = Whitening(window, channels)
    rows, across = (torch.randn(n, n, generator=GENERATOR) / n**0.5 for n in (window, channels))
    whitening.rows.copy_(rows)
    whitening.channels.copy_(across)
    residual = windows(3, window, channels)
    product = np.kron(rows.numpy(), across.numpy())
    expected = (residual.flatten(1).numpy() @ product) ** 2
    found = Distances(whitening)(residual, residual, None)[0][:, 0]
    np.testing.assert_allclose(found.numpy(), expected.mean(axis=1), rtol=1e-4)


def smooth(size: int, memory: float) -> np.ndarray:
    """Return the covariance of residuals with correlated neighbours, shrunk as in training."""
    lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return 0.97 * np.exp(-lag / memory) + 0.03 * np.eye(size)


def innovations(covariance: np.ndarray) -> torch.Tensor:
    """Return A with A A' = the inverse of the covariance, upper triangular as in training."""
    return torch.tensor(np.linalg.inv(np.linalg.cholesky(covariance)).T, dtype=torch.float32)


@pytest.mark.parametrize("hole", [3, 12, 60])
def test_the_distance_of_a_window_with_a_hole_is_that_of_its_known_cells(hole: int) -> None:
    """Oracle: the Mahalanobis distance under the marginal distribution of the known cells."""
    window = 256
    covariance = smooth(window, 20.0)
    whitening = Whitening(window, 1)
    whitening.joint.copy_(innovations(covariance))
    residual = np.random.default_rng(hole).multivariate_normal(np.zeros(window), covariance, 4)
    known = np.ones(window, bool)
    known[150 : 150 + hole] = False
    marginal = np.linalg.inv(covariance[np.ix_(known, known)])
    expected = np.einsum("nd,de,ne->n", residual[:, known], marginal, residual[:, known]) / known.sum()
    x = torch.tensor(residual, dtype=torch.float32)[:, :, None]
    found = Distances(whitening)(x, x, torch.tensor(known)[None, :, None].expand_as(x))[0][:, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_holes_of_single_channels_are_left_out_of_both_distances() -> None:
    """Compare with the same oracle if the joint distance is factored, and for the distance of a channel."""
    window, channels = MOST_JOINT_ROWS + 8, 2
    rows, between = smooth(window, 5.0), np.array([[1.0, 0.8], [0.8, 1.0]])
    whitening = Whitening(window, channels)
    whitening.rows.copy_(innovations(rows))
    whitening.channels.copy_(innovations(between))
    whitening.alone.copy_(innovations(rows).repeat(channels, 1, 1))
    covariance = np.kron(rows, between)
    flat = np.random.default_rng(0).multivariate_normal(np.zeros(window * channels), covariance, 3)
    known = np.ones((window, channels), bool)
    known[10:14], known[20:23, 1] = False, False
    cells = known.ravel()
    marginal = np.linalg.inv(covariance[np.ix_(cells, cells)])
    joint = np.einsum("nd,de,ne->n", flat[:, cells], marginal, flat[:, cells]) / cells.sum()
    x = torch.tensor(flat.reshape(3, window, channels), dtype=torch.float32)
    found = Distances(whitening)(x, x, torch.tensor(known)[None].expand_as(x))[0].numpy()
    np.testing.assert_allclose(found[:, 0], joint, rtol=0.02)
    own = []
    for channel in range(channels):
        there = known[:, channel]
        values = x[:, there, channel].double().numpy()
        inverse = np.linalg.inv(rows[np.ix_(there, there)])
        own.append(np.log1p(np.einsum("nd,de,ne->n", values, inverse, values) / there.sum()))
    np.testing.assert_allclose(found[:, 1], np.mean(own, axis=0), rtol=0.02)


@pytest.mark.parametrize("is_triangular", [True, False])
def test_a_large_joint_matrix_gives_the_same_distance_in_two_blocks(is_triangular: bool) -> None:
    window, channels = 32, LEAST_CELLS_IN_BLOCKS // 32
    whitening = Whitening(window, channels)
    matrix = torch.randn(whitening.joint.shape, generator=GENERATOR)
    whitening.joint.copy_(matrix.triu() if is_triangular else matrix)
    residual = windows(7, window, channels)
    expected = (residual.flatten(1).double() @ whitening.joint.double()).square().mean(dim=1)
    found = Distances(whitening)(residual, residual, None)[0][:, 0]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5)


def test_distances_are_of_the_matrices_that_were_loaded_last() -> None:
    trained, whitening = Whitening(6, 3), Whitening(6, 3)
    trained.joint.mul_(2.0)
    trained.scale.mul_(4.0)
    x, residual = windows(), windows()
    assert list(whitening.state_dict()) == ["joint", "rows", "channels", "alone", "scale"]
    Distances(whitening)(x, residual, None)
    whitening.load_state_dict(trained.state_dict())
    both = (Distances(one)(x, residual, None) for one in (whitening, trained))
    for found, expected in zip(*both, strict=True):
        assert torch.equal(found, expected)


def test_a_huge_residual_leaves_the_contributions_of_other_channels_as_they_are() -> None:
    residual = windows()
    expected = Distances(Whitening(6, 3))(residual, residual, None)[1]
    residual[:, 2, 1] = 1e30
    found = Distances(Whitening(6, 3))(residual, residual, None)[1]
    assert torch.equal(found[:, [0, 2]], expected[:, [0, 2]])
    assert found[:, 1].isinf().all()


@pytest.mark.parametrize("num_channels", [3, 5, 7])
def test_a_window_beside_one_with_a_hole_keeps_its_bits(num_channels: int) -> None:
    torch.manual_seed(3)
    whitening = Whitening(16, num_channels)
    for matrix in whitening.buffers():
        matrix += 0.1 * torch.randn(matrix.shape)
    x, residual = torch.randn(64, 16, num_channels), torch.randn(64, 16, num_channels)
    known = torch.ones_like(x, dtype=torch.bool)
    known[-1, 3:9, 0] = False
    measure = Distances(whitening)
    for alone, beside in zip(measure(x, residual, None), measure(x, residual, known), strict=True):
        assert torch.equal(alone[:-1], beside[:-1])
        assert not torch.equal(alone[-1], beside[-1])
