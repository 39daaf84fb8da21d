"""The detector: readings in, verdicts and incidents out.

    from detector import Detector
    verdicts = Detector.load("models/pump").score(frame)

Names are imported when they are first used, so that reading a configuration loads no torch. The names listed
here are the public ones; modules below may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.api import BacktestResult as BacktestResult
    from detector.api import Detector as Detector
    from detector.api import backtest as backtest
    from detector.artifact.registry import open_artifact as open_artifact
    from detector.artifact.spec import Artifact as Artifact
    from detector.engine.engine import Engine as Engine
    from detector.engine.engine import EngineOptions as EngineOptions
    from detector.errors import ArtifactError as ArtifactError
    from detector.errors import ConfigError as ConfigError
    from detector.errors import DetectorError as DetectorError
    from detector.incidents.incident import Incident as Incident
    from detector.incidents.rules import IncidentRules as IncidentRules
    from detector.offline.backtest import Report as Report
    from detector.scoring.verdicts import State as State
    from detector.scoring.verdicts import Verdicts as Verdicts

_HOME = {
    "Artifact": "artifact.spec",
    "ArtifactError": "errors",
    "BacktestResult": "api",
    "ConfigError": "errors",
    "Detector": "api",
    "DetectorError": "errors",
    "Engine": "engine.engine",
    "EngineOptions": "engine.engine",
    "Incident": "incidents.incident",
    "IncidentRules": "incidents.rules",
    "Report": "offline.backtest",
    "State": "scoring.verdicts",
    "Verdicts": "scoring.verdicts",
    "backtest": "api",
    "open_artifact": "artifact.registry",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of names, kept with where they live


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'detector' has no attribute {name!r}")
    return getattr(import_module(f"detector.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names too, before their first use."""
    return sorted({*globals(), *_HOME})
