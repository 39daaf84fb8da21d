"""The training loop: it learns, it is reproducible, and an interruption changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from connectors.parquet.reader import Chunk
from detector.models import families as models
from trainer.config import FitOptions
from trainer.data.history import History, Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult
from trainer.fitting.gradient import TrainingAndValidation, fit_gradient, learning_rate, training_device
from trainer.progress import quiet

WINDOW, CHANNELS = 12, 2
BY_GRADIENTS = [family for family in models.FAMILIES if family not in ("linear", "memory")]
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
def windows() -> Iterator[TrainingAndValidation]:
    with history_of(waves()) as history:
        parts = [history.part(name, Shares(0.2, 0.2)) for name in ("train", "validation", "train")]
        yield TrainingAndValidation(
            *(TrainingWindows(history, part, np.zeros(2), np.ones(2), WINDOW) for part in parts)
        )


def module_of(family: str = "conv", seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    sizes = {} if family == "mlp" else {"nodes": 8, "layers": 1}
    return models.build(family, sizes, WINDOW, CHANNELS)


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


@pytest.mark.parametrize("family", BY_GRADIENTS)
def test_the_loss_falls_and_the_best_weights_are_kept(family: str, windows: TrainingAndValidation) -> None:
    module = module_of(family)
    result = fit_gradient(module, "mse", windows, QUICK.model_copy(update={"max_epochs": 12}), quiet)
    if family == "vae":  # a log-likelihood: it may be negative, so a ratio means nothing
        assert result.validation_losses[-1] < result.validation_losses[0] - 0.4
    else:
        assert result.validation_losses[-1] < result.validation_losses[0] / 1.5
    assert result.best_loss == min(result.validation_losses)
    assert not module.training
    assert validation_loss(module, windows) == pytest.approx(result.best_loss, rel=1e-4)


def validation_loss(module: torch.nn.Module, windows: TrainingAndValidation) -> float:
    """Loss over all validation windows, missing values filled for the module and left out of the mean."""
    x_BWC = torch.from_numpy(windows.validation.spread(1000))
    mask = ~torch.isnan(x_BWC)
    assert mask.float().mean() < 1.0
    filled = torch.from_numpy(_filled(x_BWC.numpy()))
    with torch.inference_mode():
        return models.training_loss(module, "mse", filled, filled, mask).item()


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
    windows: TrainingAndValidation, tmp_path: Path
) -> None:
    options = QUICK.model_copy(update={"max_epochs": 8})
    undisturbed, cut = module_of(), module_of()
    expected = fit_gradient(undisturbed, "mse", windows, options, SpoilAfter(undisturbed, 2))
    assert expected.best_epoch < 2
    assert validation_loss(undisturbed, windows) == pytest.approx(expected.best_loss, rel=1e-4)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_gradient(cut, "mse", windows, options, SpoilAfter(cut, 2, interrupt=3), checkpoints)
    resumed = module_of(seed=99)
    assert fit_gradient(resumed, "mse", windows, options, quiet, checkpoints) == expected
    assert equal(weights(resumed), weights(undisturbed))


def _filled(x_BWC: np.ndarray) -> np.ndarray:
    """Interpolated between neighbours, the only one at an end, else 0; slow and obvious."""
    filled = x_BWC.copy()
    for window in filled:
        for channel in window.T:
            known = np.flatnonzero(~np.isnan(channel))
            channel[:] = np.interp(np.arange(len(channel)), known, channel[known]) if len(known) else 0.0
    return filled


@pytest.mark.parametrize("family", BY_GRADIENTS)
def test_the_same_seed_gives_the_same_weights(family: str, windows: TrainingAndValidation) -> None:
    found = []
    for seed in (3, 3, 4):
        module = module_of(family)
        fit_gradient(module, "mse", windows, QUICK.model_copy(update={"seed": seed}), quiet)
        found.append(weights(module))
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])


@pytest.mark.parametrize("family", BY_GRADIENTS)
@pytest.mark.parametrize("stops", [(1,), (2, 1, 1)])
def test_an_interrupted_training_that_is_resumed_ends_as_an_undisturbed_one(
    family: str, stops: tuple[int, ...], windows: TrainingAndValidation, tmp_path: Path
) -> None:
    undisturbed = module_of(family)
    expected = fit_gradient(undisturbed, "huber", windows, QUICK, quiet)
    checkpoints = Checkpoints(tmp_path / "state", "this one")
    for epochs in stops:
        with pytest.raises(KeyboardInterrupt):
            fit_gradient(module_of(family), "huber", windows, QUICK, InterruptAfter(epochs), checkpoints)
    resumed = module_of(family, seed=99)
    result = fit_gradient(resumed, "huber", windows, QUICK, quiet, checkpoints)
    assert result == expected
    assert equal(weights(resumed), weights(undisturbed))


def test_a_finished_training_can_be_given_more_epochs(windows: TrainingAndValidation, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    short = fit_gradient(module_of(), "mse", windows, QUICK, quiet, checkpoints)
    longer = QUICK.model_copy(update={"max_epochs": 8})
    result = fit_gradient(module_of(), "mse", windows, longer, quiet, checkpoints)
    assert result.train_losses[:5] == short.train_losses
    assert len(result.train_losses) == 8
    assert result.best_loss < short.best_loss


def test_it_stops_early_without_a_gain_and_reports_it(windows: TrainingAndValidation) -> None:
    options = QUICK.model_copy(update={"max_epochs": 50, "patience": 2, "learning_rate": 1e-9})
    reports = []

    def report(done: float, words: str, notable: bool = False) -> None:
        reports.append((done, words))

    result = fit_gradient(module_of(), "mse", windows, options, report)
    assert result.stopped == "early_stopping"
    assert len(result.train_losses) == 3
    assert reports[-1][0] == 1.0
    assert reports[-1][1].startswith("stopped early: epoch 3, loss ")


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    options = FitOptions(max_epochs=4, learning_rate=0.5)
    rates = [learning_rate(options, epoch) for epoch in range(5)]
    assert rates[0] == 0.5
    assert rates[2] == pytest.approx((rates[0] + rates[4]) / 2)
    assert rates[4] == pytest.approx(0.5 / 50)
    assert rates == sorted(rates, reverse=True)


def test_the_last_epochs_change_the_weights_less_than_the_first(windows: TrainingAndValidation) -> None:
    module, steps = module_of(), []
    before = weights(module)

    def report(done: float, words: str, notable: bool = False) -> None:
        nonlocal before
        now = weights(module)
        steps.append(sum(float((now[name] - before[name]).abs().sum()) for name in now))
        before = now

    fit_gradient(module, "mse", windows, QUICK.model_copy(update={"max_epochs": 8, "patience": 8}), report)
    assert steps[-1] < 0.2 * steps[0]


def test_a_training_that_diverges_is_an_error(windows: TrainingAndValidation) -> None:
    def explode(done: float, words: str, notable: bool = False) -> None:
        with torch.no_grad():
            next(module.parameters()).fill_(float("nan"))

    module = module_of()
    with pytest.raises(
        TrainerError,
        match=r"^training diverged in epoch 2: loss nan, validation nan; lower fit\.learning_rate",
    ):
        fit_gradient(module, "mse", windows, QUICK, explode)


def test_a_variational_model_learns_what_it_needs_for_samples(windows: TrainingAndValidation) -> None:
    """The codes and errors of the final weights, whichever epoch they are of."""
    module = module_of("vae")
    fit_gradient(module, "mse", windows, QUICK, quiet)
    fitted = weights(module)
    assert (fitted["code_mean"] != 0).all()
    module.fit_samples(torch.from_numpy(_filled(windows.train.spread(4096))))
    for name, value in weights(module).items():
        torch.testing.assert_close(value, fitted[name], atol=1e-5, rtol=1e-4)


# Checkpoints


def trained(windows: TrainingAndValidation, checkpoints: Checkpoints) -> None:
    fit_gradient(module_of(), "mse", windows, QUICK, quiet, checkpoints)


def test_a_checkpoint_of_another_training_is_refused(windows: TrainingAndValidation, tmp_path: Path) -> None:
    trained(windows, Checkpoints(tmp_path, "one"))
    with pytest.raises(TrainerError) as caught:
        trained(windows, Checkpoints(tmp_path, "two"))
    assert str(caught.value) == (
        f"{tmp_path}/state: this checkpoint cannot be resumed:"
        " it belongs to other data or another configuration; train without --resume"
    )


@pytest.mark.parametrize("damage", ["of another training", "truncated"])
def test_a_checkpoint_that_nobody_asked_for_is_replaced_if_it_does_not_fit(
    damage: str, windows: TrainingAndValidation, tmp_path: Path
) -> None:
    trained(windows, Checkpoints(tmp_path / "fresh", "two"))
    whole = (tmp_path / "fresh" / "state").read_bytes()
    trained(windows, Checkpoints(tmp_path / "kept", "one"))
    if damage == "truncated":
        (tmp_path / "kept" / "state").write_bytes(whole[:-40])
    trained(windows, Checkpoints(tmp_path / "kept", "two", demanded=False))
    assert (tmp_path / "kept" / "state").read_bytes() == whole


@pytest.mark.parametrize("damage", ["truncated", "empty", "scrambled"])
def test_a_damaged_checkpoint_is_refused(damage: str, windows: TrainingAndValidation, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    trained(windows, checkpoints)
    path = tmp_path / "state"
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-40], "empty": b"", "scrambled": b"?" * len(whole)}[damage])
    with pytest.raises(TrainerError, match=rf"^{tmp_path}/state: this checkpoint cannot be resumed: "):
        trained(windows, checkpoints)


def test_a_cleared_checkpoint_leaves_no_directory(windows: TrainingAndValidation, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    assert not checkpoints.exists()
    trained(windows, checkpoints)
    assert checkpoints.exists()
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_each_member_has_a_state_of_its_own_that_is_cleared_with_the_others(
    windows: TrainingAndValidation, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    trained(windows, checkpoints.member(1))
    assert checkpoints.exists()
    assert checkpoints.member(1).exists()
    assert not checkpoints.member(0).exists()
    checkpoints.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(windows: TrainingAndValidation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match=r"file/state: cannot write the checkpoint: Not a directory$"):
        trained(windows, Checkpoints(tmp_path / "file" / "state"))


def test_a_result_without_epochs_has_no_loss() -> None:
    assert np.isnan(FitResult().best_loss)


def test_cuda_where_there_is_none_is_refused_and_auto_is_not() -> None:
    if torch.cuda.is_available():
        assert training_device("auto").type == training_device("cuda").type == "cuda"
        return
    assert training_device("auto").type == "cpu"
    with pytest.raises(TrainerError, match=r"^device cuda: this machine or this build of torch has no CUDA;"):
        training_device("cuda")
