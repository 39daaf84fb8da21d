"""Which requests may change something: those of our own pages, and of programs, but of no other site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from detector.explore.web.parameters import ParameterError

MOST_BYTES = 65_536
_OWN = ("same-origin", "none")


def refusal(headers: Mapping[str, str], has_body: bool) -> tuple[int, str] | None:
    """Return status and reason for which a request may change nothing; None: it may.

    A browser says where a request comes from, in `Sec-Fetch-Site` and `Origin`. JSON cannot be sent by a form
    of another site without asking first.

    Args:
        headers: of the request, by name in lower case.
        has_body: whether the request carries JSON.
    """
    if headers.get("sec-fetch-site", "same-origin") not in _OWN:
        return 403, "requests of other sites may change nothing (Sec-Fetch-Site)"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return 403, "requests of other sites may change nothing (Origin is not Host)"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        return 415, "send JSON, with Content-Type: application/json"
    return None


def read_json(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a body by name; those that are absent are None.

    Raises:
        ParameterError: it is no JSON object, or has a name that is none of `names`.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParameterError("body", f"is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ParameterError("body", "is no JSON object")
    unknown = next((name for name in found if name not in names), None)
    if unknown is not None:
        raise ParameterError(unknown[:400], f"is unknown here; there are {', '.join(names)}")
    return {name: found.get(name) for name in names}
