"""Explain one incident from its rows: the shape, what was expected, and which other channels go along.

Letters: n rows, C channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.incidents.shapes.explanation import Explanation, Shape
from detector.incidents.shapes.features import Figures, figures_of
from detector.incidents.shapes.knowledge import Knowledge
from detector.incidents.shapes.recent_rows import Stretch
from detector.incidents.shapes.shape import shape_of, shape_of_means
from detector.incidents.shapes.wrong_hour import hours_late

if TYPE_CHECKING:
    from detector.incidents.incident import ChannelEvidence, Incident

Values = NDArray[np.float64]
_BY_REASON: dict[str, Shape] = {"flatline": "stuck", "mode": "late start", "missing": "missing"}
_ADDED_UP = ("cumulative", "season", "drift")
_MEAN_ROWS = 8
_MOST_NAMED = 2
_LEAST_SHARE = 0.25


def explanation_of(incident: Incident, rows: Stretch, knowledge: Knowledge) -> Explanation:
    """Return the explanation of an incident of bad rows.

    Args:
        incident: as it is at the last of the rows.
        rows: the rows that are kept of it, and some before it.
        knowledge: what is usual.
    """
    given = _BY_REASON.get(incident.reason)
    if not incident.channels or incident.channels[0].name not in knowledge.channels:
        return Explanation(given or "unclear", 1.0 if given else 0.0)
    top = incident.channels[0]
    channel = knowledge.channels.index(top.name)
    lower, upper = _range(incident.series, top, channel, knowledge)
    also, usual = _others(incident, rows, channel, knowledge)
    found = Explanation("unclear", 0.0, top.name, 0, lower, upper, also, usual)
    seen = _figures(incident, rows, channel, knowledge)
    rose = 0 if seen is None else seen.rose
    if given is not None:
        return replace(found, shape=given, sure=1.0)
    job = _absent_job(incident, channel, knowledge)
    if job:
        return replace(found, shape="absent job", sure=1.0, job=job)
    late = hours_late(incident, rows, channel, knowledge)
    if late is not None:
        return replace(found, shape="wrong hour", sure=late[1], hours=late[0])
    if incident.reason == "drift":
        return replace(found, shape="drift", sure=1.0, rose=rose)
    if seen is None:
        return found
    shape, sure = _named(incident, seen)
    return replace(found, shape=shape, sure=round(sure, 3), rose=rose)


def _absent_job(incident: Incident, channel: int, knowledge: Knowledge) -> str:
    """Return when a job should have come, of an incident that begins with its absence; else empty.

    One channel has all the blame, and no other evidence speaks before.
    """
    alone = len(incident.channels) == 1 and incident.channels[0].contribution > 0.999
    if incident.reason != "season" or not alone:
        return ""
    return knowledge.absent_job(incident.series, incident.start_ns, channel)


def _named(incident: Incident, seen: Figures) -> tuple[Shape, float]:
    if incident.reason not in _ADDED_UP:
        return shape_of(seen)
    return shape_of(seen) if seen.equal > seen.rows else shape_of_means(seen)


def _figures(incident: Incident, rows: Stretch, channel: int, knowledge: Knowledge) -> Figures | None:
    """Return the figures of the channel that is to blame; None where its values are unknown."""
    cells = rows.cells[:, :, channel].astype(np.float64)
    known = np.flatnonzero(np.isfinite(cells).all(axis=1))
    if len(known) < _MOST_NAMED:
        return None
    when, actual, departure = rows.when[known], cells[known, 0], cells[known, 0] - cells[known, 1]
    band = float(knowledge.band_of(incident.series)[channel]) or float(np.abs(departure).max()) or 1.0
    if incident.reason in _ADDED_UP:
        band /= np.sqrt(_MEAN_ROWS)
        departure = _running_means(departure)
    start = min(int(np.searchsorted(when, incident.start_ns)), len(when) - 1)
    others = np.delete(rows.cells[known, 0].astype(np.float64), channel, axis=1)
    return figures_of(_numbers(when), actual, departure / band, start, others)


def _running_means(values: Values) -> Values:
    """Return the mean of each value and the seven before it, as far as there are any."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - _MEAN_ROWS, 0)
    means: Values = (total[end] - total[start]) / (end - start)
    return means


def _numbers(when: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of rows at these times; the shortest distance is one row."""
    numbers: NDArray[np.int64] = (when - when[0]) // max(int(np.diff(when).min()), 1)
    return numbers


def _range(
    series: str, top: ChannelEvidence, channel: int, knowledge: Knowledge
) -> tuple[float | None, float | None]:
    """Return what was expected of the channel, within what the history showed; None where it has no band."""
    if not (np.isfinite(top.lower) and np.isfinite(top.upper)):
        return None, None
    lowest, highest = (float(one[channel]) for one in knowledge.range_of(series))
    lower, upper = min(max(top.lower, lowest), top.expected), max(min(top.upper, highest), top.expected)
    return float(lower), float(upper)


def _others(
    incident: Incident, rows: Stretch, channel: int, knowledge: Knowledge
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the channels that depart too, and related ones that are as expected; at most two each.

    A channel is as expected if its values since the start lie within their bands; one in ten may lie outside.
    """
    inside = rows.take(np.flatnonzero(rows.when >= incident.start_ns))
    departure = np.abs(inside.cells[:, 0] - inside.cells[:, 1])
    bands = np.maximum(knowledge.band_of(incident.series), 1e-300)
    known = np.isfinite(departure).any(axis=0)
    with np.errstate(invalid="ignore"):
        outside = np.mean(np.where(np.isnan(departure), 0.0, departure) > bands, axis=0)
    greatest = incident.channels[0].contribution
    also = [one.name for one in incident.channels[1:] if one.contribution >= _LEAST_SHARE * greatest]
    also = [name for name in also if outside[knowledge.channels.index(name)] > 0.1]
    blamed = {one.name for one in incident.channels if one.contribution >= _LEAST_SHARE * greatest}
    usual = [
        knowledge.channels[at]
        for at in knowledge.relatives(channel)
        if known[at] and outside[at] <= 0.1 and knowledge.channels[at] not in blamed
    ]
    return tuple(also[:_MOST_NAMED]), tuple(usual[:_MOST_NAMED])
