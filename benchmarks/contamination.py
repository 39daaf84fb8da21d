"""Recall of plain faults after a training on a contaminated history: a table and a curve of docs/quality.md.

    python -m benchmarks.contamination [--seeds 8] [--ensemble-seeds 2] [--quick] [--write]

Each seed is a plant of three channels. A share of the rows of its history has faults: levels, spikes and
stuck values, anywhere or at the end. The model is trained with default options. Then level faults of graded
sizes are streamed through the engine. A fault is found if one of its rows exceeds the calibrated threshold.
Sizes are in units of the noise. --write puts table and curve into the docs; --quick only shows that all runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from connectors.records import Readings
from detector import Engine, EngineOptions
from detector.artifact.spec import Artifact
from trainer import fit

DOCS = Path(__file__).parent.parent / "docs"
PAGE, PICTURE = DOCS / "quality.md", DOCS / "images" / "contamination.png"
MODELS = ("linear", "ensemble")
SHARES = (0.0, 0.005, 0.01, 0.02, 0.05)
PLACES = ("anywhere", "end")
SIZES = (2.0, 4.0, 8.0, 16.0, 32.0)
_CHANNELS, _NOISE, _HISTORY_ROWS = 3, 0.1, 1_500
_FAULT_ROWS, _CALM_ROWS = 10, 150
_AFTER_FAULT = 90
"""Rows after a fault that its windows still contain. They count as neither normal nor faulty."""
_INTERVAL_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what one trained model did: its row of the table, faults found and normal rows above 1."""

    model: str
    place: str
    share: float
    found: NDArray[np.int64]
    faults: int
    false_rows: int
    normal_rows: int


@dataclass(frozen=True, slots=True)
class Case:
    """Hold a plant: its history, float64 [rows, 3], and a stream with faults at the rows `starts`."""

    history: NDArray[np.float64]
    stream: NDArray[np.float64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.float64]


def plant(seed: int) -> Case:
    """Return a plant of sines with noise; its stream has one fault of each size, channel and sign."""
    rng = np.random.default_rng([seed, 0])
    faults = [(size, channel, sign) for size in SIZES for channel in range(_CHANNELS) for sign in (-1, 1)]
    num_rows = _HISTORY_ROWS + (len(faults) + 1) * (_CALM_ROWS + _FAULT_ROWS)
    angle = 2 * np.pi * np.arange(num_rows)[:, None] / rng.uniform(20, 60, _CHANNELS)
    phase = rng.uniform(0, 2 * np.pi, (2, _CHANNELS))
    values = np.sin(angle + phase[0]) + 0.4 * np.sin(2 * angle + phase[1])
    values += _NOISE * rng.standard_normal(values.shape)
    history, stream = values[:_HISTORY_ROWS], values[_HISTORY_ROWS:].copy()
    rng.shuffle(faults)
    starts = np.arange(1, len(faults) + 1) * (_CALM_ROWS + _FAULT_ROWS)
    for start, (size, channel, sign) in zip(starts.tolist(), faults, strict=True):
        stream[start : start + _FAULT_ROWS, channel] += sign * size * _NOISE
    return Case(history, stream, starts, np.array([fault[0] for fault in faults]))


def contaminated(history: NDArray[np.float64], share: float, place: str, seed: int) -> NDArray[np.float64]:
    """Return a copy of which about this share of the rows has faults, in turn a level, a spike, stuck values.

    Args:
        history: Clean rows, float64 [rows, C].
        share: Share of the rows.
        place: "anywhere", or "end": one fault after the other in the newest rows.
        seed: Seed of places, channels and sizes.
    """
    rng = np.random.default_rng([seed, 1])
    copy = history.copy()
    left, end, number = round(share * len(copy)), len(copy), 0
    while left > 0:
        rows = min(left, (20, 1, 30)[number % 3])
        start = end - rows if place == "end" else int(rng.integers(len(copy) - rows))
        column = copy[start : start + rows, rng.integers(copy.shape[1])]
        if number % 3 == 2:
            column[:] = column[0]
        else:
            column += rng.choice([-1, 1]) * rng.uniform(8, 40) * _NOISE
        left, end, number = left - rows, end - rows, number + 1
    return copy


