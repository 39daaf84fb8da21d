"""Requests that write: those that come from pages of another site are refused.

A browser sends a header of our own, or the type JSON, to another site only after that site has agreed in a
preflight request. This server agrees to none. Beside that, `Sec-Fetch-Site` and `Origin` must name this site.
"""

from __future__ import annotations

from email.message import Message
from urllib.parse import urlsplit

MARK, MARKED = "x-streamgauge", "decide"
MOST_BYTES = 16_384
_PORTS = {"http": ":80", "https": ":443"}

Refusal = tuple[int, str]
"""The status of the answer, and what is said."""


def refusal(headers: Message, has_body: bool = True) -> Refusal | None:
    """Return why a request that writes is refused; None: it may go on.

    Args:
        headers: of the request; names may be in any case.
        has_body: whether the method has a body. DELETE has none: a browser always asks before it sends one.
    """
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return 403, "refused: the request comes from a page of another site"
    origin = headers.get("origin")
    if origin is not None and not _is_own(origin, headers.get("host", "")):
        return 403, "refused: `Origin` is another site; a proxy in front must pass `Host` on unchanged"
    if headers.get(MARK) != MARKED:
        return 403, f"refused: the header `X-Streamgauge: {MARKED}` is missing"
    if has_body and (not _is_json(headers.get("content-type", "")) or "content-encoding" in headers):
        return 415, "the body must be JSON, with `Content-Type: application/json` and no encoding"
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:12]) > MOST_BYTES:
        return too_large()
    return None


def too_large() -> Refusal:
    """Return the refusal of a body that is too large."""
    return 413, f"the body has more than {MOST_BYTES:,} bytes"


def _is_own(origin: str, host: str) -> bool:
    """Return whether an origin is the host to which the request was sent, whatever its scheme.

    >>> _is_own("https://gauge.example.org", "gauge.example.org"), _is_own("null", "localhost:8765")
    (True, False)
    """
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    usual = _PORTS.get(found.scheme)
    if usual is None or not host:
        return False
    return found.netloc.lower().removesuffix(usual) == host.lower().removesuffix(usual)


def _is_json(content_type: str) -> bool:
    kind, _, more = content_type.lower().partition(";")
    return kind.strip() == "application/json" and more.strip() in ("", "charset=utf-8")
