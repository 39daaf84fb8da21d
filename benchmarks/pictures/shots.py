"""Which pictures of the pages there are."""

from __future__ import annotations

from dataclasses import dataclass

BACKTEST, GROUPS, LIVE, FILE = "backtest", "groups", "live", "file"
DESKTOP, TALL, PHONE = (1280, 860), (1280, 1100), (390, 844)


@dataclass(frozen=True, slots=True)
class Shot:
    """Describe a picture.

    paths     of the pages, beside each other, with "{series}" and "{incident}"; of a report: its file
    size      width and height of the window in CSS pixels
    scheme    light or dark
    is_shown  whether a page of the docs has it
    source    what the pages show: a backtest, one with groups, a running group, or the file of a report
    asks      whether a question of "What if" is asked first
    at        selector of what stands at the top of the window; empty: the top of the page
    """

    paths: tuple[str, ...]
    size: tuple[int, int] = DESKTOP
    scheme: str = "light"
    is_shown: bool = True
    source: str = BACKTEST
    asks: bool = False
    at: str = ""


_FLEET, _SERIES, _INCIDENT, _MODEL = "/", "/series?name={series}", "/incident?id={incident}", "/model"
_CHANGED = "/series?name=pump-06"
"""A series that another alarm budget changes."""
_GROUPS = "/?show=groups&group=north"
_REPORTS = ("backtest.html", "both.html", "training.html", "evaluation.html")
SHOTS = {
    "explorer-fleet": Shot((_FLEET,)),
    "explorer-series": Shot((_SERIES,)),
    "explorer-incident": Shot((_INCIDENT,), TALL),
    "explorer-model": Shot((_MODEL,), TALL),
    "explorer-whatif": Shot((_CHANGED,), asks=True, at="#whatif"),
    "explorer-dark": Shot((_INCIDENT,), TALL, "dark"),
    "explorer-phone": Shot((_FLEET, _SERIES, _INCIDENT, _MODEL), PHONE),
    "explorer-fleet-dark": Shot((_FLEET,), scheme="dark", is_shown=False),
    "explorer-series-dark": Shot((_SERIES,), scheme="dark", is_shown=False),
    "explorer-model-dark": Shot((_MODEL,), scheme="dark", is_shown=False),
    "explorer-whatif-dark": Shot((_CHANGED,), scheme="dark", asks=True, at="#whatif", is_shown=False),
    "explorer-phone-dark": Shot((_FLEET, _SERIES, _INCIDENT, _MODEL), PHONE, "dark", is_shown=False),
    "explorer-groups": Shot((_GROUPS,), source=GROUPS),
    "explorer-groups-dark": Shot((_GROUPS,), scheme="dark", is_shown=False, source=GROUPS),
    "explorer-groups-phone": Shot((_GROUPS,), PHONE, is_shown=False, source=GROUPS),
    "explorer-live": Shot((_FLEET,), source=LIVE),
    "explorer-live-series": Shot((_SERIES,), source=LIVE, is_shown=False),
    "explorer-live-phone": Shot((_FLEET, _SERIES), PHONE, source=LIVE, is_shown=False),
    "report-backtest": Shot(_REPORTS[:1], TALL, source=FILE),
    "report-comparison": Shot(_REPORTS[1:2], TALL, source=FILE, at="#compared"),
    "report-training": Shot(_REPORTS[2:3], TALL, source=FILE),
    "report-evaluation": Shot(_REPORTS[3:4], (1280, 580), source=FILE),
    "report-phone": Shot(_REPORTS, PHONE, source=FILE),
    "report-backtest-dark": Shot(_REPORTS[:1], TALL, "dark", is_shown=False, source=FILE),
    "report-training-dark": Shot(_REPORTS[2:3], TALL, "dark", is_shown=False, source=FILE),
}
