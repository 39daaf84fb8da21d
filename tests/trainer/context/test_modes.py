"""Modes in a training: what is found, what is learnt about changes, and which cells a model sees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from detector.artifact.modes import Condition, Mode, Modes
from detector.artifact.spec import Artifact
from detector.artifact.storage import load, save
from detector.calibration.mode_factors import factor_of, group_of, with_factors
from detector.engine.engine import Engine
from tests.support.strategies import readings_of
from trainer import fit
from trainer.config import ModelOptions, ModeOptions, TrainConfig
from trainer.context.find_modes import found_modes
from trainer.context.judged_history import judged_history, modes_of
from trainer.context.learn_modes import learnt, usual_rows
from trainer.data.history import History, build_history
from trainer.errors import TrainerError
from trainer.model_card import model_card
from trainer.pipeline import source_of

MODES = Modes(
    (Mode("off", (Condition("speed", None, 10.0),), judge=()), Mode("on", (Condition("speed", 90.0),)))
)


def frame_of(**columns: NDArray[np.float64]) -> pd.DataFrame:
    num = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.date_range("2026-01-01", periods=num, freq="60s", tz="UTC"))


def history_of(frame: pd.DataFrame) -> History:
    source = source_of(frame)
    return build_history(source.chunks, source.channels, 60 * 10**9, 8)


def machine(seed: int, runs: int = 30, ramp: int = 4) -> NDArray[np.float64]:
    """The speed of a machine that is off, starts in `ramp` rows, runs, and stops at once."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(runs):
        up = np.linspace(0, 100, ramp + 2)[1:-1]
        parts += [np.zeros(int(rng.integers(40, 90))), up, np.full(int(rng.integers(60, 150)), 100.0)]
    speed = np.concatenate(parts)
    return speed + rng.normal(0, 0.5, len(speed))


@given(
    seed=st.integers(0, 1000), scale=st.sampled_from([1e-3, 1.0, 1e5]), offset=st.sampled_from([0.0, -7.0])
)
def test_a_machine_that_is_on_or_off_has_two_modes_whatever_its_unit(
    seed: int, scale: float, offset: float
) -> None:
    speed = (machine(seed) + offset) * scale
    with history_of(frame_of(other=np.sin(np.arange(len(speed))), speed=speed)) as history:
        modes = found_modes(history)
    assert modes is not None
    assert [one.conditions[0].channel for one in modes.modes] == ["speed", "speed"]
    low, high = modes.modes[0].conditions[0].high, modes.modes[1].conditions[0].low
    assert low is not None
    assert high is not None
    assert (2 + offset) * scale < low < high < (98 + offset) * scale


