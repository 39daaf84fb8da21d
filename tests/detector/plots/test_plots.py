"""Plots of results: axes in and out, what is drawn, pictures in files, and what a notebook shows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from detector.api import BacktestResult, backtest
from detector.errors import DetectorError
from detector.plots.incident import table_html
from streamgauge import main
from tests.detector.reports.reported import JUMP, labelled_data, models


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("plotted")
    models(found)
    labelled_data(found)
    return found


@pytest.fixture(scope="module")
def result(directory: Path) -> BacktestResult:
    return backtest(directory / "models" / "pump", directory / "data.parquet")


def test_a_result_is_drawn_into_the_axes_that_are_given(result: BacktestResult) -> None:
    figure, ax = plt.subplots()
    assert result.plot(ax=ax, series=JUMP) is ax
    mine = result.verdicts[result.verdicts["series"] == JUMP]
    assert np.array_equal(ax.lines[0].get_ydata(), mine["score"].to_numpy(), equal_nan=True)
    assert len(ax.patches) == 1  # its incident
    plt.close(figure)


def test_without_axes_the_worst_series_gets_a_figure(result: BacktestResult) -> None:
    ax = result.plot()
    highest = result.verdicts.loc[result.verdicts["score"].idxmax()]
    assert ax.get_title() in set(result.verdicts["series"])
    assert np.nanmax(ax.lines[0].get_ydata()) == result.verdicts["score"].max()
    assert highest["score"].max() == result.verdicts["score"].max()
    plt.close(ax.figure)


def test_an_incident_is_drawn_with_its_worst_channel(result: BacktestResult) -> None:
    row = result.incidents[result.incidents["series"] == JUMP].iloc[0]
    shown = result.incident(row["id"])
    figure, ax = plt.subplots()
    assert shown.plot(ax=ax) is ax
    assert ax.get_title() == f"{JUMP}: flow"
    actual = ax.lines[0].get_ydata()
    assert np.nanmax(actual) == shown.verdicts["actual_flow"].max()
    assert 60 < len(actual) < 300
    with pytest.raises(DetectorError, match="no channel 'gone'; the model has flow"):
        shown.plot(ax=ax, channel="gone")
    plt.close(figure)


def test_what_does_not_exist_is_named(result: BacktestResult) -> None:
    with pytest.raises(DetectorError, match="no series 'nobody'"):
        result.plot(series="nobody")
    with pytest.raises(DetectorError, match="no incident 'x'"):
        result.incident("x")


def test_notebooks_show_incidents_as_a_table(result: BacktestResult) -> None:
    shown = result._repr_html_()
    assert shown.count("<tr>") == 1 + len(result.incidents)
    assert JUMP in shown
    assert "flow" in result.incident(result.incidents["id"].iloc[0])._repr_html_()
    assert "<script" not in table_html([("<script>",)])


def test_the_command_writes_pictures(directory: Path, tmp_path: Path) -> None:
    command = ["backtest", str(directory / "models" / "pump"), str(directory / "data.parquet")]
    assert main([*command, "--plots", str(tmp_path / "pictures")]) == 0
    names = sorted(one.name for one in (tmp_path / "pictures").iterdir())
    assert len(names) == 8  # two series and two incidents, each as PNG and SVG
    assert sum(name.startswith("series-") for name in names) == 4
    for path in (tmp_path / "pictures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in (tmp_path / "pictures").glob("*.svg"):
        assert "<svg" in path.read_text()


def test_without_matplotlib_the_error_names_the_extra(
    result: BacktestResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DetectorError, match=r"streamgauge\[plots\]"):
        result.plot()
