"""The answers of the explorer's API that a report holds: as many as fit into its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.explore.queries.series import MOST_CHANNELS
from detector.explore.web.endpoints import ENDPOINTS
from detector.explore.web.opened import Opened
from detector.reports.page import packed

_SERIES_BYTES, _INCIDENT_BYTES = 600_000, 500_000
"""How much of a report the rows of whole series and of incidents take, compressed."""
_MOST_LANES, _CELLS, _MOST_LISTED = 200, 84, 500
_MOST_POINTS, _FEW_SERIES, _POINTS, _INCIDENT_POINTS = 2000, 4, 600, 300
_STEPS = 4
"""Digits that a line of a chart keeps, beyond those that it needs to show its own range."""

Answer = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Held:
    """Hold answers by their path below `/api/v1`, and what was left out of them.

    answers    `source`, `fleet`, `incidents`; `series` and `incident` by name and id
    series     names of the series whose rows are held, in the order of trouble
    incidents  ids of the incidents whose rows are held, the worst first
    left_out   what is missing, in words; empty if nothing is
    """

    answers: dict[str, Any]
    series: list[str]
    incidents: list[str]
    left_out: list[str]


def held_of(opened: Opened) -> Held:
    """Return the answers for a report of a store."""
    ask = _asker(opened)
    source = ask("/source")
    fleet = ask("/fleet", size=_MOST_LANES, cells=_CELLS)
    listed = ask("/incidents", size=_MOST_LISTED)
    names = [one["series"] for one in fleet["series"]]
    points = _MOST_POINTS if len(names) <= _FEW_SERIES else _POINTS
    series = _that_fit(names, lambda name: _view(ask("/series", name=name, points=points)), _SERIES_BYTES)
    worst = sorted(listed["incidents"], key=_badness)
    incidents = _that_fit(
        [one["id"] for one in worst],
        lambda name: _incident(ask("/incidents/{id}", id=name, points=_INCIDENT_POINTS)),
        _INCIDENT_BYTES,
    )
    fleet["series"] = [one | {"lane": _lane(one["lane"])} for one in fleet["series"]]
    answers = {"source": source, "fleet": fleet, "incidents": listed, "series": series, "incident": incidents}
    left_out = _left_out(fleet, listed, series, incidents, len(source["channels"]))
    return Held(answers, list(series), list(incidents), left_out)


def _asker(opened: Opened) -> Answer:
    """Return a function that answers a path as the API does, with its defaults."""
    endpoints = {one.path: one for one in ENDPOINTS}

    def ask(path: str, **given: Any) -> dict[str, Any]:
        endpoint = endpoints[path]
        return endpoint.answer(opened, {one.name: one.default for one in endpoint.parameters} | given)

    return ask


def _badness(one: dict[str, Any]) -> tuple[bool, float, float]:
    """Return what sorts incidents: critical ones first, then the highest peaks, then the newest."""
    return one["severity"] != "critical", -(one["peak_score"] or 0.0), -one["start"]


def _that_fit(names: Iterable[str], answer: Callable[[str], dict[str, Any]], most: int) -> dict[str, Any]:
    """Return the first answers that fit into `most` compressed bytes; the first one always does."""
    found: dict[str, Any] = {}
    used = 0
    for name in names:
        one = answer(name)
        used += len(packed(one))
        if found and used > most:
            break
        found[name] = one
    return found


def _incident(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"window": _view(answer["window"])}


def _view(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a view with fewer digits; its list of channels has those that are held."""
    names = {"score_min", "score_max", "strength_min", "strength_max", "page_level_max", "cumulative_max"}
    shorter = {name: of_digits(answer[name]) for name in names}
    channels = [
        {key: of_range(value) if isinstance(value, np.ndarray) else value for key, value in one.items()}
        for one in answer["channels"]
    ]
    held = [one["name"] for one in channels]
    return answer | shorter | {"channels": channels, "all_channels": held, "time": answer["time"].tolist()}


def _lane(lane: dict[str, list[Any]]) -> dict[str, Any]:
    return lane | {"strength": of_digits(np.array(lane["strength"], dtype=np.float64))}


def of_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers with four digits each.

    >>> of_digits(np.array([0.123456, 98765.4, np.nan])).tolist()
    [0.1235, 98770.0, nan]
    """
    with np.errstate(all="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    return _rounded(values, np.where(np.isfinite(size), _STEPS - 1 - size, 0))


def of_range(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers without the digits that nobody sees in a chart of their range.

    >>> of_range(np.array([1000.123456, 1010.7])).tolist()
    [1000.123, 1010.7]
    """
    known = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        spread = float(np.ptp(known)) or float(np.abs(known).max()) if len(known) else 0.0
    if not 1e-190 < spread < 1e190:
        return values
    return _rounded(values, np.full(len(values), _STEPS - np.floor(np.log10(spread))))


def _rounded(values: NDArray[np.float64], decimals: NDArray[np.float64]) -> NDArray[np.float64]:
    up, down = 10.0 ** np.clip(decimals, 0, 200), 10.0 ** np.clip(-decimals, 0, 200)
    with np.errstate(all="ignore"):
        found: NDArray[np.float64] = np.round(values * up / down) / up * down
    return np.where(np.isfinite(found), found, values)


def _left_out(
    fleet: dict[str, Any],
    listed: dict[str, Any],
    series: dict[str, Any],
    incidents: dict[str, Any],
    num_channels: int,
) -> list[str]:
    """Return what the report does not have, in words."""
    found = []
    total, shown = fleet["total"], len(fleet["series"])
    if shown < total:
        found.append(f"{shown:,} of {total:,} series are listed, those with most trouble first.")
    if len(series) < shown:
        found.append(f"The rows of {len(series):,} series are in this file, those with most trouble first.")
    if any(one["bucket"] for one in series.values()):
        found.append("Long series are shown in steps, with the least and the greatest value of each.")
    if num_channels > MOST_CHANNELS:
        found.append(f"Each series has the {MOST_CHANNELS} channels that stand out most.")
    if len(incidents) < listed["total"]:
        found.append(f"The rows around {len(incidents):,} of {listed['total']:,} incidents are in this file.")
    if found:
        found.append("The command streamgauge explore shows everything.")
    return found
