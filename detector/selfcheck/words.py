"""Say in words what a model finds, for the model card and for the end of a training."""

from __future__ import annotations

import math

from detector.artifact.spec import Spec
from detector.selfcheck.detectability import largest_size
from detector.selfcheck.faults import LEVEL_ROWS, LONG_ROWS, stretch_rows

_HEADING = "## What it finds"


def weakest_line(spec: Spec) -> str | None:
    """Return a sentence on the channel whose smallest found shift is largest in units of its spread.

    None if the model was not measured.
    """
    scale = dict(zip(spec.channel_names, spec.column("scale").tolist(), strict=True))
    levels = [one for one in spec.detectable if one.kind == "level" and one.rows == LEVEL_ROWS]
    if not levels:
        return None
    worst = max(
        levels, key=lambda one: math.inf if one.smallest is None else one.smallest / scale[one.channel]
    )
    if worst.smallest is None:
        most = largest_size(spec, spec.channel_names.index(worst.channel))
        return f"channel {worst.channel}: no shift for {worst.rows} rows is found, up to {most:.3g}"
    return (
        f"channel {worst.channel}: a shift of {worst.smallest:.3g} for {worst.rows} rows"
        " is the smallest that is found"
    )


def found_section(spec: Spec) -> str:
    """Return the section of the model card on what the model finds."""
    return f"{_HEADING}\n\n{_found(spec)}\n"


def with_new_section(card: str, spec: Spec) -> str:
    """Return the card with this section replaced; a card without it stays as it is."""
    before, found, rest = card.partition(_HEADING)
    _, heading, after = rest.partition("\n## ")
    return f"{before}{found_section(spec)}{heading}{after}" if found else card


def _found(spec: Spec) -> str:
    """Return the table of the smallest shifts that are found, or why there is none."""
    if not spec.detectable:
        return f"Not measured: no held-out stretch has {stretch_rows(spec)} rows without a long gap."
    levels: dict[str, dict[int, float | None]] = {}
    for one in spec.detectable:
        if one.kind in ("spike", "level"):
            levels.setdefault(one.channel, {})[one.rows] = one.smallest
    lines = [
        f"| {name} | {' | '.join(_size(spec, name, sizes[rows]) for rows in (1, LEVEL_ROWS, LONG_ROWS))} |"
        for name, sizes in levels.items()
    ]
    head = "| smallest shift that is found | in 1 row | in 10 rows | in 100 rows |\n|---|---|---|---|\n"
    return head + "\n".join(lines) + _not_in_table(spec, set(levels))


def _not_in_table(spec: Spec, measured: set[str]) -> str:
    """Return sentences on channels that can hardly be watched and on those that were not measured."""
    hardly, left_out = spec.training.get("hardly_watched", ()), len(spec.channels) - len(measured)
    text = f"\n\nThese channels can hardly be watched: {', '.join(hardly)}." if hardly else ""
    return text + (f"\n\n{left_out} more channels were not measured." if left_out else "")


def _size(spec: Spec, channel: str, size: float | None) -> str:
    if size is None:
        return f"not found up to {largest_size(spec, spec.channel_names.index(channel)):.3g}"
    return f"{size:.3g}"
