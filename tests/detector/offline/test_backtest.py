"""Backtests: measures against labels, series by series; frames, columns and texts of the outcome."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import streamgauge
from detector import Detector, backtest
from detector.artifact.modes import Condition, Mode, Modes
from detector.artifact.registry import publish
from detector.artifact.spec import Artifact, PageLimit
from detector.engine.engine import EngineOptions
from detector.errors import DetectorError
from detector.offline.backtest import Given, backtest_parquet
from tests.support.artifacts import make_artifact


def write(path: Path, num_rows: int = 60, names: tuple[str, str] = ("a", "b")) -> Path:
    """Two series of noise; the last row of the first and the first rows of the second are labelled."""
    rng = np.random.default_rng(0)
    label = np.concatenate([np.arange(num_rows) == num_rows - 1, np.arange(num_rows) < 2]).astype(np.int8)
    times = np.tile(1_700_000_000_000 + np.arange(num_rows) * 1000, 2)
    columns = {
        "timestamp": pa.array(times, pa.timestamp("ms", tz="UTC")),
        "series": np.repeat(names, num_rows),
        "flow": rng.standard_normal(2 * num_rows),
        "pressure": rng.standard_normal(2 * num_rows),
        "label": label,
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_events_of_different_series_stay_apart(tmp_path: Path) -> None:
    outcome = backtest_parquet(make_artifact(threshold=1e-9), write(tmp_path / "a.parquet"), EngineOptions())
    assert outcome.rows == 120
    assert outcome.measures["events"] == 2
    assert outcome.measures["false_alarms"] == 1  # all of b's rows after warming; a's alarm touches its event
    assert outcome.measures["recall"] == 1 / 3  # b's labelled rows were warming: unknown is no alarm


def test_the_tables_hold_every_row_and_incident(tmp_path: Path) -> None:
    data = write(tmp_path / "a.parquet")
    outcome = backtest_parquet(make_artifact(threshold=1e-9), data, EngineOptions(), tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out" / "scores.parquet").num_rows == 120
    written = json.loads((tmp_path / "out" / "incidents.json").read_text())
    assert [incident["series"] for incident in written["incidents"]] == ["a", "b"]
    assert len(outcome.incidents) == 2


def test_rows_have_their_mode_of_operation_where_the_model_knows_modes(tmp_path: Path) -> None:
    plain = make_artifact(threshold=1e-9)
    modes = Modes((Mode("low", (Condition("flow", None, 0.0),)), Mode("high", (Condition("flow", 0.0),))))
    artifact = replace(plain, spec=replace(plain.spec, modes=modes))
    for name, one in (("plain", plain), ("modes", artifact)):
        backtest_parquet(one, write(tmp_path / "a.parquet"), EngineOptions(), tmp_path / name)
    assert "mode" not in pq.read_schema(tmp_path / "plain" / "scores.parquet").names
    rows = pd.read_parquet(tmp_path / "modes" / "scores.parquet")
    expected = np.where(rows["actual_flow"] <= 0, "low", "high")
    assert rows["mode"].tolist() == np.where(rows["actual_flow"].isna(), "", expected).tolist()
    assert {"low", "high"} <= set(rows["mode"])


CONFIG = """
[model]
path = "unused by a backtest"
[kafka]
topic = "unused"
[incidents]
fold_series = 2
[[maintenance]]
series = ["a"]
start = 2023-11-14T22:13:20Z
end = 2023-11-14T22:14:00Z
"""


def test_a_backtest_takes_the_rules_of_the_daemons_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, config = tmp_path / "models" / "pump", tmp_path / "a.parquet", tmp_path / "streamgauge.toml"
    publish(make_artifact(threshold=1e-9), model)
    write(data)
    config.write_text(CONFIG)
    command = ["backtest", str(model), str(data), "--json"]
    assert streamgauge.main(command) == 0
    plain = json.loads(capsys.readouterr().out)
    assert streamgauge.main([*command, "--config", str(config)]) == 0
    ruled = json.loads(capsys.readouterr().out)
    assert [one["held_by"] for one in plain["incidents"]] == [[], []]
    held = {one["series"]: (one["opened"], one["held_by"]) for one in ruled["incidents"]}
    assert held == {
        "a": ("2023-11-14T22:14:00.000Z", ["maintenance"]),
        "b": ("2023-11-14T22:13:27.000Z", []),
    }
    assert (plain["folds"], plain["suppressed_rows"]) == ([], {})
    assert ruled["suppressed_rows"] == {"maintenance": 33}  # 40 rows in the window, 7 of them warming
    assert [fold["series"] for fold in ruled["folds"]] == [["b", "a"]]  # the likely first one on top
    config.write_text(CONFIG + '[channels.presure]\ndirection = "above"\n')
    assert streamgauge.main([*command, "--config", str(config)]) != 0
    assert "[channels.presure]: the model has no channel `presure`; did you mean `pressure`?" in (
        capsys.readouterr().err
    )


FOLLOWING = PageLimit(alarms_a_row=0.02, rise=1.4)


def sharp_artifact() -> Artifact:
    """A model whose threshold follows the stream and whose scores have a power."""
    artifact = make_artifact(threshold=1.0, limit=FOLLOWING)
    threshold = replace(artifact.spec.threshold, sharpness=2.5)
    return replace(artifact, spec=replace(artifact.spec, threshold=threshold))


def test_error_and_threshold_explain_the_score(tmp_path: Path) -> None:
    artifact = sharp_artifact()
    backtest_parquet(artifact, write(tmp_path / "a.parquet"), EngineOptions(), tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    known = table["score"].notna()
    assert known.sum() > 60
    assert table["threshold"][known].nunique() > 1
    again = table["error"] ** 2.5
    np.testing.assert_allclose(again[known], table["score"][known], rtol=1e-9)
    assert table["error"][~known].isna().all()
    assert ((table["error"] > 1) == (table["score"] > 1))[known].all()
    assert ((table["error"] > table["threshold"]) == table["paged"])[known].all()


def test_backtest_returns_frames_with_times(tmp_path: Path) -> None:
    artifact, data = sharp_artifact(), write(tmp_path / "a.parquet")
    publish(artifact, tmp_path / "models" / "pump")
    result = backtest(tmp_path / "models" / "pump", data)
    outcome = backtest_parquet(artifact, data, EngineOptions())
    assert result.measures == pytest.approx(outcome.measures, nan_ok=True)
    assert {"error", "threshold", "actual_flow", "expected_flow"} <= set(result.verdicts.columns)
    assert str(result.verdicts.index.dtype) == "datetime64[ns, UTC]"
    assert len(result.verdicts) == outcome.rows
    assert list(result.incidents["id"]) == [incident.id for incident in outcome.incidents]
    for name in ("start", "opened", "end", "peak"):
        assert str(result.incidents[name].dtype) == "datetime64[ns, UTC]"
    counted = f"{len(outcome.incidents)} incidents {outcome.coverage.summary}"
    assert repr(result).startswith(f"BacktestResult(120 rows, {counted}, vus_pr=")
    assert result.coverage == outcome.coverage
    assert "\n" not in repr(result)


def test_a_frame_gives_what_its_parquet_file_gives(tmp_path: Path) -> None:
    artifact, data = make_artifact(threshold=1e-9), write(tmp_path / "a.parquet")
    frame = pd.read_parquet(data).set_index("timestamp")
    by_file, by_frame = backtest(artifact, data), backtest(artifact, frame)
    pd.testing.assert_frame_equal(by_file.verdicts, by_frame.verdicts)
    assert by_file.measures == pytest.approx(by_frame.measures, nan_ok=True)
    scores = Detector(artifact).score(frame)
    pd.testing.assert_frame_equal(scores, by_frame.verdicts[list(scores.columns)])


def test_a_backtest_without_incidents_has_the_same_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"flow": [0.0, 1.0], "pressure": [0.0, 1.0]}, pd.date_range("2026-01-01", periods=2, freq="s")
    )
    result = backtest(make_artifact(), frame)
    assert list(result.incidents.columns[:3]) == ["id", "series", "state"]
    assert str(result.incidents["end"].dtype) == "datetime64[ns, UTC]"
    assert set(result.measures) == {"budgeted_alarms", "realised_to_budgeted"}
    assert len(backtest(make_artifact(), frame[:0]).verdicts) == 0


def test_a_frame_without_times_is_refused() -> None:
    frame = pd.DataFrame({"flow": [0.0], "pressure": [0.0]})
    with pytest.raises(DetectorError, match="it must be a DatetimeIndex: try"):
        Detector(make_artifact()).score(frame)
    with pytest.raises(DetectorError, match="missing times"):
        backtest(make_artifact(), frame.set_index(pd.DatetimeIndex([pd.NaT])))
    timed = frame.set_index(pd.DatetimeIndex(["2026-01-01"]))
    with pytest.raises(DetectorError, match=r"lacks the channels \['pressure'\]"):
        Detector(make_artifact()).score(timed[["flow"]])


def test_the_repr_of_a_detector_is_one_short_line() -> None:
    shown = repr(Detector(make_artifact()))
    assert shown == "Detector(pump, version unsaved, conv, channels flow, pressure)"


def test_the_backtest_compares_alarms_with_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(make_artifact(threshold=1e-9), tmp_path / "models" / "pump")
    data = write(tmp_path / "a.parquet")
    assert streamgauge.main(["backtest", str(tmp_path / "models" / "pump"), str(data)]) == 0
    printed = capsys.readouterr().out
    counted = r"of \d+ rows judged in \d of \d series"
    use = "the budget allows 1 a week per series, so less than one"
    assert re.search(rf"1 false alarm {counted}; {use}", printed)
    assert "expected nan" not in printed


def test_names_with_brackets_and_colons_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no markup and no emoji for the terminal."""
    publish(make_artifact(threshold=1e-9), tmp_path / "models" / "pump")
    data = write(tmp_path / "a.parquet", names=("vib [mm/s]", ":fire: [/x]"))
    assert streamgauge.main(["backtest", str(tmp_path / "models" / "pump"), str(data)]) == 0
    printed = capsys.readouterr().out
    for name in ("vib [mm/s]", ":fire: [/x]"):
        assert f"{name}: " in printed, "the sentence"
        assert re.search(rf"│ {re.escape(name)} +│", printed), "the table"


