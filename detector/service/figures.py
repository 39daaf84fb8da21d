"""Read the figures of the running service for metrics, `/api/status` and readiness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from connectors.partition_numbers import PartitionNumbers
from connectors.records import StreamSource
from detector.config.input.registry import SchemaRegistrySection
from detector.delivery.decisions.opinions import Opinions
from detector.delivery.deleted_input import Deletions
from detector.delivery.missing_rights import MissingRights
from detector.delivery.recovery import Recovery
from detector.delivery.routing.fallback import FallbackRouter
from detector.delivery.routing.fallback_view import FallbackView
from detector.delivery.routing.router import Router
from detector.delivery.routing.tally import Unassigned
from detector.delivery.series_partitions import SeriesPartitions, Split
from detector.delivery.unassigned import Admission
from detector.lifecycle.shadow_view import ShadowView
from detector.notify.notifiers import Notifiers
from detector.notify.stats import NotifierStats
from detector.selfcheck.check import Sense
from detector.service.candidates.shadow import Shadow
from detector.service.clients import Decisions
from detector.service.reload.reload_counts import ReloadCounts
from detector.service.self_checks import NoSelfChecks, SelfChecks


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """Implement `detector.metrics.sources.Sources` for the daemon, from the parts that know the figures.

    source             the input stream
    recovery           None where no state is saved
    deletions          what retention deleted
    partitions         which partition each series comes from
    admission          which series this model judges
    rights             rights in Kafka that are missing
    alerting           the notifiers of [[notify]]
    models, settings   reloads of the model and of the configuration
    self_checks_of     the self-checks
    decisions          the reader of decisions
    registry           the schema registry of Avro messages
    said               what people said that incidents were
    beside             judges the newest candidate
    numbers            of the partitions, as the source has them
    unknown            how far the kinds of the fallback are
    """

    source: StreamSource
    recovery: Recovery | None
    deletions: Deletions
    partitions: SeriesPartitions
    admission: Admission | Router | FallbackRouter
    rights: MissingRights
    alerting: Notifiers
    models: ReloadCounts
    settings: ReloadCounts
    self_checks_of: SelfChecks | NoSelfChecks
    decisions: Decisions
    registry: SchemaRegistrySection
    said: Opinions
    beside: Shadow
    numbers: PartitionNumbers
    unknown: Callable[[], FallbackView] = FallbackView

    def lag(self) -> Mapping[int, int]:
        """Return partition -> messages that are not read yet."""
        return self.source.lag

    def lag_seconds(self) -> Mapping[int, float]:
        """Return partition -> age of the newest message that was read, in seconds."""
        return self.source.lag_seconds

    def place(self, partition: int) -> tuple[str, int]:
        """Return the topic of a partition, empty where there is only one, and its number in the topic."""
        return ("", partition) if self.numbers.topic else self.numbers.place(partition)

    def rebalances(self) -> int:
        """Return how often partitions were assigned."""
        return self.source.num_rebalances

    def ready(self) -> bool:
        """Return whether partitions are assigned, none is being replayed, and no right is missing."""
        return self.source.is_assigned and self.replaying() == 0 and not self.rights.missing

    def replaying(self) -> int:
        """Return the number of partitions that are being replayed."""
        return self.recovery.num_replaying if self.recovery else 0

    def replayed(self) -> int:
        """Return the number of readings that were replayed."""
        return self.recovery.replayed if self.recovery else 0

    def deleted(self) -> int:
        """Return the number of messages that were deleted unread."""
        return self.deletions.messages

    def missing_rights(self) -> Sequence[tuple[str, str]]:
        """Return (right, resource) of what this login lacks in Kafka."""
        return tuple(self.rights.missing)

    def refused_requests(self) -> int:
        """Return how often Kafka refused for want of a right."""
        return self.rights.refused

    def decisions_readable(self) -> bool:
        """Return whether what people decide reaches this process."""
        return self.decisions.is_readable

    def opinions(self) -> Mapping[str, int]:
        """Return opinion -> incidents with that opinion."""
        return self.said.counts

    def called_real(self) -> Set[str]:
        """Return the ids of incidents that people called real."""
        return self.said.real

    def split_series(self) -> Split:
        """Return the series that come from several partitions."""
        return self.partitions.split

    def unassigned(self) -> Unassigned:
        """Return the series that this model does not judge."""
        return self.admission.unassigned

    def fallback(self) -> FallbackView:
        """Return how far the kinds of the fallback are."""
        return self.unknown()

    def schema_registry(self) -> tuple[str, int]:
        """Return why messages wait for the schema registry ("": none does), and failed attempts."""
        return self.registry.state

    def notifiers(self) -> Sequence[NotifierStats]:
        """Return one entry for each notifier."""
        return self.alerting.stats()

    def reloads(self) -> Mapping[str, int]:
        """Return outcome -> reloads of the model."""
        return self.models.by_outcome

    def config_reloads(self) -> Mapping[str, int]:
        """Return outcome -> reloads of the configuration."""
        return self.settings.by_outcome

    def model_store(self) -> str:
        """Return why the place of the model cannot be looked at; "" if it can."""
        return self.models.unreachable

    def shadow(self) -> ShadowView:
        """Return what the candidate that judges beside the current version has found."""
        return self.beside.view

    def sense(self) -> Sense:
        """Return the outcome of the last self-check."""
        return self.self_checks_of.sense

    def self_checks(self) -> Mapping[str, int]:
        """Return outcome -> finished self-checks."""
        return self.self_checks_of.counts
