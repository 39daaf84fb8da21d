"""The figure that a benchmark reports, and the alternating measurement of two rivals."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Measurement:
    """Hold one figure; `floor` or `ceiling` is the promise of the project, `detail` the figures behind it."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    ceiling: float | None = None
    detail: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def bound(self) -> str:
        """Return the promise as text; empty if there is none."""
        if self.floor is not None:
            return f">= {self.floor:g}"
        return "" if self.ceiling is None else f"<= {self.ceiling:g}"

    @property
    def kept(self) -> bool | None:
        """Return whether the promise is kept; None if there is none."""
        if self.floor is not None:
            return self.value >= self.floor
        return None if self.ceiling is None else self.value <= self.ceiling

    def as_json(self) -> dict[str, object]:
        """Return the entry of build/bench.json."""
        return {**asdict(self), "kept": self.kept}


def alternate(
    first: Callable[[], float], second: Callable[[], float], num_rounds: int
) -> tuple[float, float]:
    """Return the medians of two measures taken in turn; each round starts with the other one.

    A machine that slows down or speeds up then changes both equally.
    """
    firsts: list[float] = []
    seconds: list[float] = []
    for number in range(num_rounds):
        turns = [(first, firsts), (second, seconds)]
        for measure, results in turns if number % 2 == 0 else turns[::-1]:
            gc.collect()
            results.append(measure())
    return median(firsts), median(seconds)
