"""Detector: does it keep up with the input, and where does it lose time or messages?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders import timeseries

from deploy.grafana.generate import panels
from deploy.grafana.generate.layout import DETECTOR, Section, json_of, loads, new
from deploy.grafana.generate.panels import NEUTRAL, Face
from deploy.grafana.generate.queries import Query, increase, of, quantile, rate

_BY_INSTANCE = "{{instance}}"


def board() -> str:
    """Return the dashboard as JSON."""
    words = "Does the detector keep up with the input, and where does it lose time or messages?"
    detector = new(DETECTOR, "Streamgauge / Detector", words).annotation(loads())
    sections = [_now(), _throughput(), _latencies(), _errors(), _kafka(), _process(), _notifiers()]
    return json_of(detector, sections)


def _now() -> Section:
    return Section("", (*_lateness(), *_state()))


def _face(title: str, description: str, unit: str = "short") -> Face:
    """Return the face of a figure at the top."""
    return Face(title, description, unit, width=4, height=4)


def _lateness() -> tuple[stat_panel.Panel, ...]:
    """Return the figures that show whether the detector keeps up."""
    return (
        panels.stat(
            _face("Ready", "Processes that score new data. 0: nothing is scored."),
            {0.0: panels.BAD, 1.0: panels.GOOD},
            Query(f"sum({of('ready')})", "ready", now=True),
        ),
        panels.stat(
            _face(
                "Messages behind",
                "Messages of all partitions that were not read yet. Watch the trend, not the size.",
            ),
            NEUTRAL,
            Query(f"sum({of('consumer_lag_messages')})", "behind", now=True),
        ),
        panels.stat(
            _face(
                "Time behind",
                "Age of the newest message read in the slowest partition; 0 if none waits.",
                "s",
            ),
            {60.0: panels.WARN, 300.0: panels.BAD},
            Query(f"max({of('consumer_lag_seconds')})", "behind", now=True),
        ),
        panels.stat(
            _face("Since the last batch", "Time since a loop last finished a batch. Minutes: it hangs.", "s"),
            {60.0: panels.WARN, 300.0: panels.BAD},
            Query(f"max(time() - {of('last_turn_timestamp_seconds')})", "since", now=True),
        ),
    )


def _state() -> tuple[stat_panel.Panel, ...]:
    """Return the figures about windows and replays."""
    return (
        panels.stat(
            _face("Warmed up", "Share of the known series whose window is full.", "percentunit"),
            NEUTRAL,
            Query(f"min({of('warmup_ratio')})", "warm", now=True),
        ),
        panels.stat(
            _face(
                "Replaying", "Partitions being replayed after a restart or rebalance; no output until done."
            ),
            {1.0: panels.WARN},
            Query(f"sum({of('replaying')})", "replaying", now=True),
        ),
    )


def _throughput() -> Section:
    return Section(
        "Throughput and lag",
        (
            panels.lines(
                Face(
                    "Throughput",
                    "Readings received, rows closed and windows scored, in all processes.",
                    "ops",
                ),
                Query(f"sum({rate('readings_total')})", "readings"),
                Query(f"sum({rate('rows_total')})", "rows"),
                Query(f"sum({rate('windows_total')})", "windows"),
                Query(f"sum({rate('replayed_readings_total')})", "replayed"),
            ),
            panels.lines(
                Face("Readings by process", "Uneven: uneven partitions, or a slow process.", "ops"),
                Query(f"sum by (instance) ({rate('readings_total')})", _BY_INSTANCE),
            ),
            panels.lines(
                Face(
                    "Messages behind, by partition",
                    "Falls after a burst. If it only rises: the detector is too slow.",
                ),
                Query(f"max by (partition) ({of('consumer_lag_messages')})", "{{partition}}"),
            ),
            panels.lines(
                Face(
                    "Time behind, by partition",
                    "Age of the newest message read; 0 if no message waits. Alarms are late by this time.",
                    "s",
                ),
                Query(f"max by (topic, partition) ({of('consumer_lag_seconds')})", "{{topic}} {{partition}}"),
            ),
        ),
    )


def _latencies() -> Section:
    return Section(
        "Where the time goes",
        (
            panels.lines(
                Face("Steps of a batch, median", "Time of each step; poll waits for messages.", "s"),
                Query(quantile(0.5, "turn_seconds", "step"), "{{step}}"),
            ),
            panels.lines(
                Face("Steps of a batch, 99th percentile", "The same for the slowest batches.", "s"),
                Query(quantile(0.99, "turn_seconds", "step"), "{{step}}"),
            ),
            panels.stacked(
                Face(
                    "Share of the time, by step",
                    "Share of wall-clock time, over all processes. No time left in poll: add processes.",
                    "percentunit",
                ),
                Query(
                    f"sum by (step) ({rate('turn_seconds_sum')}) / ignoring (step) group_left () "
                    f"sum({of('build_info')})",
                    "{{step}}",
                ),
            ),
            panels.lines(
                Face(
                    "Kafka transactions",
                    "Time from begin to end of a transaction, whatever its outcome.",
                    "s",
                ),
                Query(quantile(0.5, "transaction_seconds"), "median"),
                Query(quantile(0.99, "transaction_seconds"), "99th percentile"),
            ),
        ),
    )


def _irregular() -> timeseries.Panel:
    return panels.bars(
        Face(
            "Irregular readings",
            "Late: dropped, because their row was closed. Duplicate: replaced a value. Overwritten: shared "
            "a row with a newer one. Out of order: accepted. Wrong clock: dropped, because they were far "
            "ahead. Unknown channel: the model does not have it.",
        ),
        Query(f"sum({increase('late_readings_total')})", "late"),
        Query(f"sum({increase('duplicate_readings_total')})", "duplicate"),
        Query(f"sum({increase('overwritten_readings_total')})", "overwritten"),
        Query(f"sum({increase('out_of_order_readings_total')})", "out of order"),
        Query(f"sum({increase('suspect_clock_dropped_readings_total')})", "wrong clock"),
        Query(f"sum({increase('unknown_channel_values_total')})", "unknown channel"),
    )


def _errors() -> Section:
    return Section(
        "Problems of the input",
        (
            panels.bars(
                Face(
                    "Rejected messages",
                    "Messages sent to the dead-letter topic per interval, by reason. Unassigned: messages of "
                    "series that the model does not judge, which are counted alone.",
                ),
                Query(f"sum by (reason) ({increase('rejected_messages_total')})", "{{reason}}"),
                Query(f"sum({increase('unassigned_messages_total')})", "unassigned"),
            ),
            _irregular(),
            panels.lines(
                Face(
                    "Missing values",
                    "Share of the expected channel values that did not arrive.",
                    "percentunit",
                ),
                Query(f"sum({rate('missing_cells_total')}) / (sum({rate('cells_total')}) > 0)", "missing"),
            ),
            panels.bars(
                Face(
                    "Deleted before reading",
                    "Input messages that retention deleted before they were read. They are never scored.",
                ),
                Query(f"sum({increase('deleted_messages_total')})", "deleted"),
            ),
            panels.bars(
                Face("Rows without a reading", "Rows inserted into short gaps, per interval."),
                Query(f"sum({increase('gap_rows_total')})", "gap rows"),
            ),
            *_unusual_series(),
        ),
    )


def _unusual_series() -> tuple[timeseries.Panel, ...]:
    return (
        panels.bars(
            Face(
                "Clocks of series",
                "Held: readings whose time was far off; they were taken or dropped later. Went back: "
                "series that started again. Other rate: series whose rows got another length. "
                "Forgotten: series that sent nothing for forget_after.",
            ),
            Query(f"sum({increase('suspect_clock_readings_total')})", "held"),
            Query(f"sum({increase('clock_restarts_total')})", "went back"),
            Query(f"sum({increase('interval_changes_total')})", "other rate"),
            Query(f"sum({increase('forgotten_series_total')})", "forgotten"),
        ),
        panels.bars(
            Face(
                "Rows judged by the common scale",
                "Rows of series that the model does not know, while others have own scales.",
            ),
            Query(f"sum({increase('common_scale_rows_total')})", "rows"),
        ),
    )


def _kafka() -> Section:
    return Section(
        "Kafka",
        (
            panels.bars(
                Face(
                    "Transactions",
                    "By outcome, per interval. Aborted: repeated later. Fenced: another process has the same "
                    "transactional_id.",
                    width=6,
                ),
                Query(f"sum by (outcome) ({increase('transactions_total')})", "{{outcome}}"),
            ),
            _input_troubles(),
            panels.bars(
                Face(
                    "Rebalances",
                    "Assignments of partitions, by process. Many: processes join and leave often.",
                    width=6,
                ),
                Query(f"sum by (instance) ({increase('rebalances_total')})", _BY_INSTANCE),
            ),
            panels.lines(
                Face("Ready processes", "1: the process scores new data.", width=6),
                Query(f"max by (instance) ({of('ready')})", _BY_INSTANCE),
            ),
        ),
    )


def _input_troubles() -> timeseries.Panel:
    return panels.lines(
        Face(
            "Split or unassigned series, missing rights",
            "Series whose readings come from several partitions, or that the model does not judge. "
            "Series that a fallback judges without a model, and their kinds that are ready to be trained. "
            "Rights in Kafka that are missing now, requests that were refused, and processes that "
            "cannot read decisions, wait for a schema registry or cannot reach the registry of models.",
            width=6,
        ),
        Query(f"sum({of('series_in_several_partitions')})", "split series"),
        Query(f"sum({of('unassigned_series')})", "unassigned series"),
        Query(f"sum({of('fallback_series')})", "judged without a model"),
        Query(f"sum({of('fallback_kinds_ready')})", "kinds ready to be trained"),
        Query(f"sum({of('missing_rights')}) or vector(0)", "missing rights"),
        Query(f"sum({increase('refused_requests_total')})", "refused requests"),
        Query(f"count({of('decisions_readable')} == 0) or vector(0)", "decisions not readable"),
        Query(f"sum({of('schema_registry_waiting')})", "waiting for schemas"),
        Query(f"sum({of('model_store_unreachable')}) or vector(0)", "registry of models away"),
        Query(f"sum({increase('schema_registry_failures_total')})", "schema requests failed"),
    )


def _process() -> Section:
    return Section(
        "Process",
        (
            panels.lines(
                Face(
                    "Memory",
                    "Resident memory. It grows with the number of series.",
                    "bytes",
                    width=8,
                ),
                Query(f"max by (instance) ({of('process_resident_memory_bytes')})", _BY_INSTANCE),
            ),
            panels.lines(
                Face("Processor", "Processor seconds per second: 1 is one core.", width=8),
                Query(f"max by (instance) ({rate('process_cpu_seconds_total')})", _BY_INSTANCE),
            ),
            panels.with_limits(
                panels.lines(
                    Face(
                        "Open files",
                        "Share of the file descriptors that the process may open.",
                        "percentunit",
                        width=8,
                    ),
                    Query(
                        f"max by (instance) ({of('process_open_fds')} / {of('process_max_fds')})",
                        _BY_INSTANCE,
                    ),
                ),
                {0.8: panels.BAD},
            ),
        ),
    )


def _notifiers() -> Section:
    return Section(
        "Notifiers",
        (
            panels.bars(
                Face(
                    "Notifications",
                    "By notifier and outcome, per interval. Empty if no notifier is configured.",
                    width=8,
                ),
                Query(
                    f"sum by (notifier, outcome) ({increase('notifications_total')})",
                    "{{notifier}}, {{outcome}}",
                ),
            ),
            panels.lines(
                Face(
                    "Notifications waiting",
                    "Committed incident events that wait for delivery.",
                    width=8,
                ),
                Query(f"sum by (notifier) ({of('notifier_backlog')})", "{{notifier}}"),
            ),
            panels.stat(
                Face(
                    "Last delivered",
                    "When each notifier last delivered a change.",
                    "dateTimeFromNow",
                    width=8,
                ),
                NEUTRAL,
                Query(
                    f"max by (notifier) ({of('notifier_last_success_timestamp_seconds')}) * 1000",
                    "{{notifier}}",
                    now=True,
                ),
            ),
        ),
    )
