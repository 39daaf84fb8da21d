"""One of several models in a process: its engine, and which series are its own."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from connectors.records import Readings
from detector.engine.engine import Engine, StepResult


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A model of a group. Two members are equal only if they are the same object.

    engine          scores its series
    patterns        of the names of its series, as of `fnmatch`; none: every name
    least_channels  channels of the model that a message of a new series must have, at least 1
    topics          patterns of the topics of its series; none: every topic
    is_fallback     it judges series that no other model matches (`detector.engine.group.fallback`)
    """

    engine: Engine
    patterns: tuple[str, ...] = ()
    least_channels: int = 1
    topics: tuple[str, ...] = ()
    is_fallback: bool = False

    @property
    def name(self) -> str:
        """The name of its model."""
        return self.engine.artifact.spec.name

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of its model."""
        return self.engine.artifact.spec.channel_names

    def matches(self, series: str) -> bool:
        """Return whether the name of a series matches one of the patterns."""
        if self.is_fallback:
            return False
        return not self.patterns or any(fnmatchcase(series, pattern) for pattern in self.patterns)

    def reads(self, topic: str) -> bool:
        """Return whether series of a topic may be its own."""
        return not self.topics or any(fnmatchcase(topic, pattern) for pattern in self.topics)


@dataclass(frozen=True, slots=True)
class Part:
    """What one member took and gave in a step: the readings of its series in its own columns."""

    member: Member
    readings: Readings
    result: StepResult


GroupResult: TypeAlias = tuple[Part, ...]
"""A part for each member with readings or with something to tell, in the order of the members."""
