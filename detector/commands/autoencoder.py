"""What `streamgauge encode`, `reconstruct` and `sample` do with their flags."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.offline.encode import Encoded
    from detector.offline.reconstruct import Reconstructed
    from detector.offline.reconstruction_error import ReconstructionError

DONE = 0


def encode(args: argparse.Namespace) -> int:
    """`streamgauge encode`: one code a window, and what the codes lose."""
    from detector.artifact.registry import open_artifact
    from detector.offline.encode import encode_parquet

    artifact = open_artifact(args.artifact)
    with _progress("encode", _num_rows(args.data, artifact.spec.channel_names)) as tell:
        outcome = encode_parquet(artifact, Path(args.data), Path(args.out), args.stride, tell)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_encoded(outcome, args.out)
    return DONE


def reconstruct(args: argparse.Namespace) -> int:
    """`streamgauge reconstruct`: the same rows as the model sees them, or only their gaps filled."""
    from detector.artifact.registry import open_artifact
    from detector.offline.reconstruct import ReconstructOptions, reconstruct_parquet

    artifact = open_artifact(args.artifact)
    options = ReconstructOptions(only_gaps=args.only_gaps, rounds=args.rounds)
    with _progress("reconstruct", _num_rows(args.data, artifact.spec.channel_names)) as tell:
        outcome = reconstruct_parquet(artifact, Path(args.data), Path(args.out), options, tell)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_repaired(outcome, artifact.spec.max_gap, args.out)
    return DONE


def sample(args: argparse.Namespace) -> int:
    """`streamgauge sample`: windows that the model makes up."""
    from detector.artifact.registry import open_artifact
    from detector.offline.sample import sample_parquet

    start_ns = _nanoseconds(args.start)
    artifact = open_artifact(args.artifact)
    with _progress("sample", args.num * artifact.spec.window) as tell:
        rows = sample_parquet(artifact, Path(args.out), args.num, args.seed, start_ns, tell)
    if args.json:
        print(json.dumps({"windows": args.num, "rows": rows}))
    else:
        print(f"{args.num:,} windows of {artifact.spec.window} rows\nwritten: {args.out}")
    return DONE


def _num_rows(data: str, channels: tuple[str, ...]) -> int:
    from connectors.parquet.dataset import discover

    return discover(Path(data), channels).num_rows


@contextmanager
def _progress(title: str, num_rows: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere: takes the number of rows that were done since the last call."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
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
    print(
        f"{outcome.windows:,} windows of {outcome.cells:,} cells to codes of {outcome.latent:,} numbers:"
        f" {outcome.ratio:.3g} times smaller"
    )
    if outcome.file_ratio is not None:
        print(
            f"files: {outcome.input_bytes:,} bytes read, {outcome.output_bytes:,} written:"
            f" {outcome.file_ratio:.3g} times smaller"
        )
    _print_fidelity("what the codes lose", outcome.fidelity)
    if outcome.left_over:
        rows = sum(outcome.left_over.values())
        print(f"left over: {rows:,} rows of {len(outcome.left_over):,} series are in no window")
    if outcome.empty:
        print(f"left out: {outcome.empty:,} windows with less than half of their values")
    print(f"written: {out}")


def _print_repaired(outcome: Reconstructed, max_gap: int, out: str) -> None:
    print(f"{outcome.rows:,} rows, each the mean over the windows that hold it ({outcome.windows:,} windows)")
    print(f"filled: {outcome.filled:,} missing cells")
    _print_fidelity("difference to what was observed", outcome.fidelity)
    if outcome.long_gaps:
        print(f"not filled: {outcome.long_gaps:,} gaps of more than {max_gap} rows; they have no rows")
    if outcome.uncovered:
        print(f"not reconstructed: {outcome.uncovered:,} rows are in no window with half of its values")
    if outcome.missing:
        print(f"missing still: {outcome.missing:,} cells")
    print(f"written: {out}")


def _print_fidelity(title: str, fidelity: ReconstructionError) -> None:
    found = fidelity.as_json()
    print(f"{title}: R^2 {_shown(found['r2'])}; root mean square (share of the standard deviation):")
    for name, errors in found["channels"].items():
        share = "never varies" if errors["share"] is None else f"{errors['share']:.1%}"
        print(f"  {name}: {_shown(errors['rmse'])} ({share})")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 time, without a zone UTC."""
    try:
        when = datetime.fromisoformat(text)
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--start {text}: not a time; write ISO 8601, as 2026-01-01T00:00:00Z") from error
    nanoseconds = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
    if abs(nanoseconds) > 2**63 - 2**58:
        raise ConfigError(f"--start {text}: outside the years 1687 to 2253")
    return nanoseconds
