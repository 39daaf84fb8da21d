"""Waiting for something in the outside world: try, say what is wrong, back off, give up in time."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from connectors.errors import KafkaError

logger = logging.getLogger(__name__)

_ATTEMPT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first_seconds` to `max_seconds`, each drawn from the upper half."""

    first_seconds: float = 0.25
    max_seconds: float = 10.0

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the given attempt (0 is the first)."""
        longest = min(self.max_seconds, self.first_seconds * 2 ** min(attempt, 30))
        return random.uniform(longest / 2, longest)


def full_jitter(attempt: int, first_seconds: float, max_seconds: float) -> float:
    """Seconds to wait after the given attempt (0 is the first): anything up to a bound that doubles, so that
    many who failed together do not come back together."""
    return random.uniform(0.0, min(max_seconds, first_seconds * 2 ** min(attempt, 30)))


def wait_until(
    probe: Callable[[float], str | None],
    timeout_seconds: float,
    remedy: str,
    stop: threading.Event,
    backoff: Backoff | None = None,
) -> None:
    """Return when `probe(seconds it may take)` finds no problem, or when `stop` is set.

    Raises KafkaError with the last problem and the remedy after `timeout_seconds`. Every problem is
    logged.
    """
    backoff = backoff or Backoff()
    deadline = time.monotonic() + timeout_seconds
    attempt = 0
    while not stop.is_set():
        left = deadline - time.monotonic()
        problem = probe(min(_ATTEMPT_SECONDS, max(left, 1.0)))
        if problem is None:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise KafkaError(f"{problem}; gave up after {timeout_seconds:g} s: {remedy}")
        delay = min(backoff.delay(attempt), left)
        logger.warning("Kafka is not ready: %s; trying again in %.1f s, for %.0f s", problem, delay, left)
        stop.wait(delay)
        attempt += 1


def connect(server: str, timeout_seconds: float) -> str | None:
    """Why no connection to host:port can be made, or None. Raises KafkaError if it is no host:port."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_seconds).close()
    except ValueError:
        raise KafkaError(f"bootstrap server {server!r} is not of the form host:port") from None
    except OSError as error:
        return f"{server} is unreachable ({error.strerror or error})"
    return None
