"""What the rows of an incident look like, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Shape = Literal[
    "spike", "level shift", "drift", "stuck", "noise", "changed period", "lost correlation",
    "wrong hour", "missing", "late start", "absent job", "unclear",
]  # fmt: skip
SHAPES: tuple[Shape, ...] = get_args(Shape)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The shape of an incident so far. It follows from its rows alone.

    shape     named by rules; "unclear" rather than a guess
    sure      how clearly the rows fit the shape, 0 to 1; 0 if it is unclear
    channel   the channel that has the shape; empty if none is to blame
    rose      rows from the last usual value to most of the departure; 0 where that is unknown
    lower, upper  what was expected of the channel at the worst row, within what the history showed; None if
              unknown
    also      up to two other channels that depart too
    usual     up to two related channels that are as expected
    hours     of "wrong hour": by how many hours the channel is late (above 0) or early; 0 if unknown
    job       of "absent job": when it should have come, as in "Wednesdays 03:00"
    """

    shape: Shape
    sure: float = 0.0
    channel: str = ""
    rose: int = 0
    lower: float | None = None
    upper: float | None = None
    also: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    hours: float = 0.0
    job: str = ""
