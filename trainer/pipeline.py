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

from connectors.parquet.columns import LABEL
from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import read_chunks
from detector.artifact.modules import build_members
from detector.artifact.spec import Artifact, Member, Scoring, Spec
from detector.errors import DetectorError
from detector.models.ensemble import Ensemble
from detector.offline.frames import chunk_of_frame, column_kinds
from trainer.calibrate import (
    calibrate,
    describe_channels,
    held_out_residuals,
    residual_columns,
    unfitted_threshold,
    with_initial_levels,
    with_sentinels,
)
from trainer.config import TrainConfig
from trainer.data.channel_holes import channel_holes
from trainer.data.channel_statistics import ChannelStatistics, channel_statistics
from trainer.data.cleaning import Cleaned, cleaned
from trainer.data.history import Chunks, History, Part, Segment, Shares, build_history
from trainer.data.left_out import left_out_record
from trainer.data.training_windows import TrainingWindows
from trainer.errors import TooLittleDataError, TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult
from trainer.fitting.gradient import TrainingAndValidation, fit_module
from trainer.fitting.members import check_families, default_max_gap, resolve_members
from trainer.fitting.missing_levels import with_missing_levels
from trainer.fitting.whitening import fit_whitening
from trainer.model_card import model_card
from trainer.progress import ProgressReport, quiet
from trainer.sense import sensed

