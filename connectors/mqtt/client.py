"""The client of MQTT 5: one connection with a session that outlives it.

The broker keeps the session while nobody is connected: the subscriptions, and every message of quality 1
that was not acknowledged. A message is acknowledged by `acknowledge` and by nothing else.
"""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.errors import MqttError

logger = logging.getLogger(__name__)

_MOST_SECONDS = 0xFFFFFFFE
_REFUSALS = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x95, 0x9C, 0x9D}
"""Reasons that waiting does not cure, such as a wrong password or protocol."""
_PUBLISH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """How to reach the broker, and what to keep there.

    host, port          the broker
    client_id           names the session; two connections of one name end each other
    topics              filters to subscribe to, with quality 1
    username, password  None: no login
    tls                 None: not encrypted
    session_seconds     how long the broker keeps the session without a connection
    keepalive_seconds   after this silence the connection counts as broken
    max_in_flight       most messages that are not acknowledged
    """

    host: str
    port: int
    client_id: str
    topics: Sequence[str] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    session_seconds: float = 86_400.0
    keepalive_seconds: float = 30.0
    max_in_flight: int = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """A message: its identifier for `acknowledge` (0: there is nothing to acknowledge), content and arrival.

    An identifier means something in its session alone; sessions are numbered.
    """

    mid: int
    topic: str
    payload: bytes
    properties: tuple[tuple[str, bytes], ...]
    time_ms: int
    session: int = 0


