"""The image, built and run for real, and in it the services of compose.yml in their order. `make deployment`.

There is no container engine: buildah builds, and a chroot with a read-only root, the image's user and no
capability runs (image.py). Commands, mounts and variables are read from compose.yml and from the image.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.deploy.files import DEPLOY, ROOT, compose
from tests.deploy.image import Image, build, opened
from tests.support.daemon import PATIENCE_SECONDS, wait_for
from tests.support.kafka_broker import KafkaBroker, free_ports, need_java

pytestmark = pytest.mark.deployment
WORK = ROOT / "build/deployment/image"
LARGEST_OF_OURS = 450e6  # bytes above base and PyTorch
MEMORY_LIMIT = 2**30  # of the detector in compose.yml and in Kubernetes


@pytest.fixture(scope="module")
def image() -> Image:
    return opened(WORK) if os.environ.get("STREAMGAUGE_BUILT_IMAGE") else build(WORK)


def test_the_image_says_who_it_runs_as_and_how_it_is(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["streamgauge"]
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.health_check[0] == "python"
    ours = image.num_bytes - image.base_bytes
    print(f"image {image.num_bytes / 1e6:.0f} MB, of which ours {ours / 1e6:.0f} MB")
    assert 0 < ours < LARGEST_OF_OURS


def test_inside_nothing_can_be_written_and_nobody_is_privileged(image: Image) -> None:
    said = image.run(
        ["sh", "-c", "id -u; touch /x /opt/streamgauge/x /var/lib/streamgauge/x; cat /proc/self/status"]
    )
    assert said.stdout.startswith("10001\n")
    assert said.stderr.count("Read-only file system") == 3
    assert "CapEff:\t0000000000000000" in said.stdout
    assert "NoNewPrivs:\t1" in said.stdout


def test_pytorch_computes_on_the_processor_and_brings_no_cuda(image: Image) -> None:
    code = "import torch; print(torch.version.cuda, float(torch.ones(3) @ torch.ones(3)))"
    assert image.run(["python", "-c", code]).stdout == "None 3.0\n"
    found = list(image.root.rglob("libcudart*"))
    assert found == []


def test_nothing_of_the_checkout_but_the_wheel_is_inside(image: Image) -> None:
    names = {path.name for path in (image.root / "opt/streamgauge/lib").glob("python3*/site-packages/*")}
    assert {"connectors", "detector", "trainer", "streamgauge.py"} <= names
    assert not {"tests", "benchmarks", "pip", "uv"} & names
    assert not (image.root / "src").exists()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_java()
    kafka = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    kafka.start()
    yield kafka.bootstrap
    kafka.kill()


class Compose:
    """Services of compose.yml by hand: named volumes are directories, Kafka is the test's."""

    def __init__(self, image: Image, directory: Path, bootstrap: str) -> None:
        self._image, self._directory, self._bootstrap = image, directory, bootstrap
        self._services = compose()["services"]
        (self.port,) = free_ports(1)
        for name in ("history", "models"):
            (directory / name).mkdir()
            os.chown(directory / name, 10001, 10001)
        directory.chmod(0o755)

    def command(self, name: str) -> list[str]:
        service = self._services[name]
        words = service.get("entrypoint", self._image.config["Entrypoint"])
        given = service.get("command", self._image.config["Cmd"])
        words = [*words, *(word.replace("kafka:9092", self._bootstrap) for word in given)]
        return self._image.command(words, self._binds(service["volumes"]), self.environ)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "STREAMGAUGE_KAFKA__BOOTSTRAP_SERVERS": self._bootstrap,
            "STREAMGAUGE_HTTP__PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }

    def _binds(self, mounts: list[str]) -> list[str]:
        places = [mount.partition(":") for mount in mounts]
        return [
            f"{(DEPLOY / source).resolve() if source.startswith('.') else self._directory / source}:{target}"
            for source, _, target in places
        ]

    def is_healthy(self) -> bool:
        return self._image.run(self._image.health_check, environ=self.environ).returncode == 0

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def is_ready(self) -> bool:
        try:
            return bool(self.get("/readyz"))
        except OSError:
            return False


@contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield process
    finally:
        for child in innermost(process)[::-1]:
            child.kill()
        process.kill()
        process.wait()


def innermost(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes below; the last one is the service itself."""
    return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []


def test_compose_trains_on_the_plants_past_and_judges_its_present(
    image: Image, broker: str, tmp_path: Path
) -> None:
    services = Compose(image, tmp_path, broker)
    for name in ("history", "train"):
        outcome = subprocess.run(services.command(name), capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert (tmp_path / "models/plant/current").exists()
    again = subprocess.run(services.command("train"), capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "")  # a model that is there stays

    log = tmp_path / "detector.log"
    with (
        started(services.command("simulator"), tmp_path / "simulator.log"),
        started(services.command("detector"), log) as detector,
    ):
        wait_for(services.is_ready, f"readiness; see {log}")
        assert services.is_healthy()
        wait_for(lambda: json.loads(services.get("/api/status"))["readings"] >= 16, f"readings; see {log}")
        assert "streamgauge_readings_total" in services.get("/metrics")
        daemon = innermost(detector)[-1]
        memory = daemon.memory_info().rss
        print(f"detector in the image: {memory / 2**20:.0f} MiB")
        assert memory < MEMORY_LIMIT
        daemon.terminate()
        assert detector.wait(PATIENCE_SECONDS) == 0
    assert not services.is_healthy()
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"
