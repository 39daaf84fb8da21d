"""The edges: bytes, files and sockets. Nothing here knows of windows, models or thresholds.

    from connectors import Connection, ConsumerOptions, JsonWideCodec, KafkaSource
    codec = JsonWideCodec(("temperature", "pressure"))
    source = KafkaSource(Connection(("localhost:9092",)), ConsumerOptions("readings", "my-group"), codec)

Names are imported when they are first used, so that values and errors load neither Kafka nor Parquet.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.cluster import ensure_topics as ensure_topics
    from connectors.cluster import wait_for_broker as wait_for_broker
    from connectors.codec import JsonWideCodec as JsonWideCodec
    from connectors.codec import Limits as Limits
    from connectors.connection import Connection as Connection
    from connectors.connection import ConsumerOptions as ConsumerOptions
    from connectors.connection import ProducerOptions as ProducerOptions
    from connectors.connection import TopicSpec as TopicSpec
    from connectors.delivery import AtLeastOnce as AtLeastOnce
    from connectors.encoder import FieldNames as FieldNames
    from connectors.encoder import encode as encode
    from connectors.errors import CodecError as CodecError
    from connectors.errors import ConnectorError as ConnectorError
    from connectors.errors import KafkaError as KafkaError
    from connectors.errors import ParquetError as ParquetError
    from connectors.kafka import KafkaSource as KafkaSource
    from connectors.parquet import ParquetSource as ParquetSource
    from connectors.producer import Producer as Producer
    from connectors.records import Batch as Batch
    from connectors.records import Message as Message
    from connectors.records import Position as Position
    from connectors.records import Readings as Readings
    from connectors.records import Reject as Reject
    from connectors.records import Source as Source

_HOME = {
    "AtLeastOnce": "delivery",
    "Batch": "records",
    "CodecError": "errors",
    "Connection": "connection",
    "ConnectorError": "errors",
    "ConsumerOptions": "connection",
    "FieldNames": "encoder",
    "JsonWideCodec": "codec",
    "KafkaError": "errors",
    "KafkaSource": "kafka",
    "Limits": "codec",
    "Message": "records",
    "ParquetError": "errors",
    "ParquetSource": "parquet",
    "Position": "records",
    "Producer": "producer",
    "ProducerOptions": "connection",
    "Readings": "records",
    "Reject": "records",
    "Source": "records",
    "TopicSpec": "connection",
    "encode": "encoder",
    "ensure_topics": "cluster",
    "wait_for_broker": "cluster",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # one list of names, kept with where they live


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'connectors' has no attribute {name!r}")
    return getattr(import_module(f"connectors.{_HOME[name]}"), name)
