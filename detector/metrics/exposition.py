"""All metrics of one scrape as bytes: most by the client library, gauges of many series by `fast_text`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import HistogramMetricFamily, Metric
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
_PAUSE_SECONDS = 0.002
"""About as long as a family of a thousand or more samples takes."""


class Exposition:
    """Writes the metrics of one scrape after another. Not thread-safe.

    Without `build` it has the families of one model of several, and nothing of the process.
    """

    def __init__(self, sources: Sources, build: Mapping[str, str] | None, max_incidents: int) -> None:
        self.registry = CollectorRegistry()
        self._sources, self._build, self._max_incidents = sources, build, max_incidents
        self._view: View | None = None
        self._channels: tuple[str, ...] = ()
        self._labels = Labels(())
        if build is not None:
            ProcessCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def register(self, scores: Callable[[], HistogramMetricFamily]) -> None:
        """Register the collector of the other families; `scores` returns the histogram of scores."""
        self.registry.register(OverviewCollector(self._now, self._sources, scores, self._build))

    def encode(self, accept: str, view: View, peaks: NDArray[np.float64]) -> tuple[bytes, str]:
        """Return the metrics as bytes, and their content type.

        Args:
            accept: The Accept header, which chooses the format.
            view: The values of this scrape.
            peaks: Highest score of each shown series since the last scrape, float64 [shown].
        """
        encode, content_type = choose_encoder(accept)
        self._view = view
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
        return with_texts(body, families), content_type

    def collect(self, view: View) -> list[Metric]:
        """Return the families of the client library; `view` has the values of this scrape."""
        self._view = view
        return list(self.registry.collect())

    def _now(self) -> View:
        assert self._view is not None
        return self._view


def with_texts(body: bytes, texts: Iterable[str]) -> bytes:
    """Return what the client library wrote, with the texts of further families before its end."""
    end = _END if body.endswith(_END) else b""
    return b"".join((body.removesuffix(end), *_with_pauses(texts), end))


def _with_pauses(texts: Iterable[str]) -> Iterator[bytes]:
    """Yield the texts as bytes, with a pause after each long one: the loop needs the same interpreter."""
    for text in texts:
        yield text.encode()
        if len(text) > _LONG:
            time.sleep(_PAUSE_SECONDS)
