"""Lines of the log about incidents."""

from __future__ import annotations

import logging

from detector import logs
from detector.incidents.grouping import GroupEvent

_MOST_LOGGED = 20


def log_group(event: GroupEvent) -> None:
    """One line for a change of a fold."""
    fold = event.fold
    logs.event(
        f"incidents of several series {event.kind}",
        logging.INFO if event.kind == "resolved" else logging.WARNING,
        id=fold.id,
        series=",".join(fold.series[:_MOST_LOGGED]),
        num_series=len(fold.series),
        severity=fold.severity,
    )
