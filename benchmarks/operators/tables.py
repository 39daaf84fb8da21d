"""The tables of docs/trust.md from the kept results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.operators.plants import BUDGETS
from trainer.evaluation.operator_measures import OperatorMeasures, read_measures, sum_of

HEAD = (
    *("data", "model", "budget", "events", "found", "of their time open", "incidents an event"),
    *("false a week and series", "guilty first", "among two", "median minutes to find"),
)


class Kept:
    """Read the results in a directory, one JSON file a run."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def plants(self, purpose: str, family: str, budget: str) -> OperatorMeasures:
        """Return the measures of a family on all plants of one purpose that were run."""
        return sum_of(read_measures(one["budgets"][budget]) for one in self._lines(purpose, family))

    def without(self, purpose: str, family: str) -> dict[str, OperatorMeasures]:
        """Return the measures at the first budget with all kinds of evidence, and without each, by name.

        They are those of the lines that were run so, {} if none was.
        """
        lines = [one for one in self._lines(purpose, family) if one["worth"]]
        names = lines[0]["worth"] if lines else ()
        parts = {name: sum_of(read_measures(one["worth"][name]) for one in lines) for name in names}
        every = sum_of(read_measures(one["budgets"][BUDGETS[0]]) for one in lines)
        return {"nothing": every, **parts} if parts else {}

    def _lines(self, purpose: str, family: str) -> list[dict[str, Any]]:
        paths = sorted(self._out.glob(f"{purpose}-*.{family}.*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def labelled(self, dataset: str, family: str, budget: str) -> OperatorMeasures:
        """Return the measures of a family on the files of a labelled data set; without events if not run."""
        path = self._out / f"data-{dataset}.{family}.json"
        files = json.loads(path.read_text())["files"] if path.exists() else []
        return sum_of(read_measures(one["operator"][budget]) for one in files)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def board(kept: Kept, sources: Sequence[str], families: Sequence[str], is_plant: bool) -> str:
    """Return the board of all families on plants of some purposes, or on labelled data sets."""
    rows = []
    for source in sources:
        for budget in BUDGETS:
            for family in families:
                read = kept.plants if is_plant else kept.labelled
                measures = read(source, family, budget)
                if measures.series_weeks:
                    rows.append((source, family, budget, *cells(measures)))
    return table(HEAD, rows) if rows else "(not run)\n"


def cells(one: OperatorMeasures) -> tuple[str, ...]:
    """Return the cells of a row of the board."""
    return (
        str(len(one.events)),
        figure(one.found),
        figure(one.open_share),
        figure(one.incidents_per_event, 1),
        figure(one.false_per_week),
        figure(one.guilty_within(1)),
        figure(one.guilty_within(2)),
        figure(one.median_seconds / 60, 0),
    )


def worth(kept: Kept, purposes: Sequence[str], families: Sequence[str]) -> str:
    """Return what is found at the first budget without each kind of evidence, by family."""
    rows = []
    for purpose in purposes:
        for family in families:
            parts = kept.without(purpose, family)
            rows += [(purpose, family, name, *cells(one)) for name, one in parts.items()]
    return table(("data", "model", "without", *HEAD[3:]), rows) if rows else "(not run)\n"


def by_fault(kept: Kept, purposes: Sequence[str], family: str) -> str:
    """Return, for one family at the first budget, what was found by kind and size of the fault."""
    measures = sum_of(kept.plants(purpose, family, BUDGETS[0]) for purpose in purposes)
    rows = []
    for (kind, size), one in measures.by("kind", "size").items():
        shown = "-" if size is None else f"{size:g}"
        cell = cells(one)
        rows.append((str(kind), shown, cell[0], cell[1], cell[2], cell[5], cell[7]))
    head = (
        "fault",
        "size",
        "events",
        "found",
        "of their time open",
        "guilty first",
        "median minutes to find",
    )
    return table(head, rows) if rows else "(not run)\n"


def figure(value: float, digits: int = 2) -> str:
    """Return a figure, or a dash where it is unknown."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def written(text: str, tables: dict[str, str]) -> str:
    """Return the page with the text between each `<!-- NAME -->` and its `<!-- end -->` replaced."""
    for name, new in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        if not mark:
            raise ValueError(f"the page has no mark for the table {name}")
        _, end, after = rest.partition("<!-- end -->")
        text = before + mark + new + end + after
    return text


def plain(value: Any) -> Any:
    """Return the value with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
