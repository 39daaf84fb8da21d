"""All benchmarks: a table, and JSON for machines.

    python -m benchmarks.run [--quick] [--only engine,daemon] [--check] [--json build/bench.json]

Each benchmark is a module with `measure(quick) -> list[Measurement]`. It runs in a process of its own, so
that memory and threads of another benchmark do not disturb it. `--quick` uses tiny sizes: it checks only
that everything runs, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module, metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measurement import Measurement

BENCHMARKS = (
    "help",
    "engine",
    "ensemble",
    "scrape",
    "daemon",
    "latency.alerts",
    "footprint.start",
    "messages.formats",
    "train",
    "measures",
    "pages.explorer",
    "pages.reports",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if one failed, or if `--check` was given and a promise is not kept."""
    arguments = _parse(argv)
    measurements: list[Measurement] = []
    failed: list[str] = []
    for name in arguments.only:
        start = time.perf_counter()
        try:
            measurements += in_own_process(name, arguments.quick)
        except Exception as error:  # one failure must not hide the figures of the others
            failed.append(name)
            print(f"{name}: failed: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    _print_table(measurements, arguments.quick)
    _write_json(measurements, arguments)
    broken = [m.name for m in measurements if m.kept is False]
    return 1 if failed or (arguments.check and broken) else 0


def in_own_process(name: str, quick: bool) -> list[Measurement]:
    """Return the measurements of one benchmark, run in a fresh interpreter."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, name, quick).result()


def _measure(name: str, quick: bool) -> list[Measurement]:
    measurements: list[Measurement] = import_module(f"benchmarks.{name}").measure(quick)
    return measurements


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: checks only that it runs")
    parser.add_argument("--only", type=_names, default=BENCHMARKS, metavar="A,B", help=", ".join(BENCHMARKS))
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise is not kept")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), metavar="FILE")
    return parser.parse_args(argv)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _print_table(measurements: Sequence[Measurement], quick: bool) -> None:
    table = Table(title="Benchmarks" + (" (quick: the figures mean nothing)" if quick else ""))
    for column, justify in (("what", "left"), ("figure", "right"), ("bound", "left"), ("", "left")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("made of")
    for m in measurements:
        kept = {None: "", True: "kept", False: "MISSED"}[None if quick else m.kept]
        detail = ", ".join(f"{key} {_short(value)}" for key, value in m.detail.items())
        table.add_row(m.name, f"{_short(m.value)} {m.unit}", m.bound, kept, detail)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _short(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _write_json(measurements: Sequence[Measurement], arguments: argparse.Namespace) -> None:
    machine = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "num_cpus": os.cpu_count(),
        **{name: metadata.version(name) for name in ("torch", "numpy", "kafka-python", "pyarrow")},
    }
    document = {
        "quick": arguments.quick,
        "machine": machine,
        "measurements": [m.as_json() for m in measurements],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    sys.exit(main())
