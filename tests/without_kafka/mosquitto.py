"""A real Mosquitto on a port of its own, and clients that look at it from outside."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties

from tests.support.daemon import wait_for

REQUIRED = "STREAMGAUGE_REQUIRE_MOSQUITTO"
_NAMES = ("mosquitto", "/usr/sbin/mosquitto")


@dataclass
class Mosquitto:
    """A broker that can be stopped and started again; it keeps its sessions on the disk."""

    port: int
    config: Path
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program(), "-c", str(self.config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for(lambda: answers(self.port), f"Mosquitto; see {self.log}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    def has_ended(self, client_id: str) -> int:
        """How many connections of a client have ended in an orderly way, as the log of the broker has it."""
        return len(re.findall(rf"Client {client_id}\b.* disconnected", self.log.read_text()))


def program() -> str:
    """The installed Mosquitto; skips the test where there is none, unless it is required."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get(REQUIRED):
        pytest.fail("Mosquitto is not installed: apt-get install mosquitto")
    if found is None:
        pytest.skip("Mosquitto is not installed: apt-get install mosquitto", allow_module_level=True)
    return found


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def mosquitto(directory: Path, settings: str = "allow_anonymous true") -> Iterator[Mosquitto]:
    """A broker while the context lasts; `settings` of its listener."""
    program()
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)  # as root, Mosquitto changes to a user of its own
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "mosquitto.conf"
    config.write_text(
        f"user {os.environ.get('USER', 'root')}\npersistence true\npersistence_location {directory}/\n"
        f"autosave_interval 1\nmax_inflight_messages 50\nlistener {port} 127.0.0.1\n{settings}\n"
    )
    broker = Mosquitto(port, config, directory / "mosquitto.log")
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def publish(
    port: int, messages: Sequence[tuple[str, bytes]], headers: Sequence[tuple[str, str]] = ()
) -> None:
    """Publish with quality 1, in order; return once the broker has all of them."""
    client = paho.Client(CallbackAPIVersion.VERSION2, f"test-{uuid.uuid4().hex[:8]}", protocol=paho.MQTTv5)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(60)
    properties = Properties(3)  # of PUBLISH
    properties.UserProperty = list(headers)
    for topic, payload in messages:
        client.publish(topic, payload, qos=1, properties=properties).wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


class Listener:
    """Collects what is published to a filter while the context lasts."""

    def __init__(self, port: int, topic: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        name = f"test-{uuid.uuid4().hex[:8]}"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        self._client.on_message = lambda c, d, one: self.messages.append((one.topic, bytes(one.payload)))
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(topic, qos=1)
        assert self._ready.wait(60)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
