"""What can run in the background. The model and its libraries are loaded in the new process alone."""

from __future__ import annotations

from typing import Any

from detector.explore.background.child import Report


def whatif(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Return what other settings find; see `detector.explore.whatif.replay.answer`."""
    from detector.explore.whatif.replay import answer

    return answer(task, report)


def model(task: dict[str, Any], report: Report) -> dict[str, Any]:
    """Return what there is to know about a model; see `detector.explore.model.summary.model_summary`."""
    from detector.explore.model.summary import model_summary

    return model_summary(task, report)
