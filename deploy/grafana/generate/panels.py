"""The kinds of panels of the dashboards, each with a title, a description and a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common as common_options
from grafana_foundation_sdk.builders import dashboard as dashboard_options
from grafana_foundation_sdk.builders import heatmap as heatmap_panel
from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders import table as table_panel
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common, dashboard, heatmap
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generate.queries import DATA_SOURCE, Query

HeatMap = heatmap_panel.Panel
Steps = Mapping[float, str]
"""Value -> colour from this value on."""
GOOD, WARN, BAD = "green", "orange", "red"
NEUTRAL: Steps = {}
FROM_ONE: Steps = {1.0: BAD}


@dataclass(frozen=True, slots=True)
class Face:
    """Title, description, unit of the values, and size of a panel on a grid of 24 columns."""

    title: str
    description: str
    unit: str = "short"
    width: int = 12
    height: int = 8


def lines(face: Face, *queries: Query) -> timeseries.Panel:
    """Return a graph of values over time."""
    panel = (
        timeseries.Panel()
        .title(face.title)
        .description(face.description)
        .unit(face.unit)
        .datasource(DATA_SOURCE)
        .span(face.width)
        .height(face.height)
        .line_width(1)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    for ref_id, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel.with_target(query.target(ref_id, PromQueryFormat.TIME_SERIES))
    return panel


def stacked(face: Face, *queries: Query) -> timeseries.Panel:
    """Return a stacked graph: parts of a whole over time."""
    whole = common_options.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
    return lines(face, *queries).fill_opacity(40).stacking(whole).min(0)


def bars(face: Face, *queries: Query) -> timeseries.Panel:
    """Return stacked bars: counts per interval."""
    return stacked(face, *queries).draw_style(common.GraphDrawStyle.BARS).fill_opacity(80)


def with_limits(panel: timeseries.Panel, steps: Steps) -> timeseries.Panel:
    """Add dashed lines at these values."""
    style = common_options.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(_thresholds(steps)).thresholds_style(style)


def stat(face: Face, steps: Steps, *queries: Query) -> stat_panel.Panel:
    """Return a panel with the newest value in large figures, coloured by `steps`."""
    panel = (
        stat_panel.Panel()
        .title(face.title)
        .description(face.description)
        .unit(face.unit)
        .datasource(DATA_SOURCE)
        .span(face.width)
        .height(face.height)
        .thresholds(_thresholds(steps))
        .color_scheme(_coloured_by_thresholds())
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .justify_mode(common.BigValueJustifyMode.AUTO)
        .text_mode(common.BigValueTextMode.AUTO)
        .orientation(common.VizOrientation.AUTO)
        .wide_layout(True)
        .reduce_options(common_options.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .no_value("none")
    )
    for ref_id, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel.with_target(query.target(ref_id, PromQueryFormat.TIME_SERIES))
    return panel


def table(face: Face, names: Mapping[str, str], *queries: Query) -> table_panel.Panel:
    """Return a table of query results at the end of the time range: one row per set of labels.

    `names` maps a field ("series", or "Value #A") to the head of its column; other fields are hidden.
    """
    panel = (
        table_panel.Panel()
        .title(face.title)
        .description(face.description)
        .unit(face.unit)
        .datasource(DATA_SOURCE)
        .span(face.width)
        .height(face.height)
        .show_header(True)
        .cell_height(common.TableCellHeight.SM)
        .no_value("none")
        .with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(_columns(names))
    )
    for ref_id, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel.with_target(query.target(ref_id, PromQueryFormat.TABLE))
    return panel


def heat_map(face: Face, form: PromQueryFormat, query: Query) -> HeatMap:
    """Return a heat map. A row is a result of the query, or a bucket of a histogram."""
    colors = (
        heatmap_panel.HeatmapColorOptions()
        .mode(heatmap.HeatmapColorMode.SCHEME)
        .scheme("YlOrRd")
        .fill("dark-orange")
        .scale(heatmap.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
        .reverse(False)
    )
    return (
        heatmap_panel.Panel()
        .title(face.title)
        .description(face.description)
        .datasource(DATA_SOURCE)
        .span(face.width)
        .height(face.height)
        .calculate(False)
        .color(colors)
        .cell_gap(1)
        .cell_values(heatmap_panel.CellValues().unit(face.unit).decimals(2))
        .rows_frame(heatmap_panel.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .y_axis(heatmap_panel.YAxisConfig().axis_placement(common.AxisPlacement.LEFT).reverse(False))
        .tooltip(heatmap_panel.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(False))
        .show_legend()
        .with_target(query.target("A", form))
    )


def sorted_by(column_head: str) -> common_options.TableSortByFieldState:
    """Sort by this column, the highest value first."""
    return common_options.TableSortByFieldState().display_name(column_head).desc(True)


def column(properties: Mapping[str, object]) -> list[dashboard.DynamicConfigValue]:
    """Return properties of one column or line, for an override."""
    return [dashboard.DynamicConfigValue(name, value) for name, value in properties.items()]


def coloured(steps: Steps) -> dict[str, object]:
    """Return properties of a column that colour the background of each cell by its value."""
    return {
        "thresholds": _thresholds(steps).build().to_json(),
        "color": {"mode": "thresholds"},
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
    }


def _columns(names: Mapping[str, str]) -> dashboard.DataTransformerConfig:
    order: dict[str, Any] = {field: position for position, field in enumerate(names)}
    hidden = {field: True for field in ("Time", "Value") if field not in names}
    options = {"excludeByName": hidden, "indexByName": order, "renameByName": dict(names)}
    return dashboard.DataTransformerConfig("organize", options=options)


def _thresholds(steps: Steps) -> dashboard_options.ThresholdsConfig:
    first = dashboard.Threshold(None, GOOD)
    more = [dashboard.Threshold(value, color) for value, color in steps.items()]
    config = dashboard_options.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE)
    return config.steps([first, *more])


def _coloured_by_thresholds() -> dashboard_options.FieldColor:
    return dashboard_options.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def _legend() -> common_options.VizLegendOptions:
    return (
        common_options.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _tooltip() -> common_options.VizTooltipOptions:
    return (
        common_options.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
