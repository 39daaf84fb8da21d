"""What a benchmark reports, and how two rivals are run in turn."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure. `floor` and `ceiling` are what the project promises; `detail` says what it is made of."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    ceiling: float | None = None
    detail: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def bound(self) -> str:
        """The promise in words, empty where there is none."""
        if self.floor is not None:
            return f">= {self.floor:g}"
        return "" if self.ceiling is None else f"<= {self.ceiling:g}"

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        if self.floor is not None:
            return self.value >= self.floor
        return None if self.ceiling is None else self.value <= self.ceiling

    def as_json(self) -> dict[str, object]:
        """For build/bench.json."""
        return {**asdict(self), "kept": self.kept}


def alternate(
    first: Callable[[], float], second: Callable[[], float], num_rounds: int
) -> tuple[float, float]:
    """Medians of two measures taken in turn, each round beginning with the other one.

    A machine that slows down or speeds up in between then touches both alike.
    """
    firsts: list[float] = []
    seconds: list[float] = []
    for number in range(num_rounds):
        turns = [(first, firsts), (second, seconds)]
        for measure, results in turns if number % 2 == 0 else turns[::-1]:
            gc.collect()
            results.append(measure())
    return median(firsts), median(seconds)
