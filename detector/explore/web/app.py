"""The site of the explorer: routes of the API and of the pages, and the answers to errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from detector.errors import DetectorError
from detector.explore.deciding.ledger import LedgerError
from detector.explore.deciding.wish import WishError
from detector.explore.web.all_endpoints import ALL
from detector.explore.web.decisions import decide
from detector.explore.web.endpoints import PREFIX, ConflictError, Endpoint, NotFoundError
from detector.explore.web.events import BusyError, Events
from detector.explore.web.openapi import EVENTS, document
from detector.explore.web.opened import Opened
from detector.explore.web.pages import PAGES, STATIC
from detector.explore.web.parameters import ParameterError, read_all, read_json
from detector.http.cross_site import MARK
from detector.http.files import Held, files_of
from detector.http.messages import Request, Response
from detector.http.site import Answer, Route, Site


def site_of(opened: Opened, hosts: Iterable[str] = ()) -> Site:
    """Return the site that shows a store.

    Args:
        opened: the store.
        hosts: names by which requests may address the server; empty: all.
    """
    routes = [
        *(Route(f"{PREFIX}{one.path}", _answer_of(opened, one), one.method) for one in ALL),
        Route(f"{PREFIX}/decisions", _decider(opened), "POST"),
        Route(EVENTS, Events(opened)),
        Route(f"{PREFIX}/openapi.json", lambda request: Response.json(document())),
        *(Route(path, Held.page(page.html())) for path, page in PAGES.items()),
        *files_of(STATIC, "/static"),
    ]
    return Site(routes, _error, _told, frozenset(hosts))


def _answer_of(opened: Opened, endpoint: Endpoint) -> Answer:
    """Return what answers an endpoint."""
    names = tuple(one.name for one in endpoint.parameters)

    def answer(request: Request) -> Response:
        if endpoint.method == "GET":
            values = read_all(endpoint.parameters, request.query)
        else:
            values = read_json(request.body, names) if endpoint.method == "POST" else {}
        found = endpoint.answer(opened, values | dict(request.parts))
        is_begun = endpoint.method == "POST" and found["state"] == "running"
        return Response.json(found, 202 if is_begun else 200)

    return answer


def _decider(opened: Opened) -> Answer:
    """Return what takes a decision."""

    def answer(request: Request) -> Response:
        names = request.headers.get_all(opened.writing.user_header or MARK) or []
        return Response.json(decide(opened, request.body, names), 201)

    return answer


def _error(status: int, message: str, **more: str) -> Response:
    return Response.json({"error": {"status": status, "message": message, **more}}, status)


def _told(error: Exception) -> Response | None:
    """Return the answer to an error of an endpoint, by the nearest of its classes; None: it is a fault."""
    return next((_ERRORS[kind](error) for kind in type(error).__mro__ if kind in _ERRORS), None)


def _wrong_parameter(error: Any) -> Response:
    return _error(400, f"`{error.name}` {error.message}", parameter=error.name)


def _busy(error: Any) -> Response:
    return replace(_error(503, str(error)), headers={"Retry-After": "5"})


def _conflict(error: Any) -> Response:
    return _error(409, str(error), **({"job": error.job} if error.job else {}))


def _refused(error: Any) -> Response:
    return _error(error.status, str(error), **({"parameter": error.field} if error.field else {}))


_ERRORS: dict[type, Callable[[Any], Response]] = {
    ParameterError: _wrong_parameter,
    NotFoundError: lambda error: _error(404, str(error)),
    BusyError: _busy,
    ConflictError: _conflict,
    DetectorError: lambda error: _error(500, str(error)),
    WishError: _refused,
    LedgerError: lambda error: _error(503, str(error)),
}
