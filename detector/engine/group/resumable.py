"""What saves and restores states: one engine, or a group of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from detector.engine.engine import Engine
from detector.engine.group.group import EngineGroup
from detector.engine.snapshot import SeriesState

Resumable: TypeAlias = Engine | EngineGroup


def owner_of(engine: Resumable, state: SeriesState) -> Engine | None:
    """Return the engine that continues a saved series; None where its model is not in use."""
    if isinstance(engine, Engine):
        return engine if state.model in ("", engine.artifact.spec.name) else None
    member = engine.owner_of(state)
    return None if member is None else member.engine


def known_names(engine: Resumable) -> Collection[str]:
    """Return the series that the engine, or one of the group, knows."""
    return engine.latest.names if isinstance(engine, Engine) else engine.names
