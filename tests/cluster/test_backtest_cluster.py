"""A backtest on a real local cluster finds what one process finds, also if a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from detector.artifact.registry import open_artifact
from detector.engine.engine import EngineOptions
from detector.errors import DetectorError
from detector.incidents.decision import Decision
from detector.offline.backtest import BacktestOutcome, Given, backtest_parquet
from detector.offline.parts.backtest_on import Asked, backtest_on
from detector.workers.dask_cluster import DaskWorkers, workers_on
from detector.workers.executor import Item, Result
from streamgauge import main
from tests.trainer.kinds.plants import PUMP, machine, write

pytestmark = pytest.mark.cluster
QUICK = ("--model", "linear", "--window", "8", "--latent", "2")
NAMES = tuple(f"pump-{at}" for at in range(1, 7))


def faulty(name: str, seed: int) -> pd.DataFrame:
    """Rows of a pump with a jump of its pressure, and labels of it."""
    rows = machine(name, PUMP, seed, 1_500)
    start = 600 + 40 * seed
    rows.loc[start : start + 60, "pressure"] += 12.0
    rows["label"] = ((rows.index >= start) & (rows.index <= start + 60)).astype(np.int8)
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of six pumps, which are peers."""
    root = tmp_path_factory.mktemp("model")
    history = write(root / "history.parquet", pd.concat([machine(one, PUMP, 0, 4_000) for one in NAMES]))
    assert main(["train", str(history), "--out", str(root / "pump"), *QUICK]) == 0
    return root / "pump"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of six pumps: two in files of their own, the others together, mixed and in two pieces."""
    root = tmp_path_factory.mktemp("data")
    tables = [faulty(name, seed) for seed, name in enumerate(NAMES)]
    for rows in tables[:2]:
        write(root / "own" / f"{rows['series'].iloc[0]}.parquet", rows)
    mixed = pd.concat(tables[2:]).sort_values(["timestamp", "series"], kind="stable")
    for at, piece in enumerate((mixed[:3_100], mixed[3_100:])):
        write(root / f"piece-{at}.parquet", piece)
    return root


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskWorkers]:
    """Two worker processes of this machine."""
    with workers_on("dask", 2) as found:
        yield found


@contextmanager
def unseen(num_rows: int) -> Iterator[Callable[[int], None]]:
    """Progress that nobody sees, and that counts the rows."""
    done: list[int] = []
    yield done.append
    assert sum(done) == num_rows


def asked(model: Path, data: object, out: Path | None = None, given: Given | None = None) -> Asked:
    place = None if out is None else str(out)
    return Asked(open_artifact(model), str(data), EngineOptions(), given or Given(), place, out)


def alone(model: Path, data: Path, out: Path, given: Given | None = None) -> BacktestOutcome:
    """What one process finds."""
    return backtest_parquet(open_artifact(model), data, EngineOptions(), out, given)


def rows_of(directory: Path) -> pd.DataFrame:
    """All verdicts, sorted: nothing is rounded."""
    return (
        pq.read_table(directory / "scores.parquet")
        .to_pandas()
        .sort_values(["series", "timestamp"], ignore_index=True)
    )


def found_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "incidents.json").read_text())
    return found


def assert_same(ours: Path, theirs: Path) -> None:
    """The same rows with the same bits, the same incidents and measures, and nothing else is left there."""
    pd.testing.assert_frame_equal(rows_of(ours), rows_of(theirs), check_exact=True)
    assert found_of(ours) == found_of(theirs)
    assert [path.name for path in ours.iterdir() if path.name.startswith(".")] == []


def test_the_command_finds_on_a_cluster_what_it_finds_in_one_process(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["backtest", str(model), str(data), "--json", "--fail-on-incident"]
    printed = []
    for name, flags in (("alone", []), ("cluster", ["--on", "dask"])):
        assert main([*command, "--out", str(tmp_path / name), *flags]) == 3
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert len(printed[0]["incidents"]) >= len(NAMES)
    assert printed[0]["measures"]["event_recall"] > 0
    assert_same(tmp_path / "cluster", tmp_path / "alone")
    assert (tmp_path / "cluster" / "backtest.json").exists()


def test_decisions_patterns_and_strangers_are_those_of_one_process(
    model: Path, data: Path, tmp_path: Path, workers: DaskWorkers
) -> None:
    start = int(pd.Timestamp("2026-01-01", tz="UTC").value)
    mute = Decision("1", "mute", "pump-3", start, until_ns=start + 10**15)
    given = Given(decisions=(mute,), series=("pump-[1-4]",))
    expected = alone(model, data, tmp_path / "alone", given)
    outcome = backtest_on(workers, asked(model, data, tmp_path / "cluster", given), unseen)
    assert outcome.applied == expected.applied
    assert outcome.events == expected.events
    assert outcome.unassigned == expected.unassigned
    assert sum(outcome.unassigned.messages.values()) == 3_000
    assert_same(tmp_path / "cluster", tmp_path / "alone")


def test_what_leaves_its_peers_is_found_across_parts(
    model: Path, data: Path, tmp_path: Path, workers: DaskWorkers
) -> None:
    drifted = pd.concat([machine(one, PUMP, 0, 4_000) for one in NAMES])
    drifted.loc[(drifted["series"] == "pump-5") & (drifted.index >= 1_000), "flow"] += 4.0
    place = write(tmp_path / "drifted.parquet", drifted)
    expected = alone(model, place, tmp_path / "alone")
    assert [one.series for one in expected.apart] == ["pump-5"]
    assert backtest_on(workers, asked(model, place), unseen).apart == expected.apart


class Killing:
    """An executor whose worker is killed in the middle of one part, while its verdicts are being written."""

    def __init__(self, workers: DaskWorkers, marks: Path, out: Path) -> None:
        self._workers, self._marks, self._out = workers, marks, out

    @property
    def num_workers(self) -> int:
        return self._workers.num_workers

    def results(
        self, work: Callable[[Item], Result], items: Sequence[Item], died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        watched = partial(killed_once, work=work, marks=self._marks, out=self._out)
        return self._workers.results(watched, items, died)


def killed_once(item: Any, work: Callable[[Any], Any], marks: Path, out: Path) -> Any:
    """Work; the process is killed once, as soon as its part has begun its file."""
    number = getattr(item, "number", None)
    mark = marks / str(number)
    if number is not None and mark.exists():

        def kill() -> None:
            while not list(out.glob(f".parts-*/.{number:06d}-*.part")):
                time.sleep(0.002)
            mark.rename(marks / f"killed-{number}")
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
    return work(item)


def test_a_worker_killed_in_the_middle_costs_its_part_alone_and_doubles_nothing(
    model: Path, data: Path, tmp_path: Path, workers: DaskWorkers
) -> None:
    alone(model, data, tmp_path / "alone")
    out, marks = tmp_path / "cluster", tmp_path / "marks"
    marks.mkdir()
    for number in (0, 2):
        (marks / str(number)).touch()
    outcome = backtest_on(Killing(workers, marks, out), asked(model, data, out), unseen)
    assert sorted(path.name for path in marks.iterdir()) == ["killed-0", "killed-2"]
    assert outcome.failed == ()
    assert_same(out, tmp_path / "alone")


def damage(path: Path, name: str = "pressure") -> None:
    """Make the values of a column unreadable, and leave the others and the footer."""
    group = pq.read_metadata(path).row_group(0)
    places = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    column = places[name]
    start = column.dictionary_page_offset or column.data_page_offset
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * column.total_compressed_size)


def test_a_part_that_fails_is_named_and_the_others_are_judged(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(NAMES[:3]):
        write(tmp_path / "data" / f"{name}.parquet", faulty(name, seed))
    damage(tmp_path / "data" / "pump-2.parquet")
    command = ["backtest", str(model), str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main([*command, "--on", "dask"]) == 1
    told = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("not judged: pump-2")
    )
    assert "pump-2.parquet: damaged" in told
    assert set(rows_of(tmp_path / "out")["series"]) == {"pump-1", "pump-3"}
    (failed,) = found_of(tmp_path / "out")["failed"]
    assert failed["series"] == ["pump-2"]


def test_where_no_part_can_be_judged_nothing_is_written(
    model: Path, tmp_path: Path, workers: DaskWorkers
) -> None:
    damage(write(tmp_path / "pump-1.parquet", faulty("pump-1", 1)))
    with pytest.raises(DetectorError, match="no series could be judged"):
        backtest_on(
            workers, asked(model, tmp_path / "pump-1.parquet", tmp_path / "out"), lambda _: unseen(1_500)
        )
    assert list((tmp_path / "out").glob("*")) == []
