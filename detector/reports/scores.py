"""How the scores of a store are distributed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.explore.store.database import Database, text

_EDGES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)
_LIMIT = _EDGES.index(1.0)


def distribution(database: Database) -> dict[str, Any]:
    """Return how many rows have a score in each range: `edges` (the last is open), `counts`, and `words`.

    A score of exactly an edge counts below it: a row is unusual if its score is above 1.
    """
    cases = " ".join(f"WHEN score <= {edge!r} THEN {at}" for at, edge in enumerate(_EDGES[1:]))
    rows = database.execute(
        f"SELECT CASE {cases} ELSE {len(_EDGES) - 1} END AS part, count(*) FROM verdicts"
        " WHERE score IS NOT NULL GROUP BY 1"
    )
    counts = [0] * len(_EDGES)
    for part, num in rows:
        counts[part] = num
    total, unusual = sum(counts), sum(counts[_LIMIT:])
    unknown = database.execute("SELECT count(*) FROM verdicts WHERE score IS NULL")[0][0]
    share = f" ({100 * unusual / total:.3g} %)" if total else ""
    words = f"{unusual:,} of {total:,} rows with a score are above 1{share}. {unknown:,} rows have none."
    return {
        "title": "Rows by score",
        "words": words,
        "edges": [*_EDGES, None],
        "counts": counts,
        "limit": _LIMIT,
    }


def unusual_rows(database: Database, series: str) -> NDArray[np.int64]:
    """Return the begins of the rows of a series with a score above 1, int64 nanoseconds, ascending."""
    found = database.columns(
        "SELECT epoch_ns(timestamp) AS at FROM verdicts"
        f" WHERE series = {text(series)} AND score > 1 ORDER BY 1"
    )
    return found["at"].astype(np.int64)
