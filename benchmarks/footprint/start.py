"""Start and resident memory of the daemon with PyTorch and without it, and the size of an installation.

    python -m benchmarks.footprint.start [--environment DIRECTORY]

Apache Kafka runs on this machine with a topic of one partition. The daemon has the default ensemble's
families. Ready means that `/readyz` answers 200: the partition is assigned and its state is restored.
`--environment` is a virtual environment with the detector; its files are counted, without byte code.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

import psutil

from benchmarks.measurement import Measurement
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.kafka_broker import KafkaBroker

PATIENCE_SECONDS = 120.0
MOST_MIB, MOST_SECONDS = 200.0, 1.5
CONFIG = """
[model]
path = "{model}"
[kafka]
bootstrap_servers = ["{bootstrap}"]
topic = "readings"
group_id = "group-{port}"
[output]
prefix = "out"
[http]
port = {port}
"""


def measure(quick: bool) -> list[Measurement]:
    """Measure start and memory of the daemon with each executor, in turn."""
    num_rounds = 1 if quick else 5
    found: dict[str, list[tuple[float, float]]] = {"numpy": [], "torch": []}
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as name:
        directory = Path(name)
        more = (("conv", 32), ("linear", 16), ("memory", 16))
        publish(make_artifact(family="lstm", window=32, more=more, batch_size=256), directory / "model")
        broker = KafkaBroker(directory)
        broker.start()
        try:
            ensure_topics(Connection((broker.bootstrap,)), [TopicSpec("readings", 1, 1)])
            for _ in range(num_rounds):
                for executor, results in found.items():
                    results.append(_started(directory, broker.bootstrap, executor))
        finally:
            broker.kill()
    seconds = {name: median(one[0] for one in results) for name, results in found.items()}
    mib = {name: median(one[1] for one in results) for name, results in found.items()}
    return [
        Measurement(
            "daemon without PyTorch, resident",
            mib["numpy"],
            "MiB",
            ceiling=MOST_MIB,
            detail={"with_pytorch_mib": round(mib["torch"])},
        ),
        Measurement(
            "daemon without PyTorch, ready",
            seconds["numpy"],
            "s",
            ceiling=MOST_SECONDS,
            detail={"with_pytorch_s": round(seconds["torch"], 2)},
        ),
    ]


def _started(directory: Path, bootstrap: str, executor: str) -> tuple[float, float]:
    """Return the seconds until a daemon is ready, and its resident memory then in MiB."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / f"{port}.toml"
    config.write_text(CONFIG.format(model=directory / "model", bootstrap=bootstrap, port=port))
    log = directory / f"{port}.log"
    environ = {**os.environ, "STREAMGAUGE_EXECUTOR": executor}
    with log.open("wb") as output:
        start = time.perf_counter()
        command = [sys.executable, "-m", "streamgauge", "run", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    try:
        while not _is_ready(port):
            taken = time.perf_counter() - start
            if process.poll() is not None or taken > PATIENCE_SECONDS:
                raise RuntimeError(f"the daemon is not ready after {taken:.0f} s: {log.read_text()[-2000:]}")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        return seconds, psutil.Process(process.pid).memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def size_of(environment: Path) -> Measurement:
    """Return the size of the files of an environment, without byte code, test suites and headers.

    Those of the Dockerfile are left out; Python itself is not counted.
    """
    left_out = {"__pycache__", "tests", "include"}
    sizes = [
        path.stat().st_size
        for path in (environment / "lib").rglob("*")
        if path.is_file() and not path.is_symlink() and not left_out & set(path.parts)
        if path.suffix != ".a" and not ("pyarrow" in path.parts and "flight" in path.name)
    ]
    return Measurement("installed detector without Python", sum(sizes) / 1e6, "MB")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environment", type=Path, help="virtual environment whose files are counted")
    given = parser.parse_args()
    found = [] if given.environment is None else [size_of(given.environment)]
    for one in [*found, *measure(quick=False)]:
        print(f"{one.name}: {one.value:.2f} {one.unit} {one.bound} {one.detail or ''}")


if __name__ == "__main__":
    main()
