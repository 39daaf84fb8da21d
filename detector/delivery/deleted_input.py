"""What retention deleted from the input before it was read: counted and reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from connectors.records import Batch
from detector import logs
from detector.engine.engine import Engine


class Deletions:
    """`messages` were deleted unread, as far as offsets tell: markers of transactions count, too."""

    def __init__(self) -> None:
        self.messages = 0

    def notice(self, deleted: Mapping[int, tuple[int, int]], until: Mapping[int, int] | None = None) -> None:
        """Partition -> (offset wanted, offset read instead); what is before `until` was read before and was
        to be read again. A log that begins anew, as that of a topic made anew, has lower offsets."""
        for partition, (wanted, earliest) in deleted.items():
            unread = max(0, earliest - max(wanted, (until or {}).get(partition, wanted)))
            self.messages += unread
            if earliest < wanted:
                event, remedy = "the input was set back", "expected where the topic was made anew"
            else:
                event = (
                    "the input was deleted before it was read"
                    if unread
                    else "the input to be replayed is deleted"
                )
                remedy = "raise retention.ms of the input topic above the longest outage"
            logs.event(
                event,
                logging.ERROR if unread else logging.WARNING,
                partition=partition,
                unread_messages=unread,
                wanted=wanted,
                earliest=earliest,
                remedy=remedy,
            )

    def prepare(self, engine: Engine, batch: Batch) -> Batch:
        """For a loop without recovery: the series of partitions that come warm up."""
        self.notice(batch.deleted)
        engine.drop(batch.lost)
        return batch
