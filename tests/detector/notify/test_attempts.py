"""Attempts at one receiver: pauses after failures, and one log line per change of its health."""

from __future__ import annotations

import logging

import pytest

from connectors.http_post import Endpoint, Poster
from detector.notify.attempts import Attempts
from tests.support.receiver import Reply, receiving


def test_failures_delay_the_next_attempt_and_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def delay(attempt: int) -> float:
        asked.append(attempt)
        return 60.0

    with receiving() as receiver, caplog.at_level(logging.INFO, "streamgauge"):
        attempts = Attempts("hook", Poster(Endpoint(receiver.url)), delay)
        assert attempts.seconds_until_due == 0
        receiver.answer = lambda got: Reply(503)
        outcomes = [attempts.post(b"{}", {}, backlog=1).outcome for _ in range(3)]
        assert 50 < attempts.seconds_until_due <= 60
        assert attempts.last_success is None
        receiver.answer = lambda got: Reply()
        outcomes.append(attempts.post(b"{}", {}, backlog=0).outcome)
    assert outcomes == ["again", "again", "again", "delivered"]
    assert asked == [0, 1, 2]
    assert attempts.last_success is not None
    assert [record.getMessage() for record in caplog.records] == ["notifier failing", "notifier recovered"]
