"""Make the daemon's client of MQTT from its configuration."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence

from detector import logs
from detector.config.input.source import MqttSection
from detector.config.secrets import revealed
from detector.config.tls_files import TlsFiles
from detector.errors import ConfigError
from detector.service import systemd

try:
    from connectors.mqtt.client import MqttClient, MqttOptions
except ModuleNotFoundError as error:
    raise ConfigError("MQTT needs the package paho-mqtt: pip install 'streamgauge[mqtt]'") from error


def connected(mqtt: MqttSection, topics: Sequence[str], stop: threading.Event) -> MqttClient:
    """Return a client that is connected and has subscribed to `topics`, or not if `stop` was set meanwhile.

    Raises:
        ConfigError: a TLS file cannot be used.
        MqttError: the broker refuses, or does not answer within [mqtt] startup_timeout.
    """
    host, port = mqtt.address
    client = MqttClient(
        MqttOptions(
            host,
            port,
            mqtt.client_id,
            topics,
            mqtt.username,
            revealed(mqtt.password),
            _tls(mqtt),
            mqtt.session_expiry,
            mqtt.keepalive,
            mqtt.max_in_flight,
        )
    )
    systemd.notify(f"STATUS=waiting for MQTT at {client.shown}")
    try:
        client.connect(mqtt.startup_timeout, stop)
    except BaseException:
        client.close()
        raise
    if mqtt.username and not mqtt.tls:
        logs.event("the password of MQTT is sent unencrypted; set [mqtt] tls = true", broker=client.shown)
    return client


def _tls(mqtt: MqttSection) -> ssl.SSLContext | None:
    """Return the context of an encrypted connection, which checks certificate and name of the broker."""
    if not mqtt.tls:
        return None
    context = ssl.create_default_context(cafile=mqtt.ssl_cafile)
    TlsFiles.of_mqtt(mqtt).load_into(context)
    return context
