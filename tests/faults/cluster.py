"""The members of a consumer group as processes, and the broker behind a proxy."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.proxy import Proxy
from tests.support.kafka_broker import KafkaBroker, free_ports
from tests.support.secrets import remember
from tests.support.zygote import shared_zygote

PATIENCE_SECONDS = 120.0  # a bound on hanging, not an expectation
SESSION_SECONDS = 3.0
PROPERTIES = {
    # Sooner than by default (10 s), yet not before a restarted broker leads its partitions again: Kafka 4
    # takes a transaction for ended in a partition without a leader, where it then hangs (KAFKA-20734).
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "4000",
    "group.min.session.timeout.ms": "1000",
}


def wait_for(
    condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS, every: float = 0.05
) -> None:
    """Return once `condition` holds, asked `every` so many seconds or after twice the time that the question
    took. Raises TimeoutError after a generous bound."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(max(every, min(1.0, 2 * (now - asked))))


@dataclass
class Member:
    """One daemon. `config` and `log` outlive its processes."""

    number: int
    config: Path
    log: Path
    pid: int = 0
    stopped: bool = False

    @property
    def is_alive(self) -> bool:
        return self.pid != 0 and _exists(self.pid)

    def events(self, name: str) -> list[dict]:
        """The log's events of this name so far."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if f'"{name}"' in line:
                event = json.loads(line)
                if event.get("event") == name:
                    found.append(event)
        return found

    def assignments(self) -> list[dict]:
        """The log's events of assigned partitions so far, with saved state or without."""
        endings = ("state restored", "no saved state")
        return [event for ending in endings for event in self.events(f"partition assigned: {ending}")]

    @property
    def holds_partitions(self) -> bool:
        """Whether partitions were assigned to it since it was started last."""
        return self.has_said_last("partition assigned: ", "started")

    @property
    def is_halted(self) -> bool:
        """Whether a SIGSTOP has reached it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def has_said_last(self, one: str, other: str) -> bool:
        """Whether the log has an event that begins with `one`, and none after it that begins with `other`."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text.rfind(f'"{one}') > text.rfind(f'"{other}')

    def lines(self, text: str) -> int:
        """How many lines of the log contain this."""
        return self.log.read_text(errors="replace").count(text) if self.log.exists() else 0

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)
        self.stopped = number == signal.SIGSTOP

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        wait_for(lambda: not _exists(self.pid), f"the end of member {self.number}")
        self.pid = 0


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(member: Member, breakages: Sequence[str] = ()) -> None:
    """Start a member, forked from the zygote of this process."""
    remember(member.log)
    member.pid = shared_zygote().start(member.config, member.log, breakages=breakages).pid


class Cluster:
    """A broker that members reach through a proxy; the harness itself reaches it directly."""

    def __init__(self, directory: Path, properties: Mapping[str, str] | None = None) -> None:
        self.proxy = Proxy(free_ports(1)[0])
        self.broker = KafkaBroker(directory, {**PROPERTIES, **(properties or {})}, self.proxy.port)
        self.proxy.target = self.broker.behind_proxy
        self.broker.start()

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    def restart_broker(self) -> None:
        """kill -9, and start on what it left."""
        self.broker.kill()
        self.broker.start()

    def close(self) -> None:
        self.proxy.close()
        self.broker.kill()


PLAIN_RULES = """
[incidents]
for_rows = 2
of_rows = 3
quiet_rows = 4
"""
EVERY_RULE = """
[incidents]
for_rows = 2
of_rows = 4
quiet_rows = 2
min_duration = "20m"
cooldown = "1h"
flap_incidents = 2
flap_window = "400m"
settle_rows = 2
[channels.flow]
direction = "above"
min_absolute = 0.5
[channels.pressure]
min_relative = 0.05
valid_max = 8
[[maintenance]]
series = ["*[02468]"]
start = 2023-11-15T04:50:00Z
end = 2023-11-15T07:20:00Z
[[maintenance]]
time = "09:50"
duration = "40m"
"""
"""At the pace of the streams of `tests.faults.plant`: from 2023-11-14, 22:10, on, a row in ten minutes."""


def member_config(
    directory: Path,
    number: int,
    model: Path,
    cluster: Cluster,
    topic: str,
    mode: str,
    rules: str = PLAIN_RULES,
    lateness: str = "2s",
) -> Member:
    """A member of group `topic` that writes to `topic-out.*`, by these incident rules."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = directory / f"member-{number}.toml"
    path.write_text(f"""
[model]
path = "{model}"
reload_every = "300ms"
[kafka]
bootstrap_servers = ["127.0.0.1:{cluster.proxy.port}"]
topic = "{topic}"
group_id = "{topic}"
session_timeout = "{SESSION_SECONDS}s"
startup_timeout = "120s"
[grid]
lateness = "{lateness}"
{rules}
[output]
prefix = "{topic}-out"
[delivery]
mode = "{mode}"
transaction_timeout = "5s"
[recovery]
max_replay_rows = 4000
[service]
stale_after = "100000s"
max_poll_records = 2000
[log]
format = "json"
[http]
port = {port}
""")
    return Member(number, path, directory / f"member-{number}.log")