SMOOTH = {
    "a sine": lambda at, rng: np.sin(at / 40),
    "a flattened sine": lambda at, rng: np.tanh(3 * np.sin(at / 40)),
    "two sines": lambda at, rng: np.sin(at / 40) + 0.7 * np.sin(at / 300),
    "noise": lambda at, rng: rng.normal(0, 1, len(at)),
    "heavy tails": lambda at, rng: rng.standard_t(3, len(at)),
    "a random walk": lambda at, rng: np.cumsum(rng.normal(0, 1, len(at))),
    "counts": lambda at, rng: rng.poisson(0.5, len(at)).astype(float),
    "two values in turn": lambda at, rng: (at // 5 % 2).astype(float),
    "a constant": lambda at, rng: np.full(len(at), 3.0),
    "rare spikes": lambda at, rng: (rng.random(len(at)) < 0.01) * 50.0,
    "one step": lambda at, rng: (at > 1500) * 10.0 + rng.normal(0, 1, len(at)),
}


@pytest.mark.parametrize("kind", SMOOTH)
@pytest.mark.parametrize("seed", range(4))
def test_what_moves_smoothly_or_seldom_has_no_modes(kind: str, seed: int) -> None:
    values = SMOOTH[kind](np.arange(4_000), np.random.default_rng(seed))
    with history_of(frame_of(value=values)) as history:
        assert found_modes(history) is None


def test_levels_of_unlike_series_are_no_modes() -> None:
    rng = np.random.default_rng(0)
    frames = [
        frame_of(value=level + rng.normal(0, 1, 1_500)).assign(series=f"pump-{level}") for level in (0, 100)
    ]
    with history_of(pd.concat(frames)) as history:
        assert found_modes(history) is None


def test_passages_and_settling_are_learnt_by_hand() -> None:
    """Starts of 4 rows, stops of none; a temperature that lags needs rows to settle."""
    speed = machine(1)
    heat = np.zeros(len(speed))
    for at in range(1, len(speed)):
        heat[at] = heat[at - 1] + (speed[at] - heat[at - 1]) / 5
    with history_of(
        frame_of(speed=speed, heat=heat + np.random.default_rng(1).normal(0, 1, len(heat)))
    ) as history:
        modes = learnt(MODES, modes_of(history, MODES), {})
        quick = learnt(MODES, modes_of(history, MODES), {"on": 3})
    off, on = modes.modes
    assert off.usual_rows == usual_rows(np.full(29, 4))
    assert off.passages in (29, 30)
    assert (on.usual_rows, on.passages) == (0, 0)
    assert modes.passing_rows == off.usual_rows
    assert 15 <= on.settle_rows <= 50
    assert quick.modes[1].settle_rows == 3
    assert sum(mode.share for mode in modes.all) == pytest.approx(1.0)


def test_few_passages_give_no_rule() -> None:
    with history_of(frame_of(speed=machine(2, runs=4))) as history:
        modes = learnt(MODES, modes_of(history, MODES), {})
    assert [mode.usual_rows for mode in modes.modes] == [0, 0]


def test_a_model_sees_holes_where_nothing_is_judged() -> None:
    speed = machine(3, runs=6)
    with history_of(frame_of(speed=speed, flow=speed * 2)) as history:
        modes = learnt(MODES, modes_of(history, MODES), {"on": 5, "off": 0})
        judged = judged_history(modes_of(history, modes), modes, 8)
        assert judged.as_sent is history
        for segment in judged.segments:
            seen = judged.read(segment.position, segment.stop)
            sent = history.read(segment.position, segment.stop)
            known = ~np.isnan(seen).any(axis=1)
            assert (sent[known, 0] >= 90).all()
            assert (sent[~known, 0] < 90).sum() + 5 >= (~known).sum() - 5
        assert judged.num_rows < 0.8 * history.num_rows


def test_each_group_has_the_threshold_that_its_rows_ask_for() -> None:
    rng = np.random.default_rng(0)
    mode = np.repeat(np.array([0, 1, 0, 1, 2], np.int32), [2_000, 2_000, 2_000, 2_000, 50])
    errors = np.exp(rng.normal(0, 0.2, len(mode))) * np.array([1.0, 4.0, 9.0])[mode]
    group = group_of(mode, np.ones(len(mode), np.bool_), 3)
    found = with_factors(MODES, errors, np.zeros(len(mode), np.int64), group, lambda e, s: float(e.max()))
    ratio = found.modes[1].steady / found.modes[0].steady
    assert ratio == pytest.approx(4.0, rel=0.3)
    assert found.other.steady >= 1.0
    assert found.modes[0].fresh >= 1.0
    calm = errors / factor_of(found, group)
    limit = np.array([calm[mode == one].max() for one in range(2)])
    assert limit[0] == pytest.approx(limit[1])


def trained(modes: object, seed: int = 5) -> Artifact:
    speed = machine(seed)
    rng = np.random.default_rng(seed)
    frame = frame_of(speed=speed, flow=speed * 2 + rng.normal(0, 1, len(speed)))
    return fit(frame, config=TrainConfig(model=ModelOptions(family="linear", window=12), modes=modes))


def test_a_training_proposes_modes_and_takes_them_if_asked(tmp_path: object) -> None:
    plain, auto = trained("off"), trained("auto")
    assert plain.spec.modes is None
    assert "`train --modes auto` takes them" in model_card(plain.spec)
    assert auto.spec.modes is not None
    assert auto.spec.modes.found
    assert "| low | " in auto.card
    saved = save(auto, tmp_path / "model")
    assert load(tmp_path / "model").spec.modes == saved.spec.modes


def test_configured_modes_are_in_the_artifact() -> None:
    on = ModeOptions(name="on", when={"speed": (90.0, np.inf)}, settle="3m", judge=("flow",))
    spec = trained((on,)).spec
    assert spec.modes is not None
    assert spec.modes.modes[0].conditions == (Condition("speed", 90.0, None),)
    assert spec.modes.modes[0].settle_rows == 3
    assert not spec.modes.found


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ({"name": "other", "when": {"speed": [1, 2]}}, "other"),
        ({"name": "a", "when": {}}, "when"),
        ({"name": "a", "when": {"speed": [2, 1]}}, "above"),
        ({"name": "a", "when": {"speed": ["-inf", "inf"]}}, "least or a greatest"),
        ({"name": "a", "when": {"speed": ["nan", 1]}}, "nan"),
    ],
)
def test_modes_that_say_nothing_are_refused(mode: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate({"modes": [mode]})


def test_a_channel_that_no_mode_judges_never_counts() -> None:
    """The speed only decides the mode: a model trains without it, and no speed is an anomaly."""
    modes = (
        ModeOptions(name="off", when={"speed": (None, 10.0)}, judge=("flow",)),
        ModeOptions(name="on", when={"speed": (90.0, None)}, judge=("flow",)),
    )
    artifact = trained(modes)
    assert artifact.spec.modes is not None
    assert artifact.spec.modes.other.judge == ("flow",)
    num = np.arange(120)
    values = np.stack([np.where(num % 3, 1e6, 95.0), np.full(120, 200.0) + np.sin(num)], axis=1)
    result = Engine(artifact).step(readings_of(0 * num, num * 60 * 10**9, values)).verdicts
    assert np.isnan(result.contribution[:, 0]).all()
    assert np.isfinite(result.score[60:]).all()
    assert (result.score[60:] < 10).all()


def test_a_mode_of_an_unknown_channel_is_refused_with_its_name() -> None:
    on = ModeOptions(name="on", when={"sped": (90.0, None)})
    with pytest.raises(TrainerError, match="mode 'on': no such channel: 'sped'"):
        trained((on,))
