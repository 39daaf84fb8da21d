"""Keep the newest normal rows of a few series, from the verdicts that the engine emits anyway."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Spec
from detector.scoring.verdicts import State, Verdicts
from detector.selfcheck.faults import stretch_rows

NUM_SERIES = 2


class RecentRows:
    """Keeps unbroken stretches of `ok` rows of the first series that send some. Not thread-safe.

    Args:
        spec: The model that scores the series.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec, self._length = spec, stretch_rows(spec)
        # Copies of rows have the scales of the model, and not those that a new series has learnt.
        several = spec.cold is not None and len(spec.cold.series) > 1
        self._known = frozenset(spec.cold.series) if spec.cold is not None and several else None
        self._rows: dict[str, NDArray[np.float64]] = {}
        self._last_ns: dict[str, int] = {}

    def add(self, verdicts: Verdicts) -> None:
        """Take the next final verdicts."""
        names = [name for name in verdicts.names if self._known is None or name in self._known]
        for name in names[: NUM_SERIES - len(self._rows)]:
            self._rows.setdefault(name, np.empty((0, verdicts.actual.shape[1])))
        for name in self._rows.keys() & set(verdicts.names):
            self._extend(name, verdicts.take(verdicts.series == verdicts.names.index(name)))

    def stretches(self) -> list[NDArray[np.float64]]:
        """Return the stretches that are long enough for every fault, float64 [L, C] each."""
        return [self._rows[name] for name in self.series()]

    def series(self) -> tuple[str, ...]:
        """Return the series of each of `stretches`."""
        return tuple(name for name, rows in self._rows.items() if len(rows) >= self._length)

    def forget(self) -> None:
        """Begin again, with the series that send the next rows."""
        self._rows.clear()
        self._last_ns.clear()

    def _extend(self, name: str, verdicts: Verdicts) -> None:
        """Add the rows after the last one that was not `ok` or does not follow the row before it."""
        times = verdicts.timestamp_ns
        interval_ns = self._spec.intervals.get(name, self._spec.interval_ns)
        before = np.concatenate([[self._last_ns.get(name, times[0] - interval_ns)], times[:-1]])
        follows = times - before == interval_ns
        is_ok = verdicts.state == State.OK
        broken = np.flatnonzero(~(is_ok & follows))
        kept = self._rows[name]
        if len(broken):
            at = int(broken[-1])
            kept, start = kept[:0], at if is_ok[at] else at + 1
        else:
            start = 0
        self._rows[name] = np.concatenate([kept, verdicts.actual[start:]])[-self._length :]
        self._last_ns[name] = int(times[-1])
