"""How long a person waits for `streamgauge --help`, beside Python's own start."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.measurement import Measurement, alternate


def measure(quick: bool) -> list[Measurement]:
    """Milliseconds from the command to the end of its answer."""
    asked, bare = alternate(
        lambda: _milliseconds("-m", "streamgauge", "--help"),
        lambda: _milliseconds("-c", "pass"),
        num_rounds=3 if quick else 15,
    )
    return [Measurement("streamgauge --help", asked, "ms", detail={"python_alone_ms": round(bare, 1)})]


def _milliseconds(*arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3
