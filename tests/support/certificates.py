"""Certificates for tests: an authority, and what it signs, as files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Files:
    """A certificate chain, its key, and both in one file; the key is PKCS 8, which Java can read."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates for whoever is named; `file` is its own."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory, self._name = directory, name
        self._authority = trustme.CA(organization_name=f"Streamgauge tests, {name}")
        self.file = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, expired: bool = False, password: bytes | None = None) -> Files:
        """A certificate for these hosts or addresses."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        issued = self._authority.issue_cert(*names, not_after=until)
        stem = f"{self._name}-{names[0]}{'-expired' if expired else ''}{'-locked' if password else ''}"
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        key = _pkcs8(issued.private_key_pem.bytes(), password)
        files = Files(*(self._directory / f"{stem}.{kind}.pem" for kind in ("certificate", "key", "both")))
        files.certificate.write_bytes(chain)
        files.key.write_bytes(key)
        files.both.write_bytes(key + chain)
        return files


def _pkcs8(key: bytes, password: bytes | None) -> bytes:
    lock: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
