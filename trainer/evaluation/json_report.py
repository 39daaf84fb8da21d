"""An evaluation as plain JSON values, the format of `streamgauge evaluate --json`."""

from __future__ import annotations

from dataclasses import asdict

from trainer.evaluation.operator_measures import OperatorMeasures
from trainer.evaluation.options import EvaluationOptions
from trainer.evaluation.results import EvaluationResult, FileResult, alarm_figures

_PLAIN = ("file", "window", "rows", "train_rows", "buffer", "fit_seconds", "score_rows_per_second")


def as_json(evaluation: EvaluationResult) -> dict[str, object]:
    """Return everything as plain values; a figure that is unknown is NaN."""
    pooled = evaluation.pooled
    options = asdict(evaluation.options)
    return {
        "options": {name: value for name, value in options.items() if name not in ("scores", "base")},
        "files": [_file(result, evaluation.options) for result in evaluation.results],
        "pooled": {
            "files": len(evaluation.results),
            "failed": len(evaluation.failures),
            "fit_seconds": pooled.fit_seconds,
            "score_rows_per_second": pooled.score_rows_per_second,
            "model": asdict(pooled.model),
            **alarm_figures(pooled.alarms, pooled.test_days, pooled.budgeted),
            "operator": {budget: one.as_json() for budget, one in evaluation.operator.items()},
            "worth": {name: one.as_json() for name, one in evaluation.worth.items()},
            "worth_vus_pr": evaluation.worth_vus_pr,
            "linear": asdict(pooled.linear),
            "random": asdict(pooled.random),
            "coverage": pooled.coverage.as_json(),
            "test_coverage": pooled.test_coverage.as_json(),
        },
        "failures": [asdict(failure) for failure in evaluation.failures],
    }


def _operator(result: FileResult, budget: str) -> dict[str, OperatorMeasures]:
    return {budget: result.operator} | {one.budget: one.operator for one in result.further}


def _file(result: FileResult, options: EvaluationOptions) -> dict[str, object]:
    return {
        **{name: getattr(result, name) for name in _PLAIN},
        "operator": {
            evaluated: one.as_json() for evaluated, one in _operator(result, options.alarm_budget).items()
        },
        "worth": {name: one.operator.as_json() for name, one in result.worth.items()},
        "worth_vus_pr": {name: one.ranking.vus_pr for name, one in result.worth.items()},
        "model": asdict(result.model),
        **alarm_figures(result.alarms, result.test_days, result.budgeted),
        "linear": asdict(result.linear),
        "random": asdict(result.random),
        "coverage": result.coverage.as_json(),
        "test_coverage": result.test_coverage.as_json(),
        "further": {
            one.budget: alarm_figures(one.alarms, result.test_days, one.budgeted) for one in result.further
        },
    }
