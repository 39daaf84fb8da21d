"""Describe a trained model as values: channels, members of the ensemble, scoring and threshold.

This module needs only numpy, so that the core can read a description without torch or pyarrow.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from detector.artifact.cold.cold_start import ColdStart
from detector.artifact.drift import Drift
from detector.artifact.modes import Modes
from detector.artifact.peers.peers import Peers
from detector.artifact.reference import Reference
from detector.artifact.season import Season

if TYPE_CHECKING:
    from detector.models.execution.network import Network


@dataclass(frozen=True, slots=True)
class Channel:
    """Hold what training learned about one channel, in the units of the channel.

    center, scale     the model sees (x - center) / scale
    band              half width of the expected band: a high quantile of |actual - expected|; 0: never moved
    flatline_rows     equal values in sequence that mean a stuck sensor; 0: no check (constant channels)
    valid_min/max     physical range, None where the user gave no bound
    sentinels         values that stand for no value, such as -9999; found in the history
    missing_rows      rows without a value, while others have one, that mean a missing channel; 0: not learnt
    law               "plain", "count", "steps" (coarse, or mostly one value) or "constant" (it never moved)
    """

    name: str
    center: float
    scale: float
    band: float
    flatline_rows: int = 0
    valid_min: float | None = None
    valid_max: float | None = None
    sentinels: tuple[float, ...] = ()
    missing_rows: int = 0
    law: str = "plain"


@dataclass(frozen=True, slots=True)
class OwnScale:
    """Hold the centre and scale of a channel in one series, where the common ones of the channel do not fit.

    channel        name of the channel
    center, scale  the model sees (x - center) / scale; in the units of the channel
    """

    channel: str
    center: float
    scale: float


Combine = Literal["worst", "mean"]
"""Names of the rules by which kinds of evidence become one error."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Set how long the verdict on a row may wait, and how kinds of evidence become one error.

    delay    windows that end up to so many rows after a row contribute to its score; 0 is strictly causal
    combine  whether the worst kind of evidence counts or the mean of all kinds
             (`detector.scoring.ensemble_error`); a description without it is older, and means the worst
    """

    delay: int = 0
    combine: Combine = "worst"


@dataclass(frozen=True, slots=True)
class Level:
    """Hold a high quantile and the spread of the logarithm of a statistic on held-out rows."""

    high: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class MissingLevel:
    """Put the logarithm of a statistic of windows without some channels on the scale of whole windows.

    The logarithm becomes `factor * logarithm + offset`. Each list has one number for each channel.

    Attributes:
        factor_without, offset_without: Where this channel alone is missing.
        factor_only, offset_only: Where every channel but this one is missing.
    """

    factor_without: tuple[float, ...]
    offset_without: tuple[float, ...]
    factor_only: tuple[float, ...]
    offset_only: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """Describe one member of the ensemble: an autoencoder over windows of `window` rows.

    family           one of `detector.models.families.FAMILIES`
    hyperparameters  of that family, complete
    settled          one level for each statistic, for final verdicts (see `detector.models.whitening`)
    fresh            the same for provisional verdicts, which use only the window that ends at the row
    missing          one entry for each statistic; empty if nothing was learnt about missing channels
    stride           rows of a block: the first window of each is read, and its output holds in the block
    """

    family: str
    hyperparameters: dict[str, Any]
    window: int
    settled: tuple[Level, ...] = ()
    fresh: tuple[Level, ...] = ()
    missing: tuple[MissingLevel, ...] = ()
    stride: int = 1


@dataclass(frozen=True, slots=True)
class PageLimit:
    """Set how alarms of a series raise its page level (`detector.scoring.page_level`).

    alarms_a_row   doubtful alarms a row that the budget allows
    rise           each doubtful alarm multiplies the level by this factor
    forgiveness    an alarm that exceeds the threshold by this factor leaves e times less doubt
    long_rows      an alarm of so many rows leaves e times less doubt
    """

    alarms_a_row: float
    rise: float = 2.0
    forgiveness: float = 1.5
    long_rows: float = 100.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """Hold the error at which the score is 1, and how it was found.

    A score is (error / value) ** sharpness, so that a usual row scores 1/2 or less.

    value         the error at which the score is 1
    method        name of the calibration method
    alarm_budget  the budget that it meets: 1/week for each series, or 3/day in all of 40 series
    parameters    numbers of the calibration, for people
    fresh         the same as `value` for provisional verdicts; None if there are none
    sharpness     exponent of the score
    limit         how alarms raise the page level of each series; None if nothing does
    """

    value: float
    method: str
    alarm_budget: str
    parameters: dict[str, float] = field(default_factory=dict)
    fresh: float | None = None
    sharpness: float = 1.0
    limit: PageLimit | None = None


@dataclass(frozen=True, slots=True)
class Detectable:
    """Hold how small a fault of one kind in one channel may be and still be found.

    channel   name of the channel
    kind      one of `detector.selfcheck.faults.KINDS`
    rows      how long the fault lasts
    smallest  the smallest size that was found, in the unit of the channel; None: none was
    promised  a larger size, which the self-check of a running detector must find; None: no promise
    """

    channel: str
    kind: str
    rows: int
    smallest: float | None
    promised: float | None


@dataclass(frozen=True, slots=True)
class Spec:
    """Describe a model completely, except its weights.

    name         name of the model
    members      of the ensemble; the first has the longest window and gives the expected values of a verdict
    channels     in the order of the model's inputs
    interval_ns  length of a row in nanoseconds, for series that training did not see
    stride       a window is scored every so many rows
    batch_size   windows that go through the network at once, always the same number
    max_gap      missing rows up to which a gap is filled
    scoring      how long a verdict may wait
    threshold    the error at which the score is 1
    absent       channels that a series of the history never had, by series; they are not missing there
    training     facts about the training, for people
    intervals    series -> length of its rows in nanoseconds, where it is another than `interval_ns`
    detectable   which faults the model finds; empty where it was not measured
    own_scales   series -> its own centres and scales; empty where the common ones of `channels` fit all
    sampled      series of each stretch of the artifact's sample; empty where no series has its own scales
    reference    what each channel should be, given the others; None in older artifacts
    season       what is usual at each time of day and week; None where the history shows no season
    modes        modes of operation; None where there are none
    drift        the slow level of each channel; None where the history is too short
    holds        slow channel -> nanoseconds that it keeps its last value (`detector.rows.held_channels`)
    cold         how a series begins that the history did not have; None in older artifacts
    peers        how far the series are from each other; None where they are too few to be compared

    Sizes in `detectable` and the bands of `channels` belong to the common scale. In a series with its own
    scale of the channel they change in proportion to it (`scales_of`).

    Raises:
        ValueError: There is no member, or the first does not have the longest window.
    """

    name: str
    members: tuple[Member, ...]
    channels: tuple[Channel, ...]
    interval_ns: int
    stride: int
    batch_size: int
    max_gap: int
    scoring: Scoring
    threshold: Threshold
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    intervals: dict[str, int] = field(default_factory=dict)
    detectable: tuple[Detectable, ...] = ()
    own_scales: dict[str, tuple[OwnScale, ...]] = field(default_factory=dict)
    sampled: tuple[str, ...] = ()
    reference: Reference | None = None
    season: Season | None = None
    modes: Modes | None = None
    drift: Drift | None = None
    holds: dict[str, int] = field(default_factory=dict)
    cold: ColdStart | None = None
    peers: Peers | None = None

    def __repr__(self) -> str:
        return f"Spec(name={self.name!r}, {_summary(self)})"

    def __post_init__(self) -> None:
        if not self.members or self.window != max(member.window for member in self.members):
            raise ValueError("the first member must have the longest window")

    @property
    def family(self) -> str:
        """Return the family of the only member, or "ensemble" if there are several."""
        return self.members[0].family if len(self.members) == 1 else "ensemble"

    @property
    def window(self) -> int:
        """Return the number of rows of the longest window."""
        return self.members[0].window if self.members else 0

    def interval_of(self, series: str) -> int:
        """Return the length of a row of a series in nanoseconds."""
        return self.intervals.get(series, self.interval_ns)

    @property
    def num_series(self) -> int | None:
        """Return the number of series of the history, None where the training did not state it."""
        stated = self.training.get("num_series")
        return stated if type(stated) is int and stated > 0 else None

    @property
    def num_statistics(self) -> int:
        """Return the number of statistics that each member computes for a window, 1 or 2."""
        return 1 if len(self.channels) == 1 else 2

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Return the names of the channels in the order of the model's inputs."""
        return tuple(channel.name for channel in self.channels)

    def column(self, attribute: str) -> NDArray[np.float64]:
        """Return one attribute of all channels, float64 [channels]; None becomes NaN."""
        values = [getattr(channel, attribute) for channel in self.channels]
        return np.array(values, dtype=np.float64)

    def scales_of(self, series: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the centre and scale of each channel in a series, float64 [channels] each."""
        own = self.own_scales.get(series, ())
        return with_own(self.channel_names, self.column("center"), self.column("scale"), own)

    def share_of_common(self, series: str) -> NDArray[np.float64]:
        """Return the scale of each channel in a series divided by the common one, float64 [channels]."""
        if series not in self.own_scales:
            return np.ones(len(self.channels))
        share: NDArray[np.float64] = self.scales_of(series)[1] / self.column("scale")
        return share

    def band_of(self, series: str) -> NDArray[np.float64]:
        """Return half the width of the expected band of each channel in a series, float64 [channels]."""
        band: NDArray[np.float64] = self.column("band")
        return band * self.share_of_common(series) if series in self.own_scales else band

    @property
    def hold_ns(self) -> tuple[int, ...]:
        """How long each channel keeps its last value in nanoseconds, 0 where not at all."""
        return tuple(self.holds.get(name, 0) for name in self.channel_names)

    def sentinels(self) -> NDArray[np.float64]:
        """Return the sentinels of all channels, float64 [most of a channel, channels]; NaN fills up."""
        found = np.full(
            (max(len(channel.sentinels) for channel in self.channels), len(self.channels)), np.nan
        )
        for at, channel in enumerate(self.channels):
            found[: len(channel.sentinels), at] = channel.sentinels
        return found


@dataclass(frozen=True, slots=True)
class Artifact:
    """Hold a trained model: its description, its networks and what calibration needs.

    spec         description of the model
    module       networks of all members, as an executor holds them (`detector.models.execution`)
    calibration  quantiles of the residual of each channel and of the error
    held_out     errors of the held-out rows, to calibrate the threshold again without training
    card         the model card, Markdown
    sample       a few stretches of normal held-out rows, one float64 [rows, channels] each, for self-checks
    version      12 hexadecimal digits that `detector.artifact.storage.save` derives from the content
    written_at   when it was trained, seconds since the epoch: the time of its files, unless it was calibrated
    """

    spec: Spec
    module: Network
    calibration: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    held_out: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    card: str = ""
    version: str = "unsaved"
    written_at: float | None = None
    sample: tuple[NDArray[np.float64], ...] = ()

    def __repr__(self) -> str:
        return f"Artifact(name={self.spec.name!r}, version={self.version!r}, {_summary(self.spec)})"


def with_own(
    names: Sequence[str],
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
    own: Sequence[OwnScale],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres and scales of the channels of one series, float64 [C] each.

    Args:
        names: The channels.
        center: Their common centres, float64 [C].
        scale: Their common scales, float64 [C].
        own: What the series has of its own.
    """
    if not own:
        return center, scale
    center, scale = center.copy(), scale.copy()
    for one in own:
        at = names.index(one.channel)
        center[at], scale[at] = one.center, one.scale
    return center, scale


def _summary(spec: Spec) -> str:
    """Return what a reader first asks about a model, for `repr`."""
    return (
        f"family={spec.family!r}, members={len(spec.members)}, channels={reprlib.repr(spec.channel_names)},"
        f" window={spec.window}, interval='{spec.interval_ns / 1e9:.12g} s',"
        f" alarm_budget={spec.threshold.alarm_budget!r}"
    )
