"""Counts of a notifier, as the metrics read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotifierStats:
    """The counts of one notifier at one moment.

    delivered      changes delivered
    failed         attempts that failed and are retried
    dropped        changes that will never be delivered
    backlog        committed changes that are not delivered yet
    last_success   epoch seconds of the newest success; None before the first
    """

    name: str
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    backlog: int = 0
    last_success: float | None = None
