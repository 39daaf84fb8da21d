"""`streamgauge explore`: look at a running group or a backtest in a browser."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from connectors.objects.names import without_secrets
from detector.commands.archive import add_limits, add_store, check_installed, limits_of, place_of
from detector.commands.arguments import add_examples
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.explore.deciding.writing import Writing
    from detector.login import Login

DONE = 0
_PORT = 8765
_NEEDED = ("duckdb", "starlette", "uvicorn")
_LOCAL = ("127.0.0.1", "localhost", "::1")


def explore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge explore`."""
    add_examples(
        parser,
        "streamgauge explore streamgauge.toml             # a running group, live",
        "streamgauge explore streamgauge.toml --store archive --keep 90d --max-size 50GB --no-browser",
        "streamgauge explore report/                      # a backtest",
        "streamgauge explore 's3://bucket/plant?region=eu-central-1'  # what `streamgauge archive` writes",
        "streamgauge explore streamgauge.toml --store s3://bucket/plant --no-archive  # with buttons",
        "streamgauge explore streamgauge.toml --host 0.0.0.0 --username ops --password-file /run/secrets/ops",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="configuration file of a daemon, directory that `streamgauge backtest --out` wrote, or archive:"
        " a directory or a URI",
    )
    add_limits(parser)
    parser.add_argument(
        "--no-archive",
        action="store_true",
        help="of a running group: only read what another process archives",
    )
    parser.add_argument("--port", type=_port, default=_PORT, help=f"port; 0: any free one; default: {_PORT}")
    parser.add_argument(
        "--host", default=_LOCAL[0], help="address to listen on; default: 127.0.0.1, this machine alone"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    add_store(
        parser,
        "where to keep the store: a directory, or of a running group a URI such as s3://bucket/prefix;"
        " default: DIR/explorer, or FILE-explorer beside FILE.toml",
    )
    _add_access(parser)


def explore(args: argparse.Namespace) -> int:
    """Serve the pages until interrupted. Returns the exit code."""
    check_installed("the explorer", _NEEDED)
    from detector.explore.source import source_of
    from detector.explore.web.serve import address, listen, opened, serve

    login, writing = _access_of(args)
    source = source_of(args.source, place_of(args), archives=not args.no_archive)
    listening = listen(args.host, args.port)
    try:
        shown = opened(source, writing, limits_of(args))
    except BaseException:
        listening.close()
        raise
    about = shown.description
    print(f"{about.rows:,} rows of {about.series:,} series, judged by {about.model} {about.version}")
    if shown.live is not None:
        who = "archived here" if shown.live.is_archiver else "archived by another process, and read here"
        print(f"{without_secrets(source.place.address)}: what the group publishes is {who}")
    print(f"open {address(listening)} in a browser; Ctrl+C ends", flush=True)
    if shown.writing.refused:
        print(f"decisions are off: {shown.writing.refused}", file=sys.stderr)
    if args.host not in _LOCAL:
        told = "there is no password" if login is None else "the password crosses the network in plain text"
        print(f"warning: everybody who reaches {args.host} can connect; {told}", file=sys.stderr)
    serve(shown, listening, has_browser=not args.no_browser, login=login)
    return DONE


def _add_access(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who may look and decide")
    group.add_argument("--read-only", action="store_true", help="take no decisions: no buttons, no writing")
    group.add_argument("--user", metavar="NAME", help="who decides; default: --username, or user@host")
    group.add_argument(
        "--user-header",
        default="",
        metavar="NAME",
        help="header in which a proxy in front names the user, such as X-Forwarded-User",
    )
    group.add_argument("--username", metavar="NAME", help="name for the login; needs --password-file")
    group.add_argument("--password-file", metavar="FILE", help="file with the password and nothing else")


def _access_of(args: argparse.Namespace) -> tuple[Login | None, Writing]:
    """Return the login that requests need, and who decides. Raises ConfigError."""
    from detector.config.secrets import read_secret
    from detector.delivery.decisions.deciding import user_at_host
    from detector.explore.deciding.writing import writing_of
    from detector.login import Login

    if bool(args.username) != bool(args.password_file):
        raise ConfigError("--username and --password-file belong together")
    login = None
    if args.username:
        login = Login.of(args.username, read_secret(args.password_file, "--password-file"))
    is_open_to_all = args.host not in _LOCAL and login is None
    who = args.user or args.username or user_at_host()
    return login, writing_of(who, args.user_header, args.read_only, is_open_to_all)


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)
