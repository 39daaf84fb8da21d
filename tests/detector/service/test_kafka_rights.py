"""Rights in Kafka that are taken away while the daemon runs: it waits, says which, and goes on by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from connectors.kafka.connection import Connection
from detector.delivery.decisions.decision_topic import write_decision
from detector.incidents.decision import Decision
from tests.support import acls
from tests.support.daemon import Daemon, read_all, running, wait_for
from tests.support.kafka_broker import KafkaBroker, need_java
from tests.test_daemon_kafka import configuration, rows, samples, scored, send

pytestmark = pytest.mark.kafka
INPUT, GROUP, OUTPUTS, STATE, DECISIONS, IDENTITY = range(6)
"""The rights that a process needs, as `acls.needed` lists them."""


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that checks rights."""
    need_java()
    broker = KafkaBroker(tmp_path_factory.mktemp("guarded-kafka"), acls.PROPERTIES)
    broker.start()
    yield broker
    broker.kill()


class Plant:
    """A topic of readings on the guarded broker, and a login that may do what a process needs."""

    def __init__(self, broker: KafkaBroker, entry: Path, mode: str = "exactly_once") -> None:
        self.bootstrap = broker.bootstrap
        self.topic = f"guarded-{uuid.uuid4().hex[:8]}"
        self.num_rows = 0
        with KafkaAdminClient(bootstrap_servers=self.bootstrap) as admin:
            admin.create_topics({self.topic: {"num_partitions": 2}})
            admin.wait_for_topics([self.topic])
        identity = f"{self.topic}-id"
        self.rights = acls.needed(self.topic, f"out-{self.topic}", self.topic, identity)
        acls.grant(self.bootstrap, self.rights)
        login = {
            "security_protocol": '"SASL_PLAINTEXT"',
            "sasl_mechanism": '"PLAIN"',
            "sasl_username": '"gauge"',
        }
        self.config = (
            configuration(entry, broker.sasl_bootstrap, self.topic, **login)
            + f'[delivery]\nmode = "{mode}"\ntransactional_id = "{identity}"\n'
        )

    def send(self, num_rows: int = 10) -> None:
        send(self.bootstrap, rows(self.topic, self.num_rows, num_rows))
        self.num_rows += num_rows

    def has_all(self) -> bool:
        """Whether the scores have every row but the newest of each series, which is still open."""
        return len(scored(self.bootstrap, self.topic)) == 3 * (self.num_rows - 1)


def missing(daemon: Daemon) -> set[str]:
    return {
        f"{dict(labels)['right']} on {dict(labels)['resource']}"
        for (name, labels), _ in samples(daemon).items()
        if name == "streamgauge_missing_rights"
    }


def named(plant: Plant, number: int) -> str:
    """How the daemon names a right that is missing; of the outputs, the beginning."""
    return {
        INPUT: f"read on topic {plant.topic}",
        GROUP: f"read on group {plant.topic}",
        OUTPUTS: f"write on topic out-{plant.topic}.",
        IDENTITY: f"write on transactional id {plant.topic}-id",
    }[number]


def take_away_and_give_back(plant: Plant, daemon: Daemon, number: int) -> None:
    right = [plant.rights[number]]
    acls.revoke(plant.bootstrap, right)
    plant.send()
    words = named(plant, number)
    wait_for(lambda: [one for one in missing(daemon) if one.startswith(words)], f"{words}; see {daemon.log}")
    code, body = daemon.get("/readyz")
    assert code == 503
    assert words in body
    assert words in daemon.get("/api/status")[1]
    assert daemon.get("/healthz")[0] == 200
    acls.grant(plant.bootstrap, right)
    wait_for(plant.has_all, f"all rows after {words}; see {daemon.log}")
    wait_for(lambda: daemon.get("/readyz")[0] == 200, f"readiness after {words}; see {daemon.log}")
    assert not missing(daemon)


def check(broker: KafkaBroker, entry: Path, tmp_path: Path, numbers: tuple[int, ...], mode: str) -> None:
    plant = Plant(broker, entry, mode)
    plant.send()
    environ = {"STREAMGAUGE_KAFKA__SASL_PASSWORD": acls.PASSWORD}
    with running(plant.config, tmp_path, environ) as daemon:
        wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
        wait_for(plant.has_all, f"the first rows; see {daemon.log}")
        for number in numbers:
            take_away_and_give_back(plant, daemon, number)
        assert samples(daemon)["streamgauge_refused_requests_total", ()] >= len(numbers)
        told = [one for one in daemon.events() if "a right in Kafka is missing" in one["event"]]
        assert len(told) >= len(numbers)
        assert daemon.terminate() == 0
    if mode == "exactly_once":
        assert set(scored(plant.bootstrap, plant.topic).values()) == {1}


