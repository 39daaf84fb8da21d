"""The gauges whose number grows with series, channels and incidents, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.incidents.incident import Incident
from detector.metrics.catalogue import CHANNELS, SERIES, spec_of
from detector.metrics.engine_view import EngineView
from detector.metrics.fast_text import escaped, gauge, labels_of


class Labels:
    """Escaped labels of series and channels, cached from scrape to scrape.

    Args:
        channels: Names of the channels.
        model: Name of the model, where there are several; else empty.
    """

    def __init__(self, channels: Sequence[str], model: str = "") -> None:
        self._channels = [escaped(channel) for channel in channels]
        self._model = f'model="{escaped(model)}",' if model else ""
        self._of_series: dict[str, str] = {}
        self._of_channels: dict[str, list[str]] = {}

    def series(self, names: Sequence[str]) -> list[str]:
        """Return the labels of each series."""
        known = self._of_series
        if len(known) > 2 * len(names):
            known.clear()
        for name in names:
            if name not in known:
                known[name] = f'{{{self._model}series="{escaped(name)}"}}'
        return [known[name] for name in names]

    def channels(self, names: Sequence[str]) -> list[str]:
        """Return the labels of each channel of each series, series by series."""
        known = self._of_channels
        if len(known) > 2 * len(names):
            known.clear()
        for name in names:
            if name not in known:
                text = escaped(name)
                known[name] = [
                    f'{{channel="{channel}",{self._model}series="{text}"}}' for channel in self._channels
                ]
        return [label for name in names for label in known[name]]


def series_gauges(snapshot: EngineView, labels: Labels, highest: NDArray[np.float64]) -> Iterator[str]:
    """Yield the families of `SERIES` as text.

    Args:
        snapshot: The engine after its last turn.
        labels: Cache of labels.
        highest: Highest score of each shown series since the last scrape, float64 [shown].
    """
    view = snapshot.series
    latest, shown = view.latest, view.shown
    texts = labels.series([latest.names[at] for at in shown.tolist()])
    when = latest.timestamp_ns[shown] / 1e9
    columns = (
        latest.score[shown],
        highest,
        latest.threshold[shown],
        np.where(when < 0, np.nan, when),
        latest.unjudged_seconds[shown],
    )
    for spec, column in zip(SERIES, columns, strict=True):
        yield gauge(spec, texts, column)


def channel_gauges(snapshot: EngineView, labels: Labels) -> Iterator[str]:
    """Yield the families of `CHANNELS` as text."""
    view = snapshot.series
    names = [view.latest.names[at] for at in view.detailed.tolist()]
    texts = labels.channels(names)
    actual, expected, contribution, band = (view.channels[:, at] for at in range(4))
    missing = view.latest.missing[view.detailed].astype(np.float64)
    columns = (actual, expected, expected - band, expected + band, contribution, missing)
    for spec, column in zip(CHANNELS, columns, strict=True):
        yield gauge(spec, texts, column.ravel())


def firing(incidents: Sequence[Incident], most: int) -> list[Incident]:
    """Return the `most` worst incidents: critical ones first, then by peak score."""
    return sorted(incidents, key=lambda one: (one.severity != "critical", -one.peak_score))[:most]


def incident_gauges(incidents: Sequence[Incident], with_model: bool = False) -> str:
    """Return the family `streamgauge_incident_firing` as text: 1 for each incident."""
    spec = spec_of("incident_firing")
    names = (*spec.labels, "model") if with_model else spec.labels
    texts = [
        labels_of(
            names,
            (one.series, one.severity, one.reason, one.channels[0].name if one.channels else "", one.model)[
                : len(names)
            ],
        )
        for one in incidents
    ]
    return gauge(spec, texts, np.ones(len(texts)))
