"""A webhook on a loopback port: whoever Alertmanager would have paged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Page:
    """One alert of one notification."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]


@dataclass
class Pager:
    """`pages` in the order they came."""

    url: str
    pages: list[Page] = field(default_factory=list)

    def of(self, alert: str, status: str = "firing", since: int = 0, **labels: str) -> list[Page]:
        """Pages of an alert from the `since`th on, with these labels among its own."""
        return [
            page
            for page in self.pages[since:]
            if (page.name, page.status) == (alert, status) and labels.items() <= page.labels.items()
        ]


@contextmanager
def paging() -> Iterator[Pager]:
    """A pager while the context lasts."""
    pager = Pager("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for one in body["alerts"]:
                page = Page(body["receiver"], one["status"], one["labels"], one["annotations"])
                pager.pages.append(page)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        pager.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield pager
        server.shutdown()
        thread.join()
