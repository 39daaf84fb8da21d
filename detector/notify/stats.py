"""Counts of deliveries for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotifierStats:
    """What a scrape sees of a notifier.

    delivered, failed, dropped   changes delivered; attempts that failed; changes given up for good
    backlog                      committed changes not delivered yet
    last_success                 epoch seconds of the newest success; None before the first
    """

    name: str
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    backlog: int = 0
    last_success: float | None = None