def test_rights_on_input_and_outputs_may_go_and_come_back(
    guarded_kafka: KafkaBroker, entry: Path, tmp_path: Path
) -> None:
    check(guarded_kafka, entry, tmp_path, (INPUT, OUTPUTS), "exactly_once")


@pytest.mark.kafka_changes
@pytest.mark.parametrize("number", [GROUP, IDENTITY], ids=["group", "identity"])
def test_rights_on_group_and_transactional_id_may_go_and_come_back(
    guarded_kafka: KafkaBroker, entry: Path, tmp_path: Path, number: int
) -> None:
    check(guarded_kafka, entry, tmp_path, (number,), "exactly_once")


@pytest.mark.kafka_changes
@pytest.mark.parametrize("number", [INPUT, OUTPUTS, GROUP], ids=["input", "outputs", "group"])
def test_rights_may_go_and_come_back_without_transactions(
    guarded_kafka: KafkaBroker, entry: Path, tmp_path: Path, number: int
) -> None:
    check(guarded_kafka, entry, tmp_path, (number,), "at_least_once")


@pytest.mark.kafka_changes
def test_the_right_on_decisions_may_go_and_come_back_while_scoring_goes_on(
    guarded_kafka: KafkaBroker, entry: Path, tmp_path: Path
) -> None:
    plant = Plant(guarded_kafka, entry)
    plant.send()
    decisions, alerts = (f"out-{plant.topic}.{name}" for name in ("decisions", "alerts"))
    right = [plant.rights[DECISIONS]]

    def is_readable(wanted: int) -> bool:
        return samples(daemon)["streamgauge_decisions_readable", ()] == wanted

    def logged(what: str) -> int:
        return sum(one["event"].startswith(what) for one in daemon.events())

    environ = {"STREAMGAUGE_KAFKA__SASL_PASSWORD": acls.PASSWORD}
    with running(plant.config, tmp_path, environ) as daemon:
        wait_for(lambda: daemon.readings() == 30, f"30 readings; see {daemon.log}")
        wait_for(lambda: is_readable(1), f"decisions that are read; see {daemon.log}")
        for number in range(2):
            acls.revoke(plant.bootstrap, right)
            wait_for(lambda: is_readable(0), f"the refusal; see {daemon.log}")
            assert logged("cannot read decisions") == number + 1
            assert "accept, reject and mute have no effect" in daemon.get("/api/status")[1]
            mute = Decision(f"mute-{number}", "mute", "pump-1", 10**9, until_ns=7_000_000_000 * 10**9)
            write_decision(Connection((plant.bootstrap,)), decisions, mute)
            plant.send()
            wait_for(plant.has_all, f"rows meanwhile; see {daemon.log}")
            assert daemon.get("/readyz")[0] == 200
            acls.grant(plant.bootstrap, right)
            wait_for(lambda: is_readable(1), f"the right that is back; see {daemon.log}")
            assert logged("decisions are read again") == number + 1
            plant.send()
            wait_for(
                lambda at=number: f"mute-{at}" in str(read_all(plant.bootstrap, alerts)),
                f"the mute; see {daemon.log}",
            )
        assert logged("series muted") == 2
        assert daemon.log.read_text().count("in the clear") <= 1
        assert daemon.terminate() == 0
    assert set(scored(plant.bootstrap, plant.topic).values()) == {1}


@pytest.mark.kafka_changes
def test_a_right_that_is_missing_from_the_start_ends_the_process(
    guarded_kafka: KafkaBroker, entry: Path, tmp_path: Path
) -> None:
    plant = Plant(guarded_kafka, entry)
    plant.send()
    acls.revoke(plant.bootstrap, [plant.rights[GROUP]])
    environ = {"STREAMGAUGE_KAFKA__SASL_PASSWORD": acls.PASSWORD}
    with running(plant.config, tmp_path, environ) as daemon:
        assert daemon.process.wait(60) == 1
        assert named(plant, GROUP).removeprefix("read ") in daemon.log.read_text().splitlines()[-1]
