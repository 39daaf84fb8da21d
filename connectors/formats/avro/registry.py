"""A schema registry that speaks Confluent's HTTP interface: schemas by their number.

    GET /schemas/ids/7                      the schema, or 404 with `error_code` 40403
    GET /subjects/NAME/versions/1           one that it refers to

A schema of a number never changes, so each is fetched once. A number that the registry does not know is
asked for again after ten seconds. Every other failure means to wait: the registry is away, refuses the login,
or the URL is wrong. Then nothing is asked before the next attempt is due. One thread fetches; any may read
`status`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connectors.formats.avro.schemas import Schema, SchemaError, parsed
from connectors.http_get import Getter
from connectors.http_post import Endpoint
from connectors.retry import Backoff

logger = logging.getLogger(__name__)

_UNKNOWN = frozenset((40401, 40402, 40403))
"""Codes in the answers of a registry: no such subject, no such version, no such schema."""
_MOST_BYTES = 1 << 22
_MOST_SCHEMAS = 10_000
_LONGEST_SECONDS = 2.0
"""Time to ask for schemas at once: whoever sends random numbers does not stop the stream."""
_MOST_REFERENCES = 100
_UNKNOWN_SECONDS = 10.0
_BACKOFF = Backoff(0.5, 30.0)


class UnavailableError(Exception):
    """Raised where the registry gives no answer that counts; its text says why."""


@dataclass(frozen=True, slots=True)
class RegistryStatus:
    """What a registry last did. `problem` is why messages wait for it, "" if none does."""

    problem: str = ""
    failures: int = 0
    schemas: int = 0


class SchemaRegistry:
    """The schemas of a registry, each fetched once.

    Raises EndpointError: the URL or a TLS file cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare to ask; nothing is sent yet."""
        self._getter = Getter(endpoint, _MOST_BYTES)
        self._found: dict[int, Schema | SchemaError] = {}
        self._unknown: dict[int, float] = {}
        self._attempt, self._again_at = 0, 0.0
        self.status = RegistryStatus()

    def fetch(self, numbers: Iterable[int]) -> None:
        """Ask for the schemas that are not known yet, until one attempt fails or two seconds are over."""
        now = time.monotonic()
        self._unknown = {number: until for number, until in self._unknown.items() if until > now}
        missing = [number for number in dict.fromkeys(numbers) if not self.is_settled(number)]
        for number in missing:
            if time.monotonic() < self._again_at or time.monotonic() > now + _LONGEST_SECONDS:
                return
            try:
                self._keep(number, self._schema(number))
            except SchemaError as error:
                self._keep(number, error)
            except UnavailableError as error:
                self._fail(str(error))
                return
            self._recover()

    def is_settled(self, number: int) -> bool:
        """Return whether it is known what the schema of this number is, or that there is none."""
        return number in self._found or number in self._unknown

    def schema(self, number: int) -> Schema:
        """Return a schema that is settled. Raises SchemaError: there is none, or it is not read."""
        found = self._found.get(number)
        if found is None:
            raise SchemaError(f"the registry at {self._getter.shown} has no schema {number}")
        if isinstance(found, SchemaError):
            raise SchemaError(f"schema {number}: {found}")
        return found

    @property
    def retry_seconds(self) -> float:
        """Time until the next attempt, 0 if it may be made now."""
        return max(0.0, self._again_at - time.monotonic())

    @property
    def shown(self) -> str:
        """Scheme and host, for logs."""
        return self._getter.shown

    def _keep(self, number: int, schema: Schema | SchemaError | None) -> None:
        if schema is None:
            self._unknown[number] = time.monotonic() + _UNKNOWN_SECONDS
            return
        if len(self._found) >= _MOST_SCHEMAS:
            self._found.clear()
        self._found[number] = schema
        self.status = RegistryStatus(self.status.problem, self.status.failures, len(self._found))

    def _schema(self, number: int) -> Schema | None:
        """Return the schema of a number, None if the registry has none. Raises SchemaError."""
        found = self._document(f"/schemas/ids/{number}")
        if found is None:
            return None
        kind = found.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise SchemaError(f"it is of type {str(kind)[:20]!r}, expected AVRO")
        referred: dict[str, str] = {}
        self._refer(found, referred)
        return parsed(str(found.get("schema")), referred)

    def _refer(self, document: dict[str, Any], referred: dict[str, str]) -> None:
        """Add the schemas to which one refers, those they need first. Raises SchemaError."""
        references = document.get("references") or []
        if not isinstance(references, list) or not all(isinstance(one, dict) for one in references):
            raise SchemaError("its references are no list of objects")
        for one in references:
            name, subject, version = (one.get(key) for key in ("name", "subject", "version"))
            if name in referred:
                continue
            if len(referred) >= _MOST_REFERENCES:
                raise SchemaError(f"it refers to more than {_MOST_REFERENCES} other schemas")
            found = self._document(f"/subjects/{quote(str(subject), safe='')}/versions/{version}")
            if found is None:
                raise SchemaError(f"it refers to {name!r}, which the registry does not have")
            referred[str(name)] = ""  # so that schemas which refer to each other end here
            self._refer(found, referred)
            del referred[str(name)]  # those that it needs stand before it
            referred[str(name)] = str(found.get("schema"))

    def _document(self, path: str) -> dict[str, Any] | None:
        """Return what the registry answers, None if it has no such thing. Raises UnavailableError."""
        answer = self._getter.get(path)
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            body = None
        if answer.status == 200 and isinstance(body, dict):
            return body
        if answer.status == 404 and isinstance(body, dict) and body.get("error_code") in _UNKNOWN:
            return None
        raise UnavailableError(f"{answer.reason}{_remedy(answer.status)}")

    def _fail(self, problem: str) -> None:
        seconds = _BACKOFF.delay(self._attempt)
        self._attempt, self._again_at = self._attempt + 1, time.monotonic() + seconds
        self.status = RegistryStatus(problem, self.status.failures + 1, self.status.schemas)
        logger.warning("messages wait for the schema registry, next attempt in %.1f s: %s", seconds, problem)

    def _recover(self) -> None:
        if self.status.problem:
            logger.info("the schema registry at %s answers again", self._getter.shown)
            self.status = RegistryStatus("", self.status.failures, self.status.schemas)
        self._attempt, self._again_at = 0, 0.0


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "; check username and password of [schema_registry]"
    if status in (200, 404) or 300 <= status < 400:
        return "; this is no answer of a schema registry, check url of [schema_registry]"
    return ""
