"""Reads messages of one channel each: a series, the name of a channel, its value and the time.

    {"machine": "pump-17", "tag": "temperature", "value": 21.3, "ts": "2026-01-01T00:00:00Z"}

Each gives a reading with one value. The grid joins those of a row, whatever batches they came in. A channel
that the model lacks is counted as unknown, and is no fault: other messages of the topic have the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from connectors.formats.channels import Columns
from connectors.formats.contract import RefusedError, Rows, Table
from connectors.formats.form import Form
from connectors.formats.objects.records import Body, json_body, numbered, records_of
from connectors.formats.objects.wide import as_path, cell_of
from connectors.formats.places import BROKER, SeriesPlace, TimePlace
from connectors.records import RawColumns
from connectors.times import Clock
from connectors.wide_json.limits import Limits


class LongReader:
    """Reads one value from each object. Raises CodecError for places that are none."""

    def __init__(self, form: Form, columns: Columns, limits: Limits, body: Body = json_body) -> None:
        self.clock = Clock() if form.time == BROKER else form.clock or Clock()
        self._series, self._time = SeriesPlace(form.series), TimePlace(form.time)
        self._channel, self._value = SeriesPlace((form.channel,)), as_path(form.value)
        self._inside = None if form.records is None else as_path(form.records)
        self._columns, self._limits, self._body = columns, limits, body

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""
        rows, column, cells = Rows(), list[int](), list[float | None]()
        at_of = self._columns.at
        for at, number, body, record in records_of(raw, rows, self._body, self._inside, self._limits):
            try:
                name = self._channel.find(raw, at, body, record)
                if name not in at_of:
                    if self._count(name, rows) and (series := self._series_or_none(raw, at, body, record)):
                        rows.meet(at, series)
                    continue
                cell = cell_of(name, self._value.find(body, record, may_be_null=True))
                series = self._series.find(raw, at, body, record)
                rows.add(at, series, self._time.find(raw, at, body, record))
            except RefusedError as error:
                rows.refuse(at, numbered(error.refusal, number, self._series_or_none(raw, at, body, record)))
                continue
            column.append(at_of[name])
            cells.append(cell)
        values = np.full((len(cells), self._columns.num), np.nan)
        values[np.arange(len(cells)), column] = np.array(cells, np.float64)
        return rows.table(self.clock, self._columns.scaled(values))

    def _series_or_none(self, raw: RawColumns, at: int, body: Any, record: Any) -> str:
        """Return the series of a reading that is refused, "" where it has none."""
        try:
            return self._series.find(raw, at, body, record)
        except RefusedError:
            return ""

    def _count(self, name: str, rows: Rows) -> bool:
        """Count a name that may be a channel, or return False. Raises RefusedError where it refuses."""
        if not self._columns.takes(name):
            return False
        if self._columns.rejects_unknown:
            raise RefusedError("unknown_channel", f"channel {name!r} is not configured")
        rows.unknown[name] += 1
        return True
