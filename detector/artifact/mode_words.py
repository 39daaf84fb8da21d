"""Say what a model knows of modes of operation: in the model card, and in a line after a training."""

from __future__ import annotations

from detector.artifact.modes import LEAST_PASSAGES, Mode, Modes, modes_from
from detector.artifact.spec import Spec

_SECTION = """\
## Modes of operation

{head}

| mode | holds where | judged | share of rows | rows to settle | leaves it usually within |
|---|---|---|---|---|---|
{lines}

{foot}
"""
_TAKEN = "Rows are judged by their mode. Rows that settle are not judged."
_PROPOSED = "The history shows these modes. The model does not use them: `train --modes auto` takes them."


def modes_section(spec: Spec) -> str:
    """Return the section of the card on modes, in Markdown; nothing where there are none."""
    proposed = modes_from(spec.training.get("proposed_modes"))
    modes = spec.modes or proposed
    if modes is None:
        return ""
    interval = spec.interval_ns / 1e9
    lines = [_line(mode, interval, modes.passing_rows) for mode in modes.all]
    head = _PROPOSED if spec.modes is None else _TAKEN
    foot = [] if spec.modes is None else [_factors(modes)]
    foot += [
        f"Changes from {mode.name} were too few ({mode.passages}, {LEAST_PASSAGES} are needed) or too unlike:"
        " how long one takes is not judged."
        for mode in modes.modes
        if not mode.usual_rows
    ]
    return (
        _SECTION.format(head=head, lines="\n".join(lines), foot="\n".join(f"- {line}" for line in foot))
        + "\n"
    )


def proposal_line(spec: Spec) -> str:
    """Return the line after a training on modes that nobody asked for; nothing where there are none."""
    proposed = modes_from(spec.training.get("proposed_modes"))
    if proposed is None:
        return ""
    names = "; ".join(f"{mode.name}: {_where(mode)}" for mode in proposed.modes)
    return f"the history shows modes of operation ({names}): train --modes auto takes them\n"


def _line(mode: Mode, interval: float, passing_rows: int) -> str:
    passes = not mode.conditions and passing_rows > 0
    usual = f"{mode.usual_rows * interval:g} s" if mode.usual_rows else "-"
    judged = f"after {passing_rows} rows" if passes else ", ".join(mode.judge) or "nothing"
    return f"| {mode.name} | {_where(mode)} | {judged} | {mode.share:.1%} | {mode.settle_rows} | {usual} |"


def _where(mode: Mode) -> str:
    """Return the conditions of a mode in words."""
    if not mode.conditions:
        return "no other mode does"
    return " and ".join(_bounds(one.channel, one.low, one.high) for one in mode.conditions)


def _bounds(channel: str, low: float | None, high: float | None) -> str:
    """Return the bounds of a channel in words.

    >>> _bounds("speed", None, 5.0), _bounds("speed", 5.0, 9.5)
    ('speed up to 5', 'speed from 5 to 9.5')
    """
    if low is None:
        return f"{channel} up to {high:g}"
    return f"{channel} from {low:g}" + ("" if high is None else f" to {high:g}")


def _factors(modes: Modes) -> str:
    """Return the factors on the threshold as one line."""
    factors = ", ".join(f"{mode.name} {mode.fresh:.3g} and {mode.steady:.3g}" for mode in modes.all)
    return (
        f"Factors on the threshold while a window reaches back before the change, and after that: {factors}."
    )
