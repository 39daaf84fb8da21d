"""Keep going while this login lacks a right in Kafka that it had: an administrator changed an ACL."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from connectors.errors import RightMissingError
from connectors.records import StreamSource
from detector import logs
from detector.engine.loop import TurnOf

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_CALM_SECONDS = 5.0
"""After so many seconds of turns without a refusal the right is back, even if nothing was read or written."""


class MissingRights:
    """Drives the loop again and again while a right is missing. Any thread may read `missing` and `refused`.

    Promise: nothing is lost or doubled. After each refusal the source starts over at the committed offsets,
    so that the state that was ahead of them is replaced.

    A right that is missing from the start is an error of the set-up, and ends the process. A refusal is
    a change only after the loop has worked.

    Args:
        source: starts over after each refusal.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        source: StreamSource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._clock = source, clock
        self.missing: Mapping[tuple[str, str], float] = {}
        self.refused = 0
        self._has_worked = False
        self._calm_since: float | None = None
        self._pause = _FIRST_PAUSE

    def keep(self, turns: Callable[[], None], stop: threading.Event, on_wait: Callable[[str], None]) -> None:
        """Call `turns` until it returns by itself.

        Args:
            turns: turns the loop until `stop` is set.
            stop: ends a pause.
            on_wait: called before each pause with what is missing.

        Raises:
            Exception: whatever `turns` raises, except RightMissingError after the loop has worked.
        """
        while True:
            try:
                turns()
                return
            except RightMissingError as error:
                if not self._has_worked:
                    raise
                self._note(error)
            self._source.start_over()
            on_wait(self.words)
            if stop.wait(self._pause):
                return
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def on_turn(self, turn: TurnOf[object]) -> None:
        """Take in a completed turn: after enough of them the missing rights are back."""
        now = self._clock()
        if self._calm_since is None:
            self._calm_since = now
        if not (
            turn.batch.position or (self._source.is_assigned and now - self._calm_since >= _CALM_SECONDS)
        ):
            return
        self._has_worked, self._pause = True, _FIRST_PAUSE
        if self.missing:
            logs.event("rights in Kafka are back", rights=self.words)
            self.missing = {}

    @property
    def words(self) -> str:
        """What is missing, such as "read on topic readings"; empty if nothing is."""
        return "; ".join(f"{right} on {resource}" for right, resource in self.missing)

    def _note(self, error: RightMissingError) -> None:
        """Count a refusal; log each right once."""
        self.refused += 1
        self._calm_since = None
        key = (error.right, error.resource)
        if key not in self.missing:
            self.missing = {**self.missing, key: 1.0}
            logs.event(
                "a right in Kafka is missing: waiting until it is given back",
                logging.ERROR,
                right=error.right,
                resource=error.resource,
                error=str(error),
                remedy="allow it again with kafka-acls.sh; nothing has to be restarted",
            )
