"""Write the results of several models, each with its own encoder, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.records import Batch, Codec, Position, StreamSource
from connectors.wide_json.open_channels import OpenNames
from detector.config.load import Config
from detector.delivery.messages import MessageEncoder
from detector.delivery.sink import MessageSink
from detector.engine.engine import StepResult
from detector.engine.group.columns import Columns
from detector.engine.group.fallback import open_series
from detector.engine.group.group import EngineGroup
from detector.engine.group.member import GroupResult, Member
from detector.service.clients import codec_of, open_codec

MOST_OPEN_CHANNELS = 512
"""Channels of open series in one process: a batch has 8 bytes for each message and channel."""


class GroupSink:
    """Collects the messages of a batch from all models.

    Args:
        inner: delivers messages, state and position together.
        encoders: by the names of the models; an encoder may be replaced between batches.
    """

    def __init__(self, inner: MessageSink, encoders: Mapping[str, MessageEncoder]) -> None:
        self._inner, self.encoders = inner, dict(encoders)

    def write(self, result: GroupResult, batch: Batch) -> None:
        """Collect what each model found, and the rejected messages; nothing is sent yet."""
        for part in result:
            self._inner.collect(self.encoders[part.member.name], part.result)
        self._inner.reject(batch.rejects)

    def collect(self, member: Member, result: StepResult) -> None:
        """Collect what one model found."""
        self._inner.collect(self.encoders[member.name], result)

    def commit(self, position: Position | None) -> None:
        """Deliver what was collected and commit; see `MessageSink.commit`."""
        self._inner.commit(position)

    def close(self) -> None:
        """Do nothing: the maker of the delivery closes it."""


class MemberSink:
    """The sink as one model sees it, for its reload."""

    def __init__(self, sink: GroupSink, member: Member) -> None:
        self._sink, self._member = sink, member

    @property
    def encoder(self) -> MessageEncoder:
        """The encoder of this model."""
        return self._sink.encoders[self._member.name]

    @encoder.setter
    def encoder(self, encoder: MessageEncoder) -> None:
        self._sink.encoders[self._member.name] = encoder

    def write(self, result: StepResult, batch: Batch) -> None:
        """Collect what the model found; there is no batch to it."""
        self._sink.collect(self._member, result)

    def commit(self, position: Position | None) -> None:
        """Deliver what was collected."""
        self._sink.commit(position)


class GroupDecoding:
    """The decoder of the input as one model sees it: another model changes the channels of all.

    Args:
        config: how messages look.
        source: decodes them.
        group: the models.
    """

    def __init__(self, config: Config, source: StreamSource, group: EngineGroup) -> None:
        self._config, self._source, self._group = config, source, group
        self._open = OpenNames(MOST_OPEN_CHANNELS)
        self.channels: tuple[str, ...] = group.columns.names
        """The columns of readings that are decoded from now on, without open channels."""

    @property
    def has_lost(self) -> bool:
        """Whether the next batch will report lost partitions."""
        return self._source.has_lost

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the readings of the last batch; further ones may follow."""
        return (*self.channels, *self._open.names)

    def is_cut(self, series: str) -> bool:
        """Return whether a channel of an open series was left out, because there were too many."""
        return series in self._open.cut

    def use_codec(self, codec: Codec) -> None:
        """Decode the channels of all models from the next batch on; `codec` has those of one."""
        self.renew()

    def renew(self) -> None:
        """Decode the channels of the models that the group has now, and those of open series."""
        self._group.renew()
        members = [member for member in self._group.members if not member.is_fallback]
        self.channels = Columns.of([member.channels for member in members]).names
        if self._config.fallback.enabled:
            is_open = open_series(self._group)
            self._source.use_codec(open_codec(self._config, self.channels, is_open, self._open))
        else:
            self._source.use_codec(codec_of(self._config, self.channels))
