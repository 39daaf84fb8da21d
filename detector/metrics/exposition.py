"""All metrics of one moment as bytes: what the client library writes, and the gauges of many series."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from detector.metrics.collector import OverviewCollector, View
from detector.metrics.series_gauges import (
    Labels,
    channel_gauges,
    firing,
    incident_gauges,
    series_gauges,
)
from detector.metrics.sources import Sources

_END = b"# EOF\n"
_LONG = 1 << 16
_REST_SECONDS = 0.002
"""As long as a text of a thousand lines or a few takes."""


class Exposition:
    """Writes one moment after another. Not thread-safe."""

    def __init__(self, sources: Sources, build: Mapping[str, str], max_incidents: int) -> None:
        self.registry = CollectorRegistry()
        self._sources, self._build, self._max_incidents = sources, build, max_incidents
        self._view: View | None = None
        self._channels: tuple[str, ...] = ()
        self._labels = Labels(())
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def register(self, scores: Callable[[], HistogramMetricFamily]) -> None:
        """Add what does not come from the registry's own counters."""
        self.registry.register(OverviewCollector(self._now, self._sources, scores, self._build))

    def encode(self, accept: str, view: View, peaks: NDArray[np.float64]) -> tuple[bytes, str]:
        """In the format that the Accept header asks for, and its content type; `peaks` are those of the shown
        series since the last time."""
        self._view = view
        encode, content_type = choose_encoder(accept)
        body = encode(self.registry)
        snapshot = view.snapshot
        names = snapshot.artifact.spec.channel_names
        if names != self._channels:
            self._channels, self._labels = names, Labels(names)
        shown = firing(snapshot.open_incidents, self._max_incidents)
        families = chain(
            series_gauges(snapshot, self._labels, peaks),
            channel_gauges(snapshot, self._labels),
            (incident_gauges(shown),),
        )
        end = _END if body.endswith(_END) else b""
        return b"".join((body.removesuffix(end), *_unhurried(families), end)), content_type

    def _now(self) -> View:
        assert self._view is not None
        return self._view


def _unhurried(texts: Iterable[str]) -> Iterator[bytes]:
    """As bytes, with a rest after each long one: the loop, which needs the same interpreter, gets on."""
    for text in texts:
        yield text.encode()
        if len(text) > _LONG:
            time.sleep(_REST_SECONDS)
