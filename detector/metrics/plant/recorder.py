"""Metrics of a daemon with several models, as one exposition.

Each model has metrics of its own, as if it had a process of its own. A scrape joins them
(`detector.metrics.plant.sharing`). What belongs to the loop and to Kafka is there once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from connectors.records import Batch
from detector.engine.group.member import GroupResult
from detector.engine.loop import Turn, TurnOf
from detector.metrics.catalogue import CHANNELS, SERIES
from detector.metrics.collector import of_service
from detector.metrics.exposition import with_texts
from detector.metrics.fast_text import head
from detector.metrics.instruments import Instruments
from detector.metrics.plant.sharing import merged
from detector.metrics.recorder import Metrics, Scrape, build_labels
from detector.metrics.series_gauges import Labels, channel_gauges, firing, incident_gauges, series_gauges
from detector.metrics.sources import Sources


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    """Families that are collected already, for the encoders of the client library."""

    found: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        yield from self.found


class GroupMetrics:
    """All metrics of a daemon with several models.

    Only the thread of the loop may call `observe`, `transaction`, `add` and `remove`. Any thread may call
    the others.

    Args:
        sources: Figures of the service, without those of single models.
        software_version: Version of Streamgauge.
        max_incidents: Maximum number of incidents with their own gauges.
    """

    def __init__(self, sources: Sources, software_version: str, max_incidents: int) -> None:
        self.sources, self._max_incidents = sources, max_incidents
        self._build = build_labels(software_version)
        self._of_process, registry = CollectorRegistry(), CollectorRegistry()
        ProcessCollector(registry=self._of_process)
        GCCollector(registry=self._of_process)
        self._loop, self._instruments = registry, Instruments(registry)
        self._scraping = threading.Lock()
        self._labels: dict[str, tuple[tuple[str, ...], Labels]] = {}
        self._replayed = 0
        self.turned_at: float | None = None
        self.models: Mapping[str, Metrics] = {}

    def add(self, name: str, metrics: Metrics) -> None:
        """Export a further model."""
        self.models = {**self.models, name: metrics}

    def remove(self, name: str) -> None:
        """Export a model no longer. Its counters vanish, as if its process had ended."""
        self.models = {one: metrics for one, metrics in self.models.items() if one != name}

    def arrange(self, names: Sequence[str]) -> None:
        """Show the models in this order from now on."""
        self.models = {name: self.models[name] for name in names}

    def observe(self, turn: TurnOf[GroupResult]) -> None:
        """Count one turn of the loop, and what each model found in it."""
        self.turned_at = time.time()
        self._instruments.turn(turn)
        parts = {part.member.name: part for part in turn.result}
        replayed = self.sources.replayed()
        has_moved = bool(turn.batch.lost or turn.batch.assigned) or replayed != self._replayed
        self._replayed = replayed
        for name, metrics in self.models.items():
            part = parts.get(name)
            if part is not None:
                batch = Batch(part.readings, lost=turn.batch.lost, assigned=turn.batch.assigned)
                metrics.take(Turn(batch, part.result, 0.0, 0.0, 0.0, 0.0))
            elif has_moved:
                metrics.refresh(bool(turn.batch.lost))

    def transaction(self, outcome: str, seconds: float) -> None:
        """Count a Kafka transaction that took `seconds` and ended with `outcome`."""
        self._instruments.transaction(outcome, seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that the Accept header asks for."""
        with self._scraping:
            models = self.models
            scrapes = {name: metrics.scrape() for name, metrics in models.items()}
            found = [(name, scrape.families) for name, scrape in scrapes.items()]
            service = of_service(self.turned_at, self.sources, self._build)
            once = ("", [*self._of_process.collect(), *self._loop.collect(), *service])
            encode, content_type = choose_encoder(accept)
            body = encode(_Collected([*merged([*found, once])]))
            return with_texts(body, self._texts(scrapes)), content_type

    def _texts(self, scrapes: Mapping[str, Scrape]) -> Iterator[str]:
        """Yield the families with many samples, each with those of all models."""
        texts = [self._families(name, scrape) for name, scrape in scrapes.items()]
        for at, spec in enumerate((*SERIES, *CHANNELS)):
            yield head(spec) + "".join(one[at].removeprefix(head(spec)) for one in texts)
        incidents = [one for scrape in scrapes.values() for one in scrape.view.snapshot.open_incidents]
        yield incident_gauges(firing(incidents, self._max_incidents), with_model=True)

    def _families(self, name: str, scrape: Scrape) -> list[str]:
        """Return the families of the series of one model as texts."""
        snapshot = scrape.view.snapshot
        channels = snapshot.artifact.spec.channel_names
        known = self._labels.get(name)
        if known is None or known[0] != channels:
            known = self._labels[name] = (channels, Labels(channels, name))
        return [*series_gauges(snapshot, known[1], scrape.peaks), *channel_gauges(snapshot, known[1])]
