"""`streamgauge init`: what it writes trains and backtests; what it leaves out, warns of and refuses."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamgauge
from detector.artifact.registry import open_artifact
from detector.config.load import load_config, load_toml
from trainer import fit
from trainer.config import TrainConfig
from trainer.setup.look import look_at
from trainer.setup.train_file import comment, quoted, train_file

NUM_ROWS = 1_200


def frame(num: int = NUM_ROWS, seed: int = 0, freq: str = "1min") -> pd.DataFrame:
    """Two channels that follow each other, with a time a row."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(num) / 15)
    flow = 10 + wave + rng.normal(0, 0.1, num)
    when = pd.date_range("2026-01-05", periods=num, freq=freq, tz="UTC")
    return pd.DataFrame(
        {"timestamp": when, "flow": flow.round(4), "heat": (2 * flow + rng.normal(0, 0.1, num)).round(4)}
    )


def one_series_parquet(root: Path) -> Path:
    frame().to_parquet(root / "pump 1.parquet", index=False)
    return root / "pump 1.parquet"


def many_files(root: Path) -> Path:
    for seed in range(3):
        frame(600, seed).to_csv(root / f"pump{seed}.csv", index=False)
    return root


def epoch_ms_by_machine(root: Path) -> Path:
    parts = [frame(600, seed).assign(machine=f"M{seed}") for seed in range(3)]
    table = pd.concat(parts).sort_values("timestamp", kind="stable").rename(columns={"timestamp": "time"})
    table["time"] = pd.DatetimeIndex(table["time"]).as_unit("ms").asi8
    table.to_csv(root / "all.csv.gz", index=False)
    return root / "all.csv.gz"


def iso_with_zone(root: Path) -> Path:
    table = frame()
    table["timestamp"] = [one.isoformat() for one in table["timestamp"].dt.tz_convert("Europe/Berlin")]
    table.rename(columns={"timestamp": "measured at"}).to_csv(root / "plant.csv", index=False)
    return root / "plant.csv"


