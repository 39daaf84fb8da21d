"""The endpoint of `/api/v1/model`: what the model learnt, and how its alarm budget was used."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from detector.errors import DetectorError
from detector.explore.background.entries import model
from detector.explore.background.jobs import BusyError
from detector.explore.queries.budget import budget_used
from detector.explore.queries.drift import drift_now
from detector.explore.web.decisions import opinions
from detector.explore.web.endpoints import FROM, TO, ConflictError, Endpoint, span_of
from detector.explore.web.opened import Opened
from detector.explore.whatif.settings import made_of


def _model(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    span = span_of(opened, values)
    said, _ = opinions(opened)
    real = [name for name, opinion in said.items() if opinion == "real"]
    used = budget_used(opened.database, opened.description, span, real)
    try:
        record, inputs = made_of(opened.source, opened.description)
        task = {"inputs": asdict(inputs), "version": record["version"]}
        found = opened.models.finished(record["version"], model, task)
    except (DetectorError, BusyError) as error:
        raise ConflictError(f"the model cannot be shown: {error}") from error
    if found["result"] is None:
        raise ConflictError(f"the model cannot be shown: {found['message']}")
    summary = dict(found["result"])
    reference = summary.pop("drift_reference")
    drift = None if reference is None else drift_now(opened.database, reference, span)
    return {**summary, "drift": drift, "used": used}


MODEL = (
    Endpoint(
        "/model",
        "The model: calibration, channels, seasons, modes, drift, versions; use of the alarm budget",
        (FROM, TO),
        _model,
        (
            *("model", "version", "threshold", "curve", "channels", "season", "modes", "versions", "used"),
            *("drift", "detectable"),
        ),
        computes=True,
    ),
)
