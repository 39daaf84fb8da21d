"""Describe [schema_registry]: where the schemas of Avro messages are."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, model_validator

from connectors.errors import EndpointError
from connectors.http_post import Endpoint, basic_auth
from detector.config.types import Duration, Section

if TYPE_CHECKING:
    from connectors.formats.avro.registry import SchemaRegistry


class SchemaRegistrySection(Section):
    """The schema registry of Avro messages; it speaks Confluent's HTTP interface."""

    url: str | None = Field(
        default=None, description="address such as http://localhost:8081; formats avro and long_avro need it"
    )
    username: str | None = Field(default=None, description="user name of HTTP basic authentication")
    password: SecretStr | None = Field(
        default=None, description="only as STREAMGAUGE_SCHEMA_REGISTRY__PASSWORD; or use password_file"
    )
    password_file: str | None = Field(default=None, description="file that contains the password")
    timeout: Duration = Field(
        default=5.0, gt=0, le=60, description="longest wait for a connection and for an answer"
    )
    ssl_cafile: str | None = Field(
        default=None, description="certificate authority to trust, PEM file; default: those of the system"
    )
    ssl_certfile: str | None = Field(default=None, description="our certificate, PEM file, if required")
    ssl_keyfile: str | None = Field(
        default=None, description="private key of ssl_certfile; default: the same file"
    )

    @model_validator(mode="after")
    def _complete(self) -> SchemaRegistrySection:
        if (self.username is None) != (self.password is None and self.password_file is None):
            raise ValueError(
                "username and password need each other; set the password as"
                " STREAMGAUGE_SCHEMA_REGISTRY__PASSWORD or name a file in password_file"
            )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("ssl_keyfile needs ssl_certfile")
        if self.url is not None and "@" in self.url:
            raise ValueError("url must have no login; use username and password_file")
        return self

    @cached_property
    def client(self) -> SchemaRegistry:
        """The registry, which all decoders of this configuration share.

        Raises EndpointError: the URL or a TLS file cannot be used, or fastavro is not installed.
        """
        try:
            from connectors.formats.avro.registry import SchemaRegistry
        except ModuleNotFoundError as error:
            raise EndpointError(
                f"[schema_registry]: {error}; install it: pip install 'streamgauge[avro]'"
            ) from None
        password = self.password.get_secret_value() if self.password else ""
        headers = {"Authorization": basic_auth(self.username, password)} if self.username else {}
        files = (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        try:
            return SchemaRegistry(Endpoint(self.url or "", headers, self.timeout, *files))
        except EndpointError as error:
            raise EndpointError(f"[schema_registry]: {error}") from error

    @property
    def state(self) -> tuple[str, int]:
        """Why messages wait for the registry, "" if none does, and the number of failed attempts."""
        if "client" not in self.__dict__:
            return "", 0
        status = self.client.status
        return status.problem, status.failures
