"""Open a directory, serve it, and open a browser on it."""

from __future__ import annotations

import signal
import socket
import threading
import webbrowser
from dataclasses import replace
from pathlib import Path

from connectors.objects.names import is_remote, without_secrets
from detector.config.tls_files import TlsFiles
from detector.explore.archive.archive import Limits
from detector.explore.deciding.backtest_ledger import BacktestLedger
from detector.explore.deciding.writing import Writing
from detector.explore.display import Display
from detector.explore.queries.names import check_pattern
from detector.explore.source import Source
from detector.explore.storage.storage import OnFetch, say_nothing
from detector.explore.store.build import store_of
from detector.explore.store.database import open_store
from detector.explore.store.layout import ExploreError
from detector.explore.store.shown import Finished
from detector.explore.web.app import site_of
from detector.explore.web.opened import Opened
from detector.http.access import Access
from detector.http.certificates import Certificates
from detector.http.server import HttpServer, Protection
from detector.http.server import listen as listen_on
from detector.login import Login

LOCAL = ("127.0.0.1", "localhost", "::1")
MOST_CONNECTIONS = 200
_GRACE_SECONDS = 2.0
_LIMITS = Limits()
_DISPLAY = Display()
_NO_TOPIC = (
    "an archive alone does not tell where decisions go: start with CONFIG.toml, --store and --no-archive"
)


def opened(
    source: Source,
    writing: Writing,
    limits: Limits = _LIMITS,
    display: Display = _DISPLAY,
    on_fetch: OnFetch = say_nothing,
) -> Opened:
    """Return the open store of a source; it is made first if it is missing.

    Args:
        source: what is shown.
        writing: who decides.
        limits: how much the archive of a running group keeps.
        display: how the pages group series and link runbooks.
        on_fetch: follows the files that are fetched from object storage before the first page can be shown.

    Raises:
        ExploreError: the store cannot be made or read, or `display` cannot be used.
        ObjectsError: the object storage cannot be used.
        ArtifactError: the model of a running group cannot be read.
    """
    shown = _opened(source, writing, limits, display, on_fetch)
    try:
        check_pattern(shown.database, display.group_by)
    except ExploreError:
        shown.close()
        raise
    return shown


def _opened(source: Source, writing: Writing, limits: Limits, display: Display, on_fetch: OnFetch) -> Opened:
    if source.kind == "live":
        return _opened_archive(source, writing, limits, display, on_fetch)
    if is_remote(source.place.address):
        place = without_secrets(source.place.address)
        raise ExploreError(f"{place}: the store of a backtest is a directory; use --store DIR")
    directory = Path(source.name)
    description = store_of(directory, source.store)
    shown = Finished(open_store(source.store), description)
    return Opened(shown, source, BacktestLedger(directory), writing, display=display)


def _opened_archive(
    source: Source, writing: Writing, limits: Limits, display: Display, on_fetch: OnFetch
) -> Opened:
    """Return an open archive, which grows in this process or in another one."""
    # A backtest needs no Kafka.
    from detector.explore.archive.archiving import Archiving, start_archiving
    from detector.explore.archive.live import Live
    from detector.explore.archive.opening import check_archive
    from detector.explore.deciding.archive_ledger import ArchiveLedger
    from detector.explore.deciding.group_ledger import GroupLedger

    storage, group = source.place.storage(), source.group
    archiving = None
    if group is not None and source.archives:
        started = start_archiving(storage, group, limits)
        archiving = started if isinstance(started, Archiving) else None
    elif group is not None:
        check_archive(storage, group)
    try:
        live = Live(storage, group, archiving, on_fetch)
    except BaseException:
        if archiving is not None:
            archiving.close()
        raise
    if group is None:
        refused = replace(writing, refused=writing.refused or _NO_TOPIC)
        ledger = ArchiveLedger(live.database, storage.name)
        return Opened(live, source, ledger, refused, live, display=display)
    topic = group.topics.decisions
    return Opened(
        live, source, GroupLedger(group.connection, topic, live.database), writing, live, display=display
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises ExploreError."""
    try:
        return listen_on(host, port)
    except OSError as error:
        raise ExploreError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port, or 0 for any"
        ) from error


class Explorer:
    """Serves what is open, from threads of its own, until it is closed.

    It answers to its own address, or to any if it is not local.

    Args:
        shown: the store; it is closed with the server.
        listening: from `listen`.
        protection: TLS, access and bounds.
    """

    def __init__(self, shown: Opened, listening: socket.socket, protection: Protection) -> None:
        self._shown = shown
        host = listening.getsockname()[0]
        hosts = (*LOCAL, host) if host in LOCAL else ()
        self._server = HttpServer(listening, site_of(shown, hosts), protection)

    @property
    def address(self) -> str:
        """The address of the first page."""
        return f"{self._server.address}/"

    def close(self) -> None:
        """End the streams of events, then the server, then the store."""
        if self._shown.live is not None:
            self._shown.live.leave()
        self._server.close(_GRACE_SECONDS)
        self._shown.close()


def protected(login: Login | None = None, files: TlsFiles | None = None) -> Protection:
    """Return the bounds of the explorer, with a login and with TLS where they are given.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    certificates = None if files is None else Certificates(files, required=True)
    access = Access(login, certificate=files is not None and files.cafile is not None)
    return Protection(certificates, access, MOST_CONNECTIONS)


def wait_for_the_end(address: str, has_browser: bool) -> None:
    """Wait for SIGINT or SIGTERM. Open `address` in a browser first, where one is wanted."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: ended.set())
    if has_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    ended.wait()
