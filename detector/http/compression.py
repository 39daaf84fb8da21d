"""Bodies in gzip for clients that take it."""

from __future__ import annotations

import zlib

_WORTH_BYTES = 1024
_FAST, _GZIP = 1, 31
"""Arguments of `zlib.compress`: the fastest level, and the window size that selects the gzip format."""


def compressed(body: bytes, accept_encoding: str) -> bytes | None:
    """Return the body in gzip; None if the client does not take it, or the body is too short."""
    if len(body) < _WORTH_BYTES or not takes_gzip(accept_encoding):
        return None
    return zlib.compress(body, _FAST, _GZIP)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip.

    >>> takes_gzip("br, gzip;q=0.8"), takes_gzip("gzip;q=0"), takes_gzip("")
    (True, False, False)
    """
    for one in accept_encoding.lower().split(","):
        name, _, weight = one.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return weight.strip("0.") != "" if weight else True
    return False
