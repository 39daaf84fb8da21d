"""`streamgauge encode`, `reconstruct` and `sample`: a model used as an autoencoder."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.arguments import add_artifact, add_data, add_examples
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from detector.offline.encode import Encoded
    from detector.offline.reconstruct import Reconstructed
    from detector.offline.reconstruction_error import ReconstructionError

DONE = 0


def encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge encode`."""
    add_examples(parser, "streamgauge encode models/pump history/ --out codes.parquet")
    add_artifact(parser)
    add_data(parser)
    _add_out(parser)
    parser.add_argument(
        "--stride", type=int, metavar="N", help="rows from one window to the next; default: one window"
    )


def encode(args: argparse.Namespace) -> int:
    """Write one code per window; print what the codes lose. Returns the exit code."""
    from detector.artifact.registry import open_artifact
    from detector.offline.encode import encode_parquet

    artifact = open_artifact(args.artifact)
    with progress_bar("encode", _num_rows(args.data, artifact)) as advance:
        outcome = encode_parquet(artifact, Path(args.data), Path(args.out), args.stride, advance)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_encoded(outcome, args.out)
    return DONE


def reconstruct_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge reconstruct`."""
    add_examples(parser, "streamgauge reconstruct models/pump history/ --out filled.parquet --only-gaps")
    add_artifact(parser)
    add_data(parser)
    _add_out(parser)
    parser.add_argument("--only-gaps", action="store_true", help="keep observed values, fill missing ones")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="times a gap is refined after filling; default: 3"
    )


def reconstruct(args: argparse.Namespace) -> int:
    """Write the model's reconstruction of every row, or only fill the gaps. Returns the exit code."""
    from detector.artifact.registry import open_artifact
    from detector.offline.reconstruct import ReconstructOptions, reconstruct_parquet

    artifact = open_artifact(args.artifact)
    options = ReconstructOptions(only_gaps=args.only_gaps, rounds=args.rounds)
    with progress_bar("reconstruct", _num_rows(args.data, artifact)) as advance:
        outcome = reconstruct_parquet(artifact, Path(args.data), Path(args.out), options, advance)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_reconstructed(outcome, artifact.spec.max_gap, args.out)
    return DONE


def sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge sample`."""
    add_examples(
        parser,
        "streamgauge sample models/pump-vae --out samples.parquet --num 100 --seed 7 --start 2026-01-01",
    )
    add_artifact(parser)
    _add_out(parser)
    parser.add_argument("--num", type=int, required=True, metavar="N", help="number of windows to generate")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="equal seeds give equal windows")
    parser.add_argument(
        "--start", default="2000-01-01", metavar="TIME", help="start of every window, in ISO 8601"
    )


def sample(args: argparse.Namespace) -> int:
    """Write windows that the model generates. Returns the exit code."""
    from detector.artifact.registry import open_artifact
    from detector.offline.sample import sample_parquet

    start_ns = _nanoseconds(args.start)
    artifact = open_artifact(args.artifact)
    with progress_bar("sample", args.num * artifact.spec.window) as advance:
        rows = sample_parquet(artifact, Path(args.out), args.num, args.seed, start_ns, advance)
    if args.json:
        print(json.dumps({"windows": args.num, "rows": rows}))
    else:
        print(f"{args.num:,} windows of {artifact.spec.window} rows\nwritten: {args.out}")
    return DONE


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FILE", help="the Parquet file to write")


def _num_rows(data: str, artifact: Artifact) -> int:
    from detector.offline.history_files import history_for

    return history_for(artifact.spec, Path(data)).num_rows


@contextmanager
def progress_bar(title: str, num_rows: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal. Yields the function that adds a number of finished rows."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", "bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=num_rows)
        yield lambda rows: progress.advance(task, rows)


def _print_encoded(outcome: Encoded, out: str) -> None:
    from detector.offline.autoencoder import TOO_EMPTY

    print(
        f"{outcome.windows:,} windows of {outcome.cells:,} cells to codes of {outcome.latent:,} numbers:"
        f" {outcome.ratio:.3g} times smaller"
    )
    if outcome.file_ratio is not None:
        print(
            f"files: {outcome.input_bytes:,} bytes read, {outcome.output_bytes:,} written:"
            f" {outcome.file_ratio:.3g} times smaller"
        )
    _print_error("what the codes lose", outcome.fidelity)
    if outcome.left_over:
        rows = sum(outcome.left_over.values())
        print(f"left over: {rows:,} rows of {len(outcome.left_over):,} series are in no window")
    if outcome.empty:
        print(f"left out: {outcome.empty:,} windows with {TOO_EMPTY}")
    print(f"written: {out}")


def _print_reconstructed(outcome: Reconstructed, max_gap: int, out: str) -> None:
    from detector.offline.autoencoder import ENOUGH_KNOWN

    print(f"{outcome.rows:,} rows, each the mean over its windows ({outcome.windows:,} windows in all)")
    print(f"filled: {outcome.filled:,} missing cells")
    _print_error("difference from the observed values", outcome.fidelity)
    if outcome.long_gaps:
        print(f"not filled: {outcome.long_gaps:,} gaps of more than {max_gap} rows; they have no rows")
    if outcome.uncovered:
        print(f"not reconstructed: {outcome.uncovered:,} rows are in no window with {ENOUGH_KNOWN}")
    if outcome.missing:
        print(f"still missing: {outcome.missing:,} cells")
    print(f"written: {out}")


def _print_error(title: str, error: ReconstructionError) -> None:
    found = error.as_json()
    print(f"{title}: R^2 {_shown(found['r2'])}; root mean square error (share of the standard deviation):")
    for name, errors in found["channels"].items():
        share = "never varies" if errors["share"] is None else f"{errors['share']:.1%}"
        print(f"  {name}: {_shown(errors['rmse'])} ({share})")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _nanoseconds(text: str) -> int:
    """Return the nanoseconds since the epoch of an ISO 8601 time; without a zone it is UTC."""
    try:
        when = datetime.fromisoformat(text)
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--start {text}: not a time; write ISO 8601, as 2026-01-01T00:00:00Z") from error
    nanoseconds = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    if abs(nanoseconds) > 2**63 - 2**58:
        raise ConfigError(f"--start {text}: outside the years 1687 to 2253")
    return nanoseconds
