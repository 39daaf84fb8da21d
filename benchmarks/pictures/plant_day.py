"""The day of a simulated plant that the pictures of the pages show: data, models, a backtest, reports.

Everything lies below the current directory. What is there is not made again.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path

import numpy as np

from connectors.parquet.writer import TableWriter
from detector.artifact.registry import open_artifact, publish
from detector.calibration.recalibrate import recalibrated
from streamgauge import main as streamgauge
from trainer.demo.plant import Plant, faults_of_a_day, history_columns

DAY_NS = 86_400_000_000_000
START_NS = 1_780_272_000_000_000_000
"""Monday, 2026-06-01, UTC."""
_HISTORY_DAYS, _EVALUATED_DAYS = 4, 2
_MODELS = Path("models")


def plant_with_faults() -> Plant:
    """Return the plant of the day, with its ten faults."""
    return Plant(faults=faults_of_a_day(Plant(), START_NS))


def model() -> Path:
    """Return the entry of a linear model of the plant."""
    entry, history = _MODELS / "pumps", Path("history")
    if not (entry / "current").exists():
        _write(Plant(), history, START_NS - _HISTORY_DAYS * DAY_NS, START_NS)
        _run("train", str(history), "--out", str(entry), "--model", "linear")
    return entry


def backtest() -> Path:
    """Return the output of a backtest of the day."""
    out = Path("report")
    if not (out / "backtest.json").exists():
        _run("backtest", str(model()), str(day()), "--out", str(out))
    return out


def backtest_of_lines() -> Path:
    """Return the output of a backtest of the day whose pumps stand in two lines, `north` and `south`."""
    out, lines = Path("report-of-lines"), Path("lines")
    if not (out / "backtest.json").exists():
        for at, path in enumerate(sorted(day().glob("*.parquet"))):
            copy = lines / ("north" if at % 2 else "south") / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        _run("backtest", str(model()), str(lines), "--out", str(out))
    return out


def day() -> Path:
    """Return the directory with the day, labels included."""
    day = Path("day")
    if not day.exists():
        _write(plant_with_faults(), day, START_NS, START_NS + DAY_NS)
    return day


def backtest_report() -> Path:
    """Return the report of the backtest."""
    return _report("backtest.html", "backtest", str(model()), str(day()))


def comparison_report() -> Path:
    """Return the report of the model beside the same with a looser budget."""
    other, entry = _MODELS / "loose", str(model())
    if not (other / "current").exists():
        publish(recalibrated(open_artifact(entry), "3/day"), other)
    return _report("both.html", "backtest", entry, str(day()), "--compare", str(other), "--budgets", "none")


def training_report() -> Path:
    """Return the report that the training wrote."""
    entry = model()
    return entry / (entry / "current").read_text().strip() / "report.html"


def evaluation_report() -> Path:
    """Return the report of an evaluation, a file for each pump."""
    data = Path("labelled")
    if not data.exists():
        _write(plant_with_faults(), data, START_NS - _EVALUATED_DAYS * DAY_NS, START_NS + DAY_NS, START_NS)
    return _report("evaluation.html", "evaluate", str(data), "--model", "linear")


def _report(name: str, *words: str) -> Path:
    page = Path(name)
    if not page.exists():
        _run(*words, "--report", name)
    return page


def _run(*words: str) -> None:
    """Run a command of Streamgauge. Raises SystemExit where it fails."""
    own = sys.argv
    sys.argv = ["streamgauge", *words]  # the pages show the command
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            code = streamgauge(words)
    finally:
        sys.argv = own
    if code:
        raise SystemExit(f"`streamgauge {' '.join(words)}` failed with {code}")


def _write(plant: Plant, directory: Path, start_ns: int, end_ns: int, test_ns: int | None = None) -> None:
    """Write a file for each pump; where `test_ns` is given, rows from then on are a test by `split`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, columns in history_columns(plant, start_ns, end_ns):
        with TableWriter(directory / f"{name}.parquet") as writer:
            if test_ns is not None:
                times = np.asarray(columns["timestamp"])
                columns |= {"split": np.where(times < test_ns, "train", "test").astype(object)}
            writer.write(columns)
