"""The kinds of evidence that can speak against a row."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Kind(IntEnum):
    """The kind of evidence that spoke loudest. `WINDOW` also stands where none spoke."""

    WINDOW = 0
    LEVEL = 1
    SEASON = 2
    DRIFT = 3
    MODE = 4

    @property
    def label(self) -> str:
        """The kind's name in messages, metrics and files.

        >>> Kind.SEASON.label
        'season'
        """
        return self.name.lower()


SWITCHES: dict[str, Kind] = {
    "level": Kind.LEVEL,
    "season": Kind.SEASON,
    "drift": Kind.DRIFT,
    "modes": Kind.MODE,
}
"""Evidence that can be switched off, by its key in the section `[evidence]`."""


def switches_of(text: str) -> tuple[str, ...]:
    """Return the kinds that a list names, sorted and each once.

    Args:
        text: Keys of `[evidence]`, separated by commas.

    Raises:
        ValueError: A name is no such key.

    >>> switches_of("season, level")
    ('level', 'season')
    """
    return checked_switches(part.strip() for part in text.split(",") if part.strip())


def checked_switches(names: Iterable[str]) -> tuple[str, ...]:
    """Return these keys of `SWITCHES`, sorted and each once. Raises ValueError for another name."""
    found = tuple(sorted(set(names)))
    unknown = [name for name in found if name not in SWITCHES]
    if unknown:
        raise ValueError(f"no such evidence: {', '.join(unknown)}; known: {', '.join(SWITCHES)}")
    return found
