"""What the columns of a CSV file hold: numbers and how they are written, text, nothing.

A column is of numbers if every cell is a number or missing. Otherwise it is text. If most of its cells were
numbers until the first other one, that cell is its fault, which messages name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from connectors.csv.cells import (
    BOOL,
    COMMA,
    GROUPED_COMMA,
    GROUPED_POINT,
    POINT,
    POINT_THOUSANDS,
    THOUSANDS,
    NumberForm,
    cleaned,
)

_SEPARATED = re.compile(r"[+-]?\d{1,3}([\s'\u2019]\d{3})+([.,]\d+)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """A cell that is no number in a column of numbers: its row from 0, its text, and what is wrong."""

    row: int
    cell: str
    why: str


@dataclass(slots=True)
class ColumnTally:
    """Counts the forms of the cells of one column, block by block.

    first        the first cell and its row, by form, and of point only where a point is written
    num_numbers  cells that are numbers
    all_grouped  whether every number with a comma could have it between thousands
    all_points_grouped  the same of points
    is_text      whether a cell was no number
    fault        the first other cell of a column of numbers
    """

    first: dict[NumberForm, tuple[int, str]] = field(default_factory=dict)
    num_numbers: int = 0
    num_bools: int = 0
    all_grouped: bool = True
    all_points_grouped: bool = True
    is_text: bool = False
    fault: Fault | None = None

    def add(self, cells: pa.Array, row: int) -> None:
        """Count a block of strings; `row` is the number of its first row."""
        if self.is_text or cells.null_count == len(cells):
            return
        if self.num_bools or not _are_plain(cells):
            self._add_classified(cleaned(cells), row)
            return
        self.num_numbers += len(cells) - cells.null_count
        self._see_points(cells, pc.match_substring(cells, "."), row)

    @property
    def has_values(self) -> bool:
        """Whether a cell is not missing."""
        return self.is_text or self.num_numbers + self.num_bools > 0

    def form(self) -> NumberForm | None:
        """Return how the numbers are written; None for text."""
        if self.is_text:
            return None
        if self.num_bools:
            return "bool"
        forms: tuple[NumberForm, ...] = ("grouped comma", "grouped point", "comma")
        return next((one for one in forms if one in self.first), "point")

    def decimal_sign(self) -> str:
        """Return the sign before the decimals, "." or ","; empty where no number shows one, and for text."""
        form = self.form()
        if form is None or form == "bool" or (form == "point" and "point" not in self.first):
            return ""
        return "," if form in ("comma", "grouped comma") else "."

    def doubt(self, delimiter: str) -> str:
        """Return the first number whose sign could stand between thousands as well; empty without one.

        Files with the comma as delimiter have the point for decimals.
        """
        form = self.form()
        is_point = form == "point" and self.all_points_grouped and delimiter != ","
        is_doubtful = is_point or (form == "comma" and self.all_grouped)
        return self.first[form][1] if is_doubtful and form in self.first else ""

    def refuse(self, form: NumberForm, why: str) -> None:
        """Make the column text, since numbers of this form can mean two things."""
        row, cell = self.first[form]
        self.is_text, self.fault = True, Fault(row, cell, why)

    def settle(self, delimiter: str) -> None:
        """Decide between the forms in the column itself; refuse what can mean two things.

        A sign between thousands is believed beside a number that shows it. Beside a decimal comma alone it is
        believed where the delimiter is no comma.
        """
        both = "point" in self.first and "comma" in self.first
        if both and delimiter != "," and self.all_points_grouped and not self.all_grouped:
            self.first.setdefault("grouped comma", self.first["point"])
        if "grouped comma" in self.first:
            if "grouped point" in self.first:
                self.refuse("grouped point", "has a point for decimals, and other cells have a comma")
            elif "point" in self.first and not self.all_points_grouped:
                self.refuse("point", "has a point, and other cells of the column have a decimal comma")
        elif "grouped point" in self.first:
            if "comma" in self.first and not self.all_grouped:
                self.refuse("comma", "has a comma, and other cells of the column have a decimal point")
        elif both:
            self.refuse("comma", "has a comma, and other cells of the column have a point")

    def _see_points(self, cells: pa.Array, which: pa.Array, row: int) -> None:
        self._see("point", cells, which, row)
        if self.all_points_grouped and "point" in self.first:
            grouped = pc.or_(pc.match_substring_regex(cells, POINT_THOUSANDS), pc.invert(which))
            self.all_points_grouped = pc.all(grouped).as_py() is not False

    def _see(self, form: NumberForm, cells: pa.Array, which: pa.Array, row: int) -> None:
        if form not in self.first and (at := pc.index(which, True).as_py()) >= 0:
            self.first[form] = row + at, cells[at].as_py()

    def _add_classified(self, cells: pa.Array, row: int) -> None:
        point, comma, is_bool = (pc.match_substring_regex(cells, one) for one in (POINT, COMMA, BOOL))
        by_point, by_comma = (pc.match_substring_regex(cells, one) for one in (GROUPED_POINT, GROUPED_COMMA))
        number = pc.or_(pc.or_(point, comma), pc.or_(by_point, by_comma))
        self._see_points(cells, pc.and_(point, pc.match_substring(cells, ".")), row)
        self._see("grouped point", cells, by_point, row)
        self._see("grouped comma", cells, by_comma, row)
        self._see("comma", cells, comma, row)
        grouped = pc.or_(pc.match_substring_regex(cells, THOUSANDS), pc.invert(comma))
        self.all_grouped &= pc.all(grouped).as_py() is not False
        is_bools = self.num_bools > 0 or self.num_numbers + _count(number) == 0
        usual = is_bool if is_bools else number
        self.num_bools += _count(is_bool) if is_bools else 0
        self.num_numbers += 0 if is_bools else _count(number)
        other = pc.invert(usual)
        at = pc.index(other, True).as_py()
        if at < 0:
            return
        self.is_text = True
        if _SEPARATED.fullmatch(cells[at].as_py()):
            self.fault = Fault(row + at, cells[at].as_py(), "has signs between its digits; write 1234.5")
        elif self.num_numbers + self.num_bools >= _count(other):
            self.fault = Fault(row + at, cells[at].as_py(), "is no number")


def _are_plain(cells: pa.Array) -> bool:
    """Return whether all cells are numbers with a point, without spaces or words."""
    try:
        cells.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _count(which: pa.Array) -> int:
    return pc.sum(which).as_py() or 0


def settle_decimals(tallies: list[ColumnTally], delimiter: str) -> None:
    """Refuse the columns whose decimal sign contradicts the rest of the file.

    A comma in one column and a point in another can be a decimal sign and one between thousands. A number
    such as 1.234,5 in the file decides. Else the point is believed where the delimiter is a comma, and the
    comma where it is another sign.
    """
    for one in tallies:
        if not one.is_text:
            one.settle(delimiter)
    forms = [one.form() for one in tallies]
    sure = {form for form in forms if form in ("grouped comma", "grouped point")}
    comma, point = (
        [one for one, found in zip(tallies, forms, strict=True) if found == form and form in one.first]
        for form in ("comma", "point")
    )
    is_comma = "grouped comma" in sure or (not sure and delimiter != "," and bool(comma))
    if is_comma:
        for one in point:
            if sure and one.all_points_grouped:
                one.first["grouped comma"] = one.first["point"]
            else:
                one.refuse("point", "has a point, and other columns have a decimal comma")
        return
    for one in comma:
        if "grouped point" in sure and one.all_grouped:
            one.first["grouped point"] = one.first["comma"]
        elif point or sure:
            one.refuse("comma", "has a comma, and other columns have a decimal point")
        elif one.all_grouped:
            one.refuse("comma", "has a comma that may be a decimal sign or one between thousands")
