"""The training loop: it learns, it is reproducible, and an interruption changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from connectors.parquet import Chunk
from detector import models
from detector.models.options import masked_loss
from trainer.checkpoint import Checkpoints, FitResult
from trainer.config import FitOptions
from trainer.errors import TrainerError
from trainer.fitting import Halves, fit_gradient, fit_linear, pick_device
from trainer.history import History, Shares, build_history
from trainer.progress import quiet
from trainer.sampling import Windows

WINDOW, CHANNELS = 12, 2
DEEP = [family for family in models.FAMILIES if family != "linear"]
QUICK = FitOptions(max_epochs=5, min_steps_per_epoch=4, batch_size=16, seed=3, device="cpu")


def waves(num_rows: int = 400) -> np.ndarray:
    """Two sines with noise and missing values, float64 [rows, 2]."""
    rng = np.random.default_rng(0)
    angle = np.arange(num_rows)[:, None] * 0.3 + np.array([0.0, 1.0])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    values[rng.random(values.shape) < 0.03] = np.nan
    return values


def history_of(values: np.ndarray) -> History:
    times = np.arange(len(values))
    chunk = Chunk(times, ("s",), np.zeros(len(values), np.int32), values, None, None)
    return build_history(lambda: iter([chunk]), tuple("ab"[: values.shape[1]]), 1, 5)


@pytest.fixture
def halves() -> Iterator[Halves]:
    with history_of(waves()) as history:
        parts = [history.part(name, Shares(0.2, 0.2)) for name in ("train", "validation")]
        yield Halves(*(Windows(history, part, np.zeros(2), np.ones(2), WINDOW) for part in parts))


def module_of(family: str = "conv", seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return models.build(family, {"nodes": 8, "layers": 1}, WINDOW, CHANNELS)


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


class InterruptAfter:
    """A report that raises KeyboardInterrupt once so many epochs are done."""

    def __init__(self, epochs: int) -> None:
        self._left = epochs

    def __call__(self, done: float, words: str, notable: bool = False) -> None:
        self._left -= not notable
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("family", DEEP)
def test_the_loss_falls_and_the_best_weights_are_kept(family: str, halves: Halves) -> None:
    module = module_of(family)
    result = fit_gradient(module, "mse", halves, QUICK.model_copy(update={"max_epochs": 12}), quiet)
    assert result.validation_losses[-1] < result.validation_losses[0] / 1.5
    assert result.best_loss == min(result.validation_losses)
    assert not module.training
    assert validation_loss(module, halves) == pytest.approx(result.best_loss, rel=1e-4)


def validation_loss(module: torch.nn.Module, halves: Halves) -> float:
    """Loss over all validation windows, missing values filled for the module and left out of the mean."""
    x_BWC = torch.from_numpy(halves.validation.spread(1000))
    mask = ~torch.isnan(x_BWC)
    assert mask.float().mean() < 1.0
    filled = torch.from_numpy(_filled(x_BWC.numpy()))
    with torch.inference_mode():
        return masked_loss("mse", module(filled), filled, mask).item()


class SpoilAfter:
    """A report that throws the weights far off after epoch `spoil` and interrupts after `interrupt`."""

    def __init__(self, module: torch.nn.Module, spoil: int, interrupt: int | None = None) -> None:
        self._last = list(module.parameters())[-1]
        self._spoil, self._interrupt, self._epoch = spoil, interrupt, 0

    def __call__(self, done: float, words: str, notable: bool = False) -> None:
        self._epoch += 1
        if self._epoch == self._spoil:
            with torch.no_grad():
                self._last.fill_(50.0)
        if self._epoch == self._interrupt:
            raise KeyboardInterrupt


def test_the_best_weights_and_the_learning_rate_survive_an_interruption(
    halves: Halves, tmp_path: Path
) -> None:
    options = QUICK.model_copy(update={"max_epochs": 8})
    undisturbed, cut = module_of(), module_of()
    expected = fit_gradient(undisturbed, "mse", halves, options, SpoilAfter(undisturbed, 2))
    assert expected.best_epoch < 2
    assert validation_loss(undisturbed, halves) == pytest.approx(expected.best_loss, rel=1e-4)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_gradient(cut, "mse", halves, options, SpoilAfter(cut, 2, interrupt=3), checkpoints)
    resumed = module_of(seed=99)
    assert fit_gradient(resumed, "mse", halves, options, quiet, checkpoints) == expected
    assert equal(weights(resumed), weights(undisturbed))


def _filled(x_BWC: np.ndarray) -> np.ndarray:
    """Last value before a missing one, else 0; slow and obvious."""
    filled = x_BWC.copy()
    for window in filled:
        for row in range(len(window)):
            for channel in range(window.shape[1]):
                if np.isnan(window[row, channel]):
                    window[row, channel] = window[row - 1, channel] if row else 0.0
    return filled


@pytest.mark.parametrize("family", DEEP)
def test_the_same_seed_gives_the_same_weights(family: str, halves: Halves) -> None:
    found = []
    for seed in (3, 3, 4):
        module = module_of(family)
        fit_gradient(module, "mse", halves, QUICK.model_copy(update={"seed": seed}), quiet)
        found.append(weights(module))
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])


@pytest.mark.parametrize("family", DEEP)
@pytest.mark.parametrize("stops", [(1,), (2, 1, 1)])
def test_an_interrupted_training_that_is_resumed_ends_as_an_undisturbed_one(
    family: str, stops: tuple[int, ...], halves: Halves, tmp_path: Path
) -> None:
    undisturbed = module_of(family)
    expected = fit_gradient(undisturbed, "huber", halves, QUICK, quiet)
    checkpoints = Checkpoints(tmp_path / "state", "this one")
    for epochs in stops:
        with pytest.raises(KeyboardInterrupt):
            fit_gradient(module_of(family), "huber", halves, QUICK, InterruptAfter(epochs), checkpoints)
    resumed = module_of(family, seed=99)
    result = fit_gradient(resumed, "huber", halves, QUICK, quiet, checkpoints)
    assert result == expected
    assert equal(weights(resumed), weights(undisturbed))


def test_a_finished_training_can_be_given_more_epochs(halves: Halves, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    longer = QUICK.model_copy(update={"max_epochs": 7})
    fit_gradient(module_of(), "mse", halves, QUICK, quiet, checkpoints)
    result = fit_gradient(module_of(), "mse", halves, longer, quiet, checkpoints)
    assert result == fit_gradient(module_of(), "mse", halves, longer, quiet)


def test_it_stops_early_when_nothing_is_gained_and_says_so(halves: Halves) -> None:
    options = QUICK.model_copy(update={"max_epochs": 50, "patience": 2, "learning_rate": 1e-9})
    said = []

    def report(done: float, words: str, notable: bool = False) -> None:
        said.append((done, words))

    result = fit_gradient(module_of(), "mse", halves, options, report)
    assert result.stopped == "early_stopping"
    assert len(result.train_losses) == 3
    assert said[-1][0] == 1.0
    assert said[-1][1].startswith("stopped early: epoch 3, loss ")


def test_the_learning_rate_falls_where_the_loss_does_not(halves: Halves, tmp_path: Path) -> None:
    options = QUICK.model_copy(update={"max_epochs": 4, "patience": 4, "learning_rate": 1e-7})
    fit_gradient(module_of(), "mse", halves, options, quiet, Checkpoints(tmp_path))
    content = (tmp_path / "state").read_bytes()
    described = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert described["learning_rates"][0] == 5e-8


def test_a_training_that_diverges_says_so(halves: Halves) -> None:
    def explode(done: float, words: str, notable: bool = False) -> None:
        with torch.no_grad():
            next(module.parameters()).fill_(float("nan"))

    module = module_of()
    with pytest.raises(
        TrainerError,
        match=r"^training diverged in epoch 2: loss nan, validation nan; lower fit\.learning_rate",
    ):
        fit_gradient(module, "mse", halves, QUICK, explode)


# Checkpoints


def trained(halves: Halves, checkpoints: Checkpoints) -> None:
    fit_gradient(module_of(), "mse", halves, QUICK, quiet, checkpoints)


def test_a_checkpoint_of_another_training_is_refused(halves: Halves, tmp_path: Path) -> None:
    trained(halves, Checkpoints(tmp_path, "one"))
    with pytest.raises(TrainerError) as caught:
        trained(halves, Checkpoints(tmp_path, "two"))
    assert str(caught.value) == (
        f"{tmp_path}/state: this checkpoint cannot be resumed:"
        " it is of other data or another configuration; train without --resume"
    )


@pytest.mark.parametrize("damage", ["truncated", "empty", "scrambled"])
def test_a_damaged_checkpoint_is_refused(damage: str, halves: Halves, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    trained(halves, checkpoints)
    path = tmp_path / "state"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-40], "empty": b"", "scrambled": b"?" * len(whole)}[damage])
    with pytest.raises(TrainerError, match=rf"^{tmp_path}/state: this checkpoint cannot be resumed: "):
        trained(halves, checkpoints)


def test_a_cleared_checkpoint_leaves_no_directory(halves: Halves, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    assert not checkpoints.exists()
    trained(halves, checkpoints)
    assert checkpoints.exists()
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(halves: Halves, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match=r"file/state: cannot write the checkpoint: Not a directory$"):
        trained(halves, Checkpoints(tmp_path / "file" / "state"))


# The linear family


def test_the_linear_model_is_the_principal_components_of_the_windows() -> None:
    values = np.random.default_rng(1).normal(size=(300, 2)).cumsum(axis=0)
    with history_of(values) as history:
        windows = Windows(history, history.segments, np.zeros(2), np.ones(2), 6)
        module = models.build("linear", {"latent": 4}, 6, 2)
        fit_linear(module, windows, seed=0)
        x_BWC = windows.spread(10_000)
    flat = x_BWC.reshape(len(x_BWC), -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ components[:4].T @ components[:4] + flat.mean(axis=0)
    with torch.inference_mode():
        found = module(torch.from_numpy(x_BWC)).numpy().reshape(len(flat), -1)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_linear_model_too_wide_for_an_exact_fit_is_fitted_from_a_sample(halves: Halves) -> None:
    exact, approximate = (models.build("linear", {"latent": 2}, WINDOW, CHANNELS) for _ in range(2))
    fit_linear(exact, halves.train, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.fitting._EXACT_CELLS", 1)
        fit_linear(approximate, halves.train, seed=0)
    x_BWC = torch.from_numpy(_filled(halves.train.spread(500)))
    with torch.inference_mode():
        torch.testing.assert_close(exact(x_BWC), approximate(x_BWC), atol=0.05, rtol=0.05)


def test_a_result_without_epochs_has_no_loss() -> None:
    assert np.isnan(FitResult().best_loss)


def test_cuda_where_there_is_none_is_refused_and_auto_is_not() -> None:
    if torch.cuda.is_available():
        assert pick_device("auto").type == pick_device("cuda").type == "cuda"
        return
    assert pick_device("auto").type == "cpu"
    with pytest.raises(TrainerError, match=r"^device cuda: this machine or this build of torch has no CUDA;"):
        pick_device("cuda")
