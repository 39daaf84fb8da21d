"""What runs in a process of its own: long work that must not hold up the pages.

The process sends JSON: `{"done": 3, "of": 10}` while it works, then `{"result": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from connectors.errors import ConnectorError
from detector.errors import DetectorError

Report = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""
Work = Callable[[dict[str, Any], Report], dict[str, Any]]
"""Returns the result of a task, as JSON values. A new process finds it, as it is a function of a module."""
_MOST_BYTES = 4 << 30
_NICE = 5


def run(connection: Connection, work: Work, task: dict[str, Any]) -> None:
    """Run a task and send its progress and its result.

    Args:
        connection: where to send; the process ends if nobody reads any more.
        work: what to do.
        task: its only argument beside the report, JSON values.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    with contextlib.suppress(OSError):
        os.nice(_NICE)

    def report(done: int, of: int) -> None:
        if _peak_bytes() > _MOST_BYTES:
            raise DetectorError(
                f"this needs over {_MOST_BYTES >> 30} GiB of memory; choose a shorter range or one series"
            )
        _send(connection, {"done": done, "of": of})

    try:
        _send(connection, {"result": work(task, report)})
    except BrokenPipeError:
        return
    except (DetectorError, ConnectorError, ValueError) as error:
        _send(connection, {"error": str(error)})
    except MemoryError:
        _send(connection, {"error": "there is not enough memory; choose a shorter range or one series"})


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
