"""What a fallback judges and which of its kinds are ready to be trained, for `/api/status` and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from detector.delivery.routing.fallback_view import FallbackView

_NAMED = 3


def fallback_json(found: FallbackView) -> dict[str, Any]:
    """Return the kinds of a fallback, and the command that trains models of them."""
    return {"kinds": [asdict(kind) for kind in found.kinds], "command": found.command}


def fallback_line(status: Mapping[str, Any]) -> str:
    """Return how many series a fallback judges, "" if there is none."""
    kinds = status["kinds"]
    num = sum(kind["series"] for kind in kinds)
    return f"{num:,} of {len(kinds):,} kinds" if kinds else ""


def ready_line(status: Mapping[str, Any]) -> str:
    """Return which kinds are ready to be trained and the command, "" if none is."""
    ready = [kind for kind in status["kinds"] if kind["is_ready"]]
    if not ready:
        return ""
    named = [f"{', '.join(kind['names'])} ({kind['rows']:,} rows)" for kind in ready[:_NAMED]]
    more = f" and {len(ready) - _NAMED:,} more kinds" if len(ready) > _NAMED else ""
    return f"{'; '.join(named)}{more}. Type: {status['command']}"
