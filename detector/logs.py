"""Write structured logs: one event with keys for each change of state, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

logger = logging.getLogger("streamgauge")


def event(name: str, level: int = logging.INFO, **keys: object) -> None:
    """Log an event. Values are written as they are, so never pass a secret.

    Args:
        name: What happened, in a few words that never change.
        level: A level of `logging`.
        keys: Details of the event, by name.
    """
    logger.log(level, name, extra={"keys": keys})


def configure(style: Literal["auto", "text", "json"], level: str) -> None:
    """Send all logs to standard error. Libraries log only warnings and errors.

    Args:
        style: text for people, json for machines; auto is text on a terminal and json otherwise.
        level: Least level of the project's own events, such as "info".

    Raises:
        ValueError: There is no such level.
    """
    if style == "auto":
        style = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text() if style == "text" else _Json())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # The Kafka client warns about every large fetch that it decodes, which is of no use to an operator.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
    # It also warns of every connection that is not encrypted; clients come and go, so once is enough.
    for warned in ("kafka.net.sasl", "kafka.net.sasl.plain", "kafka.net.sasl.scram"):
        logging.getLogger(warned).filters = [_Once()]
    logger.setLevel(level.upper())
    for ours in ("connectors", "detector"):
        logging.getLogger(ours).setLevel(level.upper())


class _Once(logging.Filter):
    """Let each text through once in the life of the process."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        is_new = record.getMessage() not in self._told
        self._told.add(record.getMessage())
        return is_new


class _Json(logging.Formatter):
    """Format an event as one JSON object on a line: time, level, event and the keys of the event."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_keys_of(record),
        }
        if record.name != logger.name:
            entry["logger"] = record.name
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _Text(logging.Formatter):
    """Format an event for people: time, level, event and key=value pairs."""

    def format(self, record: logging.LogRecord) -> str:
        keys = "".join(f" {name}={value}" for name, value in _keys_of(record).items())
        line = f"{_time_of(record)[11:19]} {record.levelname.lower():7} {record.getMessage()}{keys}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _keys_of(record: logging.LogRecord) -> dict[str, object]:
    keys = getattr(record, "keys", {})
    return keys if isinstance(keys, dict) else {}
