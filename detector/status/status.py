"""What `/api/status` answers: the figures of a daemon, and an overview of them in words."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from detector.artifact.spec import Spec
from detector.engine.values import Latest
from detector.incidents.incident import Incident
from detector.incidents.lasting import blamed
from detector.incidents.shapes.sentence import Wording, sentence
from detector.incidents.unjudged import unjudged_words
from detector.lifecycle.versions import last_waiting_at
from detector.metrics.recorder import Metrics
from detector.metrics.series_gauges import firing
from detector.metrics.sources import Sources
from detector.notify.trend_words import trend_words
from detector.scoring.verdicts import State
from detector.selfcheck.check import Sense
from detector.status.budget_used import budget_json
from detector.status.fallback import fallback_json
from detector.status.judged import judged_json
from detector.status.overview import Overview, waiting
from detector.status.peers import peers_json, together_json
from detector.status.shadow import of_versions
from detector.status.unassigned import unassigned_json

_WORST = 12


@dataclass(frozen=True, slots=True)
class Status:
    """Return the figures of the newest snapshot of the metrics.

    units     of channels, for the sentences about incidents
    explorer  address of the explorer; None if there is none
    place     where the model is, to show its candidates; empty: not shown
    """

    metrics: Metrics
    units: Mapping[str, str] = field(default_factory=dict)
    explorer: str | None = None
    place: str = ""

    @property
    def spec(self) -> Spec:
        """The description of the model in use."""
        return self.metrics.engine.artifact.spec

    @property
    def version(self) -> str:
        """The version of the model in use."""
        return self.metrics.engine.artifact.version

    def json(self) -> dict[str, Any]:
        """Return the figures as plain values, with an overview in words; an unknown score is None."""
        figures = self.figures()
        return figures | {"overview": Overview.of(figures, self.explorer).as_json()}

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain values, without the overview."""
        return self._figures() | self._beside_others() | {"candidates": self._candidates()}

    def _figures(self) -> dict[str, Any]:
        snapshot, why = self.metrics.snapshot, waiting(self.metrics.sources)
        latest = snapshot.latest
        counts = np.bincount(latest.state, minlength=len(State)).tolist()
        written_at = snapshot.artifact.written_at
        lag_seconds = self.metrics.sources.lag_seconds().values()
        order = np.argsort(-np.nan_to_num(latest.score, nan=-1.0), kind="stable")[:_WORST]
        return {
            "model": self.spec.name,
            "version": self.version,
            "family": self.spec.family,
            "window": self.spec.window,
            "interval_seconds": self.spec.interval_ns / 1e9,
            "channels": len(self.spec.channels),
            "waiting": why,
            "ready": not why,
            "lag_messages": sum(self.metrics.sources.lag().values()),
            "lag_seconds": round(max(lag_seconds), 1) if lag_seconds else None,
            "replaying": self.metrics.sources.replaying(),
            "model_age_seconds": None if written_at is None else round(max(0.0, time.time() - written_at)),
            "sense": _sense(self.metrics.sources.sense()),
            "judged": judged_json(snapshot),
            "budget": budget_json(snapshot.budget, self.metrics.sources.called_real()),
            "cumulative_channels": list(snapshot.cumulative),
            "common_scale_rows": snapshot.totals["common_scale_rows"],
            "cold_series": _cold(latest),
            "channels_missing": int(np.count_nonzero(latest.missing)),
            **of_input(self.metrics.sources),
            **of_versions(self.metrics.sources),
            "error_psi": None if math.isnan(snapshot.psi) else round(snapshot.psi, 3),
            "readings": snapshot.totals["readings"],
            "open_incidents": dict(snapshot.open_by_severity),
            "lasting_incidents": snapshot.num_lasting,
            "muted_series": int(np.count_nonzero(latest.muted)),
            "firing": [
                _firing(incident, self._sentence(incident, latest))
                for incident in firing(snapshot.open_incidents, _WORST)
            ],
            "series": {state.label: num for state, num in zip(State, counts, strict=True)},
            "worst": [_series(self.spec, latest, at) for at in order.tolist()],
        }

    def _beside_others(self) -> dict[str, Any]:
        """Return the series beside their peers, and incidents that began together."""
        snapshot, rules = self.metrics.snapshot, self.metrics.engine.options.rules.fold
        together = together_json(snapshot.open_incidents, rules, self.spec.interval_ns)
        return {"peers": peers_json(snapshot.crowd), "together": together}

    def _candidates(self) -> list[dict[str, Any]]:
        found = last_waiting_at(self.place) if self.place else ()
        return [{"version": one.name, "published_ms": round(one.at * 1e3)} for one in found]

    def _sentence(self, incident: Incident, latest: Latest) -> str:
        """Return what is wrong, until the newest row of the series."""
        known = incident.series in latest.names
        at_ns = int(latest.timestamp_ns[latest.names.index(incident.series)]) if known else incident.opened_ns
        return sentence(incident, at_ns, Wording.of(self.spec, self.units))


