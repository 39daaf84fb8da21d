"""The slow tier: many seeded schedules of faults against a real Kafka, and their summary.

python -m tests.faults.run [--seeds 0-99] [--readings 100000] [--minutes M]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.cluster import Cluster
from tests.faults.harness import Plan, Report, run_schedule


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(argv)
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    directory = Path(tempfile.mkdtemp(prefix="streamgauge-faults-"))
    cluster = Cluster(_made(directory / "broker"))
    deadline = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    reports: list[Report] = []
    try:
        for seed in seeds:
            if time.monotonic() > deadline:
                break
            place = _made(directory / f"seed-{seed}")
            plan = Plan(seed, arguments.readings, mode=arguments.mode, has_two_models=seed % 4 == 3)
            reports.append(run_schedule(cluster, plan, place))
            print(line(reports[-1]), flush=True)
            if reports[-1].is_right:
                shutil.rmtree(place)
            else:
                print(f'  run it alone: make faults FAULTS_FLAGS="--seeds {seed}"; logs: {place}', flush=True)
    finally:
        cluster.close()
    summary = summarise(reports)
    print(json.dumps(summary, indent=1))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(summary, indent=1) + "\n")
    if summary["failed"]:
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def line(report: Report) -> str:
    """A schedule in a line."""
    wrong = {
        kind: f"{one.lost} lost, {one.doubled} doubled, {one.unexpected} unexpected,"
        f" {one.different} different"
        for kind, one in report.comparison.items()
        if not one.is_right
    }
    verdicts = report.comparison.get("verdicts")
    return (
        f"seed {report.plan.seed}: {'ok' if report.is_right else 'WRONG'} in {report.seconds:.0f} s,"
        f" {verdicts.expected if verdicts else 0} verdicts, {report.aborted} aborted,"
        f" {report.taken_up} taken up, {report.replayed} replayed,"
        f" {', '.join(f'{number} {what}' for what, number in report.context.items())};"
        f" {'; '.join(report.evidence)} {wrong or ''} {report.problem}"
        f" {'; '.join(report.set_back[:3])}".rstrip()
    )


def summarise(reports: Sequence[Report]) -> dict[str, object]:
    """All schedules together."""
    faults: Counter[str] = Counter()
    for report in reports:
        faults += report.faults
    context: Counter[str] = Counter()
    for report in reports:
        context.update(report.context)
    kinds = [one for report in reports for one in report.comparison.values()]
    return {
        "schedules": len(reports),
        "failed": [report.plan.seed for report in reports if not report.is_right],
        "readings": sum(report.plan.num_readings for report in reports),
        "faults": dict(faults),
        "committed offsets that went back": sum(len(report.set_back) for report in reports),
        "groups that hung": [report.plan.seed for report in reports if report.is_hanging],
        "transactions aborted": sum(report.aborted for report in reports),
        "partitions taken up": sum(report.taken_up for report in reports),
        "readings replayed": sum(report.replayed for report in reports),
        **context,
        "schedules with incidents of the season and of a mode": sum(
            report.context["incidents of the season"] > 0 and report.context["incidents of a mode"] > 0
            for report in reports
        ),
        "verdicts, incidents, dead letters and decisions compared": sum(one.expected for one in kinds),
        "lost": sum(one.lost for one in kinds),
        "doubled": sum(one.doubled for one in kinds),
        "unexpected": sum(one.unexpected for one in kinds),
        "different": sum(one.different for one in kinds),
        "seconds": round(sum(report.seconds for report in reports)),
    }


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=(__doc__ or "").strip())
    parser.add_argument("--seeds", default="0-99", metavar="A-B")
    parser.add_argument("--readings", type=int, default=100_000, metavar="N", help="of each schedule")
    parser.add_argument("--minutes", type=float, metavar="M", help="start no schedule after so long")
    parser.add_argument("--mode", default="exactly_once", choices=["exactly_once", "at_least_once"])
    parser.add_argument("--out", metavar="FILE", help="write the summary as JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
