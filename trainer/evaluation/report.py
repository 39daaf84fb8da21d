"""The report of an evaluation: a sortable table of files with spark lines, as one HTML file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from detector.reports.page import write_page
from trainer.evaluation.results import EvaluationResult, FileResult

_DIGITS = 5


def write_evaluation_report(evaluation: EvaluationResult, out: Path) -> None:
    """Write the report. Raises DetectorError if the file cannot be written."""
    report = evaluation_report(evaluation)
    write_page(out, report["title"], "evaluation", {"report": report})


def evaluation_report(evaluation: EvaluationResult) -> dict[str, Any]:
    """Return what the report says, as plain values; a figure that is unknown is NaN."""
    return {
        "title": f"Evaluation of {evaluation.options.family}",
        "words": _words(evaluation),
        "files": [_file(one) for one in evaluation.results],
        "failures": [{"file": one.file, "reason": one.reason} for one in evaluation.failures],
    }


def _words(evaluation: EvaluationResult) -> list[str]:
    pooled, alarms = evaluation.pooled, evaluation.pooled.alarms
    num = len(evaluation.results)
    words = [f"{num:,} file{'' if num == 1 else 's'} evaluated, {len(evaluation.failures):,} failed."]
    if not math.isnan(pooled.model.vus_pr):
        words.append(
            f"The mean VUS-PR is {pooled.model.vus_pr:.3f}; plain linear errors reach"
            f" {pooled.linear.vus_pr:.3f}, a random score {pooled.random.vus_pr:.3f}."
        )
    false = f"{alarms.false_alarms:,} false alarm{'' if alarms.false_alarms == 1 else 's'}"
    words.append(
        f"On test rows, incidents found {alarms.events_found:,} of {alarms.events:,} events, with {false};"
        f" the budget {evaluation.options.alarm_budget} allows {pooled.budgeted:.3g}."
    )
    return words


def _file(one: FileResult) -> dict[str, Any]:
    return {
        "file": one.file,
        "rows": one.rows,
        "vus_pr": one.model.vus_pr,
        "linear_vus_pr": one.linear.vus_pr,
        "events": one.alarms.events,
        "events_found": one.alarms.events_found,
        "false_alarms": one.alarms.false_alarms,
        "budgeted": one.budgeted,
        "spark": [round(value, _DIGITS) for value in one.spark],
    }
