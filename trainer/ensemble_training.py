"""Training of the members of an ensemble: what fails or learns by heart is left out, and named.

A model is published with the threshold of its held-out rows. So a later training on all rows must leave the
errors of unseen rows where they were. Where it makes them smaller, the threshold is set again. Where it makes
them larger, it is taken back (docs/decisions/0017).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from detector.artifact.modules import build_members
from detector.artifact.spec import Artifact, Member, Spec
from detector.models.ensemble import Ensemble, EnsembleMember, torch_ensemble
from detector.models.listing import BESIDE
from detector.scoring.ensemble_error import EnsembleError, log_statistics
from trainer.calibrate import calibrate, held_out_statistics
from trainer.config import TrainConfig
from trainer.data.channel_statistics import ChannelStatistics, channel_statistics
from trainer.data.history import History, Part, Segment, Shares
from trainer.data.series_scales import Unlike, series_scales
from trainer.data.training_windows import TrainingWindows
from trainer.errors import DivergedError, TooLittleDataError, TrainerError
from trainer.fitting.checkpoint import Checkpoints, FitResult
from trainer.fitting.gradient import TrainingAndValidation, fit_module
from trainer.fitting.whitening import fades, fit_scale, fit_whitening
from trainer.progress import ProgressReport, quiet

_REFIT_EPOCHS, _REFIT_RATE = 3, 0.2
_MOST_SHIFT = math.log(2.5)
"""Largest change of the logarithm of an error that leaves the threshold where it is."""
_QUANTILES = (0.5, 0.9)
_MOST_OPTIMISM = math.log(10.0)
"""Largest gap between the logarithms of held-out and training residuals."""
_COMPARED_ROWS = 20_000
_TAKEN_BACK = "the refit on all rows was taken back, so that the threshold belongs to the model: {reason}"
_LEARNT_MUCH = (
    "training on the newer rows made the errors of rows that it had not seen {factor} times smaller, so the"
    " threshold comes from the newest half of the held-out rows"
)
NUMERICAL = (DivergedError, ArithmeticError, np.linalg.LinAlgError, MemoryError, RuntimeError)
"""What a computation that fails raises. Errors of torch, such as a lack of memory, are RuntimeErrors."""


@dataclass(frozen=True, slots=True)
class MemberWindows:
    """Cut the history into windows of a member's length."""

    history: History
    shares: Shares
    statistics: ChannelStatistics
    unlike: Unlike

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

    def without_newest_half(self) -> MemberWindows:
        """Return the windows of shares whose calibration part is the newer half of this one."""
        return replace(self, shares=replace(self.shares, calibration=self.shares.calibration / 2))

    def _windows(self, segments: tuple[Segment, ...], window: int) -> TrainingWindows:
        center, scale = self.statistics.center, self.statistics.scale
        living = np.flatnonzero([law != "constant" for law in self.statistics.laws])
        return TrainingWindows(
            *(self.history, segments, center, scale, window),
            own_scales=self.unlike.own_scales,
            living=living if len(living) else None,
        )


def windows_for(history: History, shares: Shares, window: int, laws: tuple[str, ...]) -> MemberWindows:
    """Return the windows of a history, whose channels have these laws (`trainer.context.laws`).

    Raises:
        TrainerError: A channel's values have no scale.
    """
    statistics = channel_statistics(history, history.part("fit", shares), window)
    usable = np.isfinite(statistics.center) & np.isfinite(statistics.scale) & (statistics.scale > 0)
    for at in np.flatnonzero(~usable)[:1]:
        raise TrainerError(
            f"channel {history.channels[at]!r}: its values have no finite spread (centre"
            f" {statistics.center[at]:g}, scale {statistics.scale[at]:g}); remove extreme values or leave the"
            " channel out with data.channels"
        )
    statistics = replace(statistics, laws=laws)
    unlike = series_scales(history, history.part("fit", shares), statistics, window)
    return MemberWindows(history, shares, statistics, unlike)


@dataclass(frozen=True, slots=True)
class Trained:
    """Hold the members that were trained, their networks and results, and one note for each left out."""

    members: tuple[Member, ...]
    module: Ensemble
    results: tuple[FitResult, ...]
    notes: tuple[str, ...]

    def only(self, kept: Sequence[int], notes: Sequence[str]) -> Trained:
        """Return these members alone, by number, with further notes; the first of them reads every window."""
        kept = sorted(kept, key=lambda at: (-self.members[at].window, self.members[at].stride))
        first, *rest = (self.members[number] for number in kept)
        members = (replace(first, stride=1), *rest)
        parts = [copy.deepcopy(self.module[number]) for number in kept]
        results = tuple(self.results[number] for number in kept)
        return Trained(members, Ensemble(parts).eval(), results, (*self.notes, *notes))


