"""What the log has about decisions, and how often a library may warn."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from detector import logs
from detector.incidents.decision import Applied, Decision, Ignored
from detector.service.incident_log import log_decisions

AT_NS = 1_790_856_000_000_000_000


def mute(series: str, for_ns: int) -> Applied:
    return Applied(Decision("m", "mute", series, AT_NS, until_ns=AT_NS + for_ns, who="ada"), AT_NS)


def ignored(series: str, reason: Ignored) -> Applied:
    return Applied(Decision("a", "accept", series, AT_NS, "5d41"), AT_NS, "ignored", reason=reason)


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    found = [(one.getMessage(), vars(one)["keys"]) for one in caplog.records if one.name == "streamgauge"]
    return [(name, keys["series"], keys.get("decisions", 1)) for name, keys in found]


def test_a_mute_its_end_and_what_was_ignored_are_different_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamgauge")
    log_decisions([mute("a", 10**9), mute("a", 0), mute("b", -5), ignored("c", "no level changed")])
    log_decisions([ignored("c", "it was rejected before"), ignored("d", "its incident is not open")])
    assert [(name, series) for name, series, _ in events(caplog)] == [
        ("series muted", "a"),
        ("mute of series ended", "a"),
        ("mute of series ended", "b"),
        ("accept ignored: no level changed", "c"),
        ("accept ignored: it was rejected before", "c"),
        ("accept ignored: its incident is not open", "d"),
    ]


@pytest.mark.parametrize("num", [1, 3, 400])
def test_decisions_that_are_older_than_their_series_are_one_line_a_series(
    caplog: pytest.LogCaptureFixture, num: int
) -> None:
    caplog.set_level(logging.INFO, "streamgauge")
    log_decisions([ignored(series, "older than the series") for series in "ab" for _ in range(num)])
    assert events(caplog) == [("decisions ignored: older than the series", one, num) for one in "ab"]


@pytest.fixture
def stderr() -> Iterator[io.StringIO]:
    """Standard error as `logs.configure` writes it; the handlers of before are put back."""
    root, text = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    yield text
    root.handlers = handlers
    root.setLevel(level)
    for name in ("kafka.net.sasl.plain", "kafka.net.sasl.scram", "kafka.net.sasl"):
        logging.getLogger(name).filters = []


def test_a_library_warns_once_of_a_password_in_the_clear(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure("json", "info")
    for _ in range(50):
        logging.getLogger("kafka.net.sasl.plain").warning("Sending username and password in the clear")
    logging.getLogger("kafka.net.sasl.plain").warning("something else")
    found = [json.loads(line)["event"] for line in stderr.getvalue().splitlines()]
    assert found == ["Sending username and password in the clear", "something else"]
