"""Reads wide JSON with paths, flat objects or arrays whose channels are not known (`Opening`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from connectors.formats.channels import Columns
from connectors.formats.contract import FormCodec, RefusedError
from connectors.formats.form import Form
from connectors.formats.objects.records import json_body
from connectors.formats.objects.wide import WideReader, as_path, keys_on_the_way
from connectors.formats.places import SeriesPlace, TimePlace
from connectors.records import Codec, RawColumns
from connectors.wide_json.limits import Limits

_CELLS = frozenset({int, float, bool, type(None)})


class OpenWide:
    """Finds the series and the numbers of messages of a form.

    Args:
        form: of wide JSON.
        limits: what is refused; names of no channel never are.
    """

    def __init__(self, form: Form, limits: Limits) -> None:
        self._form, self._limits = form, limits
        self._series, self._values = SeriesPlace(form.series), as_path(form.values)
        self._inside = None if form.records is None else as_path(form.records)
        others = (*self._series.paths, TimePlace(form.time).path)
        self._no_values = keys_on_the_way(self._values, [one for one in others if one])
        self._columns = Columns((), form.selection)

    def series_of(self, raw: RawColumns, at: int) -> frozenset[str]:
        """Return the series of the readings of a message; none where it cannot be read."""
        return frozenset(series for series, _ in self._readings(raw, at, self._body(raw, at)))

    def numbers_of(self, raw: RawColumns, at: int, takes: Callable[[str, str], bool]) -> bytes | None:
        """Return a message without the values that are no numbers of a channel; a faulty one as it is."""
        body, is_changed = self._body(raw, at), False
        for series, values in self._readings(raw, at, body):
            for name in [name for name in values if name not in self._no_values]:
                is_number = type(values[name]) in _CELLS and self._columns.takes(name)
                if not (is_number and takes(self._columns.channel_of(name), series)):
                    del values[name]
                    is_changed = True
        return orjson.dumps(body) if is_changed else raw.value[at]

    def codec_of(self, channels: tuple[str, ...]) -> Codec:
        """Return the codec for these channels."""
        columns = Columns(channels, self._form.selection)
        return FormCodec(channels, WideReader(self._form, columns, self._limits), self._limits)

    def _body(self, raw: RawColumns, at: int) -> Any:
        """Return what a message has; None where it cannot be read."""
        value = raw.value[at]
        if value is None or len(value) > self._limits.max_bytes:
            return None
        try:
            return json_body(value)
        except RefusedError:
            return None

    def _readings(self, raw: RawColumns, at: int, body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield series and values of the readings of a message that have both."""
        try:
            found = body if self._inside is None else self._inside.find(body, body)
        except RefusedError:
            return
        for record in found if type(found) is list else [found]:
            whole = body if self._inside is not None else record
            try:
                series = self._series.find(raw, at, whole, record)
                values = self._values.find(whole, record)
            except RefusedError:
                continue
            if type(values) is dict:
                yield series, values
