"""Writes messages as lines of JSON: to a file for each topic, or all of them to standard output.

A file has the values of its messages, as a topic has them. A line of standard output also names the topic:

    {"topic":"streamgauge.scores","value":{"series":"pump-1","timestamp":[...],"score":[...]}}

A dead letter has its headers beside the message, as text where it is text and else in base64.
"""

from __future__ import annotations

import base64
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from connectors.durable import make_durable
from connectors.errors import FilesError
from connectors.local.delivery import Outputs
from connectors.local.store import Length
from connectors.records import Message

logger = logging.getLogger(__name__)


class StandardOutput:
    """Promise: none beyond the pipe. A line that was written is not written again, unless it is judged again.

    Raises BrokenPipeError where nobody reads any more.
    """

    def produce(self, messages: Sequence[Message]) -> None:
        """Write one line for each message, and flush them."""
        for message in messages:
            sys.stdout.buffer.write(_with_topic(message) + b"\n")
        sys.stdout.buffer.flush()

    def lengths(self) -> Mapping[str, Length]:
        """Return none: a pipe cannot be cut."""
        return {}

    def close(self) -> None:
        """Do nothing: standard output is not ours."""


class OutputFiles:
    """A file TOPIC.jsonl for each topic. Not thread-safe.

    Promise: what `produce` has written is on the disk when it returns. A file that was longer than at the
    last commit is cut when it is opened, so that no line is there twice. A file that was renamed stays as it
    is, and a new one begins.
    """

    def __init__(
        self, directory: Path, committed: Mapping[str, Length], begin: Callable[[str, Length], None]
    ) -> None:
        """Write into `directory`.

        Args:
            directory: is created where it is missing.
            committed: the lengths at the last commit; files that are longer now are cut to them.
            begin: commits the length of a file before anything is written to it.

        Raises:
            FilesError: a file cannot be written or cut.
        """
        self._directory, self._begin = directory.resolve(), begin
        self._open: dict[str, int] = {}
        self._changed: set[str] = set()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path, length in committed.items():
                _cut(Path(path), length)
        except OSError as error:
            raise _refused(directory, error) from error

    def produce(self, messages: Sequence[Message]) -> None:
        """Append each message to its file; return once all of them are on the disk. Raises FilesError."""
        lines: dict[str, list[bytes]] = {}
        for message in messages:
            lines.setdefault(message.topic, []).append(value_of(message))
        for topic, found in lines.items():
            path = self._path(topic)
            try:
                descriptor = self._descriptor(path)
                _write(descriptor, b"\n".join(found) + b"\n")
                os.fsync(descriptor)
            except OSError as error:
                raise _refused(path, error) from error
            self._changed.add(topic)

    def lengths(self) -> Mapping[str, Length]:
        """Return the lengths of the files that were written since the last call."""
        found = {}
        for topic in self._changed:
            path = self._path(topic)
            status = os.fstat(self._open[str(path)])
            found[str(path)] = Length(status.st_ino, status.st_size)
        self._changed.clear()
        return found

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _path(self, topic: str) -> Path:
        return self._directory / f"{topic}.jsonl"

    def _descriptor(self, path: Path) -> int:
        """Return the open file of this path; a renamed one is closed, and a new one begins."""
        descriptor = self._open.get(str(path))
        if descriptor is not None and _inode(path) != os.fstat(descriptor).st_ino:
            os.close(self._open.pop(str(path)))
            descriptor = None
        if descriptor is None:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._open[str(path)] = descriptor
            make_durable(self._directory)
            status = os.fstat(descriptor)
            self._begin(str(path), Length(status.st_ino, status.st_size))
        return descriptor


def value_of(message: Message) -> bytes:
    """Return the value of a message as one line of JSON; that of a dead letter with its headers."""
    if not message.headers:
        return message.value or b"null"
    body: dict[str, object] = {name: value.decode(errors="replace") for name, value in message.headers}
    if message.key is not None:
        body["key"] = message.key.decode(errors="replace")
    try:
        body["message"] = (message.value or b"").decode()
    except UnicodeDecodeError:
        body["base64"] = base64.b64encode(message.value or b"").decode()
    return orjson.dumps(body)


def _with_topic(message: Message) -> bytes:
    return orjson.dumps({"topic": message.topic, "value": orjson.Fragment(value_of(message))})


def _cut(path: Path, committed: Length) -> None:
    """Cut what was written after the last commit; leave a file alone that is another one."""
    if _inode(path) != committed.inode or path.stat().st_size <= committed.num_bytes:
        return
    status = path.stat()
    with path.open("r+b") as file:
        file.truncate(committed.num_bytes)
        os.fsync(file.fileno())
    logger.info("%s: %d bytes cut that were not committed", path, status.st_size - committed.num_bytes)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _refused(path: Path, error: OSError) -> FilesError:
    return FilesError(
        f"[output] directory: {path}: {error.strerror}; free the disk, or name another directory"
    )


if TYPE_CHECKING:
    _: tuple[type[Outputs], ...] = (StandardOutput, OutputFiles)
