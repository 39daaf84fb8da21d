"""One rule for the value of a channel, whatever the entrance: message, Parquet, frame.

    number    floats, integers, booleans (0 and 1), decimals; dictionary-encoded numbers too
    empty     null, absent, NaN, infinite: the value is missing
    text      never a number, not even "5.1": it is refused or reported, and never converted

A column keeps one kind in all files. Numbers of several types are one kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

import numpy as np

MISSING_WORDS = (
    *("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN"),
    *("NULL", "Null", "null", "None", "none", "-"),
)
"""Texts in CSV that stand for a missing value."""
Kind = Literal["number", "empty", "text", "time", "other"]
_NUMBER = re.compile(
    r"[+-]?(\d{1,3}([ .,'\u00a0\u202f]\d{3})+|\d+)?([.,]\d*)?([eE][+-]?\d+)?\s*(%|°?[A-Za-z]{1,3})?"
)
_NUMERIC = (bool, int, float, Decimal, np.number, np.bool_)
_ENOUGH = 0.5


def kind_of_objects(values: Iterable[object]) -> Kind:
    """Return the kind of Python values, None and NaN aside; one text among numbers makes them text.

    >>> kind_of_objects([None, 1, Decimal("2.5"), True])
    'number'
    >>> kind_of_objects([1.5, "5,1"])
    'text'
    """
    kinds = {_kind_of(value) for value in values if value is not None and value == value}
    order: tuple[Kind, ...] = ("other", "text", "number")
    return next((kind for kind in order if kind in kinds), "empty")


def looks_like_number(text: str) -> bool:
    """Return whether a text is a number for a person: decimal commas, thousands, exponents, a short unit.

    >>> [looks_like_number(text) for text in ("5,1", "1 234.5", "12 %", "pump 7", "")]
    [True, True, True, False, False]
    """
    stripped = text.strip()
    return any(letter.isdecimal() for letter in stripped) and _NUMBER.fullmatch(stripped) is not None


def are_numbers_as_text(texts: Iterable[str]) -> bool:
    """Return whether at least half of some texts, empty ones aside, look like numbers."""
    filled = [text for text in texts if text.strip()]
    return bool(filled) and sum(map(looks_like_number, filled)) >= _ENOUGH * len(filled)


def _kind_of(value: object) -> Kind:
    if isinstance(value, complex | np.complexfloating | np.timedelta64):
        return "other"
    if isinstance(value, _NUMERIC):
        return "number"
    return "text" if isinstance(value, str | bytes) else "other"
