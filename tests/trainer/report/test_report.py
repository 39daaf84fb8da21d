"""The data report: each finding is found at every entrance, clean data has none, and what stops stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge import main
from trainer import fit
from trainer.config import DataOptions, TrainConfig
from trainer.data.impossible_cells import CODES
from trainer.errors import TrainerError
from trainer.report.channel_checks import unit_change
from trainer.report.findings import KINDS
from trainer.report.report import report_of
from trainer.report.sample import Rows, Sample

EPOCH = 1_767_225_600


def frame_of(num_rows: int = 600, seed: int = 0, freq: str = "min") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=num_rows, freq=freq, tz="UTC", name="timestamp")
    wave = np.sin(np.arange(num_rows) / 7)
    return pd.DataFrame({"a": 10 + wave, "b": 5 + 2 * wave}, index) + rng.normal(0, 0.1, (num_rows, 2))


def machines(column: str, names: list[object], **options: int) -> pd.DataFrame:
    return pd.concat([frame_of(seed=at, **options).assign(**{column: name}) for at, name in enumerate(names)])


def at(rows: int | list[int], value: float) -> pd.DataFrame:
    frame = frame_of()
    frame.iloc[rows, 0] = value
    return frame


def long_table(shift_seconds: int = 0) -> pd.DataFrame:
    table = frame_of().reset_index().melt("timestamp", var_name="tag").set_index("timestamp")
    return table.set_axis(table.index + pd.to_timedelta((table["tag"] == "b") * shift_seconds, unit="s"))


def seconds_as_nanoseconds() -> pd.DataFrame:
    return frame_of().set_axis(pd.to_datetime(EPOCH + np.arange(600) * 60, utc=True).rename("timestamp"))


FOUND: dict[str, Callable[[], pd.DataFrame]] = {
    "text_numbers": lambda: frame_of().assign(
        c=lambda one: one["b"].map("{:.1f}".format).str.replace(".", ",")
    ),
    "looks_like_series": lambda: machines("machine_id", ["m1", "m2"]),
    "long_format": long_table,
    "looks_like_time": lambda: frame_of().assign(t=EPOCH + np.arange(600) * 60.0),
    "many_conflicting_rows": lambda: pd.concat([frame_of(), frame_of(300, seed=1)]),
    "conflicting_rows": lambda: pd.concat([frame_of(), frame_of(2, seed=1)]),
    "old_times": seconds_as_nanoseconds,
    "future_times": lambda: frame_of().set_axis(frame_of().index + pd.Timedelta(days=20_000)),
    "sentinel": lambda: at([10, 500], -9999.0),
    "far_value": lambda: at(10, 1e12),
    "infinite": lambda: at([10], np.inf),
    "no_values": lambda: frame_of().assign(c=np.nan),
    "counter": lambda: frame_of().assign(c=np.arange(600) * 2.5),
    "unlike_series": lambda: pd.concat(
        [frame_of().assign(series="x"), (frame_of() * 1000).assign(series="y")]
    ),
    "unit_change": lambda: frame_of().assign(a=lambda one: one["a"] * np.repeat([1.0, 1000.0], [250, 350])),
    "mixed_rates": lambda: pd.concat([frame_of().assign(series="x"), frame_of(freq="s").assign(series="y")]),
    "irregular_interval": lambda: pd.concat(
        [frame_of(freq="s"), frame_of(200).set_axis(frame_of(200).index + pd.Timedelta(minutes=11))]
    ),
    "short_series": lambda: pd.concat([frame_of().assign(series="x"), frame_of(3).assign(series="y")]),
    "constant": lambda: frame_of().assign(c=3.0),
    "gaps": lambda: frame_of().drop(frame_of().index[100:200]),
    "repeated_rows": lambda: pd.concat([frame_of(), frame_of(5)]),
    "left_out": lambda: frame_of().assign(note="fine"),
}


def names_in(data: pd.DataFrame | Path) -> list[str]:
    return [finding.name for finding in report_of(data).findings]


def write(directory: Path, frame: pd.DataFrame, num_files: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    parts = np.array_split(np.arange(len(frame)), num_files)
    for number, part in enumerate(parts):
        frame.iloc[part].assign(
            series=frame.get("series", pd.Series("s", frame.index)).iloc[part]
        ).reset_index(names="timestamp").to_parquet(directory / f"{number}.parquet")
    return directory


def test_every_finding_has_a_case_here() -> None:
    assert {*FOUND, "partial_channel"} == set(KINDS)


@pytest.mark.parametrize("name", FOUND)
def test_a_finding_is_found_in_a_frame_and_in_files_of_any_number(name: str, tmp_path: Path) -> None:
    frame = FOUND[name]()
    expected = names_in(frame)
    assert name in expected
    assert names_in(write(tmp_path / "one", frame, 1)) == expected
    assert set(names_in(write(tmp_path / "three", frame, 3))) >= {name}


@given(seed=st.integers(0, 2**16), num_rows=st.integers(100, 3000), series=st.integers(1, 4))
@settings(max_examples=20)
def test_clean_data_has_no_finding(seed: int, num_rows: int, series: int) -> None:
    parts = [frame_of(num_rows, seed + number).assign(series=f"s{number}") for number in range(series)]
    assert names_in(pd.concat(parts).sample(frac=1, random_state=seed)) == []


def test_a_channel_that_some_files_lack_is_named(tmp_path: Path) -> None:
    for number, frame in enumerate([frame_of(), frame_of().drop(columns="b"), frame_of()]):
        frame.reset_index().to_parquet(tmp_path / f"{number}.parquet")
    (finding,) = report_of(tmp_path).findings
    assert finding.line().startswith("warning: partial_channel: of 3 files some lack 'b in 1 files'; ")


@pytest.mark.parametrize("column", ["machine_id", "device", "whatever"])
@pytest.mark.parametrize("names", [["m1", "m2"], [1, 2], [1.0, 2.0]])
@pytest.mark.parametrize("is_interleaved", [False, True])
def test_any_column_that_separates_rows_of_one_time_is_a_series(
    column: str, names: list[object], is_interleaved: bool
) -> None:
    frame = machines(column, names)
    assert "looks_like_series" in names_in(frame.sort_index() if is_interleaved else frame)


def test_machines_at_different_times_are_found_by_the_name_of_their_column() -> None:
    first, second = frame_of().assign(device="m1"), frame_of(seed=1).assign(device="m2")
    apart = pd.concat([first, second.set_axis(second.index + pd.Timedelta(seconds=17))])
    assert "looks_like_series" in names_in(apart.sort_index())
    assert "looks_like_series" not in names_in(apart.assign(series=apart["device"]))


def test_a_long_table_is_found_although_its_tags_come_at_different_times() -> None:
    assert "long_format" in names_in(long_table(shift_seconds=13))


@given(
    value=st.sampled_from([-9999.0, 1e6, -1e300, 32767.0]),
    places=st.sets(st.integers(0, 599), min_size=2, max_size=12),
    with_gap=st.booleans(),
)
@settings(max_examples=20)
def test_a_repeated_far_value_is_a_sentinel_wherever_it_stands(
    value: float, places: set[int], with_gap: bool
) -> None:
    frame = at(sorted(places), value)
    (finding,) = [one for one in report_of(frame).findings if one.name == "sentinel"]
    assert f"a = {value:g} in {len(places)} rows" in finding.what


def test_what_training_masks_as_a_code_is_named_in_the_report() -> None:
    far = [code for code in CODES.tolist() if abs(code) > 500]
    assert len(far) > 30
    unnamed = [code for code in far if not {"sentinel", "far_value"} & {*names_in(at([10, 500], code))}]
    assert unnamed == []


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_a_heavy_tail_of_rounded_values_is_no_sentinel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bulk = rng.normal(0, 1e-4, 2000)
    spiky = np.where(rng.random(2000) < 0.1, np.round(rng.random(2000), 2), bulk)
    assert not {"sentinel", "far_value"} & {*names_in(frame_of(2000).assign(c=spiky))}


def test_what_stops_stops_the_library_call_and_the_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = FOUND["looks_like_time"]()
    with pytest.raises(TrainerError, match=r"looks_like_time: .*'t'.*--accept looks_like_time"):
        fit(frame, model="linear", window=16)
    data = write(tmp_path / "data", frame, 1)
    train = ["train", str(data), "--out", str(tmp_path / "m"), "--model", "linear", "--window", "16"]
    assert main(train) == 2
    assert "looks_like_time" in capsys.readouterr().err
    assert not (tmp_path / "m" / "current").exists()
    assert main([*train, "--accept", "looks_like_time"]) == 0
    assert main(["check", str(data)]) == 1
    assert "stops: looks_like_time: " in capsys.readouterr().out
    assert main(["check", str(data), "--accept", "looks_like_time"]) == 0
    assert main(["check", str(data), "--channels", "a,b"]) == 0
    assert main(["check", str(data), "--accept", "looks_like_tim"]) == 2
    assert "did you mean 'looks_like_time'?" in capsys.readouterr().err


def test_an_accepted_finding_trains() -> None:
    config = TrainConfig(data=DataOptions(accept=("looks_like_time",)))
    artifact = fit(FOUND["looks_like_time"](), model="linear", window=16, config=config)
    assert artifact.spec.channel_names == ("a", "b", "t")


@pytest.mark.parametrize(
    ("days", "words"), [(2, "too few for a season of the day"), (6, "needs 3 weeks"), (30, "and of the week")]
)
def test_the_report_states_which_seasons_so_many_days_can_show(days: int, words: str) -> None:
    report = report_of(frame_of(24 * days, freq="h"))
    assert "the clock: " in report.as_text()
    assert words in report.as_text()
    assert report.as_json()["days"] == pytest.approx(days, abs=0.05)


def test_the_json_has_series_channels_and_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "data", frame_of().shift(20, freq="s").assign(note="x", c=3.0), 2)
    assert main(["check", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (series,) = found["series"]
    assert (series["rows"], series["interval_s"], series["phase_s"]) == (600, 60.0, 20.0)
    assert series["from"] == "2026-01-01T00:00:20Z"
    assert [channel["channel"] for channel in found["channels"]] == ["a", "b", "c"]
    assert (found["left_out"], found["files"]) == (["note"], 2)
    assert [finding["name"] for finding in found["findings"]] == ["left_out", "constant"]


@given(seed=st.integers(0, 2**16), num_cells=st.integers(100, 20_000))
@settings(max_examples=20)
def test_a_sample_is_bounded_and_keeps_rows_of_one_time_together(seed: int, num_cells: int) -> None:
    rng = np.random.default_rng(seed)
    sample, num, rows_at = Sample(num_cells), 0, np.zeros(1000, np.int64)
    for _ in range(5):
        times = rng.integers(0, 1000, 2000)
        rows_at += np.bincount(times, minlength=1000)
        zeros = np.zeros(2000)
        sample.add(Rows(times % 7, times, zeros, zeros[:, None], np.zeros((2000, 0), np.int64)))
        num += 2000
    rows = sample.rows()
    assert len(rows) * 4 <= num_cells
    if sample.share == 1:
        assert len(rows) == num
    else:
        kept, counts = np.unique(rows.time, return_counts=True)
        np.testing.assert_array_equal(counts, rows_at[kept])  # all rows of a time, or none


@given(
    seed=st.integers(0, 2**16),
    factor=st.sampled_from([0.001, 1 / 60, 60.0, 1000.0, 1e6]),
    share=st.floats(0.2, 0.8),
    num=st.integers(200, 3000),
)
@settings(max_examples=25)
def test_another_unit_from_some_time_on_is_found_with_its_place_and_factor(
    seed: int, factor: float, share: float, num: int
) -> None:
    values = frame_of(num, seed)["a"].to_numpy().copy()
    values[int(share * num) :] *= factor
    found = unit_change(values)
    assert found is not None
    assert abs(found[0] / num - share) <= 2 / 8
    assert found[1] == pytest.approx(factor, rel=0.2)


@given(seed=st.integers(0, 2**16), kind=st.sampled_from(["cycle", "step", "trend", "noisier", "on and off"]))
@settings(max_examples=25)
def test_what_a_machine_may_do_is_no_other_unit(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    at = np.arange(2000)
    values = {
        "cycle": 50 * (1 + np.sin(at / rng.uniform(20, 600))),
        "step": np.where(at < 1000, 5.0, 500.0),
        "trend": at.astype(float),
        "noisier": rng.normal(0, np.where(at < 1000, 0.1, 0.8)) + 10,
        "on and off": np.where((at // 500) % 2, 100.0, 1.0),
    }[kind]
    assert unit_change(values + rng.normal(0, 0.1, 2000)) is None