def judge(case: Case, model: str, share: float, place: str, seed: int) -> Outcome:
    """Train on the contaminated history of a plant, and count what its stream shows."""
    history = contaminated(case.history, share, place, seed)
    times = pd.date_range("2026-01-01", periods=len(history), freq="min", tz="UTC")
    frame = pd.DataFrame(history, times, [f"c{at}" for at in range(history.shape[1])])
    above = exceeded(fit(frame, model=model), case.stream)
    rows = case.starts[:, None] + np.arange(_FAULT_ROWS)
    is_found = above[rows].any(axis=1)
    is_normal = np.ones(len(above), np.bool_)
    is_normal[: _AFTER_FAULT + 1] = False  # windows that are not full yet
    is_normal[(case.starts[:, None] + np.arange(_FAULT_ROWS + _AFTER_FAULT)).ravel()] = False
    found = np.array([np.count_nonzero(is_found & (case.sizes == size)) for size in SIZES])
    num_false = int(np.count_nonzero(above & is_normal))
    return Outcome(model, place, share, found, len(case.sizes), num_false, int(is_normal.sum()))


def exceeded(artifact: Artifact, stream: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of a stream exceed the calibrated threshold, bool [rows]."""
    engine = Engine(artifact, EngineOptions())
    row = np.arange(len(stream))
    zeros = np.zeros(len(row), np.int32)
    step = engine.step(Readings(("plant",), zeros, row * _INTERVAL_NS, stream, zeros, row))
    above = np.zeros(len(row), np.bool_)
    for verdicts in (step.verdicts, engine.flush().verdicts):
        at = verdicts.timestamp_ns // _INTERVAL_NS
        above[at] = verdicts.score > 1.0
    return above


def outcomes(model: str, seeds: Iterable[int], shares: Sequence[float] = SHARES) -> list[Outcome]:
    """Return the outcomes of a model for these plants, each share and each place."""
    found = []
    for seed in seeds:
        case = plant(seed)
        for share in shares:
            for place in PLACES if share else ("none",):
                found.append(judge(case, model, share, place, seed))
                print(f"{model}, plant {seed}, {share:.1%} {place}: {found[-1].found.tolist()}", flush=True)
    return found


def table(found: Sequence[Outcome]) -> str:
    """Return the recall by model, place and share as a table."""
    sizes = " | ".join(f"{size:g} times the noise" for size in SIZES)
    head = f"| model | contaminated | where | {sizes} | all | normal rows above 1 |"
    lines = [head, "|" + "---|" * (len(SIZES) + 5)]
    for model, share, place in dict.fromkeys((one.model, one.share, one.place) for one in found):
        mine = [one for one in found if (one.model, one.share, one.place) == (model, share, place)]
        recall = _recall(mine)
        cells = " | ".join(f"{part:.2f}" for part in (*recall, recall.mean()))
        false = sum(one.false_rows for one in mine) / sum(one.normal_rows for one in mine)
        lines.append(f"| {model} | {share:.1%} | {place} | {cells} | {false:.2%} |")
    return "\n".join(lines)


def draw(found: Sequence[Outcome], path: Path) -> None:
    """Draw the recall over the contaminated share, a line for each model and place."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for model in dict.fromkeys(one.model for one in found):
        for place, style in zip(PLACES, ("-o", "--s"), strict=True):
            mine = [one for one in found if one.model == model and one.place in (place, "none")]
            shares = sorted({one.share for one in mine})
            recall = [_recall([one for one in mine if one.share == share]).mean() for share in shares]
            axes.plot([100 * share for share in shares], recall, style, label=f"{model}, {place}")
    axes.set(xlabel="contaminated rows of the history, %", ylabel="recall, all sizes", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def written(page: str, text: str) -> str:
    """Return the page with the table in its place."""
    before, begin, rest = page.partition("<!-- contamination -->\n")
    _, end, after = rest.partition("<!-- end -->")
    assert begin
    assert end
    return f"{before}{begin}{text}\n{end}{after}"


def _recall(found: Sequence[Outcome]) -> NDArray[np.float64]:
    """Return the share of faults found for each size, float64 [sizes]."""
    of_each_size = sum(one.faults for one in found) / len(SIZES)
    recall: NDArray[np.float64] = np.sum([one.found for one in found], axis=0) / of_each_size
    return recall


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="plants for the linear model")
    parser.add_argument("--ensemble-seeds", type=int, default=2, help="plants for the default ensemble")
    parser.add_argument("--quick", action="store_true", help="one plant, the linear model, one share")
    parser.add_argument("--write", action="store_true", help="put table and curve into the docs")
    options = parser.parse_args(argv)
    if options.quick:
        print(table(outcomes("linear", [0], (0.02,))))
        return 0
    counts = zip(MODELS, (options.seeds, options.ensemble_seeds), strict=True)
    found = [one for model, num in counts for one in outcomes(model, range(num))]
    text = table(found)
    print(text)
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
        draw(found, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
