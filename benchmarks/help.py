"""Time of `streamgauge --help`, beside the start of Python alone."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.measurement import Measurement, alternate


def measure(quick: bool) -> list[Measurement]:
    """Measure the milliseconds from the start of the command to its end."""
    help_ms, bare = alternate(
        lambda: _milliseconds("-m", "streamgauge", "--help"),
        lambda: _milliseconds("-c", "pass"),
        num_rounds=3 if quick else 15,
    )
    return [Measurement("streamgauge --help", help_ms, "ms", detail={"python_alone_ms": round(bare, 1)})]


def _milliseconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3
