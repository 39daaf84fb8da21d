"""`streamgauge backtest --fallback`: a history as the fallback of a daemon judges it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import ConfigError

if TYPE_CHECKING:
    from detector.artifact.spec import Artifact
    from detector.config.schema import Config
    from detector.engine.engine import EngineOptions

_NEEDS_MODEL = ("report", "compare", "budgets", "plots")


def check_model_flags(args: argparse.Namespace) -> None:
    """Refuse flags that do not fit --fallback or a model. Raises ConfigError."""
    if not args.fallback:
        if args.artifact is None:
            raise ConfigError("backtest: no ARTIFACT; name a model, or judge without one by --fallback")
        return
    if args.artifact is not None:
        raise ConfigError(
            f"backtest: {args.artifact}: --fallback judges without a model; name the data alone"
        )
    for flag in _NEEDS_MODEL:
        if getattr(args, flag, None):
            raise ConfigError(f"--{flag}: needs a model; without one there are --out and --json")


def fallback_of(
    args: argparse.Namespace, options: EngineOptions, config: Config | None
) -> tuple[Artifact, EngineOptions]:
    """Return the model of the only kind of the data, and the options with which a daemon judges it.

    Args:
        args: the flags.
        options: those of the engine by the other flags.
        config: the configuration of the daemon; None: its defaults.

    Raises:
        ParquetError, DetectorError: as `detector.offline.fallback_kind.kind_in`.
    """
    from detector.artifact.fallback.statistical import statistical_model
    from detector.config.models.fallback import FallbackSection
    from detector.offline.fallback_kind import kind_in
    from detector.scoring.cold.learnt_scales import ColdOptions

    patterns = tuple(pattern for pattern in (args.series or "").split(",") if pattern)
    section = FallbackSection() if config is None else config.fallback
    channels = kind_in(Path(args.data), patterns)
    artifact = statistical_model(channels, round(section.interval * 1e9), section.warmup_rows)
    cold = ColdOptions(enabled=True, warmup_rows=section.warmup_rows)
    return artifact, replace(options, device="cpu", threads=1, cold=cold)
