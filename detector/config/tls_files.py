"""Load the PEM files that the configuration names into TLS contexts; errors name section, key and file."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detector.config.input.kafka import KafkaSection
from detector.config.input.source import MqttSection
from detector.config.schema import HttpSection
from detector.errors import ConfigError

_SIGNS = {"certificate": b"-----BEGIN CERTIFICATE-----", "private key": b"PRIVATE KEY-----"}


@dataclass(frozen=True, slots=True, repr=False)
class TlsFiles:
    """Hold the paths of PEM files, and their keys in the configuration for errors.

    The keys are those of `section`: `prefix` stands before `certfile` and `keyfile`, and before `ca_key`.
    Without a section they are flags of a command.
    """

    section: str
    prefix: str
    certfile: str | None = None
    keyfile: str | None = None
    cafile: str | None = None
    key_password: str | None = None
    ca_key: str = "cafile"

    @classmethod
    def of_http(cls, http: HttpSection) -> TlsFiles:
        """Return the files of the HTTP server."""
        files = (http.tls_certfile, http.tls_keyfile, http.tls_client_cafile)
        return cls("http", "tls_", *files, ca_key="client_cafile")

    @classmethod
    def of_kafka(cls, kafka: KafkaSection) -> TlsFiles:
        """Return the files of the Kafka client."""
        password = kafka.ssl_key_password.get_secret_value() if kafka.ssl_key_password else None
        return cls("kafka", "ssl_", kafka.ssl_certfile, kafka.ssl_keyfile, kafka.ssl_cafile, password)

    @classmethod
    def of_mqtt(cls, mqtt: MqttSection) -> TlsFiles:
        """Return the files of the client of MQTT."""
        return cls("mqtt", "ssl_", mqtt.ssl_certfile, mqtt.ssl_keyfile, mqtt.ssl_cafile)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the files that are named. Raises ConfigError that names section, key and file."""
        if self.cafile is not None:
            self._check(self.ca_key, self.cafile, "certificate")
            self._try(self.ca_key, self.cafile, lambda: context.load_verify_locations(self.cafile))
        if self.certfile is not None:
            self._check("certfile", self.certfile, "certificate")
            self._check("keyfile", self.keyfile or self.certfile, "private key")
            self._try("keyfile", self.keyfile or self.certfile, lambda: self._load_chain(context))

    def _load_chain(self, context: ssl.SSLContext) -> None:
        """Load certificate and key. Without a password OpenSSL would wait for one on the terminal."""
        assert self.certfile is not None
        context.load_cert_chain(self.certfile, self.keyfile, lambda: self.key_password or "")

    def _check(self, key: str, file: str, what: str) -> None:
        try:
            found = _SIGNS[what] in Path(file).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            remedy = "it must be a file that this user may read"
            raise ConfigError(f"{self._place(key)}: {file}: {reason}; {remedy}") from error
        if not found:
            raise ConfigError(f"{self._place(key)}: {file}: contains no {what} in PEM format")

    def _try(self, key: str, file: str, load: Callable[[], None]) -> None:
        try:
            load()
        except (ssl.SSLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None)
            if reason == "KEY_VALUES_MISMATCH":
                problem = f"does not belong to the certificate in {self.prefix}certfile, {self.certfile}"
            elif key == "keyfile" and b"ENCRYPTED" in Path(file).read_bytes():
                problem = "the key is encrypted, and its password is missing or wrong"
            else:
                problem = f"cannot be used ({reason or error}); is it complete, and in PEM format?"
            raise ConfigError(f"{self._place(key)}: {file}: {problem}") from error

    def _place(self, key: str) -> str:
        return f"[{self.section}] {self.prefix}{key}" if self.section else f"{self.prefix}{key}"

    @property
    def stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Time, inode and size of each file; it changes with the file, also behind a link."""
        return tuple(_stamp(file) for file in (self.certfile, self.keyfile, self.cafile) if file)


def check_files(label: str, *files: TlsFiles) -> None:
    """Load every certificate and key once, into a context that is not used.

    Raises:
        ConfigError: it lists all problems, each after `label`, the name of the configuration.
    """
    problems = []
    for some in files:
        try:
            some.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except ConfigError as error:
            problems.append(f"{label}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
