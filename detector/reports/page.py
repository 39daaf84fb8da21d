"""One HTML file that needs no other: pages, styles, scripts and the answers of the API.

The policy in its head allows the scripts and styles of the file alone, each by its SHA-256, and no address.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from detector.errors import DetectorError
from detector.explore.web.pages import PAGES
from detector.explore.web.pages import STATIC as _EXPLORER
from detector.reports.bundle import bundled

_HERE = Path(__file__).parent / "static"
_PAGES = ("series", "incident")
"""Pages of the explorer that a report of a backtest has as they are."""


def write_page(out: Path, title: str, first: str, answers: Mapping[str, Any]) -> int:
    """Write a report and return its size in bytes.

    Promise: the file is whole, or is as it was before.

    Args:
        out: the file to write.
        title: of the page.
        first: the first page, by the name of its HTML file and its module.
        answers: bodies of answers by their path below `/api/v1`; arrays of numpy are taken.

    Raises:
        DetectorError: the file cannot be written.
    """
    if out.is_dir():
        raise DetectorError(f"{out}: is a directory; name a file in it, such as {out / 'report.html'}")
    content = page_of(title, first, answers).encode()
    scratch = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(content)
        scratch.replace(out)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise DetectorError(f"{out}: cannot be written: {error.strerror or error}") from error
    return len(content)


def packed(value: Any) -> bytes:
    """Return a value as compressed JSON; numbers that are no numbers become null.

    Equal values give equal bytes.
    """
    return gzip.compress(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), 9, mtime=0)


def page_of(title: str, first: str, answers: Mapping[str, Any]) -> str:
    """Return the text of a report; see `write_page`."""
    has_pages = "series" in answers
    starts = ["embedded", "shell", f"{_MODULES[first]}?first"]
    starts += [f"{one}?{one}" for one in _PAGES] if has_pages else []
    scripts = [_read(_EXPLORER / "uplot.js"), bundled(_modules(), starts)]
    style = "".join(
        _read(path) for path in (_EXPLORER / "uplot.css", _EXPLORER / "style.css", _HERE / "report.css")
    )
    templates = [f'<template id="page-first">{_read(_HERE / f"{first}.html")}</template>']
    if has_pages:
        templates += [f'<template id="page-{one}">{_main_of(one)}</template>' for one in _PAGES]
    for one in (*scripts, style):
        if "</script" in one.lower() or "<!--" in one or "</style" in one.lower():
            raise ValueError("a script or style would end its element in the page too early")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en" data-report>\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy(scripts, [style])}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">',
            f"<title>{html.escape(title)} - Streamgauge</title>\n<style>{style}</style>\n</head>",
            '<body aria-busy="true">\n<a class="skip" href="#main">Skip to the content</a>',
            _read(_HERE / "shell.html"),
            *templates,
            '<script type="text/plain" id="data">',
            base64.b64encode(packed(answers)).decode(),
            "</script>",
            *(f"<script>{one}</script>" for one in scripts),
            "</body>\n</html>\n",
        ]
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return the Content-Security-Policy that allows these texts alone."""
    allowed = {"script-src": scripts, "style-src": styles}
    hashes = (f"{name} {' '.join(map(_hash, texts))}" for name, texts in allowed.items())
    return f"default-src 'none'; {'; '.join(hashes)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_MODULES = {"backtest": "report", "training": "training", "evaluation": "evaluation"}


@cache
def _modules() -> dict[str, str]:
    """Return every module of the explorer and of the reports."""
    paths = (path for folder in (_EXPLORER, _HERE) for path in sorted(folder.glob("*.js")))
    return {path.stem: _read(path) for path in paths if path.stem != "uplot"}


def _main_of(name: str) -> str:
    """Return a page of the explorer without its frame."""
    return f'<main id="main" tabindex="-1">\n{PAGES[f"/{name}"].main()}\n</main>'


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