def comma_decimals(root: Path) -> Path:
    table = frame()
    table.insert(0, "Datum", table.pop("timestamp").dt.strftime("%d.%m.%Y %H:%M:%S"))
    table["Zustand"] = "läuft"
    table["Zähler"] = np.arange(len(table)) * 3
    table["Bemerkung"] = ["5 bar", "6 bar"] * (len(table) // 2)
    table.to_csv(root / "anlage.csv", sep=";", decimal=",", index=False, encoding="utf-8-sig")
    return root / "anlage.csv"


def other_names_in_parquet(root: Path) -> Path:
    parts = [frame(600, seed).assign(asset=f"M{seed}") for seed in range(2)]
    pd.concat(parts).rename(columns={"timestamp": "ts"}).to_parquet(root / "a.parquet", index=False)
    return root / "a.parquet"


KINDS = (
    *(one_series_parquet, many_files, epoch_ms_by_machine, iso_with_zone, comma_decimals),
    other_names_in_parquet,
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = streamgauge.main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_it_writes_trains_and_backtests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: Callable[[Path], Path]
) -> None:
    root, out = tmp_path / "data", tmp_path / "out put"
    root.mkdir()
    data = kind(root)
    code, printed, _ = run(capsys, "init", str(data), "--out", str(out))
    assert code == 0
    train, backtest = (shlex.split(line)[1:] for line in printed.splitlines() if line.startswith("  stream"))
    assert run(capsys, *train, "--model", "linear", "--window", "8")[0] == 0
    code, printed, _ = run(capsys, *backtest, "--config", str(out / "streamgauge.toml"), "--json")
    assert code == 0
    assert f'"rows": {(NUM_ROWS, 1_800)[kind in (many_files, epoch_ms_by_machine)]}' in printed
    config = load_config(out / "streamgauge.toml", {})
    spec = open_artifact(config.model.path).spec
    assert spec.channel_names == ("flow", "heat")


def written(
    data: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, dict[str, Any], str]:
    code, _, errors = run(capsys, "init", str(data), "--out", str(out))
    text = (out / "train.toml").read_text()
    return code, text, tomllib.loads(text), errors


def test_columns_are_left_out_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = frame().assign(total=np.arange(NUM_ROWS), state="on", fault=0, steady=7.5, empty="", note="5,1")
    table.loc[700:, "fault"] = 1
    table["bad"] = table["flow"].astype(str)
    table.loc[41, "bad"] = "ERR"
    table["sent"] = np.arange(NUM_ROWS) * 60 + 1_767_225_600
    table["label"] = 0
    table.to_csv(tmp_path / "a.csv", index=False)
    code, text, values, _ = written(tmp_path / "a.csv", tmp_path, capsys)
    text = " ".join(text.replace("\n# ", " ").split())
    assert code == 0
    assert values["data"]["channels"] == ["flow", "heat", "steady"]
    assert values["data"]["accept"] == ["text_numbers"]
    for words in (
        "Left out: 'total' (a total that only rises",
        "Left out: 'state' (text)",
        "Left out: 'fault' (0 and 1 under the name of a label)",
        "Left out: 'empty' (no value)",
        "line 43: 'ERR' is no number",
        "Left out: 'sent' (epoch times that only rise)",
        "Constant: 'steady'; a change of it will be found.",
        "The column `label` trains nothing",
    ):
        assert words in text
    assert load_toml(tmp_path / "train.toml", TrainConfig, {})


def test_what_will_hurt_is_said_on_standard_error_and_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(300)
    table.loc[table.index % 4 != 0, "heat"] = np.nan
    table = pd.concat([table.iloc[200:], table.iloc[:200], table.iloc[:3]])
    table.to_csv(tmp_path / "a.csv", index=False)
    _, text, _, errors = written(tmp_path / "a.csv", tmp_path, capsys)
    for words in ("too_short: the longest series has 303", "mostly_missing: 'heat' has values in 25%"):
        assert words in errors
        assert words in text.replace("\n# ", " ")
    assert "repeated_rows" in errors
    assert "time goes back 2 times, most often in 'a'" in errors
    assert "too few for a season of the day" in text.replace("\n# ", " ")


def test_data_that_must_be_changed_ends_with_1_and_no_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(200).melt("timestamp", var_name="tag", value_name="value")
    table.to_csv(tmp_path / "long.csv", index=False)
    code, printed, errors = run(capsys, "init", str(tmp_path / "long.csv"), "--out", str(tmp_path))
    assert code == 1
    assert "pivot the table" in errors
    assert "the data must be changed first (long_format)" in printed
    assert "streamgauge train" not in printed


def date_and_clock(table: pd.DataFrame) -> pd.DataFrame:
    when = table.pop("timestamp")
    return table.assign(date=when.dt.strftime("%Y-%m-%d"), clock=when.dt.strftime("%H:%M:%S"))


def two_names(table: pd.DataFrame) -> pd.DataFrame:
    parts = [table.assign(site=one, machine=two, flow=table["flow"] + at)
             for at, (one, two) in enumerate((one, two) for one in "AB" for two in "XY")]  # fmt: skip
    return pd.concat(parts).sort_values("timestamp", kind="stable")


@pytest.mark.parametrize(
    ("shaped", "remedy"),
    [
        (date_and_clock, "'clock' has the time of day: join it with the date into one column `timestamp`"),
        (two_names, "'site' and 'machine' tell them apart: join both into one column `series`"),
    ],
)
def test_what_stands_in_two_columns_is_named_with_the_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shaped: Callable[[pd.DataFrame], pd.DataFrame],
    remedy: str,
) -> None:
    shaped(frame(4_000)).to_csv(tmp_path / "a.csv", index=False)
    code, _, errors = run(capsys, "init", str(tmp_path / "a.csv"), "--out", str(tmp_path))
    assert code == 1
    assert remedy in errors
    assert "series = " not in (tmp_path / "train.toml").read_text()


def test_a_column_with_a_word_among_numbers_and_a_rare_total_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame()
    table["starts"] = np.arange(NUM_ROWS) // 100
    table["gas"] = table["flow"].astype(str)
    table.loc[[5, 900], "gas"] = "ERR"
    table.to_csv(tmp_path / "a.csv", index=False)
    _, text, values, errors = written(tmp_path / "a.csv", tmp_path, capsys)
    assert (
        "'gas' has numbers except in one cell or more: a.csv: line 7: 'ERR' is no number; it is no channel"
        in (errors.replace(f"{tmp_path}/", ""))
    )
    assert "rarely_rising: 'starts' changes 11 times and only rises" in errors
    assert "rarely_rising" in text
    assert values["data"]["channels"] == ["flow", "heat", "starts"]


def test_a_column_of_times_and_one_of_machines_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [frame(600, seed).assign(batch=seed, line=f"L{seed}") for seed in range(2)]
    table = pd.concat(parts).sort_values("timestamp", kind="stable")
    table.insert(0, "received", table["timestamp"] + pd.Timedelta("3s"))
    table.rename(columns={"timestamp": "measured"}).to_csv(tmp_path / "a.csv", index=False)
    command = ("init", str(tmp_path / "a.csv"), "--out", str(tmp_path))
    code, _, errors = run(capsys, *command)
    assert code == 2
    assert "several columns may be the times: 'received', 'measured'" in errors
    assert "`init --time`" in errors
    assert run(capsys, *command, "--time", "measured", "--series", "line")[0] == 0
    data = tomllib.loads((tmp_path / "train.toml").read_text())["data"]
    assert (data["time"], data["series"], data["channels"]) == ("measured", "line", ["flow", "heat", "batch"])


