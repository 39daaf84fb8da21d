"""Run the board and write docs/board.md."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.board import tables
from benchmarks.board.methods import OURS, PEERS
from benchmarks.board.runs import Task, perform

SETS = {"tsb-u": 8, "tsb-m": 3, "tsb-nab": 4, "smd": 5, "asd": 4, "mscloud": 12, "mgab": 3}
"""The data sets, and of how many files one is run unless `--every` says another number."""
ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "board.md"
PICTURE = ROOT / "docs" / "images" / "board.png"


def main() -> None:
    """Run what the command line asks for."""
    args = _arguments()
    args.out = args.out.resolve()  # the peers run in another directory
    args.out.mkdir(parents=True, exist_ok=True)
    tasks = _tasks(args)
    with ProcessPoolExecutor(args.jobs) as pool:
        running = {pool.submit(perform, task, args.out): task for task in tasks}
        for done, future in enumerate(as_completed(running), 1):
            print(f"{done}/{len(tasks)} {running[future].name}", file=sys.stderr, flush=True)
            future.result()
    found = tables.results(args.out)
    tables.write_csv(found, args.out / "board.csv")
    sets = [name for name in SETS if any(one == name for one, _, _ in found)]
    for name in sets:
        print(f"\n{name}\n\n{tables.table(found, name)}")
    if args.write and sets:
        _write({name: tables.table(found, name) for name in sets})
        tables.plot(found, sets, PICTURE)


def _write(shown: dict[str, str]) -> None:
    """Put the tables between their marks on the page."""
    text = PAGE.read_text()
    for name, lines in shown.items():
        mark = f"<!-- {name} -->\n"
        if mark in text:
            before, after = text.split(mark, 1)
            text = f"{before}{mark}{lines}\n<!-- end -->{after.split('<!-- end -->', 1)[1]}"
    PAGE.write_text(text)


def _tasks(args: argparse.Namespace) -> list[Task]:
    peers = {peer.name: peer for peer in PEERS}
    methods = args.methods.split(",") if args.methods else [*OURS, *peers]
    for name in methods:
        if name not in OURS and name not in peers:
            sys.exit(f"--methods: unknown {name!r}; known: {', '.join([*OURS, *peers])}")
    tasks = []
    for name in args.sets.split(","):
        files = sorted((args.data / name).glob("*.parquet"))
        if not files:
            print(f"{name}: skipped: no file in {args.data / name}", file=sys.stderr)
        chosen = files[:: args.every or SETS.get(name, 1)]
        tasks += [Task(path, peers.get(by, by)) for path in chosen for by in methods]
    return tasks


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.board",
        description="Compare our models with published ones at the same delays.",
        epilog="example: python -m benchmarks.board --sets tsb-u --every 8 --methods linear,sub-pca",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), metavar="DIR")
    parser.add_argument("--sets", default=",".join(SETS), metavar="NAME,...", help="data sets; default: all")
    parser.add_argument("--methods", default="", metavar="NAME,...", help="default: all")
    of_each = ", ".join(f"{name} {every}" for name, every in SETS.items())
    parser.add_argument(
        "--every", type=int, metavar="N", help=f"every Nth file of each data set; 1: all; default: {of_each}"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="tasks at a time")
    parser.add_argument("--out", type=Path, default=Path("build/board"), metavar="DIR")
    parser.add_argument("--write", action="store_true", help="put the tables and the plot into docs/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
