"""The figures of `/api/status` in words, for people who look at the page of a daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detector.metrics.sources import Sources
from detector.status.budget_used import budget_line, budget_problem
from detector.status.judged import judged_line, judged_problems, some_of
from detector.status.peers import peers_line, peers_problem, together_problems
from detector.status.shadow import shadow_line
from detector.status.unassigned import unassigned_line, unassigned_problem

_MUCH_DRIFT, _MOST_CANDIDATES = 0.25, 3


@dataclass(frozen=True, slots=True)
class Figure:
    """A name and its value, both in words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What the page shows.

    state     "ready", "replaying" or "waiting"
    words     the state in a sentence; why it is not ready
    about     the model in a line
    figures   in the order in which they are shown
    problems  what somebody should look at, each in a sentence or two
    explorer  address of the explorer; None if there is none
    """

    state: str
    words: str
    about: str
    figures: tuple[Figure, ...]
    problems: tuple[str, ...]
    explorer: str | None

    @classmethod
    def of(cls, status: Mapping[str, Any], explorer: str | None = None) -> Overview:
        """Return the overview of figures as `Status` has them."""
        return cls(*state_of(status), _about(status), _figures(status), _problems(status), explorer)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"figures": [asdict(one) for one in self.figures], "problems": [*self.problems]}


def waiting(sources: Sources) -> str:
    """Return what the daemon waits for, in the words of `/readyz`; empty if it is ready."""
    if sources.ready():
        return ""
    if missing := sources.missing_rights():
        words = "; ".join(f"{right} on {resource}" for right, resource in missing)
        return f"waiting for a right in Kafka: {words}"
    if replaying := sources.replaying():
        return f"partitions that are replayed up to their committed offsets: {replaying}"
    return "waiting for partitions"


def state_of(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state of the service in a word, and in a sentence."""
    if status["ready"]:
        return "ready", "Ready: it judges what arrives."
    if status["replaying"] and not status["missing_rights"]:
        return "replaying", f"Not ready: {status['waiting']}."
    return "waiting", f"Not ready: {status['waiting']}."


def _about(status: Mapping[str, Any]) -> str:
    window = f"window of {status['window']} rows of {status['interval_seconds']:g} s"
    return f"{status['family']}, {window}, {_num(status['channels'], 'channel')}"


def _figures(status: Mapping[str, Any]) -> tuple[Figure, ...]:
    judged = status["judged"]
    series = {name: num for name, num in status["series"].items() if num}
    states = "; ".join(f"{name.replace('_', ' ')} {num:,}" for name, num in series.items())
    found = {
        "Behind": behind(status),
        "Open incidents": incidents_line(status),
        "Rows judged": judged_line(judged),
        "Series judged now": some_of(judged["series_judged_now"], judged["series"]),
        "State of the series": states,
        "Series not judged by this model": unassigned_line(status["unassigned"]),
        "Series muted": f"{status['muted_series']:,}" if status["muted_series"] else "",
        "Series cold": _cold(status["cold_series"]),
        "Series beside their peers": peers_line(status["peers"]),
        "Alarm budget": budget_line(status["budget"]),
        "Small departures": f"watched for in {some_of(*status['cumulative_channels'])} channels",
        "Model age": _age(status["model_age_seconds"]),
        "Candidates": ", ".join(one["version"] for one in status["candidates"][:_MOST_CANDIDATES]),
        "Candidate in shadow": shadow_line(status["shadow"]),
        "Self-check": status["sense"]["state"],
        "Change of errors": "" if status["error_psi"] is None else f"{status['error_psi']:.2f} (PSI)",
        "Readings": f"{status['readings']:,}",
    }
    return tuple(Figure(name, value) for name, value in found.items() if value)


def _cold(cold: Mapping[str, Any]) -> str:
    """Return how many series are new to the model and learn, with some names; nothing where none does."""
    if not cold["num"]:
        return ""
    rest = cold["num"] - len(cold["names"])
    return f"{cold['num']:,}: {', '.join(cold['names'])}" + (f" and {rest:,} more" if rest else "")


