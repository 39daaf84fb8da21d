"""Choice of the autoencoders to train: the families asked for, and windows that suit the data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from detector.artifact.spec import Combine, Member
from detector.models import families as models
from detector.models.listing import BESIDE
from trainer.config import ENSEMBLE, ModelOptions
from trainer.errors import TrainerError

ENSEMBLE_FAMILIES = ("linear", "conv", "lstm")
DENSE = ("linear",)
"""Members of the default ensemble that read every window; the others are slow, and read every fourth."""
MIN_WINDOW = 4
_NETWORK_STRIDE, _LEAST_STRIDDEN = 4, 16
_SHORT_SHARE, _SHORTEST_SHORT = 16, 8
LONGEST_WINDOW = 256
_CELLS, _SHORTEST = 256, 16
_WINDOWS_IN_HISTORY = 3
_MEMORY_WINDOW = 64
_Channels = tuple[int, int | None]
"""All channels, and those that move; None: all of them."""


def default_window(num_rows: int, num_channels: int) -> int:
    """Return the rows of a window that suit the data.

    A window has about 256 cells and 16 to 256 rows: the covariance of so many cells can be estimated from an
    ordinary history. One channel gets a long window, which shows changes of pattern; in a short window of
    several channels, each channel helps to predict the others. A window never takes more than a third of the
    longest series, and has at least 4 rows.

    Args:
        num_rows: Rows of the longest series.
        num_channels: Channels of a row.

    >>> default_window(10_000, 1), default_window(10_000, 8), default_window(30, 8)
    (256, 32, 10)
    """
    wanted = min(LONGEST_WINDOW, max(_SHORTEST, _CELLS // num_channels))
    return max(MIN_WINDOW, min(wanted, num_rows // _WINDOWS_IN_HISTORY))


def default_combine(num_channels: int, delay: int, window: int) -> Combine:
    """Return the rule by which kinds of evidence become one error.

    For one channel the mean of all kinds was measured to be better where each verdict waits for every window
    with its row. Causally incidents were open for less of an event with it. For several channels it was not
    better (docs/decisions/0045).

    Args:
        num_channels: Channels of a row.
        delay: Rows that a final verdict waits.
        window: Rows of the longest window.

    >>> default_combine(1, 63, 64), default_combine(1, 0, 64), default_combine(8, 63, 64)
    ('mean', 'worst', 'worst')
    """
    return "mean" if num_channels == 1 and delay >= window - 1 else "worst"


def default_max_gap(window: int | None, num_channels: int) -> int:
    """Return the consecutive missing rows that a window may bridge: half a window; None: of the default.

    >>> default_max_gap(64, 8), default_max_gap(None, 8)
    (32, 16)
    """
    return (window or min(LONGEST_WINDOW, max(_SHORTEST, _CELLS // num_channels))) // 2


def check_families(options: ModelOptions) -> None:
    """Raise TrainerError for a family that does not exist, before any data is read."""
    _check_family("model.family", options.family, (ENSEMBLE, *models.FAMILIES))
    for member in options.members or ():
        _check_family("model.members", member.partition("/")[0].partition(":")[0], models.FAMILIES)


def resolve_members(
    options: ModelOptions,
    num_rows: int,
    num_channels: int,
    delay: int = 0,
    combine: Combine | None = None,
    num_living: int | None = None,
) -> tuple[Member, ...]:
    """Return the members to train with every hyperparameter resolved, the longest window first.

    By default an ensemble has a linear, a convolutional and a recurrent member over one window. Where
    verdicts do not wait, the two networks read every fourth window (docs/decisions/0049). A linear member
    over a short window is added for spikes. Where the mean of all kinds of evidence counts, a memory
    is added. Where the worst counts, the short window is left out if verdicts wait for later rows. These
    rows show a spike already, and the short window would only add noise (docs/decisions/0045).

    Args:
        options: Family, members, window and hyperparameters.
        num_rows: Rows of the longest series.
        num_channels: Channels of a row.
        delay: Rows that a final verdict waits.
        combine: The rule by which kinds of evidence become one error; None: `default_combine`.
        num_living: Channels that move in the history; None: all. The size of the code follows from these.
            With a code for the cells of the others as well, the model would reproduce everything.

    Raises:
        TrainerError: A family does not exist or cannot have a value.
    """
    check_families(options)
    window = options.window or default_window(num_rows, num_channels)
    combine = combine or default_combine(num_channels, delay, window)
    given = options.hyperparameters()
    if options.family != ENSEMBLE:
        if options.members is not None:
            raise TrainerError(
                f"model.members: only an ensemble has members, but model.family is {options.family!r}; remove"
                " one of the two"
            )
        return (_member(options.family, given, window, (num_channels, num_living)),)
    if given:
        raise TrainerError(
            f"model: an ensemble takes no {min(given)!r}: its members have their own defaults; choose"
            " one family to set it"
        )
    wanted = options.members or _default_members(window, delay, combine)
    return _in_order([_parsed(text, window, (num_channels, num_living)) for text in wanted])


def _default_members(window: int, delay: int, combine: Combine) -> list[str]:
    """Return the members of an ensemble that names none, as the configuration writes them."""
    short = max(_SHORTEST_SHORT, window // _SHORT_SHARE)
    members = list(ENSEMBLE_FAMILIES)
    if delay == 0 and window >= _LEAST_STRIDDEN:
        members = [name if name in DENSE else f"{name}/{_NETWORK_STRIDE}" for name in members]
    if window >= 2 * short and (combine == "mean" or delay < short):
        members.append(f"linear:{short}")
    if combine == "mean":
        members.append(f"memory:{min(window, _MEMORY_WINDOW)}")
    return members


def _in_order(members: Sequence[Member]) -> tuple[Member, ...]:
    """Return members with the longest window first, and of these one that reads every window."""
    first, *rest = sorted(members, key=lambda member: (-member.window, member.stride))
    if first.stride > 1:
        raise TrainerError(
            "model.members: one member with the longest window must read every window, since it gives the"
            f' expected values; remove the stride of {first.family!r}, or add "linear"'
        )
    return (first, *rest)


def _parsed(text: str, window: int, channels: _Channels) -> Member:
    described, slash, stride = text.partition("/")
    family, _, own = described.partition(":")
    if slash and (not stride.isdecimal() or int(stride) < 1):
        raise TrainerError(
            f'model.members: {text!r} is not FAMILY/STRIDE, such as "lstm/4": every fourth window is read'
        )
    if own and (not own.isdecimal() or int(own) < 1):
        raise TrainerError(f'model.members: {text!r} is not FAMILY or FAMILY:WINDOW, such as "linear:16"')
    if own and int(own) == 1:
        raise TrainerError(f"model.members: {text!r}: one row shows no course; use 2 rows or more")
    member = _member(family, {}, int(own) if own else window, channels)
    if int(stride or 1) > member.window:
        raise TrainerError(
            f"model.members: {text!r}: the stride is more than the window of {member.window} rows"
        )
    return replace(member, stride=int(stride or 1))


def _member(family: str, given: dict[str, Any], window: int, channels: _Channels) -> Member:
    num_channels, num_living = channels
    try:
        complete = models.resolve(family, given, window, num_channels)
        if num_living is not None and family not in BESIDE and "latent" not in given:
            latent = models.resolve(family, given, window, num_living)["latent"]
            complete = models.resolve(family, {**given, "latent": latent}, window, num_channels)
        return Member(family, complete, window)
    except ValueError as error:
        raise TrainerError(f"model: {error}") from error


def _check_family(key: str, family: str, known: Iterable[str]) -> None:
    names = list(known)
    if family in names:
        return
    near = difflib.get_close_matches(family.lower(), names, n=1)
    suggestion = f"; did you mean {near[0]!r}? Known" if near else "; known"
    raise TrainerError(f"{key}: unknown family {family!r}{suggestion}: {', '.join(names)}")
