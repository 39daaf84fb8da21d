"""What each of several alarm budgets would have raised on a history.

Each budget has its own engine, calibrated as `streamgauge calibrate` would do it, and all of them read the
history once. One engine would not do: what an open incident hides from later windows depends on the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connectors.parquet.replay_source import ParquetSource
from connectors.records import Batch, Readings
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, read_budget
from detector.calibration.feedback import Feedback
from detector.calibration.recalibrate import recalibrated
from detector.delivery.messages import incident_json
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.incident import Incident
from detector.offline.aligned_rows import OnRows, ignore_progress
from detector.offline.backtest import ReplaySink, Report
from detector.offline.history_files import history_for
from detector.offline.measuring.backtest_measures import num_alarms

RATES = ("1/quarter", "1/month", "1/week", "3/week", "1/day")
_WEEK_SECONDS = 604_800


@dataclass(frozen=True, slots=True)
class Raised:
    """Hold what one budget would have raised.

    budget     the alarm budget
    threshold  the error at which the score is 1
    incidents  in the order of opening
    """

    budget: str
    threshold: float
    incidents: tuple[Incident, ...]

    @property
    def alarms(self) -> int:
        """Return the number of incidents opened by the model; no budget changes the others."""
        return num_alarms(self.incidents)


@dataclass(frozen=True, slots=True)
class Preview:
    """Hold what several budgets would have raised.

    raised        one entry for each budget, the strictest first
    series_weeks  weeks that the rows of all series together last
    incidents     every incident as the strictest budget that raises it has it, with that budget; by opening
    """

    raised: tuple[Raised, ...]
    series_weeks: float
    incidents: tuple[tuple[Incident, str], ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "series_weeks": self.series_weeks,
            "budgets": [
                {
                    "alarm_budget": one.budget,
                    "threshold": one.threshold,
                    "alarms": one.alarms,
                    "alarms_a_week_and_series": one.alarms / self.series_weeks if self.series_weeks else None,
                    "incidents": len(one.incidents),
                }
                for one in self.raised
            ],
            "incidents": [
                incident_json(incident) | {"from_budget": budget} for incident, budget in self.incidents
            ],
        }


def budgets_like(budget: str) -> tuple[str, ...]:
    """Return five budgets of the same kind, of each series or in all, and this one if it is another.

    The strictest comes first.

    >>> budgets_like("1/week")
    ('1/quarter', '1/month', '1/week', '3/week', '1/day')
    >>> budgets_like("2/day in all of 3 series")[-2:]
    ('1/day in all of 3 series', '2/day in all of 3 series')
    """
    asked = read_budget(budget)
    share = str(asked).removeprefix(f"{asked.number:.12g}/{asked.unit}")
    found = dict.fromkeys((*(rate + share for rate in RATES), str(asked)))
    return tuple(sorted(found, key=parse_budget))


def preview(
    artifact: Artifact,
    data: Path,
    budgets: Sequence[str],
    feedback: Iterable[Feedback] = (),
    options: EngineOptions | None = None,
    on_rows: OnRows = ignore_progress,
) -> Preview:
    """Return what each budget would have raised on a history. The artifact does not change.

    Args:
        artifact: the model.
        data: a Parquet file or directory.
        budgets: at least one, the strictest first, each with the number of series that share it.
        feedback: opinions on incidents, which move the threshold of every budget.
        options: incident rules, lateness and threads; None: the defaults.
        on_rows: is called with the number of rows of each batch.

    Raises:
        ArtifactError: the model keeps no held-out errors.
        ParquetError, DetectorError: the data cannot be used.
        ValueError: a budget cannot be read.
    """
    models = [recalibrated(artifact, budget, tuple(feedback)) for budget in budgets]
    reports = _replayed(ParquetSource(history_for(artifact.spec, data)), models, options, on_rows)
    raised = tuple(
        Raised(budget, model.spec.threshold.value, report.incidents)
        for budget, model, report in zip(budgets, models, reports, strict=True)
    )
    return Preview(raised, _series_weeks(reports[0], artifact), _by_strictest(raised))


def _replayed(
    source: ParquetSource, models: Sequence[Artifact], options: EngineOptions | None, on_rows: OnRows
) -> list[Report]:
    """Return what each model finds in one pass over the source."""
    engines = [Engine(model, options or EngineOptions()) for model in models]
    sinks = [ReplaySink(model) for model in models]
    while (batch := source.poll(0.0)) is not None:
        for engine, sink in zip(engines, sinks, strict=True):
            sink.write(engine.step(batch.readings, batch.tick_ns), batch)
        on_rows(len(batch.readings))
    last = Batch(Readings.empty(len(models[0].spec.channels)))
    for engine, sink in zip(engines, sinks, strict=True):
        sink.write(engine.flush(), last)
    return [sink.report(engine.counters.grid.dropped) for engine, sink in zip(engines, sinks, strict=True)]


def _series_weeks(report: Report, artifact: Artifact) -> float:
    seconds = 0.0
    for part in report.verdicts:
        intervals = np.array([artifact.spec.interval_of(name) for name in part.names])
        seconds += float(np.bincount(part.series, minlength=len(intervals)) @ intervals) / 1e9
    return seconds / _WEEK_SECONDS


def _by_strictest(raised: Sequence[Raised]) -> tuple[tuple[Incident, str], ...]:
    """Return every incident that overlaps none of its series that a stricter budget raises, by opening."""
    found: list[tuple[Incident, str]] = []
    taken: dict[str, list[Incident]] = {}
    for one in raised:
        new = [
            incident
            for incident in one.incidents
            if not any(_overlap(incident, other) for other in taken.get(incident.series, ()))
        ]
        for incident in new:
            taken.setdefault(incident.series, []).append(incident)
            found.append((incident, one.budget))
    return tuple(sorted(found, key=lambda pair: (pair[0].opened_ns, pair[0].series)))


def _overlap(one: Incident, other: Incident) -> bool:
    """Return whether two incidents of a series are at the same time; an open one has no end."""
    starts_before = other.end_ns is None or one.start_ns <= other.end_ns
    return starts_before and (one.end_ns is None or other.start_ns <= one.end_ns)
