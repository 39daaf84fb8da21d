"""The report of an evaluation has the figures of the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamgauge import main
from tests.detector.reports.reported import answers_of
from tests.support.sines import frame_of, write
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.report import evaluation_report
from trainer.progress import quiet


def labelled(directory: Path) -> Path:
    """Two files with one event each, in the second one far larger."""
    for number in range(2):
        split = ["train"] * 500 + ["test"] * 300
        frame = frame_of(800, 3 + number).assign(label=0, split=split)
        frame.iloc[600:620, 0] += 0.5 + 20.0 * number
        frame.iloc[600:620, frame.columns.get_loc("label")] = 1
        write(directory / f"file-{number}.parquet", frame)
    return directory


def test_the_table_has_the_figures_of_the_evaluation(tmp_path: Path) -> None:
    directory = labelled(tmp_path / "data")
    options = EvaluationOptions(family="linear", window=16, budgets=())
    found = evaluate(directory, options, 1, quiet)
    report = evaluation_report(found)
    for row, (name, figures) in zip(report["files"], found.files.iterrows(), strict=True):
        assert row["file"] == name
        assert row["vus_pr"] == figures["vus_pr"]
        assert row["events_found"] == round(figures["event_recall"] * figures["events"])
        assert row["false_alarms"] == figures["false_alarms"]
        assert 0 < len(row["spark"]) <= 80
    assert np.nanmax(report["files"][1]["spark"]) > 1


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    directory = labelled(tmp_path / "data")
    page = tmp_path / "evaluation.html"
    command = ["evaluate", str(directory), "--model", "linear", "--window", "16", "--jobs", "1"]
    assert main([*command, "--report", str(page)]) == 0
    assert len(answers_of(page)["report"]["files"]) == 2
