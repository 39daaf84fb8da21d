"""Results of an evaluation: figures per file, pooled figures, and the files that failed."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from detector.offline.measuring.coverage import Coverage
from detector.offline.measuring.measures import NO_ALARMS, AlarmCounts
from detector.plots.drawing import draw_bars
from trainer.evaluation.operator_measures import NO_EVENTS, OperatorMeasures, sum_of
from trainer.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    import pandas as pd

    from detector.plots.drawing import Axes


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hold the measures that need no threshold, over all rows; NaN for a file without an event."""

    vus_pr: float
    auc_pr: float
    auc_roc: float


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """Compare the alarms on the test rows with the number that one alarm budget allows.

    `budgeted` is the number of false alarms that the budget allows in the normal part of the test rows.
    `operator` is what an operator sees of the incidents on the test rows.
    """

    budget: str
    alarms: AlarmCounts
    budgeted: float
    operator: OperatorMeasures = NO_EVENTS


@dataclass(frozen=True, slots=True)
class Worth:
    """Hold what is found without some kind of evidence: what an operator sees, and how rows rank."""

    operator: OperatorMeasures
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class FileResult:
    """Hold the figures of one file.

    Attributes:
        file: Path below the evaluated directory.
        window: Rows of the longest window of the fitted model.
        rows: All rows of the file.
        train_rows: Rows that the model was fitted on.
        buffer: Rows of the VUS buffer.
        model, linear, random: Ranking of the model, of the plain linear model and of a random score.
        alarms, budgeted: As in `BudgetResult`, for the alarm budget of the options.
        coverage: How many of the rows were judged in the run that ranks them, and why the others were not.
        test_coverage: The same of the test rows, in the run that counts the alarms.
        test_days: Event time of the test rows, in days.
        fit_seconds: Duration of training and calibration.
        score_rows_per_second: Speed of scoring.
        further: One result for each further budget of the options.
        operator: What an operator sees of the test rows at the alarm budget of the options.
        worth: What is found without each kind of evidence, by name, and without `all` of them.
        spark: The greatest score of each of up to 80 stretches of rows; NaN where none is known.
    """

    file: str
    window: int
    rows: int
    train_rows: int
    buffer: int
    model: Ranking
    linear: Ranking
    random: Ranking
    alarms: AlarmCounts
    budgeted: float
    coverage: Coverage
    test_coverage: Coverage
    test_days: float
    fit_seconds: float
    score_rows_per_second: float
    further: tuple[BudgetResult, ...] = ()
    operator: OperatorMeasures = NO_EVENTS
    worth: dict[str, Worth] = field(default_factory=dict)
    spark: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Name a file that could not be evaluated, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class PooledMeasures:
    """Hold the figures of all files together.

    Rankings are means over the files that have events. Alarms, rows, times and budgets are sums.
    """

    model: Ranking
    linear: Ranking
    random: Ranking
    alarms: AlarmCounts
    budgeted: float
    coverage: Coverage
    test_coverage: Coverage
    test_days: float
    fit_seconds: float
    score_rows_per_second: float


