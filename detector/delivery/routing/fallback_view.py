"""How far the kinds of the fallback are, for metrics and the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KindView:
    """Hold how far one kind has come.

    model     the name of its fallback
    channels  sorted
    series    series that it judges
    names     some of these
    rows      normal rows from which they have learnt
    is_ready  whether these are enough to train a model
    """

    model: str
    channels: tuple[str, ...]
    series: int
    names: tuple[str, ...]
    rows: int
    is_ready: bool


@dataclass(frozen=True, slots=True)
class FallbackView:
    """Hold all kinds that a fallback judges, and the command that trains models of them."""

    kinds: tuple[KindView, ...] = ()
    command: str = ""
