"""The difference between settings as TOML: what to paste, and what each value was before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_difference(
    budgets: tuple[str, str],
    present: Mapping[str, Any],
    rules: Mapping[str, Any],
    model: str,
    is_one_of_several: bool = False,
) -> str:
    """Return the changed keys as TOML, each with its old value in a comment; empty where nothing changed.

    Args:
        budgets: the alarm budget now and the proposed one.
        present: the present values of [incidents].
        rules: the proposed ones that differ.
        model: where the model is, for the command that calibrates it.
        is_one_of_several: whether the configuration has [[models]]: each has rules of its own.

    >>> print(toml_difference(("1/week", "1/week"), {"for_rows": 1}, {"for_rows": 3}, "models/pump"), end="")
    # in the daemon's configuration
    [incidents]
    for_rows = 3  # was 1
    """
    lines = []
    if budgets[0] != budgets[1]:
        lines += [
            f"# at once: streamgauge calibrate {model} --alarm-budget {json.dumps(budgets[1])} --promote",
            "# in the configuration of the training",
            "[scoring]",
            f"alarm_budget = {json.dumps(budgets[1])}  # was {budgets[0]}",
        ]
    if rules:
        place = f"after path = {json.dumps(model)} in" if is_one_of_several else "in"
        table = "[models.incidents]" if is_one_of_several else "[incidents]"
        lines += [f"# {place} the daemon's configuration", table]
        lines += [f"{name} = {_toml(value)}  # was {_toml(present[name])}" for name, value in rules.items()]
    return "".join(f"{line}\n" for line in lines)


def _toml(value: object) -> str:
    """Return a plain value; texts, numbers and truths are written as in JSON."""
    return "unset" if value is None else json.dumps(value)
