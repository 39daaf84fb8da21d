"""Server-sent events of a running group: what is new, and why nothing is (HTML standard, section 9.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from detector.explore.archive.live import Live, Pulse
from detector.explore.web.endpoints import NotFoundError
from detector.explore.web.opened import Opened

_Message = MutableMapping[str, Any]
_LOOK_SECONDS = 0.25
SUMMARY = "Server-sent events `pulse`: the range that is known, the number of events, and trouble"


class BusyError(Exception):
    """Too many pages listen already."""


class Events:
    """Answers `/events`, for as long as a page listens. An ASGI application.

    Every event holds the present, so a page that was away has missed nothing. A page that does not read is
    dropped: what it is sent waits in the memory of this process.

    Args:
        opened: what is shown.
        most: the most pages that listen at a time.
        beat_seconds: the longest time between two events.
        patience_seconds: the longest time that a page may take to read an event.
    """

    def __init__(
        self, opened: Opened, most: int = 64, beat_seconds: float = 5.0, patience_seconds: float = 10.0
    ) -> None:
        self._opened, self._most = opened, most
        self._beat_seconds, self._patience_seconds = beat_seconds, patience_seconds
        self.num_open = 0

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request. Raises NotFoundError for a backtest, BusyError if too many listen."""
        live = self._opened.live
        if live is None:
            raise NotFoundError("a backtest does not change: it has no events")
        if self.num_open >= self._most:
            raise BusyError(f"{self._most} pages listen already: close one, or try again")
        self.num_open += 1
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await self._send(send, _start())
            await self._tell(live, gone, send)
            if not gone.done():
                await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # it does not read
        finally:
            self.num_open -= 1
            gone.cancel()

    async def _tell(
        self, live: Live, gone: asyncio.Future[None], send: Callable[[_Message], Awaitable[None]]
    ) -> None:
        """Send the pulse whenever it differs, and after `beat_seconds`, until the page is gone or we are."""
        told, told_at = -1, 0.0
        while not (gone.done() or live.is_leaving):
            pulse, now = live.pulse, time.monotonic()
            if pulse.number != told or now - told_at >= self._beat_seconds:
                told, told_at = pulse.number, now
                await self._send(send, _event(pulse))
            await asyncio.wait([gone], timeout=_LOOK_SECONDS)

    async def _send(self, send: Callable[[_Message], Awaitable[None]], message: _Message) -> None:
        await asyncio.wait_for(send(message), self._patience_seconds)


async def _gone(receive: Callable[[], Awaitable[_Message]]) -> None:
    """Return when the page has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _start() -> _Message:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _event(pulse: Pulse) -> _Message:
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
    text = b"retry: 2000\nevent: pulse\ndata: " + orjson.dumps(body) + b"\n\n"
    return {"type": "http.response.body", "body": text, "more_body": True}
