"""Name the change of mode that a series makes, for incidents about one that takes too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detector.artifact.modes import Modes
from detector.incidents.incident import Passage


@dataclass(frozen=True, slots=True)
class Passages:
    """Say how long the changes of mode of a series usually take.

    modes        of the model; None: it has none
    interval_of  returns the length of a row of a series in nanoseconds
    """

    modes: Modes | None
    interval_of: Callable[[str], int]

    def of(self, series: str, left: int) -> Passage | None:
        """Return the change that a series makes which has left the mode of this number; None if unknown."""
        if self.modes is None or not 0 <= left < len(self.modes.modes):
            return None
        mode = self.modes.modes[left]
        return Passage(mode.name, mode.usual_rows * self.interval_of(series))
