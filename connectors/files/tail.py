"""Reads lines of a file that may still grow: from a place in bytes, and at most so many at once."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from connectors.errors import FilesError
from connectors.files.lines import MAX_LINE_BYTES

CHUNK_BYTES = 1 << 20
_IDENTITY_BYTES = 4096


def files_of(pattern: str) -> list[Path]:
    """Return the regular files that a path or a pattern names, sorted; of a directory, the files in it."""
    path = Path(pattern).absolute()
    found = path.glob("*") if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if one.is_file() and not one.name.startswith("."))


def open_file(path: Path) -> int | None:
    """Return a descriptor, to be closed by the caller; None where the file was just deleted.

    Raises FilesError.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = "this user must be able to read it"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "raise LimitNOFILE of the service (ulimit -n), or move old files away"
        raise FilesError(f"[source] path: {path}: {error.strerror}; {remedy}") from error


def identity_of(descriptor: int, is_whole: bool) -> str:
    """Return what stays the same while a file grows or is renamed: its inode, and a sum of its first line.

    Empty where the first line has not come yet, unless the file `is_whole`: it grows no more.
    """
    head = os.pread(descriptor, _IDENTITY_BYTES, 0)
    line, end, _ = head.partition(b"\n")
    if not (end or is_whole or len(head) == _IDENTITY_BYTES):
        return ""
    return f"{os.fstat(descriptor).st_ino}-{zlib.crc32(line):08x}"


def take_lines(descriptor: int, at: int, limit: int, is_whole: bool) -> tuple[Sequence[bytes], int]:
    """Return at most `limit` lines from byte `at` on, without their ends, and the byte behind them.

    Args:
        descriptor: the open file.
        at: the first byte of a line.
        limit: most lines, at least 1.
        is_whole: the file grows no more, so that a last line without an end is one.
    """
    data = os.pread(descriptor, CHUNK_BYTES, at)
    *lines, rest = data.split(b"\n")
    if lines:
        lines = lines[:limit]
        return lines, at + sum(map(len, lines)) + len(lines)
    if len(data) == CHUNK_BYTES:
        return _long_line(descriptor, at, is_whole)
    return ([rest], at + len(rest)) if is_whole and rest else ([], at)


def _long_line(descriptor: int, at: int, is_whole: bool) -> tuple[Sequence[bytes], int]:
    """Return the beginning of a line that is longer than a chunk, and the byte behind all of it."""
    size = 0
    while data := os.pread(descriptor, CHUNK_BYTES, at + size):
        end = data.find(b"\n")
        if end >= 0:
            size += end
            return [os.pread(descriptor, min(size, MAX_LINE_BYTES), at)], at + size + 1
        size += len(data)
    return ([os.pread(descriptor, MAX_LINE_BYTES, at)], at + size) if is_whole else ([], at)
