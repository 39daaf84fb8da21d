"""Waits for something in the outside world: probe it, log the problem, back off, give up in time."""

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
class Problem:
    """Why something is not ready, and what a person can do about it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `first_seconds` to `max_seconds`, each drawn from the upper half."""

    first_seconds: float = 0.25
    max_seconds: float = 10.0

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the given attempt (0 is the first)."""
        longest = min(self.max_seconds, self.first_seconds * 2 ** min(attempt, 30))
        return random.uniform(longest / 2, longest)


def full_jitter(attempt: int, first_seconds: float, max_seconds: float) -> float:
    """Return the seconds to wait after the given attempt (0 is the first).

    The delay is uniform between 0 and a bound that doubles up to `max_seconds`. Clients that failed together
    then do not retry together.
    """
    return random.uniform(0.0, min(max_seconds, first_seconds * 2 ** min(attempt, 30)))


def wait_until(
    probe: Callable[[float], Problem | None],
    timeout_seconds: float,
    stop: threading.Event,
    backoff: Backoff | None = None,
) -> None:
    """Return when `probe` finds no problem, or when `stop` is set. Every problem is logged.

    Args:
        probe: called with the seconds that it may take; returns the problem, None if there is none.
        timeout_seconds: when to give up.
        stop: ends the wait early.
        backoff: the delays between two probes.

    Raises:
        KafkaError: the last problem and its remedy, after `timeout_seconds`.
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
            raise KafkaError(f"{problem.text}; gave up after {timeout_seconds:g} s: {problem.remedy}")
        delay = min(backoff.delay(attempt), left)
        logger.warning(
            "Kafka is not ready: %s; trying again in %.1f s, for %.0f s", problem.text, delay, left
        )
        stop.wait(delay)
        attempt += 1


def connect(server: str, timeout_seconds: float) -> str | None:
    """Return why no connection to host:port can be made, or None. Raises KafkaError if it is no host:port."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_seconds).close()
    except ValueError:
        raise KafkaError(f"bootstrap server {server!r} is not of the form host:port") from None
    except OSError as error:
        return f"{server} is unreachable ({error.strerror or error})"
    return None
