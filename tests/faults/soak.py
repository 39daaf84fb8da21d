"""A soak: readings at half of what the group can judge, a member killed every minute, and what grows.

python -m tests.faults.soak [--minutes 30] [--rate N] [--out FILE]

Member 0 is never touched: its memory, files and threads must stay flat. One of the others is killed (kill -9)
every minute and comes back at once; the group must catch up before the next kill. In the end every row must
have been judged once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from connectors.kafka.cluster import ensure_topics
from connectors.kafka.connection import Connection, TopicSpec
from connectors.kafka.producer import Producer
from connectors.records import Message
from detector.artifact.registry import publish
from tests.faults.cluster import SESSION_SECONDS, Cluster, Member, member_config, start, wait_for
from tests.faults.expected import read_committed
from tests.faults.harness import Progress
from tests.support.artifacts import make_artifact

_SERIES, _PARTITIONS, _MEMBERS = 200, 4, 3
_START_MS = 1_700_000_000_000
_MEASURED_ROWS, _SETTLED_MINUTES = 300, 3
_CATCH_UP_SECONDS = 120.0
_GROWTH_BYTES, _GROWTH_SHARE, _GROWTH_NUMBER = 32 << 20, 0.05, 3
"""What a process may grow by between its third minute and its last."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute: member 0 just before the kill, and how long the group then took to be live again."""

    minute: int
    resident_mib: float
    files: int
    threads: int
    lag: int
    recovered_seconds: float


