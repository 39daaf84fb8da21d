"""Pictures of docs/context.md: an afternoon at night, a late start, wear, counts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import poisson

from benchmarks.pictures.drawing import (
    BAND,
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
from detector.artifact.season import Season
from detector.artifact.spec import Artifact
from detector.scoring.context.profile import Profiles, WeekClock
from detector.scoring.verdicts import State
from trainer.config import DataOptions, ModelOptions, ModeOptions, TrainConfig

_HOUR_NS, _DAY_NS = 3_600 * 10**9, 86_400 * 10**9
_OFF, _STARTING, _RUNNING = 0.0, 0.5, 1.0


def season() -> Figure:
    """Draw four days and what is usual at each time of them; on the third an afternoon comes at night."""
    seconds = 600
    day = 86_400 // seconds
    rows, draws = np.arange(32 * day), Draws(2, SERIES)
    hour = rows % day / day * 24
    weekend = np.where(rows // day % 7 >= 5, 0.5, 1.0)
    wave = weekend * (np.sin(2 * np.pi * (hour - 8) / 24) + 0.3 * np.sin(4 * np.pi * (hour - 2) / 24))
    noise = [draws.smooth(name, rows, 6) * 0.6 + draws.white(name, rows) * 0.3 for name in ("heat", "flow")]
    every = np.stack([20 + 5 * wave + 0.4 * noise[0], 60 - 9 * wave + 0.8 * noise[1]], axis=1)
    stream = every[28 * day :].copy()
    begin, end = 2 * day + day // 24, 2 * day + 6 * day // 24
    stream[begin:end] = every[28 * day :][begin + day // 2 : end + day // 2]
    story = Story(("heat", "flow"), seconds, every[: 28 * day], stream)
    artifact = story.trained(_config(seconds))
    told, alone = story.told_by(artifact), story.told_by(artifact, ("level", "drift", "modes"))
    at = (told.timestamp_ns - story.times_ns[0]) / _DAY_NS
    figure, (values, evidence) = panels(
        "An afternoon at night: the right shape at the wrong hour", (1.9, 1.5)
    )
    level, spread = _usual(artifact, told)
    values.fill_between(
        at, level - 3 * spread, level + 3 * spread, color=BAND, linewidth=0, label="usual: 3 spreads"
    )
    values.plot(at, level, color=EXPECTED, linewidth=1, label="season")
    values.plot(at, stream[:, 0], color=VALUE, linewidth=1, label="heat")
    values.set_ylabel("°C")
    evidence.plot(at, told.cumulative, color=MARK, linewidth=1.2, label="all that adds up")
    _evidence(evidence, at, told, alone, "the season alone")
    evidence.set(yscale="log", ylim=(0.05, 10))
    evidence.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    shade((values, evidence), spans_of(told.incidents, int(story.times_ns[0]), _DAY_NS, at[-1]))
    legend(values)
    legend(evidence)
    names = [f"{day}\n00:00" for day in ("Monday", "Tuesday", "Wednesday", "Thursday")]
    evidence.set_xticks(np.arange(8) / 2, [name for day in names for name in (day, "12:00")])
    evidence.set(xlim=(0, at[-1]))
    return figure


def modes() -> Figure:
    """Draw a pump that starts and stops; one start takes four times as long as usual."""
    seconds, num = 60, 5_000
    rows, draws, rng = np.arange(num + 420), Draws(5, SERIES), np.random.default_rng(5)
    level = np.zeros(len(rows))
    at, live = 30, num
    while at < len(rows):
        is_late = at >= live + 200
        ramp, long = (36 if is_late else int(rng.integers(5, 10))), int(rng.integers(50, 110))
        level[at : at + ramp] = np.linspace(0.1, 0.9, ramp)[: max(0, len(rows) - at)]
        level[at + ramp : at + ramp + long] = _RUNNING
        level[at + ramp + long : at + ramp + long + 2] = (0.6, 0.25)[: max(0, len(rows) - at - ramp - long)]
        at += ramp + long + 2 + int(rng.integers(30, 60))
    load = 1 + 0.06 * draws.smooth("load", rows, 20)
    speed = 1_500 * level + 3 * draws.white("speed", rows) * (level > 0)
    flow = 60 * level * load + 0.5 * draws.white("flow", rows)
    every = np.stack([speed, flow], axis=1)
    story = Story(("speed", "flow"), seconds, every[:num], every[num:])
    described = (
        ModeOptions(name="off", when={"speed": (None, 30.0)}),
        ModeOptions(name="running", when={"speed": (1_300.0, None)}),
    )
    artifact = story.trained(_config(seconds).model_copy(update={"modes": described}))
    told = story.told_by(artifact)
    minutes = (told.timestamp_ns - story.times_ns[0]) / 60e9
    title = "A start of 36 minutes where at most 9 are usual is an incident of its own"
    figure, (speeds, states) = panels(title, (1.7, 0.9))
    speeds.plot(minutes, story.stream[:, 0], color=VALUE, linewidth=1.3, label="speed")
    for limit, name in ((30.0, "limits of the modes"), (1_300.0, None)):
        speeds.axhline(limit, color="#555555", linewidth=0.9, linestyle="--", label=name)
    speeds.set_ylabel("1/min")
    shade((speeds, states), spans_of(told.incidents, int(story.times_ns[0]), 60e9, minutes[-1]))
    legend(speeds)
    _strips(states, minutes, told, artifact)
    states.set(xlabel="minutes", xlim=(0, minutes[-1]))
    return figure


def wear() -> Figure:
    """Draw a level that rises by .3 spreads a day, the means of its blocks, and what drift adds up."""
    seconds = 600
    day = 86_400 // seconds
    rows, draws = np.arange(47 * day), Draws(4, SERIES)
    days = rows / day - 21
    daily = 0.5 * np.sin(2 * np.pi * rows / day)
    every = 2.0 + 0.2 * np.stack([draws.white("drive", rows) + daily, draws.white("fan", rows)], axis=1)
    every[:, 0] += 0.2 * 0.3 * np.clip(days - 4, 0, 14) * (days < 18)
    story = Story(
        ("vibration at the drive", "vibration at the fan"), seconds, every[: 21 * day], every[21 * day :]
    )
    artifact = story.trained(_config(seconds))
    told, alone = story.told_by(artifact), story.told_by(artifact, ("level", "season", "modes"))
    at = (told.timestamp_ns - story.times_ns[0]) / _DAY_NS
    figure, (values, evidence) = panels(
        "A vibration grows by 0.06 mm/s a day, from day 4 to the repair on day 18", (1.9, 1.4)
    )
    values.plot(at, story.stream[:, 0], color=VALUE, linewidth=0.4, alpha=0.55, label="vibration")
    block = day // 4
    means = story.stream[:, 0].reshape(-1, block).mean(axis=1)
    values.plot(
        (np.arange(len(means)) + 0.5) / 4,
        means,
        color="#0b1f33",
        linewidth=1.8,
        label="mean of each quarter of a day",
    )
    usual = story.history[:, 0].mean()
    values.axhline(usual, color=EXPECTED, linewidth=1.6, label="level of the history")
    values.set_ylabel("mm/s")
    evidence.plot(at, alone.cumulative, color=EVIDENCE, linewidth=1.4, label="evidence of drift, added up")
    threshold_line(evidence)
    evidence.set(ylabel="1 is the threshold", xlabel="days", xlim=(0, at[-1]), ylim=(0, None))
    drifts = [one for one in told.incidents if one.reason == "drift"]
    shade((values, evidence), spans_of(drifts, int(story.times_ns[0]), _DAY_NS, at[-1]), "incident of drift")
    legend(values)
    legend(evidence)
    return figure


def counts() -> Figure:
    """Draw events a minute whose rate triples for three hours."""
    seconds, num, start, end = 60, 6_000, 540, 720
    rows, draws = np.arange(num + 900), Draws(6, SERIES)
    mean = np.full(len(rows), 0.5)
    mean[num + start : num + end] *= 3
    events = poisson.ppf(draws.uniform("events", rows), mean)
    every = np.stack([events, draws.smooth("load", rows, 4)], axis=1)
    story = Story(("rejects", "load"), seconds, every[:num], every[num:])
    artifact = story.trained(_config(seconds))
    told, alone = story.told_by(artifact), story.told_by(artifact, ("season", "drift", "modes"))
    minutes = (told.timestamp_ns - story.times_ns[0]) / 60e9
    figure, (values, evidence) = panels(
        "Rejects a minute: three times the usual rate for three hours", (1.5, 1.4)
    )
    values.bar(minutes, story.stream[:, 0], width=1.0, color=VALUE, label="rejects")
    values.set_ylabel("a minute")
    _evidence(evidence, minutes, told, alone, "small departures, added up")
    shade((values, evidence), spans_of(told.incidents, int(story.times_ns[0]), 60e9, minutes[-1]))
    for panel in (values, evidence):
        for row in (start, end):
            panel.axvline(
                row,
                color=MARK,
                linewidth=1.3,
                linestyle=":",
                label="rate changes" if (row, panel) == (start, values) else None,
            )
    legend(values)
    legend(evidence)
    evidence.set(xlabel="minutes", xlim=(360, minutes[-1]))
    evidence.set_xticks(np.arange(360, 901, 60))
    return figure


def _config(seconds: int) -> TrainConfig:
    return TrainConfig(
        model=ModelOptions(family="linear", window=16), data=DataOptions(interval_seconds=seconds)
    )


def _usual(artifact: Artifact, told: Told) -> tuple[Values, Values]:
    """Return the level and the spread of the first channel at each row, in its own unit."""
    found = artifact.spec.season
    assert isinstance(found, Season)
    clock = WeekClock(found.calendar, found.slot_seconds)
    level, spread = Profiles(found.profiles, found.slots).at(clock.between(told.timestamp_ns))
    channel = artifact.spec.channels[0]
    own = found.baselines.get(SERIES, found.baseline)[0]
    return channel.center + channel.scale * (level[:, 0] + own), channel.scale * spread[:, 0]


def _evidence(panel: Axes, at: Values, told: Told, alone: Told, name: str) -> None:
    """Draw one kind of evidence and the score of the windows."""
    panel.plot(at, told.score, color=VALUE, linewidth=0.8, alpha=0.8, label="score of the windows")
    panel.plot(at, alone.cumulative, color=EVIDENCE, linewidth=1.5, label=name)
    threshold_line(panel)
    panel.set(ylabel="1 is the threshold", ylim=(0, None))


def _strips(panel: Axes, at: Values, told: Told, artifact: Artifact) -> None:
    """Draw the mode of each row and which rows are judged as strips."""
    known = artifact.spec.modes
    assert known is not None
    colours = {"off": "#b8c4d0", "running": "#5b8db8", "other": MARK}
    judged = ~np.isnan(told.score)
    for name, colour in colours.items():
        mine = told.mode == known.names.index(name)
        panel.fill_between(at, 1.1, 1.9, where=mine, color=colour, step="post", linewidth=0, label=name)
    panel.fill_between(at, 0.1, 0.9, where=judged, color="#7fb77e", step="post", linewidth=0, label="judged")
    moving = told.state == State.TRANSITION
    panel.fill_between(
        at, 0.1, 0.9, where=moving, color="#d9d2c0", step="post", linewidth=0, label="transition"
    )
    panel.set(ylim=(0, 2))
    panel.set_yticks([0.5, 1.5], ["row", "mode"])
    panel.tick_params(axis="y", length=0)
    legend(panel, 5)
