"""The endpoint of `/api/v1/model`: what the model learnt, and how its alarm budget was used."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from detector.errors import DetectorError
from detector.explore.background.entries import model
from detector.explore.background.jobs import BusyError
from detector.explore.queries.budget import budget_used
from detector.explore.queries.drift import drift_now
from detector.explore.queries.homes import series_by_model
from detector.explore.web.decisions import opinions
from detector.explore.web.endpoints import FROM, TO, ConflictError, Endpoint, check_model, span_of
from detector.explore.web.opened import Opened
from detector.explore.web.parameters import Parameter, ParameterError
from detector.explore.whatif.settings import made_of


def _model(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    span = span_of(opened, values)
    name, about = values["model"], opened.description
    check_model(opened, name)
    if about.models and not name:
        known = ", ".join(one.model for one in about.models)
        raise ParameterError("model", f"is missing: there are {known}")
    about = about.of_model(name)
    used = budget_used(opened.database, about, span, _real(opened), name)
    try:
        record, inputs = made_of(opened.source, about)
        task = {"inputs": asdict(inputs), "version": record["version"]}
        found = opened.models.finished(f"{name} {record['version']}", model, task)
    except (DetectorError, BusyError) as error:
        raise ConflictError(f"the model cannot be shown: {error}") from error
    if found["result"] is None:
        raise ConflictError(f"the model cannot be shown: {found['message']}")
    summary = dict(found["result"])
    reference = summary.pop("drift_reference")
    drift = None if reference is None else drift_now(opened.database, reference, span)
    return {**summary, "model": about.model, "drift": drift, "used": used}


def _models(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    """Return each model, with its series and the use of its alarm budget."""
    span, about, real = span_of(opened, values), opened.description, _real(opened)
    judged = series_by_model(opened.database, about)
    found = []
    for one in about.models or (about,):
        name = one.model if about.models else ""
        used = budget_used(opened.database, one, span, real, name)
        found.append(
            {
                "model": one.model,
                "version": one.version,
                "family": one.family,
                "channels": list(one.channels),
                "series": judged.get(one.model, 0) if about.models else about.series,
                **{key: used[key] for key in ("alarms", "real", "allowed", "alarm_budget")},
            }
        )
    return {"models": found}


def _real(opened: Opened) -> list[str]:
    """Return the incidents that people called real."""
    said, _ = opinions(opened)
    return [name for name, opinion in said.items() if opinion == "real"]


MODEL = (
    Endpoint(
        "/model",
        "The model: calibration, channels, seasons, modes, drift, versions; use of the alarm budget",
        (Parameter("model", "text", "Which of several models", ""), FROM, TO),
        _model,
        (
            *("model", "version", "threshold", "curve", "channels", "season", "modes", "versions", "used"),
            *("drift", "detectable"),
        ),
        computes=True,
    ),
    Endpoint(
        "/models", "Each model: its series, and the use of its alarm budget", (FROM, TO), _models, ("models",)
    ),
)
