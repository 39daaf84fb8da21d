"""The versions of a model in its registry, and where each differs from the one that is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detector.artifact.description.manifest import MANIFEST
from detector.artifact.description.place import CURRENT

_MOST_VERSIONS = 12
_MOST_DIFFERENCES = 40
_LONG = 60
_LOSSES = ("training.train_losses", "training.validation_losses", "training.fingerprint")


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
    entry = Path(place) if (Path(place) / CURRENT).exists() else Path(place).parent
    found = {
        path.parent.name: path for path in entry.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")
    }
    if shown not in found or len(found) < 2:
        return []
    current = (entry / CURRENT).read_text().strip() if (entry / CURRENT).exists() else ""
    newest = sorted(found, key=lambda name: -found[name].stat().st_mtime)[:_MOST_VERSIONS]
    here = dict(_leaves(_spec(found[shown])))
    return [
        {
            "version": name,
            "written": found[name].stat().st_mtime * 1e3,
            "is_current": name == current,
            "is_shown": name == shown,
            "differences": [] if name == shown else _differences(here, dict(_leaves(_spec(found[name])))),
        }
        for name in newest
    ]


def _spec(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())["spec"]
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of everything that is no table; lists of tables go by name or place."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for at, one in enumerate(value):
            yield from _leaves(one, f"{path}[{one.get('name', at)}]")
    else:
        yield path, value


def _differences(here: dict[str, Any], there: dict[str, Any]) -> list[dict[str, str]]:
    names = [name for name in dict.fromkeys((*here, *there)) if name not in _LOSSES]
    different = [name for name in names if here.get(name) != there.get(name)]
    return [
        {"path": name, "shown": _text(here.get(name)), "other": _text(there.get(name))}
        for name in different[:_MOST_DIFFERENCES]
    ]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONG else "long"
