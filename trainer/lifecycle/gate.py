"""The gate: what a candidate must show before it is used.

Each check has one question, and one of three answers: passed, failed, or not asked, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from connectors.parquet.dataset import Dataset
from detector.artifact.spec import Artifact
from detector.errors import ArtifactError
from detector.service.reload.model_watcher import check_compatible
from trainer.config import ModelOptions, config_of
from trainer.errors import TooLittleDataError, TrainerError
from trainer.lifecycle.evidence import Evidence, Measured, between, measure
from trainer.pipeline import TrainingData, fit_source

Answer = Literal["passed", "failed", "not asked"]
_WORSE = 0.05
"""A model that finds fewer injected faults by more than this share of all is worse."""
_MOST_IN_ALARM = 0.1
"""A model that is in alarm for more than this share of held-back time, without a known fault, is refused."""
_COARSER = 2.0
"""Times that the smallest fault of a model may be larger, on average, where no rows can be compared."""
NO_ROWS = "no held-back rows: give --history with rows after the end of its training"


@dataclass(frozen=True, slots=True)
class Check:
    """Hold one question to a candidate: its name, the answer, and what was found, in words."""

    name: str
    answer: Answer
    detail: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """Hold what the gate found.

    checks   in the order in which they were asked
    figures  what was measured, by model: candidate, current, linear
    """

    checks: tuple[Check, ...]
    figures: dict[str, Measured]

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the checks that refuse the candidate."""
        return tuple(one for one in self.checks if one.answer == "failed")

    def as_json(self) -> dict[str, Any]:
        """Return this as plain JSON values."""
        return {
            "checks": [{"name": o.name, "answer": o.answer, "detail": o.detail} for o in self.checks],
            "figures": {name: _figures(one) for name, one in self.figures.items()},
        }


@dataclass(frozen=True, slots=True)
class Rivals:
    """Hold the models that a candidate is compared with; None where there is none, or why there is none."""

    current: Artifact | None
    linear: Artifact | str


def judge(candidate: Artifact, rivals: Rivals, evidence: Evidence | None, on_rows: OnRows) -> Judgement:
    """Ask a candidate all questions for which there are rows.

    Args:
        candidate: The version that is to be used.
        rivals: What it is compared with.
        evidence: Rows; None where none were given.
        on_rows: Receives the number of readings of each replayed batch.
    """
    fits = _fits(candidate, rivals.current)
    if fits.answer == "failed":
        return Judgement((fits,), {})
    if evidence is None or evidence.rows is None:
        checks = (fits, *_without_rows("no rows: give --history"), _tables(candidate, rivals.current))
        return Judgement(checks, {})
    models = {"candidate": candidate, "current": rivals.current, "linear": rivals.linear}
    unit = (rivals.current or candidate).spec
    figures = {
        name: measure(evidence, model, unit, on_rows)
        for name, model in models.items()
        if isinstance(model, Artifact)
    }
    checks = (
        fits,
        _known(figures, len(evidence.faults)),
        _budget(figures["candidate"]),
        _against("linear model", figures, "linear", rivals.linear if isinstance(rivals.linear, str) else ""),
        _against("current model", figures, "current", "" if rivals.current else "there is none"),
    )
    if figures["candidate"].share is None:
        checks = (*checks, _tables(candidate, rivals.current))
    return Judgement(checks, figures)


OnRows = Callable[[int], None]


def linear_rival(candidate: Artifact, dataset: Dataset, until_ns: int) -> Artifact | str:
    """Return a linear model of the rows before a time, or in words why there is none.

    It has the options of the candidate's training except the model, so that both learn from the same rows.
    """
    if candidate.spec.family == "linear":
        return "the candidate is a linear model itself"
    try:
        config = config_of(candidate.spec.training)
    except TrainerError:
        return "the candidate does not state the options of its training"
    config = config.model_copy(
        update={
            "name": candidate.spec.name,
            "model": ModelOptions(family="linear", stride=candidate.spec.stride),
            "data": config.data.model_copy(update={"incidents": None}),
        }
    )
    source = TrainingData(between(dataset, 0, until_ns), dataset.channels, candidate.spec.interval_ns)
    try:
        return fit_source(source, config)
    except TooLittleDataError:
        return "--history has too few rows from before the end of its training to fit one"


