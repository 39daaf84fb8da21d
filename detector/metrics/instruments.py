"""Counters and histograms of the turns of the loop.

Each starts at 0 with all its label values: `increase()` misses the first event of a counter that appears at
1.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from connectors.records import REASONS
from detector.engine.engine import StepResult
from detector.engine.loop import TurnOf
from detector.incidents.incident import MODEL_REASONS, Incident, IncidentEvent, evidence_of
from detector.metrics.catalogue import spec_of
from detector.metrics.engine_view import SEVERITIES
from detector.scoring.kinds import Kind

STEPS = ("poll", "decode", "step", "write", "commit")
OUTCOMES = ("committed", "aborted", "fenced")
EVENTS = ("opened", "escalated", "lasting", "accepted", "rejected", "unjudged", "judged", "resolved")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0])
_EXEMPLAR_CHARACTERS = 128
"""Maximum length of the names and values of all labels of an exemplar (OpenMetrics)."""


class Instruments:
    """The counters and histograms of one registry. Only the thread of the loop writes them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # all start with the process, and its start is a metric
        self._rejected = _counter("rejected_messages_total", registry, REASONS)
        self._unknown = _counter("unknown_channel_values_total", registry)
        self._events = _counter("incident_events_total", registry, EVENTS, SEVERITIES)
        self._alarms = _counter("alarms_total", registry)
        self._by_evidence = _counter("evidence_alarms_total", registry, [kind.label for kind in Kind])
        self._budgeted = _counter("budgeted_alarms_total", registry)
        self._transactions = _counter("transactions_total", registry, OUTCOMES)
        self._transaction_seconds = _histogram("transaction_seconds", registry)
        self._turn_seconds = _histogram("turn_seconds", registry, STEPS)
        self.scores = ScoreHistogram()

    def turn(self, turn: TurnOf[object]) -> None:
        """Count the times and the batch of one turn, whatever its results."""
        decode = turn.batch.decode_seconds
        spent = (turn.poll_seconds - decode, decode, turn.step_seconds, turn.write_seconds)
        for step, seconds in zip(STEPS, (*spent, turn.commit_seconds), strict=True):
            self._turn_seconds.labels(step).observe(max(0.0, seconds))
        for reject in turn.batch.rejects:
            self._rejected.labels(reject.reason).inc()
        self._unknown.inc(turn.batch.unknown_values)

    def results(self, result: StepResult, budgeted_alarms: float) -> None:
        """Count the results of an engine.

        Args:
            result: What one step of it returned.
            budgeted_alarms: Number of alarms that the alarm budget allows for its rows.
        """
        self._budgeted.inc(budgeted_alarms)
        self.scores.add(result.verdicts.score)
        for event in result.incidents:
            self._event(event)

    def transaction(self, outcome: str, seconds: float) -> None:
        """Count a transaction that took `seconds` and ended with `outcome`."""
        self._transactions.labels(outcome).inc()
        self._transaction_seconds.observe(seconds)

    def _event(self, event: IncidentEvent) -> None:
        incident = event.incident
        exemplar = exemplar_labels(incident)
        self._events.labels(event.kind, incident.severity).inc(exemplar=exemplar)
        if event.kind == "opened" and incident.reason in MODEL_REASONS:
            self._alarms.inc(exemplar=exemplar)
            self._by_evidence.labels(evidence_of(incident.reason)).inc(exemplar=exemplar)
        if event.kind != "resolved" and incident.reason == "score":
            self.scores.mark(incident.peak_score, exemplar)


class ScoreHistogram:
    """A histogram of final scores, counted with arrays.

    The exemplar of a bucket is the peak of the newest incident in it.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(len(_SCORES) + 1, np.int64)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def add(self, scores: NDArray[np.float64]) -> None:
        """Count these scores, float64 [n]; NaN where unknown."""
        known = scores[~np.isnan(scores)]
        at = np.searchsorted(_SCORES, known, side="left")
        self._counts = self._counts + np.bincount(at, minlength=len(_SCORES) + 1)
        self._sum += float(known.sum())

    def mark(self, score: float, labels: dict[str, str]) -> None:
        """Keep these labels as the exemplar of the bucket of `score`."""
        at = int(np.searchsorted(_SCORES, score, side="left"))
        self._exemplars[at] = Exemplar(labels, score, time.time())

    def family(self) -> HistogramMetricFamily:
        """Return the histogram as it is now."""
        bounds = [*map(floatToGoString, _SCORES.tolist()), "+Inf"]
        below = np.cumsum(self._counts).tolist()
        marks = self._exemplars.copy()
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
            (bound, num, marks[at]) if at in marks else (bound, num)
            for at, (bound, num) in enumerate(zip(bounds, below, strict=True))
        ]
        spec = spec_of("score_distribution")
        return HistogramMetricFamily(spec.family, spec.help, buckets, self._sum)


def exemplar_labels(incident: Incident) -> dict[str, str]:
    """Return the id of the incident, and its series, cut to the maximum length of an exemplar."""
    labels = {"incident_id": incident.id}
    room = _EXEMPLAR_CHARACTERS - sum(map(len, ("incident_id", incident.id, "series")))
    text = incident.series.encode("utf-8", "replace").decode()
    return labels | {"series": text[:room]}


def _counter(name: str, registry: CollectorRegistry, *values: Sequence[str]) -> Counter:
    """Return a counter that starts at 0 for each combination of label values."""
    spec = spec_of(name)
    counter = Counter(spec.family, spec.help, spec.labels, registry=registry)
    for labels in product(*values) if values else ():
        counter.labels(*labels)
    return counter


def _histogram(name: str, registry: CollectorRegistry, *values: Sequence[str]) -> Histogram:
    spec = spec_of(name)
    histogram = Histogram(spec.family, spec.help, spec.labels, buckets=_SECONDS, registry=registry)
    for labels in product(*values) if values else ():
        histogram.labels(*labels)
    return histogram
