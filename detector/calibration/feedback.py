"""What people said of incidents: kept with the model, used when its threshold is calibrated again.

A registry entry keeps them in `feedback.jsonl`, one line a verdict, beside the versions: they outlive
each version. Saying something again of an incident replaces what was said before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from detector.artifact.spec import Threshold
from detector.errors import DetectorError

FILE = "feedback.jsonl"
Opinion = Literal["false-alarm", "real"]
OPINIONS: tuple[Opinion, ...] = get_args(Opinion)
_MOST_ERROR = 1e300
"""A threshold learnt from it is finite."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's verdict on an incident. `peak_error` is in units of an error of 1 of `version`, so that it
    can be compared with that version's threshold. Raises ValueError for what no verdict can be."""

    incident: str
    opinion: Opinion
    series: str
    start: str
    version: str
    peak_error: float

    def __post_init__(self) -> None:
        if self.opinion not in OPINIONS:
            raise ValueError(f"opinion {self.opinion!r} is none of {', '.join(OPINIONS)}")
        if not all(isinstance(one, str) for one in (self.incident, self.series, self.start, self.version)):
            raise ValueError("incident, series, start and version must be texts")
        peak: object = self.peak_error
        if not isinstance(peak, int | float) or not 0 < peak <= _MOST_ERROR:
            raise ValueError(f"the error of its peak must be a number above 0 and up to {_MOST_ERROR:g}")


def feedback_on(incident: Mapping[str, Any], opinion: Opinion, threshold: Threshold) -> Feedback:
    """Of an incident as `detector.delivery.messages.incident_json` writes it, against the model's `threshold`.

    Raises DetectorError where it is no incident of a score.
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
    score = float(value)
    if not score > 0:
        raise ValueError(f"the score of its peak is {score:g}")
    return score


def read_feedback(entry: Path) -> tuple[Feedback, ...]:
    """All that was said of a model's incidents, the newest opinion on each. Raises DetectorError."""
    path = entry / FILE
    if not path.exists():
        return ()
    found: dict[str, Feedback] = {}
    for number, line in enumerate(_text_of(path).splitlines(), 1):
        try:
            one = Feedback(**json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise DetectorError(f"{path}, line {number}: damaged: {error}; delete the line") from error
        found[one.incident] = one
    return tuple(found.values())


def add_feedback(entry: Path, feedback: Feedback) -> None:
    """Append; on disk when this returns. Raises DetectorError where it cannot be written."""
    path = entry / FILE
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(feedback)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DetectorError(f"{path}: cannot be written: {error.strerror or error}") from error


def find_incident(path: Path, identifier: str) -> Mapping[str, Any]:
    """The incident in a backtest's incidents.json, or in a file of alert messages, one JSON a line; its last
    state. Raises DetectorError that says which incidents there are."""
    incidents = _incidents_of(path)
    found = [one for one in incidents if str(one.get("id", "")).startswith(identifier)]
    matching = {str(one["id"]) for one in found}
    if len(matching) != 1:
        known = ", ".join(sorted({str(one.get("id")) for one in incidents})[:5]) or "none"
        what = "several incidents begin" if matching else "no incident begins"
        raise DetectorError(f"{path}: {what} with {identifier!r}; there are: {known}")
    return found[-1]


def separating(value: float, feedback: Iterable[Feedback]) -> float:
    """The threshold nearest to `value` that agrees with the most opinions.

    One false alarm less is worth one real incident: errors of false alarms should lie at or below it, those
    of real ones above.
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


def _incidents_of(path: Path) -> list[Mapping[str, Any]]:
    text = _text_of(path)
    try:
        whole = json.loads(text)
        incidents = whole.get("incidents", [whole]) if isinstance(whole, dict) else whole
    except (ValueError, RecursionError):
        try:  # not splitlines: a series' name may hold what Unicode calls the end of a line
            incidents = [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise DetectorError(f"{path}: neither JSON nor a JSON a line: {error}") from error
    if isinstance(incidents, list) and all(isinstance(one, dict) for one in incidents):
        found = [one.get("incident", one) for one in incidents]
        if all(isinstance(one, dict) for one in found):
            return found
    raise DetectorError(f"{path}: holds no incidents; give a backtest's incidents.json")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DetectorError(f"{path}: cannot be read: {error}") from error
