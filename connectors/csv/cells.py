"""Cells of CSV, which are text, as numbers and as times: blocks of strings in, columns out.

A cell is missing if it is empty, or one of a few usual words such as `NA`. `true` and `false` are 1 and 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.times import EARLIEST_NS, INVALID_NS, NS_PER_UNIT, times_of
from connectors.values import MISSING_WORDS

NumberForm = Literal["point", "comma", "bool", "grouped point", "grouped comma"]
"""How the numbers of a column are written: 5.1, 5,1, true and false, 1,234.5, or 1.234,5."""
POINT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
COMMA = r"^[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?$"
THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+$"
POINT_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
GROUPED_POINT = r"^[+-]?[1-9]\d{0,2}((,\d{3})+\.\d+|(,\d{3}){2,})$"
GROUPED_COMMA = r"^[+-]?[1-9]\d{0,2}((\.\d{3})+,\d+|(\.\d{3}){2,})$"
"""Numbers with both signs, or with one of them twice: they can be read in one way only."""
BOOL = r"^(?i:true|false)$"
_NUMBER = r"^[+-]?\d+([.,]\d*)?$"
_NS_PER_US = 1_000


def cleaned(cells: pa.Array) -> pa.Array:
    """Return strings without spaces around them; null where they are missing."""
    cells = pc.utf8_trim_whitespace(cells)
    missing = pc.is_in(cells, pa.array(MISSING_WORDS))
    return pc.if_else(missing, pa.scalar(None, pa.string()), cells)


def numbers(cells: pa.Array, form: NumberForm) -> pa.Array:
    """Return strings as float64, null or NaN where missing. Raises ArrowInvalid if one is no number."""
    if form == "bool":
        return pc.equal(pc.utf8_lower(cleaned(cells)), "true").cast(pa.float64())
    if form in ("grouped point", "grouped comma"):
        cells = pc.replace_substring(cells, "," if form == "grouped point" else ".", "")
    if form in ("comma", "grouped comma"):
        cells = pc.replace_substring(cells, ",", ".")
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid:  # spaces or words for missing values
        return cleaned(cells).cast(pa.float64())


def unit_of_cell(cell: str) -> str | None:
    """Return the unit in which a cell is an epoch time from 1990 to 2262; None if it is no such time.

    >>> unit_of_cell("1767225600"), unit_of_cell("1767225600000"), unit_of_cell("2026-01-01")
    ('s', 'ms', None)
    """
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    fitting = (unit for unit, ns in NS_PER_UNIT.items() if EARLIEST_NS <= number * ns < 2**63)
    return next(fitting, None)


def times(cells: pa.Array, unit: str | None) -> NDArray[np.int64]:
    """Return int64 [n], UTC nanoseconds in whole microseconds; `INVALID_NS` where a cell is no time.

    Args:
        cells: strings without nulls.
        unit: the unit of epoch numbers; None: the cells are ISO 8601, or dates such as 31.12.2026.
    """
    if unit is not None:
        return _of_numbers(pc.utf8_trim_whitespace(cells), NS_PER_UNIT[unit])
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            found = cells.cast(kind).cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
        whole: NDArray[np.int64] = found // _NS_PER_US * _NS_PER_US
        return whole
    return _of_texts(cells)


def _of_numbers(cells: pa.Array, ns_per_unit: int) -> NDArray[np.int64]:
    limit = np.iinfo(np.int64).max // ns_per_unit
    try:
        whole: NDArray[np.int64] = cells.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return _of_fractions(cells, ns_per_unit)
    is_time = (whole >= 0) & (whole <= limit)
    ns = np.where(is_time, whole, 0) * ns_per_unit
    return np.where(is_time, ns // _NS_PER_US * _NS_PER_US, INVALID_NS)


def _of_fractions(cells: pa.Array, ns_per_unit: int) -> NDArray[np.int64]:
    """Return times of numbers with fractions, to the microsecond; a cell that is no number is no time."""
    is_number = pc.match_substring_regex(cells, _NUMBER)
    digits = pc.replace_substring(pc.if_else(is_number, cells, "0"), ",", ".")
    number = digits.cast(pa.float64()).to_numpy(zero_copy_only=False)
    us = np.rint(np.where(number < (2**63 - 1) / ns_per_unit, number, 0.0) * (ns_per_unit / _NS_PER_US))
    found = us.astype(np.int64) * _NS_PER_US
    return np.where((found > 0) & is_number.to_numpy(zero_copy_only=False), found, INVALID_NS)


def _of_texts(cells: pa.Array) -> NDArray[np.int64]:
    """Return times of texts in mixed or less usual forms; each distinct text is parsed once."""
    encoded = cells.dictionary_encode()
    texts = pc.utf8_trim_whitespace(encoded.dictionary)
    for pattern, iso in (
        (r"^(\d\d)\.(\d\d)\.(\d{4})", r"\3-\2-\1"),
        (r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3"),
        (r" ?(UTC|GMT)$", "Z"),
        (r" ([+-]\d\d:?\d\d)$", r"\1"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, iso)
    found: NDArray[np.int64] = times_of(texts.to_pylist())[encoded.indices.to_numpy()]
    return found
