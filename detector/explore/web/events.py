"""Server-sent events of a running group: what is new, and why nothing is (HTML standard, section 9.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import orjson

from detector.explore.archive.live import Live, Pulse
from detector.explore.web.endpoints import NotFoundError
from detector.explore.web.opened import Opened
from detector.http.messages import Request, Response

_LOOK_SECONDS = 0.25
SUMMARY = "Server-sent events `pulse`: the range that is known, the number of events, and trouble"


class BusyError(Exception):
    """Too many pages listen already."""


class Events:
    """Answers `/events`, for as long as a page listens. Thread-safe.

    Every event holds the present, so a page that was away has missed nothing. The server ends a page that
    does not read.

    Args:
        opened: what is shown.
        most: the most pages that listen at a time.
        beat_seconds: the longest time between two events; a page that has gone is noticed after it.
    """

    def __init__(self, opened: Opened, most: int = 64, beat_seconds: float = 5.0) -> None:
        self._opened, self._most, self._beat_seconds = opened, most, beat_seconds
        self._lock, self._num_open = threading.Lock(), 0

    @property
    def num_open(self) -> int:
        """How many pages listen now."""
        with self._lock:
            return self._num_open

    def __call__(self, request: Request) -> Response:
        """Answer one request. Raises NotFoundError for a backtest, BusyError if too many listen."""
        live = self._opened.live
        if live is None:
            raise NotFoundError("a backtest does not change: it has no events")
        with self._lock:
            if self._num_open >= self._most:
                raise BusyError(f"{self._most} pages listen already: close one, or try again")
            self._num_open += 1
        return Response(200, "text/event-stream; charset=utf-8", stream=_Listener(self, live))

    def tell(self, live: Live) -> Iterator[bytes]:
        """Yield the pulse whenever it differs, and after `beat_seconds`, until we leave."""
        told, told_at = -1, 0.0
        while not live.is_leaving:
            pulse, now = live.pulse, time.monotonic()
            if pulse.number != told or now - told_at >= self._beat_seconds:
                told, told_at = pulse.number, now
                yield _event(pulse)
            time.sleep(_LOOK_SECONDS)

    def leave(self) -> None:
        """Note that a page listens no longer."""
        with self._lock:
            self._num_open -= 1


class _Listener:
    """The stream of one page."""

    def __init__(self, events: Events, live: Live) -> None:
        self._events, self._live = events, live

    def __iter__(self) -> Iterator[bytes]:
        return self._events.tell(self._live)

    def close(self) -> None:
        """Make room for another page."""
        self._events.leave()


def _event(pulse: Pulse) -> bytes:
    about, trouble = pulse.description, pulse.trouble
    body = {
        "number": pulse.number,
        "now": time.time_ns() / 1e6,
        "first": about.first_ns / 1e6,
        "last": about.last_ns / 1e6,
        "rows": about.rows,
        "series": about.series,
        "version": about.version,
        "events": pulse.events,
        "trouble": trouble
        and {"kind": trouble.kind, "since": trouble.since_ns / 1e6, "words": trouble.words},
    }
    return b"retry: 2000\nevent: pulse\ndata: " + orjson.dumps(body) + b"\n\n"
