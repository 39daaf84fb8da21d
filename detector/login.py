"""Who may reach an HTTP port: a name and a password (basic authentication), and which hosts are near."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from ipaddress import ip_address

CHALLENGE = 'Basic realm="streamgauge", charset="UTF-8"'


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """What a client must send. All hashes have one length, so every comparison takes the same time.

    digest  SHA-256 of `username:password`
    """

    digest: bytes

    @classmethod
    def of(cls, username: str, password: str) -> Login:
        """Return the login of a name and a password."""
        return cls(_digest(f"{username}:{password}".encode()))

    def admits(self, authorization: str) -> bool:
        """Return whether an Authorization header, which may be empty, has the name and the password."""
        return hmac.compare_digest(_digest(_login_in(authorization)), self.digest)


def is_loopback(host: str) -> bool:
    """Return whether an address is one that this machine alone reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(login: bytes) -> bytes:
    return hashlib.sha256(login).digest()


def _login_in(authorization: str) -> bytes:
    """Return `username:password` as sent; empty if there is none."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        return base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""
