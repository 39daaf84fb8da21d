"""The endpoints of `/api/v1/whatif`: other settings on a stretch, computed in the background."""

from __future__ import annotations

from typing import Any

from detector.calibration.alarm_budget import read_budget
from detector.errors import ConfigError, DetectorError
from detector.explore.background.entries import whatif
from detector.explore.background.jobs import BusyError
from detector.explore.queries.homes import judged_by
from detector.explore.queries.series import is_known
from detector.explore.store.layout import Description
from detector.explore.web.endpoints import (
    FROM,
    TO,
    ConflictError,
    Endpoint,
    NotFoundError,
    span_of,
)
from detector.explore.web.opened import Opened
from detector.explore.web.parameters import Parameter, ParameterError
from detector.explore.whatif.question import (
    BUDGET_SCHEMA,
    RULES,
    Question,
    checked_rules,
    rules_schema,
    task_of,
)
from detector.explore.whatif.settings import made_of, present_rules, settings_json

_STATUS = ("id", "state", "done", "of", "seconds", "message", "result")
_IDS = "^[0-9a-f]{16}$"
_SERIES = Parameter("series", "text", "Name of the series; default: all", "")
_BUDGET = Parameter(
    "alarm_budget",
    "text",
    "Alarm budget such as 3/week; default: that of the model",
    "",
    values=BUDGET_SCHEMA,
)


def _settings(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    return settings_json(opened.source, _about(opened, values["series"]))


def _about(opened: Opened, series: str) -> Description:
    """Return the description of the model of a series; an empty name stands for all series."""
    return judged_by(opened.database, opened.description, series) if series else opened.description


def _start(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    read = {one.name: one.read_json(values[one.name]) for one in (_SERIES, FROM, TO, _BUDGET)}
    begin, end = span_of(opened, read)
    if read["series"] and not is_known(opened.database, read["series"]):
        raise NotFoundError(f"there is no series {read['series']!r}")
    if read["alarm_budget"]:
        try:
            read_budget(read["alarm_budget"])
        except ValueError as error:
            raise ParameterError("alarm_budget", f"is no budget: {error}") from error
    try:
        record, inputs = made_of(opened.source, _about(opened, read["series"]))
        present = present_rules(inputs)
    except DetectorError as error:
        raise ConflictError(str(error)) from error
    rules = values["incidents"] if values["incidents"] is not None else {}
    if not isinstance(rules, dict) or set(rules) - set(RULES):
        raise ParameterError("incidents", f"is no object with keys of {', '.join(RULES)}")
    try:
        rules = checked_rules(present, rules)
    except ConfigError as error:
        raise ParameterError("incidents", f"is wrong: {error}") from error
    question = Question(read["series"], begin, end, read["alarm_budget"], rules)
    task = task_of(question, opened.source.place, record, inputs)
    try:
        return opened.jobs.start(question.id, whatif, task)
    except BusyError as error:
        raise ConflictError(str(error), error.job) from error


def _status(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    return _known(opened.jobs.status(values["id"]), values["id"])


def _cancel(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    return _known(opened.jobs.cancel(values["id"]), values["id"])


def _known(found: dict[str, Any] | None, job: str) -> dict[str, Any]:
    if found is None:
        raise NotFoundError(f"there is no computation {job!r}")
    return found


WHATIF = (
    Endpoint(
        "/whatif",
        "The present alarm budget and incident rules, and which budgets to choose from",
        (_SERIES,),
        _settings,
        ("alarm_budget", "budgets", "rules", "has_events", "why_not"),
    ),
    Endpoint(
        "/whatif",
        "Start to compute what other settings find in a stretch; one computation at a time",
        (
            _SERIES,
            FROM,
            TO,
            _BUDGET,
            Parameter(
                "incidents",
                "object",
                f"Other values of [incidents]: {', '.join(RULES)}",
                values=rules_schema(),
            ),
        ),
        _start,
        _STATUS,
        "POST",
        computes=True,
    ),
    Endpoint("/whatif/{id}", "Progress of a computation, and its result", (), _status, _STATUS, ids=_IDS),
    Endpoint(
        "/whatif/{id}",
        "Cancel a computation; one that is over stays",
        (),
        _cancel,
        _STATUS,
        "DELETE",
        ids=_IDS,
    ),
)
