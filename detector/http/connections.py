"""Open connections of a server: a bounded number, each with a deadline, so that silent and slow clients
keep nobody waiting."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Connections:
    """At most `most` at once. A client must have sent its whole request within `patience_seconds`, and have
    read the whole answer within `answer_seconds`; where there is no room for a new one, the connection that
    has kept us waiting longest makes room. Thread-safe.

    A connection is ended by shutting its socket down: its own thread wakes and closes it.
    """

    def __init__(self, most: int, patience_seconds: float, answer_seconds: float) -> None:
        self._most = most
        self._patience_seconds, self._answer_seconds = patience_seconds, answer_seconds
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, float] = {}  # to their deadlines, the oldest first
        self._answering: dict[socket.socket, float] = {}

    def admit(self, connection: socket.socket) -> tuple[bool, bool]:
        """Whether there is room, and whether another had to go for it."""
        with self._lock:
            is_full = len(self._waiting) + len(self._answering) >= self._most
            if is_full and not self._waiting:
                return False, False
            if is_full:
                longest = next(iter(self._waiting))
                del self._waiting[longest]
                _end(longest)
            self._waiting[connection] = time.monotonic() + self._patience_seconds
            return True, is_full

    def answer(self, connection: socket.socket) -> None:
        """The request is read."""
        self._move(connection, self._waiting, self._answering, self._answer_seconds)

    def wait(self, connection: socket.socket) -> None:
        """The answer is written; another request may come."""
        self._move(connection, self._answering, self._waiting, self._patience_seconds)

    def forget(self, connection: socket.socket) -> None:
        """The connection is about to be closed. From here on it is not touched."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._answering.pop(connection, None)

    def expire(self) -> None:
        """End those whose time is over; they are forgotten when their threads close them."""
        now = time.monotonic()
        with self._lock:
            for group in (self._waiting, self._answering):
                for connection in [one for one, deadline in group.items() if deadline < now]:
                    group[connection] = float("inf")
                    _end(connection)

    def close(self) -> None:
        """End all."""
        with self._lock:
            for connection in (*self._waiting, *self._answering):
                _end(connection)

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._answering)

    def _move(
        self,
        connection: socket.socket,
        source: dict[socket.socket, float],
        target: dict[socket.socket, float],
        seconds: float,
    ) -> None:
        with self._lock:
            if source.pop(connection, None) is not None:  # else it had to make room just now
                target[connection] = time.monotonic() + seconds


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        # Not the method of ssl.SSLSocket, which would make its owner go on in plain text.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
