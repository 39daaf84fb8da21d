"""Answer HTTP requests: metrics, the two probes, the status page and its data as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detector.config.schema import HttpSection
from detector.errors import ConfigError
from detector.http.access import warn_of_exposure
from detector.http.server import HttpServer, Protection, Response, Route
from detector.http.status_page import Status
from detector.metrics.recorder import Metrics
from detector.service.turn_observer import STALLED_SECONDS, TurnObserver


@dataclass(frozen=True, slots=True)
class Routes:
    """Answer each path from the newest metrics snapshot. Every method may be called from any thread.

    units  of channels, for the sentences about incidents
    """

    metrics: Metrics
    observer: TurnObserver
    units: Mapping[str, str] = field(default_factory=dict)

    def by_path(self) -> dict[str, Route]:
        """Return path -> the function that answers it."""
        return {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/api/status": self._status,
            "/": self._page,
        }

    def _metrics(self, accept: str) -> Response:
        body, content_type = self.metrics.exposition(accept)
        return Response(200, content_type, body)

    def _healthz(self, accept: str) -> Response:
        """503 where the loop has finished no batch for a minute: a supervisor should restart us."""
        if self.observer.is_alive:
            return Response.text(200, "alive")
        return Response.text(503, f"processing loop stalled: no batch finished for {STALLED_SECONDS:.0f} s")

    def _readyz(self, accept: str) -> Response:
        """503 until partitions are assigned and their state is restored, and while a right is missing."""
        sources = self.metrics.sources
        if sources.ready():
            return Response.text(200, "ready")
        if missing := sources.missing_rights():
            words = "; ".join(f"{right} on {resource}" for right, resource in missing)
            return Response.text(503, f"waiting for a right in Kafka: {words}")
        if replaying := sources.replaying():
            return Response.text(
                503, f"partitions that are replayed up to their committed offsets: {replaying}"
            )
        return Response.text(503, "waiting for partitions")

    def _status(self, accept: str) -> Response:
        return Response.json(Status(self.metrics, self.units).json())

    def _page(self, accept: str) -> Response:
        return Response(200, "text/html; charset=utf-8", Status(self.metrics, self.units).page().encode())


def open_server(section: HttpSection, routes: Routes) -> HttpServer:
    """Bind the address of [http] and serve `routes` there, from a thread.

    Raises:
        ConfigError: the address cannot be bound, or a certificate cannot be used.
    """
    try:
        server = HttpServer(section.host, section.port, routes.by_path(), Protection.of(section))
    except OSError as error:
        raise ConfigError(
            f"[http] host, port: cannot bind {section.host}:{section.port}: {error.strerror};"
            " choose another port, or 0 for any free one"
        ) from error
    warn_of_exposure(section, server.host)
    return server
