"""The metrics whose number does not grow with the series, as families of the client library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from detector.engine.values import Latest
from detector.incidents.decision import OPINIONS
from detector.lifecycle.shadow_view import JUDGES, ShadowView
from detector.metrics.catalogue import spec_of
from detector.metrics.engine_view import EngineView
from detector.metrics.sources import Sources
from detector.notify.stats import NotifierStats
from detector.peers.crowd import CrowdView
from detector.scoring.kinds import Kind
from detector.scoring.verdicts import State
from detector.selfcheck.check import OUTCOMES

_RELOADS = ("loaded", "refused")
_NOTIFICATIONS = ("delivered", "failed", "dropped")
_MOST_APART = 20
_Values: TypeAlias = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class View:
    """The values of one scrape.

    snapshot      the engine after its last turn
    highest       highest final score since the last scrape; NaN if none was known
    loaded_at     epoch seconds at which the model was loaded
    num_left_out  open incidents without their own gauge
    """

    snapshot: EngineView
    highest: float
    loaded_at: float
    num_left_out: int


class OverviewCollector(Collector):
    """Collects all families of one scrape.

    Args:
        view: Returns the values of this scrape.
        sources: Figures that the engine does not have.
        scores: Returns the histogram of scores.
        build: Labels of the build; None: of one model of several, without the figures of the service.
    """

    def __init__(
        self,
        view: Callable[[], View],
        sources: Sources,
        scores: Callable[[], HistogramMetricFamily],
        build: Mapping[str, str] | None,
    ) -> None:
        self._view, self._sources, self._scores, self._build = view, sources, scores, build

    def describe(self) -> Iterable[Metric]:
        """Return nothing: there is no view yet when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all families, in the order of the catalogue."""
        view = self._view()
        yield from _overview(view)
        yield from _incidents(view)
        yield from _stream(view.snapshot)
        yield self._scores()
        if self._build is not None:
            yield from _loop(view.snapshot.turned_at, self._sources)
        yield from _model(view, self._sources)
        if self._build is not None:
            yield from _notifiers(self._sources.notifiers())
            yield _info("build_info", self._build)


def of_service(turned_at: float | None, sources: Sources, build: Mapping[str, str]) -> Iterator[Metric]:
    """Yield the families that a daemon with several models has once.

    Args:
        turned_at: Epoch seconds of the last turn; None before the first.
        sources: Figures of the service.
        build: Labels of the build.
    """
    yield from _loop(turned_at, sources)
    yield _reloads("config_reloads", sources.config_reloads())
    yield from _notifiers(sources.notifiers())
    yield _info("build_info", build)


def _overview(view: View) -> Iterator[Metric]:
    series = view.snapshot.series
    latest = series.latest
    num = len(latest.names)
    yield _plain("max_score", view.highest)
    counts = np.bincount(latest.state, minlength=len(State)).tolist()
    yield _labelled("series", {(state.label,): n for state, n in zip(State, counts, strict=True)})
    yield from _judged(latest)
    yield _plain("channels_missing", int(np.count_nonzero(latest.missing)))
    yield _plain("series_left_out", num - len(series.shown))
    yield _plain("channel_series_left_out", num - len(series.detailed))
    yield _labelled("series_in_mode", _by_mode(view.snapshot))
    yield _plain("series_silent", counts[State.STALE])
    yield _plain("warmup_ratio", float(latest.is_full.mean()) if num else float("nan"))


def _judged(latest: Latest) -> Iterator[Metric]:
    unjudged, seconds = latest.unjudged, latest.unjudged_seconds
    yield _plain("series_judged", int(np.count_nonzero(latest.is_judged)))
    yield _plain("series_masked", int(np.count_nonzero(unjudged.masked)))
    yield _plain("series_never_judged", int(np.count_nonzero(unjudged.is_long & unjudged.never)))
    yield _plain("series_no_longer_judged", int(np.count_nonzero(unjudged.is_long & ~unjudged.never)))
    yield _plain("longest_unjudged_seconds", float(np.fmax.reduce(seconds, initial=0.0)))


def _incidents(view: View) -> Iterator[Metric]:
    by_severity = view.snapshot.open_by_severity
    yield _labelled("open_incidents", {(severity,): num for severity, num in by_severity.items()})
    yield _plain("incidents_left_out", view.num_left_out)
    budget = view.snapshot.budget
    yield _plain("budget_alarms", budget.alarms)
    yield _plain("budget_allowed_alarms", budget.allowed)
    yield _plain("budget_used_ratio", budget.used)
    yield _plain("budget_series", _or_nan(budget.budget.num_series))
    yield _plain("lasting_incidents", view.snapshot.num_lasting)
    yield _plain("unjudged_incidents", view.snapshot.num_unjudged)
    counting, known = view.snapshot.cumulative
    yield _plain("cumulative_channels_ratio", counting / known if known else math.nan)
    yield _plain("cold_series", int(np.count_nonzero(view.snapshot.latest.cold)))
    yield _plain("muted_series", int(np.count_nonzero(view.snapshot.latest.muted)))
    yield from _peers(view.snapshot.crowd)
    suppressed = view.snapshot.suppressed.items()
    yield _labelled("suppressed_rows_total", {(reason,): num for reason, num in suppressed})


def _peers(crowd: CrowdView) -> Iterator[Metric]:
    """Yield the series beside their peers; nothing where the model does not compare them."""
    yield _plain("compared_series", crowd.compared if crowd.known else math.nan)
    yield _plain("apart_series", len(crowd.apart) if crowd.known else math.nan)
    farthest: _Values = {(one.series, one.channel): one.strength for one in crowd.apart[:_MOST_APART]}
    yield _labelled("apart_from_peers", farthest)


def _stream(snapshot: EngineView) -> Iterator[Metric]:
    for name, value in snapshot.totals.items():
        yield _plain(f"{name}_total", value)
    states = zip(State, snapshot.states, strict=True)
    yield _labelled("verdicts_total", {(state.label,): num for state, num in states})
    unjudged = zip(State, snapshot.unjudged, strict=True)
    yield _labelled("unjudged_rows_total", {(state.label,): num for state, num in unjudged})
    yield _labelled("mode_rows_total", {(mode,): num for mode, num in snapshot.modes.items()})
    kinds = zip(Kind, snapshot.evidence, strict=True)
    yield _labelled("evidence_rows_total", {(kind.label,): num for kind, num in kinds})


def _by_mode(snapshot: EngineView) -> _Values:
    """Return the number of series in each mode of the model in use; a series of unknown mode is in none."""
    modes = snapshot.artifact.spec.modes
    if modes is None:
        return {}
    numbers = snapshot.latest.mode
    counts = np.bincount(numbers[numbers >= 0], minlength=len(modes.names)).tolist()
    return {(name,): num for name, num in zip(modes.names, counts, strict=True)}


def _loop(turned_at: float | None, sources: Sources) -> Iterator[Metric]:
    yield _plain("last_turn_timestamp_seconds", _or_nan(turned_at))
    yield _labelled("consumer_lag_messages", _by_partition(sources, sources.lag()))
    yield _labelled("consumer_lag_seconds", _by_partition(sources, sources.lag_seconds()))
    yield _plain("rebalances_total", sources.rebalances())
    yield _plain("ready", sources.ready())
    yield _plain("replaying", sources.replaying())
    yield _plain("replayed_readings_total", sources.replayed())
    yield _plain("deleted_messages_total", sources.deleted())
    yield _labelled("missing_rights", dict.fromkeys(sources.missing_rights(), 1))
    yield _plain("refused_requests_total", sources.refused_requests())
    yield _plain("decisions_readable", sources.decisions_readable())
    opinions = sources.opinions()
    yield _labelled("judged_by_people_incidents", {(name,): opinions.get(name, 0) for name in OPINIONS})
    yield _plain("series_in_several_partitions", sources.split_series().num)
    unassigned = sources.unassigned()
    yield _labelled("unassigned_series", {(why,): num for why, num in unassigned.series.items()})
    yield _labelled("unassigned_messages_total", {(why,): num for why, num in unassigned.messages.items()})
    kinds = sources.fallback().kinds
    yield _plain("fallback_series", sum(kind.series for kind in kinds))
    yield _plain("fallback_kinds_ready", sum(kind.is_ready for kind in kinds))
    problem, failures = sources.schema_registry()
    yield _plain("schema_registry_waiting", bool(problem))
    yield _plain("schema_registry_failures_total", failures)


def _model(view: View, sources: Sources) -> Iterator[Metric]:
    artifact = view.snapshot.artifact
    spec = artifact.spec
    named = {"name": spec.name, "version": artifact.version, "family": spec.family}
    yield _info("model_info", named)
    yield _plain("model_trained_timestamp_seconds", _or_nan(artifact.written_at))
    yield _plain("model_loaded_timestamp_seconds", view.loaded_at)
    yield _plain("threshold", spec.threshold.value)
    yield _plain("error_psi", view.snapshot.psi)
    yield from _shadow(sources.shadow())
    yield _plain("model_store_unreachable", bool(sources.model_store()))
    sense = sources.sense()
    yield _labelled("detectable_ratio", {(name,): ratio for name, ratio in sense.ratios.items()})
    yield _plain("series_deaf", float("nan") if sense.outcome == "unknown" else sense.num_deaf)
    checks = sources.self_checks()
    yield _labelled("self_checks_total", {(outcome,): checks.get(outcome, 0) for outcome in OUTCOMES})
    yield _reloads("reloads", sources.reloads())
    yield _reloads("config_reloads", sources.config_reloads())


def _reloads(name: str, found: Mapping[str, int]) -> Metric:
    return _labelled(f"{name}_total", {(outcome,): found.get(outcome, 0) for outcome in _RELOADS})


def _shadow(view: ShadowView) -> Iterator[Metric]:
    """Yield the figures of the candidate; they have no sample while none is judged."""
    judges = JUDGES if view.version else ()
    unknown = float("nan")
    yield _info("shadow_info", {"version": view.version} if view.version else {})
    yield _plain("shadow_rows_total", view.rows if judges else unknown)
    yield _plain("shadow_agreement_ratio", view.agreement)
    yield _labelled("shadow_anomalous_rows_total", {(one,): view.anomalous[one] for one in judges})
    yield _labelled("shadow_incidents_total", {(one,): view.incidents[one] for one in judges})
    yield _plain("shadow_restarts_total", view.restarts if judges else unknown)
    yield _plain("shadow_dropped", bool(view.problem))


def _notifiers(notifiers: Iterable[NotifierStats]) -> Iterator[Metric]:
    stats = list(notifiers)
    totals: _Values = {
        (one.name, outcome): getattr(one, outcome) for one in stats for outcome in _NOTIFICATIONS
    }
    backlog: _Values = {(one.name,): one.backlog for one in stats}
    successes: _Values = {(one.name,): _or_nan(one.last_success) for one in stats}
    yield _labelled("notifications_total", totals)
    yield _labelled("notifier_backlog", backlog)
    yield _labelled("notifier_last_success_timestamp_seconds", successes)


def _by_partition(sources: Sources, found: Mapping[int, float]) -> _Values:
    places = sorted((sources.place(number), value) for number, value in found.items())
    return {(topic, str(partition)): value for (topic, partition), value in places}


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(name: str, value: float) -> Metric:
    """Return a metric without labels. NaN means unknown, and gives no sample."""
    return _labelled(name, {(): value})


def _labelled(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    """Return a counter or gauge with one sample per combination of label values. NaN gives no sample."""
    spec = spec_of(name)
    family: CounterMetricFamily | GaugeMetricFamily
    make = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}[spec.kind]
    family = make(spec.family, spec.help, labels=spec.labels)
    for labels, value in values.items():
        if value == value:
            texts = [label.encode("utf-8", "replace").decode() for label in labels]
            pairs = zip(spec.labels, texts, strict=True)
            shown = {label: text for label, text in pairs if text or label != "topic"}
            family.add_sample(spec.name, shown, float(value))
    return family


def _info(name: str, labels: Mapping[str, str]) -> Metric:
    spec = spec_of(name)
    family = InfoMetricFamily(spec.family, spec.help)
    if labels:
        family.add_metric([], dict(labels))
    return family
