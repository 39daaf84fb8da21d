"""`streamgauge explore`: look at a running group or a backtest in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from detector.commands.arguments import add_examples
from detector.errors import DetectorError

DONE = 0
_PORT = 8765
_NEEDED = ("duckdb", "starlette", "uvicorn")
_LOCAL = ("127.0.0.1", "localhost", "::1")


def explore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge explore`."""
    add_examples(
        parser,
        "streamgauge explore streamgauge.toml             # a running group, live",
        "streamgauge explore streamgauge.toml --store /var/lib/streamgauge/archive --no-browser",
        "streamgauge explore report/                      # a backtest",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="configuration file of a daemon, or directory that `streamgauge backtest --out` wrote",
    )
    parser.add_argument("--port", type=_port, default=_PORT, help=f"port; 0: any free one; default: {_PORT}")
    parser.add_argument(
        "--host", default=_LOCAL[0], help="address to listen on; default: 127.0.0.1, this machine alone"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="where to keep the store; default: DIR/explorer, or FILE-explorer beside FILE.toml",
    )


def explore(args: argparse.Namespace) -> int:
    """Serve the pages until interrupted. Returns the exit code."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DetectorError(
            f"the explorer needs {', '.join(missing)}: install it with pip install 'streamgauge[explore]'"
        )
    from detector.explore.source import source_of
    from detector.explore.web.serve import address, listen, opened, serve

    source = source_of(args.source, args.store)
    listening = listen(args.host, args.port)
    try:
        shown = opened(source)
    except BaseException:
        listening.close()
        raise
    about = shown.description
    print(f"{about.rows:,} rows of {about.series:,} series, judged by {about.model} {about.version}")
    print(f"open {address(listening)} in a browser; Ctrl+C ends", flush=True)
    if args.host not in _LOCAL:
        print(
            f"warning: everybody who reaches {args.host} can read this; there is no password", file=sys.stderr
        )
    serve(shown, listening, has_browser=not args.no_browser)
    return DONE


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)
