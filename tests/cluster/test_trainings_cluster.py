"""Evaluations and trainings of kinds on a real local cluster give what processes of this machine give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from detector.artifact.registry import open_artifact
from detector.workers.dask_cluster import DaskWorkers, workers_on
from streamgauge import main
from tests.trainer.evaluation.test_evaluate import QUICK, labelled
from tests.trainer.kinds.plants import machine, plant, write
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.json_report import as_json
from trainer.evaluation.results import EvaluationResult
from trainer.progress import quiet

pytestmark = pytest.mark.cluster
SMALL = ("--model", "linear", "--window", "8", "--latent", "3")


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskWorkers]:
    """Two worker processes of this machine."""
    with workers_on("dask", 2) as found:
        yield found


def figures(evaluation: EvaluationResult) -> object:
    """Everything that is no speed."""
    results = tuple(replace(one, fit_seconds=1.0, score_rows_per_second=1.0) for one in evaluation.results)
    return as_json(replace(evaluation, results=results))


def test_an_evaluation_has_the_figures_and_scores_of_one_machine(
    tmp_path: Path, workers: DaskWorkers
) -> None:
    for at in range(2):
        labelled(tmp_path / "in" / f"{at}.parquet", 1_200, 1 + at)
    (tmp_path / "in" / "damaged.parquet").write_bytes(b"PAR1 and nothing else")
    done: list[float] = []
    found = {}
    for name, executor in (("alone", None), ("cluster", workers)):
        options = replace(QUICK, family="lstm", max_epochs=1, scores=tmp_path / name)
        report = quiet if executor is None else lambda share, words, notable=False: done.append(share)
        found[name] = evaluate(tmp_path / "in", options, 2, report, executor)
    assert len(found["cluster"].results) == 2
    assert [one.file for one in found["cluster"].failures] == ["damaged.parquet"]
    shown = {name: json.dumps(figures(one)).replace(f"/{name}", "") for name, one in found.items()}
    assert shown["cluster"] == shown["alone"]
    for at in range(2):
        ours, theirs = (pd.read_parquet(tmp_path / name / f"{at}.parquet") for name in ("cluster", "alone"))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert done == [1 / 3, 2 / 3, 1.0]  # one bar of the whole cluster


def test_kinds_get_the_models_of_one_machine_and_one_that_fails_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = machine("tank-1", ("level",), 5, num_rows=3)
    data = write(tmp_path / "plant.parquet", pd.concat([plant(), short]))
    for name, flags in (("alone", ()), ("cluster", ("--on", "dask"))):
        command = ["train", str(data), "--out", str(tmp_path / name), "--group-by", "auto", "--jobs", "2"]
        assert main([*command, *SMALL, *flags]) == 1
        out, err = capsys.readouterr()
        assert "not trained: tank-1: " in out
        assert "tank-1 failed" in err
    for kind in ("pump", "conveyor"):
        ours, theirs = (open_artifact(tmp_path / name / kind) for name in ("cluster", "alone"))
        assert ours.version == theirs.version  # a digest of weights and thresholds


def test_on_is_refused_where_nothing_can_be_divided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write(tmp_path / "plant.parquet", plant()))
    assert main(["train", data, "--out", str(tmp_path / "models"), "--on", "dask"]) == 2
    assert "--on needs --group-by" in capsys.readouterr().err
    assert main(["evaluate", data, "--on", "spark://host:7077"]) == 2
    assert "--on spark://host:7077: write dask, or the scheduler" in capsys.readouterr().err
