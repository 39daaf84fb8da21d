"""A real Apache Kafka for the tests: one broker in KRaft mode on free loopback ports.

Its jars are fetched by Maven, once, into the user's cache. `STREAMGAUGE_TEST_BOOTSTRAP=host:port` names a
running broker to be used instead; `STREAMGAUGE_REQUIRE_KAFKA=1` turns the skip of a machine without Java
and Maven into a failure.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError as ClientError

VERSION = "4.4.0"
START_SECONDS = 90.0
POM = f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamgauge</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,PROXIED:PLAINTEXT"
    ),
    "auto.create.topics.enable": "false",
    "broker.session.timeout.ms": "2000",  # a killed broker may register again after so long
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "2",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
}
# Where it can be had: the broker dies with a test run that is killed.
WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
# Starts a second sooner and stays small; a test broker has little to compile or to collect.
JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streamgauge" / f"kafka-{VERSION}"


def missing_programs() -> list[str]:
    """What a broker of our own needs and is not here. Maven only until the jars are in the cache."""
    needed = ["java"] if cache_directory().exists() else ["java", "mvn"]
    return [program for program in needed if shutil.which(program) is None]


def fetch_jars() -> Path:
    """The directory with Kafka's jars; the first of several processes fetches them."""
    target = cache_directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                pom = Path(scratch, "pom.xml")
                pom.write_text(POM)
                goal = ["dependency:copy-dependencies", f"-DoutputDirectory={scratch}/lib"]
                run(["mvn", "--batch-mode", "--quiet", "--file", str(pom), *goal])
                Path(scratch, "lib").rename(target)
    return target


def run(command: list[str]) -> None:
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if outcome.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{outcome.stdout}{outcome.stderr}")


def free_ports(num_ports: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num_ports)]
    ports: list[int] = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def answers(bootstrap: str) -> bool:
    try:
        host, port = bootstrap.split(":")
        socket.create_connection((host, int(port)), timeout=1.0).close()
        with KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=5_000) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except (OSError, ClientError):
        return False


class KafkaBroker:
    """A broker whose data survive `stop` and `kill`, until the directory is removed.

    `properties` are added to the broker's own; its ports stay the same over restarts. With `proxy_port` it
    also listens at `behind_proxy`, for clients that are told to reach it by that port. `listeners` (name to
    security protocol) are further ones, reached at `address_of`; `scram` are logins as `format` takes them.
    """

    def __init__(
        self,
        directory: Path,
        properties: dict[str, str] | None = None,
        proxy_port: int | None = None,
        listeners: Mapping[str, str] | None = None,
        scram: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._log = directory / "broker.log"
        self._classpath = f"{fetch_jars()}/*"
        self._process: subprocess.Popen[bytes] | None = None
        port, sasl_port, controller_port, self.behind_proxy = free_ports(4)
        self.bootstrap = f"127.0.0.1:{port}"
        self.sasl_bootstrap = f"127.0.0.1:{sasl_port}"
        offered = f"PLAINTEXT://127.0.0.1:{port}"
        if any(key.startswith("listener.name.sasl.") for key in properties or {}):
            offered += f",SASL://127.0.0.1:{sasl_port}"
        protocols = listeners or {}
        self._ports = dict(zip(protocols, free_ports(len(protocols)), strict=True))
        offered += "".join(f",{name}://127.0.0.1:{number}" for name, number in self._ports.items())
        protocol_map = PROPERTIES["listener.security.protocol.map"]
        proxied = ",PROXIED://127.0.0.1:%d" if proxy_port else "%.0s"
        settings = {
            **PROPERTIES,
            "listener.security.protocol.map": ",".join(
                [protocol_map, *(f"{name}:{protocol}" for name, protocol in protocols.items())]
            ),
            "listeners": f"{offered}{proxied % self.behind_proxy},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": offered + proxied % (proxy_port or 0),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "log.dirs": str(directory / "data"),
            **(properties or {}),
        }
        self._properties = directory / "server.properties"
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        logins = [word for login in scram for word in ("--add-scram", login)]
        tool = self._java("kafka.tools.StorageTool")
        run([*tool, "format", "-t", str(uuid.uuid4()), "-c", self._config, *logins])

    def address_of(self, listener: str) -> str:
        """host:port of one of the further listeners."""
        return f"127.0.0.1:{self._ports[listener]}"

    @property
    def _config(self) -> str:
        return str(self._properties)

    def _java(self, main: str) -> list[str]:
        return ["java", *JVM, "-cp", self._classpath, main]

    def start(self) -> None:
        """Start and return when a client gets an answer."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start without waiting. Not from a thread that ends: the broker would end with it."""
        with self._log.open("ab") as output:
            command = [*WITH_US, *self._java("kafka.Kafka"), self._config]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self._directory)

    def wait(self) -> None:
        """Return when a client gets an answer."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.bootstrap):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut down in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def need_java() -> None:
    missing = missing_programs()
    if missing:
        reason = (
            f"no Kafka to test with: {' and '.join(missing)} not found, STREAMGAUGE_TEST_BOOTSTRAP not set"
        )
        if os.environ.get("STREAMGAUGE_REQUIRE_KAFKA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the broker that all tests of a process share: take topics and groups of your own."""
    given = os.environ.get("STREAMGAUGE_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    need_java()
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker.bootstrap
    broker.kill()


@pytest.fixture
def kafka_broker(tmp_path: Path) -> Iterator[Callable[..., KafkaBroker]]:
    """Makes brokers, started, of a test's own: to be stopped, killed and started again."""
    need_java()
    brokers: list[KafkaBroker] = []

    def make(properties: dict[str, str] | None = None) -> KafkaBroker:
        directory = tmp_path / f"kafka-{len(brokers)}"
        directory.mkdir()
        brokers.append(KafkaBroker(directory, properties))
        brokers[-1].start()
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.kill()


@pytest.fixture
def kafka_topic(kafka_bootstrap: str) -> Callable[..., str]:
    """Makes topics with names of their own on the shared broker."""

    def make(num_partitions: int = 1, suffix: str = "", **configs: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}{suffix}"
        with KafkaAdminClient(bootstrap_servers=kafka_bootstrap) as admin:
            spec = {"num_partitions": num_partitions, "configs": configs}
            admin.create_topics({name: spec})
            admin.wait_for_topics([name])
        return name

    return make
