"""Calibrate the threshold of a trained model again, for another alarm budget or with feedback.

The weights stay. The artifact keeps the errors of its held-out rows, so neither the training data nor a
new training is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Threshold
from detector.calibration.alarm_budget import shared_by
from detector.calibration.evidence_limits import with_evidence_limits
from detector.calibration.feedback import Feedback, adjust_to_feedback
from detector.calibration.peaks_over_threshold import peaks_over_threshold, sharpness_of
from detector.errors import ArtifactError


def recalibrated(
    artifact: Artifact,
    alarm_budget: str | None = None,
    feedback: Iterable[Feedback] = (),
    adaptive: bool | None = None,
) -> Artifact:
    """Return the same model with a threshold that is calibrated again.

    Args:
        artifact: The trained model.
        alarm_budget: The new alarm budget, such as "1/week" for each series or "3/day in all"; None keeps
            the budget of the model.
        feedback: Opinions on incidents. The threshold moves to the nearest value that agrees with most.
        adaptive: Whether a page level limits the alarms of each series; None keeps what the model has.

    Returns:
        The model, its version "unsaved".

    Raises:
        ArtifactError: The artifact keeps no held-out errors.
        ValueError: The budget cannot be read, or it is for all series and their number is unknown.
    """
    spec = artifact.spec
    held_out = artifact.held_out
    if "error" not in held_out or len(held_out["error"]) == 0:
        raise ArtifactError(f"model {spec.name}: keeps no held-out errors to calibrate with; train it again")
    budget = shared_by(alarm_budget or spec.threshold.alarm_budget, spec.num_series)
    adapts = spec.threshold.limit is not None if adaptive is None else adaptive
    segment = held_out["segment"].astype(np.int64)

    def calibrated(column: str) -> Threshold:
        return peaks_over_threshold(held_out[column], segment, budget, spec.interval_ns, adapts)

    threshold = _with_feedback(calibrated("error"), held_out["error"], feedback)
    if spec.scoring.delay:
        threshold = replace(threshold, fresh=calibrated("fresh").value)
    spec = replace(spec, threshold=threshold)
    return replace(artifact, spec=with_evidence_limits(spec, budget), version="unsaved")


def _with_feedback(
    threshold: Threshold, errors: NDArray[np.float64], feedback: Iterable[Feedback]
) -> Threshold:
    """Return the threshold moved by opinions on incidents; without any that move it, the same."""
    value = adjust_to_feedback(threshold.value, feedback)
    if value == threshold.value:
        return threshold
    sharpness = sharpness_of(errors[np.isfinite(errors)], value)
    method = f"{threshold.method} and feedback"
    return replace(threshold, value=value, sharpness=sharpness, method=method)
