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

from connectors.parquet.dataset import RESERVED, Dataset, discover
from connectors.parquet.reader import Chunk, read_chunks
from detector.artifact.modules import build_members
from detector.artifact.spec import Artifact, Member, Scoring, Spec
from detector.models.ensemble import Ensemble
from trainer.calibrate import (
    calibrate,
    describe_channels,
    held_out_residuals,
    neutral,
    residual_columns,
    unfitted_threshold,
)
from trainer.config import TrainConfig
from trainer.data.channel_statistics import ChannelStatistics, channel_statistics
from trainer.data.history import Chunks, History, Segment, Shares, build_history
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TooLittleDataError, TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult
from trainer.fitting.gradient import Halves, fit_module
from trainer.fitting.members import default_max_gap, plan_members
from trainer.fitting.whitening import fit_whitening
from trainer.model_card import model_card
from trainer.progress import ProgressReport, quiet

_REFIT_EPOCHS, _REFIT_RATE = 3, 0.2


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to learn from: `chunks` is called twice and gives the same rows both times."""

    chunks: Chunks
    channels: tuple[str, ...]
    interval_ns: int | None


def source_of(
    data: str | Path | Sequence[str | Path] | pd.DataFrame, channels: tuple[str, ...] | None = None
) -> TrainingData:
    """History from Parquet or from a frame with a DatetimeIndex (and optionally a `series` column)."""
    if isinstance(data, pd.DataFrame):
        return _frame_source(data, channels)
    dataset = discover(data, channels)
    return TrainingData(_chunks_of(dataset), dataset.channels, dataset.interval_ns)


def fit_source(
    source: TrainingData, config: TrainConfig, report: ProgressReport = quiet, checkpoint: Path | None = None
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
        max_gap = config.data.max_gap
        if max_gap is None:
            max_gap = default_max_gap(config.model.window, len(source.channels))
        with build_history(source.chunks, source.channels, interval_ns, max_gap) as history:
            return _fit_history(history, config, max_gap, report, checkpoint)
    finally:
        torch.set_num_threads(threads)


def _fit_history(
    history: History, config: TrainConfig, max_gap: int, report: ProgressReport, checkpoint: Path | None
) -> Artifact:
    shares = Shares(config.data.validation_share, config.data.calibration_share)
    num_channels = len(history.channels)
    members = plan_members(config.model, _longest_series(history), num_channels, config.scoring.delay)
    fit_part = history.part("fit", shares)
    statistics = channel_statistics(history, fit_part, members[0].window)
    store = Checkpoints(checkpoint, _identity(history, config, members)) if checkpoint else None
    torch.manual_seed(config.fit.seed)
    module = build_members(members, num_channels)
    results = []
    for number, member in enumerate(members):
        windows = _windows(history, shares, statistics, member.window)
        told = _member_report(report, number, members)
        state = store.member(number) if store else None
        autoencoder = module[number].autoencoder
        results.append(
            fit_module(autoencoder, member.hyperparameters, windows.halves, config.fit, told, state)
        )
        autoencoder.cpu().eval()
        if config.scoring.whiten:
            fit_whitening(module[number].whitening, autoencoder, windows.fit, config.scoring.delay == 0)
    report(1.0, "calibrating")
    segments = history.part("calibration", shares)
    residuals = held_out_residuals(
        module[0].autoencoder, _reaching(history, segments, statistics, members[0].window)
    )
    spec = Spec(
        name=config.name or "model",
        members=neutral(members, 1 if num_channels == 1 else 2),
        channels=describe_channels(history.channels, statistics, residuals, config.data.valid_range),
        interval_ns=history.interval_ns,
        stride=config.model.stride,
        batch_size=config.scoring.batch_size,
        max_gap=max_gap,
        scoring=Scoring(min(config.scoring.delay, members[0].window - 1)),
        threshold=unfitted_threshold(config.scoring.alarm_budget),
        training=_training_record(history, shares, config, results),
    )
    artifact = calibrate(spec, module, history, segments, config.scoring.adaptive)
    if config.fit.refit:
        report(1.0, "learning from the newest rows")
        _refit(module, members, history, shares, statistics, config)
    table = artifact.calibration | residual_columns(spec, residuals)
    return replace(artifact, calibration=table, card=model_card(artifact.spec))


@dataclass(frozen=True, slots=True)
class _MemberWindows:
    """What one member learns from: `fit` holds the windows of both halves, for what has no validation."""

    halves: Halves
    fit: TrainingWindows


def _windows(history: History, shares: Shares, statistics: ChannelStatistics, window: int) -> _MemberWindows:
    """Windows that end in the validation part may begin in the training part.

    Raises TooLittleDataError where there is no window.
    """
    center, scale = statistics.center, statistics.scale
    train = TrainingWindows(history, history.part("train", shares), center, scale, window)
    validation = _reaching(history, history.part("validation", shares), statistics, window)
    fit = TrainingWindows(history, history.part("fit", shares), center, scale, window)
    if len(train) == 0 or len(validation) == 0:
        raise TooLittleDataError(
            f"{history.num_rows} rows are too few for a window of {window}: training needs at least one"
            f" whole window without a long gap in the first"
            f" {1 - shares.validation - shares.calibration:.0%} of the rows, and the {shares.validation:.0%}"
            " after them one that ends there; use a smaller window, more history or a larger max_gap"
        )
    return _MemberWindows(Halves(train, validation, fit), fit)


def _refit(
    module: Ensemble,
    members: tuple[Member, ...],
    history: History,
    shares: Shares,
    statistics: ChannelStatistics,
    config: TrainConfig,
) -> None:
    """Let trained and calibrated members learn from all rows, the newest of which the stream goes on from.

    The threshold stays that of rows which were held out. A member trained by gradients goes on from its
    weights for a few gentle epochs; closed forms and whitening are computed anew.
    """
    gentle = config.fit.model_copy(
        update={
            "max_epochs": min(_REFIT_EPOCHS, config.fit.max_epochs),
            "learning_rate": config.fit.learning_rate * _REFIT_RATE,
        }
    )
    for number, member in enumerate(members):
        everything = TrainingWindows(
            history, history.part("all", shares), statistics.center, statistics.scale, member.window
        )
        newest = _reaching(history, history.part("calibration", shares), statistics, member.window)
        autoencoder = module[number].autoencoder
        halves = Halves(everything, newest, everything)
        fit_module(autoencoder, member.hyperparameters, halves, gentle, quiet)
        autoencoder.cpu().eval()
        if config.scoring.whiten:
            fit_whitening(module[number].whitening, autoencoder, everything, config.scoring.delay == 0)


def _reaching(
    history: History, segments: tuple[Segment, ...], statistics: ChannelStatistics, window: int
) -> TrainingWindows:
    """The windows that end in `segments`."""
    reaching = history.reaching_back(segments, window - 1)
    return TrainingWindows(history, reaching, statistics.center, statistics.scale, window)


def _member_report(report: ProgressReport, number: int, members: tuple[Member, ...]) -> ProgressReport:
    """The progress of one member as a part of all members'."""
    if len(members) == 1:
        return report
    name = f"{members[number].family} {members[number].window}"

    def told(done: float, words: str, notable: bool = False) -> None:
        report((number + done) / len(members), f"{name}: {words}", notable)

    return told


