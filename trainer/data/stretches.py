"""Stretches of time that a user names: to leave out, or to take as normal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError

_EVERY = None  # as the name of a series
_WITHOUT_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Stretches:
    """Hold stretches of time: (series or None for every series, first and last nanosecond)."""

    found: tuple[tuple[str | None, int, int], ...] = ()

    @staticmethod
    def between(pairs: Iterable[tuple[datetime, datetime]]) -> Stretches:
        """Return the stretches between pairs of times, of every series. A time without a zone is UTC."""
        return Stretches(tuple((_EVERY, _ns(start), _ns(end)) for start, end in pairs))

    def contain(self, series: str, row: NDArray[np.int64], interval_ns: int) -> NDArray[np.bool_]:
        """Return which rows of a series a stretch touches, bool [n].

        Args:
            series: Name of the series.
            row: Numbers of the rows, int64 [n].
            interval_ns: Length of a row in nanoseconds.
        """
        inside = np.zeros(len(row), np.bool_)
        for name, start_ns, end_ns in self.found:
            if name in (_EVERY, series):
                inside |= (row >= start_ns // interval_ns) & (row <= end_ns // interval_ns)
        return inside


def read_incidents(path: Path) -> Stretches:
    """Return the times of the incidents in a file.

    The file is what `streamgauge backtest --out` writes, or has one incident a line, as the alerts topic has.
    Of several lines about an incident the last one counts. An incident without an end lasts to the end.

    Raises:
        TrainerError: The file cannot be read, or an incident has no start.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainerError(f"data.incidents: {path} cannot be read: {error}") from error
    found: dict[str, tuple[str | None, int, int]] = {}
    for number, incident in enumerate(_incidents(text, path)):
        try:
            start, end = _ns(_time(incident["start"])), incident.get("end")
            end_ns = _WITHOUT_END if end is None else _ns(_time(end))
            key = str(incident.get("id", number))
            found[key] = (incident.get("series"), start, end_ns)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrainerError(
                f"data.incidents: {path}: incident {number + 1} needs a start in ISO 8601, and an end"
                f" if it is over: {error!r}"
            ) from error
    return Stretches(tuple(found.values()))


def _incidents(text: str, path: Path) -> list[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("incidents"), list):
        return list(whole["incidents"])
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict):
        return [whole]
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise TrainerError(f"data.incidents: {path} is not JSON, one incident a line: {error}") from error


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _ns(time: datetime) -> int:
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
