"""The model page's content: slow levels, laws, what is found, and how far the present is from the history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import urllib3

from detector.artifact.registry import publish
from detector.artifact.spec import Artifact
from detector.explore.model.reference import detectable, drift_reference
from detector.explore.model.summary import model_summary
from detector.explore.queries.drift import drift_now
from detector.explore.store.layout import DAY_NS, HOUR_NS
from detector.offline.backtest_record import Inputs
from tests.detector.explore.explored import CHANNELS, START_NS, incident, scores_of, served, write_backtest
from tests.detector.explore.test_store import finite, store
from tests.support.sines import LATENT, WINDOW, frame_of
from trainer import fit
from trainer.config import DataOptions, ModelOptions, TrainConfig

HTTP = urllib3.PoolManager(retries=False)


@cache
def long_history() -> Artifact:
    """A model of eleven days, a row every ten minutes, so that slow levels are known."""
    frame = frame_of(1600)
    frame.index = pd.date_range("2026-01-01", periods=1600, freq="10min", tz="UTC", name="timestamp")
    options = ModelOptions(family="linear", window=WINDOW, latent=LATENT)
    return fit(frame, config=TrainConfig(model=options, data=DataOptions(max_gap=5)))


def test_the_slow_level_is_the_mean_of_the_history_in_the_unit_of_the_channel() -> None:
    found = drift_reference(long_history().spec)
    assert found is not None
    assert (found["channels"], found["series"]) == (["flow", "pressure", "speed"], 1)
    (level,) = found["levels"].values()
    means = frame_of(1600).mean().to_numpy()
    assert np.all(np.abs(np.array(level["level"]) - means) < 0.2 * np.array(level["unit"]))


def test_levels_in_own_scales_and_unknown_ones_are_those_of_the_series() -> None:
    spec = long_history().spec
    assert spec.drift is not None
    (series,) = spec.drift.levels
    levels = {series: spec.drift.levels[series], "twice": (0.0, None, 1.0)}
    spec = replace(spec, drift=replace(spec.drift, levels=levels))
    found = drift_reference(spec)
    assert found is not None
    flow, pressure, speed = found["levels"]["twice"]["level"]
    usual = np.mean(spec.drift.usual, axis=0)
    assert pressure is None
    assert flow == pytest.approx(spec.channels[0].center + usual[0] * spec.channels[0].scale)
    assert speed == pytest.approx(spec.channels[2].center + (1 + usual[2]) * spec.channels[2].scale)


def test_a_short_history_has_no_slow_level() -> None:
    spec = replace(long_history().spec, drift=None)
    assert drift_reference(spec) is None


def test_what_is_found_is_the_table_of_the_card() -> None:
    spec = long_history().spec
    found = {(one["channel"], one["kind"], one["rows"]): one for one in detectable(spec)}
    assert len(found) == len(spec.detectable)
    smallest = found["flow", "level", 10]["smallest"]
    assert f"| flow | {found['flow', 'spike', 1]['smallest']:.3g} | {smallest:.3g} |" in long_history().card
    assert smallest < found["flow", "level", 10]["largest"]


@pytest.mark.parametrize("days", [0.5, 3.0, 9.0])
def test_the_present_mean_is_that_of_the_last_whole_days_at_most_seven(days: float) -> None:
    num = 240
    times = START_NS + (np.arange(num) * days * DAY_NS / num).astype(np.int64)
    series = np.repeat(np.array(["a", "b", "new"], dtype=object), num)
    frame = scores_of(series, np.tile(times, 3), 8, 0.3)
    levels = {"a": {"level": [3.0, None], "unit": [2.0, 1.0]}, "b": {"level": [5.0, 1.0], "unit": [1.0, 4.0]}}
    levels["gone"] = levels["a"]
    reference = {"channels": list(CHANNELS), "watched": [True, False], "series": 9, "levels": levels}
    span = (int(START_NS), int(times[-1]) + 1)
    with store(frame) as (database, _):
        found = drift_now(database, reference, span)
    whole = min(7, (span[1] - span[0]) // DAY_NS)
    begin = span[1] - whole * DAY_NS if whole else span[0]
    recent = frame[(frame["timestamp"] >= begin) & (frame["timestamp"] < span[1])]
    assert found["from"] == begin / 1e6
    assert {(one["series"], one["channel"]) for one in found["channels"]} == {
        (s, c) for s in "ab" for c in CHANNELS
    }
    for one in found["channels"]:
        at = CHANNELS.index(one["channel"])
        mean = np.nanmean(finite(recent.loc[recent["series"] == one["series"], f"actual_{one['channel']}"]))
        assert one["now"] == pytest.approx(mean)
        level, unit = levels[one["series"]]["level"][at], levels[one["series"]]["unit"][at]
        assert one["distance"] == (None if level is None else pytest.approx((mean - level) / unit))
        assert one["watched"] is (at == 0)
    sizes = [abs(one["distance"] or 0.0) for one in found["channels"]]
    assert sizes == sorted(sizes, reverse=True)


def test_of_many_series_those_that_drifted_come_into_the_list() -> None:
    names = [f"pump-{at:02d}" for at in range(60)]
    frame = scores_of(np.array(names, dtype=object), np.full(60, START_NS), 1, 0.0)
    levels = {one: {"level": [0.0, 0.0], "unit": [1.0, 1.0]} for one in names}
    reference = {"channels": list(CHANNELS), "watched": [True, True], "series": 60, "levels": levels}
    told = [incident("d", "pump-59", "2026-01-01T00:00:00Z", None, reason="drift")]
    with store(frame, told) as (database, about):
        found = drift_now(database, reference, (about.first_ns, about.last_ns))
    listed = {one["series"] for one in found["channels"]}
    assert listed == {"pump-59", *names[:49]}


def test_the_summary_names_units_and_what_laws_mean(tmp_path: Path) -> None:
    artifact = long_history()
    channels = tuple(
        replace(one, law="count" if at == 0 else one.law) for at, one in enumerate(artifact.spec.channels)
    )
    version = publish(
        replace(artifact, spec=replace(artifact.spec, channels=channels)), tmp_path / "m"
    ).version
    config = tmp_path / "daemon.toml"
    config.write_text(
        f'[model]\npath = "{tmp_path}/m"\n[kafka]\nbootstrap_servers = ["h:9092"]\ntopic = "t"\n'
        '[units]\nflow = "l/s"\n'
    )
    task = {"inputs": asdict(Inputs(str(tmp_path / "m"), str(config))), "version": version}
    found = model_summary(task, lambda done, of: None)
    assert [one["unit"] for one in found["channels"]] == ["l/s", "", ""]
    assert found["channels"][0]["law_means"].startswith("counts from 0 on")
    assert found["channels"][1]["law_means"] == ""
    config.unlink()
    assert [one["unit"] for one in model_summary(task, lambda done, of: None)["channels"]] == ["", "", ""]
    json.dumps(found)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A backtest of a day; the flow is three units of its drift above the history."""
    artifact = long_history()
    version = publish(artifact, tmp_path / "m").version
    assert artifact.spec.drift is not None
    (series,) = artifact.spec.drift.levels
    reference = drift_reference(artifact.spec)
    assert reference is not None
    level, unit = (reference["levels"][series][one][0] for one in ("level", "unit"))
    num = 144
    frame = scores_of(np.full(num, series, dtype=object), START_NS + np.arange(num) * HOUR_NS // 6, 2, 0.0)
    frame = frame.drop(columns=[one for one in frame if any(one.endswith(f"_{name}") for name in CHANNELS)])
    for kind in ("actual", "expected", "contribution"):
        frame = frame.assign(**{f"{kind}_{name}": level + 3 * unit for name in artifact.spec.channel_names})
    told = [incident("a", series, "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z")]
    channels = [{"name": one.name, "band": one.band} for one in artifact.spec.channels]
    more: dict[str, Any] = {
        "version": version,
        "inputs": asdict(Inputs(str(tmp_path / "m"))),
        "channels": channels,
    }
    with served(write_backtest(tmp_path / "out", frame, told, interval_ns=HOUR_NS // 6, **more)) as address:
        yield address


def test_the_endpoint_joins_the_model_with_what_the_store_holds(site: str) -> None:
    answer = HTTP.request("GET", f"{site}/api/v1/model", timeout=300)
    body = answer.json()
    assert answer.status == 200, body
    flow = next(one for one in body["drift"]["channels"] if one["channel"] == "flow")
    assert flow["distance"] == pytest.approx(3.0)
    assert (body["used"]["alarms"], body["used"]["evidence"]) == (1, [{"reason": "score", "alarms": 1}])
    assert body["threshold"]["value"] == pytest.approx(long_history().spec.threshold.value)
    budgets = {one["alarm_budget"]: one["threshold"] for one in body["curve"]}
    assert budgets[body["threshold"]["alarm_budget"]] == pytest.approx(body["threshold"]["value"])
    ordered = [one["threshold"] for one in body["curve"]]
    assert ordered == sorted(ordered) or ordered == sorted(ordered, reverse=True)
    assert body["versions"] == []


def test_a_backtest_of_an_older_release_is_409_with_the_remedy(tmp_path: Path) -> None:
    frame = scores_of(np.array(["a"], dtype=object), np.array([START_NS]), 1, 0.0)
    with served(write_backtest(tmp_path / "out", frame, [])) as address:
        answer = HTTP.request("GET", f"{address}/api/v1/model")
    assert answer.status == 409
    assert "run the backtest again" in answer.json()["error"]["message"]
