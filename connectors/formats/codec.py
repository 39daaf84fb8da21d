"""Makes the codec of a form, and learns the channels of messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from connectors.errors import CodecError
from connectors.formats.channels import Columns
from connectors.formats.contract import FormCodec, Reader
from connectors.formats.csv_lines.reader import CsvReader
from connectors.formats.form import Form, Kind
from connectors.formats.line_protocol.reader import LineReader
from connectors.formats.objects.long import LongReader
from connectors.formats.objects.wide import WideReader, as_path
from connectors.formats.places import Path
from connectors.records import Codec, RawColumns
from connectors.wide_json.decoder import JsonWideCodec
from connectors.wide_json.encoder import FieldNames
from connectors.wide_json.limits import Limits


def _arrow(form: Form, columns: Columns, limits: Limits) -> Reader:
    from connectors.formats.arrow.reader import ArrowReader  # it loads pyarrow.compute

    return ArrowReader(form, columns, limits)


def _avro(form: Form, columns: Columns, limits: Limits) -> Reader:
    try:
        from connectors.formats.avro.reader import AvroReader
    except ModuleNotFoundError as error:
        remedy = "install it: pip install 'streamgauge[avro]'"
        raise CodecError(f"format {form.kind}: {error}; {remedy}") from error
    return AvroReader(form, columns, limits)


_READERS: dict[Kind, Callable[[Form, Columns, Limits], Reader]] = {
    "wide_json": WideReader,
    "long_json": LongReader,
    "line_protocol": LineReader,
    "arrow": _arrow,
    "avro": _avro,
    "long_avro": _avro,
    "csv": CsvReader,
}


def codec_of(channels: tuple[str, ...], form: Form, limits: Limits | None = None) -> Codec:
    """Return the codec of messages of a form for these channels.

    Wide JSON with plain fields has a codec of its own, which is the fastest.

    Raises:
        CodecError: the form or the channels cannot decode anything.
    """
    limits = limits or Limits()
    plain = plain_fields(form)
    if plain is not None:
        return JsonWideCodec(channels, plain, limits)
    columns = Columns(channels, form.selection, limits.unknown_channels == "reject")
    return FormCodec(channels, _READERS[form.kind](form, columns, limits), limits)


def channels_in(raw: RawColumns, form: Form) -> tuple[str, ...]:
    """Return the numeric channels of some messages, sorted; messages that cannot be read have none."""
    columns = Columns((), form.selection)
    found = _READERS[form.kind](form, columns, Limits()).read(raw).unknown
    return tuple(sorted({columns.channel_of(name) for name in found}))


def plain_fields(form: Form) -> FieldNames | None:
    """Return the three fields of wide JSON that needs no path and no other option; None of other forms."""
    usual = Form()
    names = [_plain(place) for place in (*form.series, form.time, form.values)]
    series, timestamp, values = names if len(names) == 3 else (None, None, None)
    if series is None or timestamp is None or values is None:
        return None
    if form != replace(usual, series=form.series, time=form.time, values=form.values):
        return None
    return FieldNames(series, timestamp, values)


def _plain(place: str | Path) -> str | None:
    """Return the name of a field of the outermost object; None of any other place."""
    if isinstance(place, str) and not place.startswith("$"):
        return None
    path = as_path(place)
    if len(path.steps) != 1 or path.is_of_record or isinstance(path.steps[0], int):
        return None
    return path.steps[0]
