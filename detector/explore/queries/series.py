"""One series over a range of time: channels, score and states, with honest downsampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detector.explore.queries.lanes import between
from detector.explore.store.database import Columns, Database, name, rank
from detector.explore.store.layout import STATES, Description

MOST_CHANNELS = 8
_LABELS = (None, *STATES)


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What to show of a series.

    series          its name
    from_ns, to_ns  the range of time
    points          the most points of a line; more rows are put into buckets
    channels        which channels; empty: those that stand out most in the range
    """

    series: str
    from_ns: int
    to_ns: int
    points: int = 800
    channels: tuple[str, ...] = ()


def is_known(database: Database, series: str) -> bool:
    """Return whether the store has rows of a series."""
    return bool(database.execute("SELECT 1 FROM days WHERE series = ? LIMIT 1", [series]))


def series_view(database: Database, description: Description, query: SeriesQuery) -> dict[str, Any]:
    """Return the columns of a series in a range of time.

    If the range has more rows than `points`, they are put into buckets of equal length. Each bucket has the
    least and the greatest value of its rows: no extreme is lost. Without buckets both are the row's value.
    """
    ranked = _ranked(database, description, query)
    shown = [one for one in query.channels or ranked[:MOST_CHANNELS] if one in description.channels]
    where = f"{between(query.from_ns, query.to_ns)} AND series = ?"
    num = database.execute(f"SELECT count(*) FROM verdicts WHERE {where}", [query.series])[0][0]
    width = 0 if num <= query.points else -(-(query.to_ns - query.from_ns) // query.points)
    columns = database.columns(bucketed(shown, where, width), [query.series])
    bands = dict(zip(description.channels, description.bands_of(query.series), strict=True))
    return {
        "series": query.series,
        "from": query.from_ns / 1e6,
        "to": query.to_ns / 1e6,
        "rows": num,
        "bucket": width / 1e6,
        "interval": description.interval_ns / 1e6,
        "all_channels": ranked,
        "time": columns["time"] / 1e6,
        "state": [_LABELS[int(one)] or "unknown" for one in columns["state"]],
        "mode": columns["mode"].tolist(),
        **{key: columns[key] for key in ("num_rows", "paged", *_EXTREMES)},
        "channels": [_channel(one, at, columns, bands[one]) for at, one in enumerate(shown)],
    }


_PAIRS = ("score", "strength")
_EXTREMES = ("score_min", "score_max", "strength_min", "strength_max", "page_level_max", "cumulative_max")


def bucketed(channels: list[str], where: str, width: int) -> str:
    """Return the query for the least and greatest values of each bucket of `width` nanoseconds; 0: each row.

    Buckets begin at multiples of their width, so that a range that moves has the same ones.
    """
    bucket = f"epoch_ns(timestamp) // {width} * {width}" if width else "epoch_ns(timestamp)"
    wanted = [f"min({one}) AS {one}_min, max({one}) AS {one}_max" for one in _PAIRS]
    wanted += ["max(page_level) AS page_level_max, max(cumulative) AS cumulative_max"]
    for at, channel in enumerate(channels):
        actual, expected = name(f"actual_{channel}"), name(f"expected_{channel}")
        wanted.append(
            f"min({actual}) AS a{at}, max({actual}) AS b{at}, min({expected}) AS c{at},"
            f" max({expected}) AS d{at}, max({name(f'contribution_{channel}')}) AS e{at}"
        )
    return (
        f"SELECT {bucket} AS time, count(*) AS num_rows, count(*) FILTER (paged) AS paged,"
        f" max({rank('state')}) AS state, arg_max_null(mode, timestamp) AS mode, {', '.join(wanted)}"
        f" FROM verdicts WHERE {where}"
        " GROUP BY 1 ORDER BY 1"
    )


def _channel(channel: str, at: int, columns: Columns, band: float) -> dict[str, Any]:
    return {
        "name": channel,
        "band": band,
        "actual_min": columns[f"a{at}"],
        "actual_max": columns[f"b{at}"],
        "expected_min": columns[f"c{at}"],
        "expected_max": columns[f"d{at}"],
        "contribution": columns[f"e{at}"],
    }


def _ranked(database: Database, description: Description, query: SeriesQuery) -> list[str]:
    """Return all channels, those first that contributed most to unusual rows; else in the model's order."""
    names = description.channels
    sums = ", ".join(f"sum({name(f'contribution_{one}')})" for one in names)
    where = f"{between(query.from_ns, query.to_ns)} AND series = ? AND strength > 1"
    totals = database.execute(f"SELECT {sums} FROM verdicts WHERE {where}", [query.series])[0]
    order = sorted(range(len(names)), key=lambda at: (-(totals[at] or 0.0), at))
    return [names[at] for at in order]