def behind(status: Mapping[str, Any]) -> str:
    """Return what was not read yet."""
    messages = _num(status["lag_messages"], "message")
    return messages if status["lag_seconds"] is None else f"{messages}, {status['lag_seconds']:,} s"


def incidents_line(status: Mapping[str, Any]) -> str:
    """Return the number of open incidents by severity."""
    kinds = [f"{num:,} {name}" for name, num in status["open_incidents"].items() if num]
    return ", ".join(kinds) or "none"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds / 3_600:.1f} hours"


def _problems(status: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what somebody should look at, the most urgent first."""
    problems = _of_judging(status)
    found = [*of_kafka(status), *problems[0], unassigned_problem(status["unassigned"]), *problems[1]]
    return tuple(one for one in found if one)


def of_model(status: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what there is to say of one model of several, in short parts; and what somebody should look at.

    Both are from the figures of its `Status`.
    """
    judged = status["judged"]
    said = [
        f"version {status['version']}",
        f"{some_of(judged['series_judged_now'], judged['series'])} series judged now",
        f"open incidents {incidents_line(status)}" if sum(status["open_incidents"].values()) else "",
        budget_line(status["budget"]),
        f"change of errors {status['error_psi']:.2f}" if status["error_psi"] is not None else "",
    ]
    first, then = _of_judging(status)
    return [one for one in said if one], [one for one in (*first, *then) if one]


def _of_judging(status: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what somebody should look at in what a model judges: the most urgent, and the rest."""
    urgent = [
        *together_problems(status["together"]),
        *_deaf(status["sense"]),
        *judged_problems(status["judged"]),
        budget_problem(status["budget"]),
    ]
    found = [
        f"{one['series']}, incident {one['id']}: {one['unjudged']['words']}."
        for one in status["firing"]
        if one["unjudged"] is not None
    ]
    if status["model_store"]:
        found.append(f"No look at other versions, this one stays in use: {status['model_store']}.")
    if status["shadow"]["problem"]:
        found.append(f"The candidate does not judge beside this version: {status['shadow']['problem']}.")
    found.append(peers_problem(status["peers"]))
    if status["lasting_incidents"]:
        found.append(f"Incidents that last and wait for a decision: {status['lasting_incidents']:,}.")
    if status["channels_missing"]:
        found.append(f"Channels that send nothing: {status['channels_missing']:,}.")
    if status["common_scale_rows"]:
        found.append(
            f"Rows judged by the common scale: {status['common_scale_rows']:,}. The model does not know their"
            " series."
        )
    if status["error_psi"] is not None and status["error_psi"] > _MUCH_DRIFT:
        found.append("The errors have changed much since calibration: see the change of errors.")
    return urgent, found


def of_kafka(status: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the input: rights, decisions, schemas, series from several partitions."""
    found, split = [], status["split_series"]
    if status["missing_rights"]:
        found.append(f"Waiting for rights in Kafka: {'; '.join(status['missing_rights'])}.")
    if not status["decisions_readable"]:
        found.append("Decisions cannot be read: accept, reject and mute have no effect.")
    if status["schema_registry"]:
        found.append(f"Messages wait for the schema registry: {status['schema_registry']}.")
    if split["num"]:
        topics = ' A series of several topics needs `series = ["topic", "$.series"]` in [input].'
        found.append(
            f"{split['num']:,} series come from several partitions: their readings are out of order, and many"
            f" are late: {', '.join(split['names'])}. Let the producers use the series as the key of their"
            f" messages.{topics if status['topics'] else ''}"
        )
    return found


def _deaf(sense: Mapping[str, Any]) -> list[str]:
    """Return the promised faults that are not found; empty if the detector is not deaf."""
    if sense["state"] != "deaf":
        return []
    found = [f"Deaf in channel {name}: {why}." for name, why in sense["deaf_channels"].items()]
    if sense["num_deaf_series"]:
        names = ", ".join(sense["deaf_series"])
        found.append(f"Deaf in {sense['num_deaf_series']:,} series: their thresholds are too high: {names}.")
    return found


def _num(number: int, what: str) -> str:
    """Return a number of things.

    >>> _num(1, "message"), _num(1200, "message")
    ('1 message', '1,200 messages')
    """
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
