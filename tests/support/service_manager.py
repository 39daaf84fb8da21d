"""What systemd is for a service: a datagram socket that hears what the service says of itself."""

from __future__ import annotations

import socket
from types import TracebackType

SILENCE_SECONDS = 180.0  # a bound on hanging, not an expectation


class ServiceManager:
    """Listens at `address`: a path, or an abstract name that begins with @."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(SILENCE_SECONDS)
        self._heard: list[str] = []

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def wait_for(self, beginning: str) -> str:
        """The first assignment from here on that begins so; fails after a long silence."""
        while True:
            while self._heard:
                said = self._heard.pop(0)
                if said.startswith(beginning):
                    return said
            self._heard += self._socket.recv(65536).decode().splitlines()

    def drain(self, seconds: float = 0.0) -> list[str]:
        """Everything said so far, and within this time of silence."""
        said, self._heard = self._heard, []
        self._socket.settimeout(seconds or 1e-6)
        try:
            while True:
                said += self._socket.recv(65536).decode().splitlines()
        except TimeoutError:
            return said
        finally:
            self._socket.settimeout(SILENCE_SECONDS)
