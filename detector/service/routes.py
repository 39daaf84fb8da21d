"""Answer HTTP requests: metrics, the two probes, the page and its figures as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detector.config.schema import HttpSection
from detector.errors import ConfigError
from detector.http.access import warn_of_exposure
from detector.http.messages import Request, Response
from detector.http.server import HttpServer, Protection, listen
from detector.http.site import Route, Site
from detector.metrics.plant.recorder import GroupMetrics
from detector.metrics.recorder import Metrics
from detector.service.loop_watch import STALLED_SECONDS
from detector.service.plant.observer import GroupObserver
from detector.service.turn_observer import TurnObserver
from detector.status.overview import waiting
from detector.status.page import page_routes
from detector.status.plant import GroupStatus
from detector.status.status import Status


@dataclass(frozen=True, slots=True)
class Routes:
    """Answer each path from the newest metrics snapshot. Every method may be called from any thread.

    units     of channels, for the sentences about incidents
    explorer  address of the explorer; None if there is none
    place     where the model is, to show its candidates
    places    of several models: name -> where it is
    """

    metrics: Metrics | GroupMetrics
    observer: TurnObserver | GroupObserver
    units: Mapping[str, str] = field(default_factory=dict)
    explorer: str | None = None
    place: str = ""
    places: Mapping[str, str] = field(default_factory=dict)

    def site(self) -> Site:
        """Return what the daemon answers."""
        answers = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/api/status": self._status,
        }
        return Site([*(Route(path, answer) for path, answer in answers.items()), *page_routes()])

    def _metrics(self, request: Request) -> Response:
        body, content_type = self.metrics.exposition(request.accept)
        return Response(200, content_type, body)

    def _healthz(self, request: Request) -> Response:
        """503 where the loop has finished no batch for a minute: a supervisor should restart us."""
        if self.observer.loop.is_alive:
            return Response.text(200, "alive")
        return Response.text(503, f"processing loop stalled: no batch finished for {STALLED_SECONDS:.0f} s")

    def _readyz(self, request: Request) -> Response:
        """503 until partitions are assigned and their state is restored, and while a right is missing."""
        words = waiting(self.metrics.sources)
        return Response.text(503, words) if words else Response.text(200, "ready")

    def _status(self, request: Request) -> Response:
        if isinstance(self.metrics, GroupMetrics):
            status = GroupStatus(self.metrics, self.units, self.explorer, self.places)
            return Response.json(status.json())
        return Response.json(Status(self.metrics, self.units, self.explorer, self.place).json())


def open_server(section: HttpSection, routes: Routes) -> HttpServer:
    """Bind the address of [http] and serve `routes` there, from a thread.

    Raises:
        ConfigError: the address cannot be bound, or a certificate cannot be used.
    """
    protection = Protection.of(section)
    try:
        listening = listen(section.host, section.port)
    except OSError as error:
        raise ConfigError(
            f"[http] host, port: cannot bind {section.host}:{section.port}: {error.strerror};"
            " choose another port, or 0 for any free one"
        ) from error
    server = HttpServer(listening, routes.site(), protection)
    warn_of_exposure(section, server.host)
    return server