_REFIT_EPOCHS, _REFIT_RATE = 3, 0.2


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Hold rows to train on.

    Attributes:
        chunks: Called twice or more; must return the same rows each time.
        channels: Names of the columns of values.
        interval_ns: Nanoseconds between two rows; None: to be inferred from the rows.
    """

    chunks: Chunks
    channels: tuple[str, ...]
    interval_ns: int | None


def source_of(
    data: str | Path | Sequence[str | Path] | pd.DataFrame, channels: tuple[str, ...] | None = None
) -> TrainingData:
    """Return the rows of Parquet files or of a frame.

    Args:
        data: A Parquet file, a directory, a list of them, or a frame with a DatetimeIndex and one column per
            channel; a column `series` separates several series.
        channels: Columns to use; None: all numeric columns.

    Raises:
        TrainerError: The frame cannot be used, or `data` is of another type.
        ParquetError: The files cannot be read.
    """
    if isinstance(data, pd.DataFrame):
        return _frame_source(data, channels)
    paths = [data] if isinstance(data, str | Path) else data
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | Path) for path in paths):
        raise TrainerError(_wrong_type(data))
    dataset = discover(data, channels)
    return TrainingData(_chunks_of(dataset), dataset.channels, dataset.interval_ns)


def fit_source(
    source: TrainingData, config: TrainConfig, report: ProgressReport = quiet, checkpoint: Path | None = None
) -> Artifact:
    """Train, calibrate and describe a model of `source`; write nothing but the checkpoint.

    Args:
        source: Rows to train on.
        config: All options of the training.
        report: Receives the progress.
        checkpoint: Directory for the state after each epoch; a state found there is resumed.

    Raises:
        TooLittleDataError: Window and splits do not fit the rows.
        TrainerError: An option is wrong, or the training cannot continue.
    """
    check_families(config.model)
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
    recorded: History, config: TrainConfig, max_gap: int, report: ProgressReport, checkpoint: Path | None
) -> Artifact:
    clean = _cleaned(recorded, config, max_gap)
    history = clean.history
    shares = Shares(config.data.validation_share, config.data.calibration_share)
    num_channels = len(history.channels)
    members = resolve_members(config.model, _longest_series(history), num_channels, config.scoring.delay)
    statistics = channel_statistics(history, history.part("fit", shares), members[0].window)
    windows = _MemberWindows(history, shares, statistics)
    store = Checkpoints(checkpoint, _identity(history, config, members)) if checkpoint else None
    torch.manual_seed(config.fit.seed)
    module = build_members(members, num_channels)
    results = _fit_members(module, members, windows, config, report, store)
    report(1.0, "calibrating")
    segments = history.part("calibration", shares)
    held_out = windows.ending_in("calibration", members[0].window)
    residuals, holes = held_out_residuals(module[0].autoencoder, held_out), channel_holes(history)
    spec = Spec(
        name=config.name or "model",
        members=with_initial_levels(
            with_missing_levels(
                members, module, (windows.ending_in("calibration", one.window) for one in members)
            ),
            1 if num_channels == 1 else 2,
        ),
        channels=with_sentinels(
            describe_channels(
                history.channels, statistics, residuals, config.data.valid_range, holes.limit_rows
            ),
            clean.sentinels,
        ),
        absent=holes.absent,
        interval_ns=history.interval_ns,
        stride=config.model.stride,
        batch_size=config.scoring.batch_size,
        max_gap=max_gap,
        scoring=Scoring(min(config.scoring.delay, members[0].window - 1)),
        threshold=unfitted_threshold(config.scoring.alarm_budget),
        training=_training_record(history, shares, config, results)
        | {"left_out": left_out_record(clean.left_out)},
    )
    artifact = calibrate(spec, module, history, segments, config.scoring.adaptive)
    if config.fit.refit:
        report(1.0, "training on the newest rows")
        _refit(module, members, windows, config)
    table = artifact.calibration | residual_columns(spec, residuals)
    artifact = sensed(replace(artifact, calibration=table), history, segments)
    return replace(artifact, card=model_card(artifact.spec))


def _cleaned(history: History, config: TrainConfig, max_gap: int) -> Cleaned:
    """Return the history without what must not be learnt; its blocks are as long as the longest window."""
    members = resolve_members(
        config.model, _longest_series(history), len(history.channels), config.scoring.delay
    )
    return cleaned(history, config.data, members[0].window, max_gap)


@dataclass(frozen=True, slots=True)
class _MemberWindows:
    """Cut the history into windows of a member's length."""

    history: History
    shares: Shares
    statistics: ChannelStatistics

    def within(self, part: Part, window: int) -> TrainingWindows:
        """Return the windows that lie in one part of the history."""
        return self._windows(self.history.part(part, self.shares), window)

    def ending_in(self, part: Part, window: int) -> TrainingWindows:
        """Return the windows that end in one part of the history; they may begin in the part before it."""
        segments = self.history.reaching_back(self.history.part(part, self.shares), window - 1)
        return self._windows(segments, window)

    def split(self, window: int) -> TrainingAndValidation:
        """Return the windows to train on and to validate with; raise TooLittleDataError if one has none."""
        train, validation = self.within("train", window), self.ending_in("validation", window)
        if len(train) == 0 or len(validation) == 0:
            shares = self.shares
            raise TooLittleDataError(
                f"{self.history.num_rows} rows are too few for a window of {window}: training needs at least"
                f" one whole window without a long gap in the first"
                f" {1 - shares.validation - shares.calibration:.0%} of the rows, and one that ends in the"
                f" {shares.validation:.0%} after them; use a smaller window, more history or a larger max_gap"
            )
        return TrainingAndValidation(train, validation, self.within("fit", window))

    def _windows(self, segments: tuple[Segment, ...], window: int) -> TrainingWindows:
        return TrainingWindows(self.history, segments, self.statistics.center, self.statistics.scale, window)


def _fit_members(
    module: Ensemble,
    members: tuple[Member, ...],
    windows: _MemberWindows,
    config: TrainConfig,
    report: ProgressReport,
    store: Checkpoints | None,
) -> list[FitResult]:
    """Train the members of the ensemble one after the other; each ends on the CPU, in evaluation mode."""
    results = []
    for number, member in enumerate(members):
        split = windows.split(member.window)
        report_progress = _member_report(report, number, members)
        state = store.member(number) if store else None
        autoencoder = module[number].autoencoder
        results.append(
            fit_module(autoencoder, member.hyperparameters, split, config.fit, report_progress, state)
        )
        autoencoder.cpu().eval()
        if config.scoring.whiten:
            fit_whitening(module[number].whitening, autoencoder, split.both, config.scoring.delay == 0)
    return results


