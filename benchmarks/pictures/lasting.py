"""Pictures of docs/alarms.md and docs/method.md: a fault that lasts, an acceptance, two kinds of evidence."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pictures.drawing import (
    BAD,
    EVIDENCE,
    EXPECTED,
    MARK,
    VALUE,
    legend,
    panels,
    shade,
    spans_of,
    threshold_line,
)
from benchmarks.pictures.replays import SERIES, Story, Told, Values
from benchmarks.plants.draws import Draws
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import rows_per_event
from detector.incidents.decision import Decision
from trainer.config import DataOptions, ModelOptions, TrainConfig

_HOUR_NS = 3_600 * 10**9
_SECONDS = 120
_HOUR = 3_600 // _SECONDS
_HISTORY, _STREAM = 14 * 24 * _HOUR, 120 * _HOUR
_START, _END = 24 * _HOUR, 108 * _HOUR
_ACCEPTED = 40 * _HOUR
_DROP = 0.3
_LASTING_SEED, _ACCEPTED_SEED = 6, 1
_METHOD_HOURS, _LARGE, _SMALL = 48, (10, 11), (24, 36)
_LARGE_RISE, _SMALL_DROP = 0.8, 0.12


def _rows(seed: int, first: int, num: int) -> Values:
    """Return rows of a pump: its load, and the pressure, flow and power that follow from it."""
    rows, draws = first + np.arange(num), Draws(seed, SERIES)
    load = draws.smooth("load", rows, 40)
    white = [draws.white(name, rows) for name in ("pressure", "flow", "power")]
    return np.stack(
        [
            5.0 + 0.25 * load + 0.05 * white[0],
            120.0 + 8.0 * load + 1.6 * white[1],
            40.0 + 3.0 * load + 0.6 * white[2],
        ],
        axis=1,
    )


@cache
def _story(seed: int) -> tuple[Story, Artifact]:
    stream = _rows(seed, _HISTORY, _STREAM)
    stream[_START:_END, 0] -= _DROP
    story = Story(("pressure", "flow", "power"), _SECONDS, _rows(seed, 0, _HISTORY), stream)
    config = TrainConfig(
        model=ModelOptions(family="linear", window=16), data=DataOptions(interval_seconds=_SECONDS)
    )
    return story, story.trained(config)


def _hours(story: Story, told: Told) -> Values:
    return np.asarray((told.timestamp_ns - story.times_ns[0]) / _HOUR_NS)


def lasting_fault() -> Figure:
    """Draw a fault of three and a half days: one incident, a page level that stands still, one alarm."""
    story, artifact = _story(_LASTING_SEED)
    told = story.told_by(artifact)
    hours = _hours(story, told)
    spans = spans_of(told.incidents, int(story.times_ns[0]), _HOUR_NS, hours[-1])
    title = "A pressure 0.3 bar too low for 84 hours: one incident, from its start to the repair"
    figure, (values, evidence, budget) = panels(title, (1.6, 1.5, 1.0))
    _pressure(values, story, told, hours)
    shade((values, evidence, budget), spans)
    legend(values)
    evidence.plot(hours, told.cumulative, color=EVIDENCE, linewidth=1, label="cumulative evidence")
    evidence.plot(hours, told.score, color=VALUE, linewidth=0.6, alpha=0.75, label="score")
    evidence.plot(hours, told.threshold, color=BAD, linewidth=1.4, label="page level of the score")
    for event in told.events:
        if event.kind == "lasting":
            at = (event.at_ns - story.times_ns[0]) / _HOUR_NS
            evidence.axvline(at, color=MARK, linewidth=1.4, linestyle=":", label="offered as lasting")
    evidence.set(yscale="log", ylabel="1 is the threshold", ylim=(0.03, None))
    evidence.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    legend(evidence)
    allowed = (np.arange(len(hours)) + 1) / rows_per_event(
        artifact.spec.threshold.alarm_budget, _SECONDS * 10**9
    )
    opened = np.sort([begin for begin, _ in spans])
    budget.plot(
        hours, np.searchsorted(opened, hours, "right"), color=BAD, drawstyle="steps-post", label="alarms"
    )
    budget.plot(hours, allowed, color=EXPECTED, label="allowed by 1 a week")
    budget.set(ylabel="number", xlabel="hours", xlim=(0, hours[-1]), ylim=(0, None))
    budget.set_xticks(np.arange(0, hours[-1] + 1, 12))
    legend(budget)
    return figure


def acceptance() -> Figure:
    """Draw an accepted level: the incident ends, and then the old level is what is unusual."""
    story, artifact = _story(_ACCEPTED_SEED)
    before = story.told_by(artifact).incidents
    found = next(one for one in before if one.opened_ns >= story.times_ns[_START])
    at_ns = int(story.times_ns[_ACCEPTED])
    accept = Decision("1", "accept", SERIES, at_ns, found.id, who="an operator", why="a new valve")
    told = story.told_by(artifact, decisions=[accept])
    hours = _hours(story, told)
    spans = spans_of(told.incidents, int(story.times_ns[0]), _HOUR_NS, hours[-1])
    title = "The same, accepted as normal after 16 hours: then the old level is unusual"
    figure, (values, evidence) = panels(title, (1.7, 1.5))
    _pressure(values, story, told, hours)
    shade((values, evidence), spans)
    for panel in (values, evidence):
        panel.axvline(
            _ACCEPTED / _HOUR, color=MARK, linewidth=1.6, label="accepted" if panel is values else None
        )
    legend(values)
    evidence.plot(hours, told.cumulative, color=EVIDENCE, linewidth=1, label="cumulative evidence")
    evidence.plot(hours, told.score, color=VALUE, linewidth=0.6, alpha=0.75, label="score")
    evidence.axhline(1.0, color="#555555", linewidth=1, linestyle="--", label="threshold")
    evidence.set(
        yscale="log", ylabel="1 is the threshold", ylim=(0.03, None), xlabel="hours", xlim=(0, hours[-1])
    )
    evidence.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    evidence.set_xticks(np.arange(0, hours[-1] + 1, 12))
    legend(evidence)
    return figure


def method() -> Figure:
    """Draw a large fault that the score finds at once, and a small one that adds up."""
    lasting, artifact = _story(_LASTING_SEED)
    stream = _rows(_LASTING_SEED, _HISTORY, _METHOD_HOURS * _HOUR)
    stream[_LARGE[0] * _HOUR : _LARGE[1] * _HOUR, 0] += _LARGE_RISE
    stream[_SMALL[0] * _HOUR : _SMALL[1] * _HOUR, 0] -= _SMALL_DROP
    story = Story(lasting.channels, lasting.seconds, lasting.history, stream)
    told = story.told_by(artifact)
    hours = _hours(story, told)
    spans = spans_of(told.incidents, int(story.times_ns[0]), _HOUR_NS, hours[-1])
    figure, (values, evidence) = panels("A large fault of an hour, and a small one of half a day", (1.6, 1.7))
    _pressure(values, story, told, hours)
    shade((values, evidence), spans)
    legend(values)
    evidence.plot(hours, told.cumulative, color=EVIDENCE, linewidth=1, label="cumulative evidence")
    evidence.plot(hours, told.score, color=VALUE, linewidth=0.8, label="score")
    threshold_line(evidence)
    evidence.set(yscale="log", ylabel="1 is the threshold", ylim=(0.03, None), xlabel="hours")
    evidence.set(xlim=(0, hours[-1]))
    evidence.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    legend(evidence)
    return figure


def _pressure(panel: Axes, story: Story, told: Told, hours: Values) -> None:
    """Draw the pressure, and what was expected of it while an incident was open."""
    panel.plot(hours, story.stream[:, 0], color=VALUE, linewidth=0.6, label="pressure")
    panel.plot(hours, told.expected[:, 0], color=EXPECTED, linewidth=0.6, alpha=0.8, label="expected")
    panel.set_ylabel("bar")
