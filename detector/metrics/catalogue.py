"""The table of all metrics: names, types, labels and help texts.

The code and docs/metrics.md (`python -m detector.metrics.docs_table`) both read it. A new metric starts here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detector.metrics.drift import ENOUGH_ROWS

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its name as Prometheus shows it, its kind, labels and help, and its first release."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    since: str = "0.1"

    @property
    def family(self) -> str:
        """The name without the suffix that the exposition appends.

        >>> spec_of("rows_total").family
        'streamgauge_rows'
        """
        return self.name.removesuffix("_total").removesuffix("_info")


def _of(kind: Kind, name: str, help_text: str, labels: str = "") -> MetricSpec:
    return MetricSpec(f"streamgauge_{name}", kind, tuple(labels.split()), help_text)


def _counter(name: str, help_text: str, labels: str = "") -> MetricSpec:
    return _of("counter", f"{name}_total", help_text, labels)


def _gauge(name: str, help_text: str, labels: str = "") -> MetricSpec:
    return _of("gauge", name, help_text, labels)


SERIES = (
    _gauge("score", "Newest score of a series; above 1 is unusual; absent if unknown", "series"),
    _gauge("score_max", "Highest final score of a series since the last scrape; absent if none", "series"),
    _gauge(
        "series_threshold",
        "Page level of a series: the score from which a row counts for incidents",
        "series",
    ),
    _gauge("last_row_timestamp_seconds", "Event time of the newest verdict of a series", "series"),
    _gauge(
        "unjudged_seconds",
        "Event time without a judged row, after more rows than fill a window; absent otherwise",
        "series",
    ),
)
"""One sample per series, for at most `[metrics] max_series` series."""

CHANNELS = (
    _gauge("actual_value", "Measured value of the newest row, in the unit of the channel", "series channel"),
    _gauge("expected_value", "Value that the model expected for the newest row", "series channel"),
    _gauge("expected_lower", "Lower limit of the normal band around the expected value", "series channel"),
    _gauge("expected_upper", "Upper limit of the normal band around the expected value", "series channel"),
    _gauge("contribution_ratio", "Share of the channel in the newest row's error, 0 to 1", "series channel"),
    _gauge("channel_missing", "1: the channel sends nothing while others do; 0: it does", "series channel"),
)
"""One sample per channel, for at most `[metrics] max_channel_series` series."""

OVERVIEW = (
    _gauge("max_score", "Highest final score of all series since the last scrape; absent if none"),
    _gauge("series", "Known series by the state of their newest row", "state"),
    _gauge("series_judged", "Series whose newest row was judged: it has a score, or a fault that needs none"),
    _gauge("series_masked", "Series whose newest row was judged without one of its values"),
    _gauge("series_never_judged", "Series with more rows than fill a window, and no judged row so far"),
    _gauge("series_no_longer_judged", "Series judged before, but not for more rows than fill a window"),
    _gauge("longest_unjudged_seconds", "Highest streamgauge_unjudged_seconds of all series; 0 if none"),
    _gauge("channels_missing", "Channels of all series that send nothing while others of their series do"),
    _gauge("series_left_out", "Series without their own gauges: over [metrics] max_series"),
    _gauge("channel_series_left_out", "Series without channel gauges: over [metrics] max_channel_series"),
    _gauge("series_in_mode", "Known series by the mode of operation of their newest row", "mode"),
    _gauge("series_silent", "Series that sent no reading for [service] stale_after"),
    _gauge("warmup_ratio", "Share of the known series whose window is full; absent if no series is known"),
)

INCIDENTS = (
    _gauge("open_incidents", "Open incidents by severity", "severity"),
    _gauge(
        "incident_firing",
        "1 for each open incident; channel: the one that contributed most",
        "series severity reason channel",
    ),
    _gauge("incidents_left_out", "Open incidents without their own gauge: over [metrics] max_series"),
    _gauge("lasting_incidents", "Open incidents that last and wait for somebody to accept or reject them"),
    _gauge(
        "cumulative_channels_ratio",
        "Share of the channels of known series in which small departures add up: their reference has held",
    ),
    _gauge("cold_series", "Series that are new to the model, and still learn their own scales"),
    _gauge("muted_series", "Series that somebody muted, at their newest row"),
    _gauge("compared_series", "Series that were compared with their peers in the newest block of time"),
    _gauge("apart_series", "Series that are away from their peers (docs/plant.md)"),
    _gauge(
        "apart_from_peers",
        "Distance to the peers in units of the limit, of the 20 series that are farthest away; above 1",
        "series channel",
    ),
    _counter(
        "incident_events",
        "Changes of incidents: opened, escalated, lasting, accepted, rejected, unjudged, judged, resolved",
        "event severity",
    ),
    _counter(
        "alarms",
        "Incidents that a score or cumulative evidence opened; stuck and impossible values do not count",
    ),
    _counter(
        "evidence_alarms",
        "Incidents that count for the budget, by the kind of evidence that opened them",
        "evidence",
    ),
    _gauge("unjudged_incidents", "Open incidents whose evidence cannot be judged: no data, or mode off"),
    _counter("budgeted_alarms", "Incidents that the alarm budget allows for the rows scored so far"),
    _gauge("budget_alarms", "Incidents that count for the budget in its last period (event time)"),
    _gauge("budget_allowed_alarms", "Incidents that the alarm budget allows for the rows of that period"),
    _gauge("budget_used_ratio", "streamgauge_budget_alarms / streamgauge_budget_allowed_alarms"),
    _gauge("budget_series", "Series for which a budget in all was calibrated; absent if each has its own"),
    _counter(
        "suppressed_rows",
        "Anomalous rows ignored by an incident rule, by rule (docs/incidents.md)",
        "reason",
    ),
)

STREAM = (
    _counter("readings", "Readings received, late ones included"),
    _counter("rows", "Closed rows with at least one reading"),
    _counter("gap_rows", "Rows without a reading, inserted into short gaps"),
    _counter("windows", "Windows scored by the model"),
    _counter("verdicts", "Final verdicts by state", "state"),
    _counter("judged_rows", "Rows that were judged: they have a score, or a fault that needs none"),
    _counter("masked_rows", "Rows that were judged without one of their values"),
    _counter("unjudged_rows", "Rows that were not judged, by their state, which gives the reason", "state"),
    _counter("mode_rows", "Rows by their mode of operation; none where the model has no modes", "mode"),
    _counter("evidence_rows", "Anomalous rows by the kind of evidence that spoke loudest", "evidence"),
    _of("histogram", "score_distribution", "Distribution of final scores; exemplars name the incident"),
    _counter("late_readings", "Readings dropped because their row was already closed"),
    _counter("duplicate_readings", "Readings that replaced an earlier value of the same series and time"),
    _counter("out_of_order_readings", "Readings older than the newest of their series, still accepted"),
    _counter("overwritten_readings", "Readings that lost a value to a newer reading of the same row"),
    _counter("suspect_clock_readings", "Readings held back because their time was far off"),
    _counter("suspect_clock_dropped_readings", "Held readings that were dropped: their clock was wrong"),
    _counter("clock_restarts", "Times that a series started again because its clock went back"),
    _counter("interval_changes", "Times that a series got rows of another length by its own rate"),
    _counter("cells", "Channel values expected in closed rows (rows x channels)"),
    _counter("missing_cells", "Channel values missing in closed rows"),
    _counter(
        "common_scale_rows", "Rows of series that the model does not know, where others have own scales"
    ),
    _counter("forgotten_series", "Series forgotten after [service] forget_after without a reading"),
    _counter("rejected_messages", "Messages sent to the dead-letter topic, by reason", "reason"),
    _counter("unknown_channel_values", "Values of channels that the model does not have"),
)

LOOP = (
    _of(
        "histogram",
        "turn_seconds",
        "Seconds per batch in each step of the loop: poll (waiting), decode, step (scoring), write, commit",
        "step",
    ),
    _gauge("last_turn_timestamp_seconds", "Time of the last finished batch; absent before the first"),
    _gauge(
        "consumer_lag_messages",
        "Messages not read yet, measured about every second; `topic` only where there are several",
        "topic partition",
    ),
    _gauge(
        "consumer_lag_seconds",
        "Age of the newest message read; 0 if no message is left to read",
        "topic partition",
    ),
    _counter("rebalances", "Assignments of partitions to this process"),
    _gauge("ready", "1: scoring new data (partitions assigned, no replay running); 0: not yet"),
    _gauge("replaying", "Partitions being replayed after a restart or rebalance"),
    _counter("replayed_readings", "Readings replayed to restore state, without output"),
    _counter("deleted_messages", "Input messages that retention deleted before they were read"),
    _gauge("missing_rights", "1 for each right in Kafka that this process had and lacks", "right resource"),
    _counter("refused_requests", "Attempts that Kafka refused because this process lacks a right"),
    _gauge(
        "decisions_readable", "1: decisions of people are read; 0: accept, reject and mute have no effect"
    ),
    _gauge(
        "judged_by_people_incidents",
        "Incidents that people called false-alarm or real; the newest opinion on each counts",
        "opinion",
    ),
    _gauge("series_in_several_partitions", "Series that come from several partitions, without a key"),
    _gauge(
        "unassigned_series",
        "Series that this model does not judge; name: no pattern matches; channels: too few are known",
        "reason",
    ),
    _counter("unassigned_messages", "Messages of these series, replayed ones included", "reason"),
    _gauge("fallback_series", "Series of unknown kinds, which a fallback judges without training"),
    _gauge("fallback_kinds_ready", "Kinds of these with enough normal rows to train a model"),
    _gauge(
        "schema_registry_waiting",
        "1: messages wait, because the schema registry does not answer; 0: none does",
    ),
    _counter("schema_registry_failures", "Attempts to ask the schema registry that failed"),
    _counter(
        "transactions",
        "Kafka transactions by outcome: committed, aborted, fenced",
        "outcome",
    ),
    _of("histogram", "transaction_seconds", "Seconds per Kafka transaction, whatever its outcome"),
)

MODEL = (
    _of("info", "model_info", "The model in use", "name version family"),
    _gauge("model_trained_timestamp_seconds", "Time when the model artifact was written; absent if unknown"),
    _gauge("model_loaded_timestamp_seconds", "Time when this process loaded the model"),
    _gauge("threshold", "Error at which the score is 1, from calibration"),
    _gauge(
        "error_psi",
        f"Drift: population stability index of the errors; absent before {ENOUGH_ROWS:,} scored rows",
    ),
    _gauge(
        "detectable_ratio",
        "Share of the promised faults of a channel that the last self-check found; absent if unknown",
        "channel",
    ),
    _gauge("series_deaf", "Series whose page level hid most promised faults in the last self-check"),
    _gauge("model_store_unreachable", "1: the place of the model cannot be read; the model stays in use"),
    _of("info", "shadow_info", "The candidate that judges beside the model in use", "version"),
    _counter("shadow_rows", "Rows that both the candidate and the model in use judged"),
    _gauge("shadow_agreement_ratio", "Share of these rows that are anomalous for both or for none"),
    _counter("shadow_anomalous_rows", "Anomalous ones of these rows, by judge: candidate, current", "judge"),
    _counter(
        "shadow_incidents",
        "Incidents opened in series that the candidate judged, by judge; those of the candidate are not sent",
        "judge",
    ),
    _counter("shadow_restarts", "Times that the candidate was behind and began again without state"),
    _gauge("shadow_dropped", "1: the newest candidate cannot be judged beside the model in use; see the log"),
    _counter("self_checks", "Self-checks by outcome: ok, deaf, unknown", "outcome"),
    _counter("reloads", "Reloads of the model by outcome: loaded, refused", "outcome"),
    _counter("config_reloads", "Reloads of the configuration by outcome: loaded, refused", "outcome"),
)

NOTIFIERS = (
    _counter(
        "notifications",
        "Changes delivered, attempts failed (retried later), changes dropped (never delivered)",
        "notifier outcome",
    ),
    _gauge("notifier_backlog", "Committed incident events that wait for delivery", "notifier"),
    _gauge("notifier_last_success_timestamp_seconds", "Time of the last successful delivery", "notifier"),
)

BUILD = (_of("info", "build_info", "Version of Streamgauge and of Python", "version python"),)

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
"""All metrics, in the order of docs/metrics.md."""

BY_NAME = {spec.name: spec for _, specs in SECTIONS for spec in specs}


def spec_of(name: str) -> MetricSpec:
    """Return the metric `streamgauge_<name>`.

    Raises:
        KeyError: The table has no such metric.
    """
    return BY_NAME[f"streamgauge_{name}"]
