"""Messages of MQTT without a broker: what waits, what is acknowledged, and what comes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

paho = pytest.importorskip("paho.mqtt.client")
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.reasoncodes import ReasonCode  # noqa: E402

from connectors.formats.codec import codec_of  # noqa: E402
from connectors.formats.form import Form  # noqa: E402
from connectors.local.source import LocalSource, SourceOptions  # noqa: E402
from connectors.local.store import LocalStore  # noqa: E402
from connectors.mqtt.client import MqttClient, MqttOptions  # noqa: E402
from connectors.mqtt.feed import MqttFeed  # noqa: E402
from tests.connectors.formats.schema_registry import RegistryServer, framed  # noqa: E402

SCHEMA = {
    "type": "record",
    "name": "Plain",
    "fields": [
        {"name": "series", "type": "string"},
        {"name": "timestamp", "type": "long"},
        {"name": "flow", "type": "double"},
    ],
}
START_MS = 1_767_225_600_000


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    found = RegistryServer()
    yield found
    found.close()


@pytest.fixture
def client() -> MqttClient:
    return MqttClient(MqttOptions("localhost", 1883, "test"))


def arrive(client: MqttClient, mid: int, payload: bytes, *, is_again: bool = False) -> None:
    """The broker sends a message of quality 1."""
    message = paho.MQTTMessage(mid, b"plant/a")
    message.qos, message.payload, message.dup = 1, payload, is_again
    client._on_message(client._client, None, message)


def reading(number: int, at: int) -> bytes:
    record = {"series": "a", "timestamp": START_MS + 1000 * at, "flow": float(at)}
    return framed(number, SCHEMA, record)


def test_messages_wait_for_a_registry_that_does_not_answer(
    server: RegistryServer, client: MqttClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.register(1, SCHEMA)
    server.register(2, SCHEMA)
    registry, pauses = server.client(), list[float]()
    codec = codec_of(("flow",), Form("avro", values="$", schemas=registry))
    source = LocalSource(MqttFeed(client), LocalStore(None), codec, SourceOptions("mqtt"))
    source.poll(0.0)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setattr(registry, "_again_at", 0.0)

    arrive(client, 1, reading(1, 0))
    batch = source.poll(0.0)
    assert batch is not None
    assert batch.position == {("mqtt", 0): 1}
    server.status = 503
    for mid, number in ((2, 1), (3, 2), (4, 1)):
        arrive(client, mid, reading(number, mid))
    monkeypatch.setattr("connectors.local.source.time.sleep", pause)
    batches = [source.poll(0.0), source.poll(0.0)]
    assert [one and (len(one.readings), one.position) for one in batches] == [(1, {("mqtt", 0): 2}), (0, {})]
    assert len(pauses) == 2
    assert all(0 < seconds <= 1 for seconds in pauses)
    server.status = 200
    batch = source.poll(0.0)
    assert batch is not None
    assert (batch.readings.values[:, 0].tolist(), batch.position) == ([3.0, 4.0], {("mqtt", 0): 4})


def test_a_session_that_the_broker_lost_takes_no_message_and_no_acknowledgement_along(
    client: MqttClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    acknowledged: list[int] = []
    monkeypatch.setattr(client._client, "ack", lambda mid, qos: acknowledged.append(mid))

    def connect(*, has_session: bool) -> None:
        reason = ReasonCode(PacketTypes.CONNACK)
        client._on_connect(client._client, None, paho.ConnectFlags(has_session), reason, None)

    connect(has_session=False)
    for mid in (1, 2, 3):
        arrive(client, mid, b"old %d" % mid)
    old = client.take(2, 0.0)
    connect(has_session=True)  # the broker sends again what was not acknowledged
    arrive(client, 1, b"old 1", is_again=True)
    arrive(client, 3, b"old 3", is_again=True)
    connect(has_session=False)
    assert "lost the session: 3 messages are kept here" in caplog.text
    kept = client.take(9, 0.0)
    assert [one.payload for one in kept] == [b"old 3"]
    arrive(client, 1, b"new 1")
    new = client.take(9, 0.0)
    client.acknowledge([*old, *kept])
    assert acknowledged == [], "number 1 is another message now"
    arrive(client, 1, b"new 1", is_again=True)
    assert client.take(9, 0.0) == [], "it was taken already"
    client.acknowledge(new)
    assert acknowledged == [1]
