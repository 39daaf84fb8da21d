"""A soak: readings at a share of what the group can judge, kills, rebalances, rarer events, and what grows.

python -m tests.faults.soak [--minutes 30] [--rate N] [--out FILE]
python -m tests.faults.soak --long         two hours at a third, hourly rebalances, each event once
python -m tests.faults.soak --slice        some minutes, each event once

Member 0 is never touched: its memory, files and threads must stay flat. Every so many minutes one of the
others is killed (kill -9) and comes back at once; the group must catch up. Events: the broker forgets
transactional ids in minutes without rows, a certificate changes, the disk of the broker is full. One
partition has rows in the beginning alone. Each is reported by its alert of the shipped rules. In the end
every row must have been judged once.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing, nullcontext
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
from tests.faults.groups.alerts import Alerts, watching
from tests.faults.groups.committed import commits_of, went_back
from tests.faults.groups.course import Course, parse
from tests.faults.groups.events import ALERTS, EVENTS, EXPIRING, Scene, SmallDisk, port_of, rebalance
from tests.faults.harness import Progress
from tests.support.artifacts import make_artifact
from tests.support.certificates import Authority

_SERIES, _PARTITIONS, _MEMBERS = 200, 4, 3
_IDLE, _IDLE_ROWS, _SILENT = "idle-0", 20, "20s"
"""The series of one more partition, and its rows: none comes later."""
_START_MS = 1_700_000_000_000
_MEASURED_ROWS, _SETTLED_MINUTES = 300, 3
_CATCH_UP_SECONDS = 120.0
_GROWTH_BYTES, _GROWTH_SHARE, _GROWTH_NUMBER = 32 << 20, 0.05, 3
"""What a process may grow by between its third minute and its last."""


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute: member 0 in its middle, and how long the group took to be live again after a kill."""

    minute: int
    resident_mib: float
    files: int
    threads: int
    lag: int
    recovered_seconds: float | None
    events: tuple[str, ...] = ()