class MqttClient:
    """A connection with its thread. It reconnects by itself, and subscribes again where the session is gone.

    A message that was taken and not acknowledged when the connection broke comes again. It is not given
    twice to this process: its first copy is acknowledged on the new connection. Where the broker has lost the
    session, what this process has received comes never again: it is kept, and not acknowledged.
    """

    def __init__(self, options: MqttOptions) -> None:
        """Prepare; `connect` begins."""
        self._options = options
        self._changed = threading.Condition()
        self._waiting: deque[Received] = deque()
        self._taken: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._published: dict[int, str] = {}
        self._session = 0
        self._refused, self._problem = "", "no answer yet"
        self.is_connected = False
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, options.client_id, protocol=paho.MQTTv5, manual_ack=True
        )
        if options.username is not None:
            client.username_pw_set(options.username, options.password)
        if options.tls is not None:
            client.tls_set_context(options.tls)
        client.reconnect_delay_set(1, 30)
        client.max_inflight_messages_set(options.max_in_flight)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        client.on_publish = self._on_publish

    @property
    def shown(self) -> str:
        """The broker, for people."""
        return f"{self._options.host}:{self._options.port}"

    def connect(self, timeout_seconds: float, stop: threading.Event) -> None:
        """Return once the connection stands and the topics are subscribed, or when `stop` is set.

        Raises MqttError: the broker refuses, or does not answer in time.
        """
        options = self._options
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(_MOST_SECONDS, round(options.session_seconds))
        properties.ReceiveMaximum = options.max_in_flight
        self._client.connect_async(
            options.host,
            options.port,
            round(options.keepalive_seconds),
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not (self.is_connected or stop.is_set()):
                self.check()
                if time.monotonic() > deadline:
                    raise MqttError(
                        f"{self.shown}: {self._problem}; gave up after {timeout_seconds:g} s: start it,"
                        " or change [mqtt] host and port"
                    )
                self._changed.wait(0.1)

    def take(self, limit: int, timeout_seconds: float) -> list[Received]:
        """Return at most `limit` messages in order of arrival; wait where none is there. Raises MqttError."""
        with self._changed:
            self.check()
            if not self._waiting:
                self._changed.wait(timeout_seconds)
            found = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
            self._taken |= {one.mid: _content(one) for one in found if one.mid}
            return found

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Let the broker forget these messages. One whose acknowledgement is lost comes again, unseen."""
        with self._changed:  # no other session may begin between the look and the acknowledgement
            for one in messages:
                if one.mid and one.session == self._session:
                    self._taken.pop(one.mid, None)
                    self._done[one.mid] = _content(one)
                    self._client.ack(one.mid, 1)

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish (topic, payload) with quality 1; return once the broker has all of them.

        Raises MqttError: it does not acknowledge them in time. They may be published all the same.
        """
        mids = {self._client.publish(topic, payload, qos=1).mid for topic, payload in messages}
        deadline = time.monotonic() + _PUBLISH_SECONDS
        with self._changed:
            while not mids <= self._published.keys():
                if time.monotonic() > deadline:
                    raise MqttError(f"{self.shown}: results are not acknowledged for {_PUBLISH_SECONDS:g} s")
                self._changed.wait(0.5)
            refused = [reason for mid in mids if (reason := self._published.pop(mid))]
        if refused:
            raise MqttError(f"{self.shown}: the broker refuses results: {refused[0]}; see [output] prefix")

    def check(self) -> None:
        """Raise MqttError where the broker refuses for good."""
        if self._refused:
            raise MqttError(f"{self.shown}: {self._refused}")

    def close(self) -> None:
        """End the connection; the broker keeps the session. May be called more than once."""
        self.is_connected = False
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: paho.Client, data: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        with self._changed:
            if reason.is_failure:
                self._problem = f"the broker refuses the connection: {reason}"
                if reason.value in _REFUSALS:
                    self._refused = f"{self._problem}; see [mqtt] username, password and client_id"
                self._changed.notify_all()
                return
            if flags.session_present:  # what has a quality comes again: nothing of it was acknowledged
                self._waiting = deque(one for one in self._waiting if not one.mid)
            else:
                self._begin_session()
            if not self._options.topics:
                self._note_connected()
        options = SubscribeOptions(
            qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        if self._options.topics:
            client.subscribe([(topic, options) for topic in self._options.topics])

    def _begin_session(self) -> None:
        """Keep what was received, with nothing to acknowledge: the broker has forgotten its identifiers."""
        num = len(self._taken) + sum(bool(one.mid) for one in self._waiting)
        if num:
            logger.warning(
                "%s has lost the session: %d messages are kept here and not acknowledged", self.shown, num
            )
        self._session += 1
        self._waiting = deque(replace(one, mid=0) for one in self._waiting)
        self._taken.clear()
        self._done.clear()

    def _on_subscribe(
        self, client: paho.Client, data: Any, mid: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        with self._changed:
            for topic, reason in zip(self._options.topics, reasons, strict=False):
                if reason.is_failure:
                    self._refused = f"the broker refuses to subscribe to {topic}: {reason}"
            self._note_connected()

    def _on_publish(
        self, client: paho.Client, data: Any, mid: int, reason: ReasonCode, properties: Any
    ) -> None:
        with self._changed:
            self._published[mid] = str(reason) if reason.is_failure else ""
            self._changed.notify_all()

    def _note_connected(self) -> None:
        self.is_connected = not self._refused
        if self.is_connected:
            logger.info("connected to %s", self.shown)
        self._changed.notify_all()

    def _on_disconnect(
        self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        with self._changed:
            if self.is_connected:
                logger.warning("connection to %s lost: %s; connecting again", self.shown, reason)
            self.is_connected, self._problem = False, str(reason)
            self._changed.notify_all()

    def _on_connect_fail(self, client: paho.Client, data: Any) -> None:
        with self._changed:  # it is called where the error is handled
            self._problem = f"cannot be reached: {sys.exc_info()[1] or 'no reason given'}"

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        pairs = getattr(message.properties, "UserProperty", ()) if message.properties else ()
        headers = tuple((str(name), str(value).encode()) for name, value in pairs)
        mid = message.mid if message.qos else 0
        content, now_ms = bytes(message.payload), time.time_ns() // 1_000_000
        one = Received(mid, message.topic, content, headers, now_ms, self._session)
        with self._changed:
            if message.dup and self._done.get(mid) == _content(one):
                again = True
            else:
                again = False
                self._done.pop(mid, None)
                if not (message.dup and self._taken.get(mid) == _content(one)):
                    self._waiting.append(one)
                    self._changed.notify_all()
        if again:
            client.ack(mid, 1)


def _content(one: Received) -> int:
    return hash((one.topic, one.payload))