@dataclass(frozen=True, slots=True)
class Refitted:
    """Hold the model to publish, and a note on its training on all rows if that moved errors much."""

    artifact: Artifact
    note: str | None = None


def train_members(
    members: tuple[Member, ...],
    windows: MemberWindows,
    config: TrainConfig,
    report: ProgressReport,
    store: Checkpoints | None,
) -> Trained:
    """Train the members one after the other; leave out those whose computation fails.

    Args:
        members: What to train, the longest window first.
        windows: Windows of the history.
        config: Options of the training.
        report: Receives the progress.
        store: Checkpoints of the training.

    Raises:
        TooLittleDataError: A window does not fit the rows.
        TrainerError: No member could be trained, or an option is wrong.
    """
    module = build_members(members, len(windows.history.channels))
    results, failures = [], {}
    for number, member in enumerate(members):
        split = windows.split(member.window)
        state = store.member(number) if store else None
        try:
            results.append(
                _train(module[number], member, split, config, _member_report(report, number, members), state)
            )
        except NUMERICAL as error:
            results.append(FitResult())
            failures[number] = f"{member.family} ({member.window} rows) was left out: {_reason(error)}"
            report((number + 1) / len(members), failures[number], notable=True)
    everything = Trained(members, module, tuple(results), ())
    if not failures:
        return everything
    kept = [number for number in range(len(members)) if number not in failures]
    if not kept:
        raise TrainerError(
            f"no model could be trained: {'; '.join(failures.values())}; look for channels with extreme or"
            " constant values, or choose another family or a smaller window"
        )
    return everything.only(kept, list(failures.values()))


def without_overfitted(spec: Spec, trained: Trained, windows: MemberWindows) -> tuple[Trained, bool]:
    """Leave out members whose residuals on held-out rows are far above those in training.

    Such a member has learnt its rows by heart, and no threshold of held-out rows describes it.

    Args:
        spec: The description before calibration.
        trained: The trained members.
        windows: Windows of the history.

    Returns:
        The members that remain, and whether all were overfitted; all are kept then.
    """
    gaps = _optimism(Artifact(spec, trained.module), windows)
    overfitted = [number for number, gap in enumerate(gaps) if gap > _MOST_OPTIMISM]
    if not overfitted or len(overfitted) == len(gaps):
        return trained, bool(overfitted)
    notes = [
        f"{trained.members[number].family} ({trained.members[number].window} rows) was left out: its errors"
        f" are {_factor(gaps[number])} times as large on held-out rows as in training (overfitted)"
        for number in overfitted
    ]
    return trained.only([number for number in range(len(gaps)) if number not in overfitted], notes), False


def refit(artifact: Artifact, windows: MemberWindows, config: TrainConfig) -> Refitted:
    """Train the calibrated members on all rows, with a threshold that holds for the new weights.

    The errors of the calibration rows may move. Then the same training without the newest half of them is a
    probe on unseen rows. If their errors stayed where they were, so does the threshold. If they fell, the
    probe is calibrated on them, and the new weights have its levels and threshold. If they rose, the new
    weights describe later rows worse, and those from before are restored.

    Args:
        artifact: The calibrated model; its networks are trained in place.
        windows: Windows of the history.
        config: Options of the training.
    """
    module = torch_ensemble(artifact.module)
    first = copy.deepcopy(module)
    before = replace(artifact, module=first)
    try:
        _train_further(artifact, windows, "all", "calibration", config)
        if np.abs(_shift(before, artifact, windows)).max() <= _MOST_SHIFT:
            return Refitted(artifact)
        probe = replace(artifact, module=copy.deepcopy(first))
        half = windows.without_newest_half()
        _train_further(probe, half, "fit", "validation", config)
        shift = _shift(before, probe, half)
        if np.abs(shift).max() <= _MOST_SHIFT:
            return Refitted(artifact)
        if shift.max() <= _MOST_SHIFT:
            found = replace(_calibrated(probe, half, config), module=module)
            return Refitted(found, _LEARNT_MUCH.format(factor=_factor(-float(shift.min()))))
        reason = f"it moved the errors of rows that it had not seen by a factor of {_factor(shift.max())}"
    except (*NUMERICAL, TooLittleDataError) as error:
        reason = _reason(error)
    module.load_state_dict(first.state_dict())
    return Refitted(artifact, _TAKEN_BACK.format(reason=reason))


def _calibrated(probe: Artifact, half: MemberWindows, config: TrainConfig) -> Artifact:
    """Return the probe with levels and threshold of the rows that it has not seen."""
    fitted, unseen = (half.history.part(part, half.shares) for part in ("fit", "calibration"))
    module = torch_ensemble(probe.module)
    return calibrate(probe.spec, module, half.history, unseen, config.scoring.adaptive, fitted)