def test_a_long_gap_is_stated_in_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = frame(12_000)
    table.drop(range(3_000, 9_010)).to_parquet(tmp_path / "a.parquet", index=False)
    _, text, _, errors = written(tmp_path / "a.parquet", tmp_path, capsys)
    assert "The longest gap is about 4.2d." in text
    assert "windows restart after long gaps" in errors


def test_rows_without_a_gap_have_none_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(600).to_parquet(tmp_path / "a.parquet", index=False)
    _, text, _, _ = written(tmp_path / "a.parquet", tmp_path, capsys)
    assert "No row is missing." in text
    assert "The longest gap" not in text


def test_modes_are_proposed_and_work_without_their_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame(3_000)
    table["load"] = np.where(np.arange(3_000) // 100 % 2, 80.0, 10.0) + 0.1 * table["flow"]
    table.to_parquet(tmp_path / "a.parquet", index=False)
    _, text, values, _ = written(tmp_path / "a.parquet", tmp_path, capsys)
    assert "modes" not in values
    marked = text.partition("# [[modes]]")
    opened = marked[0] + (marked[1] + marked[2]).replace("# ", "")
    modes = TrainConfig.model_validate(tomllib.loads(opened)).modes
    assert [one.name for one in modes] == ["low", "high"]


def test_hourly_rows_do_not_make_a_series_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame(freq="1h").to_parquet(tmp_path / "a.parquet", index=False)
    written(tmp_path / "a.parquet", tmp_path, capsys)
    assert load_config(tmp_path / "streamgauge.toml", {}).service.stale_after == 36_000


def test_the_zone_of_parquet_is_taken_and_an_offset_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frame()
    table["timestamp"] = table["timestamp"].dt.tz_convert("Asia/Tokyo")
    table.to_parquet(tmp_path / "a.parquet", index=False)
    assert written(tmp_path / "a.parquet", tmp_path, capsys)[2]["calendar"] == {"zone": "Asia/Tokyo"}
    table.to_csv(tmp_path / "b.csv", index=False)
    assert "state the offset +09:00" in train_file(look_at(tmp_path / "b.csv"))


def test_files_are_replaced_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = one_series_parquet(tmp_path)
    (tmp_path / "streamgauge.toml").write_text("mine")
    command = ("init", str(data), "--out", str(tmp_path))
    code, _, errors = run(capsys, *command)
    assert code == 2
    assert f"{tmp_path / 'streamgauge.toml'}: exists already; --force replaces it" in errors
    assert (tmp_path / "streamgauge.toml").read_text() == "mine"
    assert not (tmp_path / "train.toml").exists()
    assert run(capsys, *command, "--force")[0] == 0
    assert load_config(tmp_path / "streamgauge.toml", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file or directory; for a topic, add --bootstrap HOST:PORT"),
        ("timestamp,flow\n", "no numeric column"),
        ("timestamp,flow\n2026-01-01,1\n2026-01-02\n", "line 3 is cut into 1"),
        ("a,b\nx,y\n", "no column of times"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "a.csv").write_text(text)
    code, _, errors = run(capsys, "init", str(tmp_path / "a.csv"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert message in errors
    assert errors.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


@given(name=st.text(min_size=1, max_size=30))
def test_any_name_is_a_string_of_toml_and_harmless_in_a_comment(name: str) -> None:
    name = name.encode(errors="replace").decode()
    lines = [f"x = {quoted(name)}", *comment(f"Left out: {name!r}.")]
    assert tomllib.loads("\n".join(lines)) == {"x": name}


@pytest.mark.parametrize("seed", [0, 1])
def test_parquet_and_csv_give_the_same_artifact(tmp_path: Path, seed: int) -> None:
    table = frame(700, seed)
    table.loc[table.index % 17 == seed, "heat"] = np.nan
    table.to_parquet(tmp_path / "a.parquet", index=False)
    table.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    config = TrainConfig(name="pump")
    models = [
        fit(tmp_path / name, model="linear", window=8, config=config, out=tmp_path / "models" / name)
        for name in ("a.parquet", "a.csv")
    ]
    assert models[0].version == models[1].version
    found = [streamgauge.backtest(models[0], tmp_path / name).verdicts for name in ("a.parquet", "a.csv")]
    pd.testing.assert_frame_equal(*found)
