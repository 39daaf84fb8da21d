"""Handle the signals of the daemon: SIGTERM and SIGINT stop it, SIGHUP reloads model and configuration."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from detector import logs
from detector.service import systemd

_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Handle signals from construction on, also during start-up.

    `stop` is set by the first SIGTERM or SIGINT; a second one ends the process at once. A SIGHUP never ends
    the process. One that arrives before `on_hang_up` is remembered.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._on_hang_up: tuple[Callable[[], None], ...] = ()
        self._hung_up_early = False
        for number in _STOPPING:
            signal.signal(number, self._handle_stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._handle_hang_up)

    def on_hang_up(self, *callbacks: Callable[[], None]) -> None:
        """Register the callbacks for SIGHUP. If it already arrived during start-up, run them now."""
        self._on_hang_up = callbacks
        if self._hung_up_early:
            self._handle_hang_up(0, None)

    def _handle_stop(self, number: int, frame: FrameType | None) -> None:
        logs.event("stopping", signal=signal.Signals(number).name)
        systemd.stopping()
        self.stop.set()
        for each in _STOPPING:
            signal.signal(each, signal.SIG_DFL)

    def _handle_hang_up(self, number: int, frame: FrameType | None) -> None:
        self._hung_up_early = not self._on_hang_up
        for callback in self._on_hang_up:
            callback()
