"""Two models on the same rows: which incidents both raised, how their scores run, and how they differ."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.explore.queries.lanes import between
from detector.explore.store.build import store_of
from detector.explore.store.database import Database, open_store, text
from detector.incidents.incident import Incident
from detector.reports.answers import of_digits
from detector.reports.reported import Reported

_MOST_SERIES, _POINTS, _MOST_LISTED, _MOST_LINES = 12, 800, 200, 200
_MARKS = {"- ": "first", "+ ": "second"}


def compared(first: Reported, second: Reported, database: Database, series: Sequence[str]) -> dict[str, Any]:
    """Return the comparison of two backtests of the same data.

    Args:
        first, second: the backtests; only channels, rules and time are the same, not the models.
        database: the store of the first.
        series: the series whose scores are drawn over each other; the first 12 are taken.

    Raises:
        ExploreError: the files of the second cannot be read.
    """
    pairs = matched(_said(first), _said(second))
    names = [f"{one.artifact.spec.name} {one.artifact.version}" for one in (first, second)]
    with tempfile.TemporaryDirectory(prefix="streamgauge-second-") as scratch:
        about = store_of(second.directory, Path(scratch) / "store")
        other = open_store(Path(scratch) / "store")
        try:
            span = (about.first_ns, about.last_ns)
            lines = [
                _overlay((database, other), one, span, about.interval_ns) for one in series[:_MOST_SERIES]
            ]
        finally:
            other.close()
    return {
        "names": names,
        "words": _words(pairs, names, len(series), len(first.outcome.incidents)),
        "incidents": pairs[:_MOST_LISTED],
        "series": [one for one in lines if one is not None],
        "cards": _differences(first.artifact.card, second.artifact.card),
    }


Said = tuple[Incident, str]


def _said(one: Reported) -> list[Said]:
    return list(zip(one.outcome.incidents, one.outcome.sentences, strict=True))


def matched(first: Sequence[Said], second: Sequence[Said]) -> list[dict[str, Any]]:
    """Return the incidents of two models, each with its partner: the first one of its series that overlaps.

    Each incident has at most one partner. The result is sorted by time. `kind` is `both`,
    `first` or `second`.
    """
    free = list(second)
    found = []
    for one in first:
        partner = next((other for other in free if _overlap(one[0], other[0])), None)
        if partner is not None:
            free.remove(partner)
        found.append(_pair(one, partner))
    found += [_pair(None, one) for one in free]
    return sorted(found, key=lambda pair: (pair["start"], pair["series"]))


def _overlap(one: Incident, other: Incident) -> bool:
    starts_before = other.end_ns is None or one.start_ns <= other.end_ns
    return (
        one.series == other.series and starts_before and (one.end_ns is None or other.start_ns <= one.end_ns)
    )


def _pair(first: Said | None, second: Said | None) -> dict[str, Any]:
    shown = [one[0] for one in (first, second) if one is not None]
    ends = [one.end_ns for one in shown]
    is_open = None in ends
    return {
        "kind": "both" if len(shown) == 2 else "first" if first is not None else "second",
        "series": shown[0].series,
        "start": min(one.start_ns for one in shown) / 1e6,
        "end": None if is_open else max(one for one in ends if one is not None) / 1e6,
        "first": _brief(first),
        "second": _brief(second),
    }


def _brief(said: Said | None) -> dict[str, Any] | None:
    return None if said is None else {"id": said[0].id, "severity": said[0].severity, "sentence": said[1]}


def _words(pairs: Sequence[dict[str, Any]], names: Sequence[str], series: int, num_first: int) -> list[str]:
    kinds = [one["kind"] for one in pairs]
    both, first, second = (kinds.count(one) for one in ("both", "first", "second"))
    words = [
        (
            f"The first is {names[0]}, the second {names[1]}. Both raised {_count(both)}."
            f" The first alone raised {_count(first)}, the second alone {_count(second)}."
        ),
        f"{both} of {num_first} incidents of the first have a partner: one of the same series that overlaps.",
    ]
    if len(pairs) > _MOST_LISTED:
        words.append(f"The first {_MOST_LISTED} are listed.")
    if series > _MOST_SERIES:
        words.append(f"Scores are drawn for {_MOST_SERIES} series, those with most trouble.")
    return words


def _count(num: int) -> str:
    return f"{num:,} incident{'' if num == 1 else 's'}"


def _overlay(
    databases: Sequence[Database], series: str, span: tuple[int, int], interval_ns: int
) -> dict[str, Any] | None:
    """Return the strength of a series by both models: the greatest of each step, on common times."""
    num = max(1, -(-(span[1] - span[0]) // interval_ns))
    width = interval_ns * -(-num // _POINTS)
    where = f"{between(*span)} AND series = {text(series)}"
    columns = [
        one.columns(
            f"SELECT epoch_ns(timestamp) // {width} * {width} AS at, max(strength) AS strength FROM verdicts"
            f" WHERE {where} GROUP BY 1 ORDER BY 1"
        )
        for one in databases
    ]
    times = np.union1d(*(one["at"].astype(np.int64) for one in columns))
    if not len(times):
        return None
    first, second = (_at(times, one["at"], one["strength"]) for one in columns)
    return {
        "series": series,
        "from": span[0] / 1e6,
        "to": span[1] / 1e6,
        "bucket": 0 if width == interval_ns else width / 1e6,
        "interval": interval_ns / 1e6,
        "time": (times / 1e6).tolist(),
        "first": of_digits(first),
        "second": of_digits(second),
    }


def _at(times: NDArray[np.int64], at: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.full(len(times), np.nan)
    found[np.searchsorted(times, at.astype(np.int64))] = values.astype(np.float64)
    return found


def _differences(first: str, second: str) -> list[tuple[str, str]]:
    """Return the lines that only one card has, each with `first` or `second`."""
    return list(_changed(first, second))[:_MOST_LINES]


def _changed(first: str, second: str) -> Iterator[tuple[str, str]]:
    for line in difflib.ndiff(first.splitlines(), second.splitlines()):
        if line[:2] in _MARKS and line[2:].strip():
            yield _MARKS[line[:2]], line[2:]
