"""What systemd is told: that we are ready, what we do, that the loop turns, that we stop.

The protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without one nothing is sent.
The watchdog is fed by turns of the loop and by nothing else, so that a loop that hangs is restarted.
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
"""How much longer a start may take, told anew with every status until we are ready."""


def notify(*assignments: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send assignments such as "READY=1"; whether they were taken. Never raises: who runs without systemd,
    or under one that is ill, judges on."""
    name = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not name:
        return False
    if name[0] not in "/@":
        logger.warning(
            "NOTIFY_SOCKET %r is neither a path nor an abstract name: systemd is told nothing", name
        )
        return False
    address = "\0" + name[1:] if name[0] == "@" else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # a full queue must not stop the loop
            channel.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        logger.warning("systemd at %s cannot be told %s: %s", name, assignments[0], error.strerror or error)
        return False
    return True


def reloading() -> None:
    """A reload begins; `Supervision.reloaded` ends it (Type=notify-reload wants both)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """The end begins: the batch in hand is finished."""
    notify("STOPPING=1", "STATUS=finishing the batch in hand")


class Supervision:
    """Follows the loop on systemd's behalf; does nothing without NOTIFY_SOCKET. Not thread-safe."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._is_watched = bool(self._environ.get("NOTIFY_SOCKET"))
        self._beat_seconds = watchdog_seconds(self._environ) / 4
        self._is_ready = False
        self._status = ""
        self._beaten = self._told = -float("inf")

    def turned(self, is_ready: bool, status: str) -> None:
        """The loop has turned: say that we are ready once we are, what we do, and that we live."""
        if not self._is_watched:
            return
        now, lines = time.monotonic(), []
        if is_ready and not self._is_ready:
            self._is_ready = True
            lines += ["READY=1", self._said(status, now)]
        elif now - self._told >= _STATUS_SECONDS and not (self._is_ready and status == self._status):
            lines.append(self._said(status, now))
            if not self._is_ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={_START_SECONDS * 1e6:.0f}")
        if self._beat_seconds and now - self._beaten >= self._beat_seconds:
            self._beaten = now
            lines.append("WATCHDOG=1")
        if lines:
            notify(*lines, environ=self._environ)

    def reloaded(self) -> None:
        """The reload is over, whatever came of it."""
        if self._is_ready:
            notify("READY=1", f"STATUS={self._status}", environ=self._environ)

    def _said(self, status: str, now: float) -> str:
        self._status, self._told = status, now
        return f"STATUS={' '.join(status.split())}"


def watchdog_seconds(environ: Mapping[str, str]) -> float:
    """How often systemd wants to hear that we live, in seconds; 0 where it does not."""
    try:
        period = int(environ.get("WATCHDOG_USEC", "0"))
        owner = int(environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        logger.warning("WATCHDOG_USEC or WATCHDOG_PID is no number: the watchdog is not fed")
        return 0.0
    return max(period, 0) / 1e6 if owner == os.getpid() else 0.0