class Stream:
    """Rows of all series, a second of event time each, written when `until` asks for them."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer(Connection((bootstrap,)))
        self._topic = topic
        self._rng = np.random.default_rng(0)
        self.rows = 0

    @property
    def readings(self) -> int:
        return self.rows * _SERIES + _IDLE_ROWS

    def write_idle(self) -> None:
        """All rows of the partition that has none later."""
        bodies = [_body(_IDLE, _START_MS + 1_000 * row, 0.0, 0.0) for row in range(_IDLE_ROWS)]
        self._producer.produce([Message(self._topic, b"", one, (), _PARTITIONS) for one in bodies])

    def write(self, num_rows: int) -> None:
        """The next rows of every series."""
        messages = []
        for _ in range(num_rows):
            time_ms = _START_MS + 1_000 * self.rows
            values = np.round(self._rng.standard_normal((_SERIES, 2)), 3).tolist()
            for one, (flow, pressure) in enumerate(values):
                body = _body(f"pump-{one}", time_ms, flow, pressure)
                messages.append(Message(self._topic, b"", body, (), one % _PARTITIONS))
            self.rows += 1
        self._producer.produce(messages)

    def close(self) -> None:
        self._producer.close()


def main(argv: Sequence[str] | None = None) -> int:
    course = parse(argv, (__doc__ or "").strip())
    directory = Path(tempfile.mkdtemp(prefix="streamgauge-soak-"))
    disk = _small_disk(directory / "broker") if "full-disk" in course.events else None
    (directory / "broker").mkdir(exist_ok=True)
    try:
        with closing(Cluster(directory / "broker", EXPIRING)) as cluster:
            summary = soak(cluster, directory, course, disk)
    finally:
        if disk is not None:
            disk.close()
    print(json.dumps({key: value for key, value in summary.items() if key != "minutes"}, indent=1))
    if course.out:
        Path(course.out).write_text(json.dumps(summary, indent=1) + "\n")
    if summary["problems"]:
        print(f"logs: {directory}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def soak(cluster: Cluster, directory: Path, course: Course, disk: SmallDisk | None) -> dict[str, object]:
    """Run it; return what was measured, with `problems`."""
    topic = f"soak-{uuid.uuid4().hex[:6]}"
    ensure_topics(Connection((cluster.bootstrap,)), [TopicSpec(topic, _PARTITIONS + 1)])
    publish(make_artifact(threshold=1e9, window=16), directory / "models" / "pump")
    authority = _certificates(directory)
    members = [_configured(directory, number, cluster, topic) for number in range(_MEMBERS + 1)]
    stream, progress = Stream(cluster.bootstrap, topic), Progress(cluster, topic, _PARTITIONS + 1)
    targets = [f"127.0.0.1:{port_of(one)}" for one in members[:_MEMBERS]]
    try:
        rules = watching(directory / "prometheus", targets, authority.file)
        with rules if course.events else nullcontext(Alerts("", Path())) as alerts:
            scene = _scene(cluster, topic, members, alerts, authority, directory)
            scene.disk = disk
            scene.quiet_seconds, scene.disk_seconds = 60 * course.quiet_minutes, 60 * course.disk_minutes
            scene.catch_up = lambda: _caught_up(scene, stream, progress)
            capacity, rate, table = _run(scene, stream, progress, course)
            fired = alerts.ever() if course.events else []
    finally:
        for member in members:
            if member.is_alive:
                member.kill()
        progress.close()
        stream.close()
    summary = _summary(scene, stream, (capacity, rate), table)
    problems = [*scene.problems, *growth(table), *problems_of_alerts(fired, course, disk is not None)]
    problems += went_back(commits_of(cluster.bootstrap, topic))
    return {**summary, "alerts": fired, "problems": problems}


def _capacity(stream: Stream, progress: Progress) -> float:
    """Readings a second that the group judges of a backlog, windows full."""
    stream.write_idle()
    stream.write(20)
    wait_for(lambda: progress.committed() >= stream.readings, "the first rows")
    stream.write(_MEASURED_ROWS)
    before, began = progress.committed(), time.monotonic()
    wait_for(lambda: progress.committed() >= stream.readings, "a backlog", _CATCH_UP_SECONDS)
    return (stream.readings - before) / (time.monotonic() - began)


def _run(
    scene: Scene, stream: Stream, progress: Progress, course: Course
) -> tuple[float, float, list[Minute]]:
    """Form the group, measure it, then go through the minutes; return capacity, rate and the table."""
    for member in scene.members:
        start(member)
    wait_for(lambda: all(member.holds_partitions for member in scene.members), "the group to form")
    capacity = _capacity(stream, progress)
    rate = course.rate or capacity * course.share
    print(f"capacity {capacity:,.0f} readings/s, soaking at {rate:,.0f}", flush=True)
    scene.write = lambda seconds: _write_for(stream, rate, seconds)
    table: list[Minute] = []
    for minute in range(course.minutes):
        table.append(_minute(scene, stream, progress, course, minute))
        print(table[-1], flush=True)
    if course.events:
        scene.expect("StreamgaugeSeriesSilent")
    wait_for(lambda: progress.committed() >= stream.readings, "the rest", _CATCH_UP_SECONDS, every=0.5)
    return capacity, rate, table


def _minute(scene: Scene, stream: Stream, progress: Progress, course: Course, minute: int) -> Minute:
    """Write for a minute; in its middle kill a member, let one join and leave, or let an event happen."""
    scene.write(30.0)
    process = psutil.Process(scene.members[0].pid)
    figures = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
    lag, recovered, said = stream.readings - progress.committed(), None, []
    if _is_due(minute, course.kills):
        victim = scene.members[1 + minute % (_MEMBERS - 1)]
        victim.kill()
        start(victim)
        recovered = round(scene.catch_up(), 1)
    if _is_due(minute, course.joins):
        said.append(f"rebalance: {rebalance(scene)}")
    said += [f"{name}: {EVENTS[name](scene)}" for name in course.due(minute)]
    scene.write(max(0.0, 30.0 - (recovered or 0.0)))
    return Minute(minute, round(figures[0], 1), figures[1], figures[2], lag, recovered, tuple(said))


def _is_due(minute: int, period: int) -> bool:
    return period > 0 and (minute + 1) % period == 0


def _caught_up(scene: Scene, stream: Stream, progress: Progress) -> float:
    """Write on until what was written so far is committed, of every partition; return the seconds."""
    began = time.monotonic()
    stream.write(1)
    written = progress.ends()
    while not progress.has_reached(written):
        if time.monotonic() - began > _CATCH_UP_SECONDS:
            raise TimeoutError(f"not caught up after {_CATCH_UP_SECONDS:.0f} s; see {scene.members[0].log}")
        scene.write(0.5)
    return time.monotonic() - began


def _write_for(stream: Stream, rate: float, seconds: float) -> None:
    """Rows at `rate` readings a second."""
    end = time.monotonic() + seconds
    pause = _SERIES / rate
    due = time.monotonic()
    while time.monotonic() < end:
        stream.write(1)
        due += pause
        time.sleep(max(0.0, due - time.monotonic()))  # the pace itself, not a wait for something


def _scene(
    cluster: Cluster, topic: str, members: list[Member], alerts: Alerts, authority: Authority, place: Path
) -> Scene:
    """What the events act upon; the last of the members is the one that joins and leaves."""
    return Scene(cluster, topic, members[:-1], members[-1], alerts, authority, place)


def _configured(directory: Path, number: int, cluster: Cluster, topic: str) -> Member:
    """A member with a watchdog, and HTTPS at its port; member 0 has a certificate of its own."""
    model = directory / "models" / "pump"
    made = member_config(directory, number, model, cluster, topic, "exactly_once")
    files = directory / ("tls" if number == 0 else "tls-of-others")
    with made.config.open("a") as config:
        config.write(f'tls_certfile = "{files}/certificate.pem"\ntls_keyfile = "{files}/key.pem"\n')
        config.write(f'[watchdog]\nseries_after = "{_SILENT}"\nstream_after = "{_SILENT}"\n')
    return made


def _certificates(directory: Path) -> Authority:
    """An authority, and what it has issued for the ports."""
    authority = Authority(directory)
    for name in ("tls", "tls-of-others"):
        files = authority.issue("127.0.0.1", "localhost")
        (directory / name).mkdir()
        shutil.copy(files.certificate, directory / name / "certificate.pem")
        shutil.copy(files.key, directory / name / "key.pem")
    return authority


def _small_disk(place: Path) -> SmallDisk | None:
    """A disk of the broker's own; None, after a word, where none can be mounted."""
    try:
        return SmallDisk(place)
    except OSError as error:
        print(f"no full disk: {error}", file=sys.stderr)
        return None


