"""Whether the process that archives still works, as one that only reads the archive sees it."""

from __future__ import annotations

import time

from detector.explore.storage.storage import PATIENCE_SECONDS, Sign


class ArchiverSign:
    """Follows the signs of an archive's owner. Belongs to one thread; any may read `problem`.

    Clocks of other machines are not asked: a sign is old once this process has seen it for long.

    Args:
        place: of the archive, for people.
        patience_seconds: how long a sign counts.
    """

    def __init__(self, place: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._place, self._patience_seconds = place, patience_seconds
        self._sign: Sign | None = None
        self._seen_at = time.monotonic()
        self.problem = ""

    def take(self, sign: Sign | None, has_changed: bool) -> None:
        """Take in what a look at the archive showed.

        Args:
            sign: the newest sign; None if the owner gives none, as those of older releases.
            has_changed: whether the archive holds something else than before.
        """
        now = time.monotonic()
        if has_changed or sign != self._sign:
            self._sign, self._seen_at = sign, now
        self.problem = self._judged(sign, now - self._seen_at)

    def _judged(self, sign: Sign | None, seconds: float) -> str:
        start = f"start `streamgauge archive` with --store {self._place}"
        if sign is None:
            return ""
        if sign.ended:
            return f"the archiver, {sign.who}, has stopped; {start}"
        if seconds > self._patience_seconds:
            return f"the archiver, {sign.who}, gives no sign; look at it, or {start}"
        return sign.problem
