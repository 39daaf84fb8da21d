"""Series: what one series did, what was expected, and which channel contributed most."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common

from deploy.grafana.generate import layout, panels
from deploy.grafana.generate.layout import ONE_SERIES, Section, json_of, new
from deploy.grafana.generate.panels import FROM_ONE, NEUTRAL, Face
from deploy.grafana.generate.queries import CHANNEL, SERIES, Query, of, peak


def board() -> str:
    """Return the dashboard as JSON."""
    words = "What did this series do, what was expected, and which channel contributed most?"
    one = new(ONE_SERIES, "Streamgauge / Series", words)
    one.with_variable(layout.one_series()).with_variable(layout.channels())
    one.annotation(layout.incidents()).annotation(layout.loads())
    return json_of(one, [_now(), _scores(), _channels()])


def _now() -> Section:
    def face(title: str, description: str, unit: str = "short") -> Face:
        return Face(title, description, unit, width=6, height=4)

    shown = (
        panels.stat(
            face("Score", "Score of the newest row; above 1 is unusual. None: the score is unknown."),
            FROM_ONE,
            Query(f"max({of('score', SERIES)})", "score", now=True),
        ).decimals(2),
        panels.stat(
            face("Open incidents", "Incidents of this series that fire now, with reason and top channel."),
            FROM_ONE,
            Query(
                f"sum by (reason, channel) ({of('incident_firing', SERIES)})",
                "{{reason}}, {{channel}}",
                now=True,
            ),
        ),
        panels.stat(
            face(
                "Top channel",
                "The channel with the largest share of the newest row's error.",
                "percentunit",
            ),
            NEUTRAL,
            Query(f"topk(1, max by (channel) ({of('contribution_ratio', SERIES)}))", "{{channel}}", now=True),
        ),
        panels.stat(
            face("Newest row", "Event time of the newest scored row.", "dateTimeFromNow"),
            NEUTRAL,
            Query(f"max({of('last_row_timestamp_seconds', SERIES)}) * 1000", "newest row", now=True),
        ),
    )
    return Section("", shown)


def _scores() -> Section:
    threshold = f"max({of('series_threshold', SERIES)})"
    score = panels.with_limits(
        panels.lines(
            Face(
                "Score",
                "The newest score at each scrape, and the highest score since the previous scrape. Above the "
                "dashed line at 1 a row is unusual.",
            ),
            Query(f"max({of('score', SERIES)})", "newest"),
            Query(f"max({peak('score_max', SERIES)})", "highest"),
        ),
        FROM_ONE,
    )
    against_level = panels.lines(
        Face(
            "Score against the page level",
            "From the page level on a row counts for incidents. Many small alarms raise it, and a calm "
            "series lowers it to 1.",
        ),
        Query(f"max({of('score', SERIES)})", "score"),
        Query(threshold, "page level"),
    ).override_by_name("page level", panels.column({"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}}))
    shares = panels.stacked(
        Face(
            "Contributions",
            "Share of each channel in the error of the newest row. In an incident, check the channel with "
            "the widest band.",
            "percentunit",
            width=24,
        ),
        Query(f"max by (channel) ({of('contribution_ratio', SERIES)})", "{{channel}}"),
    ).max(1)
    return Section("Score", (score, against_level, shares, _unjudged()))


def _unjudged() -> timeseries.Panel:
    """Return for how long no row of the series was judged."""
    return panels.lines(
        Face(
            "Time without a judged row",
            "Event time since the first row of this series that was not judged. It counts from the second "
            "window on; 0: the series is judged, or its window still fills.",
            "s",
        ),
        Query(f"max({of('unjudged_seconds', SERIES)}) or vector(0)", "not judged"),
    )


def _channels() -> Section:
    return Section("Channels: actual against expected", (_channel(),))


def _channel() -> timeseries.Panel:
    """Return the panel that Grafana repeats for each selected channel."""

    def of_channel(metric: str, legend: str) -> Query:
        return Query(f"max by (channel) ({of(metric, SERIES, CHANNEL)})", legend)

    face = Face(
        "$channel",
        "The value of the newest row at each scrape, in the unit of the channel. Dashed: the value that the "
        "model expected, with its normal band.",
    )
    edge = {"custom.lineWidth": 0, "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False}}
    band = {"custom.fillBelowTo": "lower", "custom.fillOpacity": 15, **edge}
    grey = {"color": {"mode": "fixed", "fixedColor": "blue"}}
    dashed = {"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}}
    return (
        panels.lines(
            face,
            of_channel("actual_value", "actual"),
            of_channel("expected_value", "expected"),
            of_channel("expected_upper", "upper"),
            of_channel("expected_lower", "lower"),
        )
        .repeat("channel")
        .repeat_direction("h")
        .max_per_row(2)
        .override_by_name("actual", panels.column({"color": {"mode": "fixed", "fixedColor": "orange"}}))
        .override_by_name("expected", panels.column({**grey, **dashed}))
        .override_by_name("upper", panels.column({**grey, **band}))
        .override_by_name("lower", panels.column({**grey, **edge}))
        .line_interpolation(common.LineInterpolation.LINEAR)
    )
