"""Where `streamgauge backtest` runs: in this process, or with --on on a cluster."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.objects.names import is_remote, local_path, without_secrets
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from detector.engine.engine import EngineOptions
    from detector.offline.backtest import BacktestOutcome, Given

RESULTS = ("scores.parquet", "incidents.json", "backtest.json")
_ALONE = ("report", "compare", "plots", "budgets")


@dataclass(frozen=True, slots=True)
class ReplayOf:
    """Hold a model and how it is replayed; see `detector.offline.backtest.backtest_parquet`."""

    artifact: Artifact
    options: EngineOptions
    given: Given


def check_cluster_flags(args: argparse.Namespace) -> None:
    """Refuse flags that do not fit together, before the work. Raises ConfigError."""
    if args.on:
        for name in _ALONE:
            if getattr(args, name):
                raise ConfigError(
                    f"--{name} and --on exclude each other: write --out, and look at that with"
                    " `streamgauge explore`"
                )
        return
    for name, place in (("DATA", args.data), ("--out", args.out)):
        if place and is_remote(place):
            raise ConfigError(
                f"{name} {without_secrets(place)}: an object storage needs --on, such as --on dask"
            )


def judged(args: argparse.Namespace, replay: ReplayOf, directory: Path | None) -> BacktestOutcome:
    """Replay the data of the command line; write scores.parquet and incidents.json to a directory."""
    from detector.offline.backtest import backtest_parquet

    if not args.on:
        return backtest_parquet(replay.artifact, Path(args.data), replay.options, directory, replay.given)
    from detector.commands.autoencoder import progress_bar
    from detector.offline.parts.backtest_on import Asked, backtest_on
    from detector.workers.dask_cluster import workers_on

    place = None if directory is None else _full(args.out)
    asked = Asked(replay.artifact, _full(args.data), replay.options, replay.given, place, directory)
    with workers_on(args.on) as workers:
        return backtest_on(workers, asked, partial(progress_bar, "backtest"))


def upload_results(directory: Path, out: str) -> None:
    """Write what a backtest wrote to an object storage; the record comes last."""
    from connectors.objects.objects import Objects

    objects = Objects(out)
    for name in RESULTS:
        if (directory / name).exists():
            objects.upload(directory / name, name)


def _full(place: str) -> str:
    """Return a place with its full path, as workers run in other directories."""
    return place if is_remote(place) else str(Path(local_path(place)).absolute())
