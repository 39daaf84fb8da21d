"""A password in front of every page and answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from detector.login import CHALLENGE, Login

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_BODY = b'{"error":{"status":401,"message":"name and password are needed"}}'


class LoginGate:
    """Answers 401 to every request without the right name and password."""

    def __init__(self, app: _App, login: Login) -> None:
        self._app, self._login = app, login

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or self._login.admits(_authorization(scope)):
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_BODY)).encode()),
            (b"www-authenticate", CHALLENGE.encode()),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})


def _authorization(scope: _Scope) -> str:
    """Return the only Authorization header; empty if there is none or several."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else ""
