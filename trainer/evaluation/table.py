"""An evaluation as a table: one row per file, the pooled row, and the comparison with both rivals."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from detector.calibration.alarm_budget import says_something
from detector.offline.measuring.coverage import Coverage
from detector.offline.measuring.measures import AlarmCounts
from trainer.evaluation.operator_measures import OperatorMeasures
from trainer.evaluation.results import EvaluationResult, FileResult, PooledMeasures, Ranking, mean_ranking

_COLUMNS = (
    "judged", "VUS-PR", "linear", "random", "AUC-PR", "AUC-ROC", "prec", "recall", "F1",
    "events", "ev.rec", "delay", "FA/10k", "FA/day", "FA/budget", "fit s", "rows/s",
)  # fmt: skip

_OPERATOR_COLUMNS = (
    "events", "found", "of their time open", "incidents an event", "false a week and series",
    "guilty first", "among two", "median minutes to find",
)  # fmt: skip
_HALF = 0.5


def print_evaluation(evaluation: EvaluationResult, console: Console) -> None:
    """Print the table, the files that failed, and whether the model beats its rivals."""
    mode = "causal" if evaluation.options.causal else "offline"
    family = evaluation.options.family
    table = Table(title=f"{family}, {mode}; VUS-PR beside the linear model's and a random score's")
    table.add_column("file", overflow="fold", max_width=44)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for result in evaluation.results:
        table.add_row(result.file.removesuffix(".parquet"), *_row(result))
    if evaluation.results:
        pooled = evaluation.pooled
        table.add_section()
        table.add_row(f"pooled: {family}", *_pooled_row(pooled), style="bold")
        table.add_row("linear, plain error", *_rival_row(pooled.linear))
        table.add_row("random score", *_rival_row(pooled.random))
    console.print(table)
    if evaluation.results:
        console.print(_operator_table(evaluation))
    if evaluation.worth:
        console.print(_worth_table(evaluation))
    for failure in evaluation.failures:
        console.print(f"not evaluated: {failure.file}: {failure.reason}", highlight=False, soft_wrap=True)
    for line in judged_lines(evaluation):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(comparison(evaluation), soft_wrap=True)


def _operator_table(evaluation: EvaluationResult) -> Table:
    """Return what an operator sees of all files together, one row for each alarm budget."""
    return _seen("as an operator sees it, over the test rows of all files", "budget", evaluation.operator)


def _worth_table(evaluation: EvaluationResult) -> Table:
    """Return what an operator sees without each kind of evidence, one row for each."""
    budget = evaluation.options.alarm_budget
    rows = {"nothing": evaluation.operator[budget], **evaluation.worth}
    ranks = {"nothing": evaluation.pooled.model.vus_pr, **evaluation.worth_vus_pr}
    return _seen(f"what each kind of evidence is worth, at {budget}", "without", rows, ranks)


def _seen(
    title: str, first: str, rows: dict[str, OperatorMeasures], ranks: dict[str, float] | None = None
) -> Table:
    """Return a table of what an operator sees, with the VUS-PR of each row if there are any."""
    table = Table(title=title)
    table.add_column(first)
    if ranks is not None:
        table.add_column("VUS-PR", justify="right")
    for name in _OPERATOR_COLUMNS:
        table.add_column(name, justify="right")
    for label, one in rows.items():
        figures = [one.found, one.open_share, one.incidents_per_event, one.false_per_week]
        figures += [one.guilty_within(1), one.guilty_within(2)]
        minutes = _figure(one.median_seconds / 60, 1)
        rank = [] if ranks is None else [_figure(ranks[label], 3)]
        table.add_row(label, *rank, str(len(one.events)), *[_figure(value, 2) for value in figures], minutes)
    return table


def judged_lines(evaluation: EvaluationResult) -> Iterator[str]:
    """Yield what was judged, why the rest was not, and each file that was hardly judged or not at all."""
    if not evaluation.results:
        return
    pooled = evaluation.pooled
    num = pooled.alarms.false_alarms
    alarms = "1 false alarm" if num == 1 else f"{num:,} false alarms"
    yield f"{alarms} {pooled.test_coverage.summary}, of the test rows"
    yield from pooled.test_coverage.lines()
    yield f"ranked by the scores {pooled.coverage.summary}, of all rows"
    yield from pooled.coverage.lines()
    for result in evaluation.results:
        for rows, coverage in (("test rows", result.test_coverage), ("rows", result.coverage)):
            if coverage.share < _HALF:
                yield _warning(result.file, rows, coverage)
                break


def _warning(file: str, rows: str, coverage: Coverage) -> str:
    """Return a line about a file that was not judged, or less than half of it."""
    given = coverage.rows + coverage.dropped_readings
    reasons = [f"{name.replace('_', ' ')} {num:,}" for name, (num, _) in coverage.unjudged.items()]
    if coverage.dropped_readings:
        reasons.append(f"dropped {coverage.dropped_readings:,}")
    why = f"({', '.join(reasons)}): its figures say little"
    if coverage.judged_rows == 0:
        return f"NOT JUDGED: {file}: none of its {given:,} {rows} {why}"
    return f"HARDLY JUDGED: {file}: only {coverage.judged_rows:,} of its {given:,} {rows} {why}"


def comparison(evaluation: EvaluationResult) -> str:
    """Return a few sentences that compare the model with a random score and with the linear model."""
    results = [r for r in evaluation.results if r.model.vus_pr == r.model.vus_pr]
    num_failed = len(evaluation.failures)
    counted = f"{len(evaluation.results)} files evaluated, {num_failed} failed."
    if not results:
        return f"{counted} No file has an event: nothing to compare."
    family = evaluation.options.family
    words = [counted]
    for name in ("random", "linear"):
        model, other = (mean_ranking([getattr(r, key) for r in results]).vus_pr for key in ("model", name))
        wins = sum(r.model.vus_pr > getattr(r, name).vus_pr for r in results)
        verdict = "beats" if model > other else "DOES NOT BEAT"
        what = "a random score" if name == "random" else "the linear model with plain error"
        words.append(
            f"{family} {verdict} {what}: mean VUS-PR {model:.3f} against {other:.3f},"
            f" better on {wins} of {len(results)} files with events."
        )
    return " ".join(words)


def _row(result: FileResult) -> list[str]:
    days = result.test_days
    return [
        _share(result.coverage),
        *_ranking(result.model, result.linear, result.random),
        *_alarms(result.alarms, days, result.budgeted),
        f"{result.fit_seconds:.1f}",
        f"{result.score_rows_per_second:,.0f}",
    ]


def _pooled_row(pooled: PooledMeasures) -> list[str]:
    return [
        _share(pooled.coverage),
        *_ranking(pooled.model, pooled.linear, pooled.random),
        *_alarms(pooled.alarms, pooled.test_days, pooled.budgeted),
        f"{pooled.fit_seconds:.1f}",
        f"{pooled.score_rows_per_second:,.0f}",
    ]


def _rival_row(mean: Ranking) -> list[str]:
    """Return the cells of a rival, which has rankings but no threshold."""
    return ["", _figure(mean.vus_pr), "", "", _figure(mean.auc_pr), _figure(mean.auc_roc)]


def _ranking(model: Ranking, linear: Ranking, random: Ranking) -> list[str]:
    return [
        _figure(value) for value in (model.vus_pr, linear.vus_pr, random.vus_pr, model.auc_pr, model.auc_roc)
    ]


def _alarms(alarms: AlarmCounts, days: float, budgeted: float) -> list[str]:
    return [
        _figure(alarms.precision),
        _figure(alarms.recall),
        _figure(alarms.f1),
        str(alarms.events),
        _figure(alarms.event_recall),
        _figure(alarms.median_delay_rows, 0),
        _figure(alarms.false_alarms_per_10k_rows, 1),
        _figure(alarms.false_alarms / days if days else float("nan"), 2),
        _figure(alarms.false_alarms / budgeted if says_something(budgeted) else float("nan"), 2),
    ]


def _share(coverage: Coverage) -> str:
    """Return the share of judged rows in percent; 100 % and 0 % only where all or none are."""
    share = coverage.share
    if share != share:
        return "-"
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def _figure(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if value == value else "-"