def is_better(figures: dict[str, Measured]) -> tuple[bool, str]:
    """Return whether a candidate that the gate passes is better than the current model, and in what."""
    new, old = figures["candidate"], figures["current"]
    reasons = []
    if len(new.found) > len(old.found):
        reasons.append(f"it finds {len(new.found)} known faults instead of {len(old.found)}")
    if new.share is not None and old.share is not None and new.share > old.share + _WORSE:
        reasons.append(f"it finds {new.share:.0%} of the injected faults instead of {old.share:.0%}")
    if new.alarms is not None and old.alarms is not None and new.alarms < old.alarms:
        reasons.append(f"it raises {new.alarms} alarms on held-back rows instead of {old.alarms}")
    return bool(reasons), "; ".join(reasons) or "it is not better than the current one on held-back rows"


def _fits(candidate: Artifact, current: Artifact | None) -> Check:
    """Check that a daemon that runs the current version would take the candidate."""
    if current is None:
        return Check("fits", "passed", "there is no current version")
    try:
        check_compatible(current.spec, candidate.spec)
    except ArtifactError as error:
        return Check("fits", "failed", str(error))
    new, old = candidate.spec, current.spec
    missing = sorted(set(old.channel_names) - set(new.channel_names))
    if missing:
        return Check("fits", "failed", f"it lacks channels of the current one: {', '.join(missing)}")
    if (new.window, new.stride, new.channel_names) != (old.window, old.stride, old.channel_names):
        return Check(
            "fits", "passed", f"series will warm up: window {old.window} rows before, {new.window} now"
        )
    return Check("fits", "passed", "every series keeps its window")


def _without_rows(reason: str) -> tuple[Check, ...]:
    names = ("known incidents", "alarm budget", "linear model", "current model")
    return tuple(Check(name, "not asked", reason) for name in names)


def _known(figures: dict[str, Measured], num: int) -> Check:
    """Check that each known fault that the current model finds is still found."""
    name = "known incidents"
    if not num:
        return Check(name, "not asked", "none is known in these rows: give --incidents, or a column label")
    found = figures["candidate"].found
    before = figures["current"].found if "current" in figures else frozenset(range(num))
    lost = before - found
    words = f"{len(found)} of {num} found" + (
        f", {len(before)} by the current one" if "current" in figures else ""
    )
    return Check(name, "failed" if lost else "passed", words + (f"; {len(lost)} no longer" if lost else ""))


def _budget(found: Measured) -> Check:
    """Check the number of alarms, and their time: one alarm without an end is within every budget."""
    if found.alarms is None or found.allowed is None or found.in_alarm is None:
        return Check("alarm budget", "not asked", NO_ROWS)
    words = (
        f"{found.alarms} alarms on held-back rows, {found.in_alarm:.0%} of the time; up to {found.allowed}"
        " agree with the budget"
    )
    is_kept = found.alarms <= found.allowed and found.in_alarm <= _MOST_IN_ALARM
    return Check("alarm budget", "passed" if is_kept else "failed", words)


def _against(name: str, figures: dict[str, Measured], rival: str, reason: str) -> Check:
    """Check that the candidate finds about as many injected faults as a rival."""
    if rival not in figures:
        return Check(name, "not asked", reason)
    new, old = figures["candidate"].share, figures[rival].share
    if new is None or old is None:
        return Check(name, "not asked", NO_ROWS)
    words = f"finds {new:.0%} of injected faults, the {name} {old:.0%}"
    return Check(name, "failed" if new < old - _WORSE else "passed", words)


def _tables(candidate: Artifact, current: Artifact | None) -> Check:
    """Check what both state that they find, measured in their trainings on rows of their own."""
    name = "stated faults"
    if current is None:
        return Check(name, "not asked", "there is no current version")
    sizes = [
        {(one.channel, one.kind, one.rows): one.smallest for one in model.spec.detectable}
        for model in (candidate, current)
    ]
    found = {key: size for key, size in sizes[1].items() if size}
    ratios = [float(sizes[0].get(key) or np.inf) / size for key, size in found.items()]
    if not ratios:
        return Check(name, "not asked", "the current version states none")
    ratio = float(np.exp(np.median(np.log(ratios))))
    words = (
        "hardly any fault that the current one states is found"
        if np.isinf(ratio)
        else f"its smallest faults are {ratio:.2g} times those of the current one, by their own trainings"
    )
    return Check(name, "failed" if ratio > _COARSER else "passed", words)


def _figures(measured: Measured) -> dict[str, Any]:
    share = None if measured.share is None else round(measured.share, 4)
    return {
        "known_found": len(measured.found),
        "alarms": measured.alarms,
        "alarms_allowed": measured.allowed,
        "time_in_alarm": None if measured.in_alarm is None else round(measured.in_alarm, 4),
        "injected_found": share,
    }
