"""The command behind the boards of docs/trust.md: it keeps its runs, goes on, and fills the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.operators import __main__ as operators
from benchmarks.operators.plants import BUDGETS, LineRun, of_line
from benchmarks.operators.tables import Kept, board, by_fault, plain, worth, written
from benchmarks.plants.plant import PlantOptions, line_of
from detector.calibration.recalibrate import recalibrated
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.rules import IncidentRules
from detector.scoring.kinds import SWITCHES
from trainer import fit
from trainer.config import ModelOptions, TrainConfig
from trainer.evaluation.operator_measures import read_measures

SMALL = PlantOptions(4, ("tank",), machines=2, history_weeks=1, live_weeks=2, sizes=(8.0,))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the linear model on a small plant."""
    out = tmp_path_factory.mktemp("operators")
    assert operators.perform([LineRun(SMALL, "tank", "linear", "choosing", worth=True)], out, 1) == []
    return out


def test_a_run_measures_a_line_at_every_budget_and_without_each_kind(kept: Path) -> None:
    found = json.loads((kept / "choosing-4.linear.tank.json").read_text())
    assert set(found["budgets"]) == set(BUDGETS)
    assert set(found["worth"]) == {*SWITCHES, "all"}
    assert found["line"] == "tank-4"
    week = read_measures(found["budgets"]["1/week"])
    assert {one.kind for one in week.events}
    assert week.found > 0.5
    assert set(week.false_by_series) == {"tank-1", "tank-2"}
    assert 2.0 < week.series_weeks < 4.0


def test_without_all_kinds_only_the_windows_are_left(kept: Path) -> None:
    parts = Kept(kept).without("choosing", "linear")
    line = line_of(SMALL, "tank")
    artifact = fit(line.history, config=TrainConfig(model=ModelOptions(family="linear")))
    rules = IncidentRules(without=tuple(SWITCHES))
    engine = Engine(recalibrated(artifact, BUDGETS[0]), EngineOptions(rules=rules))
    assert parts["all"] == of_line(line, SMALL, engine)
    assert parts["level"] != parts["drift"]
    text = worth(Kept(kept), ("choosing",), ("linear",))
    assert text.count("| choosing | linear | level |") == text.count("| choosing | linear | nothing |") == 1


def test_a_run_that_is_kept_is_not_repeated(kept: Path) -> None:
    path = kept / "choosing-4.linear.tank.json"
    before = path.stat().st_mtime_ns
    operators.perform([LineRun(SMALL, "tank", "linear", "choosing")], kept, 1)
    assert path.stat().st_mtime_ns == before


def test_the_boards_show_what_was_run(kept: Path) -> None:
    text = board(Kept(kept), ("choosing", "confirming"), ("linear", "conv"), is_plant=True)
    assert text.count("| choosing | linear | 1/week |") == 1
    assert "conv" not in text
    assert by_fault(Kept(kept), ("choosing",), "linear").count("\n") >= 3
    assert board(Kept(kept), ("asd",), ("linear",), is_plant=False) == "(not run)\n"


def test_every_board_has_its_place_on_the_page(tmp_path: Path) -> None:
    page = operators.PAGE.read_text(encoding="utf-8")
    tables = operators.tables_of(tmp_path)
    for name in tables:
        assert page.count(f"<!-- {name} -->\n") == 1
    empty = written(page, tables)
    assert written(empty, tables) == empty
    with pytest.raises(ValueError, match="no mark for the table other"):
        written(page, {"other": ""})


def test_no_two_runs_share_a_name_and_the_default_is_among_them(tmp_path: Path) -> None:
    (tmp_path / "asd").mkdir()
    names = [run.name for run in operators.planned(tmp_path)]
    assert len(set(names)) == len(names)
    assert {"choosing-1.ensemble.pump", "confirming-101.lstm.tank", "data-asd.conv"} <= set(names)


@pytest.mark.parametrize("only", ["nosuch", "", "choosing-1.linear,nosuch"])
def test_a_run_that_does_not_exist_is_an_error_with_the_known_names(
    only: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept"
    assert operators.main(["--only", only, "--data", str(tmp_path), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "choosing-1" in told
    assert "linear" in told
    assert not out.exists()


def test_only_chooses_by_a_part_of_the_name(tmp_path: Path) -> None:
    runs = operators.planned(tmp_path)
    names = [run.name for run in operators.chosen(runs, "choosing-1.linear")]
    assert names == [f"choosing-1.linear.{kind}" for kind in ("pump", "conveyor", "exchanger")]
    assert {run.name for run in runs if "conv" in run.name} == {
        run.name for run in operators.chosen(runs, "conv")
    }


def test_unknown_figures_are_null() -> None:
    assert plain({"a": (float("nan"), 1.0, "x")}) == {"a": [None, 1.0, "x"]}
