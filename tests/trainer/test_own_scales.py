"""Machines of other sizes that are trained together: every tool watches each in its own unit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detector.api import Detector
from detector.artifact.registry import open_artifact, publish
from detector.artifact.spec import Artifact
from detector.commands.backtest import _lines
from detector.engine.engine import Engine, EngineOptions
from detector.offline.backtest import backtest_parquet, replay
from detector.offline.frames import FrameSource, chunk_of_frame
from detector.selfcheck.check import Situation, self_check
from detector.selfcheck.detectability import measured_again
from detector.selfcheck.recent_rows import RecentRows
from trainer import fit
from trainer.model_card import summary_text, training_summary

WINDOW, ROWS, FAULT_AT = 16, 640, 100


def machine(num_channels: int, num: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Noisy sines around 0, of deviation 1."""
    rng = np.random.default_rng(seed)
    angle = np.arange(num)[:, None] * 2 * np.pi / 20 + np.arange(num_channels)
    values = np.sin(angle) + 0.1 * rng.standard_normal((num, num_channels))
    index = pd.date_range("2026-01-01", periods=num, freq="s", tz="UTC", name="timestamp")
    return pd.DataFrame(values, index, [f"c{at}" for at in range(num_channels)])


def together(**series: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.assign(series=name) for name, frame in series.items()])


def fitted(**series: pd.DataFrame) -> Artifact:
    return fit(together(**series), model="linear", window=WINDOW)


@cache
def trained(ratio: float, num_channels: int = 2) -> Artifact:
    rows = machine(num_channels)
    return fitted(large=rows * ratio, small=rows)