def _train(
    network: EnsembleMember,
    member: Member,
    split: TrainingAndValidation,
    config: TrainConfig,
    report: ProgressReport,
    state: Checkpoints | None,
) -> FitResult:
    """Train one member and its whitening; it ends on the CPU, in evaluation mode."""
    autoencoder, whitening = network.autoencoder, network.whitening
    result = fit_module(autoencoder, member, split, config.fit, report, state)
    autoencoder.cpu().eval()
    if member.family in BESIDE:
        fit_scale(whitening, autoencoder, split.both)
    elif config.scoring.whiten:
        delay = config.scoring.delay
        assert isinstance(delay, int), "a time became rows before"
        fit_whitening(whitening, autoencoder, split.both, fades(member.window, delay))
    for name, values in network.state_dict().items():
        if not bool(torch.isfinite(values).all()):
            raise DivergedError(f"the training gave weights that are not finite ({name})")
    return result


def _train_further(
    artifact: Artifact, windows: MemberWindows, part: Part, newest: Part, config: TrainConfig
) -> None:
    """Train calibrated members on a part of the history, and judge epochs by another one.

    A member trained by gradients continues from its weights for a few epochs at a low learning rate. Closed
    forms and whitening are computed again.
    """
    gentle = config.fit.model_copy(
        update={
            "max_epochs": min(_REFIT_EPOCHS, config.fit.max_epochs),
            "learning_rate": config.fit.learning_rate * _REFIT_RATE,
        }
    )
    changed = config.model_copy(update={"fit": gentle})
    module = torch_ensemble(artifact.module)
    for number, member in enumerate(artifact.spec.members):
        rows = windows.within(part, member.window)
        split = TrainingAndValidation(rows, windows.ending_in(newest, member.window), rows)
        _train(module[number], member, split, changed, quiet, None)


def _shift(before: Artifact, after: Artifact, windows: MemberWindows) -> NDArray[np.float64]:
    """Return how far errors of the calibration part moved: the change of each quantile's logarithm.

    It is infinite where no error is known.
    """
    segments = windows.history.part("calibration", windows.shares)
    first, second = (_log_errors(artifact, windows.history, segments) for artifact in (before, after))
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return np.full(len(_QUANTILES), math.inf)
    shift: NDArray[np.float64] = np.quantile(second[known], _QUANTILES)
    return shift - np.quantile(first[known], _QUANTILES)


def _log_errors(artifact: Artifact, history: History, segments: tuple[Segment, ...]) -> NDArray[np.float64]:
    """Return the logarithm of the error of each row, float64 [n]; NaN where unknown."""
    members = artifact.spec.members
    settled = [member.settled for member in members]
    combined = EnsembleError(members, settled, artifact.spec.scoring.combine)
    errors = combined.errors(held_out_statistics(artifact, history, newest(segments)).final)
    logarithm: NDArray[np.float64] = np.log(np.maximum(errors, np.finfo(np.float64).tiny))
    return logarithm


def _optimism(artifact: Artifact, windows: MemberWindows) -> list[float]:
    """Return for each member how far its held-out residuals are above those in training, as logarithms."""
    medians = []
    for part in ("calibration", "fit"):
        segments = newest(windows.history.part(part, windows.shares))
        statistics = held_out_statistics(artifact, windows.history, segments).final
        logarithms = log_statistics(statistics) / 2.0  # statistics are squares
        known = logarithms[np.isfinite(logarithms).all(axis=1)]
        medians.append(np.median(known, axis=0) if len(known) else np.full(logarithms.shape[1], np.nan))
    gaps = (medians[0] - medians[1]).reshape(-1, artifact.spec.num_statistics).mean(axis=1)
    return [float(gap) for gap in gaps]


def newest(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Return the newest rows of each segment, about 20,000 in all."""
    share = min(1.0, _COMPARED_ROWS / max(1, sum(segment.length for segment in segments)))
    cut = [one.cut(one.stop - math.ceil(one.length * share), one.stop) for one in segments]
    return tuple(segment for segment in cut if segment is not None)


def _member_report(report: ProgressReport, number: int, members: tuple[Member, ...]) -> ProgressReport:
    """Return a report that shows the progress of one member as a share of all members."""
    if len(members) == 1:
        return report
    name = f"{members[number].family} {members[number].window}"

    def report_progress(done: float, words: str, notable: bool = False) -> None:
        report((number + done) / len(members), f"{name}: {words}", notable)

    return report_progress


def _reason(error: BaseException) -> str:
    """Return an error as one line; those without words are named."""
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, DivergedError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _factor(shift: float) -> str:
    return f"{math.exp(min(shift, 300.0)):.3g}"
