"""Which autoencoders a training fits: the families asked for, and windows that suit the data."""

from __future__ import annotations

from typing import Any

from detector.artifact.spec import Member
from detector.models import families as models
from trainer.config import ModelOptions
from trainer.errors import TrainerError

ENSEMBLE = "ensemble"
ENSEMBLE_FAMILIES = ("linear", "conv", "lstm")
MIN_WINDOW = 4
_SHORT_SHARE, _SHORTEST_SHORT = 16, 8
_CELLS, _SHORTEST, _LONGEST = 256, 16, 256
_WINDOWS_IN_HISTORY = 3


def default_window(num_rows: int, num_channels: int) -> int:
    """Rows of a window over `num_channels` channels, where the longest series has `num_rows` rows.

    About 256 cells, 16 to 256 rows: as long as a covariance over the cells of a window can be learnt from
    an ordinary history. A long window of one channel sees changes of pattern, and several channels vouch
    for each other within a short one. Never more than a third of the rows, at least 4.
    """
    wanted = min(_LONGEST, max(_SHORTEST, _CELLS // num_channels))
    return max(MIN_WINDOW, min(wanted, num_rows // _WINDOWS_IN_HISTORY))


def default_max_gap(window: int | None, num_channels: int) -> int:
    """Missing rows in a row that a window may bridge: half of it."""
    return (window or min(_LONGEST, max(_SHORTEST, _CELLS // num_channels))) // 2


def plan_members(
    options: ModelOptions, num_rows: int, num_channels: int, delay: int = 0
) -> tuple[Member, ...]:
    """The members to fit, the longest window first; every hyperparameter resolved.

    Unless told otherwise an ensemble has a linear, a convolutional and a recurrent member over one window,
    and a linear one over a short window for spikes: but where verdicts wait (`delay` rows) the windows after
    a row tell what a spike is, and the short one only adds noise (docs/quality.md). Raises TrainerError for
    what a family cannot have.
    """
    window = options.window or default_window(num_rows, num_channels)
    given = options.hyperparameters()
    if options.family != ENSEMBLE:
        if options.members is not None:
            raise TrainerError(
                f"model.members belong to an ensemble, and model.family is {options.family!r}: remove one of"
                " the two"
            )
        return (_member(options.family, given, window, num_channels),)
    if given:
        raise TrainerError(
            f"model: an ensemble takes no {min(given)!r}: its members have their own defaults; choose"
            " one family to set it"
        )
    short = max(_SHORTEST_SHORT, window // _SHORT_SHARE)
    has_short = delay < short and window >= 2 * short
    wanted = options.members or (*ENSEMBLE_FAMILIES, *([f"linear:{short}"] if has_short else []))
    members = [_parsed(text, window, num_channels) for text in wanted]
    return tuple(sorted(members, key=lambda member: -member.window))


def _parsed(text: str, window: int, num_channels: int) -> Member:
    family, _, own = text.partition(":")
    if own and (not own.isdecimal() or int(own) < 1):
        raise TrainerError(f'model.members: {text!r} is not FAMILY or FAMILY:WINDOW, such as "linear:16"')
    return _member(family, {}, int(own) if own else window, num_channels)


def _member(family: str, given: dict[str, Any], window: int, num_channels: int) -> Member:
    try:
        return Member(family, models.resolve(family, given, window, num_channels), window)
    except ValueError as error:
        raise TrainerError(f"model: {error}") from error