def scores(artifact: Artifact, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    table = Detector(artifact).score(frame)
    return {str(name): one for name, one in table.groupby("series")}


@pytest.mark.parametrize(("ratio", "num_channels"), [(4.0, 1), (1e3, 3), (1e6, 2)])
def test_a_fault_of_the_small_machine_scores_like_the_same_one_of_the_large(
    ratio: float, num_channels: int
) -> None:
    artifact = trained(ratio, num_channels)
    rows = machine(num_channels, 200, seed=1)
    rows.iloc[FAULT_AT : FAULT_AT + 10, 0] += 3.0
    found = scores(artifact, together(large=rows * ratio, small=rows))
    large, small = found["large"]["score"].to_numpy(), found["small"]["score"].to_numpy()
    np.testing.assert_allclose(small, large, rtol=1e-2)
    assert small[FAULT_AT : FAULT_AT + 10].max() > 1


def test_four_machines_at_far_levels_of_one_size_are_heard() -> None:
    rows = machine(2)
    frames = {f"pump-{number}": rows + np.array([1e4 * number, 0.0]) for number in range(4)}
    artifact = fitted(**frames)
    assert {one.channel for own in artifact.spec.own_scales.values() for one in own} == {"c0"}
    stream = {name: (frame + 0.0).iloc[:200] for name, frame in frames.items()}
    stream["pump-2"].iloc[FAULT_AT : FAULT_AT + 10, 0] += 3.0
    found = scores(artifact, together(**stream))
    assert found["pump-2"]["score"].iloc[FAULT_AT : FAULT_AT + 10].max() > 1
    assert not (found["pump-1"]["score"] > 1).any()


def test_equal_machines_have_no_scales_of_their_own_and_the_page_does_not_mention_any() -> None:
    artifact = fitted(one=machine(2), other=machine(2, seed=1))
    assert artifact.spec.own_scales == {}
    assert artifact.spec.sampled == ()
    assert "Own scales" not in artifact.card
    assert "own scales" not in summary_text(training_summary(artifact, Path("models/pump")))


def test_card_and_summary_name_series_and_channels() -> None:
    rows = machine(2)
    artifact = fitted(large=rows * [1.0, 500.0], small=rows)
    summary = training_summary(artifact, Path("models/pump"))
    assert summary["own_scales"] == {"c1": ["large", "small"]}
    assert "own scales of c1: large, small\n" in summary_text(summary)
    assert "| small | c1 |" in artifact.card
    assert "c0 |" not in artifact.card.split("## Own scales")[1].split("## ")[0]


def test_a_model_is_the_same_after_it_was_published(tmp_path: Path) -> None:
    artifact = trained(1e3)
    publish(artifact, tmp_path / "pump")
    loaded = open_artifact(tmp_path / "pump")
    assert loaded.spec == artifact.spec
    rows = together(large=machine(2, 100) * 1e3, small=machine(2, 100))
    pd.testing.assert_frame_equal(Detector(loaded).score(rows), Detector(artifact).score(rows))


def test_calibration_scores_the_held_out_rows_as_the_engine_does() -> None:
    """The held-out errors of both machines are those of the stream: the newest fifth of each."""
    artifact = trained(1e3)
    held_out = artifact.held_out["error"]
    large, small = (held_out[artifact.held_out["segment"] == number] for number in (0, 1))
    np.testing.assert_allclose(small, large, rtol=1e-2)


def test_the_small_machine_is_reconstructed_and_encoded_like_the_large() -> None:
    detector, rows = Detector(trained(1e3)), machine(2, 200, seed=2).mask(lambda one: one > 1.1)
    frame = together(large=rows * 1e3, small=rows)
    rebuilt = detector.reconstruct(frame)
    large, small = (
        rebuilt[rebuilt["series"] == name][["c0", "c1"]].to_numpy() for name in ("large", "small")
    )
    np.testing.assert_allclose(small * 1e3, large, rtol=1e-3, atol=1.0)
    codes = detector.encode(frame)
    ours, theirs = (codes[codes["series"] == name].filter(like="z").to_numpy() for name in ("small", "large"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["large", "small"])
def test_what_is_promised_is_found_in_rows_of_either_machine(name: str) -> None:
    artifact = measured_again(trained(1e3))
    assert artifact.spec.detectable == trained(1e3).spec.detectable
    size = 1e3 if name == "large" else 1.0
    recent = RecentRows(artifact.spec)
    for verdicts in Detector(artifact).replay(together(**{name: machine(2, 300, seed=3) * size})).verdicts:
        recent.add(verdicts)
    assert recent.series() == (name,)
    situation = Situation(artifact, EngineOptions(), recent.stretches(), stretched=recent.series())
    *_, sense = self_check(situation)
    assert sense is not None
    assert sense.outcome == "ok", sense
    *_, by_sample = self_check(Situation(artifact, EngineOptions()))
    assert by_sample is not None
    assert by_sample.outcome == "ok", by_sample


def test_the_smallest_shift_that_is_found_is_one_of_the_noise_of_each_machine() -> None:
    """The sizes of the table belong to the common scale, and the factor of a series makes them its own."""
    spec = trained(1e3).spec
    levels = [one for one in spec.detectable if one.kind == "level" and one.rows == 10]
    assert {one.channel for one in levels} == {"c0", "c1"}
    for one in levels:
        assert one.smallest is not None
        for name, size in (("large", 1e3), ("small", 1.0)):
            share = spec.share_of_common(name)[spec.channel_names.index(one.channel)]
            assert 0.01 * size < one.smallest * share < 3 * size


def test_an_unknown_machine_is_judged_by_the_common_scale_and_is_counted() -> None:
    artifact = trained(1e3)
    plain = replace(artifact, spec=replace(artifact.spec, own_scales={}, sampled=()))
    rows = machine(2, 100) * 400.0
    found, expected = (scores(one, together(new=rows))["new"] for one in (artifact, plain))
    pd.testing.assert_frame_equal(found, expected)
    counted = {}
    for name in ("new", "small"):
        engine = Engine(artifact)
        replay(FrameSource(chunk_of_frame(together(**{name: rows}), artifact.spec.channel_names)), engine)
        counted[name] = engine.counters.common_scale_rows
    assert counted == {"new": len(rows), "small": 0}


@pytest.mark.parametrize(("name", "num"), [("new", 100), ("small", 0)])
def test_a_backtest_counts_such_rows(name: str, num: int, tmp_path: Path) -> None:
    machine(2, 100).assign(series=name).reset_index().to_parquet(tmp_path / "stream.parquet")
    outcome = backtest_parquet(trained(1e3), tmp_path, EngineOptions())
    assert outcome.as_json()["common_scale_rows"] == num
    assert any("common scale" in line for line in _lines(outcome)) == (num > 0)
