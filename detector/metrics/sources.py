"""Figures that the engine does not have: the protocol through which metrics and `/api/status` read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from detector.delivery.routing.fallback_view import FallbackView
from detector.delivery.routing.tally import Unassigned
from detector.delivery.series_partitions import Split
from detector.lifecycle.shadow_view import ShadowView
from detector.notify.stats import NotifierStats
from detector.selfcheck.check import Sense


class Sources(Protocol):
    """Return figures of the service around the engine, as they are now.

    Every method may be called from any thread and returns at once. The daemon implements all of them in
    `detector.service.figures.ServiceFigures`.
    """

    def lag(self) -> Mapping[int, int]:
        """Return partition -> messages that are not read yet."""
        ...

    def lag_seconds(self) -> Mapping[int, float]:
        """Return partition -> age of the newest message that was read, in seconds."""
        ...

    def place(self, partition: int) -> tuple[str, int]:
        """Return the topic of a partition, empty where there is only one, and its number in the topic."""
        ...

    def rebalances(self) -> int:
        """Return how often partitions were assigned."""
        ...

    def ready(self) -> bool:
        """Return whether partitions are assigned, none is being replayed, and no right is missing."""
        ...

    def replaying(self) -> int:
        """Return the number of partitions that are being replayed."""
        ...

    def replayed(self) -> int:
        """Return the number of readings that were scored again without output."""
        ...

    def deleted(self) -> int:
        """Return the number of messages that retention deleted before they were read."""
        ...

    def missing_rights(self) -> Sequence[tuple[str, str]]:
        """Return (right, resource) of what this login lacks in Kafka."""
        ...

    def refused_requests(self) -> int:
        """Return how often Kafka refused for want of a right."""
        ...

    def decisions_readable(self) -> bool:
        """Return whether what people decide reaches this process."""
        ...

    def opinions(self) -> Mapping[str, int]:
        """Return opinion ("false-alarm", "real") -> incidents with that opinion."""
        ...

    def called_real(self) -> Set[str]:
        """Return the ids of incidents that people called real."""
        ...

    def split_series(self) -> Split:
        """Return the series that come from several partitions."""
        ...

    def unassigned(self) -> Unassigned:
        """Return the series that this model does not judge."""
        ...

    def fallback(self) -> FallbackView:
        """Return how far the kinds of the fallback are."""
        ...

    def schema_registry(self) -> tuple[str, int]:
        """Return why messages wait for the schema registry ("": none does), and failed attempts."""
        ...

    def notifiers(self) -> Sequence[NotifierStats]:
        """Return one entry for each notifier."""
        ...

    def reloads(self) -> Mapping[str, int]:
        """Return outcome ("loaded", "refused") -> reloads of the model."""
        ...

    def config_reloads(self) -> Mapping[str, int]:
        """Return outcome ("loaded", "refused") -> reloads of the configuration."""
        ...

    def model_store(self) -> str:
        """Return why the place of the model cannot be looked at; "" if it can."""
        ...

    def shadow(self) -> ShadowView:
        """Return what the candidate that judges beside the current version has found."""
        ...

    def sense(self) -> Sense:
        """Return the outcome of the last self-check."""
        ...

    def self_checks(self) -> Mapping[str, int]:
        """Return outcome ("ok", "deaf", "unknown") -> finished self-checks."""
        ...


class NoSources:
    """Implement `Sources` for an engine without a service: nothing is assigned, every count is 0."""

    def lag(self) -> Mapping[int, int]:
        return {}

    def lag_seconds(self) -> Mapping[int, float]:
        return {}

    def place(self, partition: int) -> tuple[str, int]:
        return "", partition

    def rebalances(self) -> int:
        return 0

    def ready(self) -> bool:
        return False

    def replaying(self) -> int:
        return 0

    def replayed(self) -> int:
        return 0

    def deleted(self) -> int:
        return 0

    def missing_rights(self) -> Sequence[tuple[str, str]]:
        return ()

    def refused_requests(self) -> int:
        return 0

    def decisions_readable(self) -> bool:
        return True

    def opinions(self) -> Mapping[str, int]:
        return {}

    def called_real(self) -> Set[str]:
        return frozenset()

    def split_series(self) -> Split:
        return Split()

    def unassigned(self) -> Unassigned:
        return Unassigned()

    def fallback(self) -> FallbackView:
        return FallbackView()

    def schema_registry(self) -> tuple[str, int]:
        return "", 0

    def notifiers(self) -> Sequence[NotifierStats]:
        return ()

    def reloads(self) -> Mapping[str, int]:
        return {}

    def config_reloads(self) -> Mapping[str, int]:
        return {}

    def model_store(self) -> str:
        return ""

    def shadow(self) -> ShadowView:
        return ShadowView()

    def sense(self) -> Sense:
        return Sense("unknown")

    def self_checks(self) -> Mapping[str, int]:
        return {}
