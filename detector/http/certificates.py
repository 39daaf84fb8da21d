"""The TLS context of the server, reloaded when its files change."""

from __future__ import annotations

import logging
import ssl

from detector import logs
from detector.config.tls_files import TlsFiles
from detector.errors import ConfigError


class Certificates:
    """A TLS context from files. Not thread-safe.

    If the files change, they are loaded again. If the new files cannot be used, the old context stays in use.

    Args:
        files: Certificate and key. With a `cafile`, a client certificate must be signed by that authority.
        required: Whether a client must show a certificate, where there is a `cafile`.

    Raises:
        ConfigError: The files cannot be used at the start.
    """

    def __init__(self, files: TlsFiles, *, required: bool) -> None:
        self._files, self._required = files, required
        self._stamp = files.stamp
        self._context = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection; loads changed files first."""
        stamp = self._files.stamp
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except ConfigError as error:
                logs.event("certificates not changed", logging.WARNING, problem=str(error))
            else:
                logs.event("certificates changed", file=self._files.certfile)
        return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION
        context.num_tickets = (
            0  # a resumed session would skip the check of a client certificate that is no longer accepted
        )
        self._files.load_into(context)
        if self._files.cafile is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self._required else ssl.CERT_OPTIONAL
        return context
