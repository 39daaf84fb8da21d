"""`streamgauge archive`: keep what a running group publishes, without a web server."""

from __future__ import annotations

import argparse
import importlib.util
import re
import signal
import threading
from typing import TYPE_CHECKING

from detector.commands.arguments import add_examples
from detector.errors import ConfigError, DetectorError

if TYPE_CHECKING:
    from detector.explore.archive.archive import Limits
    from detector.explore.archive.archiving import Archiving
    from detector.explore.storage.place import Place

DONE = 0
_LEAST_SECONDS, _MOST_SECONDS = 86_400, 3660 * 86_400
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_LOOK_SECONDS = 0.5


def archive_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge archive`."""
    add_examples(
        parser,
        "streamgauge archive streamgauge.toml --store /var/lib/streamgauge/archive",
        "streamgauge archive streamgauge.toml --store 's3://bucket/plant?region=eu-central-1' --keep 90d",
        "streamgauge explore 's3://bucket/plant?region=eu-central-1'   # elsewhere: look at it",
    )
    parser.add_argument("config", metavar="CONFIG", help="configuration file of a daemon")
    add_limits(parser)
    add_store(
        parser, "where to archive: a directory, or a URI such as s3://bucket/prefix or gs://bucket/prefix"
    )


def archive(args: argparse.Namespace) -> int:
    """Archive until SIGTERM or Ctrl-C. Returns the exit code."""
    check_installed("the archive", ("duckdb",))
    from detector.explore.archive.archiving import Archiving, start_archiving
    from detector.explore.source import source_of
    from detector.explore.storage.storage import OwnershipLostError

    source = source_of(args.config, place_of(args))
    if source.group is None:
        raise ConfigError(f"{args.config}: is no file; name the configuration file of a daemon")
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    storage = source.place.storage()
    started = start_archiving(storage, source.group, limits_of(args))
    if not isinstance(started, Archiving):
        raise OwnershipLostError(
            f"{storage.name}: {started.who} archives there already; start one archiver for a store"
        )
    print(f"{storage.name}: holds {started.num_rows:,} rows; archiving {source.group.name}", flush=True)
    _wait(started, stop)
    return DONE


def _wait(archiving: Archiving, stop: threading.Event) -> None:
    """Return when it shall stop. Raises OwnershipLostError if another process owns the archive."""
    from detector.explore.storage.storage import OwnershipLostError

    try:
        while not stop.wait(_LOOK_SECONDS):
            if archiving.lost:
                raise OwnershipLostError(archiving.lost)
    finally:
        archiving.close()


def check_installed(what: str, names: tuple[str, ...]) -> None:
    """Raise DetectorError if a package of the extra `explore` is missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise DetectorError(
            f"{what} needs {', '.join(missing)}: install it with pip install 'streamgauge[explore]'"
        )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add --keep and --max-size."""
    parser.add_argument(
        "--keep", metavar="TIME", default="30d", help="of a running group: rows of so long; default: 30d"
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        type=_size,
        default="10GB",
        help="of a running group: most bytes of rows, such as 500MB; default: 10GB. The oldest days go first",
    )


def add_store(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --store, --cache and --cache-size."""
    parser.add_argument("--store", metavar="PLACE", help=what)
    parser.add_argument(
        "--cache",
        metavar="DIR",
        default="",
        help="of a store on object storage: directory for copies; default: one in ~/.cache/streamgauge",
    )
    parser.add_argument(
        "--cache-size", metavar="SIZE", type=_size, default="5GB", help="most bytes of copies; default: 5GB"
    )


def limits_of(args: argparse.Namespace) -> Limits:
    """Return how much the archive keeps. Raises ConfigError."""
    from detector.explore.archive.archive import Limits

    return Limits(_keep_ns(args.keep), args.max_size)


def place_of(args: argparse.Namespace) -> Place:
    """Return where the store is; its address is empty without --store."""
    from detector.explore.storage.place import Place

    return Place(args.store or "", args.cache, args.cache_size)


def _keep_ns(text: str) -> int:
    from detector.config.load import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--keep: {error}") from error
    if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
        raise ConfigError(f"--keep: {text} is not between 1d and 3660d")
    return round(seconds * 1e9)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,9}) ?([MGT]B)", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write one such as 500MB or 10GB")
    return int(found[1]) * _UNITS[found[2]]
