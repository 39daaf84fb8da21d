"""Pictures of results with matplotlib (extra `plots`): an Axes may be given, and the Axes is returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from detector.errors import DetectorError

if TYPE_CHECKING:
    from matplotlib import axes

    Axes = axes.Axes

_ACTUAL, _EXPECTED, _LIMIT, _SHADE = "#1f5fc4", "#5f6b7a", "#b3261e", "#b3261e22"
_MARGIN = 0.75
"""Share of the length of an incident that is shown before and after it."""
_LEAST_ROWS = 30
_SIZE = (9.0, 3.0)


def check_matplotlib() -> None:
    """Raise DetectorError with the command that installs matplotlib, if it is missing."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise DetectorError(
            "plots need matplotlib: install it with pip install 'streamgauge[plots]'"
        ) from error
    assert mpl.__version__


def axes_of(ax: Axes | None) -> Axes:
    """Return the given Axes, or those of a new figure. Raises DetectorError without matplotlib."""
    if ax is not None:
        return ax
    check_matplotlib()
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=_SIZE, layout="constrained")[1]


def draw_score(verdicts: pd.DataFrame, incidents: pd.DataFrame, series: str, ax: Axes | None = None) -> Axes:
    """Draw the score of one series against 1, its incidents shaded.

    Args:
        verdicts: rows as `detector.api.BacktestResult.verdicts` has them.
        incidents: as `detector.api.BacktestResult.incidents`.
        series: the name of the series.
        ax: where to draw; None: a new figure.

    Raises:
        DetectorError: the series has no rows, or matplotlib is missing.
    """
    mine = verdicts[verdicts["series"] == series]
    if mine.empty:
        raise DetectorError(f"there is no series {series!r}")
    ax = axes_of(ax)
    times = _naive(mine.index)
    ax.plot(times, mine["score"].to_numpy(), color=_ACTUAL, linewidth=1.0, label="score")
    ax.axhline(1.0, color=_LIMIT, linestyle="--", linewidth=1.0, label="limit")
    for one in incidents[incidents["series"] == series].to_dict("records"):
        _shade(ax, one["start"], one["end"], mine.index[-1])
    ax.set(title=series, xlabel="time (UTC)", ylabel="score")
    ax.legend(loc="upper left", frameon=False)
    return ax


def draw_incident(
    verdicts: pd.DataFrame, incident: Mapping[Any, Any], channel: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a channel of an incident, actual against expected, with the rows before and after.

    Args:
        verdicts: rows as `detector.api.BacktestResult.verdicts` has them.
        incident: a row of `detector.api.BacktestResult.incidents`.
        channel: its name; None: the one that contributed most at the peak.
        ax: where to draw; None: a new figure.

    Raises:
        DetectorError: the channel is unknown, or matplotlib is missing.
    """
    named = [one for one in str(incident["channels"]).split(", ") if f"actual_{one}" in verdicts.columns]
    every = [name.removeprefix("actual_") for name in verdicts.columns if name.startswith("actual_")]
    shown = channel or (named or every)[0]
    if shown not in every:
        raise DetectorError(f"there is no channel {shown!r}; the model has {', '.join(every)}")
    window = _around(verdicts[verdicts["series"] == incident["series"]], incident)
    ax = axes_of(ax)
    times = _naive(window.index)
    ax.plot(times, window[f"actual_{shown}"].to_numpy(), color=_ACTUAL, linewidth=1.25, label="actual")
    expected = window[f"expected_{shown}"].to_numpy()
    ax.plot(times, expected, color=_EXPECTED, linewidth=1.0, linestyle="--", label="expected")
    _shade(ax, incident["start"], incident["end"], window.index[-1])
    ax.set(title=f"{incident['series']}: {shown}", xlabel="time (UTC)", ylabel=shown)
    ax.legend(loc="upper left", frameon=False)
    return ax


def draw_bars(
    names: Sequence[str], values: Mapping[str, Sequence[float]], label: str, ax: Axes | None = None
) -> Axes:
    """Draw groups of horizontal bars, one group for each name; unknown values have no bar.

    Raises DetectorError without matplotlib.
    """
    ax = axes_of(ax)
    place = np.arange(len(names), dtype=np.float64)
    height = 0.8 / len(values)
    for at, (name, numbers) in enumerate(values.items()):
        ax.barh(place + (at - (len(values) - 1) / 2) * height, np.nan_to_num(numbers), height, label=name)
    ax.set_yticks(place, list(names))
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.legend(frameon=False)
    return ax


def save_pictures(scores: Path, incidents: pd.DataFrame, out: Path, most: int = 50) -> list[Path]:
    """Write each series with an incident, and each incident, as PNG and SVG; return the files.

    Args:
        scores: `scores.parquet` of a backtest; the rows of one series at a time are read.
        incidents: as `detector.api.BacktestResult.incidents`.
        out: the directory; it is made if it is missing.
        most: pictures of series and of incidents, the first ones.

    Raises:
        DetectorError: matplotlib is missing, or a file cannot be written.
    """
    check_matplotlib()
    written: list[Path] = []
    shown = incidents.head(most)
    for number, series in enumerate(dict.fromkeys(shown["series"]), 1):
        found = pd.read_parquet(scores, filters=[("series", "==", series)]).set_index("timestamp")
        written += _save(draw_score(found, incidents, series, _new_axes()), out / f"series-{number:03d}")
        for one in shown[shown["series"] == series].to_dict("records"):
            written += _save(draw_incident(found, one, ax=_new_axes()), out / f"incident-{one['id']}")
    return written


def _new_axes() -> Axes:
    """Return Axes of a figure that no window and no other picture knows."""
    from matplotlib.figure import Figure

    return Figure(figsize=_SIZE, layout="constrained").add_subplot()


def _save(ax: Axes, stem: Path) -> list[Path]:
    figure = ax.get_figure(root=True)
    assert figure is not None
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise DetectorError(f"{stem.parent}: cannot be written: {error.strerror or error}") from error
    return paths


def _around(rows: pd.DataFrame, incident: Mapping[Any, Any]) -> pd.DataFrame:
    """Return the rows of an incident with those before and after it; an open one lasts to the last row."""
    start = incident["start"]
    end = rows.index[-1] if pd.isna(incident["end"]) else incident["end"]
    step = rows.index.to_series().diff().median()
    margin = max(_MARGIN * (end - start), _LEAST_ROWS * step)
    return rows.loc[start - margin : end + margin]


def _shade(ax: Axes, start: pd.Timestamp, end: Any, last: pd.Timestamp) -> None:
    until = last if pd.isna(end) else end
    ax.axvspan(*(_naive(pd.DatetimeIndex([start, until]))), color=_SHADE, linewidth=0)


def _naive(index: pd.Index) -> Any:
    """Return times as datetime64 in UTC, which every version of matplotlib takes."""
    return pd.DatetimeIndex(index).tz_convert("UTC").tz_localize(None).to_numpy()
