"""`streamgauge init`: look at data or at a topic, write configurations, name the next commands."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from detector.commands.arguments import add_examples
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from trainer.setup.look import Look

DONE, STOPPED = 0, 1
_TRAIN, _DAEMON = "train.toml", "streamgauge.toml"


def init_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge init`."""
    add_examples(
        parser,
        "streamgauge init history.csv",
        "streamgauge init history/ --out plant/ --force",
        "streamgauge init log.csv --time measured_at --series machine",
        "streamgauge init readings --bootstrap localhost:9092",
        "streamgauge init readings --bootstrap localhost:9092 --schema-registry http://localhost:8081",
    )
    parser.add_argument(
        "data", metavar="DATA|TOPIC", help="Parquet or CSV, a file or a directory; with --bootstrap: a topic"
    )
    parser.add_argument(
        "--bootstrap",
        "--bootstrap-servers",
        dest="bootstrap_servers",
        metavar="HOST:PORT",
        help="address of a Kafka broker: look at the topic of this name",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the daemon's configuration: how to reach and log in to the broker"
    )
    parser.add_argument(
        "--schema-registry", metavar="URL", help="the registry that has the schemas of a topic of Avro"
    )
    parser.add_argument("--time", metavar="COLUMN", help="column of the times; default: found")
    parser.add_argument("--series", metavar="COLUMN", help="column that names the machines; default: found")
    parser.add_argument("--out", default=".", metavar="DIR", help="directory to write to; default: this one")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def init(args: argparse.Namespace) -> int:
    """Write configurations. Returns 1 if the data must be changed before a training, else 0."""
    return _init_topic(args) if args.bootstrap_servers or args.config else _init_data(args)


def _init_data(args: argparse.Namespace) -> int:
    from connectors.names import ColumnNames
    from trainer.progress import reporting
    from trainer.setup.daemon_file import Stream, daemon_file
    from trainer.setup.look import look_at
    from trainer.setup.train_file import train_file
    from trainer.setup.warnings_of import warnings_of

    data, out = Path(args.data), Path(args.out)
    _check_free(out, (_TRAIN, _DAEMON), args.force)
    if not data.exists():
        raise TrainerError(f"{data}: no such file or directory; for a topic, add --bootstrap HOST:PORT")
    with reporting("looking") as progress:
        look = look_at(data, progress, ColumnNames(args.time, args.series))
    model = out / "models" / look.name
    series = look.report.profile.series[0]
    stream = Stream((), None, {}, look.channels, series, look.interval_seconds)
    texts = {_TRAIN: train_file(look), _DAEMON: daemon_file(stream, str(model), str(data))}
    _write(out, texts)
    for line in warnings_of(look):
        print(line, file=sys.stderr)
    _print_written(out, texts)
    return _next_of(look, model, out / _TRAIN)


def _next_of(look: Look, model: Path, config: Path) -> int:
    """Print the next commands. Returns the exit code."""
    path, entry, file = (shlex.quote(str(one)) for one in (look.data, model, config))
    if look.stopping():
        names = ", ".join(one.name for one in look.stopping())
        print(f"the data must be changed first ({names}); then repeat this command with --force")
        return STOPPED
    print("next:")
    print(f"  streamgauge train {path} --config {file} --out {entry}")
    print(f"  streamgauge backtest {entry} {path}")
    return DONE


def _init_topic(args: argparse.Namespace) -> int:
    from trainer.setup.daemon_file import daemon_file
    from trainer.setup.topic import look_at_topic

    out = Path(args.out)
    _check_free(out, (_DAEMON,), args.force)
    args.topic = args.data
    look = look_at_topic(args)
    for line in look.lines:
        print(line)
    for line in look.refused:
        print(f"warning: {line}", file=sys.stderr)
    text = daemon_file(look.stream, str(out / "models" / args.topic), f"the topic {args.topic}")
    _write(out, {_DAEMON: text})
    _print_written(out, (_DAEMON,))
    history = out / "history"
    print("next:")
    print(f"  streamgauge record --config {out / _DAEMON} --out {history} --until-end")
    print(f"  streamgauge init {history} --out {out} --force")
    return DONE


def _check_free(out: Path, names: tuple[str, ...], is_forced: bool) -> None:
    """Raise TrainerError where a file exists that must not be replaced."""
    for name in names:
        if (out / name).exists() and not is_forced:
            raise TrainerError(f"{out / name}: exists already; --force replaces it, or name another --out")


def _write(out: Path, texts: Mapping[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")


def _print_written(out: Path, names: Mapping[str, str] | tuple[str, ...]) -> None:
    print(f"written: {', '.join(str(out / name) for name in names)}")
