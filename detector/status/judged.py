"""What a daemon judges and what it does not, for `/api/status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from detector.engine.engine import Latest
from detector.metrics.engine_view import EngineView
from detector.offline.measuring.coverage import Coverage
from detector.scoring.verdicts import State

_MOST = 12
_DROPPED = ("late_readings", "suspect_clock_dropped_readings")
_WHY = {
    State.WARMING: "its window is not full yet",
    State.GAP: "its newest rows have no value",
    State.MISSING: "too many of its channels send nothing",
    State.STALE: "it sends nothing",
    State.TRANSITION: "it is between two modes of operation",
    State.IDLE: "nothing is judged in its mode of operation",
    State.LATE: "it sends only late readings: its clock is behind",
}
_WHY_FOR_LONG = {
    State.WARMING: "its window never fills: its rows come too rarely, with long gaps or with too few values"
}


def coverage_of(snapshot: EngineView) -> Coverage:
    """Return how much a daemon judged.

    Rows count from the start of the process. Series count by their newest row. At most a dozen are named.
    """
    latest = snapshot.latest
    num_series = np.bincount(latest.state[~latest.is_judged], minlength=len(State)).tolist()
    return Coverage(
        rows=int(snapshot.totals["judged_rows"]) + sum(snapshot.unjudged),
        judged_rows=int(snapshot.totals["judged_rows"]),
        series=len(latest.names),
        judged_series=int(np.count_nonzero(~latest.unjudged.never)),
        unjudged={
            state.label: (snapshot.unjudged[state], num_series[state])
            for state in State
            if snapshot.unjudged[state] or num_series[state]
        },
        masked=(int(snapshot.totals["masked_rows"]), int(np.count_nonzero(latest.unjudged.masked))),
        dropped_readings=sum(int(snapshot.totals[name]) for name in _DROPPED),
        never_judged={
            latest.names[at]: State(int(latest.state[at])).label
            for at in np.flatnonzero(latest.unjudged.never)[:_MOST].tolist()
        },
    )


def judged_json(snapshot: EngineView) -> dict[str, Any]:
    """Return what is judged as plain values; at most a dozen series are named, the longest unjudged first."""
    latest = snapshot.latest
    coverage = coverage_of(snapshot)
    is_long, never = latest.unjudged.is_long, latest.unjudged.never
    return coverage.as_json() | {
        "summary": coverage.summary,
        "series_judged_now": int(np.count_nonzero(latest.is_judged)),
        "series_never_judged": int(np.count_nonzero(is_long & never)),
        "series_no_longer_judged": int(np.count_nonzero(is_long & ~never)),
        "unjudged": _unjudged(latest),
    }


def _unjudged(latest: Latest) -> list[dict[str, Any]]:
    """Return the series that are not judged now: first those for long, then by their number of rows."""
    unjudged = latest.unjudged
    which = np.flatnonzero(~latest.is_judged | unjudged.is_long)
    order = np.lexsort((-unjudged.num[which], ~unjudged.is_long[which]))
    seconds = np.maximum(0, latest.timestamp_ns - unjudged.since_ns) / 1e9
    return [
        {
            "series": latest.names[at],
            "state": State(int(latest.state[at])).label,
            "why": _why(State(int(latest.state[at])), bool(unjudged.is_long[at])),
            "rows": int(unjudged.num[at]),
            "seconds": float(seconds[at]) if unjudged.num[at] else None,
            "is_long": bool(unjudged.is_long[at]),
            "never_judged": bool(unjudged.never[at]),
        }
        for at in which[order][:_MOST].tolist()
    ]


def _why(state: State, is_long: bool) -> str:
    """Return why a series in this state is not judged; a state without words of its own has its label."""
    words = _WHY | _WHY_FOR_LONG if is_long else _WHY
    return words.get(state, state.label.replace("_", " "))


def judged_line(found: Mapping[str, Any]) -> str:
    """Return what was judged and what was not in one line, from `judged_json`."""
    words = [f"{found['summary'].removeprefix('of ')} since this process started"]
    reasons = [
        f"{name.replace('_', ' ')} {found[name]['rows']:,}" for name in _labels(found) if found[name]["rows"]
    ]
    if reasons:
        words.append(f"rows not judged: {', '.join(reasons)}")
    if found["masked"]["rows"]:
        words.append(f"judged without some of their values: {found['masked']['rows']:,}")
    if found["dropped_readings"]:
        words.append(f"readings dropped, late or by a wrong clock: {found['dropped_readings']:,}")
    return "; ".join(words)


def judged_problems(found: Mapping[str, Any]) -> list[str]:
    """Return the series that are not judged for long, each with its reason, from `judged_json`."""
    never, no_longer = found["series_never_judged"], found["series_no_longer_judged"]
    if not never and not no_longer:
        return []
    told = [f"{one['series']}: {_since(one)}; {one['why']}" for one in found["unjudged"] if one["is_long"]]
    number = f"{never:,} series were never judged and {no_longer:,} are no longer"
    return [f"{number}, although their rows would fill a window.", *told]


def some_of(some: int, known: int) -> str:
    """Return how many of the known ones are meant.

    >>> some_of(3, 3), some_of(2, 3), some_of(0, 0)
    ('all 3', '2 of 3', '0 of 0')
    """
    return f"all {known:,}" if 0 < some == known else f"{some:,} of {known:,}"


def _labels(found: Mapping[str, Any]) -> list[str]:
    return [state.label for state in State if state.label in found]


def _since(one: Mapping[str, Any]) -> str:
    """Return whether a series was ever judged, and for how long it was not."""
    ever = "never judged" if one["never_judged"] else "no longer judged"
    return f"{ever}, {one['rows']:,} rows in {_duration(one['seconds'])}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
