"""The versions of a model in its registry, and where each differs from the one that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detector.artifact.description.manifest import MANIFEST
from detector.errors import ArtifactError
from detector.lifecycle.differences import differences
from detector.lifecycle.versions import description, registered

_MOST_VERSIONS = 12
_MOST_DIFFERENCES = 40


def versions_json(place: str, shown: str) -> list[dict[str, Any]]:
    """Return the versions, the newest first, each with its differences; empty for a URI or a single model.

    A difference has the path in the description of the artifact, the shown value and the other one. Long
    lists are only said to differ.

    Args:
        place: where the model is.
        shown: the version that is shown.
    """
    if "://" in place:
        return []
    entry = Path(place).parent if Path(place, MANIFEST).exists() else Path(place)
    try:
        versions = registered(entry).versions
        if len(versions) < 2 or shown not in {one.name for one in versions}:
            return []
        newest = versions[:_MOST_VERSIONS]
        specs = {one.name: description(entry, one.name) for one in newest}
        here = description(entry, shown)
    except ArtifactError:  # it was moved or is being copied: the page has the rest
        return []
    return [
        {
            "version": one.name,
            "written": one.at * 1e3,
            "standing": one.standing,
            "is_current": one.standing == "current",
            "is_shown": one.name == shown,
            "why": one.last.why if one.last is not None else "",
            "differences": [
                {"path": found.path, "shown": found.one, "other": found.other}
                for found in differences(here, specs[one.name])[:_MOST_DIFFERENCES]
            ],
        }
        for one in newest
    ]
