"""The endpoints of `/api/v1`: what each takes and what it answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from detector.explore.queries.fleet import SORTS, FleetQuery, fleet
from detector.explore.queries.groups import groups
from detector.explore.queries.homes import judged_by, listed
from detector.explore.queries.incidents import decisions, incident_view, incidents
from detector.explore.queries.series import SeriesQuery, is_known, series_view
from detector.explore.source import missing
from detector.explore.store.layout import STATES, Description
from detector.explore.web.decisions import decisions as decided_and_writable
from detector.explore.web.decisions import opinions
from detector.explore.web.opened import Opened
from detector.explore.web.parameters import Parameter, ParameterError

PREFIX = "/api/v1"
_MOST_POINTS = 4000


class NotFoundError(Exception):
    """What the request names does not exist; the message names it."""


class ConflictError(Exception):
    """It cannot be computed now; `job` is the id of what has to end first, empty where nothing has to."""

    def __init__(self, message: str, job: str = "") -> None:
        super().__init__(message)
        self.job = job


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Describe one endpoint.

    path        below PREFIX; a part in braces is a parameter of the path
    parameters  of the query; of POST: values of the JSON object that is sent
    answer      returns the body; it gets the values of all parameters by name
    has         the keys of the body, for the OpenAPI document
    computes    whether it needs the model, and answers 409 where that cannot be used
    ids         pattern of the parameter of the path; empty: any text
    """

    path: str
    summary: str
    parameters: tuple[Parameter, ...]
    answer: Callable[[Opened, dict[str, Any]], dict[str, Any]]
    has: tuple[str, ...]
    method: Literal["GET", "POST", "DELETE"] = "GET"
    computes: bool = False
    ids: str = ""


FROM = Parameter(
    "from", "time", "Begin of the range: milliseconds since 1970 or ISO 8601; default: the first row"
)
TO = Parameter("to", "time", "End of the range; default: the end of the last row")
PAGE = Parameter("page", "number", "Number of the page, from 0", 0, 0, 1_000_000)
POINTS = Parameter(
    "points", "number", "Most points of a line; more rows are downsampled", 800, 10, _MOST_POINTS
)


def span_of(opened: Opened, values: dict[str, Any]) -> tuple[int, int]:
    """Return the range of time. Raises ParameterError if it is empty."""
    first, last = opened.description.first_ns, opened.description.last_ns
    begin = first if values["from"] is None else values["from"]
    end = last if values["to"] is None else values["to"]
    if begin >= end:
        raise ParameterError("to", "is not later than `from`")
    return begin, end