@dataclass(frozen=True, slots=True, repr=False)
class EvaluationResult:
    """Hold the outcome of an evaluation; files and failures are sorted by name.

    Attributes:
        options: The options that were used.
        results: One `FileResult` for each file that was evaluated.
        failures: The files that could not be evaluated, each with its reason.
    """

    options: EvaluationOptions
    results: tuple[FileResult, ...]
    failures: tuple[Failure, ...] = field(default=())

    def __repr__(self) -> str:
        pooled = self.pooled
        return (
            f"EvaluationResult({self.options.family}: {len(self.results)} files, {len(self.failures)} failed;"
            f" mean VUS-PR {pooled.model.vus_pr:.3f}, linear {pooled.linear.vus_pr:.3f},"
            f" random {pooled.random.vus_pr:.3f})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.files.to_html(max_rows=60)}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw VUS-PR of each file beside that of plain linear errors; return the Axes.

        Args:
            ax: where to draw; None: a new figure.

        Raises:
            DetectorError: matplotlib is missing (extra `plots`).
        """
        files = self.files
        values = {"model": files["vus_pr"].tolist(), "plain linear errors": files["linear_vus_pr"].tolist()}
        return draw_bars(files.index.astype(str).tolist(), values, "VUS-PR", ax)

    @property
    def pooled(self) -> PooledMeasures:
        """Return the figures of all files together."""
        results = self.results
        total = NO_ALARMS
        for result in results:
            total = total + result.alarms
        return PooledMeasures(
            model=mean_ranking([result.model for result in results]),
            linear=mean_ranking([result.linear for result in results]),
            random=mean_ranking([result.random for result in results]),
            alarms=total,
            budgeted=sum(result.budgeted for result in results),
            coverage=Coverage.pooled([result.coverage for result in results]),
            test_coverage=Coverage.pooled([result.test_coverage for result in results]),
            test_days=sum(result.test_days for result in results),
            fit_seconds=sum(result.fit_seconds for result in results),
            score_rows_per_second=_pooled_speed(results),
        )

    @property
    def operator(self) -> dict[str, OperatorMeasures]:
        """Return what an operator sees of all files together, by alarm budget."""
        found = {self.options.alarm_budget: sum_of([result.operator for result in self.results])}
        for at, budget in enumerate(self.options.budgets):
            found[budget] = sum_of([result.further[at].operator for result in self.results])
        return found

    @property
    def worth(self) -> dict[str, OperatorMeasures]:
        """Return what an operator sees of all files without each kind of evidence; {} if it was not asked."""
        names = self.results[0].worth if self.results else ()
        return {name: sum_of([one.worth[name].operator for one in self.results]) for name in names}

    @property
    def worth_vus_pr(self) -> dict[str, float]:
        """Return the mean VUS-PR over files with events without each kind of evidence; {} if not asked."""
        names = self.results[0].worth if self.results else ()
        return {
            name: mean_ranking([one.worth[name].ranking for one in self.results]).vus_pr for name in names
        }

    @property
    def files(self) -> pd.DataFrame:
        """Return one row of figures per file as a frame indexed by file name.

        Columns: `window`, `rows`, `train_rows`, `buffer`; `judged_rows` of all rows and `judged_test_rows` of
        the test rows; `vus_pr`, `auc_pr`, `auc_roc` of the model, and the
        same with the prefix `linear_` and `random_`; the alarm figures of docs/evaluation.md at the alarm
        budget; `fit_seconds`, `score_rows_per_second`.
        """
        import pandas as pd

        rows = [_frame_row(result) for result in self.results]
        return pd.DataFrame(rows, columns=["file", *_frame_columns()]).set_index("file")


def mean_ranking(rankings: Sequence[Ranking]) -> Ranking:
    """Return the mean over the files that have events; NaN if none has.

    >>> mean_ranking([Ranking(0.25, 0.5, 1.0), Ranking(math.nan, math.nan, math.nan)])
    Ranking(vus_pr=0.25, auc_pr=0.5, auc_roc=1.0)
    """
    columns = np.array([[r.vus_pr, r.auc_pr, r.auc_roc] for r in rankings]).reshape(-1, 3)
    known = columns[~np.isnan(columns).any(axis=1)]
    return Ranking(*(known.mean(axis=0).tolist() if len(known) else [math.nan] * 3))


def alarm_figures(alarms: AlarmCounts, test_days: float, budgeted: float) -> dict[str, float]:
    """Return the alarm figures by the names that they have in JSON and in the frame; NaN where unknown."""
    return {
        "precision": alarms.precision,
        "recall": alarms.recall,
        "f1": alarms.f1,
        "events": alarms.events,
        "event_recall": alarms.event_recall,
        "median_delay_rows": alarms.median_delay_rows,
        "false_alarms": alarms.false_alarms,
        "false_alarms_per_10k_rows": alarms.false_alarms_per_10k_rows,
        "false_alarms_per_day": alarms.false_alarms / test_days if test_days else math.nan,
        "budgeted_alarms": budgeted,
        "realised_to_budgeted": alarms.false_alarms / budgeted if budgeted else math.nan,
        "test_days": test_days,
    }


def _pooled_speed(results: Sequence[FileResult]) -> float:
    """Return the rows scored per second over all files."""
    seconds = sum(result.rows / result.score_rows_per_second for result in results)
    return sum(result.rows for result in results) / seconds if seconds else math.nan


_COUNTS = ("window", "rows", "train_rows", "buffer")
_JUDGED = ("judged_rows", "judged_test_rows")
_SPEEDS = ("fit_seconds", "score_rows_per_second")
_PREFIXES = (("model", ""), ("linear", "linear_"), ("random", "random_"))


def _frame_row(result: FileResult) -> dict[str, object]:
    rankings = {
        f"{prefix}{name}": value
        for attribute, prefix in _PREFIXES
        for name, value in asdict(getattr(result, attribute)).items()
    }
    return {
        "file": result.file,
        **{name: getattr(result, name) for name in _COUNTS},
        **dict(zip(_JUDGED, (result.coverage.judged_rows, result.test_coverage.judged_rows), strict=True)),
        **rankings,
        **alarm_figures(result.alarms, result.test_days, result.budgeted),
        **{name: getattr(result, name) for name in _SPEEDS},
    }


def _frame_columns() -> list[str]:
    """Return the columns of the frame, which also an evaluation without files has."""
    rankings = [f"{prefix}{name}" for _, prefix in _PREFIXES for name in Ranking.__slots__]
    return [*_COUNTS, *_JUDGED, *rankings, *alarm_figures(NO_ALARMS, 0.0, 0.0), *_SPEEDS]
