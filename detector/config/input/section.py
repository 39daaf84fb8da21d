"""Describe [input]: the form of the messages that are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from connectors.errors import CodecError
from connectors.formats.by_topic import TopicCodecs
from connectors.formats.channels import Scale, Selection
from connectors.formats.codec import codec_of
from connectors.formats.form import Form, Kind
from connectors.formats.places import BROKER, field_of
from connectors.records import Codec
from connectors.times import Clock, Unit
from connectors.wide_json.limits import Limits
from detector.config.input.registry import SchemaRegistrySection
from detector.config.types import Duration, Section

Places = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
_SHORT = {"series": "series_field", "time": "timestamp_field", "values": "values_field"}
_ALL_BUT_LINES = ("wide_json", "long_json", "arrow", "avro", "long_avro", "csv")
_WIDE, _LONG, AVRO = ("wide_json", "avro"), ("long_json", "long_avro"), ("avro", "long_avro")
BINARY = ("arrow", *AVRO)
_ONLY_FOR = {
    "values": _WIDE,
    "values_field": _WIDE,
    "series_field": _ALL_BUT_LINES,
    "timestamp_field": _ALL_BUT_LINES,
    "time_zone": _ALL_BUT_LINES,
    "channel": _LONG,
    "value": _LONG,
    "records": (*_WIDE, *_LONG),
    "channel_tags": ("line_protocol",),
    "columns": ("csv",),
    "delimiter": ("csv",),
    "decimal": ("csv",),
}
_UNIT: dict[str, Unit] = {"line_protocol": "ns"}
_SERIES = {"line_protocol": ("$.host",)}


class ScaleSection(Section):
    """The units of one channel: `factor` times the value of the message, plus `offset`."""

    factor: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)


class InputSection(Section):
    """The form of input messages (docs/formats.md). One that does not fit goes to PREFIX.dead-letters."""

    format: Kind = Field(default="wide_json", description="what a message is")
    series: Places = Field(
        default=(),
        description="where the series is: a path such as $.device.id, key, topic, topic:2 or header:NAME;"
        " several are joined with /",
    )
    time: str | None = Field(
        default=None, description="where the time is: a path such as $.ts, or broker for the broker's time"
    )
    values: str | None = Field(
        default=None, description="where the object channel -> value is; $: beside series and time"
    )
    channel: str | None = Field(
        default=None,
        description="of long_json and long_avro: where the name of the channel is; default $.channel",
    )
    value: str | None = Field(
        default=None, description="of long_json and long_avro: where its value is; default $.value"
    )
    records: str | None = Field(
        default=None, description="array of readings inside a message; paths into a reading begin with @"
    )
    time_unit: Literal["s", "ms", "us", "ns"] | None = Field(
        default=None, description="unit of times that are numbers; default: ms, of line_protocol ns"
    )
    time_zone: str = Field(default="UTC", description="zone of times that are texts without one")
    include: tuple[str, ...] = Field(
        default=(), description="patterns of names that are channels, such as temp*; none: every name"
    )
    exclude: tuple[str, ...] = Field(default=(), description="patterns of names that are no channels")
    rename: dict[str, str] = Field(default={}, description="name in a message -> channel")
    scale: dict[str, ScaleSection] = Field(
        default={}, description="channel -> factor and offset of its values in messages"
    )
    channel_tags: tuple[str, ...] = Field(
        default=(), description="of line_protocol: tags whose values belong to the name of a channel"
    )
    columns: tuple[str, ...] = Field(default=(), description="of csv: the names of its columns, in order")
    delimiter: str = Field(default=",", description="of csv: the character between two cells")
    decimal: Literal["point", "comma"] = Field(
        default="point", description="of csv: how numbers are written, 5.1 or 5,1"
    )
    series_field: str = Field(
        default="series", description="field with the name of the series; short for `series` without a path"
    )
    timestamp_field: str = Field(
        default="timestamp", description="field with the time of the reading; short for `time`"
    )
    values_field: str = Field(
        default="values", description="field with the object channel -> value; short for `values`"
    )
    unknown_channels: Literal["ignore", "reject"] = Field(
        default="ignore",
        description="values of channels that the model lacks: ignore and count them, or reject the message",
    )
    max_future: Duration = Field(
        default=86400.0,
        description="reject readings that are further ahead of the broker's time of their message",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            raise ValueError("expected a time zone such as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _fits(self) -> InputSection:
        for key, formats in _ONLY_FOR.items():
            if self._is_given(key) and self.format not in formats:
                raise ValueError(f"`{key}` is for format {' or '.join(formats)}, not for {self.format}")
        if self.format == "line_protocol" and self.time not in (None, BROKER):
            raise ValueError(f"`time` of line_protocol is only {BROKER}: without it, each line has its own")
        for key, short in _SHORT.items():
            if self._is_given(key) and self._is_given(short):
                raise ValueError(f"`{key}` and `{short}` say the same; keep one of them")
        try:
            codec_of(("channel",), form_of(self))
        except CodecError as error:
            raise ValueError(str(error)) from None
        return self

    def _is_given(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)


class InputsSection(InputSection):
    """The form of the messages of some topics; the first table that names a topic counts."""

    topics: tuple[str, ...] = Field(
        min_length=1, description="names and patterns of topics; [input] describes all others"
    )


def form_of(section: InputSection, registry: SchemaRegistrySection | None = None) -> Form:
    """Return the form of messages that a section describes.

    Args:
        section: the form.
        registry: the registry of Avro schemas; without one, Avro cannot be decoded.

    Raises:
        EndpointError: the registry cannot be used as it is configured.
    """
    unit: Unit = section.time_unit or _UNIT.get(section.format, "ms")
    is_usual = (section.format, unit, section.time_zone) == ("wide_json", "ms", "UTC")
    usual = Form()
    scales = {channel: Scale(one.factor, one.offset) for channel, one in section.scale.items()}
    return Form(
        kind=section.format,
        series=section.series or _SERIES.get(section.format) or (field_of(section.series_field),),
        time=section.time or field_of(section.timestamp_field),
        values=section.values or field_of(section.values_field),
        channel=section.channel or usual.channel,
        value=section.value or usual.value,
        records=section.records,
        clock=None if is_usual else Clock(unit, ZoneInfo(section.time_zone)),
        selection=Selection(section.include, section.exclude, section.rename, scales),
        channel_tags=section.channel_tags,
        columns=section.columns,
        delimiter=section.delimiter,
        decimal_comma=section.decimal == "comma",
        schemas=registry.client if registry is not None and section.format in AVRO else None,
    )


def input_codec(
    channels: tuple[str, ...],
    section: InputSection,
    registry: SchemaRegistrySection | None = None,
    inputs: Sequence[InputsSection] = (),
) -> Codec:
    """Return the decoder of the messages for these channels.

    Args:
        channels: the columns of the readings.
        section: the form of messages.
        registry: the registry of Avro schemas.
        inputs: the forms of the messages of some topics.

    Raises:
        CodecError, EndpointError: a form cannot be decoded.
    """
    if inputs:
        own = [(one.topics, input_codec(channels, one, registry)) for one in inputs]
        return TopicCodecs(own, input_codec(channels, section, registry))
    return codec_of(channels, form_of(section, registry), limits_of(section))


def limits_of(section: InputSection) -> Limits:
    """Return what is refused of messages."""
    return Limits(unknown_channels=section.unknown_channels, max_future_ns=round(section.max_future * 1e9))


def check_registry(
    section: InputSection, inputs: Sequence[InputsSection], registry: SchemaRegistrySection
) -> None:
    """Raise ValueError where messages are Avro and no registry has their schemas."""
    for where, one in (("[input]", section), *(("[[inputs]]", one) for one in inputs)):
        if one.format in AVRO and registry.url is None:
            raise ValueError(f"{where} format {one.format} needs url in [schema_registry]")