def test_series_of_other_kinds_change_nothing_and_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, mixed, own = tmp_path / "models" / "pump", tmp_path / "mixed.parquet", tmp_path / "own.parquet"
    publish(make_artifact(threshold=1e-9), model)
    table = pq.read_table(write(mixed))
    pq.write_table(table.filter(pc.equal(table["series"], "a")), own)
    config = tmp_path / "streamgauge.toml"
    config.write_text('[model]\npath = "m"\nseries = ["a*"]\n[kafka]\ntopic = "t"\n')
    found = {}
    for name, data, flags in (
        ("own", own, ()),
        ("flag", mixed, ("--series", "a")),
        ("file", mixed, ("--config", str(config))),
    ):
        out = tmp_path / name
        command = ["backtest", str(model), str(data), "--json", "--out", str(out), *flags]
        assert streamgauge.main(command) == 0
        found[name] = json.loads(capsys.readouterr().out)
        pd.testing.assert_frame_equal(
            pd.read_parquet(out / "scores.parquet"), pd.read_parquet(tmp_path / "own" / "scores.parquet")
        )
    assert found["own"].pop("unassigned_rows") == {"name": 0, "channels": 0}
    for name in ("flag", "file"):
        assert found[name].pop("unassigned_rows") == {"name": 60, "channels": 0}
        assert found[name] == found["own"]
    assert streamgauge.main(["backtest", str(model), str(mixed), "--series", "a"]) == 0
    assert "unassigned, and not judged: 60 rows of other series, such as b" in capsys.readouterr().out


def test_rows_of_a_series_with_too_few_channels_are_not_judged(tmp_path: Path) -> None:
    table = pd.read_parquet(write(tmp_path / "a.parquet"))
    table.loc[table["series"] == "b", "pressure"] = np.nan
    table.to_parquet(tmp_path / "a.parquet")
    given = Given(least_channels=2)
    outcome = backtest_parquet(make_artifact(), tmp_path / "a.parquet", EngineOptions(), given=given)
    assert outcome.rows == 60
    assert [(one.name, one.reason, one.messages) for one in outcome.unassigned.most] == [
        ("b", "channels", 60)
    ]
