"""Publishes results to topics of MQTT: PREFIX/scores/SERIES, PREFIX/alerts/SERIES, PREFIX/dead-letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from connectors.files.outputs import value_of
from connectors.local.delivery import Outputs
from connectors.local.store import Length
from connectors.mqtt.client import MqttClient
from connectors.records import Message

_SAFE = " !\"$&'()*,-.:;<=>?@[\\]^_`{|}~"


class MqttOutputs:
    """Promise: at least once, with quality 1. After a kill the results of a batch may be published again."""

    def __init__(self, client: MqttClient) -> None:
        """Publish with a client that is connected; its maker closes it."""
        self._client = client

    def produce(self, messages: Sequence[Message]) -> None:
        """Publish the messages in order; return once the broker has acknowledged all. Raises MqttError."""
        self._client.publish([(topic_of(message), value_of(message)) for message in messages])

    def lengths(self) -> Mapping[str, Length]:
        """Return none: what is published cannot be cut."""
        return {}

    def close(self) -> None:
        """Do nothing: the maker of the client closes it."""


def topic_of(message: Message) -> str:
    """Return the topic of MQTT: the dot before its last part becomes /, and the series follows.

    Characters of the series that mean something in a topic are written as in a URL.

    >>> topic_of(Message("plant.scores", b"hall/pump+1", b"{}"))
    'plant/scores/hall%2Fpump%2B1'
    """
    prefix, _, kind = message.topic.rpartition(".")
    levels = [prefix, kind]
    if message.key and not message.headers:
        levels.append(quote(message.key.decode(errors="replace"), safe=_SAFE))
    return "/".join(levels)


if TYPE_CHECKING:
    _: type[Outputs] = MqttOutputs
