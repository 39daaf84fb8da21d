"""The variational autoencoder: its bound, its deterministic scores, its samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from detector.models.families import build, reconstruct, training_loss

WINDOW, CHANNELS = 16, 2


def module_of(**given: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build("vae", given, WINDOW, CHANNELS).eval()


def history(num: int, window: int = WINDOW, seed: int = 0) -> torch.Tensor:
    """Return windows of two coupled autoregressive channels of different mean and spread, [num, W, 2]."""
    rng = np.random.default_rng(seed)
    state, rows = np.zeros((num, 2)), []
    for _ in range(30 + window):
        state = state @ [[0.9, 0.15], [-0.15, 0.9]] + rng.normal(0, 0.35, (num, 2))
        rows.append(state)
    x_BWC = np.stack(rows[30:], axis=1) * [1.0, 0.5] + [0.5, -1.0]
    return torch.from_numpy(x_BWC.astype(np.float32))


def learn(module: torch.nn.Module, x_BWC: torch.Tensor, steps: int) -> None:
    module.train()
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for _ in range(steps):
        batch = x_BWC[torch.randint(len(x_BWC), (256,))]
        loss = training_loss(module, "mse", batch, batch, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()
    module.fit_samples(x_BWC)


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    torch.manual_seed(0)
    module = build("vae", {}, WINDOW, CHANNELS)
    learn(module, history(4000), 800)
    return module


# The bound


def test_the_loss_is_the_negative_bound_a_cell() -> None:
    """Compare with torch's own distributions, less the constant log(2 pi) / 2, over each of the draws."""
    module, x_BWC = module_of(beta=0.5, draws=4), history(5)
    with torch.inference_mode():
        mean_BL, log_variance_BL = module.distribution(x_BWC)
        spread_BL = (0.5 * log_variance_BL).exp()
        posterior = torch.distributions.Normal(mean_BL, spread_BL)
        prior = torch.distributions.Normal(torch.zeros_like(mean_BL), torch.ones_like(mean_BL))
        kl_B = torch.distributions.kl_divergence(posterior, prior).sum(1)
        likelihoods = [
            torch.distributions.Normal(
                module.decode(mean_BL + spread_BL * noise_L, WINDOW), module.variance.sqrt()
            ).log_prob(x_BWC)
            for noise_L in module.noise
        ]
        bound_B = torch.stack(likelihoods).mean(0).sum((1, 2)) - 0.5 * kl_B
        expected = -bound_B.mean() / (WINDOW * CHANNELS) - 0.5 * math.log(2 * math.pi)
        found = training_loss(module, "mse", x_BWC, x_BWC, None)
    torch.testing.assert_close(found, expected)


def test_cells_without_a_value_have_no_part_in_the_bound_but_the_code_has() -> None:
    module, x_BWC = module_of(), history(3)
    mask = torch.ones_like(x_BWC, dtype=torch.bool)
    mask[:, ::2] = False
    target = torch.where(mask, x_BWC, torch.tensor(1e6))
    with torch.inference_mode():
        cells = module.cell_losses(x_BWC, target, mask)
        whole = module.cell_losses(x_BWC, x_BWC, None)
        mean_BL, log_variance_BL = module.distribution(x_BWC)
    kl_B = 0.5 * (mean_BL**2 + log_variance_BL.exp() - log_variance_BL - 1).sum(1)
    known = mask[0].sum()
    torch.testing.assert_close(
        (cells * mask).sum((1, 2)) - kl_B,
        ((whole - kl_B[:, None, None] / mask[0].numel()) * mask).sum((1, 2)),
    )
    assert known == mask[0].numel() / 2


def test_codes_are_drawn_in_training_only() -> None:
    module, x_BWC = module_of(), history(4)
    losses = {training_loss(module, "mse", x_BWC, x_BWC, None).item() for _ in range(3)}
    assert len(losses) == 1
    module.train()
    losses = {training_loss(module, "mse", x_BWC, x_BWC, None).item() for _ in range(3)}
    assert len(losses) == 3


def test_more_beta_makes_codes_more_like_the_prior() -> None:
    found = []
    for beta in (0.1, 10.0):
        module, x_BWC = module_of(beta=beta, nodes=32), history(1000)
        learn(module, x_BWC, 150)
        with torch.inference_mode():
            mean_BL, log_variance_BL = module.distribution(x_BWC)
        found.append(0.5 * (mean_BL**2 + log_variance_BL.exp() - log_variance_BL - 1).sum(1).mean().item())
    assert found[1] < found[0] / 3


# Scores


@pytest.mark.parametrize("backbone", ["dense", "conv"])
@pytest.mark.parametrize("score", ["expected", "probability", "mean"])
def test_a_score_depends_on_the_window_alone(score: str, backbone: str) -> None:
    module, x_BWC = module_of(score=score, backbone=backbone), history(8)
    with torch.inference_mode():
        y_BWC, r_BWC = reconstruct(module, x_BWC)
        torch.manual_seed(5)
        again = reconstruct(module, x_BWC)
        alone = reconstruct(module, x_BWC[3:4])
    assert torch.equal(y_BWC, again[0])
    assert torch.equal(r_BWC, again[1])
    torch.testing.assert_close(alone[1], r_BWC[3:4], rtol=1e-4, atol=1e-5)