def _cold(latest: Latest) -> dict[str, Any]:
    """Return how many series are new to the model and still learn, and the first of their names."""
    found = np.flatnonzero(latest.cold).tolist()
    return {"num": len(found), "names": [latest.names[at] for at in found[:_WORST]]}


def _series(spec: Spec, latest: Latest, at: int) -> dict[str, Any]:
    """Return the newest verdict of a series; its mode of operation only where the model has modes."""
    found = {
        "series": latest.names[at],
        "score": None if np.isnan(latest.score[at]) else round(float(latest.score[at]), 3),
        "state": State(int(latest.state[at])).label,
        "timestamp_ms": int(latest.timestamp_ns[at]) // 1_000_000,
    }
    if spec.modes is None:
        return found
    number = int(latest.mode[at])
    return found | {"mode": None if number < 0 else spec.modes.names[number]}


def _sense(sense: Sense) -> dict[str, Any]:
    """Return the outcome of the last self-check as plain values."""
    return {
        "state": sense.outcome,
        "ratios": {name: round(ratio, 3) for name, ratio in sense.ratios.items()},
        "deaf_channels": dict(sense.reasons),
        "num_deaf_series": sense.num_deaf,
        "deaf_series": list(sense.deaf_series),
    }


def of_input(sources: Sources) -> dict[str, Any]:
    """Return its topics, and what is wrong with the rights, the decisions and the series of the input."""
    split = sources.split_series()
    return {
        "topics": _topics(sources),
        "missing_rights": [" on ".join(one) for one in sources.missing_rights()],
        "decisions_readable": sources.decisions_readable(),
        "split_series": {"num": split.num, "names": list(split.names)},
        "schema_registry": sources.schema_registry()[0],
        "unassigned": unassigned_json(sources.unassigned()),
        "fallback": fallback_json(sources.fallback()),
    }


def _topics(sources: Sources) -> dict[str, dict[str, int]]:
    """Return topic -> its partitions here and their unread messages, where there are several topics."""
    found: dict[str, dict[str, int]] = {}
    for number, messages in sorted(sources.lag().items()):
        topic = sources.place(number)[0]
        if topic:
            one = found.setdefault(topic, {"partitions": 0, "lag_messages": 0})
            one["partitions"] += 1
            one["lag_messages"] += messages
    return found


def _firing(incident: Incident, said: str = "") -> dict[str, Any]:
    unjudged = incident.unjudged
    return {
        "sentence": said,
        "id": incident.id,
        "series": incident.series,
        "severity": incident.severity,
        "reason": incident.reason,
        "channel": incident.channels[0].name if incident.channels else None,
        "trend": None if incident.trend is None else asdict(incident.trend),
        "trend_words": _trend_words(incident),
        "peak_score": None if incident.known_peak is None else round(incident.known_peak, 3),
        "start_ms": incident.start_ns // 1_000_000,
        "lasting_since_ms": None if incident.lasting_ns is None else incident.lasting_ns // 1_000_000,
        "unjudged": None
        if unjudged is None
        else {
            "since_ms": unjudged.since_ns // 1_000_000,
            "why": unjudged.why,
            "mode": unjudged.mode,
            "words": _unjudged_words(incident),
        },
        "blamed": list(blamed(incident)),
    }


def _trend_words(incident: Incident) -> str | None:
    """Return which channel drifts, and how fast; None where none does."""
    one = incident.drifting
    return None if one is None else f"{one.name} {trend_words(one.trend)}"


def _unjudged_words(incident: Incident) -> str:
    """Return since when and why nobody can tell whether the incident goes on."""
    unjudged = incident.unjudged
    assert unjudged is not None
    since = str(np.datetime64(unjudged.since_ns // 1_000_000, "ms"))
    return unjudged_words(unjudged.why, since, unjudged.mode, list(blamed(incident)))
