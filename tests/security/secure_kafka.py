"""One Apache Kafka with a listener for each kind of security."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.support.certificates import Authority, Files
from tests.support.kafka_broker import KafkaBroker, need_java
from tests.support.secrets import planted

USER = "gauge"
PASSWORD = planted("sasl-password")
LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",  # asks for a certificate
    "MISNAMED": "SSL",  # its certificate is for another host
    "LOGIN": "SASL_PLAINTEXT",
    "LOGINTLS": "SASL_SSL",
    "PLAINLOGIN": "SASL_PLAINTEXT",  # has no SCRAM
}
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class SecureKafka:
    """A running broker, the authority of its certificates, and a client certificate that it accepts."""

    broker: KafkaBroker
    authority: Authority
    client: Files

    def create_topic(self, name: str, num_partitions: int = 1) -> None:
        with KafkaAdminClient(bootstrap_servers=self.broker.bootstrap) as admin:
            admin.create_topics({name: {"num_partitions": num_partitions}})
            admin.wait_for_topics([name])


def properties(server: Path, misnamed: Path, authority: Path) -> dict[str, str]:
    """Return the settings of the broker, one listener per kind."""
    settings = {"listener.name.mutual.ssl.client.auth": "required"}
    for listener, protocol in LISTENERS.items():
        prefix = f"listener.name.{listener.lower()}"
        if protocol.endswith("SSL"):
            settings |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": str(misnamed if listener == "MISNAMED" else server),
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": str(authority),
            }
        if protocol.startswith("SASL"):
            module = "org.apache.kafka.common.security"
            settings |= {
                f"{prefix}.sasl.enabled.mechanisms": ",".join(
                    ("PLAIN",) if listener == "PLAINLOGIN" else ("PLAIN", *SCRAM)
                ),
                f"{prefix}.plain.sasl.jaas.config": (
                    f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
                ),
            } | {
                f"{prefix}.{mechanism.lower()}.sasl.jaas.config": (
                    f"{module}.scram.ScramLoginModule required;"
                )
                for mechanism in SCRAM
            }
    return settings


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """Start the broker that all tests of a process share."""
    need_java()
    directory = tmp_path_factory.mktemp("secure-kafka")
    authority = Authority(directory)
    server, other = authority.issue("127.0.0.1", "localhost"), authority.issue("kafka.example.org")
    broker = KafkaBroker(
        directory,
        properties(server.both, other.both, authority.file),
        listeners=LISTENERS,
        scram=[f"{mechanism}=[name={USER},password={PASSWORD}]" for mechanism in SCRAM],
    )
    broker.start()
    yield SecureKafka(broker, authority, authority.issue("member.example.org"))
    broker.kill()
