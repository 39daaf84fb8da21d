"""Which channels are unlike in their series, and what a series then has of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.offline.frames import chunk_of_frame
from trainer.data import series_scales as module
from trainer.data.channel_statistics import channel_statistics
from trainer.data.history import build_history
from trainer.data.series_scales import Unlike, are_unlike, robust_statistics, series_scales

WINDOW = 8


def unlike_in(series: dict[str, np.ndarray]) -> Unlike:
    """What training learns from these values of the channels a, b and so on."""
    frames = []
    for name, values in series.items():
        index = pd.date_range("2026-01-01", periods=len(values), freq="s", tz="UTC", name="timestamp")
        columns = [chr(ord("a") + at) for at in range(values.shape[1])]
        frames.append(pd.DataFrame(values, index, columns).assign(series=name))
    chunk = chunk_of_frame(pd.concat(frames), tuple(columns))
    with build_history(lambda: iter([chunk]), tuple(columns), None, 3) as history:
        statistics = channel_statistics(history, history.segments, WINDOW)
        return series_scales(history, history.segments, statistics, WINDOW)


def noise(num: int = 200, num_channels: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, num_channels))


@settings(max_examples=25)
@given(power=st.floats(0.8, 300 - 150), num_series=st.integers(2, 5), at=st.integers(0, 1))
def test_only_the_unlike_channel_has_own_scales_and_every_series_has_them(
    power: float, num_series: int, at: int
) -> None:
    series = {f"pump-{number}": noise(seed=number) for number in range(num_series)}
    series["pump-0"][:, at] *= 10.0**power
    found = unlike_in(series)
    assert set(found.own_scales) == set(series)
    for name, own in found.own_scales.items():
        assert [one.channel for one in own] == ["ab"[at]]
        center, scale = series[name][:, at].mean(), series[name][:, at].std()
        assert own[0].scale == pytest.approx(scale, rel=0.2)
        assert abs(own[0].center - center) < 0.1 * scale
    assert found.notes() == []


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.5])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_series_that_are_much_alike_have_none(factor: float, shift: float) -> None:
    one, other = noise(), noise(seed=1) * factor + shift
    assert unlike_in({"one": one, "other": other}) == Unlike({})


def test_a_fleet_of_much_alike_machines_has_none() -> None:
    """The range of many centres is wide although each machine is near the others."""
    rng = np.random.default_rng(3)
    centers = np.linspace(-2.0, 2.0, 40)[:, None]
    assert not are_unlike(centers, 10.0 ** rng.uniform(-0.2, 0.2, (40, 1))).any()


def test_a_single_series_has_none() -> None:
    assert unlike_in({"one": noise()}) == Unlike({})


@pytest.mark.parametrize("shift", [5.0, -1e3, 1e9])
def test_machines_of_one_size_at_far_levels_have_their_own(shift: float) -> None:
    found = unlike_in({"one": noise(), "other": noise(seed=1) + np.array([shift, 0.0])})
    [own] = found.own_scales["other"]
    assert own.center == pytest.approx(shift, abs=0.3)
    assert own.scale == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("value", [0.0, 0.01, 5000.0])
def test_where_a_channel_is_constant_the_scale_is_that_of_the_others_or_finer(value: float) -> None:
    constant, varying = noise(), noise(seed=1)
    constant[:, 0] = value
    varying[:, 0] += 1e6
    found = unlike_in({"constant": constant, "varying": varying})
    [own] = found.own_scales["constant"]
    assert own.center == value
    assert 0 < own.scale <= 1.2
    assert found.own_scales["varying"][0].scale == pytest.approx(1.0, rel=0.2)


def test_channels_that_are_constant_everywhere_at_other_values_stay_finite() -> None:
    found = unlike_in({"one": np.full((100, 1), 7.0), "other": np.full((100, 1), 3000.0)})
    scales = {name: own[0].scale for name, own in found.own_scales.items()}
    assert scales == {"one": pytest.approx(0.7), "other": pytest.approx(300.0)}


def test_a_series_with_too_few_values_keeps_the_common_scale_and_is_named() -> None:
    short = noise(40)
    found = unlike_in({"large": noise() * 1e3, "short": short, "small": noise(seed=1)})
    assert set(found.own_scales) == {"large", "small"}
    assert found.too_short == ("short",)
    assert found.notes() == [
        "short had too few values to learn scales of their own, and are judged by the common ones"
    ]


def test_a_machine_alone_with_too_few_values_is_named_too() -> None:
    found = unlike_in({"large": noise() * 1e3, "short": noise(40)})
    assert (found.own_scales, found.too_short) == ({}, ("short",))


def test_a_newcomer_that_saw_a_part_of_a_slow_cycle_gives_nobody_own_scales() -> None:
    cycle = 10.0 * np.sin(np.arange(3000) * 2 * np.pi / 1500)[:, None] + 0.1 * noise(3000)
    found = unlike_in({"one": cycle, "other": cycle + 0.1, "new": cycle[:80]})
    assert (found.own_scales, found.too_short) == ({}, ("new",))


def test_a_channel_that_a_series_lacks_has_no_scale_there() -> None:
    lacking = noise() * 1e3
    lacking[:, 0] = np.nan
    found = unlike_in({"lacking": lacking, "one": noise(seed=1), "two": noise(seed=2) * 1e3})
    channels = {name: [one.channel for one in own] for name, own in found.own_scales.items()}
    assert channels == {"lacking": ["b"], "one": ["a", "b"], "two": ["a", "b"]}


def test_more_channels_than_a_description_holds_keep_one_scale_and_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_OWN_SCALES", 2)
    found = unlike_in({"one": noise(), "other": noise(seed=1) * 1e3})
    assert [one.channel for one in found.own_scales["one"]] == ["a"]
    assert found.common == ("b",)
    assert "the series of b are unlike" in found.notes()[0]


@settings(max_examples=25)
@given(share=st.floats(0, 0.02), power=st.floats(1, 140), seed=st.integers(0, 99))
def test_two_percent_of_wild_values_change_little(share: float, power: float, seed: int) -> None:
    values, rng = noise(2000, 1, seed), np.random.default_rng(seed)
    wild = values.copy()
    rows = rng.choice(2000, int(share * 2000), replace=False)
    wild[rows] = rng.choice([-1, 1]) * 10.0**power
    (center, scale), (wild_center, wild_scale) = (
        robust_statistics(one, rare_share=0.0) for one in (values, wild)
    )
    assert wild_scale == pytest.approx(scale, rel=0.1)
    assert abs(wild_center - center) < 0.1 * scale


def test_a_state_that_is_rare_stays_within_sight() -> None:
    """A pump that rests 2 % of its time: its noise alone would put the rest thousands of scales away."""
    values = noise(2000, 1) * 1e-3
    values[::50] = -10.0
    center, scale = robust_statistics(values)
    assert 10.0 < abs(-10.0 - center[0]) / scale[0] < 80.0


@settings(max_examples=50)
@given(
    factor=st.floats(1e-100, 1e100),
    shift=st.floats(-1e3, 1e3),
    num=st.integers(2, 6),
    seed=st.integers(0, 999),
)
def test_the_unit_of_a_channel_does_not_matter(factor: float, shift: float, num: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    center, spread = rng.normal(size=(num, 3)), 10.0 ** rng.uniform(-1, 1, (num, 3))
    expected = are_unlike(center, spread)
    np.testing.assert_array_equal(are_unlike((center + shift) * factor, spread * factor), expected)


def test_a_long_series_is_sampled_and_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    series = {"one": noise(6000), "other": noise(6000, seed=1) * 50.0}
    whole = unlike_in(series).own_scales
    monkeypatch.setattr(module, "_SAMPLE_CELLS", 4000)
    sampled = unlike_in(series).own_scales
    assert sampled != whole
    for name, own in whole.items():
        for one, other in zip(own, sampled[name], strict=True):
            assert other.scale == pytest.approx(one.scale, rel=0.1)
