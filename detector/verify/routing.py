"""Gives the readings of one partition to the models that judge them, by the rules of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch, Readings
from detector.delivery.routing.router import Router
from detector.delivery.unassigned import Admission
from detector.engine.group.columns import Columns
from detector.engine.group.member import Member
from detector.verify.rescoring import Judging, Rescoring

Routed = Sequence[tuple[Rescoring, Readings]]


class Routes(Protocol):
    """Returns the readings of each model in a batch, in the columns of `Judging.channels`."""

    def route(self, batch: Batch) -> Routed: ...


class ForOne:
    """The routes of a process with [model]: one model, and series that are unassigned."""

    def __init__(self, judging: Judging, admission: Admission) -> None:
        self._rescoring, self._admission = Rescoring(judging), admission

    def route(self, batch: Batch) -> Routed:
        """Return the readings that are judged; their columns are those of the batch."""
        return [(self._rescoring, self._admission.admit(batch, self._rescoring.knows).readings)]


class ForSeveral:
    """The routes of a process with [[models]]. It is a group of engines as a router sees one.

    Args:
        models: the models in the order of the configuration, each with what its versions need.
        channels: the columns of the batches: the channels of all versions of all models.
        numbers: of the partitions.
    """

    def __init__(
        self,
        models: Sequence[tuple[Member, Judging]],
        channels: tuple[str, ...],
        numbers: PartitionNumbers,
    ) -> None:
        self._channels = channels
        self._at = {name: number for number, name in enumerate(channels)}
        self._rescorings = {member: Rescoring(judging) for member, judging in models}
        self._homes: dict[str, Member] = {}
        self._router = Router(self, most_logged=0, numbers=numbers)

    @property
    def members(self) -> tuple[Member, ...]:
        """The models, in the order in which they are asked."""
        return tuple(self._rescorings)

    @property
    def columns(self) -> Columns:
        """The columns of the batches, and those of the present version of each model."""
        present = [one.model.channels for one in self._rescorings.values()]
        return Columns(self._channels, tuple(np.array([self._at[name] for name in one]) for one in present))

    def home_of(self, series: str) -> Member | None:
        """Return the model whose engine knows a series."""
        home = self._homes.get(series)
        return home if home is not None and self._rescorings[home].knows(series) else None

    def assign(self, series: str, member: Member) -> None:
        """Let a model judge a series that no engine knows."""
        self._homes[series] = member

    def route(self, batch: Batch) -> Routed:
        """Return the readings of each model that has some."""
        readings = self._router.route(batch).readings
        found = []
        for member, rescoring in self._rescorings.items():
            own = np.array([self._homes.get(name) is member for name in readings.names], np.bool_)
            if own.any():
                taken = readings.take(own[readings.series])
                columns = [self._at[name] for name in rescoring.judging.channels]
                found.append((rescoring, replace(taken, values=taken.values[:, columns])))
        return found
