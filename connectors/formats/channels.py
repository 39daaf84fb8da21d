"""Which names in a message are channels: patterns, other names, scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from connectors.errors import CodecError

_LONGEST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Scale:
    """A channel is `factor` times the value of the message, plus `offset`."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which names of a message are channels, and what they are called and measured in.

    include   patterns such as `temp*`; none: every name
    exclude   patterns of names that are never channels; they are not counted as unknown either
    rename    name in the message -> channel
    scales    channel -> its scale
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)

    def takes(self, name: str) -> bool:
        """Return whether a name of a message may be a channel.

        >>> Selection(include=("temp*",), exclude=("*_raw",)).takes("temp_raw")
        False
        """
        is_named = not self.include or any(fnmatchcase(name, one) for one in self.include)
        return is_named and not any(fnmatchcase(name, one) for one in self.exclude)


class Columns:
    """The columns of a table of readings, by the names in messages.

    Raises CodecError: two names of a message would be one channel.
    """

    def __init__(
        self, channels: tuple[str, ...], selection: Selection, rejects_unknown: bool = False
    ) -> None:
        """Find the name of each channel.

        Args:
            channels: the channels of the model; none: every name counts as unknown, to learn names.
            selection: which names are channels.
            rejects_unknown: whether the name of no channel refuses a message.
        """
        names: dict[str, str] = {}
        for name, channel in selection.rename.items():
            if channel in names:
                raise CodecError(f"{names[channel]!r} and {name!r} are both renamed to channel {channel!r}")
            names[channel] = name
        self.num, self.rejects_unknown, self._rename = len(channels), rejects_unknown, selection.rename
        self._takes, self._remembered = selection.takes, lru_cache(4_096)(selection.takes)
        sources = [names.get(channel, channel) for channel in channels]
        self.at = {name: column for column, name in enumerate(sources) if selection.takes(name)}
        """Name in a message -> column."""
        scales = [selection.scales.get(channel, Scale()) for channel in channels]
        self._factor_C = np.array([one.factor for one in scales])
        self._offset_C = np.array([one.offset for one in scales])
        self._is_scaled = any(one != Scale() for one in scales)

    def takes(self, name: str) -> bool:
        """Return whether a name of a message may be a channel. Short names are remembered."""
        return self._remembered(name) if len(name) <= _LONGEST_REMEMBERED else self._takes(name)

    def channel_of(self, name: str) -> str:
        """Return what a name of a message is called as a channel."""
        return self._rename.get(name, name)

    def spread(self, known: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of the names in `at` as those of all channels, in their units.

        Args:
            known: float64 [n, names], in the order of `at`.

        Returns:
            float64 [n, channels]; a channel whose name is not taken is missing.
        """
        if len(self.at) == self.num:
            return self.scaled(known)
        values = np.full((len(known), self.num), np.nan)
        values[:, list(self.at.values())] = known
        return self.scaled(values)

    def scaled(self, values_NC: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of messages in the units of the channels, infinite where one is too large."""
        if not self._is_scaled:
            return values_NC
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: NDArray[np.float64] = values_NC * self._factor_C + self._offset_C
        return scaled
