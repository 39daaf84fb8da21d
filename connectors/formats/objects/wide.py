"""Reads messages whose values stand together in an object: nested, or beside series and time.

    {"device": {"id": "pump-17"}, "ts": 1767225600, "temperature": 21.3, "firmware": "2.1"}

Of names that are no channels only numbers count as unknown values. A channel has a number, a boolean or null;
anything else refuses the reading.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from connectors.formats.channels import Columns
from connectors.formats.contract import RefusedError, Rows, Table
from connectors.formats.form import Form
from connectors.formats.objects.columnar import Records, records_at_once
from connectors.formats.objects.records import Body, json_body, numbered, records_of
from connectors.formats.places import BROKER, STAMPS, Path, SeriesPlace, TimePlace, kind_of, path_of
from connectors.records import RawColumns
from connectors.times import Clock
from connectors.wide_json.limits import Limits

_STAMPS = STAMPS | {datetime}
_TEXT, _OBJECT = frozenset({str}), frozenset({dict})
_CELLS = frozenset({int, float, bool, type(None)})
_NUMBERS = frozenset({int, float, bool, Decimal})
_LARGEST_LAYOUT = 1 << 18
"""Bytes of a layout that is remembered; about 3,000 names have as many."""
_LARGEST_LAYOUTS = 1 << 24
"""Bytes of all layouts that are remembered."""
_BYTES_A_NAME = 64


class WideReader:
    """Reads one row of all channels from each object. Raises CodecError for places that are none."""

    def __init__(self, form: Form, columns: Columns, limits: Limits, body: Body = json_body) -> None:
        self.clock = Clock() if form.time == BROKER else form.clock or Clock()
        self._series, self._time = SeriesPlace(form.series), TimePlace(form.time)
        self._values = as_path(form.values)
        self._inside = None if form.records is None else as_path(form.records)
        self._columns, self._limits, self._body = columns, limits, body
        self._names = tuple(columns.at)
        self._known = frozenset(columns.at)
        others = (*self._series.paths, self._time.path)
        self._no_values = _keys_on_the_way(self._values, [one for one in others if one])
        self._layouts: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._size_of_layouts = 0

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""
        rows, cells = self._at_once(raw) or self._one_by_one(raw)
        known = np.array(cells, np.float64).reshape(len(rows.message), len(self._names))
        return rows.table(self.clock, self._columns.spread(known))

    def _at_once(self, raw: RawColumns) -> tuple[Rows, list[Any]] | None:
        """Return the rows and their cells, one after the other; None if a message is unusual."""
        found = records_at_once(raw, self._inside, self._limits, self._body)
        if found is None:
            return None
        try:
            series, stamps = self._names_of(raw, found), self._stamps_of(raw, found)
        except RefusedError:
            return None
        values = found.column(self._values, _OBJECT)
        if series is None or stamps is None or values is None or "" in series:
            return None
        rows = Rows(list(found.message), series, stamps)
        cells = self._usual_cells(values, rows)
        return None if cells is None else (rows, cells)

    def _names_of(self, raw: RawColumns, found: Records) -> list[str] | None:
        """Return the series of readings; None, or RefusedError, if one is unusual."""
        if self._series.only is not None:
            return found.column(self._series.only, _TEXT)
        triples = zip(found.message, found.bodies, found.records, strict=True)
        return [self._series.find(raw, at, body, record) for at, body, record in triples]

    def _stamps_of(self, raw: RawColumns, found: Records) -> list[int | float | str] | None:
        """Return the times of readings as they were sent; None, or RefusedError, if one is unusual."""
        if self._time.path is not None:
            stamps = found.column(self._time.path, _STAMPS)
            has_objects = stamps is not None and datetime in set(map(type, stamps))
            return [_text_of(one) for one in stamps] if stamps and has_objects else stamps
        return [self._time.find(raw, at, None, None) for at in found.message]

    def _usual_cells(self, values: list[dict[str, Any]], rows: Rows) -> list[Any] | None:
        """Return the cells of objects, in order, and count unknown values; None if one is unusual."""
        layouts = set(map(tuple, values))
        others = [name for layout in layouts for name in self._layouts.get(layout) or self._others(layout)]
        for name in others:
            kinds = set(map(type, map(itemgetter(name), values))) if len(layouts) == 1 else _NUMBERS
            if kinds & _NUMBERS:
                if self._columns.rejects_unknown or not kinds <= _NUMBERS or len(layouts) > 1:
                    return None
                rows.unknown[name] += len(values)
        num = len(self._names)
        if num > 1 and all(self._known <= set(layout) for layout in layouts):
            cells = list(chain.from_iterable(map(itemgetter(*self._names), values)))
        elif self._known and not any(self._known.isdisjoint(layout) for layout in layouts):
            cells = [one.get(name) for one in values for name in self._names]
        else:
            return None
        return cells if set(map(type, cells)) <= _CELLS else None

    def _one_by_one(self, raw: RawColumns) -> tuple[Rows, list[Any]]:
        """Return the rows and their cells, one after the other; refuse what cannot be read."""
        rows, cells = Rows(), list[Any]()
        for at, number, body, record in records_of(raw, rows, self._body, self._inside, self._limits):
            series = ""
            try:
                series = self._series.find(raw, at, body, record)
                stamp = self._time.find(raw, at, body, record)
                cells += self._cells(self._values.find(body, record), rows)
            except RefusedError as error:
                rows.refuse(at, numbered(error.refusal, number, series))
                continue
            rows.add(at, series, stamp)
        return rows, cells

    def _cells(self, values: Any, rows: Rows) -> list[Any]:
        """Return the values of the columns' names. Raises RefusedError."""
        if type(values) is not dict:
            raise RefusedError(
                "wrong_type", f"expected an object, got {kind_of(values)} - at {self._values.text}"
            )
        layout = tuple(values)
        others = self._layouts.get(layout)
        if others is None:
            others = self._others(layout)
        found = [cell_of(name, values.get(name)) for name in self._names]
        unknown = [name for name in others if type(values[name]) in _NUMBERS]
        if self._columns.rejects_unknown and unknown:
            raise RefusedError("unknown_channel", f"channel {min(unknown)!r} is not configured")
        if self._names and self._known.isdisjoint(values):
            some = f"only channels such as {min(unknown)!r}" if unknown else "no values"
            raise RefusedError("no_known_channel", f"{some}, expected such as {self._names[0]!r}")
        rows.unknown.update(unknown)
        return found

    def _others(self, layout: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of an object that are no channels; few names are remembered."""
        takes, known = self._columns.takes, self._columns.at
        others = tuple(
            name for name in layout if name not in known and name not in self._no_values and takes(name)
        )
        size = _BYTES_A_NAME * (1 + len(layout)) + sum(map(len, layout))
        if size <= _LARGEST_LAYOUT:
            if self._size_of_layouts + size > _LARGEST_LAYOUTS:
                self._layouts.clear()
                self._size_of_layouts = 0
            self._layouts[layout] = others
            self._size_of_layouts += size
        return others


def _text_of(stamp: Any) -> int | float | str:
    """Return a time as a number or a text."""
    return stamp.isoformat() if isinstance(stamp, datetime) else stamp


def as_path(place: str | Path) -> Path:
    """Return a place that has to be a path. Raises CodecError."""
    return place if isinstance(place, Path) else path_of(place)


def cell_of(name: str, value: Any) -> float | None:
    """Return the value of a channel. Raises RefusedError if it is no number, boolean or null."""
    if type(value) in _CELLS:
        return value  # type: ignore[no-any-return]  # a number or None
    if type(value) is Decimal:
        return float(value)
    raise RefusedError("wrong_type", f"expected a number or null, got {kind_of(value)} - at channel {name!r}")


def _keys_on_the_way(values: Path, others: list[Path]) -> frozenset[str | int]:
    """Return the names in the object of values at which the paths of other fields pass."""
    depth = len(values.steps)
    return frozenset(
        one.steps[depth]
        for one in others
        if one.is_of_record == values.is_of_record
        and len(one.steps) > depth
        and one.steps[:depth] == values.steps
    )