def _refit(
    module: Ensemble, members: tuple[Member, ...], windows: _MemberWindows, config: TrainConfig
) -> None:
    """Train the calibrated members on all rows, so that they know the newest rows, where the stream begins.

    The threshold stays the one of held-out rows. A member trained by gradients continues from its weights for
    a few epochs at a low learning rate. Closed forms and whitening are computed again.
    """
    gentle = config.fit.model_copy(
        update={
            "max_epochs": min(_REFIT_EPOCHS, config.fit.max_epochs),
            "learning_rate": config.fit.learning_rate * _REFIT_RATE,
        }
    )
    for number, member in enumerate(members):
        everything = windows.within("all", member.window)
        newest = windows.ending_in("calibration", member.window)
        autoencoder = module[number].autoencoder
        split = TrainingAndValidation(everything, newest, everything)
        fit_module(autoencoder, member.hyperparameters, split, gentle, quiet)
        autoencoder.cpu().eval()
        if config.scoring.whiten:
            fit_whitening(module[number].whitening, autoencoder, everything, config.scoring.delay == 0)


def _member_report(report: ProgressReport, number: int, members: tuple[Member, ...]) -> ProgressReport:
    """Return a report that shows the progress of one member as a share of all members."""
    if len(members) == 1:
        return report
    name = f"{members[number].family} {members[number].window}"

    def report_progress(done: float, words: str, notable: bool = False) -> None:
        report((number + done) / len(members), f"{name}: {words}", notable)

    return report_progress


def _longest_series(history: History) -> int:
    rows: dict[str, int] = {}
    for segment in history.segments:
        rows[segment.series] = rows.get(segment.series, 0) + segment.length
    return max(rows.values())


def _identity(history: History, config: TrainConfig, members: tuple[Member, ...]) -> str:
    """Return a digest of all that the weights depend on.

    A resumed training may have more epochs and another device.
    """
    parts = (
        history.fingerprint,
        history.interval_ns,
        [(member.family, member.window) for member in members],
        config.model.model_dump_json(exclude={"window", "stride"}),
        config.data.model_dump_json(exclude={"accept"}),
        config.fit.model_dump_json(exclude={"max_epochs", "device"}),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _training_record(
    history: History, shares: Shares, config: TrainConfig, results: list[FitResult]
) -> dict[str, Any]:
    """Return the record of the training that the artifact keeps, as plain JSON values.

    Losses are those of the first member that was trained by gradients.
    """
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


def _wrong_type(data: object) -> str:
    """Explain what to pass instead of `data`."""
    kind = type(data).__name__
    accepted = "data must be a Parquet file, a directory, a list of them or a pandas DataFrame"
    if isinstance(data, pd.Series):
        return f"{accepted}, found Series: make a frame of one channel: data.to_frame('value')"
    if isinstance(data, np.ndarray):
        return (
            f"{accepted}, found ndarray: values need times: pd.DataFrame(values, columns=[...],"
            ' index=pd.date_range("2026-01-01", periods=len(values), freq="1s"))'
        )
    return f"{accepted}, found {kind}"


def _frame_source(frame: pd.DataFrame, channels: tuple[str, ...] | None) -> TrainingData:
    try:
        numeric = tuple(name for name, kind in column_kinds(frame).items() if kind == "number")
        wanted = channels or numeric
        missing = [name for name in wanted if name not in frame.columns]
        if missing or not wanted:
            raise TrainerError(
                f"the frame lacks numeric channels{': ' + ', '.join(missing) if missing else ''}"
            )
        chunk = chunk_of_frame(frame.drop(columns=LABEL, errors="ignore"), wanted)
    except DetectorError as error:
        raise TrainerError(str(error)) from error
    chunks: Callable[[], Any] = lambda: iter([chunk])  # noqa: E731  # a source is a function of nothing
    return TrainingData(chunks, wanted, None)
