"""How many rows show the scales of a machine: few of noise, many of a slow cycle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from detector.artifact.cold.cold_start import LEAST_WARMUP, ColdStart, cold_section
from detector.artifact.spec import Artifact
from trainer import fit
from trainer.config import ModelOptions, TrainConfig

ROWS = 2_400


def trained(period: int | None, names: tuple[str, ...] = ("a", "b")) -> Artifact:
    """A model of machines with noise, and with a cycle of so many rows."""
    frames = []
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        cycle = 0.0 if period is None else 4 * np.sin(2 * np.pi * np.arange(ROWS) / period + number)
        values = {channel: cycle + rng.normal(0, 1, ROWS) for channel in ("flow", "power")}
        times = pd.date_range("2026-03-01", periods=ROWS, freq="min", tz="UTC", name="timestamp")
        frames.append(pd.DataFrame(values, times).assign(series=name))
    return fit(pd.concat(frames), config=TrainConfig(model=ModelOptions(family="linear", window=8)))


@pytest.mark.parametrize(("period", "least", "most"), [(None, 64, 64), (200, 128, 256), (600, 256, 600)])
def test_the_warmup_covers_the_cycle_of_the_history(period: int | None, least: int, most: int) -> None:
    cold = trained(period).spec.cold
    assert cold is not None
    assert cold.series == ("a", "b")
    assert least <= cold.warmup <= most
    assert cold.warmup >= LEAST_WARMUP


def test_the_card_says_when_a_new_series_is_judged() -> None:
    said = " after 64 rows (1.07 h), and at most 95 more."
    assert said in trained(None).card
    assert "[cold] enabled = true" in cold_section(ColdStart(("only",), 128), 60.0)