def problems_of_alerts(fired: Sequence[str], course: Course, has_disk: bool) -> list[str]:
    """Alerts that nothing explains; kills explain those about restarts and memberships."""
    if course.kills:
        return []
    happened = {"idle partition", *course.events} - (set() if has_disk else {"full-disk"})
    expected = {ALERTS[event] for event in happened}
    return [f"{name} fired" for name in fired if name not in expected | _OF_OUTAGES]


def growth(table: list[Minute]) -> list[str]:
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
        if body["series"] != _IDLE:
            times.setdefault(body["series"], []).extend(body["timestamp"])
    distinct = sum(len(set(found)) for found in times.values())
    return _SERIES * (num_rows - _OPEN_ROWS) - distinct, sum(map(len, times.values())) - distinct


def _summary(
    scene: Scene, stream: Stream, rates: tuple[float, float], table: list[Minute]
) -> dict[str, object]:
    """Everything that was measured, but the alerts and problems."""
    lost, doubled = _reconcile(scene.cluster.bootstrap, scene.group, stream.rows)
    recovered = [one.recovered_seconds for one in table if one.recovered_seconds is not None]
    if lost or doubled:
        scene.problems.append(f"{lost} rows lost, {doubled} doubled")
    return {
        "capacity_readings_per_second": round(rates[0]),
        "readings_per_second": round(rates[1]),
        "readings": stream.readings,
        "kills": len(recovered),
        "session_timeout_seconds": SESSION_SECONDS,
        "recovered_seconds": {
            "median": float(np.median(recovered)) if recovered else None,
            "most": max(recovered, default=None),
        },
        "lost": lost,
        "doubled": doubled,
        "member_0": {"first": asdict(table[0]), "last": asdict(table[-1])},
        "events": [said for one in table for said in one.events],
        "minutes": [asdict(one) for one in table],
    }


_OPEN_ROWS = 3
"""The lateness of two seconds and the row itself: not closed by any later reading."""
_OF_OUTAGES = {"StreamgaugeTransactionsFailing", "StreamgaugeLagGrowing", "StreamgaugeLagStalled"}
"""What may also fire while a broker is away, and while the rows of that time are worked off."""


def _body(series: str, time_ms: int, flow: float, pressure: float) -> bytes:
    values = f'{{"flow":{flow},"pressure":{pressure}}}'
    return f'{{"series":"{series}","timestamp":{time_ms},"values":{values}}}'.encode()


if __name__ == "__main__":
    sys.exit(main())
