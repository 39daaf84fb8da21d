"""The progress of long work on standard error."""

from __future__ import annotations

import sys
import time

_REPORT_SECONDS = 5.0


class ProgressLine:
    """Show the progress: one line that is rewritten on a terminal, else a line every few seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic()

    def show(self, words: str) -> None:
        """Show this text, unless the last one is too recent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.2 if self._terminal else _REPORT_SECONDS)
        print(
            f"\r{words}\x1b[K" if self._terminal else words,
            end="" if self._terminal else "\n",
            file=sys.stderr,
        )

    def close(self) -> None:
        """Clear the terminal's line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
