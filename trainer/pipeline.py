"""Training from end to end: history -> windows -> weights -> calibration -> artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from connectors.names import NAMES, ColumnNames, columns_fault, series_fault
from connectors.parquet.dataset import Dataset, discover
from connectors.parquet.reader import Chunk, read_chunks
from detector.artifact.bounds import check_description
from detector.artifact.spec import Artifact, Member, Scoring, Spec
from detector.calibration.alarm_budget import shared_by
from trainer.calibrate import (
    Residuals,
    calibrate,
    describe_channels,
    held_out_residuals,
    residual_columns,
    unfitted_threshold,
    with_initial_levels,
    with_sentinels,
)
from trainer.config import TrainConfig
from trainer.context.fit_context import with_context
from trainer.context.laws import laws_of
from trainer.context.modes import Operating, configured_modes, operating
from trainer.data.channel_holes import channel_holes
from trainer.data.cleaning import Cleaned, cleaned
from trainer.data.frames import chunk_to_train, refuse, wrong_type
from trainer.data.history import Chunks, History, Shares, build_history
from trainer.data.left_out import left_out_record, time_text
from trainer.ensemble_training import (
    MemberWindows,
    Trained,
    refit,
    train_members,
    windows_for,
    without_overfitted,
)
from trainer.errors import TooLittleDataError, TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult
from trainer.fitting.cold_start import fit_cold
from trainer.fitting.members import (
    MIN_WINDOW,
    check_families,
    default_combine,
    default_max_gap,
    resolve_members,
)
from trainer.fitting.missing_levels import with_missing_levels
from trainer.fitting.reference import fit_reference
from trainer.fitting.usual_end import usual_end
from trainer.held_out_faults import without_faults
from trainer.held_values import hold_values
from trainer.model_card import model_card
from trainer.progress import ProgressReport, quiet
from trainer.sense import sensed

_ROWS_A_WINDOW = 10
"""A history of fewer windows is short. Overfitting is then a matter of the window, else of the data."""
_ALL_OVERFITTED = (
    "all members have far larger errors on held-out rows than in training: the newest rows are unlike the"
    " older ones, or the history is too short; the threshold may be far too high"
)


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
    data: str | Path | Sequence[str | Path] | pd.DataFrame,
    channels: tuple[str, ...] | None = None,
    names: ColumnNames = NAMES,
) -> TrainingData:
    """Return the rows of files or of a frame.

    Args:
        data: A Parquet or CSV file, a directory, a list of them, or a frame with a DatetimeIndex and one
            column per channel; a column `series` separates several series.
        channels: Columns to use; None: all numeric columns.

    Raises:
        TrainerError: The frame cannot be used, or `data` is of another type.
        ParquetError: The files cannot be read.
    """
    if isinstance(data, pd.DataFrame):
        chunk, wanted = chunk_to_train(data, channels)
        return TrainingData(lambda: iter([chunk]), wanted, None)
    paths = [data] if isinstance(data, str | Path) else data
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | Path) for path in paths):
        raise TrainerError(wrong_type(data))
    dataset = discover(data, channels, names)
    return TrainingData(_chunks_of(dataset), dataset.channels, dataset.interval_ns)


Observer = Callable[[Artifact, MemberWindows], None]
"""Called once with the finished model, while the windows of its history can still be read."""


def fit_source(
    source: TrainingData,
    config: TrainConfig,
    report: ProgressReport = quiet,
    checkpoint: Checkpoints | None = None,
    observe: Observer = lambda artifact, windows: None,
) -> Artifact:
    """Train, calibrate and describe a model of `source`; write nothing but the checkpoint.

    Args:
        source: Rows to train on.
        config: All options of the training.
        report: Receives the progress.
        checkpoint: Where the state after each epoch is saved; a state found there is resumed.
        observe: Sees the model and its windows at the end.

    Raises:
        TooLittleDataError: Window and splits do not fit the rows.
        TrainerError: An option is wrong, or the training cannot continue.
    """
    check_families(config.model)
    refuse(columns_fault(source.channels))
    configured_modes(config, source.channels)  # refused before the history is read
    source = replace(source, chunks=_checked(source.chunks))
    report(0.0, "reading the history")
    interval = config.data.interval_seconds
    interval_ns = round(interval * 1e9) if interval is not None else source.interval_ns
    threads = torch.get_num_threads()
    torch.set_num_threads(config.fit.threads)
    try:
        max_gap = _max_gap(config, len(source.channels))
        with build_history(source.chunks, source.channels, interval_ns, max_gap) as history:
            hold_values(history, config.data.holds())
            config = _with_delay_in_rows(config, history)
            clean = _cleaned(history, config, max_gap)
            context = operating(clean.history, config, max_gap)
            clean = replace(clean, history=context.history)
            artifact, windows = _fit_history(clean, context, config, report, checkpoint)
            observe(artifact, windows)
            return artifact
    finally:
        torch.set_num_threads(threads)


def _fit_history(
    clean: Cleaned,
    context: Operating,
    config: TrainConfig,
    report: ProgressReport,
    checkpoint: Checkpoints | None,
) -> tuple[Artifact, MemberWindows]:
    """Train with a window that the history supports: one that is too long is halved, which a note states."""
    history = clean.history
    num_rows, num_channels = _longest_series(history), len(history.channels)
    shares = Shares(config.data.validation_share, config.data.calibration_share)
    options, notes = config.model, list[str]()
    laws = laws_of(history, history.part("fit", shares))
    num_living = max(1, sum(law != "constant" for law in laws))
    delay, combine = config.scoring.delay_rows(history.interval_ns), config.scoring.combine
    while True:
        members = resolve_members(options, num_rows, num_channels, delay, combine, num_living)
        windows = windows_for(history, shares, members[0].window, laws)
        spec = _first_spec(windows, members, config, context)
        store = None
        if checkpoint and not notes:
            store = replace(checkpoint, identity=_identity(windows, config, members))
        torch.manual_seed(config.fit.seed)
        shorter = members[0].window // 2
        may_shorten = options.members is None and shorter >= max(MIN_WINDOW, options.stride)
        try:
            trained = train_members(members, windows, config, report, store)
        except TooLittleDataError:
            if config.model.window is not None or not may_shorten:
                raise
            reason = "the history has too few rows for it"
        else:
            spec = replace(spec, members=with_initial_levels(trained.members, spec.num_statistics))
            trained, all_overfitted = without_overfitted(spec, trained, windows)
            is_short_history = num_rows < _ROWS_A_WINDOW * members[0].window
            if not (all_overfitted and may_shorten and is_short_history):
                if all_overfitted:
                    notes.append(_ALL_OVERFITTED)
                trained = replace(trained, notes=(*notes, *trained.notes))
                return _calibrated(spec, trained, windows, clean, config, report), windows
            reason = "the model learnt the few rows by heart"
        notes.append(f"the window of {members[0].window} rows was shortened to {shorter}: {reason}")
        report(0.0, notes[-1], notable=True)
        options = options.model_copy(update={"window": shorter})


def _with_delay_in_rows(config: TrainConfig, history: History) -> TrainConfig:
    """Return the configuration with its delay in rows, of the slowest series, so that none waits longer."""
    slowest = max([history.interval_ns, *history.intervals.values()])
    rows = config.scoring.delay_rows(slowest)
    return config.model_copy(update={"scoring": config.scoring.model_copy(update={"delay": rows})})


def _first_spec(
    windows: MemberWindows, members: tuple[Member, ...], config: TrainConfig, context: Operating
) -> Spec:
    """Return the description before the training; raise TrainerError for what no reader would take."""
    history, statistics = windows.history, windows.statistics
    num_channels, delay = len(history.channels), config.scoring.delay_rows(history.interval_ns)
    nothing, unknown = Residuals(np.zeros((1, num_channels), np.float32)), np.zeros(num_channels, np.intp)
    spec = Spec(
        name=config.name or "model",
        members=with_initial_levels(members, 1 if num_channels == 1 else 2),
        channels=describe_channels(history.channels, statistics, nothing, config.data.valid_range, unknown),
        interval_ns=history.interval_ns,
        intervals=history.intervals,
        stride=config.model.stride,
        batch_size=config.scoring.batch_size,
        max_gap=_max_gap(config, num_channels),
        scoring=Scoring(
            min(delay, members[0].window - 1),
            config.scoring.combine or default_combine(num_channels, delay, members[0].window),
        ),
        threshold=unfitted_threshold(shared_by(config.scoring.alarm_budget, _num_series(history))),
        own_scales=windows.unlike.own_scales,
        modes=context.modes,
        holds=config.data.holds(),
        training=context.record(),
    )
    try:
        check_description(asdict(spec))
    except ValueError as error:
        raise TrainerError(f"such a model could not be read again: {error}; change this option") from error
    return spec


def _cleaned(history: History, config: TrainConfig, max_gap: int) -> Cleaned:
    """Return the history without what must not be learnt; its blocks are as long as the longest window."""
    delay = config.scoring.delay_rows(history.interval_ns)
    num_rows, num_channels = _longest_series(history), len(history.channels)
    members = resolve_members(config.model, num_rows, num_channels, delay, config.scoring.combine)
    return cleaned(history, config.data, members[0].window, max_gap)


def _calibrated(
    spec: Spec,
    trained: Trained,
    windows: MemberWindows,
    clean: Cleaned,
    config: TrainConfig,
    report: ProgressReport,
) -> Artifact:
    """Calibrate the trained members on held-out rows, let them learn these rows too, and describe all."""
    report(1.0, "calibrating")
    judged = without_faults(spec, trained, windows, config.data)
    windows, segments = judged.windows, judged.segments
    history, window = windows.history, trained.members[0].window
    residuals = held_out_residuals(trained.module[0].autoencoder, windows.ending_in("calibration", window))
    spec = _described(spec, trained, windows, config, residuals)
    record = spec.training | _training_record(history, windows.shares, config, trained.results)
    record |= {"left_out": left_out_record((*clean.left_out, *judged.left_out))}
    spec = replace(spec, channels=with_sentinels(spec.channels, clean.sentinels), training=record)
    fitted = history.part("fit", windows.shares)
    artifact = calibrate(spec, trained.module, history, segments, config.scoring.adaptive, fitted)
    notes = [*trained.notes, *windows.unlike.notes()]
    if config.fit.refit:
        report(1.0, "training on the newest rows")
        refitted = refit(artifact, windows, config)
        artifact = refitted.artifact
        if refitted.note is not None:
            report(1.0, refitted.note, notable=True)
            notes.append(refitted.note)
    reference = fit_reference(artifact.spec, history)
    training = {**record, "notes": notes} if notes else record
    cold = fit_cold(artifact.spec, history)
    spec = replace(artifact.spec, training=training, reference=reference, cold=cold)
    table = artifact.calibration | residual_columns(spec, residuals)
    artifact = replace(artifact, spec=spec, calibration=table)
    artifact = with_context(artifact, history, segments, config.calendar.calendar())
    artifact = sensed(artifact, history, segments)
    return replace(artifact, card=model_card(artifact.spec))


def _described(
    spec: Spec, trained: Trained, windows: MemberWindows, config: TrainConfig, residuals: Residuals
) -> Spec:
    """Return the description with what held-out windows and the holes of the history say of the channels."""
    history, holes = windows.history, channel_holes(windows.history.as_sent)
    held_out = (windows.ending_in("calibration", one.window) for one in trained.members)
    members = with_missing_levels(trained.members, trained.module, held_out)
    return replace(
        spec,
        members=with_initial_levels(members, spec.num_statistics),
        channels=describe_channels(
            history.channels, windows.statistics, residuals, config.data.valid_range, holes.limit_rows
        ),
        absent=holes.absent,
        scoring=replace(spec.scoring, delay=min(spec.scoring.delay, trained.members[0].window - 1)),
    )


def _max_gap(config: TrainConfig, num_channels: int) -> int:
    stated = config.data.max_gap
    return default_max_gap(config.model.window, num_channels) if stated is None else stated


def _longest_series(history: History) -> int:
    rows: dict[str, int] = {}
    for segment in history.segments:
        rows[segment.series] = rows.get(segment.series, 0) + segment.length
    return max(rows.values())


def _num_series(history: History) -> int:
    return len({segment.series for segment in history.segments})


def _identity(windows: MemberWindows, config: TrainConfig, members: tuple[Member, ...]) -> str:
    """Return a digest of all that the weights depend on.

    A resumed training may have more epochs and another device.
    """
    history, own_scales = windows.history, windows.unlike.own_scales
    parts = (
        history.fingerprint,
        (history.interval_ns, sorted(history.intervals.items())),
        [(member.family, member.window) for member in members],
        config.model.model_dump_json(exclude={"window", "stride"}),
        config.data.model_dump_json(exclude={"accept"}),
        config.fit.model_dump_json(exclude={"max_epochs", "device"}),
        *([own_scales] if own_scales else []),
        *([] if config.modes == "off" else [config.model_dump_json(include={"modes"})]),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _training_record(
    history: History, shares: Shares, config: TrainConfig, results: Sequence[FitResult]
) -> dict[str, Any]:
    """Return the record of the training that the artifact keeps, as plain JSON values.

    Losses are those of the first member that was trained by gradients.
    """
    shown = next((result for result in results if result.train_losses), results[0])
    losses = shown.train_losses
    runs = history.segments
    starts = np.array([one.row * history.interval_of(one.series) for one in runs], np.int64)
    ends = np.array([(one.row + one.length) * history.interval_of(one.series) for one in runs], np.int64)
    lengths = np.array([one.length for one in runs], np.int64)
    return {
        "rows": history.num_rows,
        "num_series": _num_series(history),
        "from": time_text(int(starts.min())),
        "until": time_text(usual_end(starts, ends, lengths)),
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


def _checked(chunks: Chunks) -> Chunks:
    """Return the chunks; a series with a name that no message can carry raises TrainerError when it comes."""

    def checked() -> Iterator[Chunk]:
        for chunk in chunks():
            for name in chunk.names:
                refuse(series_fault(name))
            yield chunk

    return checked
