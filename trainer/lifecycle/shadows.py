"""What a running daemon counted of its candidates in shadow, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.http_get import Getter
from connectors.http_post import Endpoint
from detector.errors import ConfigError
from detector.status.shadow import shadow_line

_MOST_BYTES = 16 << 20


def shadows_at(url: str) -> tuple[Mapping[str, Any], ...]:
    """Return the figures of each shadow of a daemon that judges, as `/api/status` has them.

    Args:
        url: of the HTTP server of the daemon, such as "http://localhost:9464".

    Raises:
        EndpointError: the URL cannot be used.
        ConfigError: no daemon of this release answers there.
    """
    answer = Getter(Endpoint(url), _MOST_BYTES).get("/api/status")
    if answer.status != 200:
        raise ConfigError(f"--daemon: {answer.reason}; give the address of [http] of a running daemon")
    try:
        status = json.loads(answer.body)
        found = [one["shadow"] for one in status.get("models", [status])]
        return tuple(one for one in found if one["version"] is not None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"--daemon: {url} answers, and is no daemon of this release") from error


def shadow_words(shadow: Mapping[str, Any] | None, version: str) -> str:
    """Return what was counted of a version since when, for people."""
    if shadow is None:
        return f"{version} is not in shadow there"
    since = datetime.fromtimestamp(shadow["since_ms"] / 1e3, UTC).isoformat(timespec="seconds")
    return f"in shadow since {since.replace('+00:00', 'Z')}: {shadow_line(shadow)}"
