"""What `streamgauge backtest` writes for people: a report of one file, alone or beside a second model."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import is_remote
from detector.commands.models.backtest_cluster import upload_results
from detector.errors import DetectorError

if TYPE_CHECKING:
    from connectors.records import Batch
    from detector.artifact.spec import Artifact
    from detector.engine.engine import EngineOptions
    from detector.offline.backtest import BacktestOutcome, Follow, Given
    from detector.reports.budgets import Slider
    from detector.reports.reported import Reported


@dataclass(frozen=True, slots=True)
class Replayed:
    """Hold a backtest that has run, and the directory with its files."""

    artifact: Artifact
    outcome: BacktestOutcome
    directory: Path
    options: EngineOptions
    given: Given
    slider: Slider


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
        "--budgets",
        metavar="LIST",
        help="with --report: the alarm budgets of its slider, such as 1/month,1/day; none leaves it out;"
        " default: five",
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
    if args.budgets and not args.report:
        raise DetectorError("--budgets: chooses the slider of a report; name its file with --report")
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
    """Give the directory of the files of a backtest: --out, a temporary one for a report, or none.

    What was written for a URI as --out is uploaded at the end.
    """
    if args.out and is_remote(args.out):
        with tempfile.TemporaryDirectory(prefix="streamgauge-backtest-") as directory:
            yield Path(directory)
            upload_results(Path(directory), args.out)
        return
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
    from detector.reports.backtest_report import write_report
    from detector.reports.reported import Reported

    data, out, slider = Path(args.data), Path(args.report), replayed.slider
    shown = Reported(replayed.artifact, replayed.outcome, replayed.directory, data, slider)
    with tempfile.TemporaryDirectory(prefix="streamgauge-compare-") as directory:
        other = _second(args, replayed, Path(directory)) if args.compare else None
        size = write_report(out, shown, shlex.join(["streamgauge", *sys.argv[1:]]), other)
    print(f"written: {out}, {size / 1e6:.1f} MB, opens in any browser", file=sys.stderr)


def slider_for(args: argparse.Namespace, artifact: Artifact, options: EngineOptions) -> Slider:
    """Return the slider of the report, without budgets where there is none. Raises DetectorError."""
    from detector.calibration.stored_feedback import feedback_at
    from detector.reports.budgets import slider_of

    budgets = _budgets(args, artifact) if args.report else ()
    feedback = feedback_at(args.artifact) if budgets else ()
    return slider_of(artifact, budgets, feedback, options, bool(args.decisions))


@contextmanager
def following(args: argparse.Namespace, slider: Slider) -> Iterator[Follow | None]:
    """Give what lets the budgets follow a backtest, with a progress bar; None where there are none."""
    from detector.commands.autoencoder import progress_bar
    from detector.offline.history_files import history_for

    followers = slider.followers
    if followers is None:
        yield None
        return
    with progress_bar("report", history_for(slider.artifact.spec, Path(args.data)).num_rows) as advance:

        def follow(batch: Batch | None) -> None:
            followers.follow(batch)
            advance(0 if batch is None else len(batch.readings))

        yield follow


def _budgets(args: argparse.Namespace, artifact: Artifact) -> tuple[str, ...]:
    """Return the budgets of the slider, the strictest first; empty for none. Raises DetectorError."""
    from detector.calibration.alarm_budget import parse_budget, shared_by
    from detector.offline.previews.preview import budgets_like

    if args.budgets == "none":
        return ()
    spec = artifact.spec
    in_force = shared_by(spec.threshold.alarm_budget, spec.num_series)
    if not args.budgets:
        return budgets_like(in_force)
    try:
        asked = [shared_by(one.strip(), spec.num_series) for one in args.budgets.split(",")]
    except ValueError as error:
        raise DetectorError(f"--budgets: {error}; or write none") from error
    return tuple(sorted({*asked, in_force}, key=parse_budget))


def _write_pictures(out: Path, replayed: Replayed) -> None:
    from detector.offline.frames import incidents_frame
    from detector.plots.drawing import save_pictures

    written = save_pictures(
        replayed.directory / "scores.parquet", incidents_frame(replayed.outcome.incidents), out
    )
    print(f"written: {len(written):,} pictures in {out}", file=sys.stderr)


def _second(args: argparse.Namespace, first: Replayed, directory: Path) -> Reported:
    """Run the second model over the same data, by the same rules."""
    from detector.artifact.registry import open_artifact
    from detector.offline.backtest import backtest_parquet
    from detector.offline.backtest_record import write_record
    from detector.reports.budgets import slider_of
    from detector.reports.reported import Reported

    other, data = open_artifact(args.compare), Path(args.data)
    given = replace(first.given, decisions=(), follow=None)
    outcome = backtest_parquet(other, data, first.options, directory, given)
    write_record(directory, other, f"--compare {args.compare}", ())
    return Reported(other, outcome, directory, data, slider_of(other, (), (), first.options, False))
