"""Inform systemd: that the daemon is ready, what it does, that its loop turns, that it stops.

The protocol is sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without one nothing is sent.
Only completed turns of the loop feed the watchdog, so that systemd restarts a daemon whose loop hangs.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

logger = logging.getLogger(__name__)

_STATUS_SECONDS = 2.0
_START_SECONDS = 60.0
"""Each status sent during start-up extends the start timeout by this long."""


def notify(*assignments: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send assignments such as "READY=1" in one datagram. Never raises and never waits.

    Args:
        assignments: NAME=value.
        environ: where NOTIFY_SOCKET is looked up; by default the environment of the process.

    Returns:
        Whether the datagram was accepted.
    """
    name = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not name:
        return False
    if name[0] not in "/@":
        logger.warning(
            "NOTIFY_SOCKET %r is neither a path nor an abstract name: systemd is not informed", name
        )
        return False
    address = "\0" + name[1:] if name[0] == "@" else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # a full queue must not stop the loop
            channel.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        logger.warning("cannot send %s to systemd at %s: %s", assignments[0], name, error.strerror or error)
        return False
    return True


def reloading() -> None:
    """Report that a reload begins. `Supervision.reloaded` ends it (Type=notify-reload wants both)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """Report that the daemon stops after the batch in progress."""
    notify("STOPPING=1", "STATUS=finishing the batch in progress")


class Supervision:
    """Report the state of the loop to systemd. Does nothing without NOTIFY_SOCKET. Not thread-safe."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._is_watched = bool(self._environ.get("NOTIFY_SOCKET"))
        self._watchdog_every = watchdog_seconds(self._environ) / 4
        self._is_ready = False
        self._status = ""
        self._watchdog_fed = self._status_sent = -float("inf")

    def on_turn(self, is_ready: bool, status: str) -> None:
        """Report a turn of the loop: readiness once, the status when it changed, and the watchdog's beat."""
        if not self._is_watched:
            return
        now, lines = time.monotonic(), []
        if is_ready and not self._is_ready:
            self._is_ready = True
            lines += ["READY=1", self._status_line(status, now)]
        elif now - self._status_sent >= _STATUS_SECONDS and not (self._is_ready and status == self._status):
            lines.append(self._status_line(status, now))
            if not self._is_ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={_START_SECONDS * 1e6:.0f}")
        if self._watchdog_every and now - self._watchdog_fed >= self._watchdog_every:
            self._watchdog_fed = now
            lines.append("WATCHDOG=1")
        if lines:
            notify(*lines, environ=self._environ)

    def reloaded(self) -> None:
        """Report that the reload is over, whether it succeeded or not."""
        if self._is_ready:
            notify("READY=1", f"STATUS={self._status}", environ=self._environ)

    def _status_line(self, status: str, now: float) -> str:
        self._status, self._status_sent = status, now
        return f"STATUS={' '.join(status.split())}"


def watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return how often systemd expects the watchdog to be fed, in seconds; 0 where it does not.

    >>> watchdog_seconds({"WATCHDOG_USEC": "30000000"})
    30.0
    >>> watchdog_seconds({})
    0.0
    """
    try:
        period = int(environ.get("WATCHDOG_USEC", "0"))
        owner = int(environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        logger.warning("WATCHDOG_USEC or WATCHDOG_PID is not a number: the watchdog is not fed")
        return 0.0
    return max(period, 0) / 1e6 if owner == os.getpid() else 0.0
