"""Cuts bytes into lines, with bounded memory."""

from __future__ import annotations

MAX_LINE_BYTES = 2 << 20
"""Longer lines are cut here; the codec then refuses them as too large."""


class Lines:
    """Keeps the beginning of a line until its end has come.

    >>> lines = Lines()
    >>> lines.cut(b"one\\ntw"), lines.cut(b"o\\n"), lines.rest()
    ([b'one'], [b'two'], None)
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._num_kept = 0

    def cut(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their ends."""
        *ends, rest = data.split(b"\n")
        found = [self._finished(end) for end in ends]
        self._keep(rest)
        return found

    def rest(self) -> bytes | None:
        """Return the last line of an input that has ended without an end of line; None where it has none."""
        return self._finished(b"") if self._num_kept else None

    @property
    def num_kept(self) -> int:
        """Bytes of the line that is not complete."""
        return self._num_kept

    def clear(self) -> None:
        """Forget the line that is not complete."""
        self._kept.clear()
        self._num_kept = 0

    def _keep(self, part: bytes) -> None:
        self._kept += part[: max(0, MAX_LINE_BYTES - len(self._kept))]
        self._num_kept += len(part)

    def _finished(self, end: bytes) -> bytes:
        self._keep(end)
        line = bytes(self._kept)
        self.clear()
        return line.removesuffix(b"\r")
