"""Judge many seeds and print a table: `python -m tests.silence.run --seeds 1000`, or one by `--seed N`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from tests.silence.corruptions import CORRUPTIONS
from tests.silence.judge import Judgement, judge


def corruption_of(seed: int) -> str:
    """Return the corruption of a seed: they take turns, so that every one has as many seeds."""
    return list(CORRUPTIONS)[seed % len(CORRUPTIONS)]


def main() -> int:
    """Judge the seeds; return 1 if a fault was neither found nor told of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--seed", type=int, help="only this one, in full")
    parser.add_argument("--only", choices=CORRUPTIONS, help="only this corruption")
    args = parser.parse_args()
    if args.seed is not None:
        print(judge(args.seed, args.only or corruption_of(args.seed)))
        return 0
    counts: dict[str, Counter[str]] = {name: Counter() for name in CORRUPTIONS}
    new = 0
    for one in _judged(args.seeds, args.only):
        outcome = "found" if one.found else "told" if one.told else "silent"
        counts[one.corruption][outcome] += 1
        if one.is_silent:
            new += 1
            print(f"silent: {one.command}")
    print(f"{'corruption':40} found  told silent")
    for name, count in counts.items():
        print(f"{name:40} {count['found']:5} {count['told']:5} {count['silent']:6}")
    return 1 if new else 0


def _judged(num_seeds: int, only: str | None) -> Iterator[Judgement]:
    for seed in range(num_seeds):
        yield judge(seed, only or corruption_of(seed))


if __name__ == "__main__":
    raise SystemExit(main())
