"""The pages: what each has of its own, put into the frame that all of them share.

`static/page.html` is the frame. `static/NAME.html` is the main part of a page, `static/NAME.js` its module.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

STATIC = Path(__file__).parent.parent / "static"
_FRAME = "page.html"
_CHARTS = ("uplot.css", "uplot.js")


@dataclass(frozen=True, slots=True)
class Page:
    """Describe a page.

    name    of its files, without their endings
    title   until the module writes a better one
    charts  whether it draws charts
    """

    name: str
    title: str
    charts: bool = False

    def html(self) -> str:
        """Return the whole page."""
        frame = (STATIC / _FRAME).read_text(encoding="utf-8")
        parts = {"TITLE": escape(self.title), "<!-- LINKS -->": self._links(), "<!-- MAIN -->": self.main()}
        for mark, part in parts.items():
            frame = frame.replace(mark, part, 1)
        return frame

    def main(self) -> str:
        """Return what the page has of its own, without the element that holds it."""
        return (STATIC / f"{self.name}.html").read_text(encoding="utf-8").rstrip()

    def _links(self) -> str:
        styles = [*(one for one in _CHARTS if self.charts and one.endswith(".css")), "style.css"]
        scripts = [one for one in _CHARTS if self.charts and one.endswith(".js")]
        return "\n".join(
            [
                *(f'<link rel="stylesheet" href="/static/{one}">' for one in styles),
                *(f'<script src="/static/{one}" defer></script>' for one in scripts),
                f'<script src="/static/{self.name}.js" type="module"></script>',
            ]
        )


PAGES = {
    "/": Page("fleet", "Fleet"),
    "/series": Page("series", "Series", charts=True),
    "/incident": Page("incident", "Incident", charts=True),
    "/model": Page("model", "Model"),
}
