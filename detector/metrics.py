"""Prometheus metrics of the daemon; docs/metrics.md lists them. The only importer of the client library.

Totals are kept by the engine and the loop and are read when Prometheus asks. An unknown score is absent,
never 0. Series are exported one by one up to a bound, the worst first; the rest is counted.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connectors.records import REASONS
from detector.engine import Engine, Latest
from detector.loop import Turn
from detector.notifier import NotifierStats
from detector.verdicts import State

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STEPS = ("poll", "step", "write", "commit")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the scraping thread sees: replaced as a whole after each turn, never changed."""

    latest: Latest
    open_by_severity: Mapping[str, int]
    totals: Mapping[str, float]
    states: tuple[int, ...]

    @classmethod
    def of(cls, engine: Engine) -> Snapshot:
        """Copies of the engine's arrays and totals; called between turns by the loop's thread."""
        counters = engine.counters
        severities = [incident.severity for incident in engine.open_incidents]
        return cls(
            engine.latest,
            {name: severities.count(name) for name in ("warning", "critical")},
            {
                "readings": counters.readings,
                "rows": counters.rows,
                "gap_rows": counters.gap_rows,
                "windows": counters.windows,
                "late": counters.grid.late,
                "duplicate": counters.grid.duplicate,
                "out_of_order": counters.grid.out_of_order,
                "cells": counters.cells,
                "nan_cells": counters.nan_cells,
            },
            tuple(counters.states),
        )


@dataclass(slots=True)
class Sources:
    """Where figures that are not the engine's come from, asked at each scrape."""

    lag: Callable[[], Mapping[int, int]] = dict
    rebalances: Callable[[], int] = int
    ready: Callable[[], bool] = bool
    notifiers: Callable[[], Sequence[NotifierStats]] = tuple


_TOTALS = {
    "readings": ("readings", "Readings taken, late ones included"),
    "rows": ("rows", "Rows closed that held at least one reading"),
    "gap_rows": ("gap_rows", "Rows without a reading, put into short gaps"),
    "windows": ("windows", "Windows scored by the model"),
    "late": ("late_readings", "Readings dropped because their row was closed"),
    "duplicate": ("duplicate_readings", "Readings that replaced a value of the same series and time"),
    "out_of_order": ("out_of_order_readings", "Readings older than the newest of their series, kept"),
    "cells": ("cells", "Values that rows have room for"),
    "nan_cells": ("missing_cells", "Values that were missing"),
}


