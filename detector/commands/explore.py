"""`streamgauge explore`: look at a running group or a backtest in a browser."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from connectors.objects.names import without_secrets
from detector.commands.archive import add_limits, add_store, check_installed, limits_of, place_of
from detector.commands.arguments import add_examples
from detector.commands.opening import opening
from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.config.tls_files import TlsFiles
    from detector.explore.deciding.writing import Writing
    from detector.login import Login

DONE = 0
_PORT = 8765
_NEEDED = ("duckdb", "fsspec")
_LOCAL = ("127.0.0.1", "localhost", "::1")


def explore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `streamgauge explore`."""
    add_examples(
        parser,
        "streamgauge explore streamgauge.toml             # a running group, live",
        "streamgauge explore streamgauge.toml --store archive --keep 90d --max-size 50GB --no-browser",
        "streamgauge explore report/                      # a backtest",
        "streamgauge explore report/ --group-by '^([^/]+)/' --runbooks https://wiki.example.com/streamgauge/",
        "streamgauge explore 's3://bucket/plant?region=eu-central-1'   # what `streamgauge archive` writes",
        "streamgauge explore streamgauge.toml --store s3://bucket/plant --no-archive   # with buttons",
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
    _add_pages(parser)
    _add_access(parser)


def explore(args: argparse.Namespace) -> int:
    """Serve the pages until interrupted. Returns the exit code."""
    check_installed("the explorer", _NEEDED)
    from detector.explore.display import Display
    from detector.explore.queries.names import BY_SLASH
    from detector.explore.source import source_of
    from detector.explore.web.serve import Explorer, listen, opened, protected, wait_for_the_end

    login, writing = _access_of(args)
    display = Display(BY_SLASH if args.group_by is None else args.group_by, args.runbooks)
    protection = protected(login, _tls_files(args))
    source = source_of(args.source, place_of(args), archives=not args.no_archive)
    listening = listen(args.host, args.port)
    try:
        with opening(without_secrets(args.source)) as on_fetch:
            shown = opened(source, writing, limits_of(args), display, on_fetch)
    except BaseException:
        listening.close()
        raise
    about = shown.description
    print(f"{about.rows:,} rows of {about.series:,} series, judged by {about.model} {about.version}")
    if shown.live is not None:
        who = "archived here" if shown.live.is_archiver else "archived by another process, and read here"
        print(f"{without_secrets(source.place.address)}: what the group publishes is {who}")
    if shown.writing.refused:
        print(f"decisions are off: {shown.writing.refused}", file=sys.stderr)
    _warn(args)
    explorer = Explorer(shown, listening, protection)
    print(f"open {explorer.address} in a browser; Ctrl+C ends", flush=True)
    with closing(explorer):
        wait_for_the_end(explorer.address, has_browser=not args.no_browser)
    return DONE


def _add_pages(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pages")
    group.add_argument(
        "--group-by",
        metavar="REGEX",
        help="how names of series give groups: what the expression captures; '' for none; default: '^(.+)/',"
        " so that plant/line/pump-17 is in plant/line",
    )
    group.add_argument(
        "--runbooks",
        metavar="URL",
        default="",
        help="where the runbooks are published, as in the alert rules; NAME.md is added, or replaces {alert}",
    )


def _warn(args: argparse.Namespace) -> None:
    """Say what others can read who reach the port."""
    told = [] if args.username or args.tls_client_cafile else ["there is no password"]
    if args.username and not args.tls_certfile:
        told.append("the password crosses the network in plain text")
    if args.host not in _LOCAL and told:
        words = " and ".join(told)
        print(f"warning: everybody who reaches {args.host} can connect; {words}", file=sys.stderr)


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
    group.add_argument(
        "--tls-certfile", metavar="FILE", help="certificate for HTTPS, PEM; read again when it changes"
    )
    group.add_argument("--tls-keyfile", metavar="FILE", help="private key of --tls-certfile, not encrypted")
    group.add_argument(
        "--tls-client-cafile",
        metavar="FILE",
        help="browsers must present a certificate of this authority, PEM",
    )


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
    is_open_to_all = args.host not in _LOCAL and login is None and args.tls_client_cafile is None
    who = args.user or args.username or user_at_host()
    return login, writing_of(who, args.user_header, args.read_only, is_open_to_all)


def _tls_files(args: argparse.Namespace) -> TlsFiles | None:
    """Return the files for HTTPS; None for plain text. Raises ConfigError."""
    from detector.config.tls_files import TlsFiles

    if bool(args.tls_certfile) != bool(args.tls_keyfile):
        raise ConfigError("--tls-certfile and --tls-keyfile belong together")
    if args.tls_client_cafile and not args.tls_certfile:
        raise ConfigError("--tls-client-cafile needs --tls-certfile and --tls-keyfile")
    if not args.tls_certfile:
        return None
    files = (args.tls_certfile, args.tls_keyfile, args.tls_client_cafile)
    return TlsFiles("", "--tls-", *files, ca_key="client-cafile")


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)
