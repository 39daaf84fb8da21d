"""Open a directory, serve it, and open a browser on it."""

from __future__ import annotations

import socket
import threading
import webbrowser
from dataclasses import replace
from pathlib import Path

import uvicorn

from connectors.objects.names import is_remote
from detector.explore.archive.archive import Limits
from detector.explore.archive.archiving import Archiving, start_archiving
from detector.explore.archive.live import Live
from detector.explore.archive.opening import check_archive
from detector.explore.deciding.archive_ledger import ArchiveLedger
from detector.explore.deciding.backtest_ledger import BacktestLedger
from detector.explore.deciding.group_ledger import GroupLedger
from detector.explore.deciding.writing import Writing
from detector.explore.source import Source
from detector.explore.store.build import store_of
from detector.explore.store.database import open_store
from detector.explore.store.layout import ExploreError
from detector.explore.store.shown import Finished
from detector.explore.web.app import app_of
from detector.explore.web.opened import Opened
from detector.login import Login

_LOCAL = ("127.0.0.1", "localhost", "::1")
_BACKLOG = 128
_LIMITS = Limits()
_NO_TOPIC = (
    "an archive alone does not tell where decisions go: start with CONFIG.toml, --store and --no-archive"
)


def opened(source: Source, writing: Writing, limits: Limits = _LIMITS) -> Opened:
    """Return the open store of a source; it is made first if it is missing.

    Args:
        source: what is shown.
        writing: who decides.
        limits: how much the archive of a running group keeps.

    Raises:
        ExploreError: the store cannot be made or read.
        ObjectsError: the object storage cannot be used.
        ArtifactError: the model of a running group cannot be read.
    """
    if source.kind == "live":
        return _opened_archive(source, writing, limits)
    if is_remote(source.place.address):
        raise ExploreError(f"{source.place.address}: the store of a backtest is a directory; use --store DIR")
    directory = Path(source.name)
    description = store_of(directory, source.store)
    return Opened(Finished(open_store(source.store), description), source, BacktestLedger(directory), writing)


def _opened_archive(source: Source, writing: Writing, limits: Limits) -> Opened:
    """Return an open archive, which grows in this process or in another one."""
    storage, group = source.place.storage(), source.group
    archiving = None
    if group is not None and source.archives:
        started = start_archiving(storage, group, limits)
        archiving = started if isinstance(started, Archiving) else None
    elif group is not None:
        check_archive(storage, group)
    try:
        live = Live(storage, group, archiving)
    except BaseException:
        if archiving is not None:
            archiving.close()
        raise
    if group is None:
        refused = replace(writing, refused=writing.refused or _NO_TOPIC)
        return Opened(live, source, ArchiveLedger(live.database, storage.name), refused, live)
    ledger = GroupLedger(group.connection, group.topics.decisions, live.database)
    return Opened(live, source, ledger, writing, live)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises ExploreError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ExploreError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port, or 0 for any"
        ) from error
    return found


def address(listening: socket.socket) -> str:
    """Return the address of the first page."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server_of(shown: Opened, host: str, login: Login | None = None) -> uvicorn.Server:
    """Return a server that is not started. It answers to its own address, or to any if it is not local.

    Args:
        shown: the store.
        host: the address on which it will listen.
        login: name and password that every request needs; None: none.
    """
    hosts = (*_LOCAL, host) if host in _LOCAL else ("*",)
    config = uvicorn.Config(
        app_of(shown, hosts, login),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        limit_concurrency=200,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
    )
    return _Server(config, shown)


class _Server(uvicorn.Server):
    """Ends the streams of events before it waits for open connections."""

    def __init__(self, config: uvicorn.Config, shown: Opened) -> None:
        super().__init__(config)
        self._shown = shown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to serve."""
        if self._shown.live is not None:
            self._shown.live.leave()
        await super().shutdown(sockets)


def serve(shown: Opened, listening: socket.socket, has_browser: bool, login: Login | None = None) -> None:
    """Serve until the process is interrupted.

    Args:
        shown: the store.
        listening: the socket, which is closed at the end.
        has_browser: whether to open the first page in a browser.
        login: name and password that every request needs; None: none.
    """
    server = server_of(shown, listening.getsockname()[0], login)
    if has_browser:
        threading.Timer(0.5, webbrowser.open, [address(listening)]).start()
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
        shown.close()
