"""Dashboards drawn from the answers to their queries: not as Grafana draws them, but the same figures at the
same places, to be looked at where there is no Grafana."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.dashboards.prometheus_server import Found
from tests.dashboards.reading import Question, panels

mpl.rcParams.update({"font.size": 7, "axes.titlesize": 8, "axes.titleweight": "bold"})
Answer = Callable[[Question], list[Found]]
INCHES_A_COLUMN, INCHES_A_ROW = 0.55, 0.28


def sketch(board: Mapping[str, Any], answer: Callable[[Question, str], list[Found]], path: Path) -> None:
    """The dashboard as a picture; `answer` is asked a question and the channel of a repeated panel."""
    placed = list(_placed(board))
    bottom = max(at["y"] + at["h"] for _, at, _ in placed)
    figure = Figure((24 * INCHES_A_COLUMN, bottom * INCHES_A_ROW), dpi=80)
    figure.suptitle(board["title"], x=0.01, y=1 - 0.1 / bottom, ha="left", va="top", fontsize=9)
    for panel, at, channel in placed:
        left, top = (at["x"] + 1.1) / 24, 1 - (at["y"] + 1.6) / bottom
        axes = figure.add_axes(
            (left, top - (at["h"] - 3) / bottom, (at["w"] - 1.8) / 24, (at["h"] - 3) / bottom)
        )
        axes.set_title(panel["title"].replace("$channel", channel), loc="left")

        def ask(question: Question, channel: str = channel) -> list[Found]:
            return answer(question, channel)

        DRAWN_BY[panel["type"]](axes, panel, ask)
    figure.savefig(path)


def _placed(board: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, int], str]]:
    """Panels with their places; a repeated one for the first two values it is repeated for."""
    found = []
    for panel in panels(board):
        at = panel["gridPos"]
        if panel.get("repeat"):
            found.append((panel, at, "pressure"))
            found.append((panel, {**at, "x": at["x"] + at["w"]}, "vibration"))
        else:
            found.append((panel, at, ".+"))
    return found


def _asked(panel: Mapping[str, Any], ask: Answer) -> list[tuple[str, Found]]:
    """(legend, series) of all targets."""
    found = []
    for target in panel["targets"]:
        question = Question("panel", panel["title"], target["expr"], now=target["instant"])
        legend = target.get("legendFormat", "")
        for one in ask(question):
            name = re.sub(r"\{\{(\w+)\}\}", lambda match, one=one: one.labels.get(match[1], ""), legend)
            found.append((name, one))
    return found


def _lines(axes: Axes, panel: Mapping[str, Any], ask: Answer) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    found = _asked(panel, ask)
    begin = min((one.times[0] for _, one in found), default=0.0)
    stacked = "stacking" in custom and custom.get("drawStyle") != "bars"
    band = {name: one for name, one in found if name in {"lower", "upper"}}
    for name, one in found:
        if name in band:
            continue
        at = np.asarray(one.times) - begin
        if custom.get("drawStyle") == "bars":
            axes.bar(at, one.values, width=4, label=name)
        elif not stacked:
            axes.plot(at, one.values, linewidth=1, label=name)
    if stacked and found:
        times = sorted({at for _, one in found for at in one.times})
        heights = [np.interp(times, one.times, one.values) for _, one in found]
        axes.stackplot(np.asarray(times) - begin, heights, labels=[name for name, _ in found], alpha=0.6)
    if len(band) == 2:
        lower, upper = band["lower"], band["upper"]
        axes.fill_between(np.asarray(lower.times) - begin, lower.values, upper.values, alpha=0.2)
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])[1:]:
        axes.axhline(step["value"], color=step["color"], linestyle="--", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel["fieldConfig"]["defaults"]["unit"]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    if any(name for name, _ in found):  # a daemon with one model has no label `model`
        axes.legend(loc="upper left", fontsize=6, ncols=4, framealpha=0.5)


def _stat(axes: Axes, panel: Mapping[str, Any], ask: Answer) -> None:
    axes.axis("off")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = _asked(panel, ask)
    words = [f"{name} {shown(one.values[-1], unit)}" for name, one in found] or ["none"]
    axes.text(0.0, 1.0, "\n".join(words), fontsize=11 if len(words) == 1 else 8, va="top")


def _table(axes: Axes, panel: Mapping[str, Any], ask: Answer) -> None:
    axes.axis("off")
    options = panel["transformations"][1]["options"]
    order: dict[str, int] = options["indexByName"]
    heads: dict[str, str] = {field: options["renameByName"][field] for field in sorted(order, key=order.get)}
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    labels = [field for field in heads if not field.startswith("Value")]
    for target in panel["targets"]:
        field = f"Value #{target['refId']}"
        units = {"newest row": "dateTimeFromNow"}
        for one in ask(Question("panel", panel["title"], target["expr"], now=True)):
            row = rows.setdefault(tuple(one.labels[label] for label in labels), dict(one.labels))
            row[field] = shown(one.values[0], units.get(heads.get(field, ""), "short"))
    cells = [[row.get(field, "") for field in heads] for row in list(rows.values())[:8]]
    if cells:
        axes.table(cells, colLabels=list(heads.values()), loc="upper left", edges="horizontal")


def _heat(axes: Axes, panel: Mapping[str, Any], ask: Answer) -> None:
    found = _asked(panel, ask)
    if panel["targets"][0]["format"] == "heatmap":
        found = _buckets(found)
    times = sorted({at for _, one in found for at in one.times})
    column = {at: number for number, at in enumerate(times)}
    grid = np.full((len(found), len(times)), np.nan)
    for row, (_, one) in enumerate(found):
        grid[row, [column[at] for at in one.times]] = one.values
    if found:
        axes.imshow(np.sqrt(grid), aspect="auto", cmap="YlOrRd", interpolation="nearest", origin="lower")
        axes.set_yticks(range(len(found)), [name for name, _ in found])
        axes.set_xticks([])


def _buckets(found: list[tuple[str, Found]]) -> list[tuple[str, Found]]:
    """Counts up to each bound as counts between two."""
    ordered = sorted(found, key=lambda named: float(named[1].labels["le"]))
    below = [dict(zip(one.times, one.values, strict=True)) for _, one in ordered]
    return [
        (name, replace(one, values=[max(now - low.get(at, 0.0), 0.0) for at, now in high.items()]))
        for (name, one), low, high in zip(ordered, [{}, *below[:-1]], below, strict=True)
    ]


DRAWN_BY = {"timeseries": _lines, "stat": _stat, "table": _table, "heatmap": _heat}


def shown(value: float, unit: str) -> str:
    """A number with its unit, about as Grafana writes it."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    if unit == "dateTimeFromNow":
        seconds = time.time() - value / 1000
        return f"{seconds / 60:.0f} minutes ago" if seconds >= 0 else f"in {-seconds / 60:.0f} minutes"
    return f"{value:.3g}{ {'s': ' s', 'ops': ' ops/s'}.get(unit, '') }"
