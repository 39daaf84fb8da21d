"""Access to the HTTP port: passwords, client certificates, and warnings where anybody may read."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus

from detector import logs
from detector.config.schema import HttpSection
from detector.login import Login, is_loopback

PROBES = frozenset({"/healthz", "/readyz"})
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """What a request needs to be answered.

    login        name and password; None: no password is needed
    certificate  whether a client certificate is needed
    open_paths   paths that need neither
    """

    login: Login | None = None
    certificate: bool = False
    open_paths: frozenset[str] = frozenset()

    @classmethod
    def of(cls, http: HttpSection) -> Access:
        """Return what the [http] table asks for."""
        login = None
        if http.username is not None and http.password is not None:
            login = Login.of(http.username, http.password.get_secret_value())
        return cls(login, http.tls_client_cafile is not None, PROBES if http.open_probes else frozenset())

    def refusal(self, path: str, authorization: str, certified: bool) -> HTTPStatus | None:
        """Return the status that refuses a request; None if it is allowed.

        Args:
            path: Path of the request, without its query.
            authorization: Its Authorization header, or empty.
            certified: Whether its client has shown a valid certificate.
        """
        if path in self.open_paths:
            return None
        if self.certificate and not certified:
            return HTTPStatus.FORBIDDEN
        known = self.login is None or self.login.admits(authorization)
        return None if known else HTTPStatus.UNAUTHORIZED


class Refusals:
    """Logs refused clients: the first at once, then one event per minute at most. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged_at = -_QUIET_SECONDS

    def note(self, reason: str, address: str) -> None:
        """Count a refusal. `reason` and `address` must not contain text that the client sent."""
        with self._lock:
            self._counts[reason] += 1
            now = time.monotonic()
            if now - self._logged_at < _QUIET_SECONDS:
                return
            counts, self._counts, self._logged_at = self._counts, Counter(), now
        logs.event("http clients refused", logging.WARNING, last=address, **counts)


def warn_of_exposure(http: HttpSection, host: str) -> None:
    """Warn in the log if other machines can read the port or its traffic; `host` is the bound address."""
    if is_loopback(host):
        return
    if http.tls_certfile is None:
        remedy = "set [http] tls_certfile and tls_keyfile, or bind 127.0.0.1 behind a proxy"
        logs.event("http is in plain text on the network", logging.WARNING, host=host, remedy=remedy)
    if http.username is None and http.tls_client_cafile is None:
        remedy = "set [http] username and password_file, or tls_client_cafile"
        logs.event("http is open to the network", logging.WARNING, host=host, remedy=remedy)
