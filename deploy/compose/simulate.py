"""The simulated plant of `compose.yml`: writes its history as Parquet and streams its present to Kafka.

    python simulate.py history DIR                                two days without faults that end now
    python simulate.py stream HOST:PORT TOPIC [--seconds N]       a reading per pump every ten seconds

Every 15 minutes a fault of five minutes begins on one of the pumps. Pump and kind of fault depend only on the
time, so a restarted simulator continues in the same way.
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
    """Return the faults in this span of time: one per 15 minutes, with kinds and pumps in turn."""
    return tuple(
        Fault(kind, plant.series[number % plant.num_pumps], channel, begins, begins + _LASTS_NS, magnitude)
        for number in range(start_ns // _PERIOD_NS, end_ns // _PERIOD_NS + 1)
        for kind, channel, magnitude in (_PLAN[number % len(_PLAN)],)
        for begins in (number * _PERIOD_NS + _BEGINS_NS,)
    )


def write_history(directory: Path) -> None:
    """Write one file per pump. A directory that has Parquet files is not changed."""
    if any(directory.glob("*.parquet")):
        print(f"{directory}: has a history already")
        return
    plant = Plant(interval_seconds=INTERVAL_SECONDS)
    end_ns = time.time_ns()
    for name, columns in history_columns(plant, end_ns - HISTORY_DAYS * _DAY_NS, end_ns):
        with TableWriter(directory / f"{name}.parquet", {"interval_s": str(INTERVAL_SECONDS)}) as writer:
            writer.write(columns)
    print(f"{directory}: {HISTORY_DAYS} days of {plant.num_pumps} pumps")


def stream(connection: Connection, topic: str, stop: threading.Event) -> None:
    """Publish each reading when its time has come, until `stop` is set."""
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
    """Run the action of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    past = actions.add_parser("history")
    past.add_argument("directory", type=Path)
    present = actions.add_parser("stream")
    present.add_argument("bootstrap_server")
    present.add_argument("topic")
    present.add_argument("--seconds", type=float, help="seconds to run; default: until SIGTERM")
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
