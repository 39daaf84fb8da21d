"""The faults: each strikes a running schedule and says what it disrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from connectors.kafka.connection import Connection, client_settings
from tests.faults.breakages import JUDGED, SLOW, WRITES
from tests.faults.cluster import SESSION_SECONDS, Cluster, Member, wait_for

Evidence = str
_BATCH_SECONDS = 20.0
_HELD_SESSIONS = 15


class Struck:
    """What a fault may touch: the cluster, the members of the group and a way to make one more."""

    def __init__(
        self,
        cluster: Cluster,
        members: list[Member],
        start: Callable[[Member], None],
        state_topic: str,
        publish: Callable[[], str],
        rng: np.random.Generator,
    ) -> None:
        """`publish` makes another version of the model the current one, and returns it."""
        self.cluster, self.members, self.start = cluster, members, start
        self.state_topic, self.publish, self.rng = state_topic, publish, rng

    def someone(self) -> Member:
        """A living member."""
        alive = [member for member in self.members if member.is_alive]
        if not alive:
            raise RuntimeError(f"every member is gone; see {self.members[0].log.parent}")
        return alive[int(self.rng.integers(len(alive)))]


def kill(struck: Struck) -> Evidence:
    """SIGKILL at a random moment; it comes back at once."""
    member = struck.someone()
    time.sleep(float(struck.rng.random()) * 0.4)  # the moment itself is the parameter
    member.kill()
    struck.start(member)
    return f"member {member.number} killed"


def kill_in_transaction(struck: Struck) -> Evidence:
    """SIGKILL while a transaction is open: between producing and committing."""
    member = struck.someone()
    settings = client_settings(Connection((struck.cluster.bootstrap,)))
    lookers = [
        KafkaConsumer(**settings, isolation_level=isolation)
        for isolation in ("read_uncommitted", "read_committed")
    ]
    try:
        numbers = lookers[0].partitions_for_topic(struck.state_topic) or ()
        partitions = [TopicPartition(struck.state_topic, number) for number in numbers]
        deadline = time.monotonic() + 3.0
        found = False
        while not found and time.monotonic() < deadline:
            last, stable = (looker.end_offsets(partitions) for looker in lookers)
            found = any(last[tp] > stable[tp] for tp in partitions)
        member.kill()
    finally:
        for looker in lookers:
            looker.close(autocommit=False)
    struck.start(member)
    return f"member {member.number} killed {'in an open transaction' if found else 'while idle'}"


def zombie(struck: Struck) -> Evidence:
    """SIGSTOP until others have taken over, then SIGCONT: it must be fenced."""
    if sum(member.is_alive for member in struck.members) < 2:
        struck.start(next(member for member in struck.members if not member.is_alive))
    slow = [member for member in struck.members if member.is_alive and member.events(SLOW)]
    member = _stopped_with_a_batch(slow) if slow else None
    holds = member is not None
    if member is None:
        holders = [one for one in struck.members if one.is_alive and one.holds_partitions]
        member = holders[int(struck.rng.integers(len(holders)))] if holders else struck.someone()
        member.send(signal.SIGSTOP)
    others = [one for one in struck.members if one is not member]
    before = _taken_up(others)
    # A member without a partition is not missed. One with a batch had some, and may have lost them before.
    forgotten = time.monotonic() + (_HELD_SESSIONS if holds else 3) * SESSION_SECONDS
    wait_for(lambda: _taken_up(others) > before or time.monotonic() > forgotten, "others to take over")
    time.sleep(SESSION_SECONDS * float(struck.rng.random()) / 3)
    member.send(signal.SIGCONT)
    with_what = " with a batch" if holds else ""
    number = _taken_up(others) - before
    return f"member {member.number} stopped{with_what} until {number} partitions were taken over"


def _stopped_with_a_batch(slow: list[Member]) -> Member | None:
    """Stop the first of the slow members that holds a batch which it has not begun to write; None: none did.

    A member may begin to write before the signal reaches it. It then goes on.
    """
    deadline = time.monotonic() + _BATCH_SECONDS
    while time.monotonic() < deadline:
        for member in slow:
            if member.is_alive and member.has_said_last(JUDGED, WRITES):
                member.send(signal.SIGSTOP)
                wait_for(lambda member=member: member.is_halted, f"member {member.number} to stop")
                if member.has_said_last(JUDGED, WRITES):
                    return member
                member.send(signal.SIGCONT)
        time.sleep(0.05)
    return None


def join(struck: Struck) -> Evidence:
    """One member more."""
    idle = [member for member in struck.members if not member.is_alive]
    if not idle:
        return leave(struck)
    struck.start(idle[0])
    wait_for(lambda: idle[0].events("started"), f"member {idle[0].number} to start")
    return f"member {idle[0].number} joined"


def leave(struck: Struck) -> Evidence:
    """SIGTERM: a member finishes its batch and leaves."""
    if sum(member.is_alive for member in struck.members) < 2:
        return join(struck)
    member = struck.someone()
    member.send(signal.SIGTERM)
    wait_for(lambda: not member.is_alive, f"member {member.number} to leave")
    member.pid = 0
    return f"member {member.number} left"


def kill_broker(struck: Struck) -> Evidence:
    """kill -9 of the broker, and its restart on what it left."""
    struck.cluster.restart_broker()
    return "broker killed and restarted"


def cut(struck: Struck) -> Evidence:
    """Every connection breaks."""
    return f"{struck.cluster.proxy.cut()} connections cut"


def stall(struck: Struck) -> Evidence:
    """The network is dead for a while, sometimes for longer than the session."""
    seconds = SESSION_SECONDS * (0.3 + 1.2 * float(struck.rng.random()))
    struck.cluster.proxy.stall()
    time.sleep(seconds)
    struck.cluster.proxy.flow()
    return f"network dead for {seconds:.1f} s"


def delay(struck: Struck) -> Evidence:
    """A slow network."""
    struck.cluster.proxy.delay(0.05)
    time.sleep(2.0)
    struck.cluster.proxy.delay(0.0)
    return "network slow for 2 s"


def reload(struck: Struck) -> Evidence:
    """A new version of the model, which some members take up before others; one is killed meanwhile."""
    version = struck.publish()
    alive = [member for member in struck.members if member.is_alive]

    def loaded() -> list[Member]:
        return [one for one in alive if any(e["version"] == version for e in one.events("model loaded"))]

    forgotten = time.monotonic() + 3 * SESSION_SECONDS  # who was started meanwhile has it from the start
    wait_for(lambda: loaded() or time.monotonic() > forgotten, "a member to load the new model")
    members = loaded() or alive
    member = members[int(struck.rng.integers(len(members)))]
    time.sleep(float(struck.rng.random()) * 0.2)  # before, in or after the first transaction with it
    member.kill()
    struck.start(member)
    return f"model {version} loaded by {len(loaded())}, member {member.number} killed then"


def _taken_up(members: list[Member]) -> int:
    return sum(len(member.assignments()) for member in members)


FAULTS: dict[str, Callable[[Struck], Evidence]] = {
    "kill": kill,
    "kill_in_transaction": kill_in_transaction,
    "zombie": zombie,
    "join": join,
    "leave": leave,
    "cut": cut,
    "stall": stall,
    "delay": delay,
    "kill_broker": kill_broker,
    "reload": reload,
}
WEIGHTS = {"kill": 3.0, "kill_in_transaction": 3.0, "kill_broker": 0.5, "stall": 0.5}
