"""Another alarm budget for a trained model: its threshold is learnt anew, its weights stay.

The artifact keeps the errors of its held-out rows, so neither the history nor a training is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Adaptation, Artifact, Threshold
from detector.calibration.alarm_budget import parse_budget
from detector.calibration.feedback import Feedback, separating
from detector.calibration.peaks_over_threshold import peaks_over_threshold, sharpness_of
from detector.errors import ArtifactError


def recalibrated(
    artifact: Artifact,
    alarm_budget: str | None = None,
    feedback: Iterable[Feedback] = (),
    adaptive: bool | None = None,
) -> Artifact:
    """The same model with its threshold learnt anew; None keeps what it has.

    `feedback` on incidents moves the threshold to where it agrees with most of it: a false alarm's error
    lies below, a real incident's above. Raises ArtifactError for an artifact without held-out errors, and
    ValueError for a budget that is none.
    """
    spec = artifact.spec
    held_out = artifact.held_out
    if "error" not in held_out or len(held_out["error"]) == 0:
        raise ArtifactError(f"model {spec.name}: keeps no held-out errors to calibrate with; train it again")
    budget = alarm_budget or spec.threshold.alarm_budget
    parse_budget(budget)
    follows = spec.threshold.adaptation is not None if adaptive is None else adaptive
    segment = held_out["segment"].astype(np.int64)

    def learnt(column: str) -> Threshold:
        return peaks_over_threshold(held_out[column], segment, budget, spec.interval_ns, follows)

    threshold = learnt("error")
    value = separating(threshold.value, feedback)
    if value != threshold.value:
        threshold = replace(
            threshold,
            value=value,
            sharpness=sharpness_of(_known(held_out["error"]), value),
            method=f"{threshold.method} and feedback",
            adaptation=_floored(threshold, value),
        )
    if spec.scoring.delay:
        threshold = replace(threshold, fresh=learnt("fresh").value)
    return replace(artifact, spec=replace(spec, threshold=threshold), version="unsaved")


def _known(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    return errors[np.isfinite(errors)]


def _floored(threshold: Threshold, value: float) -> Adaptation | None:
    """The adaptation of a threshold that was moved to `value`: one raised for false alarms never sinks below
    the old threshold again, of one that was lowered the floor stays the same error."""
    adaptation = threshold.adaptation
    if adaptation is None:
        return None
    floor = threshold.value if value > threshold.value else adaptation.lowest * threshold.value
    return replace(adaptation, lowest=min(1.0, floor / value))
