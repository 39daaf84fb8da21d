"""A delay may be a time. It becomes rows, so that no final verdict comes later than stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamgauge import fit
from trainer.config import ModelOptions, ScoringOptions, TrainConfig
from trainer.errors import TrainerError

SECOND = 1_000_000_000


@given(seconds=st.integers(1, 10_000), interval=st.integers(1, 1_000))
def test_the_rows_of_a_delay_are_the_most_that_fit_into_it(seconds: int, interval: int) -> None:
    options = ScoringOptions(delay=f"{seconds}s")
    if seconds < interval:
        with pytest.raises(TrainerError, match=r"scoring\.delay .* is shorter than a row"):
            options.delay_rows(interval * SECOND)
    else:
        rows = options.delay_rows(interval * SECOND)
        assert rows * interval <= seconds < (rows + 1) * interval


@pytest.mark.parametrize(("delay", "rows"), [(7, 7), ("7", 7), ("5min", 5), ("5m", 5), ("0s", 0), (0, 0)])
def test_a_number_is_rows_and_a_time_has_a_unit(delay: int | str, rows: int) -> None:
    assert ScoringOptions(delay=delay).delay_rows(60 * SECOND) == rows


@pytest.mark.parametrize("delay", [-1, "soon", "-5min", "5 parsecs"])
def test_anything_else_is_refused(delay: int | str) -> None:
    with pytest.raises(ValidationError, match="delay"):
        ScoringOptions(delay=delay)


def test_a_model_waits_for_the_stated_time_and_its_card_says_so() -> None:
    times = pd.date_range("2026-01-01", periods=1_500, freq="30s", tz="UTC")
    noise = np.random.default_rng(0).normal(size=len(times))
    frame = pd.DataFrame({"flow": noise}, index=times)
    config = TrainConfig(model=ModelOptions(family="linear", window=32), scoring=ScoringOptions(delay="5min"))
    artifact = fit(frame, config=config)
    assert artifact.spec.scoring.delay == 10
    assert "A verdict is final 10 rows (5m) after its row." in artifact.card
