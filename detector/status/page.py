"""The page of a daemon: one file of HTML, one of CSS and one module, which reads `/api/status`."""

from __future__ import annotations

from pathlib import Path

from detector.http.files import Held, files_of
from detector.http.site import Route

STATIC = Path(__file__).parent / "static"


def page_routes() -> list[Route]:
    """Return the routes of the page and of its files."""
    page = (STATIC / "page.html").read_text(encoding="utf-8")
    return [Route("/", Held.page(page)), *files_of(STATIC, "/static")]
