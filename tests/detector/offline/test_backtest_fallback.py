"""`backtest --fallback`: a history without a model, as a daemon with a fallback judges it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import streamgauge
from connectors.parquet.dataset import discover
from connectors.parquet.replay_source import ParquetSource
from detector.artifact.fallback.statistical import statistical_model
from detector.engine.engine import Engine, EngineOptions
from detector.offline.backtest import replay
from detector.scoring.cold.learnt_scales import ColdOptions

FAN = ("noise", "speed")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fans and a saw, a row a minute; the second fan is too loud for half an hour."""
    rng, machines = np.random.default_rng(0), []
    for name, channels in {"fan-0": FAN, "fan-1": FAN, "saw-0": ("teeth",)}.items():
        machine = pd.DataFrame(
            {"timestamp": pd.date_range("2026-03-01", periods=700, freq="min"), "series": name}
            | {channel: 50 + rng.normal(0, 2, 700) for channel in channels}
        )
        if name == "fan-1":
            machine.loc[600:630, "noise"] += 40
        machines.append(machine)
    path = tmp_path_factory.mktemp("plant") / "plant.parquet"
    pd.concat(machines).to_parquet(path)
    return path


def test_it_finds_the_fault_with_its_channel_and_gives_the_verdicts_of_the_engine(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--series", "fan-*", "--out", str(tmp_path), "--json", "--fail-on-incident"]
    assert streamgauge.main(["backtest", "--fallback", str(plant), *flags]) == 3
    (incident,) = json.loads(capsys.readouterr().out)["incidents"]
    assert (incident["series"], incident["severity"]) == ("fan-1", "warning")
    assert incident["channels"][0]["name"] == "noise"
    engine = Engine(
        statistical_model(FAN, 10**9, 256), EngineOptions(cold=ColdOptions(enabled=True, warmup_rows=256))
    )
    report = replay(ParquetSource(discover(plant, FAN)), engine)
    of_fans = [
        (verdicts.names[code], int(time), score)
        for verdicts in report.verdicts
        for code, time, score in zip(verdicts.series, verdicts.timestamp_ns, verdicts.score, strict=True)
        if verdicts.names[code].startswith("fan")
    ]
    written = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    times = [int(pd.Timestamp(one).value) for one in written["timestamp"]]
    found = list(zip(written["series"], times, written["score"], strict=True))
    np.testing.assert_equal(sorted(found), sorted(of_fans))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--fallback", "DATA"], "series of 2 kinds"),
        (["--fallback", "DATA", "--series", "pump-*"], "no series with a value matches --series"),
        (["--fallback", "models/pump", "DATA"], "judges without a model"),
        (["DATA"], "no ARTIFACT"),
        (["--fallback", "DATA", "--report", "r.html"], "--report: needs a model"),
    ],
)
def test_what_cannot_be_judged_is_said(
    plant: Path, flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert streamgauge.main(["backtest", *(str(plant) if one == "DATA" else one for one in flags)]) == 2
    assert words in capsys.readouterr().err
