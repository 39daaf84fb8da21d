"""The form of the messages of a topic: their format, and where they have what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from connectors.formats.channels import Selection
from connectors.formats.places import Path
from connectors.times import Clock

if TYPE_CHECKING:
    from connectors.formats.avro.registry import SchemaRegistry  # it needs an extra

Kind = Literal["wide_json", "long_json", "line_protocol", "arrow", "avro", "long_avro", "csv"]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of messages. Places are those of `connectors.formats.places`.

    In line protocol `$` stands for the tags of a line, in Arrow for the columns.

    kind       the format
    series     where the name of the series is: one place or several, which are joined
    time       where the time is
    values     of wide messages: the object channel -> value
    channel    of long messages: the name of the channel
    value      of long messages: its value
    records    the array of readings inside a message; None: the message is a reading, or an array of them
    clock      the unit of numbers and the zone of texts; None: what is usual for the format
    selection  which names are channels
    columns    of CSV: the names of the columns, in order
    delimiter, decimal_comma  of CSV: what is between two cells; whether numbers have a comma
    schemas    of Avro: the registry that has the schemas
    channel_tags  of line protocol: tags whose values stand in a channel's name, after the measurement
    """

    kind: Kind = "wide_json"
    series: tuple[str | Path, ...] = ("$.series",)
    time: str | Path = "$.timestamp"
    values: str | Path = "$.values"
    channel: str | Path = "$.channel"
    value: str | Path = "$.value"
    records: str | Path | None = None
    clock: Clock | None = None
    selection: Selection = field(default_factory=Selection)
    channel_tags: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    decimal_comma: bool = False
    schemas: SchemaRegistry | None = None
