"""The rights that docs/operate.md lists, and no other, are enough: on a real Kafka that checks them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from detector.artifact.registry import publish
from tests.deploy.test_notifications import configuration, send
from tests.support.acls import PASSWORD, PROPERTIES, grant, needed
from tests.support.artifacts import make_artifact
from tests.support.daemon import read_all, running, wait_for
from tests.support.kafka_broker import KafkaBroker

pytestmark = pytest.mark.deployment
TOPIC, PREFIX, IDENTITY = "readings", "readings-out", "streamgauge.streamgauge-0"
RIGHTS = needed(TOPIC, PREFIX, TOPIC, IDENTITY)


@pytest.fixture
def login(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return {
        "STREAMGAUGE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "STREAMGAUGE_KAFKA__SASL_MECHANISM": "PLAIN",
        "STREAMGAUGE_KAFKA__SASL_USERNAME": "gauge",
        "STREAMGAUGE_KAFKA__SASL_PASSWORD_FILE": str(tmp_path / "password"),
        "STREAMGAUGE_KAFKA__GROUP_INSTANCE_ID": "streamgauge-0",
        "STREAMGAUGE_DELIVERY__TRANSACTIONAL_ID": IDENTITY,
        "STREAMGAUGE_DELIVERY__MODE": "exactly_once",
        "STREAMGAUGE_KAFKA__STARTUP_TIMEOUT": "20s",
    }


def prepared(make: Callable[..., KafkaBroker], tmp_path: Path) -> tuple[KafkaBroker, str]:
    """A broker with readings on it, and the configuration of a member that logs in."""
    broker = make(PROPERTIES)
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap) as admin:
        admin.create_topics({TOPIC: {"num_partitions": 1}})
        admin.wait_for_topics([TOPIC])
    publish(make_artifact(), tmp_path / "models/pump")
    send(broker.bootstrap, TOPIC, 30)
    return broker, configuration(tmp_path / "models/pump", broker.sasl_bootstrap, TOPIC)


def test_the_rights_in_the_document_are_enough(
    kafka_broker: Callable[..., KafkaBroker], login: dict[str, str], tmp_path: Path
) -> None:
    broker, config = prepared(kafka_broker, tmp_path)
    grant(broker.bootstrap, RIGHTS)
    for _ in range(2):  # the second time state is read and recovered
        with running(config, tmp_path, login) as daemon:
            wait_for(lambda: daemon.readings() >= 30, f"30 readings; see {daemon.log}")
            wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness; see {daemon.log}")
            assert daemon.terminate() == 0
        send(broker.bootstrap, TOPIC, 30)
    assert read_all(broker.bootstrap, f"{PREFIX}.scores")
    assert read_all(broker.bootstrap, f"{PREFIX}.state")


@pytest.mark.parametrize("missing", range(len(RIGHTS)), ids=[f"{r[0].name}-{r[1]}" for r in RIGHTS])
def test_none_of_the_rights_can_be_left_out(
    missing: int, kafka_broker: Callable[..., KafkaBroker], login: dict[str, str], tmp_path: Path
) -> None:
    broker, config = prepared(kafka_broker, tmp_path)
    grant(broker.bootstrap, RIGHTS[:missing] + RIGHTS[missing + 1 :])
    if RIGHTS[missing][1].endswith(".state"):  # a right that is missed once there is state to be read
        with running(config, tmp_path, login) as daemon:
            wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
            assert daemon.terminate() == 0
    with running(config, tmp_path, login) as daemon:
        assert daemon.process.wait(120) == 1
        last = daemon.log.read_text().splitlines()[-1]
    print(last)
    assert last.startswith("streamgauge: error: ")
    assert os.linesep not in last
