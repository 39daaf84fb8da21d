"""How the pictures look: light cards that can be read on light and dark pages, small as files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from detector.incidents.incident import Incident

VALUE, EXPECTED, EVIDENCE, BAND, BAD, MARK = "#33506b", "#2e7d32", "#6a3d9a", "#a9cfae", "#d9534f", "#b26a00"
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "figure.facecolor": "#fcfcfc",
    "axes.facecolor": "#fcfcfc",
    "legend.frameon": False,
}
_COLOURS = 64
_DPI = 110


def panels(title: str, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels below each other that share the axis of time."""
    with mpl.rc_context(_STYLE):
        figure = Figure((8.0, 1.0 + sum(heights)), dpi=_DPI, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        axes = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
    return figure, list(axes[:, 0])


def shade(axes: Iterable[Axes], spans: Iterable[tuple[float, float]], label: str = "incident") -> None:
    """Shade the time in which incidents were open; only the first panel names it."""
    for number, panel in enumerate(axes):
        for at, (begin, end) in enumerate(spans):
            named = label if number == 0 and at == 0 else None
            panel.axvspan(begin, end, color=BAD, alpha=0.16, linewidth=0, label=named)


def spans_of(
    incidents: Iterable[Incident], start_ns: int, unit_ns: float, end: float
) -> list[tuple[float, float]]:
    """Return from when to when incidents were open, in units since a start; those still open until `end`."""
    return [
        (
            (one.opened_ns - start_ns) / unit_ns,
            end if one.end_ns is None else (one.end_ns - start_ns) / unit_ns,
        )
        for one in incidents
    ]


def threshold_line(panel: Axes, value: float = 1.0) -> None:
    """Draw the line above which evidence counts."""
    panel.axhline(value, color="#555555", linewidth=1, linestyle=(0, (4, 3)), label="threshold")


def legend(panel: Axes, columns: int = 4) -> None:
    """Name the lines above a panel, where they hide nothing."""
    found = panel.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=1.6,
        frameon=False,
        fontsize=9,
    )
    for line in found.get_lines():
        line.set_linewidth(2.5)


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG with few colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def midnights(days: float) -> NDArray[np.float64]:
    """Return the ticks of whole days."""
    return np.arange(0.0, days + 0.01)
