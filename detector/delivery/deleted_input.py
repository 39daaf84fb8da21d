"""Count and log the input that retention deleted before it was read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from connectors.partition_numbers import PartitionNumbers
from connectors.records import Batch
from detector import logs
from detector.engine.group.resumable import Resumable


class Deletions:
    """Count messages that were deleted unread in `messages`.

    The count comes from offsets, so it includes the markers of transactions.

    Args:
        numbers: of the partitions, for the log; None: those of one topic.
    """

    def __init__(self, numbers: PartitionNumbers | None = None) -> None:
        self._numbers = numbers or PartitionNumbers("input")
        self.messages = 0

    def notice_recreated(self, unread: Mapping[int, int]) -> None:
        """Count and log what was lost with an input topic that was deleted and created again.

        Args:
            unread: partition -> messages of the old topic that were not read when it was last looked at.
        """
        if not unread:
            return
        self.messages += sum(unread.values())
        topics = {} if self._numbers.topic else {"topics": sorted(self._numbers.topics_of(unread))}
        logs.event(
            "input topic was deleted and created again: reading the new one from its beginning",
            logging.WARNING,
            **topics,
            partitions=sorted({self._numbers.place(number)[1] for number in unread}),
            unread_messages=sum(unread.values()),
            remedy="none needed if the topic was recreated on purpose",
        )

    def notice(self, deleted: Mapping[int, tuple[int, int]], until: Mapping[int, int] | None = None) -> None:
        """Count and log gaps in the input.

        Args:
            deleted: partition -> (offset wanted, oldest offset that is left). The second is lower than the
                first where the topic was recreated.
            until: partition -> offset up to which everything was read before and is only replayed.
        """
        for partition, (wanted, earliest) in deleted.items():
            unread = max(0, earliest - max(wanted, (until or {}).get(partition, wanted)))
            self.messages += unread
            if earliest < wanted:
                event, remedy = (
                    "input topic was recreated: its offsets are lower than ours",
                    "none needed if the topic was recreated on purpose",
                )
            else:
                event = (
                    "input was deleted by retention before it was read"
                    if unread
                    else "input needed for replay was already deleted by retention"
                )
                remedy = "raise retention.ms of the input topic above the longest outage"
            logs.event(
                event,
                logging.ERROR if unread else logging.WARNING,
                **self._numbers.words(partition),
                unread_messages=unread,
                wanted=wanted,
                earliest=earliest,
                remedy=remedy,
            )

    def prepare(self, engine: Resumable, batch: Batch) -> Batch:
        """Prepare the engine for a batch without recovery: series of assigned partitions warm up."""
        self.notice(batch.deleted)
        self.notice_recreated(batch.recreated)
        engine.drop(batch.lost)
        return batch
