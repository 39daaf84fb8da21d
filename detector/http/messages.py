"""A request and its response, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from typing import Any, Protocol

import orjson

_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    method     in upper case
    path       decoded, without the query
    query      names and values, decoded, in their order
    headers    names in any case; a name may occur more than once
    parts      the parts of the path that its route names
    body       empty unless the route takes one
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Message = field(default_factory=Message)
    parts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def accept(self) -> str:
        """The Accept header, or empty."""
        return self.headers.get("Accept", "")


class Stream(Protocol):
    """Pieces of a body that go on until the client or the server ends. It is closed in any case."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the next piece when there is one."""

    def close(self) -> None:
        """Release what it holds; called once, also if no piece was taken."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status code, content type and body.

    headers  beside those that every answer has
    stream   takes the place of the body; the connection ends after it
    """

    code: int
    content_type: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Stream | None = None

    @classmethod
    def text(cls, code: int, body: str) -> Response:
        """Return plain text; a newline is added."""
        return cls(code, "text/plain; charset=utf-8", body.encode() + b"\n")

    @classmethod
    def json(cls, body: Any, code: int = 200) -> Response:
        """Return plain values as JSON; NaN becomes null."""
        return cls(code, "application/json", orjson.dumps(body, option=_JSON_OPTIONS))


def status_words(code: int) -> str:
    """Return the usual words of a status.

    >>> status_words(404)
    'not found'
    """
    return HTTPStatus(code).phrase.lower()
