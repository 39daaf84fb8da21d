"""Reads readings from Kafka, Parquet and memory, and writes messages to Kafka.

Read a topic as a member of a consumer group (this needs a broker):

    >>> from connectors import Connection, ConsumerOptions, JsonWideCodec, KafkaSource
    >>> codec = JsonWideCodec(("temperature", "pressure"))
    >>> cluster, group = Connection(("localhost:9092",)), ConsumerOptions("readings", "my-group")
    >>> source = KafkaSource(cluster, group, codec)  # doctest: +SKIP

Every source works in the same way; one in memory needs no broker:

    >>> from connectors import MemorySource
    >>> from connectors.memory import readings_of
    >>> source = MemorySource([readings_of([("pump-1", 1_767_225_600_000_000_000, [21.3, 1.2])])])
    >>> while (batch := source.poll(timeout_seconds=0.2)) is not None:
    ...     for series, values in zip(batch.readings.series, batch.readings.values):
    ...         print(batch.readings.names[series], values.tolist())
    ...     source.commit(batch.position or {})
    pump-1 [21.3, 1.2]

Names are imported at first use, so values and errors load neither Kafka nor Parquet.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.errors import CodecError as CodecError
    from connectors.errors import ConnectorError as ConnectorError
    from connectors.errors import KafkaError as KafkaError
    from connectors.errors import ParquetError as ParquetError
    from connectors.kafka.cluster import ensure_topics as ensure_topics
    from connectors.kafka.cluster import wait_for_broker as wait_for_broker
    from connectors.kafka.connection import Connection as Connection
    from connectors.kafka.connection import ConsumerOptions as ConsumerOptions
    from connectors.kafka.connection import ProducerOptions as ProducerOptions
    from connectors.kafka.connection import TopicSpec as TopicSpec
    from connectors.kafka.delivery import AtLeastOnce as AtLeastOnce
    from connectors.kafka.producer import Producer as Producer
    from connectors.kafka.source import KafkaSource as KafkaSource
    from connectors.memory import MemorySink as MemorySink
    from connectors.memory import MemorySource as MemorySource
    from connectors.parquet.replay_source import ParquetSource as ParquetSource
    from connectors.records import Batch as Batch
    from connectors.records import Message as Message
    from connectors.records import Position as Position
    from connectors.records import Readings as Readings
    from connectors.records import Reject as Reject
    from connectors.records import Source as Source
    from connectors.records import StreamSource as StreamSource
    from connectors.wide_json.decoder import JsonWideCodec as JsonWideCodec
    from connectors.wide_json.decoder import Limits as Limits
    from connectors.wide_json.encoder import FieldNames as FieldNames
    from connectors.wide_json.encoder import encode as encode

_HOME = {
    "AtLeastOnce": "kafka.delivery",
    "Batch": "records",
    "CodecError": "errors",
    "Connection": "kafka.connection",
    "ConnectorError": "errors",
    "ConsumerOptions": "kafka.connection",
    "FieldNames": "wide_json.encoder",
    "JsonWideCodec": "wide_json.decoder",
    "KafkaError": "errors",
    "KafkaSource": "kafka.source",
    "Limits": "wide_json.decoder",
    "MemorySink": "memory",
    "MemorySource": "memory",
    "Message": "records",
    "ParquetError": "errors",
    "ParquetSource": "parquet.replay_source",
    "Position": "records",
    "Producer": "kafka.producer",
    "ProducerOptions": "kafka.connection",
    "Readings": "records",
    "Reject": "records",
    "Source": "records",
    "StreamSource": "records",
    "TopicSpec": "kafka.connection",
    "encode": "wide_json.encoder",
    "ensure_topics": "kafka.cluster",
    "wait_for_broker": "kafka.cluster",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of names, kept with where they live


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'connectors' has no attribute {name!r}")
    return getattr(import_module(f"connectors.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names too, before their first use."""
    return sorted({*globals(), *_HOME})