def _longest_series(history: History) -> int:
    rows: dict[str, int] = {}
    for segment in history.segments:
        rows[segment.series] = rows.get(segment.series, 0) + segment.length
    return max(rows.values())


def _identity(history: History, config: TrainConfig, members: tuple[Member, ...]) -> str:
    """What the weights depend on; epochs may be added and the device changed when training is resumed."""
    parts = (
        history.fingerprint,
        history.interval_ns,
        [(member.family, member.window) for member in members],
        config.model.model_dump_json(exclude={"window", "stride"}),
        config.data.model_dump_json(exclude={"valid_range"}),
        config.fit.model_dump_json(exclude={"max_epochs", "device"}),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _training_record(
    history: History, shares: Shares, config: TrainConfig, results: list[FitResult]
) -> dict[str, Any]:
    """What the artifact keeps of how it came to be; plain JSON values. Losses are those of the first member
    that was trained by gradients."""
    shown = next((result for result in results if result.train_losses), results[0])
    losses = shown.train_losses
    return {
        "rows": history.num_rows,
        "num_series": len({segment.series for segment in history.segments}),
        "fingerprint": history.fingerprint,
        "train": round(100 * (1 - shares.validation - shares.calibration)),
        "validation": round(100 * shares.validation),
        "calibration": round(100 * shares.calibration),
        "epochs": len(losses),
        "best_epoch": shown.best_epoch + 1 if losses else 0,
        "stopped": shown.stopped.replace("_", " "),
        "train_loss": losses[shown.best_epoch] if losses else 0.0,
        "validation_loss": shown.best_loss if losses else 0.0,
        "train_losses": losses,
        "validation_losses": shown.validation_losses,
        "seed": config.fit.seed,
        "config": config.model_dump(mode="json"),
    }


def _chunks_of(dataset: Dataset) -> Chunks:
    return lambda: read_chunks(dataset)


def _frame_source(frame: pd.DataFrame, channels: tuple[str, ...] | None) -> TrainingData:
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
    return TrainingData(chunks, wanted, None)
