"""The daemon as a consumer group, on a real Apache Kafka of this machine: Markdown tables.

    python -m benchmarks.scaling             a quarter of an hour, longer on a busy machine
    python -m benchmarks.scaling --quick     small sizes: shows that everything runs
    python -m benchmarks.scaling --only rebalances --changes 50

CPU time a row holds on a busy machine. Seconds and rows a second do not. Exits with 1 if a row of two
members costs more than 1.1 times one of a single member, if partitions are shared unfairly, or if anything
is lost or doubled.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from benchmarks.scaling.capacity import SIZES, Capacity, measure_sizes
from benchmarks.scaling.cost import measure_cost
from benchmarks.scaling.figures import Cost, needs, table
from benchmarks.scaling.group import NUM_PARTITIONS, NUM_SERIES, Site, site
from benchmarks.scaling.rebalances import LEAST_SECONDS, MOST_MEMBERS, Rebalanced, measure_rebalances
from benchmarks.scaling.takeover import SESSION_SECONDS, Takeover, measure_signals

PARTS = ("capacity", "takeover", "rebalances")
MOST_COST = 1.1
RATE, LOAD = 1_000_000, 0.6
"""Rows a second that the last table is about, and the share of each core that they may use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if a bar is missed."""
    arguments = _parse(argv)
    print(f"{os.cpu_count()} cores, shared by the broker, the members and the benchmark.\n")
    with tempfile.TemporaryDirectory(prefix="streamgauge-scaling-") as name:
        found = [_PARTS[part](Path(name) / part, arguments) for part in arguments.only]
    return 0 if all(found) else 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure")
    parser.add_argument("--changes", type=int, help="members that join or leave; default 50, quick 6")
    return parser.parse_args(argv)


def _capacity(directory: Path, arguments: argparse.Namespace) -> bool:
    sizes, num_rows, num_rounds = ((1, 2), 32_000, 1) if arguments.quick else (SIZES, 160_000, 3)
    with _site(directory) as where:
        found = measure_sizes(where, sizes, num_rows, num_rounds)
    print(groups_table(found))
    ratio = found[1].cpu_us_per_row / found[0].cpu_us_per_row
    print(f"\nCPU time a row, two members / one: {ratio:.2f} (at most {MOST_COST}).")
    print(f"{num_rounds} rounds of {num_rows:,} rows. {NUM_SERIES} series, {NUM_PARTITIONS} partitions.")
    print("CPU time holds on a busy machine; seconds and rows a second do not.")
    print(f"Rows a second cannot rise beyond {os.cpu_count()} cores, which the broker needs too.\n")
    cost = measure_cost(found[0].cpu_us_per_row, 2 if arguments.quick else 10)
    print(cost_tables(cost))
    return ratio <= MOST_COST and all(one.unfair <= 1 for one in found)


def groups_table(found: Sequence[Capacity]) -> str:
    """Return the table of groups by their size."""
    columns = (
        "members",
        "most less least partitions",
        "first commit, s",
        "rows/s",
        "CPU us a row",
        "of one",
    )
    rows = [
        (
            str(one.num_members),
            one.unfair,
            one.first_commit_seconds,
            one.rows_per_second,
            one.cpu_us_per_row,
            one.cpu_us_per_row / found[0].cpu_us_per_row,
        )
        for one in found
    ]
    return table(columns, rows)


def cost_tables(cost: Cost) -> str:
    """Return the cost of a row by step, and what a million rows a second need."""
    rest = cost.whole - cost.decode - cost.score - cost.write
    steps = {"decode": cost.decode, "score": cost.score, "encode": cost.write}
    lines = [(name, value) for name, value in (*steps.items(), ("client and service", rest))]
    need = needs(cost, RATE, LOAD)
    values = [
        ("cores, one a member", need.cores),
        ("partitions, two a member", need.partitions),
        ("MB/s from the brokers", need.mb_in),
        ("MB/s to the brokers, before replication", need.mb_out),
        ("rows/s of a partition", RATE / need.partitions),
    ]
    return (
        f"{table(('step', 'CPU us a row'), [*lines, ('whole', cost.whole)])}\n\n"
        f"Computed from these for {RATE:,} rows/s, with {LOAD:.0%} of each core in use; not measured:\n\n"
        f"{table(('what', 'needed'), values)}\n"
    )


def _takeover(directory: Path, arguments: argparse.Namespace) -> bool:
    with _site(directory) as where:
        found = measure_signals(where, 1 if arguments.quick else 3)
    print(takeover_table(found))
    print(f"\nSeconds until all {NUM_PARTITIONS} partitions are committed by the other member.")
    print(f"session_timeout {SESSION_SECONDS:.0f} s, transaction_timeout 10 s.\n")
    return True


def takeover_table(found: Sequence[Takeover]) -> str:
    """Return the table of signals."""
    rows = [(one.signal, len(one.seconds), median(one.seconds), max(one.seconds)) for one in found]
    return table(("signal", "rounds", "median s", "longest s"), rows)


def _rebalances(directory: Path, arguments: argparse.Namespace) -> bool:
    directory.mkdir(parents=True)
    found = measure_rebalances(directory, arguments.changes or (6 if arguments.quick else 50))
    print(rebalances_table(found))
    print(f"\n{found.num_changes} times a member joined or left, in a group of 1 to {MOST_MEMBERS}.")
    print(f"Waits of less than {LEAST_SECONDS} s are turns of the loop, and are not counted.")
    print(f"Committed offsets that went back: {len(found.set_back)}.\n")
    return found.is_right


def rebalances_table(found: Rebalanced) -> str:
    """Return the table of what came out, and of the time in which rows waited."""
    rows = [
        (kind, one.expected, one.lost, one.doubled, one.unexpected, one.different)
        for kind, one in found.comparison.items()
        if one.expected or not one.is_right
    ]
    outputs = table(("read_committed", "expected", "lost", "doubled", "unexpected", "different"), rows)
    waits = [
        ("length of the replay, s", found.seconds),
        ("rows waited and nothing was committed, s", sum(found.gaps)),
        ("of it a change of the group, s", sum(found.gaps) / found.num_changes),
        ("longest of these waits, s", max(found.gaps, default=0.0)),
    ]
    return f"{outputs}\n\n{table(('wait', 'seconds'), waits)}"


def _site(directory: Path) -> AbstractContextManager[Site]:
    directory.mkdir(parents=True)
    return site(directory)


_PARTS = {"capacity": _capacity, "takeover": _takeover, "rebalances": _rebalances}

if __name__ == "__main__":
    sys.exit(main())
