"""The explorer of the demo: its pages show a running detector, served by a thread of this process.

A process of its own would import the same libraries once more, which takes seconds on two cores.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from detector.errors import DetectorError
from detector.http.server import listen

_NEEDED = ("duckdb", "fsspec")
_HOST = "127.0.0.1"


def missing_packages() -> list[str]:
    """Return the packages that the explorer needs and that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def reserved() -> tuple[socket.socket, str]:
    """Return a socket for the explorer, which listens already, and the address of the first page."""
    listening = listen(_HOST, 0)
    return listening, f"http://{_HOST}:{listening.getsockname()[1]}/"


@contextmanager
def explorer(config: Path, listening: socket.socket) -> Iterator[str]:
    """Show the running group of `config` while the context lasts; yield the address of the first page.

    The socket, which is of `reserved`, is closed in the end.

    Raises:
        DetectorError: There is no model yet, or the archive beside `config` cannot be written.
    """
    from detector.delivery.decisions.deciding import user_at_host
    from detector.explore.deciding.writing import writing_of
    from detector.explore.source import source_of
    from detector.explore.web.serve import Explorer, opened, protected

    writing = writing_of(user_at_host(), "", is_read_only=False, is_open_to_all=False)
    try:
        shown = opened(source_of(str(config)), writing)
    except DetectorError:
        listening.close()
        raise
    with closing(Explorer(shown, listening, protected())) as served:
        yield served.address


def has_browser() -> bool:
    """Return whether a browser with a window can be opened; one inside the terminal would cover the demo."""
    is_headless = sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if is_headless:
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def open_browser(address: str) -> None:
    """Open a page without waiting for the browser."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
