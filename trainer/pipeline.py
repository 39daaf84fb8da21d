"""Training from end to end: history -> windows -> weights -> calibration -> artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from connectors.parquet import RESERVED, Chunk, Dataset, discover, read_chunks
from detector import models
from detector.artifact import Artifact, Scoring, Spec
from detector.models.linear import LinearAutoencoder
from trainer.calibrate import calibrate, describe_channels, held_out_residuals, unfitted_threshold
from trainer.card import model_card
from trainer.checkpoint import Checkpoints, FitResult
from trainer.config import TrainConfig
from trainer.errors import TooLittleDataError, TrainerError
from trainer.fitting import Halves, fit_gradient, fit_linear
from trainer.history import Chunks, History, Shares, build_history
from trainer.progress import Report, quiet
from trainer.sampling import Windows
from trainer.scaling import channel_statistics

DEFAULT_WINDOW = 64
MIN_WINDOW = 4
_WINDOWS_IN_HISTORY = 10


@dataclass(frozen=True, slots=True)
class Source:
    """Rows to learn from: `chunks` is called twice and gives the same rows both times."""

    chunks: Chunks
    channels: tuple[str, ...]
    interval_ns: int | None


def source_of(
    data: str | Path | Sequence[str | Path] | pd.DataFrame, channels: tuple[str, ...] | None = None
) -> Source:
    """History from Parquet or from a frame with a DatetimeIndex (and optionally a `series` column)."""
    if isinstance(data, pd.DataFrame):
        return _frame_source(data, channels)
    dataset = discover(data, channels)
    return Source(_chunks_of(dataset), dataset.channels, dataset.interval_ns)


def fit_source(
    source: Source, config: TrainConfig, report: Report = quiet, checkpoint: Path | None = None
) -> Artifact:
    """Train, calibrate and describe a model of `source`; nothing is written but the checkpoint.

    `checkpoint` is the directory of the state after each epoch; a state found there is gone on from.
    Raises TooLittleDataError where window and splits do not fit the rows, TrainerError for the rest.
    """
    report(0.0, "reading the history")
    interval = config.data.interval_seconds
    interval_ns = round(interval * 1e9) if interval is not None else source.interval_ns
    threads = torch.get_num_threads()
    torch.set_num_threads(config.fit.threads)
    try:
        with build_history(source.chunks, source.channels, interval_ns, config.data.max_gap) as history:
            return _fit_history(history, config, report, checkpoint)
    finally:
        torch.set_num_threads(threads)


def _fit_history(history: History, config: TrainConfig, report: Report, checkpoint: Path | None) -> Artifact:
    shares = Shares(config.data.validation_share, config.data.calibration_share)
    window = config.model.window or default_window(_longest_series(history))
    train = history.part("train", shares)
    statistics = channel_statistics(history, train, window)
    later = history.part("validation", shares)
    halves = Halves(
        Windows(history, train, statistics.center, statistics.scale, window),
        Windows(history, later, statistics.center, statistics.scale, window),
    )
    if len(halves.train) == 0 or len(halves.validation) == 0:
        raise TooLittleDataError(
            f"{history.num_rows} rows are too few for a window of {window}: training and validation"
            f" ({shares.validation:.0%} of the rows) each need at least one whole window without a long"
            " gap; use a smaller window, more history or a larger max_gap"
        )
    module, hyperparameters = _new_module(config, window, len(history.channels))
    if isinstance(module, LinearAutoencoder):
        fit_linear(module, halves.train, config.fit.seed)
        result = FitResult(stopped="closed_form")
    else:
        store = Checkpoints(checkpoint, _identity(history, config, window)) if checkpoint else None
        result = fit_gradient(module, hyperparameters["loss"], halves, config.fit, report, store)
    module.cpu().eval()
    report(1.0, "calibrating")
    residuals = held_out_residuals(module, halves.validation)
    spec = Spec(
        name=config.name or "model",
        family=config.model.family,
        hyperparameters=hyperparameters,
        channels=describe_channels(
            history.channels, statistics, residuals, config.data.valid_range, config.scoring.plain
        ),
        interval_ns=history.interval_ns,
        window=window,
        stride=config.model.stride,
        batch_size=config.scoring.batch_size,
        max_gap=config.data.max_gap,
        scoring=Scoring(config.scoring.delay, config.scoring.smooth or max(1, window // 8)),
        threshold=unfitted_threshold(config.scoring.alarm_budget),
        training=_training_record(history, shares, config, result),
    )
    artifact = calibrate(spec, module, history, history.part("calibration", shares), residuals)
    return replace(artifact, card=model_card(artifact.spec))


def default_window(num_rows: int) -> int:
    """64 rows, or a tenth of a series of `num_rows` where that is less; at least 4."""
    return max(MIN_WINDOW, min(DEFAULT_WINDOW, num_rows // _WINDOWS_IN_HISTORY))


def _longest_series(history: History) -> int:
    rows: dict[str, int] = {}
    for segment in history.segments:
        rows[segment.series] = rows.get(segment.series, 0) + segment.length
    return max(rows.values())


def _new_module(
    config: TrainConfig, window: int, num_channels: int
) -> tuple[torch.nn.Module, dict[str, Any]]:
    try:
        hyperparameters = models.resolve(
            config.model.family, config.model.hyperparameters(), window, num_channels
        )
        torch.manual_seed(config.fit.seed)
        return models.build(config.model.family, hyperparameters, window, num_channels), hyperparameters
    except ValueError as error:
        raise TrainerError(f"model: {error}") from error


def _identity(history: History, config: TrainConfig, window: int) -> str:
    """What the weights depend on; epochs may be added and the device changed when training is resumed."""
    parts = (
        history.fingerprint,
        history.interval_ns,
        window,
        config.model.model_dump_json(exclude={"window", "stride"}),
        config.data.model_dump_json(exclude={"valid_range"}),
        config.fit.model_dump_json(exclude={"max_epochs", "device"}),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _training_record(
    history: History, shares: Shares, config: TrainConfig, result: FitResult
) -> dict[str, Any]:
    """What the artifact keeps of how it came to be; plain JSON values."""
    losses = result.train_losses
    return {
        "rows": history.num_rows,
        "num_series": len({segment.series for segment in history.segments}),
        "fingerprint": history.fingerprint,
        "train": round(100 * (1 - shares.validation - shares.calibration)),
        "validation": round(100 * shares.validation),
        "calibration": round(100 * shares.calibration),
        "epochs": len(losses),
        "best_epoch": result.best_epoch + 1 if losses else 0,
        "stopped": result.stopped.replace("_", " "),
        "train_loss": losses[result.best_epoch] if losses else 0.0,
        "validation_loss": result.best_loss if losses else 0.0,
        "train_losses": losses,
        "validation_losses": result.validation_losses,
        "seed": config.fit.seed,
        "config": config.model_dump(mode="json"),
    }


def _chunks_of(dataset: Dataset) -> Chunks:
    return lambda: read_chunks(dataset)


def _frame_source(frame: pd.DataFrame, channels: tuple[str, ...] | None) -> Source:
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise TrainerError(
            f"the frame's index is {type(frame.index).__name__}; it must be a DatetimeIndex:"
            ' try frame.set_index(pd.to_datetime(frame["timestamp"], utc=True))'
        )
    if frame.index.hasnans:
        raise TrainerError("the frame's index has missing times (NaT); every row needs its time")
    numeric = [str(c) for c in frame.select_dtypes(["number", "bool"]).columns if c not in RESERVED]
    wanted = channels or tuple(numeric)
    missing = [name for name in wanted if name not in frame.columns]
    if missing or not wanted:
        raise TrainerError(f"the frame lacks numeric channels{': ' + ', '.join(missing) if missing else ''}")
    utc = frame.index.tz_localize("UTC") if frame.index.tz is None else frame.index.tz_convert("UTC")
    values = frame[list(wanted)].to_numpy(dtype=np.float64)
    codes, names = pd.factorize(frame["series"].astype(str) if "series" in frame else np.zeros(len(frame)))
    chunk = Chunk(
        utc.tz_localize(None).to_numpy().astype("M8[ns]").view(np.int64),
        tuple(str(name) for name in names) if "series" in frame else ("series",),
        codes.astype(np.int32),
        np.where(np.isinf(values), np.nan, values),
        None,
        None,
    )
    chunks: Callable[[], Any] = lambda: iter([chunk])  # noqa: E731  # a source is a function of nothing
    return Source(chunks, wanted, None)
