"""Keep people's feedback on incidents, and find the threshold that agrees with it.

A registry entry keeps feedback in `feedback.jsonl`, one line for each opinion, next to its versions. It
therefore stays valid when a new version is published. A newer opinion on an incident replaces the older.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

from detector.artifact.spec import Threshold
from detector.errors import DetectorError

FILE = "feedback.jsonl"
Opinion = Literal["false-alarm", "real"]
OPINIONS: tuple[Opinion, ...] = get_args(Opinion)
_MOST_ERROR = 1e300
"""Greatest error of a peak: a threshold that is learnt from it stays finite."""
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Feedback:
    """Hold one person's opinion on one incident.

    incident    id of the incident
    opinion     false-alarm or real
    series      name of its series
    start       its first row, ISO 8601
    version     version of the model that raised it
    peak_error  its greatest error, in the same units as the threshold of that version

    Raises:
        ValueError: A field has a value that feedback cannot have.
    """

    incident: str
    opinion: Opinion
    series: str
    start: str
    version: str
    peak_error: float

    def __post_init__(self) -> None:
        if self.opinion not in OPINIONS:
            raise ValueError(f"opinion {self.opinion!r} must be one of {', '.join(OPINIONS)}")
        if not all(isinstance(one, str) for one in (self.incident, self.series, self.start, self.version)):
            raise ValueError("incident, series, start and version must be text")
        peak: object = self.peak_error
        if not isinstance(peak, int | float) or not 0 < peak <= _MOST_ERROR:
            raise ValueError(f"peak_error must be a number above 0 and up to {_MOST_ERROR:g}")


def feedback_on(incident: Mapping[str, Any], opinion: Opinion, threshold: Threshold) -> Feedback:
    """Return feedback on an incident, with the error of its peak.

    Args:
        incident: The incident as `detector.delivery.messages.incident_json` writes it.
        opinion: false-alarm or real.
        threshold: The threshold of the version that raised the incident; it turns the score into an error.

    Raises:
        DetectorError: It is not an incident, or a rule raised it instead of a score.
    """
    try:
        if incident["reason"] != "score":
            raise DetectorError(
                f"incident {incident['id']} was raised by the rule {incident['reason']!r}, not by a score: a"
                " threshold cannot learn from it; change the rule (valid_range, flatline) instead"
            )
        return Feedback(
            incident=str(incident["id"]),
            opinion=opinion,
            series=str(incident["series"]),
            start=str(incident["start"]),
            version=str(incident["version"]),
            peak_error=_score(incident["peak_score"]) ** (1.0 / threshold.sharpness) * threshold.value,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DetectorError(f"not an incident as streamgauge writes it: {error!r}") from error


def _score(value: Any) -> float:
    """Return the score of a peak as a number above 0. Raises ValueError, TypeError or OverflowError."""
    score = float(value)
    if not score > 0:
        raise ValueError(f"the score of its peak is {score:g}; it must be above 0")
    return score


def read_feedback(entry: Path) -> tuple[Feedback, ...]:
    """Return the newest opinion on each incident of a model; empty if there is none.

    Args:
        entry: Directory of the model in the registry.

    Raises:
        DetectorError: The file cannot be read, or one of its lines is damaged.
    """
    path = entry / FILE
    return feedback_of(_text_of(path), str(path)) if path.exists() else ()


def feedback_of(text: str, place: str) -> tuple[Feedback, ...]:
    """Return the newest opinion on each incident of some lines; `place` names them in errors.

    Raises:
        DetectorError: A line is damaged.
    """
    found: dict[str, Feedback] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            one = Feedback(**json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise DetectorError(f"{place}, line {number}: damaged: {error}; delete the line") from error
        found[one.incident] = one
    return tuple(found.values())


def add_feedback(entry: Path, feedback: Feedback) -> None:
    """Append feedback to the file of a registry entry.

    Promise: the line is on disk when this returns.

    Args:
        entry: Directory of the model in the registry.
        feedback: The opinion to add.

    Raises:
        DetectorError: The file cannot be written.
    """
    path = entry / FILE
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(feedback)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DetectorError(f"{path}: cannot be written: {error.strerror or error}") from error


def find_incident(path: Path, identifier: str) -> Mapping[str, Any]:
    """Return the newest state of an incident.

    Args:
        path: A backtest's incidents.json, or a file with one alert message, as JSON, on each line.
        identifier: The id of the incident, or the beginning of it.

    Raises:
        DetectorError: The file cannot be read, or not exactly one incident begins with `identifier`. The
            message lists the ids that match, or the ids that are most alike.
    """
    incidents = incidents_of(path)
    known = {str(one["id"]) for one in incidents if "id" in one}
    matching = {identifier} & known or {one for one in known if one.startswith(identifier)}
    if len(matching) > 1:
        raise DetectorError(
            f"{path}: {len(matching)} incidents begin with {identifier!r}: {_shown(sorted(matching))};"
            " give more characters of the id"
        )
    if not matching:
        alike = sorted(known, key=lambda one: (-_num_common(one, identifier), one))
        there = f"the file has {_shown(alike)}" if alike else "the file holds no incident"
        raise DetectorError(f"{path}: no incident begins with {identifier!r}; {there}")
    return next(one for one in reversed(incidents) if str(one.get("id")) in matching)


def adjust_to_feedback(value: float, feedback: Iterable[Feedback]) -> float:
    """Return the threshold nearest to `value` that agrees with the most opinions.

    An opinion agrees if the error of a false alarm lies at or below the threshold, or the error of a real
    incident above it. Both kinds of opinion count the same.

    Args:
        value: The threshold that the alarm budget gave.
        feedback: Opinions; without any, `value` is returned.
    """
    opinions = list(feedback)
    if not opinions:
        return value
    margin = 1.02
    candidates = [value]
    candidates += [one.peak_error * margin for one in opinions if one.opinion == "false-alarm"]
    candidates += [one.peak_error / margin for one in opinions if one.opinion == "real"]

    def disagreements(threshold: float) -> int:
        return sum((one.peak_error > threshold) != (one.opinion == "real") for one in opinions)

    return min(candidates, key=lambda threshold: (disagreements(threshold), abs(threshold - value)))


def _num_common(one: str, other: str) -> int:
    """Return how many characters the beginnings of two texts have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _shown(identifiers: Sequence[str]) -> str:
    """Join the first ids for a message, and count the others."""
    more = len(identifiers) - _MOST_SHOWN
    return ", ".join(identifiers[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def incidents_of(path: Path) -> list[Mapping[str, Any]]:
    """Return all incidents of a report or of a file of alert messages, in the order of the file.

    Raises:
        DetectorError: The file cannot be read, or has something else.
    """
    text = _text_of(path)
    try:
        whole = json.loads(text)
        incidents = whole.get("incidents", [whole]) if isinstance(whole, dict) else whole
    except (ValueError, RecursionError):
        try:  # not splitlines: the name of a series may hold a Unicode line separator
            incidents = [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise DetectorError(f"{path}: neither JSON nor JSON lines: {error}") from error
    if isinstance(incidents, list) and all(isinstance(one, dict) for one in incidents):
        # A record of a decision names its incident by id; it is left to the caller as it is.
        found = [one.get("incident", one) if "action" not in one else one for one in incidents]
        if all(isinstance(one, dict) for one in found):
            return found
    raise DetectorError(f"{path}: holds no incidents; give a backtest's incidents.json")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DetectorError(f"{path}: cannot be read: {error}") from error
