"""The series that a model judges: by the daemon's patterns and channels, or by the journal of a kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import read_chunks
from detector.config.models.section import ModelSection, ModelsSection
from detector.journal import Note
from detector.lifecycle.moves import record
from tests.trainer.kinds.plants import PUMP, plant, write
from trainer.errors import TrainerError
from trainer.lifecycle.own_series import PATTERNS, OwnSeries, own_series
from trainer.report.tables import table_of_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three pumps and two conveyors, with the channels of a pump."""
    return discover(write(tmp_path_factory.mktemp("plant") / "plant.parquet", plant(100)), PUMP)


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (OwnSeries(), {"pump-1", "pump-2", "pump-3", "conveyor-1", "conveyor-2"}),
        (OwnSeries(("pump-[12]", "conveyor-2")), {"pump-1", "pump-2", "conveyor-2"}),
        (OwnSeries(least_channels=2), {"pump-1", "pump-2", "pump-3"}),
        (OwnSeries(("*-1",), 2), {"pump-1"}),
    ],
)
def test_rows_of_own_series_are_read_and_no_others(dataset: Dataset, own: OwnSeries, names: set[str]) -> None:
    narrowed = own.of(dataset)
    assert {name for chunk in read_chunks(narrowed) for name in chunk.names} == names
    assert sum(len(chunk) for chunk in read_chunks(narrowed)) == 100 * len(names)
    pieces = list(table_of_dataset(narrowed).pieces())
    assert {name for chunk, _ in pieces for name in chunk.names} == names
    assert all(len(code) == len(chunk) for chunk, codes in pieces for code in codes.values())


def test_no_own_series_is_an_error_with_a_remedy(dataset: Dataset) -> None:
    with pytest.raises(TrainerError, match=r"no series of the history matches valve-\*"):
        OwnSeries(("valve-*",)).of(dataset)


def test_patterns_of_the_daemon_come_before_those_of_the_journal(tmp_path: Path) -> None:
    record(tmp_path, "published", "v1", Note("ann", "", {PATTERNS: ["pump-*"]}))
    record(tmp_path, "published", "v2", Note("ann", "", {}))
    section = ModelSection(path="models/pump", series=("pump-1",), least_channels=2)
    assert own_series(tmp_path, section) == OwnSeries(("pump-1",), 2)
    assert own_series(tmp_path, ModelSection(path="models/pump")) == OwnSeries(("pump-*",))
    assert own_series(tmp_path, None) == OwnSeries(("pump-*",))
    assert own_series(tmp_path / "other", None) == OwnSeries()


def test_a_model_of_several_is_known_by_the_name_that_its_messages_have(tmp_path: Path) -> None:
    """The incidents of a daemon were looked for under the model's own name, and none was found."""
    named = ModelsSection(path="models/pump", name="hall-7")
    assert own_series(tmp_path, named).model == "hall-7"
    assert own_series(tmp_path, ModelsSection(path="models/pump")).model == ""
