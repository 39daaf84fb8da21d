"""Parts that all dashboards share: variables, links between them, annotations, ids, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generate.queries import DATA_SOURCE, SERIES, Query, of

TAG = "streamgauge"
FLEET, ONE_SERIES, DETECTOR, MODEL = (f"{TAG}-{name}" for name in ("fleet", "series", "detector", "model"))
_KEEP = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
TO_SERIES = f"/d/{ONE_SERIES}?{_KEEP}&var-series="
"""Link to the dashboard of one series; append its name."""


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading. The first section may have no heading."""

    heading: str
    panels: Sequence[Builder[dashboard.Panel]]


def new(uid: str, title: str, description: str) -> builders.Dashboard:
    """Return an empty dashboard with the common variables and links."""
    links = (
        builders.DashboardLink("Streamgauge").icon("dashboard").type(dashboard.DashboardLinkType.DASHBOARDS)
    )
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(links.tags([TAG]).keep_time(True).include_vars(True).as_dropdown(False))
        .with_variable(
            source.current(dashboard.VariableOption(False, "Prometheus", "streamgauge-prometheus"))
        )
        .with_variable(_chosen("job", "label_values(streamgauge_build_info, job)"))
        .with_variable(_chosen("instance", 'label_values(streamgauge_build_info{job=~"$job"}, instance)'))
    )


def one_series() -> builders.QueryVariable:
    """Return the variable `series`, with one value."""
    return _variable("series", f"label_values({of('last_row_timestamp_seconds')}, series)")


def channels() -> builders.QueryVariable:
    """Return the variable `channel`; all values are selected at first."""
    return _chosen("channel", f"label_values({of('actual_value', SERIES)}, channel)")


def loads() -> builders.AnnotationQuery:
    """Return annotations at the times when a process loaded a model."""
    query = Query(f"max by (instance) ({of('model_loaded_timestamp_seconds')}) * 1000")
    marks = _annotation("Model loaded", "blue", query).use_value_for_time(True)
    return marks.title_format("Model loaded").text_format("{{instance}}")


def incidents() -> builders.AnnotationQuery:
    """Return annotations for the duration of each incident of the series."""
    firing = of("incident_firing", SERIES)
    query = Query(f"max by (series, severity, reason, channel) ({firing})")
    marks = _annotation("Incidents", "red", query)
    return marks.title_format("{{severity}}: {{reason}}").text_format("{{series}}, {{channel}}")


def json_of(board: builders.Dashboard, sections: Sequence[Section]) -> str:
    """Return the finished dashboard as JSON for Grafana. The id of a panel is its position."""
    for section in sections:
        if section.heading:
            board.with_row(builders.Row(section.heading))
        for panel in section.panels:
            board.with_panel(panel)
    built = board.build()
    for place, panel_or_row in enumerate(built.panels or [], 1):
        panel_or_row.id_val = place
    plain = json.loads(json.dumps(built, cls=JSONEncoder))
    # By default the SDK puts links and annotation switches into a menu, where users do not find them.
    for item in (*plain["links"], *plain["annotations"]["list"]):
        del item["placement"]
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(name)
        .datasource(DATA_SOURCE)
        .query({"query": query, "refId": "StandardVariableQuery"})
        .definition(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.NATURAL_ASC)
    )


def _chosen(name: str, query: str) -> builders.QueryVariable:
    everything = dashboard.VariableOption(True, "All", "$__all")
    return _variable(name, query).multi(True).include_all(True).all_value(".+").current(everything)


def _annotation(name: str, color: str, query: Query) -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name(name)
        .enable(True)
        .icon_color(color)
        .datasource(DATA_SOURCE)
        .expr(query.expr)
        .target(query.target("Anno", PromQueryFormat.TIME_SERIES))
    )
