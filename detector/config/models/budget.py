"""The alarm budget that a daemon sets for one of its models, in place of the model's own."""

from __future__ import annotations

from dataclasses import replace

from connectors.errors import ConnectorError
from connectors.objects.names import without_secrets
from detector.artifact.spec import Artifact
from detector.calibration.alarm_budget import shared_by
from detector.calibration.recalibrate import recalibrated
from detector.calibration.stored_feedback import feedback_at
from detector.config.models.section import ModelSection, ModelsSection
from detector.errors import ArtifactError, DetectorError


def with_budget(artifact: Artifact, entry: ModelSection) -> Artifact:
    """Return the model with the alarm budget of its entry of [[models]]; itself where that has none.

    The threshold is calibrated again as `streamgauge calibrate` does it, with the held-out errors and the
    opinions that the model keeps. The version stays: weights and windows are the same.

    Args:
        artifact: the model.
        entry: its section; only one of [[models]] can have a budget.

    Raises:
        ArtifactError: the model keeps no held-out errors, the budget does not fit it, or its opinions cannot
            be read.
    """
    if not isinstance(entry, ModelsSection) or entry.alarm_budget is None:
        return artifact
    try:
        budget = shared_by(entry.alarm_budget, artifact.spec.num_series)
        if budget == artifact.spec.threshold.alarm_budget:
            return artifact
        found = recalibrated(artifact, budget, feedback_at(entry.path))
    except (ConnectorError, DetectorError, ValueError) as error:
        raise ArtifactError(
            f"{without_secrets(entry.path)}: [[models]] alarm_budget {entry.alarm_budget!r}: {error};"
            " or remove alarm_budget"
        ) from error
    return replace(found, version=artifact.version)
