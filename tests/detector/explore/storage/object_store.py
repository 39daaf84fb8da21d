"""A real S3 server for the tests: versitygw, which keeps objects as files, on a free loopback port.

Go builds it once into the user's cache, which takes minutes. `STREAMGAUGE_TEST_VERSITYGW` names a program to
be used instead. `STREAMGAUGE_REQUIRE_OBJECTS=1` turns the skip of a machine without Go into a failure.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.kafka_broker import WITH_US, free_ports

VERSION = "1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
KEY, SECRET, BUCKET = "an-access-key", "a-secret-that-nobody-guesses", "plant"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_START_SECONDS = 30.0
_BUILD_SECONDS = 420.0


def program() -> Path:
    """The server, which is built if it is missing; skips without Go."""
    given = os.environ.get("STREAMGAUGE_TEST_VERSITYGW") or shutil.which("versitygw")
    if given:
        return Path(given)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "streamgauge")
    built = base / f"versitygw-{VERSION}" / "versitygw"
    if built.exists():
        return built
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        _without("Go is not installed, and STREAMGAUGE_TEST_VERSITYGW is not set")
        raise AssertionError
    base.mkdir(parents=True, exist_ok=True)
    with (base / "versitygw.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=base) as scratch:
                command = ["env", f"GOBIN={scratch}", go, "install", MODULE]
                try:
                    subprocess.run(command, capture_output=True, check=True, timeout=_BUILD_SECONDS)
                except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                    _without(f"Go cannot build {MODULE}: {error} {(error.stderr or b'')[-300:].decode()}")
                built.parent.mkdir(exist_ok=True)
                Path(scratch, "versitygw").rename(built)
    return built


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
        self._program, (self._port,) = program(), free_ports(1)
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
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1.0).close()
        except OSError:
            return False
        return True
