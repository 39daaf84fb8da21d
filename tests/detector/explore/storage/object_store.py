"""Servers for the tests, on free loopback ports: versitygw speaks S3, fake-gcs-server Google Cloud Storage.

Go builds them once into the user's cache, which takes minutes. `STREAMGAUGE_TEST_VERSITYGW` and
`STREAMGAUGE_TEST_FAKE_GCS` name programs to be used instead.
`STREAMGAUGE_REQUIRE_OBJECTS=1` turns the skip of a machine without Go into a failure.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from tests.support.kafka_broker import WITH_US, free_ports

KEY, SECRET, BUCKET = "an-access-key", "a-secret-that-nobody-guesses", "plant"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_START_SECONDS = 30.0
_BUILD_SECONDS = 420.0


@dataclass(frozen=True)
class Program:
    """A server that Go builds: its name, version and package, and the variable that names another one."""

    name: str
    version: str
    package: str
    variable: str

    def path(self) -> Path:
        """The program, which is built if it is missing; skips without Go."""
        given = os.environ.get(self.variable) or shutil.which(self.name)
        if given:
            return Path(given)
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "streamgauge")
        built = base / f"{self.name}-{self.version}" / self.name
        if built.exists():
            return built
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            _without(f"Go is not installed, and {self.variable} is not set")
            raise AssertionError
        base.mkdir(parents=True, exist_ok=True)
        with (base / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not built.exists():
                self._build(go, built)
        return built

    def _build(self, go: str, built: Path) -> None:
        with tempfile.TemporaryDirectory(dir=built.parent.parent) as scratch:
            command = ["env", f"GOBIN={scratch}", go, "install", f"{self.package}@v{self.version}"]
            try:
                subprocess.run(command, capture_output=True, check=True, timeout=_BUILD_SECONDS)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                _without(f"Go cannot build {self.package}: {error} {(error.stderr or b'')[-300:].decode()}")
            built.parent.mkdir(exist_ok=True)
            Path(scratch, self.name).rename(built)


VERSITYGW = Program(
    "versitygw", "1.8.0", "github.com/versity/versitygw/cmd/versitygw", "STREAMGAUGE_TEST_VERSITYGW"
)
FAKE_GCS = Program(
    "fake-gcs-server", "1.52.2", "github.com/fsouza/fake-gcs-server", "STREAMGAUGE_TEST_FAKE_GCS"
)


def _without(why: str) -> None:
    reason = f"no object storage to test with: {why}"
    if os.environ.get("STREAMGAUGE_REQUIRE_OBJECTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class ObjectStore:
    """A server whose objects survive `kill`; its port stays the same over restarts."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "objects"
        self._log = directory / "versitygw.log"
        (self.root / BUCKET).mkdir(parents=True)
        (directory / "side").mkdir()
        self._program, (self._port,) = VERSITYGW.path(), free_ports(1)
        self._side = directory / "side"
        self._process: subprocess.Popen[bytes] | None = None

    def uri(self, prefix: str, bucket: str = BUCKET) -> str:
        """The URI of a prefix."""
        return f"s3://{bucket}/{prefix}?endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"

    def start(self) -> None:
        """Start and return when it listens."""
        command = [*WITH_US, str(self._program), "--port", f"127.0.0.1:{self._port}", "--quiet", "posix"]
        command += ["--sidecar", str(self._side), str(self.root)]
        environment = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        wait_for_port(self._port, self._process, self._log)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class GcsStore:
    """A server that keeps its objects in memory until `kill`."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "fake-gcs-server.log"
        (self._port,) = free_ports(1)
        address = f"127.0.0.1:{self._port}"
        command = [*WITH_US, str(FAKE_GCS.path()), "-scheme", "http", "-host", "127.0.0.1"]
        command += ["-port", str(self._port), "-backend", "memory", "-public-host", address]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_for_port(self._port, self._process, self._log)
        made = urllib3.request("POST", f"http://{address}/storage/v1/b?project=tests", json={"name": BUCKET})
        assert made.status == 200

    def uri(self, prefix: str, bucket: str = BUCKET) -> str:
        """The URI of a prefix."""
        return f"gs://anonymous@{bucket}/{prefix}?endpoint_override=127.0.0.1:{self._port}&scheme=http"

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a server listens. Raises RuntimeError if it ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return
