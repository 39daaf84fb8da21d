"""Open connections of a server, bounded in number and time: slow clients block no other client."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

_LOOK_SECONDS = 0.02


class Connections:
    """The open connections of one server. Thread-safe.

    If there is no room for a new connection, the one that has waited longest for a request is ended. A
    connection is ended by a shutdown of its socket; its own thread then wakes and closes it.

    Args:
        most: Maximum number of connections at once.
        patience_seconds: A client must send its whole request within this time.
        answer_seconds: A client must read the whole answer within this time.
    """

    def __init__(self, most: int, patience_seconds: float, answer_seconds: float) -> None:
        self._most = most
        self._patience_seconds, self._answer_seconds = patience_seconds, answer_seconds
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, float] = {}  # -> deadline, the oldest first
        self._answering: dict[socket.socket, float] = {}

    def admit(self, connection: socket.socket) -> tuple[bool, bool]:
        """Add a new connection; return whether it was added, and whether there was no free place."""
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
        """Note that the request was read. The answer may take its time: the client is not slow."""
        self._move(connection, self._waiting, self._answering, float("inf"))

    def wait(self, connection: socket.socket) -> None:
        """Note that the answer was written, and another request may follow."""
        self._move(connection, self._answering, self._waiting, self._patience_seconds)

    def read_on(self, connection: socket.socket, seconds: float) -> None:
        """Note that the head of a request was read, and its body may take so long."""
        with self._lock:
            if connection in self._waiting:  # else it was ended just now
                self._waiting[connection] = time.monotonic() + seconds

    def go_on(self, connection: socket.socket) -> None:
        """Note that the answer is written now, or another piece of it, which has the same time."""
        with self._lock:
            if connection in self._answering:
                self._answering[connection] = time.monotonic() + self._answer_seconds

    def forget(self, connection: socket.socket) -> None:
        """Remove a connection that is about to be closed. It is not touched after this call."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._answering.pop(connection, None)

    def expire(self) -> None:
        """End connections whose deadline has passed. Their threads then close and remove them."""
        now = time.monotonic()
        with self._lock:
            for group in (self._waiting, self._answering):
                for connection in [one for one, deadline in group.items() if deadline < now]:
                    group[connection] = float("inf")
                    _end(connection)

    def close(self, grace_seconds: float = 0.0) -> None:
        """End all connections: those that wait at once, those that are being answered after a grace."""
        deadline = time.monotonic() + grace_seconds
        with self._lock:
            for connection in self._waiting:
                _end(connection)
        while self._num_answering() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        with self._lock:
            for connection in (*self._waiting, *self._answering):
                _end(connection)

    def __len__(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._answering)

    def _num_answering(self) -> int:
        with self._lock:
            return len(self._answering)

    def _move(
        self,
        connection: socket.socket,
        source: dict[socket.socket, float],
        target: dict[socket.socket, float],
        seconds: float,
    ) -> None:
        with self._lock:
            if source.pop(connection, None) is not None:  # else it was ended just now
                target[connection] = time.monotonic() + seconds


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        # Not the method of ssl.SSLSocket: after it the owner would continue in plain text.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
