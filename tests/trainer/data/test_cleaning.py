"""What no model must learn is masked or left out before the training, and the record says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import Detector
from detector.artifact.spec import Artifact
from detector.models.listing import FAMILY_CLASSES
from trainer import fit
from trainer.config import DataOptions, FitOptions, TrainConfig
from trainer.data.cleaning import Cleaned, cleaned
from trainer.data.history import build_history
from trainer.errors import TooLittleDataError, TrainerError
from trainer.pipeline import source_of

WINDOW = 16
START = pd.Timestamp("2026-01-01", tz="UTC")
QUICK = FitOptions(max_epochs=2, windows_per_epoch=1000)


def plant(num_rows: int, seed: int = 0) -> pd.DataFrame:
    """Two channels that follow one cycle of 44 rows, with noise of a tenth of its amplitude."""
    rng = np.random.default_rng(seed)
    cycle = np.sin(np.arange(num_rows) * 2 * np.pi / 44)
    index = pd.date_range(START, periods=num_rows, freq="min")
    noise = 0.1 * rng.standard_normal((num_rows, 2))
    return pd.DataFrame({"a": 10 + cycle, "b": 5 + 2 * cycle}, index=index) + noise


@contextmanager
def clean(frame: pd.DataFrame, **options: object) -> Iterator[tuple[Cleaned, np.ndarray]]:
    """The cleaned history, and all its rows that are left."""
    source = source_of(frame)
    with build_history(source.chunks, source.channels, source.interval_ns, WINDOW // 2) as history:
        found = cleaned(history, DataOptions.model_validate(options), WINDOW, WINDOW // 2)
        yield (
            found,
            np.concatenate([history.read(part.position, part.stop) for part in found.history.segments]),
        )


def column(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"x": values}, index=pd.date_range(START, periods=len(values), freq="min"))


def trained(frame: pd.DataFrame, family: str = "linear", **data: object) -> Artifact:
    config = TrainConfig(fit=QUICK, data=DataOptions.model_validate(data))
    return fit(frame, model=family, window=WINDOW, config=config)


def error_in_fault(artifact: Artifact, size: float) -> float:
    """The largest error of a lasting fault, in thresholds."""
    test = plant(400, seed=1)
    test.iloc[200:240, 0] += size
    score = Detector(artifact).score(test)["score"].iloc[200:240].max()
    return float(score ** (1 / artifact.spec.threshold.sharpness))


CLEAN: dict[str, Artifact] = {}


def clean_artifact(family: str) -> Artifact:
    if family not in CLEAN:
        CLEAN[family] = trained(plant(2000), family)
    return CLEAN[family]


def assert_hears_as_before(artifact: Artifact, within: float = 0.1) -> None:
    assert_hears_alike(artifact, clean_artifact("linear"), within)


def assert_hears_alike(artifact: Artifact, before: Artifact, within: float) -> None:
    assert artifact.spec.threshold.value == pytest.approx(before.spec.threshold.value, rel=within)
    for size in (1.0, 10.0):
        assert error_in_fault(artifact, size) == pytest.approx(error_in_fault(before, size), rel=within)


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@given(
    row=st.integers(0, 1999),
    power=st.floats(3, 300),
    sign=st.sampled_from([-1, 1]),
    channel=st.integers(0, 1),
)
def test_one_wild_cell_anywhere_changes_no_later_score(row: int, power: float, sign: int, channel: int):
    frame = plant(2000)
    frame.iloc[row, channel] = frame.iloc[row, channel] + sign * frame.iloc[:, channel].std() * 10.0**power
    artifact = trained(frame)
    assert artifact.spec.training["left_out"]["cells"] == 1
    assert_hears_as_before(artifact)


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 99), power=st.floats(3, 300), block=st.booleans(), repeats=st.booleans())
def test_wild_values_in_two_of_a_hundred_rows_change_no_later_score(
    seed: int, power: float, block: bool, repeats: bool
):
    rng = np.random.default_rng(seed)
    frame = plant(2000)
    rows = np.arange(40) + rng.integers(1960) if block else rng.choice(2000, 40, replace=False)
    wild = 10.0**power * (1.0 if repeats else rng.uniform(1, 2, 40))
    frame.iloc[rows, 0] = wild
    artifact = trained(frame)
    assert artifact.spec.training["left_out"]["cells"] == 40
    assert (artifact.spec.channels[0].sentinels != ()) == repeats
    # Forty holes are forty rows less to learn from: most places move the error by 5 %, some by a quarter.
    assert_hears_as_before(artifact, within=0.3)


WILD_ROWS = {"train": [100], "validation": [1590], "calibration": [1900], "block": list(range(500, 540))}
FAMILIES = ["ensemble", *FAMILY_CLASSES]


@pytest.mark.silence
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", WILD_ROWS)
def test_no_family_learns_from_wild_values(family: str, place: str):
    """A model with wild values is that of a history without them; a block of them is left out by its rows."""
    wild, without = plant(2000), plant(2000)
    rows = WILD_ROWS[place]
    wild.iloc[rows, 0] = 1e300
    if place == "block":
        without = without.drop(without.index[rows])
    else:
        without.iloc[rows, 0] = np.nan
    assert_hears_alike(trained(wild, family), trained(without, family), within=0.01)


def test_sentinels_of_many_rows_are_masked_named_and_kept_for_the_stream():
    frame = plant(2000)
    frame.iloc[np.random.default_rng(0).choice(2000, 400, replace=False), 1] = -9999.0
    with clean(frame) as (found, rows):
        assert found.sentinels == ((), (-9999.0,))
        assert np.nanmin(rows[:, 1]) > 0
        (entry,) = found.left_out
        assert (entry.reason, entry.channels, entry.rows) == ("sentinel", ("b",), 400)


def test_a_sentinel_in_the_stream_is_out_of_range_and_a_hole_in_the_windows_after_it():
    frame = plant(2000)
    frame.iloc[[100, 1900], 0] = 65535.0
    artifact = trained(frame)
    test = plant(300, seed=1)
    before = Detector(artifact).score(test)
    test.iloc[150, 0] = 65535.0
    after = Detector(artifact).score(test)
    assert after["state"].iloc[150] == "out_of_range"
    assert after["score"].iloc[151:167].max() < 2 * max(1.0, before["score"].iloc[151:167].max())


def test_values_outside_a_stated_range_train_nothing():
    frame = plant(2000)
    frame.iloc[::25, 0] += 20.0
    with clean(frame, valid_range={"a": (0.0, 20.0)}) as (found, rows):
        assert np.nanmax(rows[:, 0]) < 20
        assert [entry.reason for entry in found.left_out] == ["out_of_range"]
        assert found.left_out[0].rows == 80


RNG = np.random.default_rng(3)
GENUINE = {
    "rare pulses": np.where(np.arange(3000) % 100 == 0, 1.0, 0.0),
    "two pulses": np.where(np.isin(np.arange(3000), [700, 2100]), 1.0, 0.0),
    "constant": np.full(3000, 5.0),
    "rain": np.where(RNG.random(3000) < 0.02, RNG.exponential(10.0, 3000), 0.0),
    "lognormal": np.exp(2 * RNG.standard_normal(3000)),
    "on and off": np.where(np.arange(3000) // 300 % 2, 20 + 0.1 * RNG.standard_normal(3000), 0.0),
    "spikes": RNG.standard_normal(3000) + 40.0 * (RNG.random(3000) < 0.01),
    "drift": np.linspace(0, 100, 3000) + RNG.standard_normal(3000),
    "season": 50 * np.sin(np.arange(3000) / 400) + RNG.standard_normal(3000),
    "random walk": np.cumsum(RNG.standard_normal(3000)),
    "a mode that comes back": np.where(np.arange(3000) % 500 > 420, 30, 0) + RNG.standard_normal(3000),
    "new level in the middle": np.where(np.arange(3000) > 1800, 30, 0) + RNG.standard_normal(3000),
}


@pytest.mark.parametrize("kind", GENUINE)
def test_a_healthy_channel_loses_nothing(kind: str):
    with clean(column(GENUINE[kind])) as (found, rows):
        assert found.left_out == ()
        np.testing.assert_array_equal(rows[:, 0], GENUINE[kind])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), roughness=st.floats(0.0, 2.0), level=st.floats(-1e3, 1e3))
def test_a_wandering_plant_keeps_three_quarters_of_its_history(seed: int, roughness: float, level: float):
    rng = np.random.default_rng(seed)
    values = level + np.cumsum(roughness * rng.standard_t(3, 2500)) + rng.standard_normal(2500)
    with clean(column(values)) as (_, rows):
        assert len(rows) >= 0.75 * len(values)


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@given(share=st.floats(0.06, 0.17), size=st.floats(5, 50), sign=st.sampled_from([-1, 1]))
def test_a_history_that_ends_in_a_fault_hears_that_fault(share: float, size: float, sign: int):
    frame = plant(2000)
    start = round((1 - share) * 2000)
    frame.iloc[start:, 0] += sign * size
    artifact = trained(frame)
    (entry,) = artifact.spec.training["left_out"]["entries"]
    assert entry["reason"] == "suspicious"
    assert entry["channels"] == ["a"]
    assert pd.Timestamp(entry["start"]) <= frame.index[start] <= pd.Timestamp(entry["end"])
    assert_hears_as_before(artifact, within=0.25)  # a fifth less history: the estimates differ
    assert "unlike the rest" in artifact.card


def test_suspicious_rows_are_kept_refused_or_declared_normal():
    frame = plant(2000)
    frame.iloc[1700:, 0] += 5
    with clean(frame, suspicious="keep") as (found, rows):
        assert len(rows) == 2000
        assert found.left_out[0].kept
    with (
        pytest.raises(TrainerError, match=r"suspicious rows: .* of a, 2026-01-02T.*data.normal"),
        clean(frame, suspicious="fail"),
    ):
        pass
    with clean(frame, normal=[(frame.index[1700], frame.index[-1])]) as (found, rows):
        assert len(rows) == 2000
        assert found.left_out == ()


def test_excluded_stretches_and_incidents_are_left_out(tmp_path: Path):
    frame = plant(2000)
    path = tmp_path / "incidents.jsonl"
    incident = {"id": "1", "series": "series", "start": frame.index[300].isoformat()}
    lines = [incident, incident | {"end": frame.index[309].isoformat()}]
    path.write_text("\n".join(map(json.dumps, lines)))
    stretch = (frame.index[1000], frame.index[1099])
    with clean(frame, exclude=[stretch], incidents=str(path)) as (found, rows):
        assert len(rows) == 2000 - 100 - 10
        assert [(entry.reason, entry.rows) for entry in found.left_out] == [
            ("excluded", 100),
            ("incident", 10),
        ]
    with (
        pytest.raises(TooLittleDataError, match="all of them are left out"),
        clean(frame, exclude=[(START, frame.index[-1])]),
    ):
        pass
    path.write_text('{"end": null}')
    with pytest.raises(TrainerError, match="needs a start"), clean(frame, incidents=str(path)):
        pass


def test_a_stretch_without_a_zone_is_utc_and_must_not_end_before_it_begins():
    options = DataOptions.model_validate({"exclude": [["2026-01-01T00:00:00", "2026-01-02T00:00:00"]]})
    assert options.exclude[0][0] == datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="is after"):
        DataOptions.model_validate({"normal": [["2026-01-02T00:00:00", "2026-01-01T00:00:00"]]})
