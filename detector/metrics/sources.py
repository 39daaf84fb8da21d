"""Where figures come from that are not the engine's: asked at each scrape, on the scraping thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detector.notify.stats import NotifierStats


@dataclass(slots=True)
class Sources:
    """lag            partition -> messages not read yet
    rebalances     times that partitions were assigned
    ready          whether partitions are assigned and none is being replayed
    lag_seconds    partition -> age of the newest message read
    replaying      partitions being replayed
    replayed       readings judged again
    deleted        messages that were deleted before they were read
    notifiers      one entry a notifier
    reloads        outcome ("loaded", "refused") -> reloads of the model
    config_reloads the same for the configuration
    """

    lag: Callable[[], Mapping[int, int]] = dict
    rebalances: Callable[[], int] = int
    ready: Callable[[], bool] = bool
    lag_seconds: Callable[[], Mapping[int, float]] = dict
    replaying: Callable[[], int] = int
    replayed: Callable[[], int] = int
    notifiers: Callable[[], Sequence[NotifierStats]] = tuple
    reloads: Callable[[], Mapping[str, int]] = dict
    config_reloads: Callable[[], Mapping[str, int]] = dict
    deleted: Callable[[], int] = int
