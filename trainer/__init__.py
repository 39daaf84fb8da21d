"""The trainer: history in, artifacts out; and the evaluation of models on labelled data.

    from trainer import evaluate, fit
    artifact = fit("history/", alarm_budget="1/week", out="models/pump")
    figures = evaluate("labelled/").files

Names are imported when they are first used, so that `import trainer` loads neither torch nor pandas.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from detector.artifact.spec import Artifact
    from trainer.config import DataOptions as DataOptions
    from trainer.config import FitOptions as FitOptions
    from trainer.config import ModelOptions as ModelOptions
    from trainer.config import ScoringOptions as ScoringOptions
    from trainer.config import TrainConfig as TrainConfig
    from trainer.errors import TooLittleDataError as TooLittleDataError
    from trainer.errors import TrainerError as TrainerError
    from trainer.evaluation.options import EvaluationOptions as EvaluationOptions
    from trainer.evaluation.results import EvaluationResult as EvaluationResult

_logger = logging.getLogger(__name__)

_HOME = {
    "DataOptions": "config",
    "EvaluationOptions": "evaluation.options",
    "EvaluationResult": "evaluation.results",
    "FitOptions": "config",
    "ModelOptions": "config",
    "ScoringOptions": "config",
    "TooLittleDataError": "errors",
    "TrainConfig": "config",
    "TrainerError": "errors",
}

__all__ = sorted([*_HOME, "evaluate", "fit"])  # noqa: PLE0605  # one list of names, kept with where they live


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    return getattr(import_module(f"trainer.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def fit(
    data: str | Path | pd.DataFrame,
    model: str | None = None,
    window: int | None = None,
    alarm_budget: str | None = None,
    out: str | Path | None = None,
    config: TrainConfig | None = None,
) -> Artifact:
    """Train and calibrate a model; with `out`, publish it there.

    The first version of a model is in use at once. A later one is a candidate, until somebody promotes it:
    `streamgauge models promote`.

    Progress is shown on standard error if that is a terminal, and in a notebook. The environment variable
    STREAMGAUGE_PROGRESS overrides this: 0 hides the progress, 1 shows it.
    Warnings of the data report are logged.

    Args:
        data: A Parquet or CSV file or directory, or a frame with a DatetimeIndex and one column per channel.
            A column `series` separates several series.
        model: "ensemble" (the default), or one family: "linear", "mlp", "deep", "conv", "lstm", "gru",
            "vae" or "memory".
        window: Rows that the model sees at once; None: a length that suits the data.
        alarm_budget: False alarms allowed: "1/week" for each series (the default), or such as "3/day in all".
        out: Registry entry to publish to, such as "models/pump".
        config: All other options; the parameters before it override it.

    Returns:
        The artifact, to be used as `detector.Detector(artifact)`.

    Raises:
        TrainerError: The data or an option cannot be used, or the data report has a finding that stops the
            training and is not in `config.data.accept`; the message gives the remedy.
        ParquetError: The files cannot be read.
        ArtifactError: The model cannot be published.
    """
    from detector.artifact.registry import propose
    from trainer.config import TrainConfig, override

    config = config or TrainConfig()
    name = None if out is None or config.name is not None else Path(out).name
    changes: dict[str, dict[str, object]] = {
        "model": {"family": model, "window": window},
        "scoring": {"alarm_budget": alarm_budget},
    }
    artifact = _trained(data, override(config, name, changes))
    return artifact if out is None else propose(artifact, Path(out))


def _trained(data: str | Path | pd.DataFrame, config: TrainConfig) -> Artifact:
    """Check the data, log what it warns of, and train."""
    from trainer.pipeline import fit_source, source_of
    from trainer.progress import is_wanted, reporting
    from trainer.report.report import checked

    source = source_of(data, config.data.channels, config.data.names())
    with reporting(f"training {config.name or config.model.family}", is_wanted()) as report:
        found = checked(data, config.data.channels, config.data.accept, names=config.data.names())
        for finding in found.findings:
            if finding.severity == "warning":
                _logger.warning("%s", finding.line())
        return fit_source(source, config, report)


def evaluate(
    directory: str | Path, options: EvaluationOptions | None = None, jobs: int | None = None
) -> EvaluationResult:
    """Measure a model on labelled files: each file is fitted on its training rows, then every row is scored.

    Each file is a Parquet file with one series and the columns `label` and `split` (docs/evaluation.md).
    Progress is shown as by `fit`.

    Args:
        directory: Labelled files, or one such file.
        options: What to fit and which figures to report; None: the ensemble with its defaults.
        jobs: Files at a time, each in its own process; None: one, in this process. A script that uses several
            must start its work under `if __name__ == "__main__":`.

    Returns:
        The figures per file (`files`, a frame), the figures of all files together (`pooled`), and the files
        that could not be evaluated (`failures`).

    Raises:
        TrainerError: There is no file, or no file could be evaluated with these options.
    """
    from trainer.evaluation.evaluate import evaluate as evaluate_files
    from trainer.evaluation.options import EvaluationOptions
    from trainer.progress import is_wanted, reporting

    options = options or EvaluationOptions()
    with reporting(f"evaluating {options.family}", is_wanted()) as report:
        return evaluate_files(Path(directory), options, 1 if jobs is None else jobs, report)
