"""How to reach the cluster that a configuration names."""

from __future__ import annotations

from connectors.kafka.connection import Connection
from detector.config.input.kafka import KafkaSection
from detector.config.secrets import revealed
from detector.errors import ConfigError


def connection_of(kafka: KafkaSection) -> Connection:
    """Return how to reach and log in to the cluster, secrets included.

    Raises ConfigError: the configuration reads no Kafka.
    """
    if not (kafka.topic or kafka.topics):
        raise ConfigError("this needs Kafka, and the readings of this configuration do not come from Kafka")
    return Connection(
        kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=revealed(kafka.sasl_password),
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        ssl_key_password=revealed(kafka.ssl_key_password),
    )