def test_the_draws_are_saved_with_the_weights() -> None:
    module = module_of()
    torch.manual_seed(9)
    restored = build("vae", {}, WINDOW, CHANNELS).eval()
    assert not torch.equal(restored.noise, module.noise)
    restored.load_state_dict(module.state_dict())
    with torch.inference_mode():
        assert torch.equal(reconstruct(module, history(3))[1], reconstruct(restored, history(3))[1])


def test_the_draws_have_mean_zero_and_variance_one() -> None:
    noise = module_of(draws=6, latent=5).noise
    assert noise.shape == (6, 5)
    torch.testing.assert_close(noise.mean(0), torch.zeros(5))
    torch.testing.assert_close(noise.square().mean(0), torch.ones(5))


def test_the_square_of_the_expected_residual_is_the_expected_squared_error(trained: torch.nn.Module) -> None:
    """Compare with many independent draws."""
    x_BWC = history(40, seed=2)
    with torch.inference_mode():
        _, r_BWC = reconstruct(trained, x_BWC)
        mean_BL, log_variance_BL = trained.distribution(x_BWC)
        total = torch.zeros_like(x_BWC)
        torch.manual_seed(3)
        for _ in range(400):
            z_BL = mean_BL + (0.5 * log_variance_BL).exp() * torch.randn_like(mean_BL)
            total += (x_BWC - trained.decode(z_BL, WINDOW)) ** 2 / 400
    assert (r_BWC**2).mean().item() == pytest.approx(total.mean().item(), rel=0.02)


def test_the_expected_squared_error_is_that_of_the_mean_and_more() -> None:
    x_BWC = history(20)
    with torch.inference_mode():
        y_BWC, r_BWC = reconstruct(module_of(score="expected"), x_BWC)
        plain = reconstruct(module_of(score="mean"), x_BWC)
    assert ((r_BWC**2) >= (x_BWC - y_BWC) ** 2 - 1e-5).all()
    assert torch.equal(plain[1], x_BWC - plain[0])


def test_probability_counts_in_standard_deviations_of_the_decoder() -> None:
    expected, probability = module_of(score="expected"), module_of(score="probability")
    for module in (expected, probability):
        with torch.no_grad():
            module.log_variance.copy_(torch.tensor([math.log(4.0), math.log(0.25)]))
    with torch.inference_mode():
        first, second = (reconstruct(module, history(5))[1] for module in (expected, probability))
    torch.testing.assert_close(second * torch.tensor([2.0, 0.5]), first)


def test_a_strange_window_scores_higher(trained: torch.nn.Module) -> None:
    normal = history(200, seed=4)
    strange = normal.clone()
    strange[:, 8:, 0] += 3.0 * (-1.0) ** torch.arange(8)
    with torch.inference_mode():
        errors = [reconstruct(trained, x_BWC)[1].square().mean((1, 2)) for x_BWC in (normal, strange)]
    assert errors[1].min() > errors[0].quantile(0.99)


# Samples


def statistics(x_BWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean, standard deviation and lag-1 autocorrelation of each channel."""
    centred = x_BWC - x_BWC.mean((0, 1))
    lagged = (centred[:, 1:] * centred[:, :-1]).mean((0, 1)) / centred.square().mean((0, 1))
    return x_BWC.mean((0, 1)), x_BWC.std((0, 1)), lagged


def test_samples_have_the_means_spreads_and_autocorrelation_of_history(trained: torch.nn.Module) -> None:
    """Tolerances: means 0.1 standard deviations, standard deviations 10 %, autocorrelations 0.1."""
    real = statistics(history(4000, seed=7))
    sampled = statistics(trained.sample(4000, WINDOW, torch.Generator().manual_seed(0)))
    assert ((sampled[0] - real[0]).abs() < 0.1 * real[1]).all()
    assert ((sampled[1] / real[1] - 1).abs() < 0.1).all()
    assert ((sampled[2] - real[2]).abs() < 0.1).all()


def test_codes_are_sampled_as_those_of_history_are_distributed(trained: torch.nn.Module) -> None:
    with torch.inference_mode():
        mean_BL, log_variance_BL = trained.distribution(history(4000))
        z_BL = mean_BL + (0.5 * log_variance_BL).exp() * torch.randn_like(mean_BL)
        factor = trained.code_factor
    torch.testing.assert_close(trained.code_mean, z_BL.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(factor @ factor.T, torch.cov(z_BL.T), atol=0.08, rtol=0.1)


def test_the_same_generator_gives_the_same_samples(trained: torch.nn.Module) -> None:
    first, same, other = (
        trained.sample(3, WINDOW, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (3, WINDOW, CHANNELS)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_an_untrained_module_samples_codes_from_the_prior() -> None:
    module = module_of(latent=3)
    assert torch.equal(module.code_mean, torch.zeros(3))
    assert torch.equal(module.code_factor, torch.eye(3))
    assert torch.equal(module.noise_memory, torch.zeros(CHANNELS))


def test_the_noise_of_samples_remembers_as_the_errors_do() -> None:
    """The decoder writes nothing here, so that samples are only noise, which must be like the errors."""
    module, x_BWC = module_of(), history(2000)
    with torch.no_grad():
        for parameter in module.backbone.decoder[-1].parameters():
            parameter.zero_()
        centred = x_BWC - x_BWC.mean((0, 1))
        module.log_variance.copy_(centred.square().mean((0, 1)).log())
    module.fit_samples(centred)
    real = statistics(centred)
    sampled = statistics(module.sample(2000, WINDOW, torch.Generator().manual_seed(0)))
    for found, expected in zip(sampled, real, strict=True):
        torch.testing.assert_close(found, expected, atol=0.03, rtol=0.05)
