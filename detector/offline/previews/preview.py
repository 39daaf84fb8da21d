"""What each of several alarm budgets would have raised on a history.

Each budget has its own engine, calibrated as `streamgauge calibrate` would do it, and all of them read the
history once. One engine would not do: what an open incident hides from later windows depends on the budget.
The windows that it does not change are run through the model once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from connectors.parquet.replay_source import ParquetSource
from connectors.records import Batch
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import parse_budget, read_budget
from detector.calibration.feedback import Feedback
from detector.calibration.recalibrate import recalibrated
from detector.delivery.messages import incident_json
from detector.engine.engine import Engine, EngineOptions
from detector.incidents.incident import Incident
from detector.offline.aligned_rows import OnRows, ignore_progress
from detector.offline.history_files import history_for
from detector.offline.measuring.backtest_measures import num_alarms
from detector.offline.previews.shared_windows import SharedEnsemble
from detector.scoring.verdicts import Verdicts

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


class Followers:
    """Engines of several budgets that follow the rows of a replay, batch by batch.

    All of them, and an engine of `artifact` that is ahead by one step, share the outputs of the windows that
    they judge alike (`detector.offline.previews.shared_windows`).

    Args:
        artifact: the model; it does not change.
        budgets: the strictest first, each with the number of series that share it.
        feedback: opinions on incidents, which move the threshold of every budget.
        options: incident rules, lateness and threads; None: the defaults.

    Raises:
        ArtifactError: the model keeps no held-out errors.
        ValueError: a budget cannot be read.
    """

    def __init__(
        self,
        artifact: Artifact,
        budgets: Sequence[str],
        feedback: Iterable[Feedback] = (),
        options: EngineOptions | None = None,
    ) -> None:
        opinions = tuple(feedback)
        self._shared = SharedEnsemble(artifact.module)
        self.artifact = replace(artifact, module=self._shared)
        self._budgets = budgets
        models = [recalibrated(self.artifact, budget, opinions) for budget in budgets]
        self._engines = [Engine(model, options or EngineOptions()) for model in models]
        self._found: list[dict[str, Incident]] = [{} for _ in budgets]
        self._seconds = 0.0

    def follow(self, batch: Batch | None) -> None:
        """Judge a batch; None ends the replay."""
        for at, engine in enumerate(self._engines):
            result = engine.flush() if batch is None else engine.step(batch.readings, batch.tick_ns)
            self._found[at] |= {event.incident.id: event.incident for event in result.incidents}
            if at == 0:
                self._seconds += _seconds(result.verdicts, self.artifact)
        self._shared.forget()

    def raised(self) -> tuple[Raised, ...]:
        """Return what each budget has raised so far."""
        raised = []
        for budget, engine, found in zip(self._budgets, self._engines, self._found, strict=True):
            newest = found | {one.id: one for one in engine.open_incidents if one.id in found}
            incidents = sorted(newest.values(), key=lambda one: (one.opened_ns, one.series))
            threshold = engine.artifact.spec.threshold.value
            raised.append(Raised(budget, threshold, tuple(incidents)))
        return tuple(raised)

    @property
    def series_weeks(self) -> float:
        """Weeks that the rows so far last, of all series together."""
        return self._seconds / _WEEK_SECONDS


def preview(followers: Followers, data: Path, on_rows: OnRows = ignore_progress) -> Preview:
    """Return what each budget would have raised on a history.

    Args:
        followers: engines that have read nothing yet.
        data: a Parquet file or directory.
        on_rows: is called with the number of rows of each batch.

    Raises:
        ParquetError, DetectorError: the data cannot be used.
    """
    spec = followers.artifact.spec
    source = ParquetSource(history_for(spec, data))
    while (batch := source.poll(0.0)) is not None:
        followers.follow(batch)
        on_rows(len(batch.readings))
    followers.follow(None)
    raised = followers.raised()
    return Preview(raised, followers.series_weeks, _by_strictest(raised))


def _seconds(verdicts: Verdicts, artifact: Artifact) -> float:
    """Return how long the rows of these verdicts last, of all series together."""
    intervals = np.array([artifact.spec.interval_of(name) for name in verdicts.names])
    return float(np.bincount(verdicts.series, minlength=len(intervals)) @ intervals) / 1e9


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
