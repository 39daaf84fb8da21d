"""Fleet: which series are anomalous now, and are alarms within the budget?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders import table as table_panel
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generate import panels
from deploy.grafana.generate.layout import FLEET, TO_SERIES, Section, json_of, loads, new
from deploy.grafana.generate.panels import FROM_ONE, NEUTRAL, Face
from deploy.grafana.generate.queries import Query, among_highest, increase, increase_shown, of, peak

_LINK = {"title": "Show ${__value.text}", "url": f"{TO_SERIES}${{__value.raw:percentencode}}"}
_BAD = 'state=~"anomalous|flatline|out_of_range|missing"'
_OPENED = 'event="opened"'


def board() -> str:
    """Return the dashboard as JSON."""
    fleet = new(
        FLEET, "Streamgauge / Fleet", "Which series are anomalous now, and are alarms within the budget?"
    )
    return json_of(fleet.annotation(loads()), [_now(), _series(), _over_time()])


def _now() -> Section:
    return Section("", (*_counts(), *_decided(), *_budget(), *_limits()))


def _face(title: str, description: str) -> Face:
    """Return the face of a figure at the top."""
    return Face(title, description, width=4, height=4)


def _counts() -> tuple[stat_panel.Panel, ...]:
    """Return the numbers of incidents and series."""
    return (
        panels.stat(
            _face("Open incidents", "Incidents that fire now, by severity."),
            FROM_ONE,
            Query(f"sum by (severity) ({of('open_incidents')})", "{{severity}}", now=True),
        ),
        panels.stat(
            _face("Anomalous series", "Series whose newest row is anomalous, stuck or out of range."),
            FROM_ONE,
            Query(f"sum({of('series', _BAD)})", "anomalous", now=True),
        ),
        panels.stat(
            _face("Silent series", "Series that sent no reading for [service] stale_after."),
            FROM_ONE,
            Query(f"sum({of('series_silent')})", "silent", now=True),
        ),
        panels.stat(
            _face("Known series", "All series that sent readings, in any state."),
            NEUTRAL,
            Query(f"sum({of('series')})", "known", now=True),
        ),
    )


def _decided() -> tuple[stat_panel.Panel, ...]:
    """Return what waits for somebody, what somebody muted, and what was forgotten."""
    return (
        panels.stat(
            _face(
                "Lasting incidents",
                "Incidents that have been open for [incidents] lasting_after, and nobody has accepted or "
                "rejected them.",
            ),
            {1.0: panels.WARN},
            Query(f"sum({of('lasting_incidents')})", "lasting", now=True),
        ),
        panels.stat(
            _face(
                "Muted and forgotten",
                "Cold: series that are new to the model, and learn their own scales. "
                "Muted: series that open no incident, because somebody said so. Forgotten: series without a "
                "reading for [service] forget_after, in the time range.",
            ),
            NEUTRAL,
            Query(f"sum({of('cold_series')})", "cold", now=True),
            Query(f"sum({of('muted_series')})", "muted", now=True),
            Query(f"sum({increase_shown('forgotten_series_total')})", "forgotten", now=True),
        ).decimals(0),
        panels.stat(
            _face(
                "Away from their peers",
                "Series whose level, or residual, has left that of the others of their kind for three blocks "
                "of time. Those that are compared, and the largest distance in units of its limit. It opens "
                "no incident.",
            ),
            {1.0: panels.WARN},
            Query(f"sum({of('apart_series')})", "away", now=True),
            Query(f"sum({of('compared_series')})", "compared", now=True),
            Query(f"max({of('apart_from_peers')}) or vector(0)", "largest distance", now=True),
        ),
    )


def _budget() -> tuple[stat_panel.Panel, ...]:
    """Return the figures against the alarm budget."""
    allowed = of("budget_allowed_alarms")
    return (
        panels.stat(
            _face(
                "Alarms in the time range",
                "Opened incidents, and the number that the alarm budget allows for the scored rows. "
                "Compare them over weeks: in a short time, a single true alarm exceeds the budget.",
            ),
            NEUTRAL,
            Query(f"sum({increase_shown('alarms_total')})", "opened", now=True),
            Query(f"sum({increase_shown('budgeted_alarms_total')})", "allowed", now=True),
        ).decimals(1),
        panels.stat(
            Face(
                "Budget used",
                "Alarms of the last budget period (a week for 1/week, in event time), divided by those that "
                "the budget allows for its rows, or by one if that is less. True alarms count too. It begins "
                "again after a restart.",
                "percentunit",
                width=4,
                height=4,
            ),
            {1.0: panels.WARN},
            Query(f"sum({of('budget_alarms')}) / clamp_min(sum({allowed}), 1)", "all", now=True),
            # Used times at most one allowed: alarms, divided by one where less is allowed.
            Query(f"max({of('budget_used_ratio')} * clamp_max({allowed}, 1))", "most by a process", now=True),
        ),
        panels.stat(
            _face(
                "Series of the budget",
                "Known series, and those for which a budget in all was calibrated. Where each series has its "
                "own budget, the second is 0.",
            ),
            NEUTRAL,
            Query(f"sum({of('series')})", "known", now=True),
            Query(f"max({of('budget_series')}) or vector(0)", "calibrated", now=True),
        ),
    )


def _limits() -> tuple[stat_panel.Panel, ...]:
    """Return the figures against the maximum number of gauges."""
    return (
        panels.stat(
            _face(
                "Without gauges",
                "Series and incidents over [metrics] max_series. The tables below cannot show them. The "
                "worst always have gauges.",
            ),
            {1.0: panels.WARN},
            Query(f"sum({of('series_left_out')})", "series", now=True),
            Query(f"sum({of('channel_series_left_out')})", "channels of series", now=True),
            Query(f"sum({of('incidents_left_out')})", "incidents", now=True),
        ),
    )


def _series() -> Section:
    firing = of("incident_firing")
    incidents = panels.table(
        Face(
            "Open incidents by series",
            "One row per incident, with the channel that contributed most. Click a series to open it.",
        ),
        {"severity": "severity", "series": "series", "channel": "channel", "reason": "reason"},
        Query(f"max by (series, severity, reason, channel) ({firing})", now=True),
    )
    return Section("Series", (_worst(), _linked(incidents), _heat()))


def _worst() -> table_panel.Panel:
    score = of("score")
    panel = panels.table(
        Face(
            "Series by score",
            "The 25 series with the highest newest score; above 1 is unusual. From the page level on a row "
            "counts for incidents. Click a series to open it.",
        ),
        {"series": "series", "Value #A": "score", "Value #B": "page level", "Value #C": "newest row"},
        Query(f"topk(25, max by (series) ({score}))", now=True),
        Query(among_highest(of("series_threshold"), 25, "series", score), now=True),
        Query(among_highest(f"{of('last_row_timestamp_seconds')} * 1000", 25, "series", score), now=True),
    )
    worst_first = panels.sorted_by("score")
    panel.sort_by([worst_first]).decimals(2)
    panel.override_by_name("score", panels.column(panels.coloured({0.8: panels.WARN, 1.0: panels.BAD})))
    panel.override_by_name("newest row", panels.column({"unit": "dateTimeFromNow"}))
    return _linked(panel)


def _linked(panel: table_panel.Panel) -> table_panel.Panel:
    return panel.override_by_name("series", panels.column({"links": [_LINK]}))


def _heat() -> panels.HeatMap:
    worst = f"max_over_time({of('score_max')}[$__range] @ end())"
    return panels.heat_map(
        Face(
            "Scores of the worst series",
            "The 30 series with the highest peak in the time range. Colour: highest score per interval. One "
            "dark row: one machine. All rows dark at once: the plant, or its data.",
            width=24,
            height=12,
        ),
        PromQueryFormat.TIME_SERIES,
        Query(among_highest(peak("score_max"), 30, "series", worst), "{{series}}"),
    )


def _over_time() -> Section:
    states = panels.stacked(
        Face(
            "Series by state",
            "Number of series by the state of their newest row.",
        ),
        Query(f"sum by (state) ({of('series')})", "{{state}}"),
    )
    opened = panels.bars(
        Face("Incidents opened", "Incidents opened per interval, by severity."),
        Query(f"sum by (severity) ({increase('incident_events_total', _OPENED)})", "{{severity}}"),
    )
    held = panels.stacked(
        Face(
            "Rows ignored by rules",
            "Unusual rows that did not count for incidents, per interval. `budget`: they were below the page "
            "level. Others: a rule. If there are many, the rules hide what the model detects.",
        ),
        Query(f"sum by (reason) ({increase('suppressed_rows_total')})", "{{reason}}"),
    )
    peaks = panels.with_limits(
        panels.lines(
            Face("Highest score", "The highest score of all series per interval; above 1 is unusual."),
            Query(f"max({peak('max_score')})", "all series"),
        ),
        FROM_ONE,
    )
    return Section("Over time", (states, *_judged(), opened, held, *_alarms(), peaks))


def _alarms() -> tuple[timeseries.Panel, ...]:
    """Return how many alarms there were beside their budget, and what people said about them."""
    alarms = panels.lines(
        Face(
            "Alarms and their budget",
            "Each point is the sum over a span as long as the time range. Choose four weeks to compare with "
            "the budget. True alarms count too.",
        ),
        Query(f"sum({increase_shown('alarms_total')})", "opened"),
        Query(f"sum({increase_shown('budgeted_alarms_total')})", "allowed"),
    )
    opinions = panels.lines(
        Face(
            "What people said about incidents",
            "Incidents that somebody called real or a false alarm, in the explorer or by `feedback`. The "
            "newest opinion on each counts.",
        ),
        Query(f"sum by (opinion) ({of('judged_by_people_incidents')})", "{{opinion}}"),
    )
    return alarms, opinions


def _judged() -> tuple[timeseries.Panel, ...]:
    """Return what is judged and what is not, as series, as rows and as time."""
    series = panels.lines(
        Face(
            "Series that are judged",
            "Series whose newest row was judged, beside all known ones. Never judged, no longer judged: more "
            "rows than fill a window, and none was judged. The page of the daemon has the reasons.",
        ),
        Query(f"sum({of('series')})", "known"),
        Query(f"sum({of('series_judged')})", "judged"),
        Query(f"sum({of('series_masked')})", "judged without some values"),
        Query(f"sum({of('series_never_judged')})", "never judged"),
        Query(f"sum({of('series_no_longer_judged')})", "no longer judged"),
    )
    rows = panels.lines(
        Face(
            "Rows that are judged",
            "Rows per interval: judged, judged without some of their values, and not judged, by the reason. "
            "No fault is found in a row that is not judged.",
        ),
        Query(f"sum({increase('judged_rows_total')})", "judged"),
        Query(f"sum({increase('masked_rows_total')})", "judged without some values"),
        Query(f"sum by (state) ({increase('unjudged_rows_total')})", "not judged: {{state}}"),
    )
    longest = panels.lines(
        Face(
            "Longest time without a judged row",
            "Event time of the series that has sent rows for longest without a judged one. It counts from "
            "the second window on; 0: there is no such series.",
            "s",
        ),
        Query(f"max({of('longest_unjudged_seconds')})", "longest"),
    )
    return series, rows, longest
