"""Read the alerts that a running detector writes to Kafka, as any consumer can.

Run: python examples/read_alerts.py localhost:9092 streamgauge.alerts
"""

from __future__ import annotations

import json
import sys

from kafka import KafkaConsumer


def main(bootstrap: str, topic: str, idle_ms: float = float("inf")) -> None:
    """Print one line per alert. End after `idle_ms` milliseconds without an alert; the default is never."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=None,  # no consumer group: read from the start, commit nothing
        auto_offset_reset="earliest",
        consumer_timeout_ms=idle_ms,
    )
    for message in consumer:
        alert = json.loads(message.value)
        blamed = ", ".join(channel["name"] for channel in alert["channels"])
        score = "unknown" if alert["peak_score"] is None else f"{alert['peak_score']:.2f}"
        print(
            f"{alert['at']} {alert['event']:9} {alert['series']} {alert['severity']}"
            f" score {score} {blamed} [{alert['id']}]",
            flush=True,
        )
    consumer.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) < 2:
        sys.exit(__doc__)
    main(arguments[0], arguments[1], *(float(one) for one in arguments[2:]))
