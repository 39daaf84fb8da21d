"""Labelled files: the order of rows and columns changes nothing, and errors name what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.offline.measuring.measures import autocorrelation_period
from trainer.errors import TrainerError
from trainer.evaluation.labelled import find_files, read_labelled

NUM_ROWS = 400


def table_with(**changes: object) -> pa.Table:
    """Two channels of a wave, one event, the first 200 rows for training; None leaves a column out."""
    rng = np.random.default_rng(0)
    label = np.zeros(NUM_ROWS, np.int8)
    label[300:310] = 1
    wave = np.sin(np.arange(NUM_ROWS) * 2 * np.pi / 30)
    columns = {
        "timestamp": pa.array(1_700_000_000_000 + np.arange(NUM_ROWS) * 60_000, pa.timestamp("ms", tz="UTC")),
        "temp": wave + 0.1 * rng.standard_normal(NUM_ROWS),
        "flow": rng.standard_normal(NUM_ROWS),
        "label": label,
        "split": np.where(np.arange(NUM_ROWS) < 200, "train", "test"),
        **changes,
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


def written(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_rows_come_in_the_order_of_time_and_remember_their_place(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(3).permutation(NUM_ROWS)
    in_order = read_labelled(written(tmp_path / "a.parquet", table_with()), None)
    data = read_labelled(written(tmp_path / "b.parquet", table_with().take(pa.array(shuffled))), None)
    for name in ("timestamp_ns", "values", "label", "split", "train"):
        np.testing.assert_array_equal(getattr(data, name), getattr(in_order, name))
    np.testing.assert_array_equal(shuffled[data.place], np.arange(NUM_ROWS))
    assert (data.buffer, data.interval_ns) == (in_order.buffer, in_order.interval_ns)


def test_rows_of_equal_time_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    times = 1_700_000_000_000 + np.arange(NUM_ROWS) // 4 * 60_000
    table = table_with(timestamp=pa.array(times, pa.timestamp("ms", tz="UTC")))
    np.testing.assert_array_equal(
        read_labelled(written(tmp_path / "a.parquet", table), None).place, range(NUM_ROWS)
    )


def test_channels_are_sorted_but_the_first_of_the_file_gives_the_buffer(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path / "a.parquet", table_with()), None)
    assert data.channels == ("flow", "temp")
    assert data.buffer == autocorrelation_period(table_with()["temp"].to_numpy()) != 125


def test_the_stated_buffer_and_interval_are_used(tmp_path: Path) -> None:
    table = table_with().replace_schema_metadata({"vus_window": "17", "interval_s": "30"})
    data = read_labelled(written(tmp_path / "a.parquet", table), None)
    assert (data.buffer, data.interval_ns) == (17, 30 * 10**9)


def test_train_rows_are_the_first_in_time(tmp_path: Path) -> None:
    backwards = table_with(split=None).take(pa.array(np.arange(NUM_ROWS)[::-1]))
    data = read_labelled(written(tmp_path / "a.parquet", backwards), 50)
    assert data.train.tolist() == [True] * 50 + [False] * 350
    assert data.training_chunk().timestamp_ns.max() < data.timestamp_ns[50]


def test_what_is_fitted_on_carries_no_labels(tmp_path: Path) -> None:
    chunk = read_labelled(written(tmp_path / "a.parquet", table_with()), None).training_chunk()
    assert len(chunk) == 200
    assert chunk.label is None
    assert chunk.split is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": None}, "no column `label`; add one with 1 on anomalous rows and 0 elsewhere"),
        ({"split": None}, "no column `split`; add one with train or test on each row, or give --train-rows"),
        ({"split": ["test"] * NUM_ROWS}, "no training rows: none of its 400 rows has `split` = train"),
        (
            {"timestamp": pa.array([1_700_000_000_000] * NUM_ROWS, pa.timestamp("ms"))},
            "all of its 400 rows have the same time",
        ),
        (
            {"series": ["pump-1", "pump-2", "pump-3", "pump-4"] * 100},
            "4 series \\(pump-1, pump-2, pump-3, ...\\); evaluation fits one model per file: write one",
        ),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = written(tmp_path / "a.parquet", table_with(**changes))
    with pytest.raises(TrainerError, match=reason):
        read_labelled(path, None)


def test_one_named_series_is_welcome(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", table_with(series=["pump-1"] * NUM_ROWS))
    assert len(read_labelled(path, None).label) == NUM_ROWS


def test_files_are_found_at_any_depth_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b.parquet", "deep/er/a.parquet", ".cache/x.parquet", "_old/y.parquet", "notes.txt"):
        written(tmp_path / name, table_with())
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)]
    assert found == ["b.parquet", "deep/er/a.parquet"]
    assert find_files(tmp_path / "b.parquet") == [tmp_path / "b.parquet"]


def test_a_directory_without_files_or_none_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"no \*.parquet, \*.csv or \*.csv.gz file in this directory or"):
        find_files(tmp_path)
    with pytest.raises(TrainerError, match="no such file or directory"):
        find_files(tmp_path / "nowhere")
