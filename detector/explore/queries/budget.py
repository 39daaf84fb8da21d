"""How much of the alarm budget was used in a range of time, by series and by kind of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detector.calibration.alarm_budget import parse_budget
from detector.explore.queries.homes import among
from detector.explore.queries.lanes import between
from detector.explore.store.database import Database, text, time
from detector.explore.store.layout import DAY_NS, Description
from detector.incidents.incident import MODEL_REASONS

_MOST_SERIES = 20


def budget_used(
    database: Database,
    description: Description,
    span: tuple[int, int],
    called_real: Sequence[str] = (),
    model: str = "",
) -> dict[str, Any]:
    """Return the alarms, those that people called real, the false ones that the budget allows, and of what.

    Alarms are the incidents that the model opened in the range. Allowed is what the budget allows for the
    rows of all series, in whole days. `series` has those with most alarms, at most 20.

    Args:
        database: where the verdicts are.
        description: of the store.
        span: the range, in nanoseconds.
        called_real: ids of incidents that people called real.
        model: only series of this one of several models; empty: all.
    """
    reasons = ", ".join(text(one) for one in MODEL_REASONS)
    begin, end = span[0] // DAY_NS * DAY_NS, -(-span[1] // DAY_NS) * DAY_NS
    of_model, given = among(model)
    rows = database.execute(
        f"SELECT coalesce(sum(num_rows), 0) FROM days WHERE {between(begin, end, 'start')}{of_model}", given
    )
    opened = f"opened >= {time(span[0])} AND opened < {time(span[1])} AND reason IN ({reasons}){of_model}"
    by_reason = database.execute(
        f"SELECT reason, count(*) FROM incidents WHERE {opened} GROUP BY reason ORDER BY 2 DESC, 1",
        given,
    )
    by_series = database.execute(
        f"SELECT series, count(*) FROM incidents WHERE {opened} GROUP BY series ORDER BY 2 DESC, 1"
        f" LIMIT {_MOST_SERIES}",
        given,
    )
    real = database.execute(
        f"SELECT count(*) FROM incidents WHERE {opened} AND list_contains(?, id)",
        [*given, list(called_real)],
    )
    seconds = int(rows[0][0]) * description.interval_ns / 1e9
    return {
        "alarms": sum(num for _, num in by_reason),
        "real": int(real[0][0]),
        "allowed": seconds * parse_budget(description.alarm_budget),
        "alarm_budget": description.alarm_budget,
        "evidence": [{"reason": reason, "alarms": num} for reason, num in by_reason],
        "series": [{"series": series, "alarms": num} for series, num in by_series],
    }
