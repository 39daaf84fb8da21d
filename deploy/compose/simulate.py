"""The simulated plant for `compose.yml`: its past as Parquet, its present into Kafka.

    python simulate.py history DIR                                two healthy days that end now
    python simulate.py stream HOST:PORT TOPIC [--seconds N]       a reading a pump every ten seconds

Every quarter of an hour a fault of a few minutes begins on one of the pumps; which, follows from the time
alone, so that a simulator that was restarted tells the same story.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

from connectors.kafka.cluster import ensure_topics, wait_for_broker
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.parquet.writer import TableWriter
from connectors.wide_json.encoder import encode
from trainer.demo.plant import CHANNELS, Fault, Kind, Plant, history_columns

INTERVAL_SECONDS = 10
HISTORY_DAYS = 2
PARTITIONS = 4
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_PERIOD_NS, _BEGINS_NS, _LASTS_NS = 900 * _SECOND_NS, 300 * _SECOND_NS, 300 * _SECOND_NS
_PLAN: tuple[tuple[Kind, str, float], ...] = (
    ("oscillation", "pressure", 0.6),
    ("drift", "bearing_temp", 12.0),
    ("stuck", "flow", 0.0),
    ("spike", "vibration", 3.0),
    ("lost correlation", "current", 0.0),
)


def faults_between(plant: Plant, start_ns: int, end_ns: int) -> tuple[Fault, ...]:
    """What is wrong in this span: one fault a quarter of an hour, kinds and pumps in turn."""
    return tuple(
        Fault(kind, plant.series[number % plant.num_pumps], channel, begins, begins + _LASTS_NS, magnitude)
        for number in range(start_ns // _PERIOD_NS, end_ns // _PERIOD_NS + 1)
        for kind, channel, magnitude in (_PLAN[number % len(_PLAN)],)
        for begins in (number * _PERIOD_NS + _BEGINS_NS,)
    )


def write_history(directory: Path) -> None:
    """One file a pump; a directory that holds some is left as it is."""
    if any(directory.glob("*.parquet")):
        print(f"{directory}: there already")
        return
    plant = Plant(interval_seconds=INTERVAL_SECONDS)
    end_ns = time.time_ns()
    for name, columns in history_columns(plant, end_ns - HISTORY_DAYS * _DAY_NS, end_ns):
        with TableWriter(directory / f"{name}.parquet", {"interval_s": str(INTERVAL_SECONDS)}) as writer:
            writer.write(columns)
    print(f"{directory}: {HISTORY_DAYS} days of {plant.num_pumps} pumps")


def stream(connection: Connection, topic: str, stop: threading.Event) -> None:
    """Every reading when its time has come, until told to stop."""
    wait_for_broker(connection)
    ensure_topics(connection, [TopicSpec(topic, PARTITIONS, 1)])
    producer = Producer(connection)
    from_ns = time.time_ns()
    try:
        while not stop.wait(INTERVAL_SECONDS):
            until_ns = time.time_ns()
            plant = Plant(interval_seconds=INTERVAL_SECONDS)
            plant = Plant(interval_seconds=INTERVAL_SECONDS, faults=faults_between(plant, from_ns, until_ns))
            producer.produce(encode(plant.readings(from_ns, until_ns), CHANNELS, topic))
            from_ns = until_ns
    finally:
        producer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    past = actions.add_parser("history")
    past.add_argument("directory", type=Path)
    present = actions.add_parser("stream")
    present.add_argument("bootstrap_server")
    present.add_argument("topic")
    present.add_argument("--seconds", type=float, help="how long; default: until SIGTERM")
    args = parser.parse_args()
    if args.action == "history":
        write_history(args.directory)
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if args.seconds is not None:
        threading.Timer(args.seconds, stop.set).start()
    stream(Connection((args.bootstrap_server,)), args.topic, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
