"""Reads InfluxDB line protocol: tags name the series, measurement and field name the channel.

    cpu,host=web-1,cpu=cpu0 usage_idle=98.1 1767225600000000000

With the tag `host` as the series this is channel `cpu_usage_idle` of `web-1`. With the tag `cpu` among the
channel tags it is `cpu_cpu0_usage_idle`. The path of a tag is `$.host`. A line without a time has that of the
broker. A field that the model lacks is counted as unknown, and is no fault.
"""

from __future__ import annotations

import numpy as np

from connectors.formats.channels import Columns
from connectors.formats.contract import RefusedError, Rows, Table, usable
from connectors.formats.form import Form
from connectors.formats.line_protocol.lines import Line, lines_of
from connectors.formats.places import BROKER, SeriesPlace, check_single
from connectors.records import RawColumns
from connectors.times import NS_PER_MS, Clock, iso_time
from connectors.wide_json.limits import Limits, Refusal

_NANOSECONDS = Clock("ns")


class LineReader:
    """Reads a row from each line. Raises CodecError for places that are none."""

    def __init__(self, form: Form, columns: Columns, limits: Limits) -> None:
        self.clock = form.clock or _NANOSECONDS
        self._series, self._is_by_broker = SeriesPlace(form.series), form.time == BROKER
        check_single(self._series.paths, "a tag")
        self._tags, self._columns, self._limits = form.channel_tags, columns, limits

    def read(self, raw: RawColumns) -> Table:
        """Read messages in order of arrival."""
        rows, cells = Rows(), list[dict[int, float]]()
        for at, value in usable(raw, self._limits, rows.refusals, "malformed"):
            try:
                text = value.decode()
            except UnicodeDecodeError:
                rows.refuse(at, Refusal("malformed", "the message is no UTF-8"))
                continue
            number = 0
            for number, line in enumerate(lines_of(text), 1):
                try:
                    if isinstance(line, RefusedError):
                        raise line
                    found = self._cells(line, rows)
                    if found:
                        rows.add(
                            at, self._series.find(raw, at, line.tags, line.tags), self._stamp(raw, at, line)
                        )
                        cells.append(found)
                    elif line.fields:
                        rows.meet(at, self._series.find(raw, at, line.tags, line.tags))
                except RefusedError as error:
                    refusal = error.refusal
                    rows.refuse(at, Refusal(refusal.reason, f"line {number}: {refusal.detail}"))
            if not number:
                rows.refuse(at, Refusal("malformed", "the message has no line"))
        return rows.table(self.clock, self._columns.scaled(self._values(cells)))

    def _cells(self, line: Line, rows: Rows) -> dict[int, float]:
        """Return column -> value of the fields that are channels. Raises RefusedError."""
        tags = [line.tags[name] for name in self._tags if name in line.tags]
        prefix = "_".join((line.measurement, *tags))
        found: dict[int, float] = {}
        unknown = []
        for field, value in line.fields.items():
            name = f"{prefix}_{field}"
            column = self._columns.at.get(name)
            if column is None:
                if not isinstance(value, str) and self._columns.takes(name):
                    unknown.append(name)
            elif isinstance(value, str):
                raise RefusedError("wrong_type", f"expected a number, got a text - at channel {name!r}")
            else:
                found[column] = value
        if unknown and self._columns.rejects_unknown:
            raise RefusedError("unknown_channel", f"channel {min(unknown)!r} is not configured")
        rows.unknown.update(unknown)
        return found

    def _stamp(self, raw: RawColumns, at: int, line: Line) -> int | str:
        """Return the time of a line, or the broker's where it has none. Raises RefusedError."""
        if line.stamp is not None and not self._is_by_broker:
            return line.stamp
        broker_ms = int(raw.timestamp_ms[at])
        if broker_ms < 0:
            raise RefusedError("bad_timestamp", "the line has no time, and the message none of the broker")
        return iso_time(broker_ms * NS_PER_MS)

    def _values(self, cells: list[dict[int, float]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Return float64 [rows, channels]."""
        values = np.full((len(cells), self._columns.num), np.nan)
        sizes = list(map(len, cells))
        columns = [column for one in cells for column in one]
        values[np.repeat(np.arange(len(cells)), sizes), columns] = [v for one in cells for v in one.values()]
        return values
