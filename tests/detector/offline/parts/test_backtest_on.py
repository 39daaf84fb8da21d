"""A backtest in parts finds what one replay finds, however many parts there are; without a cluster.

`tests/cluster` has the same with real workers.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import ObjectsError, ParquetError
from connectors.objects.objects import Objects
from connectors.parquet.dataset import discover
from connectors.parquet.writer import join_files
from detector.artifact.registry import publish
from detector.engine.engine import EngineOptions
from detector.errors import DetectorError
from detector.incidents.decision import Decision
from detector.offline.backtest import Given, backtest_parquet
from detector.offline.parts.backtest_on import Asked, backtest_on
from detector.offline.parts.history import History, keep_footer
from detector.offline.parts.judge_part import series_of_file
from detector.offline.parts.partition import Part
from detector.offline.parts.score_files import ScoreFiles
from detector.workers.executor import Item, Result
from streamgauge import main
from tests.cluster.test_backtest_cluster import damage
from tests.detector.offline.test_backtest import write
from tests.support.artifacts import make_artifact


class Here:
    """Runs items in this process; they are pickled as a cluster does it. Items of one type kill workers."""

    def __init__(self, num_workers: int, kills: type | tuple[()] = ()) -> None:
        self._num_workers, self._kills = num_workers, kills

    @property
    def num_workers(self) -> int:
        return self._num_workers

    def results(
        self, work: Callable[[Item], Result], items: Sequence[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        for item in reversed(items):
            if isinstance(item, self._kills):
                yield died(item)
                continue
            yield pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(item)))


def unseen(_: int) -> nullcontext[Callable[[int], None]]:
    return nullcontext(lambda num: None)


def rows_of(directory: Path) -> pd.DataFrame:
    table = pq.read_table(directory / "scores.parquet").to_pandas()
    return table.sort_values(["series", "timestamp"], ignore_index=True)


@pytest.mark.parametrize("num_workers", [1, 5])
def test_parts_find_what_one_replay_finds(tmp_path: Path, num_workers: int) -> None:
    artifact = make_artifact(threshold=1e-9, has_reference=True)
    (tmp_path / "data").mkdir()
    for at, names in enumerate((("a", "b"), ("c", "d"), ("b", "c"))):
        write(tmp_path / "data" / f"{at}.parquet", names=names)
    expected = backtest_parquet(artifact, tmp_path / "data", EngineOptions(), tmp_path / "alone")
    asked = Asked(
        artifact,
        str(tmp_path / "data"),
        EngineOptions(),
        Given(),
        str(tmp_path / "parts"),
        tmp_path / "parts",
    )
    outcome = backtest_on(Here(num_workers), asked, unseen)
    assert outcome.as_json() == expected.as_json()
    assert (outcome.events, outcome.sentences) == (expected.events, expected.sentences)
    pd.testing.assert_frame_equal(rows_of(tmp_path / "parts"), rows_of(tmp_path / "alone"), check_exact=True)
    written = json.loads((tmp_path / "parts" / "incidents.json").read_text())
    assert written == json.loads((tmp_path / "alone" / "incidents.json").read_text())
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "incidents.json",
        "scores.parquet",
    ]


def test_decisions_of_the_same_time_have_one_order_in_parts_and_in_one_replay(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for names in ("da", "cb"):
        write(tmp_path / "data" / f"{names}.parquet", names=(names[0], names[1]))
    start = 1_700_000_000 * 10**9
    decisions = tuple(
        Decision(f"{id_}-{series}", "mute", series, start, until_ns=start + 10**15)
        for series in "bdac"
        for id_ in (2, 1)
    )
    given = Given(decisions=decisions)
    artifact = make_artifact()
    asked = Asked(artifact, str(tmp_path / "data"), EngineOptions(), given)
    expected = backtest_parquet(artifact, tmp_path / "data", EngineOptions(), given=given).applied
    assert [one.decision.id for one in expected] == [f"{id_}-{series}" for series in "abcd" for id_ in (1, 2)]
    assert len({one.at_ns for one in expected}) == 1
    assert backtest_on(Here(3), asked, unseen).applied == expected


def test_a_backtest_names_only_files_that_it_has_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.parquet")
    assert backtested_on(Here(2), tmp_path, "--series", "other-*") == 0
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name == "scores.parquet"] == []
    assert f"written: {tmp_path}/out/incidents.json\n" in capsys.readouterr().out.replace("\n/", "/")
    assert backtested_on(Here(2), tmp_path) == 0
    assert (tmp_path / "out" / "scores.parquet").exists()
    assert "out/scores.parquet" in capsys.readouterr().out


def test_a_disk_that_the_command_does_not_see_is_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="must be on a disk that all workers share, or on object storage"):
        ScoreFiles(str(tmp_path), ".parts").join(
            [".parts/000000-elsewhere.parquet"], tmp_path / "out.parquet"
        )
    assert list(tmp_path.iterdir()) == []


def test_files_are_joined_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    first, second = write(tmp_path / "1.parquet"), write(tmp_path / "2.parquet", 5)
    join_files([first, second], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(
        pa.concat_tables([pq.read_table(first), pq.read_table(second)])
    )
    second.write_bytes(second.read_bytes()[:-40])
    with pytest.raises(ParquetError, match=r"2\.parquet: cannot be read"):
        join_files([first, second], tmp_path / "new.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "2.parquet", "out.parquet"]


@pytest.mark.parametrize("num_columns", [3, 1_500])
def test_a_footer_stands_for_its_file(tmp_path: Path, num_columns: int) -> None:
    (tmp_path / "store").mkdir()
    table = pa.table(
        {
            "timestamp": pa.array(range(10**12, 10**12 + 50), pa.timestamp("ms", tz="UTC")),
            "series": ["a"] * 50,
        }
        | {f"a-rather-long-name-{at}": [float(at)] * 50 for at in range(num_columns)}
    )
    pq.write_table(table, tmp_path / "store" / "a.parquet")
    footer_bytes = pq.read_metadata(tmp_path / "store" / "a.parquet").serialized_size
    assert (footer_bytes > 1 << 16) == (num_columns > 3)  # beyond what is read at first
    keep_footer(Objects(f"file://{tmp_path}/store"), "a.parquet", tmp_path / "kept" / "a.parquet")
    ours, theirs = discover(tmp_path / "kept"), discover(tmp_path / "store")
    assert (ours.channels, ours.num_rows) == (theirs.channels, theirs.num_rows)
    assert len(ours.channels) == num_columns
    kept, whole = (tmp_path / place / "a.parquet" for place in ("kept", "store"))
    assert kept.stat().st_size == whole.stat().st_size


def test_what_is_no_parquet_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no table")
    keep_footer(Objects(f"file://{tmp_path}"), "a.parquet", tmp_path / "kept" / "a.parquet")
    with pytest.raises(ParquetError, match="not a Parquet file"):
        discover(tmp_path / "kept")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--on", "dask", "--report", "a.html"), "--report and --on exclude each other"),
        (("--on", "dask://nowhere"), "write dask, or the scheduler such as dask://scheduler:8786"),
        (("--out", "s3://key:secret@bucket/found"), "--out s3://bucket/found: an object storage needs --on"),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], told: str
) -> None:
    publish(make_artifact(), tmp_path / "pump")
    assert main(["backtest", str(tmp_path / "pump"), str(write(tmp_path / "a.parquet")), *flags]) == 2
    assert told in capsys.readouterr().err


def backtested_on(executor: Here, directory: Path, *flags: str) -> int:
    """Return the exit code of a backtest on an executor, whose data are in `data`."""
    publish(make_artifact(), directory / "pump")
    command = ["backtest", str(directory / "pump"), str(directory / "data"), "--out", str(directory / "out")]
    with mock.patch("detector.workers.dask_cluster.workers_on", return_value=nullcontext(executor)):
        return main([*command, *flags, "--on", "dask"])


@pytest.mark.parametrize("kills", [Part, Path])
def test_work_that_is_lost_is_no_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kills: type
) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.parquet")
    assert backtested_on(Here(2, kills), tmp_path) == 1
    told = capsys.readouterr()
    reason = {
        Part: "no series could be judged: its worker was killed",
        Path: "that read a.parquet was killed",
    }
    assert reason[kills] in told.err
    assert "written" not in told.out
    assert list((tmp_path / "out").glob("*")) == []


def test_a_damaged_file_whose_rows_cannot_be_counted_ends_the_backtest_as_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "a.parquet")
    damage(write(tmp_path / "data" / "b.parquet"), "timestamp")
    assert backtested_on(Here(2), tmp_path) == 2
    assert "b.parquet: damaged" in capsys.readouterr().err


def test_an_object_storage_that_fails_is_told_from_a_file_that_does(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    file = write(tmp_path / "store" / "a.parquet")
    keep_footer(Objects(f"file://{tmp_path}/store"), "a.parquet", tmp_path / "kept" / "a.parquet")
    history = History(discover(tmp_path / "kept"), f"file://{tmp_path}/store", tmp_path / "kept")
    found, rows = series_of_file(tmp_path / "kept" / "a.parquet", history)
    assert found == tmp_path / "kept" / "a.parquet"
    assert sum(rows.values()) == history.dataset.num_rows
    file.unlink()
    file.mkdir()  # which cannot be read
    with pytest.raises(ObjectsError, match=r"a\.parquet"):
        series_of_file(found, history)
