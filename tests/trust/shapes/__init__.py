"""Faults of known shapes through the engine: `python -m tests.trust.shapes` prints which shapes are named.

With --write the table goes into docs/explanations.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.plants.draws import Values
from detector.incidents.incident import Incident
from detector.incidents.shapes.explanation import SHAPES
from tests.trust.world import Replay, World, model_of, replayed

PAGE = Path(__file__).parents[3] / "docs" / "explanations.md"
START, END = "<!-- shapes -->\n", "<!-- end -->"
BEFORE, LONG, AFTER = 80, 120, 40
SIZES = (6.0, 12.0, 24.0)
WORLDS = ("pump", "wide-12")
_OTHER_TIME = 500
Change = Callable[[Values, Values, float, np.random.Generator], Values]


def _spike(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    found = values.copy()
    found[: int(rng.integers(1, 4))] += size
    return found


def _shift(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    return values + size


def _drift(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    return values + size * np.linspace(0.0, 1.0, len(values))


def _stuck(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    return np.full(len(values), values[0])


def _noise(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    return values + size / 2 * rng.normal(size=len(values))


def _period(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    at = np.arange(len(values))
    return values + size / 2 * np.sin(2 * np.pi * (at / rng.uniform(5.0, 12.0) + rng.uniform()))


def _uncoupled(values: Values, other: Values, size: float, rng: np.random.Generator) -> Values:
    return other


FAULTS: Mapping[str, tuple[Change, tuple[float, ...]]] = {
    "spike": (_spike, SIZES),
    "level shift": (_shift, SIZES),
    "drift": (_drift, SIZES),
    "stuck": (_stuck, (1.0,)),
    "noise": (_noise, SIZES),
    "changed period": (_period, SIZES),
    "lost correlation": (_uncoupled, (1.0,)),
}
"""How a fault changes the rows of a channel, and its sizes in spreads of the noise."""


def cases(
    shapes: Sequence[str], channels: Sequence[int], draws: int
) -> Iterator[tuple[str, float, int, int]]:
    """Yield shape, size, channel and draw of each fault. What has one size is drawn three times as often."""
    for shape in shapes:
        sizes = FAULTS[shape][1]
        for size in sizes:
            for channel in channels:
                for draw in range(draws * (1 if len(sizes) > 1 else len(SIZES))):
                    yield shape, size, channel, draw


def faulty(world: World, shape: str, size: float, channel: int, draw: int) -> Values:
    """Return live rows with a fault in one channel from row `BEFORE` on, for `LONG` rows."""
    rng = np.random.default_rng([world.seed, draw, channel, round(size)])
    machine = f"machine-{(world.seed + draw) % world.law.machines}"
    values, past = world.normal(machine, BEFORE + LONG + AFTER), world.past(machine)
    spread = float(np.std(np.diff(past[:, channel])) / np.sqrt(2))
    inside = slice(BEFORE, BEFORE + LONG)
    other = past[_OTHER_TIME + 37 * draw :][:LONG, channel]
    values[inside, channel] = FAULTS[shape][0](values[inside, channel], other, size * spread, rng)
    return values


def named(
    world: World, shapes: Sequence[str], channels: Sequence[int], draws: int
) -> Counter[tuple[str, str]]:
    """Return how often each shape was named for each fault; faults that open no incident are left out."""
    live = {
        f"{shape}|{size:g}|{channel}|{draw}": faulty(world, shape, size, channel, draw)
        for shape, size, channel, draw in cases(shapes, channels, draws)
    }
    found: Counter[tuple[str, str]] = Counter()
    for name, replay in replayed(world, model_of(world), live).items():
        one = first_during(replay)
        if one is not None and one.explanation is not None:
            found[name.partition("|")[0], one.explanation.shape] += 1
    return found


def first_during(replay: Replay) -> Incident | None:
    """Return the first incident that began while the fault was there, in its last state."""
    begun = (one for one in replay.incidents if BEFORE <= replay.world.row_of(one.start_ns) < BEFORE + LONG)
    return next(begun, None)


def right(found: Counter[tuple[str, str]]) -> float:
    """Return the mean share of right names over the shapes."""
    shares = []
    for shape in {true for true, _ in found}:
        total = sum(num for (true, _), num in found.items() if true == shape)
        shares.append(found[shape, shape] / total)
    return float(np.mean(shares))


def table(found: Counter[tuple[str, str]]) -> str:
    """Return the confusion table: a line for each fault, a column for each name that was given."""
    columns = [name for name in SHAPES if any(named == name for _, named in found)]
    lines = [f"| fault | incidents | right | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    for shape in FAULTS:
        num = sum(count for (true, _), count in found.items() if true == shape)
        share = f"{found[shape, shape] / num:.0%}" if num else "-"
        cells = (str(found[shape, name] or "") for name in columns)
        lines.append(f"| {shape} | {num} | {share} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"The mean over the shapes is {right(found):.0%}.", ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if less than 80 % are right."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust.shapes", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, metavar="N", help="worlds of a kind")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first seed")
    parser.add_argument(
        "--draws", type=int, default=2, metavar="N", help="faults of a kind, size and channel"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/explanations.md")
    given = parser.parse_args(argv)
    found: Counter[tuple[str, str]] = Counter()
    for kind in WORLDS:
        for seed in range(given.first, given.first + given.seeds):
            found += named(World(seed, kind), list(FAULTS), range(6), given.draws)
    print(table(found))
    if given.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        PAGE.write_text(before + START + table(found) + END + rest.partition(END)[2], encoding="utf-8")
    return int(right(found) < 0.8)
