"""What a candidate found beside the current version, as values and in a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from detector.lifecycle.shadow_view import ShadowView
from detector.metrics.sources import Sources


def of_versions(sources: Sources) -> dict[str, Any]:
    """Return whether the place of the model can be read, and the figures of a shadow."""
    return {"model_store": sources.model_store(), "shadow": shadow_json(sources.shadow())}


def shadow_json(view: ShadowView) -> dict[str, Any]:
    """Return the figures of a shadow as plain values; an unknown agreement is None."""
    return {
        "version": view.version or None,
        "rows": view.rows,
        "agreement": None if math.isnan(view.agreement) else view.agreement,
        "anomalous_rows": dict(view.anomalous),
        "incidents": dict(view.incidents),
        "restarts": view.restarts,
        "since_ms": round(view.since * 1e3) or None,
        "problem": view.problem,
    }


def shadow_line(found: Mapping[str, Any]) -> str:
    """Return the figures in a line; empty while no candidate is judged."""
    if found["version"] is None:
        return ""
    if not found["rows"]:
        return f"{found['version']}, warming up"
    rows, incidents = found["anomalous_rows"], found["incidents"]
    return (
        f"{found['version']}: agrees on {found['agreement']:.1%} of {found['rows']:,} rows;"
        f" anomalous rows {rows['candidate']:,}, current {rows['current']:,};"
        f" incidents {incidents['candidate']:,}, current {incidents['current']:,}"
    )