class Stream:
    """Rows of all series, a second of event time each, written when `until` asks for them."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer(Connection((bootstrap,)))
        self._topic = topic
        self._rng = np.random.default_rng(0)
        self.rows = 0

    @property
    def readings(self) -> int:
        return self.rows * _SERIES

    def write(self, num_rows: int) -> None:
        """The next rows of every series."""
        messages = []
        for _ in range(num_rows):
            time_ms = _START_MS + 1_000 * self.rows
            values = np.round(self._rng.standard_normal((_SERIES, 2)), 3).tolist()
            for one, (flow, pressure) in enumerate(values):
                body = (
                    f'{{"series":"pump-{one}","timestamp":{time_ms},'
                    f'"values":{{"flow":{flow},"pressure":{pressure}}}}}'
                )
                key = f"pump-{one}".encode()
                messages.append(Message(self._topic, key, body.encode(), (), one % _PARTITIONS))
            self.rows += 1
        self._producer.produce(messages)

    def close(self) -> None:
        self._producer.close()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parse(argv)
    directory = Path(tempfile.mkdtemp(prefix="streamgauge-soak-"))
    (directory / "broker").mkdir()
    cluster = Cluster(directory / "broker")
    try:
        summary = soak(cluster, directory, arguments.minutes, arguments.rate)
    finally:
        cluster.close()
    print(json.dumps({key: value for key, value in summary.items() if key != "minutes"}, indent=1))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(summary, indent=1) + "\n")
    if summary["problems"]:
        print(f"logs: {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def soak(cluster: Cluster, directory: Path, minutes: int, rate: float | None) -> dict[str, object]:
    """Run it; `rate` in readings a second, None: half of what is measured first."""
    topic = f"soak-{uuid.uuid4().hex[:6]}"
    ensure_topics(Connection((cluster.bootstrap,)), [TopicSpec(topic, _PARTITIONS)])
    publish(make_artifact(threshold=1e9, window=16), directory / "models" / "pump")
    members = [
        member_config(directory, number, directory / "models" / "pump", cluster, topic, "exactly_once")
        for number in range(_MEMBERS)
    ]
    stream, progress = Stream(cluster.bootstrap, topic), Progress(cluster, topic, _PARTITIONS)
    table: list[Minute] = []
    try:
        for member in members:
            start(member)
        wait_for(lambda: all(member.holds_partitions for member in members), "the group to form")
        capacity = _capacity(stream, progress)
        rate = rate or capacity / 2
        print(f"capacity {capacity:,.0f} readings/s, soaking at {rate:,.0f}", flush=True)
        for minute in range(minutes):
            table.append(_minute(cluster, members, stream, progress, rate, minute))
            print(table[-1], flush=True)
        wait_for(lambda: progress.committed() >= stream.readings, "the rest", _CATCH_UP_SECONDS, every=0.5)
    finally:
        for member in members:
            if member.is_alive:
                member.kill()
        progress.close()
        stream.close()
    lost, doubled = _reconcile(cluster.bootstrap, topic, stream.rows)
    return {
        "capacity_readings_per_second": round(capacity),
        "readings_per_second": round(rate),
        "readings": stream.readings,
        "kills": len(table),
        "session_timeout_seconds": SESSION_SECONDS,
        "recovered_seconds": {
            "median": float(np.median([one.recovered_seconds for one in table])),
            "most": max(one.recovered_seconds for one in table),
        },
        "lost": lost,
        "doubled": doubled,
        "problems": [*_growth(table), *([f"{lost} rows lost, {doubled} doubled"] if lost or doubled else [])],
        "minutes": [asdict(one) for one in table],
    }


def _capacity(stream: Stream, progress: Progress) -> float:
    """Readings a second that the group judges of a backlog, windows full."""
    stream.write(20)
    wait_for(lambda: progress.committed() >= stream.readings, "the first rows")
    stream.write(_MEASURED_ROWS)
    before, began = progress.committed(), time.monotonic()
    wait_for(lambda: progress.committed() >= stream.readings, "a backlog", _CATCH_UP_SECONDS)
    return (stream.readings - before) / (time.monotonic() - began)


def _minute(
    cluster: Cluster, members: list[Member], stream: Stream, progress: Progress, rate: float, minute: int
) -> Minute:
    """Write for a minute; in its middle kill a member and time how long its partitions stand still."""
    _write_for(stream, rate, 30.0)
    process = psutil.Process(members[0].pid)
    figures = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
    lag = stream.readings - progress.committed()
    victim = members[1 + minute % (_MEMBERS - 1)]
    victim.kill()
    start(victim)
    killed = time.monotonic()
    stream.write(1)  # of every partition, the victim's too: what shows that it is served again
    written = progress.ends()
    recovered = None
    while recovered is None:
        _write_for(stream, rate, 0.5)
        if progress.has_reached(written):
            recovered = time.monotonic() - killed
        elif time.monotonic() - killed > _CATCH_UP_SECONDS:
            raise TimeoutError(f"not caught up {_CATCH_UP_SECONDS:.0f} s after a kill; see {victim.log}")
    _write_for(stream, rate, max(0.0, 30.0 - recovered))
    return Minute(minute, round(figures[0], 1), figures[1], figures[2], lag, round(recovered, 1))


def _write_for(stream: Stream, rate: float, seconds: float) -> None:
    """Rows at `rate` readings a second."""
    end = time.monotonic() + seconds
    pause = _SERIES / rate
    due = time.monotonic()
    while time.monotonic() < end:
        stream.write(1)
        due += pause
        time.sleep(max(0.0, due - time.monotonic()))  # the pace itself, not a wait for something


def _growth(table: list[Minute]) -> list[str]:
    """What grew in member 0 from the third minute to the last."""
    settled = table[_SETTLED_MINUTES:]
    if len(settled) < 2:
        return []
    first, last = settled[0], settled[-1]
    grown = (last.resident_mib - first.resident_mib) * 2**20
    problems = []
    if grown > _GROWTH_BYTES + _GROWTH_SHARE * first.resident_mib * 2**20:
        problems.append(f"memory grew from {first.resident_mib} to {last.resident_mib} MiB")
    for name in ("files", "threads"):
        before, after = getattr(first, name), getattr(last, name)
        if after > before + _GROWTH_NUMBER:
            problems.append(f"{name} grew from {before} to {after}")
    return problems


def _reconcile(bootstrap: str, topic: str, num_rows: int) -> tuple[int, int]:
    """Rows that no verdict was committed for, and rows with more than one; the last of a series is open."""
    times: dict[str, list[int]] = {}
    for message in read_committed(bootstrap, f"{topic}-out.scores"):
        body = json.loads(message.value)
        times.setdefault(body["series"], []).extend(body["timestamp"])
    distinct = sum(len(set(found)) for found in times.values())
    return _SERIES * (num_rows - _OPEN_ROWS) - distinct, sum(map(len, times.values())) - distinct


_OPEN_ROWS = 3
"""The lateness of two seconds and the row itself: not closed by any later reading."""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=(__doc__ or "").strip())
    parser.add_argument("--minutes", type=int, default=30, metavar="M")
    parser.add_argument(
        "--rate", type=float, metavar="N", help="readings a second; default: half the capacity"
    )
    parser.add_argument("--out", metavar="FILE", help="write the table as JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
