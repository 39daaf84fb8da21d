"""The application: routes of the API and of the pages, and the headers of every answer."""

from __future__ import annotations

from asyncio import timeout
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector.errors import DetectorError
from detector.explore.deciding.ledger import LedgerError
from detector.explore.deciding.wish import WishError
from detector.explore.gate.guard import MARK, MOST_BYTES, SECONDS, refusal, too_large
from detector.explore.gate.login_gate import LoginGate
from detector.explore.web.all_endpoints import ALL
from detector.explore.web.decisions import decide
from detector.explore.web.endpoints import PREFIX, ConflictError, Endpoint, NotFoundError
from detector.explore.web.events import BusyError, Events
from detector.explore.web.openapi import EVENTS, document
from detector.explore.web.opened import Opened
from detector.explore.web.pages import PAGES, STATIC, Page
from detector.explore.web.parameters import ParameterError, read_all, read_json
from detector.login import Login

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class SecurityHeaders:
    """Adds the headers to every answer, and asks browsers to check whether what they kept is still new."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def app_of(opened: Opened, hosts: Sequence[str], login: Login | None = None) -> Starlette:
    """Return the application that shows a store.

    Args:
        opened: the store.
        hosts: names by which requests may address this server; others are refused, so that no foreign page
            can read the answers by a name of its own (DNS rebinding). "*" allows all.
        login: name and password that every request needs; None: none.
    """
    api = [Route(f"{PREFIX}{one.path}", _handler(opened, one), methods=[one.method]) for one in ALL]
    return Starlette(
        routes=[
            *api,
            Route(f"{PREFIX}/decisions", _decider(opened), methods=["POST"]),
            Route(EVENTS, Events(opened), methods=["GET"]),
            Route(f"{PREFIX}/openapi.json", _openapi, methods=["GET"]),
            *(Route(path, _page(page), methods=["GET"]) for path, page in PAGES.items()),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            *([] if login is None else [Middleware(LoginGate, login=login)]),
            Middleware(GZipMiddleware, minimum_size=2_000, compresslevel=3),
        ],
        exception_handlers={
            ParameterError: _wrong_parameter,
            NotFoundError: _not_found,
            BusyError: _busy,
            ConflictError: _conflict,
            DetectorError: _failed,
            WishError: _refused,
            LedgerError: _unwritten,
            HTTPException: _http_error,
        },
    )


def _handler(opened: Opened, endpoint: Endpoint) -> Callable[[Request], Any]:
    """Return the handler of an endpoint; it runs in a thread, since a query takes a while."""
    if endpoint.method != "GET":
        return _writing(opened, endpoint)

    def handle(request: Request) -> Response:
        values = read_all(endpoint.parameters, request.query_params.multi_items())
        return _json(endpoint.answer(opened, values | dict(request.path_params)))

    return handle


def _writing(opened: Opened, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of an endpoint that changes something; no other site can call it."""
    names = tuple(one.name for one in endpoint.parameters)

    async def handle(request: Request) -> Response:
        body = await _sent(request)
        if isinstance(body, Response):
            return body
        values = read_json(body, names) if endpoint.method == "POST" else {}
        found = await run_in_threadpool(endpoint.answer, opened, values | dict(request.path_params))
        return _json(found, 202 if found["state"] == "running" and endpoint.method == "POST" else 200)

    return handle


def _decider(opened: Opened) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler that takes a decision."""

    async def handle(request: Request) -> Response:
        body = await _sent(request)
        if isinstance(body, Response):
            return body
        names = request.headers.getlist(opened.writing.user_header or MARK)
        return _json(await run_in_threadpool(decide, opened, body, names), 201)

    return handle


async def _sent(request: Request) -> bytes | Response:
    """Return the body of a request that may write, or the answer that refuses it."""
    refused = refusal(request.headers, has_body=request.method != "DELETE")
    if refused is not None:
        return _error(*refused)
    try:
        async with timeout(SECONDS):
            body = await _body_of(request)
    except TimeoutError:
        return _error(408, "the body did not arrive in time")
    return _error(*too_large()) if body is None else body


async def _body_of(request: Request) -> bytes | None:
    """Return the body, or None as soon as it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    return body


def _page(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a page, which is put together once."""
    html = page.html()

    async def show(request: Request) -> Response:
        return HTMLResponse(html)

    return show


def _openapi(request: Request) -> Response:
    return _json(document())


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body, option=_JSON_OPTIONS), status, media_type="application/json")


def _error(status: int, message: str, **more: str) -> Response:
    return _json({"error": {"status": status, "message": message, **more}}, status)


def _wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, ParameterError)
    return _error(400, f"`{error.name}` {error.message}", parameter=error.name)


def _not_found(request: Request, error: Exception) -> Response:
    return _error(404, str(error))


def _busy(request: Request, error: Exception) -> Response:
    answer = _error(503, str(error))
    answer.headers["Retry-After"] = "5"
    return answer


def _conflict(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConflictError)
    return _error(409, str(error), **({"job": error.job} if error.job else {}))


def _failed(request: Request, error: Exception) -> Response:
    return _error(500, str(error))


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, WishError)
    more = {"parameter": error.field} if error.field else {}
    return _error(error.status, str(error), **more)


def _unwritten(request: Request, error: Exception) -> Response:
    return _error(503, str(error))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)
