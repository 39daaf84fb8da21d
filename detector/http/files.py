"""Files of a package as routes: read once, and checked by browsers before they use a copy of their own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from detector.http.messages import Request, Response
from detector.http.site import Route

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Held:
    """Answers with a body that does not change, or with 304 where the client has it already."""

    content_type: str
    body: bytes
    tag: str

    @classmethod
    def of(cls, content_type: str, body: bytes) -> Held:
        """Return what answers with a body."""
        return cls(content_type, body, f'"{hashlib.sha256(body).hexdigest()[:20]}"')

    @classmethod
    def page(cls, html: str) -> Held:
        """Return what answers with a page."""
        return cls.of("text/html; charset=utf-8", html.encode())

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        known = [
            one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")
        ]
        if self.tag in known:
            return Response(304, self.content_type, b"", headers)
        return Response(200, self.content_type, self.body, headers)


def files_of(directory: Path, prefix: str) -> list[Route]:
    """Return a route for each file of a directory whose type is known; no other path leads to a file."""
    return [
        Route(f"{prefix}/{path.name}", Held.of(_TYPES[path.suffix], path.read_bytes()))
        for path in sorted(directory.iterdir())
        if path.suffix in _TYPES
    ]
