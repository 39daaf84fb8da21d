"""Schema registries for tests: a small one in the process, and a real one.

The real one is Apicurio, which also speaks the HTTP interface of Confluent. Maven fetches its archive, once,
into the user's cache.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import shutil
import ssl
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro

from connectors.formats.avro.registry import SchemaRegistry
from connectors.http_post import Endpoint
from tests.support.certificates import Files
from tests.support.kafka_broker import WITH_US, cache_directory, free_ports, run

APICURIO = "2.6.13.Final"
START_SECONDS = 240.0
JVM = ("-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass
class RegistryServer:
    """A registry in the process, which answers as Confluent's documents say. `status` makes it fail."""

    tls: ssl.SSLContext | None = None
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    status: int = 200

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if self.tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def register(self, number: int, schema: Any, **more: Any) -> int:
        self.schemas[number] = {"schema": json.dumps(schema), **more}
        return number

    def client(self) -> SchemaRegistry:
        return SchemaRegistry(Endpoint(self.url, timeout_seconds=5.0))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry: RegistryServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.registry.requests.append((self.path, self.headers.get("Authorization")))
        parts = self.path.strip("/").split("/")
        found: dict[str, Any] | None = None
        if parts[:2] == ["schemas", "ids"]:
            found = self.registry.schemas.get(int(parts[2]))
        elif parts[0] == "subjects":
            found = self.registry.subjects.get((parts[1], int(parts[3])))
        status = self.registry.status if found or self.registry.status != 200 else 404
        body = json.dumps(found or {"error_code": 40403, "message": "Schema not found"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving_tls(files: Files) -> Iterator[RegistryServer]:
    """A registry that is reached by HTTPS alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    found = RegistryServer(context)
    try:
        yield found
    finally:
        found.close()


def framed(number: int, schema: Any, record: Any) -> bytes:
    """A message of Avro: a zero byte, the number of the schema, the record."""
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), record)
    return b"\x00" + number.to_bytes(4, "big") + body.getvalue()


def missing_programs() -> list[str]:
    """What a registry of our own needs and is not here. Maven only until the archive is in the cache."""
    needed = ["java"] if _home().exists() else ["java", "mvn"]
    return [program for program in needed if shutil.which(program) is None]


def _home() -> Path:
    return cache_directory().parent / f"apicurio-{APICURIO}"


def _fetch() -> Path:
    target = _home()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "apicurio.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                artifact = f"io.apicurio:apicurio-registry-app:{APICURIO}:tar.gz:all"
                goal = ["dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}"]
                run(["mvn", "--batch-mode", "--quiet", *goal])
                (archive,) = Path(scratch).glob("*.tar.gz")
                with tarfile.open(archive) as found:
                    found.extractall(Path(scratch, "app"), filter="data")
                Path(scratch, "app").rename(target)
    return target


class Apicurio:
    """A real registry in a process of its own; its schemas are lost when it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory, (self.port,) = directory, free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (jar,) = _fetch().glob("*-runner.jar")
        where = [f"-Dquarkus.http.port={self.port}", "-Dquarkus.http.host=127.0.0.1"]
        log = self._directory / "registry.log"
        with log.open("ab") as output:
            command = [*WITH_US, "java", *JVM, *where, "-jar", str(jar)]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=self._directory)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)

    def register(self, subject: str, schema: Any) -> int:
        """Register a schema as any producer does; return its number."""
        body = json.dumps({"schema": json.dumps(schema)})
        answer = self._ask("POST", f"/subjects/{subject}/versions", body)
        return int(answer["id"])

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            self._ask("GET", "/subjects")
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return True

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
            connection.request(method, f"/apis/ccompat/v7{path}", body, headers)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if answer.status != 200:
                raise ValueError(f"{answer.status}: {found}")
            return found
        finally:
            connection.close()


@contextmanager
def apicurio(directory: Path) -> Iterator[Apicurio]:
    registry = Apicurio(directory)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()
