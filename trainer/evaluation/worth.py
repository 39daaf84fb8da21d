"""What each kind of evidence is worth: the same model runs again without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from detector.artifact.spec import Spec
from detector.scoring.kinds import SWITCHES

Found = TypeVar("Found")
ALL = "all"
"""Stands for all kinds together: what is left is the score of the windows."""


def kinds_of(spec: Spec) -> tuple[str, ...]:
    """Return the kinds of evidence that a model has, keys of `SWITCHES`."""
    has = {
        "level": spec.reference is not None,
        "season": spec.season is not None,
        "drift": spec.drift is not None,
        "modes": spec.modes is not None,
    }
    return tuple(name for name in SWITCHES if has[name])


def without_each(
    spec: Spec, without: tuple[str, ...], run: Callable[[tuple[str, ...]], Found], found: Found
) -> dict[str, Found]:
    """Return what a run finds without each kind of evidence, and without all of them, by name.

    Args:
        spec: The model. A kind that it does not have is not run: nothing would differ.
        without: Kinds that say nothing in any of the runs.
        run: Runs the model without these kinds.
        found: What the run with all but `without` found.
    """
    has = [name for name in kinds_of(spec) if name not in without]
    parts = {name: run((*without, name)) if name in has else found for name in SWITCHES}
    left_out = tuple(SWITCHES)
    if not has:
        return {**parts, ALL: found}
    return {**parts, ALL: parts[has[0]] if len(has) == 1 else run(left_out)}