def _source(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    about = opened.description
    return {
        "source": opened.source.name,
        "kind": opened.source.kind,
        "model": about.model,
        "version": about.version,
        "family": about.family,
        "alarm_budget": about.alarm_budget,
        "channels": list(about.channels),
        "interval": about.interval_ns / 1e6,
        "window": about.window,
        "first": about.first_ns / 1e6,
        "last": about.last_ns / 1e6,
        "rows": about.rows,
        "series": about.series,
        "states": list(STATES),
        "command": about.command,
        "card": about.card,
        "missing": [] if opened.source.group is None else missing(opened.source.group),
        "dropped": "" if opened.live is None else opened.live.dropped,
        "group_by": opened.display.group_by,
        "models": [_one_of(opened, one) for one in about.models],
    }


def _one_of(opened: Opened, about: Description) -> dict[str, Any]:
    """Return one of several models, in short."""
    found = {name: getattr(about, name) for name in ("model", "version", "family", "window", "alarm_budget")}
    return found | {"channels": list(about.channels), "interval": about.interval_ns / 1e6}


def check_model(opened: Opened, name: str) -> None:
    """Raise NotFoundError where no model of several has this name; an empty name stands for all."""
    about = opened.description
    if name and name not in {one.model for one in about.models}:
        known = ", ".join(one.model for one in about.models)
        there = f"there are {known}" if known else "there is one"
        raise NotFoundError(f"there is no model {name!r}; {there}")


def _fleet_query(opened: Opened, values: dict[str, Any]) -> FleetQuery:
    begin, end = span_of(opened, values)
    check_model(opened, values["model"])
    given = {name: value for name, value in values.items() if name not in ("from", "to")}
    data = (opened.description.first_ns, opened.description.last_ns)
    return FleetQuery(begin, end, data=data, pattern=opened.display.group_by, **given)


def _fleet(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    found = fleet(opened.database, _fleet_query(opened, values))
    return found | {"series": listed(opened.database, opened.description, found["series"])}


def _groups(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    return groups(opened.database, _fleet_query(opened, values))


def _series(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    begin, end = span_of(opened, values)
    series = values["name"]
    if not is_known(opened.database, series):
        raise NotFoundError(f"there is no series {series!r}")
    about = judged_by(opened.database, opened.description, series)
    unknown = [one for one in values["channel"] if one not in about.channels]
    if unknown:
        raise NotFoundError(f"there is no channel {unknown[0]!r}; there are {', '.join(about.channels)}")
    query = SeriesQuery(series, begin, end, values["points"], values["channel"])
    view = series_view(opened.database, about, query) | {"model": about.model}
    found = incidents(opened.database, (begin, end), series, (0, 500))
    decided = decisions(opened.database, series, (begin, end))
    return view | _judged(opened, found["incidents"]) | {"decisions": decided}


def _incidents(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    span = span_of(opened, values)
    page, group = (values["page"], values["size"]), (opened.display.group_by, values["group"])
    check_model(opened, values["model"])
    found = incidents(opened.database, span, values["series"], page, group, values["model"])
    return found | _judged(opened, found["incidents"])


def _incident(opened: Opened, values: dict[str, Any]) -> dict[str, Any]:
    found = incident_view(opened.database, opened.description, values["id"], values["points"])
    if found is None:
        raise NotFoundError(f"there is no incident {values['id']!r}")
    judged = _judged(opened, [found, *found["earlier"]])
    one, *earlier = judged.pop("incidents")
    runbooks = opened.display.runbooks_of(found["evidence"])
    about = judged_by(opened.database, opened.description, one["series"])
    return {**judged, **one, "model": about.model, "earlier": earlier, "runbooks": runbooks}


def _judged(opened: Opened, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return incidents with what people said that they were, None where nobody said anything.

    `opinions_unknown` is the reason why nobody knows what people said; None where it is known.
    """
    said, problem = opinions(opened) if found else ({}, None)
    listed = [one | {"opinion": said.get(one["id"])} for one in found]
    return {"incidents": listed, "opinions_unknown": problem}


MODEL = Parameter("model", "text", "Only series of this one of several models", "")
_SHORT_RANGE = (FROM, TO)
_CHOICE = (
    *_SHORT_RANGE,
    MODEL,
    Parameter("search", "text", "Part of the name of a series, upper and lower case alike", ""),
    Parameter("state", "choice", "Only series whose newest row has this state", "", choices=STATES),
    Parameter("trouble", "flag", "Only series with an incident in the range", False),
    Parameter("sort", "choice", "By what to sort", "trouble", choices=tuple(SORTS)),
    Parameter("order", "choice", "Ascending or descending", "desc", choices=("asc", "desc")),
    PAGE,
    Parameter("size", "number", "Series or groups of a page", 25, 1, 200),
    Parameter("cells", "number", "Most cells of a lane", 60, 4, 500),
)
_ABOUT = (
    *("source", "kind", "model", "version", "channels", "interval", "first", "last", "rows", "series"),
    *("missing", "dropped", "group_by"),
)
_LISTED = ("incidents", "opinions_unknown")
ENDPOINTS = (
    Endpoint(
        "/source",
        "What is shown: model, range of time, channels, how it was made",
        (),
        _source,
        _ABOUT,
    ),
    Endpoint(
        "/fleet",
        "A page of series with state, trouble and a lane of strength by time",
        (*_CHOICE, Parameter("group", "text", "Only series of this group", "")),
        _fleet,
        ("total", "page", "size", "counted", "states", "lanes", "series"),
    ),
    Endpoint(
        "/groups",
        "A page of groups of series: worst state, counts, modes and one lane of strength for each",
        _CHOICE,
        _groups,
        ("total", "series", "page", "size", "counted", "lanes", "groups"),
    ),
    Endpoint(
        "/series",
        "One series: channels, score, states, incidents and decisions in a range of time",
        (
            Parameter("name", "text", "Name of the series", is_required=True),
            *_SHORT_RANGE,
            POINTS,
            Parameter(
                "channel", "texts", "A channel to show; may be repeated; default: those that stand out", ()
            ),
        ),
        _series,
        (
            *("series", "from", "to", "rows", "bucket", "time", "state", "mode", "channels", "decisions"),
            *_LISTED,
        ),
    ),
    Endpoint(
        "/incidents",
        "The incidents that touch a range of time, the newest first",
        (
            *_SHORT_RANGE,
            Parameter("series", "text", "Only those of this series", ""),
            MODEL,
            Parameter("group", "text", "Only those of series of this group", ""),
            PAGE,
            Parameter("size", "number", "Incidents of a page", 50, 1, 500),
        ),
        _incidents,
        ("total", "page", "size", *_LISTED),
    ),
    Endpoint(
        "/incidents/{id}",
        "One incident: sentence, evidence, window of rows, other series that moved at the same time",
        (POINTS,),
        _incident,
        (
            *("id", "series", "sentence", "evidence", "window", "modes", "others", "earlier", "decisions"),
            *("opinion", "opinions_unknown", "runbooks"),
        ),
    ),
    Endpoint(
        "/decisions",
        "What people decided, the newest first, and whether this explorer takes decisions",
        (
            Parameter("incident", "text", "Only those about this incident", ""),
            Parameter("series", "text", "Only those about this series", ""),
        ),
        decided_and_writable,
        ("writing", "obstacles", "command", "total", "decisions"),
    ),
)
