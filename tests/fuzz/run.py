"""The long run: `python -m tests.fuzz.run --inputs 1000000 [--minutes M] [--seed S] [--target NAME]`.

Of the inputs that are asked for, the codec gets as many, in batches; a configuration, an artifact, a file of
feedback and a Parquet file cost a thousand times more and get a share (`SHARES`). Every round of a target has
its own seed, so that a finding is seen again with `--seed S --target NAME --first ROUND --inputs 1`.

Prints a line a target; exits with 1 on a finding, which is printed with its input in base64.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from tests.fuzz.codec_target import CodecTarget
from tests.fuzz.file_targets import ArtifactTarget, ConfigTarget, FeedbackTarget, ParquetTarget
from tests.fuzz.finding import Finding
from tests.fuzz.format_target import FormatTarget


class Target(Protocol):
    """Draws inputs and checks what becomes of them."""

    def run(self) -> int:
        """One round; returns how many inputs it was. Raises Finding."""


TARGETS: dict[str, Callable[[random.Random, Path], Target]] = {
    "codec": lambda rng, _: CodecTarget(rng),
    "formats": lambda rng, _: FormatTarget(rng),
    "config": ConfigTarget,
    "artifact": ArtifactTarget,
    "feedback": FeedbackTarget,
    "parquet": ParquetTarget,
}
SHARES = {"codec": 1.0, "formats": 0.5, "config": 0.01, "artifact": 0.004, "feedback": 0.02, "parquet": 0.004}
WARM_SHARE = 0.2
"""Of a target's inputs, before memory is measured: caches and allocators fill."""
MOST_GROWTH_MIB = 64.0
"""A leak of 100 bytes an input would be 76 MiB over the last 800,000 of a million messages."""


@dataclass
class Outcome:
    """What a target's run came to."""

    inputs: int
    rounds: int
    seconds: float
    growth_mib: float
    findings: list[str]


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    args = _parse(arguments)
    warnings.simplefilter("ignore")  # numbers at the edge of float64 overflow to infinity, as they may
    deadline = time.monotonic() + 60 * args.minutes
    has_findings = False
    for name in [args.target] if args.target else list(TARGETS):
        inputs = max(1, round(args.inputs * (1.0 if args.target else SHARES[name])))
        outcome = run_target(name, args.seed, inputs, deadline, args.first)
        print(
            f"{name:9} {outcome.inputs:>9} inputs  {len(outcome.findings)} findings"
            f"  {outcome.seconds:7.1f} s  {outcome.growth_mib:+6.1f} MiB after warming up",
            flush=True,
        )
        print("\n".join(outcome.findings), end="\n" if outcome.findings else "", flush=True)
        has_findings |= bool(outcome.findings)
    return int(has_findings)


def run_target(
    name: str, seed: int, inputs: int, deadline: float = float("inf"), first: int = 0, most_findings: int = 5
) -> Outcome:
    """Rounds of a target until `inputs` are done, the time is up, or there are enough findings."""
    started = time.monotonic()
    rng = random.Random()
    done, number, warm_mib, findings = 0, first, float("nan"), []
    with tempfile.TemporaryDirectory(prefix="streamgauge-fuzz-") as scratch:
        rng.seed(f"{seed}/{name}")
        target = TARGETS[name](rng, Path(scratch))
        while done < inputs and len(findings) < most_findings and time.monotonic() < deadline:
            rng.seed(f"{seed}/{name}/{number}")
            try:
                done += target.run()
            except Finding as finding:
                done += 1
                findings.append(finding.report(name, f"{seed}, round {number}"))
            number += 1
            if warm_mib != warm_mib and done >= WARM_SHARE * inputs:
                warm_mib = resident_mib()
    growth_mib = resident_mib() - warm_mib
    if growth_mib > MOST_GROWTH_MIB:
        findings.append(f"FINDING in {name} (seed {seed}): memory grew by {growth_mib:.0f} MiB")
    return Outcome(done, number - first, time.monotonic() - started, growth_mib, findings)


def resident_mib() -> float:
    """Memory of this process in MiB, after a collection."""
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident / 2**20


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, help="messages for the codec; default 1000000"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=list(TARGETS), help="this one alone, with all the inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
