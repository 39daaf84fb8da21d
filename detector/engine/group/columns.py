"""The channels of several models as the columns of one table of readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Columns:
    """The union of the channels of several models.

    names  all channels; those of the first model come first, then what each further one adds
    own    for each model the columns of its channels, in the order of its channels, intp [C] each
    """

    names: tuple[str, ...]
    own: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, channels: Sequence[tuple[str, ...]]) -> Columns:
        """Return the union of the channels of each model.

        >>> Columns.of([("flow", "motor"), ("speed", "motor")]).names
        ('flow', 'motor', 'speed')
        """
        names = tuple(dict.fromkeys(name for one in channels for name in one))
        at = {name: number for number, name in enumerate(names)}
        return cls(names, tuple(np.array([at[name] for name in one], np.intp) for one in channels))

    def masks(self) -> NDArray[np.bool_]:
        """Return which columns are each model's, bool [models, columns]."""
        found = np.zeros((len(self.own), len(self.names)), np.bool_)
        for number, columns in enumerate(self.own):
            found[number, columns] = True
        return found
