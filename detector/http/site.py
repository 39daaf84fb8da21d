"""What a server answers: routes, the words of refusals, and the names by which it may be addressed."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, TypeAlias

from detector.http.cross_site import refusal
from detector.http.messages import Request, Response, status_words

logger = logging.getLogger(__name__)

Answer: TypeAlias = Callable[[Request], Response]
Words: TypeAlias = Callable[[int, str], Response]
"""Takes a status and what is wrong, and returns the answer with both."""
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Route:
    """Describe what answers one method of one path.

    path    a part in braces is any text without a slash; `answer` finds it in `Request.parts`
    method  POST takes a body; POST and DELETE are refused to pages of other sites
    """

    path: str
    answer: Answer
    method: Literal["GET", "POST", "DELETE"] = "GET"

    def parts(self, path: str) -> dict[str, str] | None:
        """Return the named parts of a path; None if it is another path."""
        found = _pattern(self.path).fullmatch(path)
        return None if found is None else found.groupdict()


def text_words(status: int, words: str) -> Response:
    """Return a refusal as plain text."""
    return Response.text(status, words)


def unexpected(error: Exception) -> Response | None:
    """Return the answer to an error of a route: none is known."""
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """Hold the routes of a server and how it refuses.

    routes  the first that fits a path answers
    words   return the answer to a refused request
    known   return the answer to an error of a route; None: it is a fault of ours, which is logged
    hosts   host names by which requests may address the server; empty: all. Others are refused, so that no
            foreign page can read answers by a name of its own (DNS rebinding)
    """

    routes: Sequence[Route]
    words: Words = text_words
    known: Callable[[Exception], Response | None] = unexpected
    hosts: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, answers: Mapping[str, Answer]) -> Site:
        """Return a site that is only read: path -> what answers it."""
        return cls([Route(path, answer) for path, answer in answers.items()])

    def route(self, request: Request) -> tuple[Route, dict[str, str]] | Response:
        """Return the route of a request and the named parts of its path, or the answer that refuses it."""
        if self.hosts and _host_in(request.headers.get("Host", "")) not in self.hosts:
            return self.words(400, "this server has another name: `Host` is wrong")
        found = [(one, parts) for one in self.routes if (parts := one.parts(request.path)) is not None]
        if not found:
            return self.words(404, status_words(404))
        method = "GET" if request.method in _READING else request.method
        of_method = next(((one, parts) for one, parts in found if one.method == method), None)
        if of_method is None:
            return self._not_allowed([one for one, _ in found])
        if method != "GET":
            refused = refusal(request.headers, has_body=method == "POST")
            if refused is not None:
                return self.words(*refused)
        return of_method

    def answer(self, route: Route, request: Request) -> Response:
        """Return the answer of a route. A fault of ours says nothing of the inner workings."""
        try:
            return route.answer(request)
        except Exception as error:
            told = self.known(error)
            if told is None:
                logger.exception("cannot answer %s", route.path)  # a path of ours, not text of the client
                told = self.words(500, "failed; see the log")
            return told

    def _not_allowed(self, routes: Sequence[Route]) -> Response:
        methods = {one.method for one in routes}
        allowed = sorted(methods | (_READING if "GET" in methods else set()))
        told = self.words(405, status_words(405))
        return replace(told, headers={"Allow": ", ".join(allowed)})


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """Return the expression of a path with parts in braces.

    >>> _pattern("/incidents/{id}").pattern
    '/incidents/(?P<id>[^/]+)'
    """
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def _host_in(header: str) -> str:
    """Return the name or address in a Host header, without its port.

    >>> _host_in("localhost:8765"), _host_in("[::1]:8765"), _host_in("")
    ('localhost', '::1', '')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
