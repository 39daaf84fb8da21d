"""What `streamgauge backtest` writes for people: a report of one file, alone or beside a second model."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import DetectorError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from detector.engine.engine import EngineOptions
    from detector.incidents.shapes.sentence import Wording
    from detector.offline.backtest import BacktestOutcome
    from detector.reports.reported import Reported


@dataclass(frozen=True, slots=True)
class Replayed:
    """Hold a backtest that has run, and the directory with its files."""

    artifact: Artifact
    outcome: BacktestOutcome
    directory: Path
    options: EngineOptions
    wording: Wording


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the flags of reports."""
    parser.add_argument(
        "--report", metavar="FILE", help="write everything as one HTML file that needs no server"
    )
    parser.add_argument(
        "--compare",
        metavar="ARTIFACT",
        help="with --report: a second model, set beside the first on the same data",
    )
    parser.add_argument(
        "--plots", metavar="DIR", help="draw series with incidents, and each incident, as PNG and SVG there"
    )


def check_flags(args: argparse.Namespace) -> None:
    """Refuse flags that do not fit together, before the work. Raises DetectorError."""
    if args.compare and not args.report:
        raise DetectorError(
            "--compare: sets two models side by side in a report; name its file with --report"
        )
    if args.report and importlib.util.find_spec("duckdb") is None:
        raise DetectorError("--report needs duckdb: install it with pip install 'streamgauge[explore]'")
    if args.plots:
        from detector.plots.drawing import check_matplotlib

        check_matplotlib()
    if args.report and Path(args.report).is_dir():
        raise DetectorError(
            f"--report: {args.report} is a directory; name a file, such as {args.report}/report.html"
        )


@contextmanager
def directory_for(args: argparse.Namespace) -> Iterator[Path | None]:
    """Give the directory of the files of a backtest: --out, a temporary one for a report, or none."""
    if args.out or not (args.report or args.plots):
        yield Path(args.out) if args.out else None
        return
    with tempfile.TemporaryDirectory(prefix="streamgauge-backtest-") as directory:
        yield Path(directory)


def write_reports(args: argparse.Namespace, replayed: Replayed) -> None:
    """Write what --plots, --report and --compare ask for. Raises DetectorError."""
    if args.plots:
        _write_pictures(Path(args.plots), replayed)
    if not args.report:
        return
    from detector.commands.autoencoder import progress_bar
    from detector.offline.history_files import history_for
    from detector.reports.backtest_report import write_report

    data, out = Path(args.data), Path(args.report)
    shown = _reported(args.artifact, replayed, data)
    rows = history_for(replayed.artifact.spec, data).num_rows
    with tempfile.TemporaryDirectory(prefix="streamgauge-compare-") as directory:
        other = _second(args, replayed, Path(directory)) if args.compare else None
        with progress_bar("report", rows) as advance:
            size = write_report(out, shown, shlex.join(["streamgauge", *sys.argv[1:]]), advance, other)
    print(f"written: {out}, {size / 1e6:.1f} MB, opens in any browser", file=sys.stderr)


def _write_pictures(out: Path, replayed: Replayed) -> None:
    from detector.offline.frames import incidents_frame
    from detector.plots.drawing import save_pictures

    written = save_pictures(
        replayed.directory / "scores.parquet", incidents_frame(replayed.outcome.incidents), out
    )
    print(f"written: {len(written):,} pictures in {out}", file=sys.stderr)


def _reported(location: str, replayed: Replayed, data: Path) -> Reported:
    from detector.calibration.feedback import read_feedback
    from detector.reports.reported import Reported

    feedback = read_feedback(Path(location))
    return Reported(replayed.artifact, replayed.outcome, replayed.directory, data, replayed.options, feedback)


def _second(args: argparse.Namespace, first: Replayed, directory: Path) -> Reported:
    """Run the second model over the same data, by the same rules."""
    from detector.artifact.registry import open_artifact
    from detector.offline.backtest import backtest_parquet
    from detector.offline.backtest_record import write_record

    other = open_artifact(args.compare)
    outcome = backtest_parquet(other, Path(args.data), first.options, directory, (), first.wording)
    write_record(directory, other, f"--compare {args.compare}", ())
    return _reported(
        args.compare, Replayed(other, outcome, directory, first.options, first.wording), Path(args.data)
    )