class Metrics:
    """All metrics of one daemon, on a registry of its own."""

    def __init__(self, engine: Engine, max_series: int, software_version: str, sources: Sources) -> None:
        self.engine = engine
        self.max_series = max_series
        self.sources = sources
        self.registry = registry = CollectorRegistry()
        self.snapshot = Snapshot.of(engine)
        self._software_version = software_version
        self._rejected = Counter(
            "streamgauge_rejected_messages",
            "Messages sent to the dead letters",
            ["reason"],
            registry=registry,
        )
        self._unknown = Counter(
            "streamgauge_unknown_channel_values",
            "Values of channels the model does not know",
            registry=registry,
        )
        self._incidents = Counter(
            "streamgauge_incident_events", "Changes of incidents", ["event", "severity"], registry=registry
        )
        self._seconds = Histogram(
            "streamgauge_turn_seconds", "Time spent in a step of the loop, a batch each", ["step"],
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self._peak = float("nan")
        self._born_at_zero()
        self._describe()
        registry.register(_EngineCollector(self))

    def observe(self, turn: Turn) -> None:
        """Take in one turn of the loop; called by the loop's thread."""
        seconds = (turn.poll_seconds, turn.step_seconds, turn.write_seconds, turn.commit_seconds)
        for step, spent in zip(_STEPS, seconds, strict=True):
            self._seconds.labels(step).observe(spent)
        for reject in turn.batch.rejects:
            self._rejected.labels(reject.reason).inc()
        if turn.batch.unknown_values:
            self._unknown.inc(turn.batch.unknown_values)
        for event in turn.result.incidents:
            self._incidents.labels(event.kind, event.incident.severity).inc()
        scores = turn.result.verdicts.score
        known = scores[~np.isnan(scores)]
        if len(known):
            self._peak = float(np.fmax(self._peak, known.max()))
        self.snapshot = Snapshot.of(self.engine)

    def take_peak(self) -> float:
        """The highest score since this was last asked; NaN when none was known."""
        peak, self._peak = self._peak, float("nan")
        return peak

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that the Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _born_at_zero(self) -> None:
        """A counter that appears at 1 hides its first event from `increase()`."""
        for reason in REASONS:
            self._rejected.labels(reason)
        for event in ("opened", "escalated", "resolved"):
            for severity in ("warning", "critical"):
                self._incidents.labels(event, severity)
        for step in _STEPS:
            self._seconds.labels(step)

    def _describe(self) -> None:
        spec, version = self.engine.artifact.spec, self.engine.artifact.version
        model = {"name": spec.name, "version": version, "family": spec.family}
        Info("streamgauge_model", "The model in use", registry=self.registry).info(model)
        build = {"version": self._software_version, "python": platform.python_version()}
        Info("streamgauge_build", "The software", registry=self.registry).info(build)


class _EngineCollector(Collector):
    """The engine's arrays and totals as metric families."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        snapshot = self._metrics.snapshot
        yield from _totals(snapshot)
        yield from _series(snapshot.latest, self._metrics.max_series)
        open_now = GaugeMetricFamily("streamgauge_open_incidents", "Incidents firing", labels=["severity"])
        for severity, num in snapshot.open_by_severity.items():
            open_now.add_metric([severity], num)
        yield open_now
        peak = GaugeMetricFamily(
            "streamgauge_max_score", "Highest score since the last scrape; absent when none"
        )
        if (value := self._metrics.take_peak()) == value:
            peak.add_metric([], value)
        yield peak
        yield from _stream(self._metrics.sources)
        yield from _notifiers(self._metrics.sources.notifiers())
        threshold = self._metrics.engine.artifact.spec.threshold.value
        yield GaugeMetricFamily("streamgauge_threshold", "The error that is score 1", value=threshold)


def _totals(snapshot: Snapshot) -> Iterable[Metric]:
    for key, (name, words) in _TOTALS.items():
        yield CounterMetricFamily(f"streamgauge_{name}", words, value=snapshot.totals[key])
    verdicts = CounterMetricFamily("streamgauge_verdicts", "Final verdicts by state", labels=["state"])
    for state, num in zip(State, snapshot.states, strict=True):
        verdicts.add_metric([state.label], num)
    yield verdicts


def _series(latest: Latest, max_series: int) -> Iterable[Metric]:
    """Score and state of each series, at most `max_series` of them: the highest scores, then the rest."""
    count = GaugeMetricFamily(
        "streamgauge_series", "Series by the state of their newest row", labels=["state"]
    )
    for state, num in zip(State, np.bincount(latest.state, minlength=len(State)).tolist(), strict=True):
        count.add_metric([state.label], num)
    yield count
    shown = np.arange(len(latest.names))
    if len(shown) > max_series:
        shown = np.argsort(-np.nan_to_num(latest.score, nan=-1.0), kind="stable")[:max_series]
    left_out = len(latest.names) - len(shown)
    yield GaugeMetricFamily(
        "streamgauge_series_left_out", "Series without gauges of their own", value=left_out
    )
    score = GaugeMetricFamily("streamgauge_score", "Newest score; above 1 is anomalous", labels=["series"])
    when = GaugeMetricFamily(
        "streamgauge_last_row_timestamp_seconds", "Event time of the newest verdict", labels=["series"]
    )
    for at in shown.tolist():
        label = [latest.names[at]]
        if latest.score[at] == latest.score[at]:
            score.add_metric(label, float(latest.score[at]))
        if latest.timestamp_ns[at] >= 0:
            when.add_metric(label, latest.timestamp_ns[at] / 1e9)
    yield score
    yield when


def _stream(sources: Sources) -> Iterable[Metric]:
    lag = GaugeMetricFamily(
        "streamgauge_consumer_lag_messages", "Messages not read yet, about a second ago", labels=["partition"]
    )
    for partition, messages in sorted(sources.lag().items()):
        lag.add_metric([str(partition)], messages)
    yield lag
    yield CounterMetricFamily(
        "streamgauge_rebalances",
        "Times that partitions were assigned to this member",
        value=sources.rebalances(),
    )
    yield GaugeMetricFamily(
        "streamgauge_ready", "1 when partitions are assigned", value=float(sources.ready())
    )


def _notifiers(found: Sequence[NotifierStats]) -> Iterable[Metric]:
    outcomes = CounterMetricFamily(
        "streamgauge_notifications",
        "Changes of incidents delivered, attempts that failed, changes given up",
        labels=["notifier", "outcome"],
    )
    backlog = GaugeMetricFamily(
        "streamgauge_notifier_backlog", "Changes of incidents not delivered yet", labels=["notifier"]
    )
    success = GaugeMetricFamily(
        "streamgauge_notifier_last_success_timestamp_seconds",
        "When the receiver last took something; absent before",
        labels=["notifier"],
    )
    for stats in found:
        outcomes.add_metric([stats.name, "delivered"], stats.delivered)
        outcomes.add_metric([stats.name, "failed"], stats.failed)
        outcomes.add_metric([stats.name, "dropped"], stats.dropped)
        backlog.add_metric([stats.name], stats.backlog)
        if stats.last_success is not None:
            success.add_metric([stats.name], stats.last_success)
    yield from (outcomes, backlog, success)
