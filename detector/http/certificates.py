"""The server's TLS context, which is made again when its files change."""

from __future__ import annotations

import logging
import ssl

from detector import logs
from detector.config.tls_files import TlsFiles
from detector.errors import ConfigError


class Certificates:
    """The server's side: a context from `files`, made anew when they change; the old one stays while new
    files cannot be used. With a `cafile` clients that show a certificate need one of that authority, and
    with `required` they must show one. Raises ConfigError. Not thread-safe."""

    def __init__(self, files: TlsFiles, *, required: bool) -> None:
        self._files, self._required = files, required
        self._stamp = files.stamp
        self._context = self._load()

    @property
    def context(self) -> ssl.SSLContext:
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
        context.num_tickets = 0  # a client whose certificate is not accepted any more is not remembered
        self._files.load_into(context)
        if self._files.cafile is not None:
            context.verify_mode = ssl.CERT_REQUIRED if self._required else ssl.CERT_OPTIONAL
        return context
