"""Which law a channel follows, from its history alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.artifact.laws import laws_section
from trainer import fit
from trainer.config import ModelOptions, TrainConfig
from trainer.context.laws import law_of, resolution_of
from trainer.fitting.reference import robust_center

Draw = Callable[[np.random.Generator, int], np.ndarray]
LAWS: dict[str, tuple[str, Draw]] = {
    "few events": ("count", lambda rng, n: rng.poisson(0.5, n)),
    "rare events": ("count", lambda rng, n: rng.poisson(0.3, n)),
    "bursts": ("count", lambda rng, n: rng.poisson(rng.gamma(0.5, 2, n))),
    "a mostly closed valve": ("steps", lambda rng, n: np.maximum(rng.normal(-1, 1, n), 0)),
    "a coarse thermometer": ("steps", lambda rng, n: 20 + np.round(rng.normal(size=n) / 0.5) * 0.5),
    "a switch": ("steps", lambda rng, n: (rng.random(n) < 0.5).astype(float)),
    "noise": ("plain", lambda rng, n: rng.normal(size=n)),
    "a fine thermometer": ("plain", lambda rng, n: 20 + np.round(rng.normal(size=n), 2)),
    "many events": ("plain", lambda rng, n: rng.poisson(400, n)),
}


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(500, 4_000))
def test_the_law_of_a_channel(name: str, seed: int, rows: int) -> None:
    law, draw = LAWS[name]
    assert law_of(draw(np.random.default_rng(seed), rows).astype(float), is_constant=False) == law


@given(st.integers(1, 400), st.integers(-50, 50), st.integers(3, 60))
def test_a_resolution_is_found_whatever_its_size(hundredths: int, first: int, num: int) -> None:
    step = hundredths / 100
    distinct = np.unique((first + np.arange(num)) * step)
    assert resolution_of(distinct) == pytest.approx(step)
    assert resolution_of(np.sort(np.append(distinct, distinct[0] + 0.37 * step))) < 0.5 * step


def test_few_values_do_not_make_the_spread_of_a_count_tiny() -> None:
    rng = np.random.default_rng(3)
    residuals = rng.poisson(0.5, 8_000)[:, None] + rng.normal(0, 0.01, (8_000, 1))
    assert robust_center(residuals)[1][0] < 0.1
    assert robust_center(residuals, np.array([True]))[1][0] == pytest.approx(0.5**0.5, rel=0.1)


def test_a_training_states_the_laws_and_the_card_names_them() -> None:
    rng = np.random.default_rng(5)
    columns = {"events": rng.poisson(0.5, 900), "state": np.full(900, 3.0), "speed": rng.normal(size=900)}
    times = pd.date_range("2026-01-01", periods=900, freq="60s", tz="UTC", name="timestamp")
    artifact = fit(
        pd.DataFrame(columns, times), config=TrainConfig(model=ModelOptions(family="linear", window=16))
    )
    assert [channel.law for channel in artifact.spec.channels] == ["count", "constant", "plain"]
    assert "- state: never moved in the history" in artifact.card
    assert "speed" not in artifact.card.partition("## Counts and steps")[2].partition("##")[0]


def test_a_card_without_such_channels_has_no_section() -> None:
    assert laws_section(["a"], ["plain"]) == ""
    assert " and 2 more" in laws_section(list("abcdefghijkl"), ["count"] * 12)
