"""What `streamgauge run`, `backtest`, `inspect` and `config` do with their flags."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.engine.engine import EngineOptions
    from detector.offline.backtest import BacktestOutcome

DONE, FOUND = 0, 3


def run(args: argparse.Namespace) -> int:
    """`streamgauge run`: the daemon, until it is told to stop."""
    from detector.config.load import load_config

    path = Path(args.config)
    config = load_config(path)
    from detector.service.daemon import serve

    serve(config, lambda: load_config(path))
    return DONE


def backtest(args: argparse.Namespace) -> int:
    """`streamgauge backtest`: incidents on standard output, everything in --out; 3 with
    --fail-on-incident where there is one."""
    from detector.artifact.registry import open_artifact
    from detector.offline.backtest import backtest_parquet

    artifact = open_artifact(args.artifact)
    options = _backtest_options(args, artifact.spec.channel_names)
    out = Path(args.out) if args.out else None
    outcome = backtest_parquet(artifact, Path(args.data), options, out)
    if args.json:
        print(json.dumps(outcome.as_json()))
    else:
        _print_backtest(outcome, out)
    return FOUND if args.fail_on_incident and outcome.incidents else DONE


def _backtest_options(args: argparse.Namespace, channels: tuple[str, ...]) -> EngineOptions:
    """Those of the daemon's configuration, where one is named; --lateness wins."""
    from detector.config.engine_options import default_threads, engine_options
    from detector.config.load import load_config, parse_duration
    from detector.engine.engine import EngineOptions

    options = EngineOptions(threads=default_threads())
    if args.config:
        options = engine_options(load_config(Path(args.config)), channels)
    try:
        lateness = parse_duration(args.lateness) if args.lateness else None
    except ValueError as error:
        raise ConfigError(f"--lateness: {error}") from error
    return options if lateness is None else replace(options, lateness_ns=round(lateness * 1e9))


def inspect(args: argparse.Namespace) -> int:
    """`streamgauge inspect`: what is in an artifact; its hashes are checked on the way."""
    from detector.artifact.registry import open_artifact

    artifact = open_artifact(args.artifact)
    spec = asdict(artifact.spec)
    parameters = sum(p.numel() for p in artifact.module.parameters())
    if args.json:
        print(json.dumps({"version": artifact.version, "parameters": parameters, **spec}))
        return DONE
    print(f"{artifact.card.rstrip() or '# ' + artifact.spec.name}\n")
    print(f"version {artifact.version}, {parameters:,} weights; members:")
    for member in artifact.spec.members:
        print(f"  {member.family}, window {member.window}")
        for name, value in member.hyperparameters.items():
            print(f"    {name} = {value}")
    print("\nchannel: centre, scale, band (half width), rows of one value that mean stuck")
    for channel in artifact.spec.channels:
        stuck = channel.flatline_rows or "never"
        print(f"  {channel.name}: {channel.center:.6g}, {channel.scale:.6g}, {channel.band:.6g}, {stuck}")
    return DONE


def config_check(args: argparse.Namespace) -> int:
    """`streamgauge config check`: every problem of a file at once, or that it is fine."""
    from detector.config.load import load_config
    from detector.notify.notifiers import parts_of

    config = load_config(Path(args.file))
    told = [f"{section.name} ({section.kind} at {poster.shown})" for section, _, poster in parts_of(config)]
    print(
        f"{args.file}: fine; reads {config.kafka.topic} at {', '.join(config.kafka.bootstrap_servers)}"
        f" as {config.kafka.group_id}, judges with {config.model.path}, writes {config.output.prefix}.*"
        + (f", tells {', '.join(told)}" if told else "")
    )
    return DONE


def config_init(args: argparse.Namespace) -> int:
    """`streamgauge config init`: a commented example; an existing file is never overwritten."""
    from detector.config.example import example

    if args.file is None:
        sys.stdout.write(example())
        return DONE
    path = Path(args.file)
    try:
        with path.open("x") as file:
            file.write(example())
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already; delete it, or name another file") from error
    print(f"wrote {path}; edit it, then: streamgauge config check {path}")
    return DONE


def _print_backtest(outcome: BacktestOutcome, out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from detector.delivery.messages import iso

    console = Console() if sys.stdout.isatty() else Console(width=150)
    table = Table(title=f"{len(outcome.incidents)} incidents in {outcome.rows:,} rows")
    for name in ("series", "start", "end", "severity", "reason", "peak score", "channels", "id"):
        table.add_column(name, no_wrap=name != "channels")
    for incident in outcome.incidents:
        channels = (f"{c.name} {c.actual:.4g} (expected {c.expected:.4g})" for c in incident.channels)
        table.add_row(
            incident.series,
            iso(incident.start_ns),
            iso(incident.end_ns) if incident.end_ns is not None else "open",
            incident.severity,
            incident.reason.replace("_", " "),
            f"{incident.peak_score:.2f}",
            ", ".join(channels),
            incident.id,
        )
    console.print(table)
    for fold in outcome.folds:
        console.print(f"at once from {iso(fold.start_ns)}: {', '.join(fold.series)}", highlight=False)
    for reason, num in outcome.suppressed.items():
        if num:
            console.print(f"bad rows suppressed by {reason}: {num:,}", highlight=False)
    for name, value in outcome.measures.items():
        console.print(f"{name.replace('_', ' ')}: {_shown(value)}", highlight=False)
    if out is not None:
        console.print(f"written: {out / 'scores.parquet'}, {out / 'incidents.json'}", highlight=False)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
