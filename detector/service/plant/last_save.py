"""Save all series at a clean stop.

The next process may lack one of the models, and then moves the marks of partitions on without it. A snapshot
older than the stop would be behind what was published. Its open rows would be published twice once the model
is back. Readings that no snapshot contains would be replayed in silence, and their rows would be missing.
"""

from __future__ import annotations

import logging

from connectors.errors import KafkaError
from detector import logs
from detector.delivery.recovery import Recovery
from detector.engine.group.group import EngineGroup
from detector.service.plant.group_sink import GroupSink


def save_at_stop(group: EngineGroup, recovery: Recovery, sink: GroupSink) -> None:
    """Save all series, and marks of all partitions from which no replay is needed.

    Nothing is saved during a replay: engines are then behind what was published. A broker that fails does
    not fail the stop, because the next start replays.

    Args:
        group: the engines, as they are after the last batch.
        recovery: knows how far the partitions were read. None of them is lost.
        sink: delivers the states.
    """
    position = recovery.standing()
    if recovery.is_replaying or not position:
        return
    group.save_all_soon()
    try:
        sink.commit(position)
    except KafkaError as error:
        logs.event(
            "the last states were not saved: the next start replays", logging.WARNING, error=str(error)
        )
