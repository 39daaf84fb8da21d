"""The table of all metrics: the code takes names, types, labels and help from here, and so does
docs/metrics.md (`python -m detector.metrics.docs_table`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its `name` as Prometheus shows it, what it counts, and the release that brought it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    since: str = "0.1"

    @property
    def family(self) -> str:
        """The name without what the exposition appends."""
        return self.name.removesuffix("_total").removesuffix("_info")


def _of(kind: Kind, name: str, words: str, labels: str = "") -> MetricSpec:
    return MetricSpec(f"streamgauge_{name}", kind, tuple(labels.split()), words)


def _counter(name: str, words: str, labels: str = "") -> MetricSpec:
    return _of("counter", f"{name}_total", words, labels)


def _gauge(name: str, words: str, labels: str = "") -> MetricSpec:
    return _of("gauge", name, words, labels)


SERIES = (
    _gauge("score", "Newest score of a series; above 1 is anomalous; absent where unknown", "series"),
    _gauge("score_max", "Highest final score of a series since the last scrape; absent when none", "series"),
    _gauge(
        "series_threshold",
        "Threshold in force, in units of the calibrated one: it follows the series' stream",
        "series",
    ),
    _gauge("last_row_timestamp_seconds", "Event time of the newest verdict", "series"),
)
"""A sample a series, of at most `[metrics] max_series`."""

CHANNELS = (
    _gauge("actual_value", "Value of the newest row, in the channel's own unit", "series channel"),
    _gauge("expected_value", "What the model expected instead", "series channel"),
    _gauge("expected_lower", "Lower edge of the band that is normal around it", "series channel"),
    _gauge("expected_upper", "Upper edge of that band", "series channel"),
    _gauge("contribution_ratio", "The channel's share of the newest row's error", "series channel"),
)
"""A sample a channel, of at most `[metrics] max_channel_series` series."""

OVERVIEW = (
    _gauge("max_score", "Highest final score of all series since the last scrape; absent when none"),
    _gauge("series", "Series known, by the state of their newest row", "state"),
    _gauge("series_left_out", "Series without gauges of their own, beyond [metrics] max_series"),
    _gauge("channel_series_left_out", "Series without gauges a channel, beyond [metrics] max_channel_series"),
    _gauge("series_silent", "Series of which nothing came for [service] stale_after"),
    _gauge("warmup_ratio", "Share of the known series whose window is full; absent when none is known"),
)

INCIDENTS = (
    _gauge("open_incidents", "Incidents firing", "severity"),
    _gauge(
        "incident_firing",
        "1 for each incident that is firing; channel is the one that contributed most",
        "series severity reason channel",
    ),
    _gauge("incidents_left_out", "Incidents firing without a gauge of their own"),
    _counter("incident_events", "Changes of incidents: opened, escalated, resolved", "event severity"),
    _counter("alarms", "Incidents opened by a score"),
    _counter("budgeted_alarms", "Incidents that the alarm budget allows for the rows judged"),
    _counter(
        "suppressed_rows", "Rows that an incident rule held back, by rule (docs/incidents.md)", "reason"
    ),
)

STREAM = (
    _counter("readings", "Readings taken, late ones included"),
    _counter("rows", "Rows closed that held at least one reading"),
    _counter("gap_rows", "Rows without a reading, put into short gaps"),
    _counter("windows", "Windows scored by the model"),
    _counter("verdicts", "Final verdicts by state", "state"),
    _of("histogram", "score_distribution", "Final scores; exemplars name the incident"),
    _counter("late_readings", "Readings dropped because their row was closed"),
    _counter("duplicate_readings", "Readings that replaced a value of the same series and time"),
    _counter("out_of_order_readings", "Readings older than the newest of their series, kept"),
    _counter("cells", "Values that rows have room for"),
    _counter("missing_cells", "Values that were missing"),
    _counter("rejected_messages", "Messages sent to the dead letters", "reason"),
    _counter("unknown_channel_values", "Values of channels the model does not know"),
)

LOOP = (
    _of(
        "histogram",
        "turn_seconds",
        "Time in a step of the loop, a batch each: poll (waiting), decode, step (scoring), write, commit",
        "step",
    ),
    _gauge("last_turn_timestamp_seconds", "When the loop turned last; absent before it did"),
    _gauge("consumer_lag_messages", "Messages not read yet, about a second ago", "partition"),
    _gauge(
        "consumer_lag_seconds",
        "Age of the newest message read; 0 where none is left to read",
        "partition",
    ),
    _counter("rebalances", "Times that partitions were assigned to this member"),
    _gauge("ready", "1 when partitions are assigned and none is being replayed"),
    _gauge("replaying", "Partitions being read again after a restart or a rebalance"),
    _counter("replayed_readings", "Readings judged again in silence"),
    _counter("deleted_messages", "Messages that the input topic's retention deleted before they were read"),
    _counter(
        "transactions",
        "Kafka transactions by outcome: committed, aborted, fenced",
        "outcome",
    ),
    _of("histogram", "transaction_seconds", "Time of a Kafka transaction, whatever its outcome"),
)

MODEL = (
    _of("info", "model_info", "The model in use", "name version family"),
    _gauge("model_trained_timestamp_seconds", "When the model's artifact was written; absent where unknown"),
    _gauge("model_loaded_timestamp_seconds", "When this process took the model up"),
    _gauge("threshold", "The error that is score 1 by calibration"),
    _gauge(
        "error_psi",
        "Population stability index of the errors against calibration; absent until enough rows were judged",
    ),
    _counter("reloads", "Reloads of the model by outcome: loaded, refused", "outcome"),
    _counter("config_reloads", "Reloads of the configuration by outcome: loaded, refused", "outcome"),
)

NOTIFIERS = (
    _counter(
        "notifications", "Changes delivered, attempts failed, changes dropped for good", "notifier outcome"
    ),
    _gauge("notifier_backlog", "Incident events that are committed and not delivered yet", "notifier"),
    _gauge("notifier_last_success_timestamp_seconds", "When a notification was last delivered", "notifier"),
)

BUILD = (_of("info", "build_info", "The software", "version python"),)

SECTIONS: tuple[tuple[str, tuple[MetricSpec, ...]], ...] = (
    ("Series", SERIES),
    ("Channels", CHANNELS),
    ("All series together", OVERVIEW),
    ("Incidents", INCIDENTS),
    ("Stream", STREAM),
    ("Loop and Kafka", LOOP),
    ("Model", MODEL),
    ("Notifiers", NOTIFIERS),
    ("Software", BUILD),
)
"""The table in the order of the document."""

BY_NAME = {spec.name: spec for _, specs in SECTIONS for spec in specs}


def spec_of(name: str) -> MetricSpec:
    """The metric `streamgauge_<name>`."""
    return BY_NAME[f"streamgauge_{name}"]
