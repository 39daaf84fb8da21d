"""What an artifact holds, as values: channels, members, scoring, threshold. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from detector.models.ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Channel:
    """What was learned of one channel (units: the channel's own, unless said otherwise).

    center, scale     x -> (x - center) / scale before the model
    band              half width of the expected band: a high quantile of |actual - expected|
    flatline_rows     equal values in a row that mean a stuck sensor; 0: never (constant channels)
    valid_min/max     physical range, None where the user gave none
    """

    name: str
    center: float
    scale: float
    band: float
    flatline_rows: int = 0
    valid_min: float | None = None
    valid_max: float | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """How long a verdict may wait: windows that end up to `delay` rows after a row speak for it too; 0 is
    strictly causal."""

    delay: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """Where a statistic's logarithm lies on held-out rows: a high quantile of it, and its spread."""

    high: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Member:
    """One autoencoder. `family` and `hyperparameters` build the module; it sees `window` rows.

    settled  a level for each statistic of a final verdict (see `detector.models.whitening`)
    fresh    the same for a provisional verdict: by the one window that ends at the row
    """

    family: str
    hyperparameters: dict[str, Any]
    window: int
    settled: tuple[Level, ...] = ()
    fresh: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a series' threshold follows its stream (`detector.scoring.adaptive_threshold`); factors are of the threshold.

    lowest         the threshold never falls below this share of the calibrated one
    rise           after an alarm that barely exceeded it, the threshold is multiplied by this
    forgiveness    an alarm whose peak exceeds it by this factor raises it e times less: it was no false alarm
    alarms_a_row   alarms that pay for one rise are spread over this many a row: the budget
    learn_after    rows of one alarm after which the new level is learnt
    """

    lowest: float
    rise: float
    forgiveness: float
    alarms_a_row: float
    learn_after: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """The error that is score 1.0, how it was found, and for which alarm budget.

    `fresh` is that of provisional verdicts; `adaptation` None: the threshold stays as it is. A score is
    (error / threshold) ** sharpness, so that a usual row scores 1/2 or less wherever its error lies.
    """

    value: float
    method: str
    alarm_budget: str
    parameters: dict[str, float] = field(default_factory=dict)
    fresh: float | None = None
    sharpness: float = 1.0
    adaptation: Adaptation | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything but the weights. The first member sees the longest window; the verdicts' expected values
    are its own."""

    name: str
    members: tuple[Member, ...]
    channels: tuple[Channel, ...]
    interval_ns: int
    stride: int
    batch_size: int
    max_gap: int
    scoring: Scoring
    threshold: Threshold
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members or self.window != max(member.window for member in self.members):
            raise ValueError("the first member must see the longest window")

    @property
    def family(self) -> str:
        """The family of the only member, or "ensemble"."""
        return self.members[0].family if len(self.members) == 1 else "ensemble"

    @property
    def window(self) -> int:
        """Rows of the longest window."""
        return self.members[0].window if self.members else 0

    @property
    def num_statistics(self) -> int:
        """Statistics of a window that each member gives."""
        return 1 if len(self.channels) == 1 else 2

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    def column(self, attribute: str) -> NDArray[np.float64]:
        """One attribute of all channels, float64 [channels]; None becomes NaN."""
        values = [getattr(channel, attribute) for channel in self.channels]
        return np.array(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A spec, its module in evaluation mode, and what `save` derived from the content. `written_at` is when
    the loaded files were written, seconds since the epoch."""

    spec: Spec
    module: Ensemble
    calibration: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    held_out: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    card: str = ""
    version: str = "unsaved"
    written_at: float | None = None
