"""The tables and the plot of docs/board.md, and the figures of every file as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.board.methods import OURS, PEERS
from benchmarks.board.runs import DELAYS, TWO_SIDED

COLUMNS = (*map(str, DELAYS), TWO_SIDED)
WORDS = OURS | {peer.name: peer.words for peer in PEERS}


def results(out: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return what was run, by data set, file and method."""
    found = {}
    for path in sorted((out / "results").glob("*.json")):
        dataset, rest = path.stem.split(".", 1)
        file, method = rest.rsplit(".", 1)
        found[dataset, file, method] = json.loads(path.read_text())
    return found


def table(found: Mapping[tuple[str, str, str], dict[str, Any]], dataset: str) -> str:
    """Return the table of a data set: means over the files on which every listed method ended.

    A method that failed on some files has its figures on the others, and their number. The first delay has
    the 95 % interval of the mean over files (bootstrap, 2,000 draws).
    """
    head = ("method", "files", *(f"delay {one}" for one in DELAYS), TWO_SIDED, "fit, s", "rows a second")
    lines = [head, ["---"] * len(head)]
    for method, words in WORDS.items():
        ran = [one for (name, _, by), one in found.items() if name == dataset and by == method]
        done = [one for one in ran if "failed" not in one]
        if not ran:
            continue
        files = str(len(done)) if len(done) == len(ran) else f"{len(done)} of {len(ran)}"
        if not done:
            lines.append((words, files, *["-"] * (len(head) - 2)))
            continue
        means = [_mean(one[delay]["vus_pr"] for one in done) for delay in COLUMNS]
        cost = (_mean(one["fit_seconds"] for one in done), _mean(one["rows_per_second"] for one in done))
        shown = (f"**{words}**" if method in OURS else words, files)
        low, high = _interval(one[COLUMNS[0]]["vus_pr"] for one in done)
        first = f"{means[0]:.3f} ({low:.2f} to {high:.2f})"
        lines.append(
            (*shown, first, *(f"{one:.3f}" for one in means[1:]), f"{cost[0]:.1f}", f"{cost[1]:,.0f}")
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: Iterable[float]) -> float:
    return float(np.nanmean([np.nan if one is None else one for one in values]))


def _interval(values: Iterable[float]) -> tuple[float, float]:
    known = [one for one in values if one is not None and not np.isnan(one)]
    drawn = np.random.default_rng(0).choice(known or [np.nan], (2_000, max(1, len(known)))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def write_csv(found: Mapping[tuple[str, str, str], dict[str, Any]], path: Path) -> None:
    """Write one line for each file, method and delay."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("data", "file", "method", "delay", "vus_pr", "auc_pr", "failed"))
        for (dataset, name, method), one in found.items():
            for delay in COLUMNS:
                figures = one.get(delay, {})
                shown = [_digits(figures.get(key)) for key in ("vus_pr", "auc_pr")]
                writer.writerow((dataset, name, method, delay, *shown, one.get("failed", "")))


def _digits(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.4f}"


def plot(found: Mapping[tuple[str, str, str], dict[str, Any]], datasets: Sequence[str], path: Path) -> None:
    """Draw mean VUS-PR against the delay, one panel a data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(datasets), figsize=(4.2 * len(datasets), 4.4), squeeze=False)
    colours = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    for axes, dataset in zip(panels[0], datasets, strict=True):
        for number, (method, words) in enumerate(WORDS.items()):
            done = [one for (name, _, by), one in found.items() if (name, by) == (dataset, method)]
            done = [one for one in done if "failed" not in one]
            if done:
                heights = [_mean(one[delay]["vus_pr"] for one in done) for delay in COLUMNS]
                width, style = (2.4, "-") if method in OURS else (1.1, "--")
                colour = colours[2 * number % 20 + (2 * number >= 20)]
                axes.plot(heights, style, color=colour, marker="o", markersize=3, lw=width, label=words)
        axes.set_xticks(range(len(COLUMNS)), COLUMNS)
        axes.set(title=dataset, xlabel="delay in rows", ylim=(0, None))
    panels[0][0].set_ylabel("mean VUS-PR")
    panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
