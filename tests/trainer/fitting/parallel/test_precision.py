"""Gradients in bfloat16: nearly the same loss, the same faults; an error where no such device is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist

from detector import Detector
from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import FitOptions, ModelOptions, TrainConfig
from trainer.errors import TrainerError
from trainer.fitting.parallel.group import Group
from trainer.fitting.parallel.launch import Launch
from trainer.fitting.parallel.objective import check_precision

ROWS, FAULT = 1000, slice(400, 460)
LOSS = 0.03
"""Largest relative difference of the best validation loss; docs/distributed-training.md states it."""


def frame_of(num_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    angle = np.arange(num_rows)[:, None] * 0.2 + np.array([0.0, 1.0, 2.0])
    values = np.sin(angle) + rng.normal(0, 0.05, angle.shape)
    index = pd.date_range("2026-01-01", periods=num_rows, freq="min", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index=index, columns=["flow", "level", "power"])


def trained(family: str, precision: str) -> Artifact:
    options = FitOptions(max_epochs=4, min_steps_per_epoch=20, device="cpu", precision=precision, refit=False)
    config = TrainConfig(model=ModelOptions(family=family, window=16), fit=options)
    return fit(frame_of(ROWS, seed=0), config=config)


@pytest.mark.distributed  # four trainings: with those of torchrun, not in `make test`
@pytest.mark.parametrize("family", ["conv", "lstm"])
def test_bfloat16_learns_as_well_and_finds_the_same_fault(family: str) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no arithmetic in bfloat16")
    full, reduced = (trained(family, precision) for precision in ("float32", "bfloat16"))
    losses = [artifact.spec.training["validation_loss"] for artifact in (full, reduced)]
    assert losses[0] != losses[1], "the option has an effect"
    assert losses[1] == pytest.approx(losses[0], rel=LOSS)
    assert all(weights.dtype == np.float32 for weights in reduced.module.weights().values())
    stream = frame_of(600, seed=1)
    stream.iloc[FAULT, 1] += 1.5
    found = []
    for artifact in (full, reduced):
        states = Detector(artifact).score(stream)["state"]
        anomalous = np.flatnonzero(states == "anomalous")
        found.append((anomalous.min(), bool((anomalous < FAULT.start).any())))
    assert found[0] == found[1] == (FAULT.start, False)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_device_without_bfloat16_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(
        TrainerError,
        match=r"^fit\.precision: this (GPU|processor) has no arithmetic in bfloat16; set fit\.",
    ):
        check_precision(FitOptions(precision="bfloat16"), torch.device(device))
    check_precision(FitOptions(), torch.device(device))


def test_the_first_process_refuses_the_precision_before_the_others_hear_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise another one could fail first, and the exit code would be that of a lost process."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    store = dist.HashStore()
    group = Group(Launch(0, 2), torch.device("cpu"), store)
    monkeypatch.setattr("trainer.fitting.gradient.current_group", lambda: group)
    with pytest.raises(TrainerError, match=r"^fit\.precision: this processor has no arithmetic"):
        trained("conv", "bfloat16")
    assert not store.check(["work/0"])
    with pytest.raises(
        ValueError, match=r"process group has not been initialized"
    ):  # there is no other process
        trained("conv", "float32")
    assert store.check(["work/0"])
