"""Requests to one receiver: when the next attempt is due, and what the log reports about failures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from connectors.http_post import Answer, Poster
from connectors.retry import full_jitter
from detector import logs

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0

RetryDelay = Callable[[int], float]


def retry_delay(attempt: int) -> float:
    """Return the seconds to wait before the next attempt, after `attempt` failures in a row."""
    return full_jitter(attempt, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)


class Attempts:
    """Sends requests to one receiver and spaces the attempts after failures. Not thread-safe.

    Args:
        name: Name of the notifier, for the log.
        poster: Sends one request.
        delay: Seconds to wait, from the number of failures in a row before this one.
    """

    def __init__(self, name: str, poster: Poster, delay: RetryDelay) -> None:
        self._name, self._poster, self._delay = name, poster, delay
        self._num_failures, self._failure = 0, ""
        self.not_before = 0.0
        """Monotonic seconds: no attempt may start before this time."""
        self.last_success: float | None = None
        """Epoch seconds of the newest success; None before the first."""

    @property
    def seconds_until_due(self) -> float:
        """Seconds until the next attempt may start; 0 where it may start now."""
        return max(0.0, self.not_before - time.monotonic())

    def post(self, body: bytes, headers: dict[str, str], backlog: int) -> Answer:
        """Make one attempt. A failure that a retry may cure delays the next attempt.

        Args:
            body: Body of the request.
            headers: Headers of this request only.
            backlog: Number of changes that wait, for the log.
        """
        answer = self._poster.post(body, headers)
        if answer.outcome == "again":
            wait_seconds = max(self._delay(self._num_failures), answer.wait_seconds)
            self.not_before = time.monotonic() + wait_seconds
            self._num_failures += 1
        else:
            self._num_failures = 0
        if answer.outcome == "delivered":
            self.last_success = time.time()
        self.report("" if answer.outcome == "delivered" else answer.reason, backlog)
        return answer

    def report(self, failure: str, backlog: int) -> None:
        """Log a failure when it begins, changes, or ends; `failure` is empty while all is well."""
        if failure == self._failure:
            return
        self._failure = failure
        if failure:
            logs.event(
                "notifier failing", logging.WARNING, notifier=self._name, reason=failure, backlog=backlog
            )
        else:
            logs.event("notifier recovered", notifier=self._name, backlog=backlog)
