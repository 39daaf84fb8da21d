"""The detector: what readings mean.

    from detector import Detector
    verdicts = Detector.load("models/pump").score(frame)

Names are imported when they are first used, so that reading a configuration loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.artifact import Artifact as Artifact
    from detector.backtest import Report as Report
    from detector.engine import Engine as Engine
    from detector.engine import EngineOptions as EngineOptions
    from detector.errors import ArtifactError as ArtifactError
    from detector.errors import ConfigError as ConfigError
    from detector.errors import DetectorError as DetectorError
    from detector.incidents import Incident as Incident
    from detector.library import Detector as Detector
    from detector.registry import open_artifact as open_artifact
    from detector.rules import IncidentRules as IncidentRules
    from detector.verdicts import State as State
    from detector.verdicts import Verdicts as Verdicts

_HOME = {
    "Artifact": "artifact",
    "ArtifactError": "errors",
    "ConfigError": "errors",
    "Detector": "library",
    "DetectorError": "errors",
    "Engine": "engine",
    "EngineOptions": "engine",
    "Incident": "incidents",
    "IncidentRules": "rules",
    "Report": "backtest",
    "State": "verdicts",
    "Verdicts": "verdicts",
    "open_artifact": "registry",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of names, kept with where they live


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'detector' has no attribute {name!r}")
    return getattr(import_module(f"detector.{_HOME[name]}"), name)
