"""What `/api/status` answers of a daemon with several models: all of them together, and each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detector.metrics.plant.recorder import GroupMetrics
from detector.status.fallback import fallback_line, ready_line
from detector.status.overview import (
    Figure,
    Overview,
    behind,
    incidents_line,
    of_kafka,
    of_model,
    state_of,
    waiting,
)
from detector.status.shadow import shadow_line
from detector.status.status import Status, of_input
from detector.status.unassigned import unassigned_line, unassigned_problem

_WORST = 12
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Return the figures of the newest snapshots of the metrics of all models.

    units     of channels, for the sentences about incidents
    explorer  address of the explorer; None if there is none
    places    name of a model -> where it is, to show its candidates
    """

    metrics: GroupMetrics
    units: Mapping[str, str] = field(default_factory=dict)
    explorer: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Return the figures as plain values, with an overview in words."""
        models = [
            Status(metrics, self.units, None, self.places.get(name, "")).figures()
            for name, metrics in self.metrics.models.items()
        ]
        found = self._together(models)
        return found | {"models": models, "overview": self._overview(found, models).as_json()}

    def _together(self, models: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the figures of the service, and those of all models added up."""
        sources, why = self.metrics.sources, waiting(self.metrics.sources)
        lag_seconds = sources.lag_seconds().values()
        firing = [{"model": one["model"], **each} for one in models for each in one["firing"]]
        worst = [{"model": one["model"], **each} for one in models for each in one["worst"]]
        return {
            "model": f"{len(models):,} models",
            "version": "",
            "waiting": why,
            "ready": not why,
            "lag_messages": sum(sources.lag().values()),
            "lag_seconds": round(max(lag_seconds), 1) if lag_seconds else None,
            "replaying": sources.replaying(),
            **of_input(sources),
            **{key: sum(one[key] for one in models) for key in ("readings", "lasting_incidents")},
            **{key: sum(one[key] for one in models) for key in ("muted_series", "channels_missing")},
            "open_incidents": _added(models, "open_incidents"),
            "series": _added(models, "series"),
            "firing": sorted(
                firing, key=lambda one: (one["severity"] != "critical", -(one["peak_score"] or 0))
            )[:_WORST],
            "worst": sorted(worst, key=lambda one: -(one["score"] or 0))[:_WORST],
        }

    def _overview(self, found: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> Overview:
        """Return the page: the service, then a line for each model, and the problems of each."""
        names = [one["model"] for one in models]
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        shadows = {
            f"Candidate in shadow of {one['model']}": line
            for one in models
            if (line := shadow_line(one["shadow"]))
        }
        lines = {
            "Behind": behind(found),
            "Open incidents": incidents_line(found),
            "Series not judged by any model": unassigned_line(found["unassigned"]),
            "Series judged without a model": fallback_line(found["fallback"]),
            "Ready to be trained": ready_line(found["fallback"]),
            "Readings": f"{found['readings']:,}",
        }
        figures = [Figure(name, value) for name, value in lines.items() if value]
        figures += [Figure(f"Model {one['model']}", "; ".join(of_model(one)[0])) for one in models]
        figures += [Figure(name, line) for name, line in shadows.items()]
        problems = [*of_kafka(found), unassigned_problem(found["unassigned"])]
        problems += [f"{one['model']}: {problem}" for one in models for problem in of_model(one)[1]]
        return Overview(
            *state_of(found),
            f"{', '.join(names[:_MOST_NAMED])}{more}",
            tuple(figures),
            tuple(one for one in problems if one),
            self.explorer,
        )


def _added(models: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    """Return the numbers of all models added up by name."""
    found: dict[str, int] = {}
    for one in models:
        for name, number in one[key].items():
            found[name] = found.get(name, 0) + number
    return found
