"""Fetches one document over HTTP, with the endpoints and the TLS of `connectors.http_post`.

Failures of a server or of the network do not raise: they are a `Fetched` without a status.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from urllib3.exceptions import HTTPError

from connectors.http_post import Endpoint, pool_of, why_of


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to a GET. `status` is 0 where there was none; `reason` is for logs and holds no secret."""

    status: int
    body: bytes
    reason: str


class Getter:
    """GETs documents below one URL. Raises EndpointError: the URL or a TLS file cannot be used."""

    def __init__(self, endpoint: Endpoint, max_bytes: int) -> None:
        """Prepare to GET; nothing is sent yet. Answers larger than `max_bytes` count as none."""
        self._endpoint = replace(endpoint, url=endpoint.url.rstrip("/"))
        self._pool, self._max_bytes = pool_of(endpoint), max_bytes

    @property
    def shown(self) -> str:
        """Scheme and host, for logs."""
        return self._endpoint.shown

    def get(self, path: str) -> Fetched:
        """Return the document at `path`, which begins with `/`. Blocks for at most about two timeouts."""
        try:
            response = self._pool.request(
                "GET",
                self._endpoint.url + path,
                headers=dict(self._endpoint.headers),
                timeout=self._endpoint.timeout_seconds,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            return Fetched(0, b"", f"{self.shown}: {why_of(error)}")
        try:
            body = response.read(self._max_bytes + 1)
        except (HTTPError, OSError) as error:
            why = why_of(error) if isinstance(error, HTTPError) else str(error.strerror)
            return Fetched(0, b"", f"{self.shown}: {why}")
        finally:
            response.close()
        if len(body) > self._max_bytes:
            return Fetched(0, b"", f"{self.shown}: an answer of more than {self._max_bytes} bytes")
        return Fetched(
            response.status, body, f"{self.shown}: {response.status} {response.reason or ''}".rstrip()
        )
