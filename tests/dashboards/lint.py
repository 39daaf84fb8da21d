"""The rules of grafana/dashboard-linter for Prometheus, and a few of our own.

The linter itself cannot be had from the Go module proxy; these follow its documentation of the rules.
A rule takes a dashboard and names its violations, each with what the exclusions of `.lint` call it by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from grafana_foundation_sdk.models import units

from tests.dashboards.reading import GRAFANA, SELECTOR, panels, variables

Board = Mapping[str, Any]
Rule = Callable[[Board], Iterator[tuple[str, str]]]
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _targets(board: Board) -> Iterator[tuple[str, str]]:
    for panel in panels(board):
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])


def data_source_is_a_variable(board: Board) -> Iterator[tuple[str, str]]:
    """template-datasource-rule."""
    found = [(variable["name"], variable["label"]) for variable in variables(board, "datasource")]
    if found != [("datasource", "Data source")]:
        yield "", f"data source variables {found}"


def _has_variable(name: str) -> Rule:
    def rule(board: Board) -> Iterator[tuple[str, str]]:
        found = [variable for variable in variables(board) if variable["name"] == name]
        for variable in found or [{}]:
            wanted = {"label": name, "multi": True, "allValue": ".+", "datasource": DATA_SOURCE}
            if any(variable.get(key) != value for key, value in wanted.items()):
                yield "", f"variable {name} is {variable}"

    return rule


def variables_follow_the_time(board: Board) -> Iterator[tuple[str, str]]:
    """template-on-time-change-reload-rule."""
    for variable in variables(board):
        if variable["refresh"] != 2:
            yield "", f"variable {variable['name']} is read when the dashboard is loaded, and not again"


def is_not_edited_in_grafana(board: Board) -> Iterator[tuple[str, str]]:
    """template-uneditable-rule."""
    if board["editable"] is not False:
        yield "", "is editable"


def panels_have_the_data_source(board: Board) -> Iterator[tuple[str, str]]:
    """panel-datasource-rule, for targets and annotations as well."""
    for panel in panels(board):
        if any(part["datasource"] != DATA_SOURCE for part in (panel, *panel["targets"])):
            yield panel["title"], "asks another data source"
    for annotation in board["annotations"]["list"]:
        if annotation["datasource"] != DATA_SOURCE or annotation["target"]["datasource"] != DATA_SOURCE:
            yield annotation["name"], "asks another data source"


def panels_have_title_and_description(board: Board) -> Iterator[tuple[str, str]]:
    """panel-title-description-rule."""
    for panel in panels(board):
        if not panel.get("title") or not panel.get("description"):
            yield panel.get("title", ""), "has no title or no description"


def panels_have_units(board: Board) -> Iterator[tuple[str, str]]:
    """panel-units-rule."""
    for panel in panels(board):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        if panel["type"] == "heatmap":
            unit = panel["options"]["cellValues"].get("unit")
        if unit not in UNITS:
            yield panel["title"], f"has the unit {unit}"


def panels_ask_something(board: Board) -> Iterator[tuple[str, str]]:
    """panel-no-targets-rule."""
    for panel in panels(board):
        if not all(target["expr"].strip() for target in panel["targets"]) or not panel["targets"]:
            yield panel["title"], "asks nothing"


def _is_matched(label: str) -> Rule:
    def rule(board: Board) -> Iterator[tuple[str, str]]:
        for title, expr in _targets(board):
            for match in SELECTOR.finditer(expr):
                if f'{label}=~"${label}"' not in (match[2] or "").split(", "):
                    yield title, f"{match[1]} is not held to {label}"

    return rule


def rates_suit_the_scrapes(board: Board) -> Iterator[tuple[str, str]]:
    """target-rate-interval-rule."""
    for title, expr in _targets(board):
        for span in re.findall(r"\b(?:i?rate|increase)\([^\[]*\[([^\]]*)\]", expr):
            if span != "$__rate_interval":
                yield title, f"has a rate over {span}"


def counters_are_rates(board: Board) -> Iterator[tuple[str, str]]:
    """target-counter-agg-rule."""
    for title, expr in _targets(board):
        for match in SELECTOR.finditer(expr):
            before = expr[: match.start()]
            if match[1].endswith("_total") and not re.search(r"\b(i?rate|increase)\($", before):
                yield title, f"shows the counter {match[1]} as it is"


def panels_lie_side_by_side(board: Board) -> Iterator[tuple[str, str]]:
    """Ids are unique, and no two panels share a place."""
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in board["panels"]]
    if len(set(ids)) < len(ids):
        yield "", f"ids {ids}"
    for panel in board["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if x >= 24 or taken.setdefault((x, y), panel["title"]) != panel["title"]:
                    yield panel["title"], f"lies over {taken.get((x, y), 'the edge')}"
                    return


RULES: dict[str, Rule] = {
    "template-datasource-rule": data_source_is_a_variable,
    "template-job-rule": _has_variable("job"),
    "template-instance-rule": _has_variable("instance"),
    "template-on-time-change-reload-rule": variables_follow_the_time,
    "template-uneditable-rule": is_not_edited_in_grafana,
    "panel-datasource-rule": panels_have_the_data_source,
    "panel-title-description-rule": panels_have_title_and_description,
    "panel-units-rule": panels_have_units,
    "panel-no-targets-rule": panels_ask_something,
    "target-job-rule": _is_matched("job"),
    "target-instance-rule": _is_matched("instance"),
    "target-rate-interval-rule": rates_suit_the_scrapes,
    "target-counter-agg-rule": counters_are_rates,
    "panels-lie-side-by-side": panels_lie_side_by_side,
}


def excluded(rule: str) -> set[tuple[str, str]]:
    """(dashboard, panel) that `.lint` excludes from a rule."""
    found = yaml.safe_load((GRAFANA / "dashboards/.lint").read_text(encoding="utf-8"))["exclusions"]
    return {(entry["dashboard"], entry["panel"]) for entry in found.get(rule, {}).get("entries", ())}


def violations(board: Board, rule: str) -> list[str]:
    """What a rule finds, exclusions left out."""
    allowed = excluded(rule)
    found = RULES[rule](board)
    return [f"{title}: {what}" for title, what in found if (board["title"], title) not in allowed]
